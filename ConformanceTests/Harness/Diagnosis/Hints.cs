using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Harness.Diagnosis;

// YieldsToACrash: it is drawn from silence or an end, which an error in the program explains better.
public sealed record Hint(string Name, Func<Evidence, bool> Fits, Func<Evidence, string> Text)
{
    public string? Sentence { get; init; }              // what is broken, where the test is about something else

    public bool YieldsToACrash { get; init; }
}

/// <summary>
/// The known mistakes, one row for each that can be told from its traces. A row first asks which check failed,
/// then looks at the bytes. It says nothing rather than something misleading.
/// </summary>
public static class Hints
{
    private const string AfterTheReset =
        "it closed while octets of the other side were still unread: that sends a reset, and a reset can destroy a "
        + "reply that is on its way. Shut down the sending side, read and drop until the other side's end, close then "
        + "(§8).";

    private static readonly Hint[] _table =
    [
        // ---- what was shown by trying, not only by the octets ----

        new("stopped too early", e => e.OfServer && e.Expects("OK") && e.Refused("stopping"), _ =>
            "the server was told to stop; a transfer that runs, an accepted PUT included, has 10 s to end, and then "
            + "its reply.") { Sentence = "CLOSE-4" },
        new("told to stop", e => e.OfServer && e.Asked.ToldToStop
            && (e.Ended || e.Waited || e.Reset || e.Expects("ER|stopping") && e.ReceivedStartsWith("OK")), _ =>
            "the server was told to stop before this. Whoever is idle, inside a line or waiting reads stopping; what "
            + "is being sent or taken has 10 s; then it ends by itself.") { Sentence = "CLOSE-4" },
        new("held up by another", e => e.AnswersAfterOthers, _ =>
            "the answer came once the other connections were closed. Another client is connected and silent: does it "
            + "hold you up? Serve all of them at the same time (threads, select, async).")
            { Sentence = "P6" },
        new("waits for a block that is too long", e => e.OfServer && e.Expects("ER|too-large") && e.Waited, _ =>
            "compare the length with the limit (1 GiB, or as the server was told: §7) at once, as an unsigned number; "
            + "wait for nothing."),
        new("pieces that end anywhere", e => e.OfServer && e.Delivery == Delivery.Whole && e.Asked.PiecesSplitMessages
            && e.ExpectsReply && (e.Expects("OK") && e.ReceivedStartsWith("ER|") || e.Waited || e.Ended), _ =>
            "what was sent came in pieces that end inside a message, or hold more than one. One receive is not one "
            + "message: collect octets until the LF, or until the counted octets are there, and keep what is left.")
            { Sentence = "CONN-3" },
        new("waits behind a whole block", e => e.OfServer && e.Waited && e.Asked.BlockComplete, e =>
            "the whole block has been sent, and more is waited for. The length is eight octets, most significant "
            + "first, and does not count itself" + (e.Asked.LastRequest.Contains("|digest=") ? " or the digest." : ".")
            + " Does the first receive of the block swallow more than the length?") { YieldsToACrash = true },
        new("answers after the end", e => e.AnswersAfterEnd, e =>
            "the answer came once the client had ended its sending: the server reads until the end of the stream. "
            + (e.TestIsAbout("LINE-2") ? "1,024 octets without an LF are enough to refuse it: a readline needs a limit."
                : "A request ends with its LF; answer then.")),
        new("reset", e => e.OfServer && e.Reset, _ => AfterTheReset) { Sentence = "CLOSE-1", YieldsToACrash = true },
        new("ended inside a block", e => e.OfServer && e.ExpectsEnd && e.Received.Length > 0
            && e.Asked is { HalfClosed: true, InsideBlock: true }, _ =>
            "the client ended inside its block: close, no reply; and nothing is stored."),
        new("ended inside a block, stays open", e => e.OfServer && e.ExpectsEnd && e.Waited
            && e.Asked is { HalfClosed: true, InsideBlock: true }, _ =>
            "the client ended inside its block: close, no reply. A receive of 0 octets is the end, not a piece of the "
            + "block: a loop that waits for the rest never ends.") { YieldsToACrash = true },

        // ---- lengths ----

        new("reversed length", e =>
            e.Length is > 0 and var n && e.ReceivedStartsWith([.. Notation.U64(n).Reverse()]), _ =>
            "the length is there with its octets reversed: send the most significant one first (network byte order)."),
        new("4-octet length", e => e.Length is > 0 and var n && e.ReceivedStartsWith(Notation.U64(n)[4..]), _ =>
            "the length has four octets; it takes eight."),
        new("length as text", e => e.Length is { } n && e.ReceivedStartsWith($"{n}"), _ =>
            "the length is written in digits; it is a binary number of eight octets."),
        new("length in characters", IsInCharacters, e =>
            $"{e.Length} is due, {e.LengthReceived} was sent; a character in it is not ASCII and takes more than one "
                + $"octet: "
            + "encode, then count."),
        new("empty listing", e => e.Length > 0 && e.LengthReceived == 0 && e.Asked.LastRequest == "LIST", _ =>
            "the listing is empty: the file that is in the folder is not listed."),
        new("empty block", e => e.Length > 0 && e.LengthReceived == 0, _ =>
            "the block is empty, the file is not."),
        new("time in another form", e => OtherTime(e) is not null, e =>
            $"the third field of a listing's line is {OtherTime(e)}; it is a time in UTC, in seconds, such as "
            + "2026-01-31T23:59:59Z.") { Sentence = "LIST-1" },
        new("length of something else", e => FitsWhatFollows(e) && e.Asked.LastRequest == "LIST", e =>
            "the length fits what follows it, and the listing is another one: "
                + Notation.Show(e.ReceivedSoFar.AsSpan(8), 200)),
        new("length off by itself", e => e.LengthReceived is { } n && n == e.Length + 8, _ =>
            "the length is 8 too large: it counts the octets of the block, not itself."),
        new("length off by the digest", e => e.LengthReceived is { } n && n == e.Length + 32, _ =>
            "the length is 32 too large: it counts the octets of the block, not the digest behind them."),
        new("length off by one", e => e.LengthReceived is { } n && (n == e.Length + 1 || n + 1 == e.Length), _ =>
            "the length is off by one: it counts the octets of the block, all of them and nothing else, no line end "
            + "behind them either."),

        // ---- lines ----

        new("CR LF", EndsWithCrLf, _ =>
            "the line ends with CR LF (many print functions and text streams do that); it ends with LF alone."),
        new("no final LF", LacksItsLf, _ =>
            "the line has come without its LF: the other side cannot know that it has ended."),
        new("plain ER", e => e.Expects("ER|") && e.ReceivedStartsWith("ER\n"), _ =>
            "ER is followed by | and a code, then | and a text (§4.3)."),

        // ---- one receive is not one message ----

        new("requests taken for one", TakesRequestsForOne, e =>
            $"{e.Asked.UnansweredRequests} requests came without a wait between them, and were not taken apart: cut "
            + "the input at each LF, and keep what is left for the next one (pipelining).") { Sentence = "CONN-2" },
        new("one receive per request",
            e => e.OfServer && e.Asked.UnansweredRequests > 1 && e.RepliesAccepted > 0 && e.Waited && e.ExpectsReply
                && e.At == 0, _ =>
            "some requests were answered, the ones behind them in the same piece were not: what is left "
            + "in the receive buffer after a request is the next request. One receive is not one message.")
            { Sentence = "CONN-2", YieldsToACrash = true },
        new("digest not read", e => e.OfServer && e.Asked.WithDigest && e.Asked.LastRequest.StartsWith("PUT|")
            && e.Asked.BlockComplete && (IsLeftOver(e) || e.ExpectsReply && (e.Ended || e.Reset)), _ =>
            "OK to |digest=sha256 promises to read 32 octets behind the block; they were taken for a request. A server "
            + "without this extension answers `unsupported` to it (CONF-1).") { Sentence = "DIGEST-2" },
        new("leftovers of a block", IsLeftOver, _ =>
            "leftovers of the block before are read as requests: a block is read to its end, the digest too, also "
            + "where it is refused or empty.") { Sentence = "PUT-6" },
        new("line end and blanks taken off", e => e.OfServer && e.ExpectsError("bad-request", "unsupported")
            && e.ReceivedStartsWith("OK\n") && e.Asked.Blocks == 0
            && e.Asked.LastLineSent != e.Asked.LastLineSent.Trim(), _ =>
            "the LF alone ends a line, and whatever stands before it belongs to it: strip, trim and the like take CR "
            + "and blanks off, too.") { Sentence = "LINE-1" },
        new("busy though there is room", e => e.OfServer && !e.Expects("ER|busy") && e.Refused("busy"), _ =>
            "busy, and there is room: whoever has left, is on the way out behind a last reply, or was turned away, is "
            + "no client any more.") { Sentence = "P9" },
        new("length cut short", e => e.Expects("ER|too-large")
            && (e.Refused("empty") || e.ReceivedStartsWith("OK\n")), _ =>
            "the length was taken for a smaller one: it has 64 bits and no sign. Compare all of them, before any cast.")
            { Sentence = "BLOCK-2" },
        new("name to be refused",
            e => e.Expects("ER|bad-name") && (e.Refused("not-found", "exists") || e.ReceivedStartsWith("OK\n")),
            e => "this name is to be refused by §4.5; "
                + (e.ReceivedStartsWith("OK\n") ? "it was accepted." : "it was looked up.")
                + " Check the name before anything else."),
        new("type to be refused", e => e.Expects("ER|bad-type") && e.Asked.Blocks == 0
            && (e.Refused("not-found", "exists") || e.ReceivedStartsWith("OK\n")), e =>
            "the ending of this name is none that is served here (NAME-3); "
                + (e.ReceivedStartsWith("OK\n") ? "it was accepted." : "it was looked up.")),
        new("no picture", e => e.Expects("ER|bad-type") && e.Asked.Blocks > 0 && e.ReceivedStartsWith("OK\n"), _ =>
            "the first octets of this block are no picture's (the table in §4.6), whatever its name ends in."),
        new("a living temporary was removed", e => e.TestIsAbout("P12") && e.Expects("OK") && e.Asked.Blocks > 0
            && e.Refused("storage", "internal", "corrupt"), _ =>
            "when another server started, it removed the temporary file of an upload that was running in this "
            + "one: remove only those whose server is dead (a lock on the file shows who lives).") { Sentence = "P12" },
        new("no go-ahead", e => e.OfServer && e.Waited && e.At == 0 && e.Asked.Blocks == 0
            && e.Asked.LastRequest.StartsWith("PUT|") && e.ExpectsReply, _ =>
            "nothing has come: a PUT is answered before its block, OK to go ahead or ER. The client waits for that.")
            { Sentence = "PUT-1", YieldsToACrash = true },

        // ---- the end ----

        new("client waits for ever", e => !e.OfServer && e.ExpectsEnd && e.Waited && e.TestIsAbout("CLI-9"), _ =>
            "nothing more will come, and it waits for ever: give each receive 60 s, then give up and say so."),
        new("client reads a line for ever", e => !e.OfServer && e.ExpectsEnd && e.Waited && e.TestIsAbout("CLI-2"), _ =>
            "a line has at most 1,024 octets: without an LF by then this is no server of this protocol; give up."),
        new("client hangs", e => !e.OfServer && e.ExpectsEnd && e.Waited && e.Received.Length == 0, _ =>
            "everything has been sent; it still waits: did its first receive swallow the length, or "
            + "does it ask for more than the length says?") { Sentence = "CONN-3" },
        new("digest not compared", e => e.Expects("ER|corrupt") && e.ReceivedStartsWith("OK\n"), _ =>
            "the digest behind the block is another one, and is not compared. A server without this extension answers "
            + "`unsupported` to the option (CONF-1)."),
        new("no digest", e => e.Expected is { Length: 32 } && e.Asked.WithDigest && e.At == 0
            && (e.Waited || e.Ended || e.ReceivedStartsWith("OK\n") || e.ReceivedStartsWith("ER|")), _ =>
            "the digest does not come: the option was passed over. A server without this extension answers "
            + "`unsupported` to it (CONF-1); one that has it sends 32 octets behind the block.")
            { Sentence = "DIGEST-1" },
        new("wrong digest", e => e.Expected is { Length: 32 } && e.Asked.WithDigest
            && e.ReceivedSoFar.Length >= 32, e =>
            "the digest is not that of the file: 32 raw octets, SHA-256 over the whole file's octets"
                + (e.Asked.LastRequest.Contains("|offset=") ? ", the part that was left out included." : "."))
            { Sentence = "DIGEST-1" },
        new("offset passed over", e => e.Asked.LastRequest.Contains("|offset=")
            && e.Length is { } n && e.LengthReceived > n, _ =>
            "the whole file comes, or more than the rest: the option was passed over. A server without this extension "
            + "answers `unsupported` to it (CONF-1); the length is that of the rest.") { Sentence = "OFFSET-1" },
        new("offset not looked at", e => e.ReceivedStartsWith("OK\n") && e.Asked.LastRequest.Contains("|offset=")
            && (e.Expects("ER|bad-offset") || e.Expects("ER|bad-request")), _ =>
            "the offset is beyond the end, or no number, and was passed over. A server without this extension answers "
            + "`unsupported` to it (CONF-1)."),
        new("option passed over", e => e.Expects("ER|unsupported") && e.ReceivedStartsWith("OK\n")
            && e.Asked.LastRequest.Contains('|'), _ =>
            "an option that is not known is answered with `unsupported`, not passed over.") { Sentence = "REQ-1" },
        new("listing in another order", HasSameLines, _ =>
            "these are the same lines in another order: sort by the octets of the names as they are in UTF-8."),
        new("one send taken for all", e => IsInsideABlock(e) && (e.Ended || e.Waited), _ =>
            "the block stops before its length is reached: a send may take fewer octets than it was given, "
            + "and says how many; send the rest, and close only after that.") { YieldsToACrash = true },
        new("stops", e => e.At > 0 && (e.Ended || e.Waited) && e.Expected is not null, e =>
            $"it stops after {e.At} of {e.Expected!.Length} octets: "
                + $"{Notation.Show(e.Expected.AsSpan(e.At), 60)} is missing.")
            { YieldsToACrash = true },
        new("closes after each request",
            e => e.OfServer && e.Ended && e.RepliesAccepted > 0 && e.At == 0 && e.ExpectsReply
                && e.Asked.BlockLeft is null, _ =>
            "the connection was closed after an answer. It carries any number of requests; the client closes it.")
            { Sentence = "CONN-1", YieldsToACrash = true },
        new("closes without a word", e => e.OfServer && e.Ended && e.ExpectsReply && e.At == 0, _ =>
            "the connection was closed without an answer.") { YieldsToACrash = true },
        new("deadline passed over", e => e.OfServer && e.Waited && e.ExpectsEnd && !e.Asked.HalfClosed
            && e.TestIsAbout("LIMIT-3"), _ =>
            "the deadline of §7 has passed, and the connection is still there: a client that takes nothing, or brings "
            + "nothing, is let go.") { Sentence = "LIMIT-3" },
        new("never closes", e => e.OfServer && e.Waited && e.ExpectsEnd && e.Received.Length == 0, e =>
            e.Asked.HalfClosed
            ? "the client has ended its sending (a receive of 0 octets), and everything is answered: close then. (If "
                + "it does: something still holds the socket, such as Python's makefile, a forked child, a dup.)"
            : "the connection stays open behind a reply whose code closes: shut down, drain and close (§8).")
            { YieldsToACrash = true },
        new("extra octets", e => e.OfServer && e.ExpectsEnd && e.Received.Length > 0, _ =>
            "there are octets behind the answer that belong to nothing: "
            + "a second reply, a line end after a block, or a length that is too small."),
        new("client says more", e => !e.OfServer && e.ExpectsEnd && e.Received.Length > 0, e =>
            e.ReceivedStartsWith(0, 0, 0, 0)
                ? "the client sends its block although it was refused: read the reply first; only OK is the go-ahead."
                : "the client sends more than this command needs."),

        // ---- replies ----

        new("name case folded", IsInAnotherCase, _ =>
            "letters have changed their case: names are compared and kept octet by octet."),
        new("taken by an upload that was cut", e => e.Expects("OK") && e.Refused("exists")
            && (e.TestIsAbout("P1") || e.TestIsAbout("CLOSE-2")), _ =>
            "the name is taken: an upload that was cut short left its file there.") { Sentence = "P1" },
        new("malformed line", e => e.Expects("ER|bad-request") && e.ReceivedStartsWith("ER|"), _ =>
            "this line is malformed (LINE-2, LINE-3 or REQ-2): look at that before its words, and at the line as it "
                + "came, "
            + "blanks and CR included."),
        new("wrong code", e => e.Expects("ER|") && e.ReceivedStartsWith("ER|"), _ =>
            "it was refused, but with another code: §6 says which fits, and if several do, the upper row."),
        new("name taken too early", e => e.OfServer && e.Expects("OK") && e.Refused("exists")
            && (e.TestIsAbout("P2") || e.TestIsAbout("PUT-6")), _ =>
            "an upload that runs does not take its name: of two, the one that is whole first is stored.")
            { Sentence = "PUT-4" },
        new("long name refused", e => e.OfServer && e.Expects("OK") && e.Asked.LastRequest.Length > 200
            && e.Refused("storage", "internal"), _ =>
            "a name may have 255 octets: is that of the temporary file made from it, and too long then?"),
        new("type refused", e => e.OfServer && e.Expects("OK") && e.Refused("bad-type"), e => e.Asked.Blocks > 0
            ? "the first octets are those of a picture (the table in §4.6); the ending may be that of another."
            : "the ending is one that is taken, in upper or lower case letters (NAME-3)."),
        new("name refused", e => e.OfServer && e.Expects("OK") && e.Refused("bad-name"), _ =>
            "this name is within the rule (§4.5): what the rule does not refuse is accepted.") { Sentence = "NAME-4" },
        new("refused", e => e.OfServer && e.Expects("OK") && e.ReceivedStartsWith("ER|"), _ =>
            "this is to be done, not refused; the reply says why the server did not."),
        new("not there", e => e.Expects("ER|not-found") && e.ReceivedStartsWith("OK\n"), _ =>
            "LIST would not show this name: what has it is no regular file, or an empty one, and is answered as if it "
            + "were not there (P10). A symbolic link is none, wherever it leads: isfile, stat and the like follow it, "
            + "lstat does not."),
        new("taken meanwhile", e => e.Expects("ER|exists") && e.ReceivedStartsWith("OK\n") && e.Asked.Blocks > 0, _ =>
            "the name was free when this upload began, and was taken while its block came: to look at the beginning "
            + "is not enough. Take the name at the end, in one step that fails if it is taken (§10: link, O_EXCL).")
            { Sentence = "P2" },
        new("taken", e => e.Expects("ER|exists") && e.ReceivedStartsWith("OK\n"), _ =>
            "something has this name already, be it a folder, a link that leads nowhere (exists follows links, lstat "
            + "does not) or an empty file: it is taken."),
        new("not busy", e => e.OfServer && e.Expects("ER|busy|") && e.ReceivedStartsWith("OK"), _ =>
            "as many clients as there is room for are connected already (§7); the next one reads busy.")
            { Sentence = "P9" },
        new("not refused", e => e.OfServer && e.Expects("ER|") && e.ReceivedStartsWith("OK"), _ =>
            "this is to be refused. Check it on the server too: a client is anybody's program."),
        new("sends nothing", e => e.OfServer && e.Waited && e.Received.Length == 0 && e.Asked.BytesReceived == 0, _ =>
            "nothing has come at all: is the request read up to its LF, and the reply flushed?")
            { YieldsToACrash = true },
    ];

