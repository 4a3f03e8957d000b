using System.Buffers;

namespace ConformanceTests.Harness.Specification;

/// <summary>Reads the bytes in a line of a transcript: characters, escapes such as \n, and `&lt;u64:9&gt;`.</summary>
internal sealed class PieceParser
{
    private readonly string _text;
    private readonly Dictionary<string, byte[]> _files;
    private readonly int _line;
    private readonly List<Piece> _pieces = [];
    private readonly List<byte> _bytes = [];            // known ones, up to the next piece of another kind
    private int _at;

    private PieceParser(string text, Dictionary<string, byte[]> files, int line)
    {
        _text = text;
        _files = files;
        _line = line;
    }

    /// <summary>Reads a line.</summary>
    /// <param name="text">What follows `C: `, `S: ` or the equals sign of a file.</param>
    /// <param name="files">The files that the transcript has named so far.</param>
    /// <param name="line">The number of the line in Protocol.md.</param>
    /// <exception cref="FormatException">It is not in the notation of §2.</exception>
    public static Piece[] Parse(string text, Dictionary<string, byte[]> files, int line)
    {
        var parser = new PieceParser(text, files, line);
        while (parser._at < text.Length)
        {
            parser.ReadNext();
        }

        parser.EndKnownBytes();
        return [.. parser._pieces];
    }

    private void ReadNext()
    {
        switch (_text[_at])
        {
            case '\\':
                ReadEscape();
                break;
            case '<':
                int end = _text.IndexOf('>', _at);
                ReadElement(_text[(_at + 1)..end].Split(':', 2));
                _at = end + 1;
                break;
            default:
                int next = _text.AsSpan(_at).IndexOfAny('\\', '<') is >= 0 and var n ? _at + n : _text.Length;
                _bytes.AddRange(Encoding.UTF8.GetBytes(_text[_at..next]));
                _at = next;
                break;
        }
    }

    private void ReadEscape()
    {
        char escaped = _text[_at + 1];
        _bytes.Add(escaped switch
        {
            'n' => 10,
            'r' => 13,
            't' => 9,
            '\\' => 92,
            '<' => 60,
            'x' => Convert.FromHexString(_text.AsSpan(_at + 2, 2))[0],
            _ => throw new FormatException($"Protocol.md:{_line}: \\{escaped}"),
        });
        _at += escaped == 'x' ? 4 : 2;
    }

    private void ReadElement(string[] parts)
    {
        switch (parts)
        {
            case ["u64", var n]:
                _bytes.AddRange(Notation.U64(ulong.Parse(n)));
                break;
            case ["hex", var digits]:
                _bytes.AddRange(Convert.FromHexString(digits.Replace(" ", "")));
                break;
            case ["bytes", var n]:
                _bytes.AddRange(Notation.Bytes(int.Parse(n)));
                break;
            case ["file", var name]:
                _bytes.AddRange(FileOf(name));
                break;
            case ["sha256", var name]:
                _bytes.AddRange(SHA256.HashData(FileOf(name)));
                break;
            case ["any", var n]:
                EndKnownBytes();
                _pieces.Add(new AnyBytes(int.Parse(n)));
                break;
            case ["line" or "time" or "digits"]:
                EndKnownBytes();
                _pieces.Add(new Placeholder(parts[0]));
                break;
            default:
                throw new FormatException($"Protocol.md:{_line}: <{string.Join(':', parts)}>");
        }
    }

    private byte[] FileOf(string name) => _files.TryGetValue(name, out byte[]? content)
        ? content
        : throw new FormatException($"Protocol.md:{_line}: no file {name} is given");

    private void EndKnownBytes()
    {
        if (_bytes.Count > 0)
        {
            _pieces.Add(new KnownBytes([.. _bytes]));
        }

        _bytes.Clear();
    }
}
