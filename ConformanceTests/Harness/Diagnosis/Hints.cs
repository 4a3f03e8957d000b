namespace ConformanceTests.Harness.Diagnosis;

/// <summary>A row of the table of hints.</summary>
/// <param name="Name">What the suite calls it. The reader does not see this.</param>
/// <param name="Fits">Says whether the evidence shows this mistake.</param>
/// <param name="Text">What the reader sees.</param>
public sealed record Hint(string Name, Func<Evidence, bool> Fits, Func<Evidence, string> Text)
{
    /// <summary>The id of the paragraph that is broken, if the test is about another one.</summary>
    public string? Sentence { get; init; }

    /// <summary>
    /// Whether the hint explains a silence or an end. If the program has crashed, its error explains that better.
    /// </summary>
    public bool YieldsToACrash { get; init; }
}

/// <summary>
/// The known mistakes, a row for each. A row first looks at which check failed, then at the bytes. It speaks only of
/// what the check looked at, and asks where two explanations are possible.
/// </summary>
public static class Hints
{
    private static readonly Hint[] _table =
    [
        new("stopped too early", e => e.OfServer && e.Asked.ToldToStop && e.Expects("OK") && e.Refused("stopping"), _ =>
            "the server was stopped. A running transfer, also a PUT that has its go-ahead, has 10 s to finish, and "
            + "then gets its reply.") { Sentence = "CLOSE-6" },
        new("told to stop", e => e.OfServer && e.Asked.ToldToStop
            && (e.Ended || e.Waited || e.Reset || e.Expects("ER|stopping") && e.ReceivedStartsWith("OK")), _ =>
            "the server was stopped before this. It sends `stopping` to clients that are idle, inside a line or "
            + "waiting; running transfers have 10 s; then the server ends by itself.") { Sentence = "CLOSE-4" },
        new("held up by another", e => e.AnswersAfterOthers, _ =>
            "the answer came after the other connections were closed. Another client was connected and silent: does "
            + "the server wait for it? Serve all clients at the same time (threads, select, async).")
            { Sentence = "P6" },
        new("first byte of TLS", e => e.OfServer && e.Expects("ER|bad-request") && e.TestIsAbout("LINE-4")
            && e.HasSentFirst(0x16), e =>
            "the client has sent 0x16, the first byte of a TLS handshake, where a request should begin. "
            + (e.Waited || e.AnswersAfterEnd ? "Does the server look at that byte before an LF has come?"
                : "Is this byte compared before the line is looked at?")),
        new("waits for a block that is too long", e => e.OfServer && e.Expects("ER|too-large") && e.Waited, _ =>
            "compare the length with the limit (1 GiB, or the configured one: §9.1) as soon as it has come, as "
            + "unsigned numbers. Do not wait for the block."),
        new("waits after pieces", e => SplitsMessages(e) && (e.Waited || e.Ended), _ =>
            "the pieces that were sent end inside a message, or hold more than one, and no answer came. Does the "
            + "server take one receive for one message? Collect bytes until the LF, or until the counted bytes are "
            + "there, and keep the rest.") { Sentence = "CONN-3", YieldsToACrash = true },
        new("pieces that end anywhere", e =>
            SplitsMessages(e) && e.Expects("OK") && e.ReceivedStartsWith("ER|") && e.ErrorReplies == 1, _ =>
            "the pieces that were sent end inside a message, or hold more than one. Does the server take one receive "
            + "for one message? Collect bytes until the LF, or until the counted bytes are there, and keep the rest. "
            + "If it does that already, the reply says why it refused a valid request."),
        new("waits after a whole block", e => e.OfServer && e.Waited && e.Asked.BlockComplete, e =>
            "the complete block has been sent, and no answer came. Does the server wait for more bytes? The length is "
            + "eight bytes, most significant first, and does not count itself"
            + (e.Request.Contains("|digest=") ? " or the digest." : ".")
            + " Does the first receive of the block read more than the length?") { YieldsToACrash = true },
        new("answers after the end", e => e.AnswersAfterEnd, e =>
            "the answer came after the client had ended its sending: the server reads until the end of the stream. "
            + (e.TestIsAbout("LINE-2") ? "Refuse a line as soon as 1,024 bytes without an LF have come: a readline "
                + "needs a limit."
                : "A request ends with its LF: answer then.")),
        new("reset", e => e.OfServer && e.Reset, _ =>
            "the server has reset the connection. Did it close while bytes from the client were still unread? That "
            + "sends a reset, which can destroy a reply that is on its way. Shut down the sending side, read and drop "
            + "until the client has ended, and close then (§7).") { Sentence = "CLOSE-1", YieldsToACrash = true },
        new("ended inside a block", e => e.OfServer && e.ExpectsEnd && e.Received.Length > 0
            && e.Asked is { HalfClosed: true, InsideBlock: true }, _ =>
            "the client ended its sending inside its block: close without a reply, and store nothing."),
        new("ended inside a block, stays open", e => e.OfServer && e.ExpectsEnd && e.Waited
            && e.Asked is { HalfClosed: true, InsideBlock: true }, _ =>
            "the client ended its sending inside its block: close without a reply. A receive of 0 bytes is the end, "
            + "not a piece of the block: a loop that waits for the rest never ends.") { YieldsToACrash = true },

        // ---- lengths ----

        new("reversed length", e =>
            e.Length is > 0 and var n && e.ReceivedStartsWith([.. Notation.U64(n).Reverse()]), _ =>
            "the bytes of the length are in reverse order: send the most significant one first (network byte order)."),
        new("4-byte length", e => e.Length is > 0 and var n && e.ReceivedStartsWith(Notation.U64(n)[4..]), _ =>
            "the length has four bytes; it needs eight."),
        new("length as text", e => e.Length is { } n && e.ReceivedStartsWith($"{n}"), _ =>
            "the length is written in digits; it is a binary number of eight bytes."),
        new("length in characters", IsInCharacters, e =>
            $"the length should be {e.Length}, and {e.LengthReceived} was sent. A character that is not ASCII takes "
            + "more than one byte: encode first, then count."),
        new("impossible length", e => e.What == ProtocolConnection.PossibleLength, _ =>
            "the eight bytes after the OK are the length of the block, most significant first. Are there fewer than "
            + "eight? Are they sent in the other order, as text, or not at all?"),
        new("empty listing", e => e.Length > 0 && e.LengthReceived == 0 && e.Request == "LIST", _ =>
            "the listing is empty, but there is a file in the folder."),
        new("empty block", e => e.Length > 0 && e.LengthReceived == 0, _ =>
            "the block is empty, but the file is not."),
        new("time in another form", e => OtherTime(e) is not null, e =>
            $"the third field of a listing's line is {OtherTime(e)}; it should be a time in UTC, in seconds, such as "
            + "2026-01-31T23:59:59Z.") { Sentence = "LIST-1" },
        new("length of something else", e => FitsWhatFollows(e) && e.Request == "LIST", e =>
            "the length matches what follows it, but the listing is a different one: "
                + Notation.Show(e.ReceivedSoFar.AsSpan(8), 200)),
        new("length off by itself", e => e.LengthReceived is { } n && n == e.Length + 8, _ =>
            "the length is 8 too large. Does it count itself? It counts the bytes of the block after it."),
        new("length off by the digest", e => e.LengthReceived is { } n && n == e.Length + 32, _ =>
            "the length is 32 too large. Does it count the digest? It counts the bytes of the block before that."),
        new("length off by one", e => e.LengthReceived is { } n && (n == e.Length + 1 || n + 1 == e.Length), _ =>
            "the length is off by one: it counts the bytes of the block, all of them and nothing else. There is no "
            + "line end after them."),

        // ---- lines ----

        new("CR LF", EndsWithCrLf, _ =>
            "the line ends with CR LF (many print functions and text streams do that). It has to end with LF alone."),
        new("no final LF", LacksItsLf, _ =>
            "the line came without its LF, so the other side cannot know that the line has ended."),
        new("plain ER", e => e.Expects("ER|") && e.ReceivedStartsWith("ER\n"), _ =>
            "after ER come | and a code, then | and a text (§4.3)."),

        // ---- one receive is not one message ----

        new("requests taken for one", MayTakeRequestsForOne, e =>
            $"{e.Asked.UnansweredRequests} requests were sent without a pause, and one error came back. Is the input "
            + "cut at each LF, and the rest kept for the next request (pipelining)? If so, the reply says why the "
            + "server refused a valid request."),
        new("one receive per request",
            e => e.OfServer && e.Asked.UnansweredRequests > 1 && e.RepliesAccepted > 0 && e.Waited && e.ExpectsReply
                && e.At == 0, _ =>
            "some requests were answered, but not the ones after them in the same piece. Is what is left in the "
            + "receive buffer after a request kept as the start of the next one? One receive is not one message.")
            { Sentence = "CONN-2", YieldsToACrash = true },
        new("digest not read", e => e.OfServer && e.Asked.WithDigest && e.Request.StartsWith("PUT|")
            && e.Asked.BlockComplete && (IsLeftOver(e) || e.ExpectsReply && (e.Ended || e.Reset)), _ =>
            "after the OK to |digest=sha256, 32 more bytes follow the block. Are they read as a request? A server "
            + "without this feature answers `unsupported` to the option (CONF-1).") { Sentence = "DIGEST-2" },
        new("leftovers of a block", e => IsLeftOver(e) && e.Asked.BlockLeft is not null, _ =>
            "the error answers a request that was not sent. Are bytes of the block read as a request? A block is read "
            + "to its end, with its digest, also where it is refused or empty.") { Sentence = "PUT-6" },
        new("leftovers of a block, or a refusal", IsLeftOver, _ =>
            "does this error answer the last request, or bytes of the block before that, which were read as a request? "
            + "A block is read to its end, with its digest, also where it is refused or empty (PUT-6)."),
        new("line end and blanks taken off", e => e.OfServer && e.ExpectsError("bad-request", "unsupported")
            && e.ReceivedStartsWith("OK\n") && e.Asked.Blocks == 0
            && e.Asked.LastLineSent != e.Asked.LastLineSent.Trim(), _ =>
            "only the LF ends a line, and everything before it belongs to the line. Functions such as strip and trim "
            + "also remove CR and spaces.") { Sentence = "LINE-1" },
        new("busy though there is room", e => e.OfServer && !e.Expects("ER|busy") && e.Refused("busy"), _ =>
            "the server answers busy, but there is room. A client that has left, that is being closed after a last "
            + "reply, or that was refused, does not count.") { Sentence = "P9" },
        new("length cut short", e => e.Expects("ER|too-large")
            && (e.Refused("empty") || e.ReceivedStartsWith("OK\n")), _ =>
            "was the length read as a smaller number? It has 64 bits and no sign. Compare all of them, before any "
            + "cast.")
            { Sentence = "BLOCK-2" },
        new("name to be refused",
            e => e.Expects("ER|bad-name") && (e.Refused("not-found", "exists") || e.ReceivedStartsWith("OK\n")),
            e => "§4.5 does not allow this name; "
                + (e.ReceivedStartsWith("OK\n") ? "it was accepted." : "it was looked up.")
                + " Check the name before anything else."),
        new("type to be refused", e => e.Expects("ER|bad-type") && e.Asked.Blocks == 0
            && (e.Refused("not-found", "exists") || e.ReceivedStartsWith("OK\n")), e =>
            "the extension of this name is not one of the server's types (NAME-3); "
                + (e.ReceivedStartsWith("OK\n") ? "it was accepted." : "it was looked up.")),
        new("no picture", e => e.Expects("ER|bad-type") && e.Asked.Blocks > 0 && e.ReceivedStartsWith("OK\n"), _ =>
            "the first bytes of this block are not those of a picture (the table in §4.6). Check them for every "
            + "picture's extension."),
        new("a living temporary was removed", e => e.TestIsAbout("P13") && e.Expects("OK") && e.Asked.Blocks > 0
            && e.Refused("storage", "internal", "corrupt"), _ =>
            "did another server, when it started, remove the temporary file of an upload that was running in this one? "
            + "Remove only those of servers that have ended (a lock on the file shows which).") { Sentence = "P13" },
        new("no go-ahead", e => e.OfServer && e.Waited && e.At == 0 && e.Asked.Blocks == 0
            && e.Request.StartsWith("PUT|") && e.ExpectsReply, _ =>
            "nothing came. A PUT is answered before its block: OK is the go-ahead, and the client waits for it.")
            { Sentence = "PUT-1", YieldsToACrash = true },

        // ---- the end ----

        new("client waits without a limit", e => !e.OfServer && e.ExpectsEnd && e.Waited && e.TestIsAbout("CLI-9"), _ =>
            "nothing more will come, and the client waits without a limit: give each receive 60 s, then give up and "
            + "say so."),
        new("client reads a line without a limit",
            e => !e.OfServer && e.ExpectsEnd && e.Waited && e.TestIsAbout("CLI-2"), _ =>
            "a line has at most 1,024 bytes. A server that has sent 1,024 without an LF does not speak this protocol: "
            + "give up."),
        new("client hangs", e => !e.OfServer && e.ExpectsEnd && e.Waited && e.Received.Length == 0, _ =>
            "everything has been sent, and the client still waits. Did its first receive read the length too, or does "
            + "it wait for more bytes than the length says?") { Sentence = "CONN-3" },
        new("digest not compared", e => e.Expects("ER|corrupt") && e.ReceivedStartsWith("OK\n"), _ =>
            "the digest after the block is a wrong one, and the server stored the file. Compare them. A server without "
            + "this feature answers `unsupported` to the option (CONF-1)."),
        new("no digest", e => e.Expected is { Length: 32 } && e.Asked.WithDigest && e.At == 0
            && (e.Waited || e.Ended || e.ReceivedStartsWith("OK\n") || e.ReceivedStartsWith("ER|")), _ =>
            "no digest came after the block. A server without this feature answers `unsupported` to the option "
            + "(CONF-1); one that has it sends 32 bytes after the block.")
            { Sentence = "DIGEST-1" },
        new("wrong digest", e => e.Expected is { Length: 32 } && e.Asked.WithDigest
            && e.ReceivedSoFar.Length >= 32, e =>
            "the digest is not that of the file: it is 32 raw bytes, SHA-256 over the bytes of the whole file"
                + (e.Request.Contains("|offset=") ? ", also of the part that is not sent." : "."))
            { Sentence = "DIGEST-1" },
        new("offset ignored", e => e.Request.Contains("|offset=")
            && e.Length is { } n && e.LengthReceived > n, _ =>
            "the length is larger than the rest of the file after the offset. A server without this feature answers "
            + "`unsupported` to the option (CONF-1); otherwise the length is that of the rest.")
            { Sentence = "OFFSET-1" },
        new("offset not looked at", e => e.ReceivedStartsWith("OK\n") && e.Request.Contains("|offset=")
            && (e.Expects("ER|bad-offset") || e.Expects("ER|bad-request")), _ =>
            "the offset is beyond the end of the file, or not a number, and the server ignored that. A server without "
            + "this feature answers `unsupported` to the option (CONF-1)."),
        new("option ignored", e => e.Expects("ER|unsupported") && e.ReceivedStartsWith("OK\n")
            && e.Request.Contains('|'), _ =>
            "a server that does not know an option answers `unsupported`; it must not ignore it.")
            { Sentence = "REQ-1" },
        new("listing in another order", HasSameLines, _ =>
            "these are the same lines in another order: sort by the bytes of the names in UTF-8."),
        new("one send taken for all", e => IsInsideABlock(e) && (e.Ended || e.Waited), e =>
            "the block stops before its length is reached. "
            + (e.ExpectsBytes ? "Is the length right? If it is: did" : "Did")
            + " one send accept fewer bytes than it was given? It returns how many: send the rest, and close only "
            + "after that.") { YieldsToACrash = true },
        new("stops", e => e.At > 0 && (e.Ended || e.Waited) && e.Expected is not null, e =>
            $"it stops after {e.At} of {e.Expected!.Length} bytes: "
                + $"{Notation.Show(e.Expected.AsSpan(e.At), 60)} is missing.")
            { YieldsToACrash = true },
        new("closes after each request",
            e => e.OfServer && e.Ended && e.RepliesAccepted > 0 && e.At == 0 && e.ExpectsReply
                && e.Asked.BlockLeft is null, _ =>
            "the server closed the connection after an answer. A connection carries any number of requests, and the "
            + "client closes it.") { Sentence = "CONN-1", YieldsToACrash = true },
        new("closes without a word", e => e.OfServer && e.Ended && e.ExpectsReply && e.At == 0, _ =>
            "the server closed the connection without an answer.") { YieldsToACrash = true },
        new("deadline ignored", e => e.OfServer && e.Waited && e.ExpectsEnd && !e.Asked.HalfClosed
            && e.TestIsAbout("LIMIT-4"), _ =>
            "the deadline of §9.1 has passed, and the connection is still open. Close it if the client neither sends "
            + "nor receives enough.") { Sentence = "LIMIT-4" },
        new("never closes", e => e.OfServer && e.Waited && e.ExpectsEnd && e.Received.Length == 0, e =>
            e.Asked.HalfClosed
            ? "the client has ended its sending (a receive returns 0 bytes), and everything is answered: close now. If "
                + "your program does: something still holds the socket, such as Python's makefile, a forked child, a "
                + "dup."
            : e.LastReplyIsError
            ? "the connection stays open after a reply whose code closes it: shut down, drain and close (§7)."
            : "the connection stays open, and the server should have closed it.")
            { YieldsToACrash = true },
        new("extra bytes", e => e.OfServer && e.ExpectsEnd && e.Received.Length > 0, _ =>
            "there are more bytes after the answer: a second reply, a line end after a block, or a length that is too "
            + "small?"),
        new("client says more", e => !e.OfServer && e.ExpectsEnd && e.Received.Length > 0, e =>
            e.ReceivedStartsWith(0, 0, 0, 0)
                ? "the client sends its block although it was refused: read the reply first; only OK is the go-ahead."
                : "the client sends more than this command needs."),

        // ---- replies ----

        new("name case folded", IsInAnotherCase, _ =>
            "upper case and lower case letters have changed: names are compared and kept byte by byte."),
        new("taken by an upload that was cut", e => e.Expects("OK") && e.Refused("exists")
            && (e.TestIsAbout("P1") || e.TestIsAbout("CLOSE-5")), _ =>
            "the name is taken. Did the interrupted upload leave its file there?") { Sentence = "P1" },
        new("line without its LF", e => e.Expects("ER|bad-request") && e.ReceivedStartsWith("ER|")
            && e.Asked.HalfClosed, _ =>
            "the client ended its sending inside a request line. Check that before the words in it (CLOSE-2)."),
        new("malformed line", e => e.Expects("ER|bad-request") && e.ReceivedStartsWith("ER|"), _ =>
            "this line is malformed (LINE-2, LINE-3 or REQ-2). Check that before the words in it, on the line as it "
            + "came, with its spaces and CR."),
        new("wrong code", e => e.Expects("ER|") && e.ReceivedStartsWith("ER|"), _ =>
            "it was refused with a different code. §6.1 says which code applies, and §6.2 which comes first if several "
            + "do."),
        new("name taken too early", e => e.OfServer && e.Expects("OK") && e.Refused("exists")
            && (e.TestIsAbout("P2") || e.TestIsAbout("PUT-6")), _ =>
            "a running upload does not take its name: of two, the first one that is complete is stored.")
            { Sentence = "PUT-4" },
        new("long name refused", e => e.OfServer && e.Expects("OK") && e.Request.Length > 200
            && e.Refused("storage", "internal"), _ =>
            "a name may have 255 bytes. Is the name of the temporary file made from it, and then too long?"),
        new("type refused", e => e.OfServer && e.Expects("OK") && e.Refused("bad-type"), e => e.Asked.Blocks > 0
            ? "the first bytes are those of a picture (the table in §4.6). The extension may be that of another kind."
            : "the extension is one of the server's types, in upper or lower case letters (NAME-3)."),
        new("name refused", e => e.OfServer && e.Expects("OK") && e.Refused("bad-name"), _ =>
            "this name is valid (§4.5): what the rule does not refuse has to be accepted.") { Sentence = "NAME-4" },
        new("refused", e => e.OfServer && e.Expects("OK") && e.ReceivedStartsWith("ER|"), _ =>
            "the server has to do this, and refused it; the text of its reply says why."),
        new("not there", e => e.Expects("ER|not-found") && e.ReceivedStartsWith("OK\n"), _ =>
            "LIST would not show this name, so the answer is the same as if it were not there (P10). Is it a folder, "
            + "an empty file or a symbolic link? Functions such as isfile and stat follow links; lstat does not."),
        new("name taken in the meantime",
            e => e.Expects("ER|exists") && e.ReceivedStartsWith("OK\n") && e.Asked.Blocks > 0
                && e.Request != "" && !e.Request.Contains("|ahead"), _ =>
            "the name was free when this upload began, and was taken while its block came, so a check at the beginning "
            + "is not enough. Take the name at the end, in one step that fails if it is taken (link, O_EXCL: §10).")
            { Sentence = "P2" },
        new("taken", e => e.Expects("ER|exists") && e.ReceivedStartsWith("OK\n"), _ =>
            "something has this name already. A folder, an empty file or a link that leads nowhere counts, too (exists "
            + "follows links; lstat does not)."),
        new("not busy", e => e.OfServer && e.Expects("ER|busy|") && e.ReceivedStartsWith("OK"), _ =>
            "as many clients as the server accepts are connected already (§9.1); the next one gets busy.")
            { Sentence = "P9" },
        new("not refused", e => e.OfServer && e.Expects("ER|") && e.ReceivedStartsWith("OK"), _ =>
            "the server has to refuse this. It must not rely on checks in its own client."),
        new("sends nothing", e => e.OfServer && e.Waited && e.Received.Length == 0 && e.Asked.BytesReceived == 0, _ =>
            "nothing came at all. Is the request read up to its LF, and the reply flushed?")
            { YieldsToACrash = true },
    ];