    // For a message in pieces, if the same one passes in one piece; only the whole run knows.
    private const string PiecesName = "one receive is one message";

    private static Failure WithPiecesHint(Failure failure) => failure with
    {
        HintName = PiecesName,
        Hint = "this delivery sends a message in small pieces; in one piece it is understood. One receive is not one "
            + "message: collect octets until the LF, or until the counted octets are there.",
        Sentence = "CONN-3",
    };

    // The same failure, if pieces are what is not understood: for a conversation that has no connection's evidence.
    public static Failure InPieces(Failure failure) => failure.HintName == "held up by another" ? failure : failure with
    {
        InPieces = failure.InPieces ?? WithPiecesHint(failure),
    };

    public static IEnumerable<string> Names => _table.Select(row => row.Name).Append(PiecesName);

    /// <summary>The failure with the first hint that fits its evidence, if one does.</summary>
    public static Failure WithBestHint(Failure failure, Evidence evidence)
    {
        var explained = _table.FirstOrDefault(row => row.Fits(evidence)) is { } hint
            ? failure with { HintName = hint.Name, Hint = hint.Text(evidence), Sentence = hint.Sentence }
            : failure;
        // What was shown by trying needs no guess.
        bool mayBePieces = !evidence.AnswersAfterOthers && evidence.Delivery != Delivery.Whole;
        return mayBePieces ? explained with { InPieces = WithPiecesHint(failure) } : explained;
    }

