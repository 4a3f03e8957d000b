namespace ConformanceTests.SelfTests;

/// <summary>Each hint, from the bytes that a program with that mistake sends.</summary>
[Reference]
public sealed class HintTests
{
    // The peer answers with the next of these at once; null ends the connection, nothing more to say is silence.
    private static Failure Failed(
        Action<ProtocolConnection> conversation, Delivery delivery, byte[]?[] answers, params string[] clauses)
    {
        using var pair = new Pair(Side.Client, delivery);
        new TestScope(clauses, "a test").Add(pair.Wire);
        foreach (var answer in answers)
        {
            if (answer is null)
            {
                pair.Peer.Dispose();
                break;
            }
            else
            {
                pair.Peer.Send(answer);
            }
        }

        return FailureOf(() => conversation(pair.Wire), clauses);
    }

    private static Failure FailureOf(Action conversation, params string[] clauses) =>
        Explanation.Of(Assert.Catch<Violation>(() => conversation())!, clauses);

    internal static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Joined(params byte[][] parts) => [.. parts.SelectMany(part => part)];

    private static readonly byte[] _cat = Notation.Bytes(300);
    private static readonly byte[] _ok = Text("OK\n");
    private static readonly byte[] _digest = new byte[32];
    private static readonly byte[] _realDigest = SHA256.HashData(_cat);

    // The conversations, from the client's side.
    private static void Ask(ProtocolConnection wire)
    {
        wire.Send("GET|Cat.png\n");
        wire.Expect("OK\n");
    }

    private static void Block(ProtocolConnection wire)
    {
        Ask(wire);
        wire.ExpectBytes(Notation.U64(300));
        wire.ExpectBytes(_cat);
    }

    // As transcripts expect it: the reply, the block and the digest together, and a reply after them.
    private static void AllTogether(ProtocolConnection wire)
    {
        wire.Send("GET|Cat.png|digest=sha256\nLIST\n");
        wire.Expect(new KnownBytes(Joined(_ok, Notation.U64(300), _cat, _realDigest, _ok, Notation.U64(0))));
    }

    private static void TwoInOnePiece(ProtocolConnection wire)
    {
        wire.Send("LIST\nLIST\n");
        wire.Expect("OK\n");
    }

    private static void CaseOfName(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Expect("Cat.png|");
    }

    private static void Malformed(ProtocolConnection wire)
    {
        wire.Send("\n");
        wire.ExpectError("bad-request", closes: true);
    }

    private static void UnknownVerb(ProtocolConnection wire)
    {
        wire.Send("X\n");
        wire.ExpectError("unsupported");
    }

    private static void UnknownOption(ProtocolConnection wire)
    {
        wire.Send("GET|a.png|digest=md5\n");
        wire.ExpectError("unsupported");
    }

    private static void OutsideName(ProtocolConnection wire)
    {
        wire.Send("GET|../x\n");
        wire.ExpectError("bad-name");
    }

    private static void OtherType(ProtocolConnection wire)
    {
        wire.Send("GET|x.exe\n");
        wire.ExpectError("bad-type");
    }

    private static void NotThere(ProtocolConnection wire)
    {
        wire.Send("GET|link.png\n");
        wire.ExpectError("not-found");
    }

    private static void Beyond(ProtocolConnection wire)
    {
        wire.Send("GET|a.png|offset=99\n");
        wire.ExpectError("bad-offset");
    }

    private static void Corrupt(ProtocolConnection wire) => wire.ExpectError("corrupt");

    private static void Separately(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Send("LIST\n");
        wire.Expect("OK\nOK\n");
    }

    private static void Twice(ProtocolConnection wire)
    {
        GoAhead(wire);
        wire.Send("LIST\n");
        wire.Expect("OK\n");
    }

    private static void Exists(ProtocolConnection wire)
    {
        wire.Send("PUT|x.png\n");
        wire.ExpectError("exists");
    }

    private static void GoAhead(ProtocolConnection wire)
    {
        wire.Send("PUT|a.png\n");
        wire.Expect("OK\n");
    }

    private static void Stopped(ProtocolConnection wire)
    {
        wire.ToldToStop("TERM");
        wire.ExpectError("stopping");
    }