    // The hint for a message in pieces if the same message passes in one piece, which only the whole run shows.
    private const string PiecesName = "one receive is one message";

    private static Failure WithPiecesHint(Failure failure) => failure with
    {
        HintName = PiecesName,
        Hint = "this delivery sends a message in small pieces; in one piece the program understands it. One receive is "
            + "not one message: collect bytes until the LF, or until the counted bytes are there.",
        Sentence = "CONN-3",
    };

    /// <summary>Adds that hint to a failure that is not about a connection.</summary>
    public static Failure InPieces(Failure failure) => failure.HintName == "held up by another" ? failure : failure with
    {
        InPieces = failure.InPieces ?? WithPiecesHint(failure),
    };

    public static IEnumerable<string> Names => _table.Select(row => row.Name).Append(PiecesName);

    /// <summary>Adds to a failure the first hint that fits its evidence.</summary>
    public static Failure WithBestHint(Failure failure, Evidence evidence)
    {
        var explained = _table.FirstOrDefault(row => row.Fits(evidence)) is { } hint
            ? failure with { HintName = hint.Name, Hint = hint.Text(evidence), Sentence = hint.Sentence }
            : failure;
        // Closing the other connections brought the answer, so there is nothing to guess.
        bool mayBePieces = !evidence.AnswersAfterOthers && evidence.Delivery != Delivery.Whole;
        return mayBePieces ? explained with { InPieces = WithPiecesHint(failure) } : explained;
    }

