// What the octets say about the mistake behind them.  One row for each mistake that can be told from its traces.

public sealed record Evidence(Side Self, byte[]? Expected, int At, byte[] Received, bool Waited, bool AnswersAfterEnd,
    int LinesSent, int Taken, Delivery Delivery, byte[] SaidBefore, string? What)
{
    // The eight octets of a length, if that is what was to come here.
    public ulong? Length => Expected is { Length: >= 8 } && Expected[..4].All(octet => octet == 0) ? System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(Expected) : null;
    public byte[] Seen => [.. Expected is null ? [] : Expected[..At], .. Received];
    public bool Starts(params byte[] octets) => Seen.AsSpan().StartsWith(octets);
    public bool Ended => Received.Length == 0 && !Waited;
}

public static class Hints
{
    static readonly (string Name, Func<Evidence, bool> Fits, string Text)[] table =
    [
        ("reversed length", e => e.Length is > 0 and var n && e.Starts([.. Notation.U64(n).Reverse()]),
            "the length is there with its octets reversed: send the most significant one first (network byte order)."),
        ("4-octet length", e => e.Length is > 0 and var n && e.Starts(Notation.U64(n)[4..]),
            "the length has four octets; it takes eight."),
        ("length as text", e => e.Length is { } n && e.Starts(Encoding.ASCII.GetBytes($"{n}")),
            "the length is written in digits; it is a binary number of eight octets."),
        ("length off by a few", e => e.Length is { } n && e.Received.Length >= 8 - e.At && e.Seen.Length >= 8 && System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(e.Seen) is var m && m != n && m - n + 40 <= 80,
            "the length is off by a little: it counts the octets of the block, neither itself nor a line end nor the digest."),
        ("CR LF", e => Text(e) is { } text && text.EndsWith('\n') && !text.EndsWith("\r\n") && e.Starts(Encoding.UTF8.GetBytes(text[..^1] + "\r\n")) || e.Expected is null && Encoding.UTF8.GetString(e.Received).Contains("\r\n"),
            "the line ends with CR LF (many print functions and text streams do that); it ends with LF alone."),
        ("no final LF", e => Text(e) is { } text && text.EndsWith('\n') && e.Seen.AsSpan().StartsWith(Encoding.UTF8.GetBytes(text[..^1])) && (e.Seen.Length == text.Length - 1 || e.Seen.Length >= text.Length && e.Seen[text.Length - 1] != '\n'),
            "the line has come without its LF: the other side cannot know that it has ended."),
        ("answers after the end", e => e.AnswersAfterEnd,
            "the answer came once the client had ended its sending: the server reads until the end of the stream. A request ends with its LF; answer then."),
        ("one receive per request", e => e.Self == Side.Client && e.LinesSent > 1 && e.Taken > 0 && e.Waited,
            "some requests were answered, the ones behind them in the same piece were not: what is left in the receive buffer after a request is the next request. One receive is not one message."),
        ("requests taken for one", e => e.Self == Side.Client && e.Delivery == Delivery.Whole && e.LinesSent > 1 && e.Taken == 0 && Text(e)?.StartsWith("OK") == true && e.Starts("ER|"u8.ToArray()),
            "several requests came in one piece, and were taken for one that makes no sense: cut the input at each LF, and keep what is left for the next one."),
        ("one receive is one message", e => e.Delivery != Delivery.Whole && (e.Waited || e.Ended || e.Seen.AsSpan().StartsWith("ER|"u8)),
            "this delivery sends a message in small pieces. One receive is not one message: collect octets until the LF, or until the counted octets are there."),
        ("one send taken for all", e => (e.Expected is { Length: > 64 } && e.At > 0 || e.What is not null && e.What.Contains("octets")) && (e.Ended || e.Waited),
            "the block stops before its length is reached: a send may take fewer octets than it was given, and says how many; send the rest, and close only after that."),
        ("closes after each request", e => e.Self == Side.Client && e.Ended && e.Taken > 0,
            "the connection was closed after an answer. It carries any number of requests; the client closes it."),
        ("never closes", e => e.Waited && e.What?.StartsWith("the connection to be closed") == true,
            "the connection stays open: after a receive of 0 octets, or a reply whose code closes, shut down, drain and close (§8)."),
        ("extra octets", e => e.What?.StartsWith("the connection to be closed, with nothing more") == true,
            "there are octets behind the answer that belong to nothing: a second reply, a line end after a block, or a length that is too small."),
        ("name case folded", e => Text(e) is { } text && Encoding.UTF8.GetString(e.Seen) is var seen && seen.Length >= 3 && seen != text && text.StartsWith(seen[..Math.Min(seen.Length, text.Length)], StringComparison.OrdinalIgnoreCase),
            "letters have changed their case: names are compared and kept octet by octet."),
        ("plain ER", e => Text(e)?.StartsWith("ER|") == true && e.Starts("ER\n"u8.ToArray()),
            "ER is followed by | and a code, then | and a text (§4.3)."),
        ("wrong code", e => Text(e)?.StartsWith("ER|") == true && e.Starts("ER|"u8.ToArray()),
            "it was refused, but with another code: §6 says which fits, and if several do, the upper row."),
        ("refused", e => Text(e) is { } text && text.StartsWith("OK") && e.Starts("ER|"u8.ToArray()),
            "this is to be done, not refused; the reply says why the server did not."),
        ("not refused", e => Text(e)?.StartsWith("ER|") == true && e.Starts("OK"u8.ToArray()),
            "this is to be refused. Check it on the server too: a client is anybody's program."),
        ("sends nothing", e => e.Waited && e.Received.Length == 0 && e.Taken == 0,
            "nothing has come at all: is the reply flushed? Does one silent or slow client hold up the others?"),
    ];

    public static IEnumerable<string> Names => table.Select(row => row.Name);

    public static string TextOf(string name) => table.Single(row => row.Name == name).Text;

    public static string? For(Evidence evidence) => table.FirstOrDefault(row => row.Fits(evidence)).Text;

    static string? Text(Evidence e) => e.Expected is { Length: > 0 } expected && expected.All(octet => octet is 10 or >= 32) ? Encoding.UTF8.GetString(expected) : null;
}
