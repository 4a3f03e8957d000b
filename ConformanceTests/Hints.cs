// What the octets say about the mistake behind them.  One row for each mistake that can be told from its traces.

using System.Buffers.Binary;

public sealed record Evidence(Side Self, byte[]? Expected, int At, byte[] Received, bool Waited, bool AnswersAfterEnd,
    int LinesSent, int Taken, Delivery Delivery, byte[] SaidBefore, string? What)
{
    // The eight octets of a length, if that is what was to come here.
    public ulong? Length => Expected is { Length: >= 8 } && Expected[..4].All(octet => octet == 0)
        ? BinaryPrimitives.ReadUInt64BigEndian(Expected) : null;

    // The text, if that is what was to come; and the line without its LF, if it is one.
    public string? Text => Expected is { Length: > 0 } expected && expected.All(octet => octet is 10 or >= 32)
        ? Encoding.UTF8.GetString(expected) : null;
    public string? Line => Text is [.. var line, '\n'] ? line : null;
    public bool Wants(string start) => Text?.StartsWith(start) == true;

    public byte[] Seen => [.. Expected is null ? [] : Expected[..At], .. Received];
    public bool Starts(params byte[] octets) => Seen.AsSpan().StartsWith(octets);
    public bool Starts(string text) => Starts(Encoding.UTF8.GetBytes(text));
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
        ("length as text", e => e.Length is { } n && e.Starts($"{n}"),
            "the length is written in digits; it is a binary number of eight octets."),
        ("length off by a few", IsOffByAFew,
            "the length is off by a little: it counts the octets of the block, "
            + "neither itself nor a line end nor the digest."),
        ("CR LF", EndsWithCrLf,
            "the line ends with CR LF (many print functions and text streams do that); it ends with LF alone."),
        ("no final LF", LacksItsLf,
            "the line has come without its LF: the other side cannot know that it has ended."),
        ("answers after the end", e => e.AnswersAfterEnd,
            "the answer came once the client had ended its sending: the server reads until the end of the stream. "
            + "A request ends with its LF; answer then."),
        ("one receive per request", e => e.Self == Side.Client && e.LinesSent > 1 && e.Taken > 0 && e.Waited,
            "some requests were answered, the ones behind them in the same piece were not: what is left "
            + "in the receive buffer after a request is the next request. One receive is not one message."),
        ("requests taken for one", TakesRequestsForOne,
            "several requests came in one piece, and were taken for one that makes no sense: "
            + "cut the input at each LF, and keep what is left for the next one."),
        ("one receive is one message", e => e.Delivery != Delivery.Whole && (e.Waited || e.Ended || e.Starts("ER|")),
            "this delivery sends a message in small pieces. One receive is not one message: "
            + "collect octets until the LF, or until the counted octets are there."),
        ("one send taken for all", e => IsInsideABlock(e) && (e.Ended || e.Waited),
            "the block stops before its length is reached: a send may take fewer octets than it was given, "
            + "and says how many; send the rest, and close only after that."),
        ("closes after each request", e => e.Self == Side.Client && e.Ended && e.Taken > 0,
            "the connection was closed after an answer. It carries any number of requests; the client closes it."),
        ("never closes", e => e.Waited && e.What?.StartsWith("the connection to be closed") == true,
            "the connection stays open: after a receive of 0 octets, or a reply whose code closes, "
            + "shut down, drain and close (§8)."),
        ("extra octets", e => e.What?.StartsWith("the connection to be closed, with nothing more") == true,
            "there are octets behind the answer that belong to nothing: "
            + "a second reply, a line end after a block, or a length that is too small."),
        ("name case folded", IsInAnotherCase,
            "letters have changed their case: names are compared and kept octet by octet."),
        ("plain ER", e => e.Wants("ER|") && e.Starts("ER\n"),
            "ER is followed by | and a code, then | and a text (§4.3)."),
        ("wrong code", e => e.Wants("ER|") && e.Starts("ER|"),
            "it was refused, but with another code: §6 says which fits, and if several do, the upper row."),
        ("refused", e => e.Wants("OK") && e.Starts("ER|"),
            "this is to be done, not refused; the reply says why the server did not."),
        ("not refused", e => e.Wants("ER|") && e.Starts("OK"),
            "this is to be refused. Check it on the server too: a client is anybody's program."),
        ("sends nothing", e => e.Waited && e.Received.Length == 0 && e.Taken == 0,
            "nothing has come at all: is the reply flushed? Does one silent or slow client hold up the others?"),
    ];

    public static IEnumerable<string> Names => table.Select(row => row.Name);

    public static string TextOf(string name) => table.Single(row => row.Name == name).Text;

    public static string? For(Evidence evidence) => table.FirstOrDefault(row => row.Fits(evidence)).Text;

    // ---- the traces that take more than a line to tell ----

    static bool IsOffByAFew(Evidence e)
    {
        if (e.Length is not { } length || e.Received.Length < 8 - e.At || e.Seen.Length < 8) return false;
        ulong seen = BinaryPrimitives.ReadUInt64BigEndian(e.Seen);
        return seen != length && seen - length + 40 <= 80;          // 40 more or 40 less, since it wraps around
    }

    static bool EndsWithCrLf(Evidence e) =>
        e.Line is { } line && !line.EndsWith('\r') && e.Starts(line + "\r\n")
        || e.Expected is null && Encoding.UTF8.GetString(e.Received).Contains("\r\n");

    static bool LacksItsLf(Evidence e) =>
        e.Line is { } line && e.Starts(line)
        && (e.Seen.Length == line.Length || e.Seen.Length > line.Length && e.Seen[line.Length] != '\n');

    static bool TakesRequestsForOne(Evidence e) =>
        e.Self == Side.Client && e.Delivery == Delivery.Whole && e.LinesSent > 1 && e.Taken == 0
        && e.Wants("OK") && e.Starts("ER|");

    static bool IsInsideABlock(Evidence e) =>
        e.Expected is { Length: > 64 } && e.At > 0 || e.What?.Contains("octets") == true;

    static bool IsInAnotherCase(Evidence e)
    {
        string seen = Encoding.UTF8.GetString(e.Seen);
        if (e.Text is not { } text || seen.Length < 3 || seen == text) return false;
        return text.StartsWith(seen[..Math.Min(seen.Length, text.Length)], StringComparison.OrdinalIgnoreCase);
    }
}