    public static bool YieldsToACrash(string name) => _table.Any(row => row.Name == name && row.YieldsToACrash);

    // ---- conditions that take more than a line ----

    // In characters, the listing is as long as the length says. In bytes it is longer.
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

    // Returns the last field of a line whose name and size are right, if it is not a time as in LIST-1.
    private static string? OtherTime(Evidence e)
    {
        bool IsTime(string field) => DateTime.TryParseExact(
            field, "yyyy-MM-dd'T'HH:mm:ss'Z'", null, DateTimeStyles.None, out _);

        if (e.Request != "LIST")
        {
            return null;
        }

        if (e.What?.StartsWith("a time such as") == true)
        {
            return Encoding.UTF8.GetString(e.Received).Split('\n')[0];
        }

        if (!FitsWhatFollows(e))
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

        // Only text that came where a line was expected: the signature of a PNG contains a CR LF, too.
        bool isLine = e is { Expected: null, ExpectsEnd: false, ExpectsBytes: false };
        int end = e.Received.AsSpan().IndexOf((byte)'\n');
        return isLine && end > 0 && e.Received[end - 1] == '\r'
            && System.Text.Unicode.Utf8.IsValid(e.Received.AsSpan(0, end))
            && !e.Received.AsSpan(0, end - 1).ContainsAnyInRange((byte)0, (byte)31);
    }