    public static bool YieldsToACrash(string name) => _table.Any(row => row.Name == name && row.YieldsToACrash);

    // ---- the traces that take more than a line to tell ----

    // The listing as it came, in characters, is as long as the length says; in octets it is longer.
    private static bool IsInCharacters(Evidence e)
    {
        if (e.LengthReceived is not { } seen || e.Length <= seen || (ulong)e.ReceivedSoFar.Length - 8 <= seen)
        {
            return false;
        }

        string listing = Encoding.UTF8.GetString(e.ReceivedSoFar.AsSpan(8));
        int characters = listing.EnumerateRunes().Count();
        return (ulong)listing.Length == seen || (ulong)characters == seen;
    }

    // The lines are there, name and size in order, and only the last field is none of the times that LIST-1 has.
    private static string? OtherTime(Evidence e)
    {
        bool IsTime(string field) => DateTime.TryParseExact(
            field, "yyyy-MM-dd'T'HH:mm:ss'Z'", null, System.Globalization.DateTimeStyles.None, out _);

        if (e.What?.StartsWith("a time such as") == true)
        {
            return Encoding.UTF8.GetString(e.Received).Split('\n')[0];
        }

        if (!FitsWhatFollows(e) || e.Asked.LastRequest != "LIST")
        {
            return null;
        }

        string[] lines = Encoding.UTF8.GetString(e.ReceivedSoFar.AsSpan(8))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return lines.Select(line => line.Split('|'))
            .FirstOrDefault(fields => fields.Length == 3 && ulong.TryParse(fields[1], out _) && !IsTime(fields[2]))?[2];
    }

