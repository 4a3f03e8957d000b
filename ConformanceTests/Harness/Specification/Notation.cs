using System.Buffers;

namespace ConformanceTests.Harness.Specification;

/// <summary>How bytes are written in transcripts and in failures, and the contents that tests send.</summary>
public static class Notation
{
    public static byte[] U64(ulong number)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, number);
        return bytes;
    }

    /// <summary>Returns a picture: the signature of a PNG, then random bytes from the seed of the run, or from this
    /// one.</summary>
    public static byte[] Bytes(int count, int? seed = null)
    {
        var bytes = new byte[Math.Max(count, 8)];
        new Random(seed ?? RunSettings.Current.Seed).NextBytes(bytes);
        new byte[] { 0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A }.CopyTo(bytes, 0);
        return bytes[..count];
    }

    /// <summary>Writes bytes so that a person can read them. Of many bytes, it shows the first and the last.</summary>
    public static string Show(ReadOnlySpan<byte> bytes, int most = 160)
    {
        if (bytes.Length > most)
        {
            string first = Show(bytes[..(most * 2 / 3)]);
            string last = Show(bytes[^(most / 3)..]);
            return $"{first} …({bytes.Length - most} more)… {last}";
        }

        var shown = new StringBuilder();
        while (bytes.Length > 0)
        {
            bool isRune = Rune.DecodeFromUtf8(bytes, out var rune, out int used) == OperationStatus.Done;
            if (isRune && rune.Value is >= 32 and not (>= 127 and < 160 or '\\' or '<'))
            {
                shown.Append(rune);
            }
            else
            {
                foreach (byte value in bytes[..used])
                {
                    shown.Append(Escaped(value));
                }
            }

            bytes = bytes[used..];
        }

        return shown.ToString();
    }

    private static string Escaped(byte value) => value switch
    {
        10 => "\\n",
        13 => "\\r",
        9 => "\\t",
        92 => "\\\\",
        60 => "\\<",
        _ => $"\\x{value:X2}",
    };
}