    // Nothing follows, or the next message does. If anything else follows, it is another line.
    private static bool LacksItsLf(Evidence e)
    {
        if (e.Line is not { } line || !e.ReceivedStartsWith(line))
        {
            return false;
        }

        var next = e.ReceivedSoFar.AsSpan(Encoding.UTF8.GetByteCount(line));
        return next is [] or [0, ..] || next.StartsWith("OK"u8) || next.StartsWith("ER|"u8);
    }

    // If there is more than one error, or an earlier reply was right, the server has found the ends of the requests.
    private static bool MayTakeRequestsForOne(Evidence e) =>
        e.OfServer && e.Asked.UnansweredRequests > 1 && e.RepliesAccepted == 0 && e.At == 0 && e.ErrorReplies == 1
        && e.Expects("OK");

    private static bool SplitsMessages(Evidence e) =>
        e.OfServer && e.Delivery == Delivery.Whole && e.Asked.PiecesSplitMessages && e.ExpectsReply;

    // A block was sent before, and an error came that does not suit a valid request.
    private static bool IsLeftOver(Evidence e) =>
        e.OfServer && e.Asked.Blocks > 0 && e.HasReplied && e.Refused("bad-request", "unsupported")
        && !e.Expects("ER|bad-request") && !e.Expects("ER|unsupported");

    private static bool IsInsideABlock(Evidence e) =>
        e.Expected is { Length: > 64 } && e.At > 0 || e.ExpectsBytes;

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