    private static void OneTooMany(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.ExpectError("busy", closes: true);
    }

    private static Action<ProtocolConnection> Listing(string expected) => wire =>
    {
        wire.Send("LIST\n");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64((ulong)Text(expected).Length));
        wire.Expect(expected);
    };

    private static void AnyListing(ProtocolConnection wire) => wire.List();

    private static void AnyLine(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Expect(new Placeholder("digits"));
    }

    private static void BothOfTwo(ProtocolConnection wire)
    {
        TwoInOnePiece(wire);
        wire.Expect(new KnownBytes(Notation.U64(0)));
        wire.Expect("OK\n");
    }

    private static void OneMore(ProtocolConnection wire)
    {
        wire.Send("GET|a.png\n");
        wire.Expect(new KnownBytes(_ok));
        wire.Send("LIST\n");
        wire.Expect("OK\n");
    }

    private static Action<ProtocolConnection> Upload(
        byte[] block, Action<ProtocolConnection> then, string options = "") => wire =>
    {
        wire.Send($"PUT|a.png{options}\n");
        wire.Expect(new KnownBytes(_ok));
        wire.Send(block);
        then(wire);
    };

    private static void Together(ProtocolConnection wire)
    {
        wire.Send([.. "PUT|a.png\n"u8, .. _small, .. "LIST\n"u8]);
        wire.Expect("OK\nOK\n");
    }

    private static readonly byte[] _small = Joined(Notation.U64(9), Notation.Bytes(9));

    private static void Stored(ProtocolConnection wire) => wire.Expect("OK\n");

    private static void Refused(ProtocolConnection wire) => wire.ExpectError("bad-type");

    private static void LongName(ProtocolConnection wire)
    {
        wire.Send($"PUT|{new string('x', 251)}.png\n");
        wire.Expect("OK\n");
        wire.Send(_small);
        wire.Expect("OK\n");
    }

    private static void TakenInTheMeantime(ProtocolConnection wire) => wire.ExpectError("exists");

    private static void WithBlanks(ProtocolConnection wire)
    {
        wire.Send("LIST \n");
        wire.ExpectError("unsupported");
    }

    private static void Timed(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Expect(new Placeholder("time"));
    }

    private static void TooLarge(ProtocolConnection wire) => wire.ExpectError("too-large", closes: true);

    private static void AnotherPut(ProtocolConnection wire)
    {
        wire.Expect(new KnownBytes(_ok));
        wire.Send("PUT|b.png\n");
        wire.Expect("OK\n");
    }

    private static void Leaves(ProtocolConnection wire)
    {
        wire.HalfClose();
        wire.ExpectEnd();
    }

    private static void LeavesAfter(ProtocolConnection wire)
    {
        Ask(wire);
        wire.HalfClose();
        wire.ExpectEnd();
    }

    private static Action<ProtocolConnection> Digested(string options, ulong length) => wire =>
    {
        wire.Send($"GET|a.png|digest=sha256{options}\n");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64(length));
        wire.Receive((int)length);
        wire.ExpectBytes(_digest);
    };

    private static void Rest(ProtocolConnection wire)
    {
        wire.Send("GET|a.png|offset=7\n");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64(3));
    }

    private const string Umlaut = "ä.png|2|2026-01-31T23:59:59Z\n";
    private const string Plain = "a.png|2|2026-01-31T23:59:59Z\n";

    private static readonly
        (string Hint, Action<ProtocolConnection> Conversation, Delivery Delivery, byte[]?[] Answers)[] _table =
    [
        ("reversed length", Block, Delivery.Whole, [_ok, [.. Notation.U64(300).Reverse()]]),
        ("4-byte length", Block, Delivery.Whole, [_ok, [.. Notation.U64(300)[4..], .. _cat]]),
        ("length as text", Block, Delivery.Whole, [Text("OK\n300\n")]),
        ("length in characters", Listing(Umlaut), Delivery.Whole, [_ok, Notation.U64(29), Text(Umlaut)]),
        ("empty listing", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(0)]),
        ("empty block", Block, Delivery.Whole, [_ok, Notation.U64(0)]),
        ("time in another form", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(14), Text("a.png|2|17952\n")]),
        ("length of something else", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(7), Text("b.png|1")]),
        ("length off by itself", Block, Delivery.Whole, [_ok, Notation.U64(308)]),
        ("length off by the digest", Block, Delivery.Whole, [_ok, Notation.U64(332)]),
        ("length off by one", Block, Delivery.Whole, [_ok, Notation.U64(301)]),
        ("CR LF", Ask, Delivery.Whole, [Text("OK\r\n")]),
        ("no final LF", Block, Delivery.Whole, [[.. "OK"u8, .. Notation.U64(300)]]),
        ("plain ER", UnknownVerb, Delivery.Whole, [Text("ER\n")]),
        ("requests taken for one", TwoInOnePiece, Delivery.Whole, [Text("ER|unsupported|LIST LIST\n")]),
        ("one receive per request", BothOfTwo, Delivery.Whole, [_ok, Notation.U64(0)]),
        ("waits for a block that is too long", Upload(Notation.U64(ulong.MaxValue), TooLarge), Delivery.Whole, [_ok]),
        ("waits after a whole block", Upload(_small, Stored), Delivery.Whole, [_ok]),
        ("ended inside a block", Upload(_small[..12], Leaves), Delivery.Whole, [_ok, Text("ER|bad-request|x\n")]),
        ("ended inside a block, stays open", Upload(_small[..12], Leaves), Delivery.Whole, [_ok]),
        ("waits after pieces", Together, Delivery.Whole, []),
        ("pieces that end anywhere", Together, Delivery.Whole, [_ok, Text("ER|bad-request|x\n")]),
        ("digest not read", Upload([.. _small, .. _digest], Stored, "|digest=sha256"), Delivery.Whole,
            [_ok, Text("ER|unsupported|x\n")]),
        ("digest not read", Upload([.. _small, .. _digest], Stored, "|digest=sha256"), Delivery.Whole, [_ok, null]),
        ("leftovers of a block", Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|unsupported|x\n")]),
        ("leftovers of a block", Upload(_small, AnotherPut), Delivery.Whole, [_ok, _ok, Text("ER|bad-request|x\n")]),
        ("name to be refused", OutsideName, Delivery.Whole, [Text("ER|not-found|x\n")]),
        ("type to be refused", OtherType, Delivery.Whole, [Text("ER|not-found|x\n")]),
        ("no picture", Upload(_small, Refused), Delivery.Whole, [_ok, _ok]),
        ("no go-ahead", GoAhead, Delivery.Whole, []),
        ("no digest", Digested("", 8), Delivery.Whole, [_ok, Notation.U64(8), _cat[..8]]),
        ("wrong digest", Digested("|offset=1", 8), Delivery.Whole, [_ok, Notation.U64(8), _cat[..40]]),
        ("offset ignored", Rest, Delivery.Whole, [_ok, Notation.U64(10), _cat[..10]]),
        ("option ignored", UnknownOption, Delivery.Whole, [_ok]),
        ("listing in another order", Listing("a.png|1\nb.png|2\n"), Delivery.Whole,
            [_ok, Notation.U64(16), Text("b.png|2\na.png|1\n")]),
        ("one send taken for all", Block, Delivery.Whole, [_ok, Notation.U64(300), _cat[..200], null]),
        ("stops", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(29), Text("a.pn"), null]),
        ("closes after each request", OneMore, Delivery.Whole, [_ok, null]),
        ("closes after each request", Upload(_small, AnotherPut), Delivery.Whole, [_ok, _ok, null]),
        ("closes without a word", Ask, Delivery.Whole, [null]),
        ("never closes", Malformed, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("never closes", LeavesAfter, Delivery.Whole, [_ok]),
        ("extra bytes", Malformed, Delivery.Whole, [Text("ER|bad-request|x\nER|again|x\n")]),
        ("name case folded", CaseOfName, Delivery.Whole, [Text("cat.png|300")]),
        ("wrong code", UnknownVerb, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("malformed line", Malformed, Delivery.Whole, [Text("ER|unsupported|x\n")]),
        ("refused", Ask, Delivery.Whole, [Text("ER|not-found|x\n")]),
        ("taken", Exists, Delivery.Whole, [_ok]),
        ("name taken in the meantime", Upload(_small, TakenInTheMeantime), Delivery.Whole, [_ok, _ok]),
        ("line end and blanks taken off", WithBlanks, Delivery.Whole, [Joined(_ok, Notation.U64(0))]),
        ("time in another form", Timed, Delivery.Whole, [Text("2026-01-31 23:59:59+1\n")]),
        ("not there", NotThere, Delivery.Whole, [_ok]),
        ("not refused", Malformed, Delivery.Whole, [_ok]),
        ("digest not compared", Upload(_small, Corrupt, "|digest=sha256"), Delivery.Whole, [_ok, _ok]),
        ("offset not looked at", Beyond, Delivery.Whole, [_ok]),
        ("sends nothing", Ask, Delivery.Whole, []),
        ("closes without a word", UnknownVerb, Delivery.Whole, [null]),

        ("type refused", Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|bad-type|x\n")]),
        ("long name refused", LongName, Delivery.Whole, [_ok, Text("ER|storage|x\n")]),
        ("name refused", Ask, Delivery.Whole, [Text("ER|bad-name|x\n")]),
        ("stopped too early", Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|stopping|x\n")]),
        ("told to stop", Stopped, Delivery.Whole, [_ok]),
        ("busy though there is room", Ask, Delivery.Whole, [Text("ER|busy|x\n")]),
        ("length cut short", Upload(Notation.U64(1UL << 32), TooLarge), Delivery.Whole, [_ok, Text("ER|empty|x\n")]),

        // where several messages were expected together
        ("reversed length", AllTogether, Delivery.Whole, [Joined(_ok, [.. Notation.U64(300).Reverse()], _cat)]),
        ("4-byte length", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(300)[4..], _cat)]),
        ("length as text", AllTogether, Delivery.Whole, [Joined(_ok, Text("300\n"), _cat)]),
        ("length off by one", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(301), _cat)]),
        ("length off by the digest", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(332), _cat)]),
        ("empty block", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(0))]),
        ("CR LF", AllTogether, Delivery.Whole, [Joined(Text("OK\r\n"), Notation.U64(300), _cat)]),
        ("no final LF", AllTogether, Delivery.Whole, [Joined(Text("OK"), Notation.U64(300), _cat)]),
        ("one send taken for all", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(300), _cat[..200]), null]),
        ("no digest", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(300), _cat), null]),
        ("no digest", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(300), _cat, _ok, Notation.U64(0))]),
        ("wrong digest", AllTogether, Delivery.Whole, [Joined(_ok, Notation.U64(300), _cat, _digest)]),
        ("CR LF", AllTogether, Delivery.Whole,
            [Joined(_ok, Notation.U64(300), _cat, _realDigest, Text("OK\r\n"), Notation.U64(0))]),
        ("refused", AllTogether, Delivery.Whole,
            [Joined(_ok, Notation.U64(300), _cat, _realDigest, Text("ER|unsupported|x\n"))]),
        ("refused", AllTogether, Delivery.Whole, [Text("ER|unsupported|GET\nER|unsupported|LIST\n")]),
        ("requests taken for one", AllTogether, Delivery.Whole, [Text("ER|not-found|GET LIST\n")]),
        ("closes after each request", AllTogether, Delivery.Whole,
            [Joined(_ok, Notation.U64(300), _cat, _realDigest), null]),
        ("closes without a word", AllTogether, Delivery.Whole, [null]),
        ("one receive per request", AllTogether, Delivery.Whole,
            [Joined(_ok, Notation.U64(300), _cat, _realDigest)]),

        // and where an older hint was wrong
        ("refused", Separately, Delivery.Whole, [_ok, Text("ER|unsupported|x\n")]),     // the first was answered
        ("closes after each request", Twice, Delivery.Whole, [_ok, null]),
        ("", Ask, Delivery.Whole, [Text("OK|modified=2026-01-31T23:59:59Z\n")]),         // its LF is there
        ("", Ask, Delivery.Whole, [Text("OKAY\n")]),
        ("refused", TwoInOnePiece, Delivery.Whole, [Text("ER|unsupported|LIST\nER|unsupported|LIST\n")]),
        ("refused", Together, Delivery.Whole, [Text("ER|unsupported|PUT\nER|unsupported|LIST\n")]),
        ("impossible length", AnyListing, Delivery.Whole, [_ok, [.. Notation.U64(300).Reverse()], _cat]),
        ("", AnyLine, Delivery.Whole, [_cat, null]),                         // the CR LF of a PNG ends no line
        ("told to stop", Stopped, Delivery.Whole, [null]),
        ("not busy", OneTooMany, Delivery.Whole, [Joined(_ok, Notation.U64(0))]),
        ("refused", Upload(Joined(Notation.U64(12), Text("\nLIST\nLIST\n"), [1]), Stored), Delivery.Whole,
            [_ok, Text("ER|exists|x\n")]),                       // line ends in a block do not end requests
        ("stops", CaseOfName, Delivery.Whole, [Text("Cat."), null]),                // nothing has changed its case
        ("", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(58)]),       // a line too many is not "a little"
    ];

    [TestCaseSource(nameof(_table))]
    public void From_its_traces(
        (string Hint, Action<ProtocolConnection> Conversation, Delivery Delivery, byte[]?[] Answers) row)
    {
        var failure = Failed(row.Conversation, row.Delivery, row.Answers);
        Assert.That(failure.HintName, Is.EqualTo(row.Hint), failure.Text());
    }

    [Test]
    public void An_answer_that_waits_for_the_end()
    {
        using var pair = new Pair(Side.Client);
        var server = Task.Run(() =>
        {
            while (pair.Peer.Receive(new byte[100]) > 0)
            {
            }

            pair.Peer.Send(_ok);
        });
        new TestScope([], "one connection").Add(pair.Wire);
        var failure = FailureOf(() => Ask(pair.Wire));
        Assert.That(failure.HintName, Is.EqualTo("answers after the end"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had ended its sending: OK\\n"));
        Assert.That(server.Wait(RunSettings.Patience));
    }

    [Test]
    public void A_silent_connection_that_holds_up_another()
    {
        using Pair silent = new(Side.Client);
        using Pair asks = new(Side.Client);
        var scope = new TestScope([], "two connections");
        scope.Add(silent.Wire);
        scope.Add(asks.Wire);
        var server = Task.Run(() =>
        {
            while (silent.Peer.Receive(new byte[100]) > 0)
            {
            }

            asks.Peer.Send(_ok);
        });
        var failure = FailureOf(() => Ask(asks.Wire));
        Assert.That(failure.HintName, Is.EqualTo("held up by another"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had closed its other connections: OK\\n"));
        Assert.That(server.Wait(RunSettings.Patience));
    }

    [Test]
    public void A_reset_is_told_by_the_sentence_about_closing()
    {
        using var pair = new Pair(Side.Client);
        pair.Wire.Send("LIST\r\nmore");
        pair.Peer.Receive(new byte[2]);
        pair.Peer.Close();                              // with bytes unread
        var failure = FailureOf(() => pair.Wire.ExpectError("bad-request", closes: true));
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("reset", "CLOSE-1")), failure.Text());
    }

    [Test]
    public void A_temporary_that_another_server_removed()
    {
        var failure = Failed(Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|storage|gone\n")], "P13");
        Assert.That(failure.HintName, Is.EqualTo("a living temporary was removed"));
    }

    [Test]
    public void A_name_that_a_cut_upload_has_taken()
    {
        var failure = Failed(GoAhead, Delivery.Whole, [Text("ER|exists|here\n")], "P11", "P1");
        Assert.That(failure.HintName, Is.EqualTo("taken by an upload that was cut"));
    }

    [Test]
    public void A_name_that_a_running_upload_has_taken()
    {
        var failure = Failed(GoAhead, Delivery.Whole, [Text("ER|exists|here\n")], "PUT-6");
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("name taken too early", "PUT-4")));
    }

    [Test]
    public void A_deadline_that_nobody_keeps()
    {
        var failure = Failed(wire =>
        {
            Ask(wire);
            wire.ReceiveRest();
        }, Delivery.Whole, [_ok], "LIMIT-4");
        Assert.That(failure.HintName, Is.EqualTo("deadline ignored"));
    }

    [Test]
    public void A_client_that_waits_for_more_than_there_is()
    {
        using var pair = new Pair(Side.Server);
        pair.Wire.Send("OK\n");
        var failure = FailureOf(pair.Wire.ExpectEnd);
        Assert.That(failure.HintName, Is.EqualTo("client hangs"));
        pair.Peer.Send(Joined(_small));
        failure = FailureOf(pair.Wire.ExpectEnd);
        Assert.That(failure.HintName, Is.EqualTo("client says more"));
    }

    [TestCase("CLI-9", "client waits without a limit")]
    [TestCase("CLI-2", "client reads a line without a limit")]
    public void A_client_that_does_not_give_up(string clause, string hint)
    {
        using var pair = new Pair(Side.Server);
        Assert.That(FailureOf(pair.Wire.ExpectEnd, clause).HintName, Is.EqualTo(hint));
    }

    [TestCase("GET|cat.png\r\n", "CR LF")]
    [TestCase("GET|CAT.PNG\n", "name case folded")]
    [TestCase("GET|dog.png\n", "")]
    public void A_request_that_is_another(string request, string hint)
    {
        using var pair = new Pair(Side.Server);
        pair.Peer.Send(Text(request));
        var failure = FailureOf(() =>
        {
            string line = pair.Wire.ReceiveLine();
            throw pair.Wire.WrongLine(null, "GET|cat.png", line);
        });
        Assert.That(failure.HintName, Is.EqualTo(hint), failure.Text());
    }

    // ---- pieces ----

    [Test]
    public void Pieces_are_blamed_only_where_the_whole_passed([Values] bool wholePassed)
    {
        var failure = Failed(Ask, Delivery.ByteByByte, [Text("ER|unsupported|G\n")]);
        var pieces = new Verdict(3, "GET-1", "a, ByteByByte", "failed", "")
        { Failure = failure, Delivery = Delivery.ByteByByte };
        var whole = new Verdict(3, "GET-1", "a, Whole", wholePassed ? "passed" : "failed", "")
        { Failure = wholePassed ? null : failure with { InPieces = null }, Delivery = Delivery.Whole };
        var settled = RunReport.Settled([whole, pieces]).Single(verdict => verdict.Test == pieces.Test);
        Assert.That(settled.Failure!.HintName, Is.EqualTo(wholePassed ? "one receive is one message" : "refused"));
        Assert.That(settled.Clause, Is.EqualTo(wholePassed ? "CONN-3" : "GET-1"));
    }

    // The client passes what the server fails, and the other way round.
    [Test]
    public void Pieces_are_blamed_for_the_same_program_only()
    {
        var failure = Failed(Ask, Delivery.ByteByByte, [Text("ER|unsupported|G\n")]);
        Verdict Of(string fixture, Delivery delivery, bool passed) =>
            new(3, "GET-1", $"a, {delivery}", passed ? "passed" : "failed", "")
            { Fixture = fixture, Delivery = delivery, Failure = passed ? null : failure };

        var settled = RunReport.Settled(
        [
            Of("Transcripts", Delivery.Whole, passed: false), Of("Transcripts", Delivery.ByteByByte, passed: false),
            Of("ClientTranscripts", Delivery.Whole, passed: true),
        ]);
        var hints = settled.Where(verdict => verdict.Failure is not null).Select(verdict => verdict.Failure!.HintName);
        Assert.That(hints, Is.All.EqualTo("refused"));
    }

    [Test]
    public void Every_hint_is_tested()
    {
        string[] elsewhere =
        [
            "held up by another", "answers after the end", "reset", "a living temporary was removed",
            "client hangs", "client says more", "one receive is one message", "taken by an upload that was cut",
            "name taken too early",
            "deadline ignored", "client waits without a limit", "client reads a line without a limit",
        ];
        Assert.That(Hints.Names.Except(_table.Select(row => row.Hint)), Is.EquivalentTo(elsewhere));
    }
}
