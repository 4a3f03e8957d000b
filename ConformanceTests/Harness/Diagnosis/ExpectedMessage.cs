namespace ConformanceTests.Harness.Diagnosis;

/// <summary>
/// One of the messages that a check has expected together: a reply line, a block with its length, or the digest after
/// a block.
/// </summary>
/// <param name="Start">Where it starts in the expected bytes.</param>
/// <param name="End">Where it ends, or where the expected bytes end.</param>
/// <param name="Replies">How many reply lines are before it.</param>
public readonly record struct ExpectedMessage(int Start, int End, int Replies)
{
    private const int LengthBytes = 8;
    private const int DigestBytes = 32;

    /// <summary>Finds the message that has not come as expected.</summary>
    /// <param name="expected">What was expected. It begins with a message, or it is a part of one.</param>
    /// <param name="agreed">So many bytes of it came.</param>
    public static ExpectedMessage At(ReadOnlySpan<byte> expected, int agreed)
    {
        var message = new ExpectedMessage(0, EndOfFirst(expected, afterABlock: false), 0);
        while (message.End <= agreed && message.End < expected.Length)
        {
            bool isReply = IsReply(expected[message.Start..]);
            int size = EndOfFirst(expected[message.End..], afterABlock: !isReply);
            message = new(message.End, message.End + size, message.Replies + (isReply ? 1 : 0));
        }

        return message;
    }

    /// <summary>The number in the eight bytes of a length, or null if no length of a file here begins so.</summary>
    public static ulong? LengthIn(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= LengthBytes && bytes.StartsWith((ReadOnlySpan<byte>)[0, 0, 0, 0])
            ? BinaryPrimitives.ReadUInt64BigEndian(bytes)
            : null;

    private static bool IsReply(ReadOnlySpan<byte> bytes) => bytes.StartsWith("OK"u8) || bytes.StartsWith("ER|"u8);

    private static int EndOfFirst(ReadOnlySpan<byte> bytes, bool afterABlock)
    {
        if (IsReply(bytes))
        {
            int lineEnd = bytes.IndexOf((byte)'\n');
            return lineEnd < 0 ? bytes.Length : lineEnd + 1;
        }

        if (afterABlock)
        {
            return Math.Min(DigestBytes, bytes.Length);
        }

        // A digest alone may begin with zeros, too.
        return bytes.Length != DigestBytes && LengthIn(bytes) is { } length
            ? (int)Math.Min((ulong)LengthBytes + length, (ulong)bytes.Length)
            : bytes.Length;
    }
}