    private static bool FitsWhatFollows(Evidence e) =>
        e.LengthReceived is { } seen && seen != e.Length && (ulong)e.ReceivedSoFar.Length - 8 == seen;

    private static bool EndsWithCrLf(Evidence e)
    {
        if (e.Line is { } line)
        {
            return !line.EndsWith('\r') && e.ReceivedStartsWith(line + "\r\n");
        }

        int end = e.Received.AsSpan().IndexOf((byte)'\n');
        return e.Expected is null && !e.ExpectsEnd && end > 0 && e.Received[end - 1] == '\r';
    }

    private static bool LacksItsLf(Evidence e) =>
        e.Line is { } line && e.ReceivedStartsWith(line)
        && e.ReceivedSoFar is var all
        && (all.Length == line.Length || all.Length > line.Length && all[line.Length] != '\n');

    private static bool TakesRequestsForOne(Evidence e) =>
        e.OfServer && e.Asked.UnansweredRequests > 1 && e.Expects("OK") && e.ReceivedStartsWith("ER|")
        && (e.RepliesAccepted == 0 || e.Refused("unsupported", "bad-request"));

    // A block was sent before, and now there is an answer to a request that nobody made.
    private static bool IsLeftOver(Evidence e) =>
        e.OfServer && e.Asked.Blocks > 0 && e.Refused("bad-request", "unsupported")
        && !e.Expects("ER|bad-request") && !e.Expects("ER|unsupported");

    private static bool IsInsideABlock(Evidence e) =>
        e.Expected is { Length: > 64 } && e.At > 0 || e.What?.Contains("octets") == true;

    private static bool HasSameLines(Evidence e) =>
        e.Text is { } text && text.Count(c => c == '\n') > 1 && text.Contains('|')
        && Encoding.UTF8.GetString(e.ReceivedSoFar) is var seen && seen.Length >= text.Length
        && NamesIn(seen[..text.Length]).Order().SequenceEqual(NamesIn(text).Order());

    private static IEnumerable<string> NamesIn(string listing) =>
        listing.Split('\n').Select(line => line.Split('|')[0]);

    private static bool IsInAnotherCase(Evidence e)
    {
        string seen = Encoding.UTF8.GetString(e.ReceivedSoFar);
        if (e.Text is not { } text || e.Received.Length == 0 || seen.Length < 3)
        {
            return false;
        }

        int common = Math.Min(seen.Length, text.Length);
        return text[..common] != seen[..common]
            && text[..common].Equals(seen[..common], StringComparison.OrdinalIgnoreCase);
    }
}
