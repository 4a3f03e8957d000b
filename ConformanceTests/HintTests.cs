// Each hint, from the octets that a program with that mistake sends; and the words of failures.

[Reference]
public sealed class HintTests
{
    // The peer answers with the next of these at once; null ends the connection, nothing more to say is silence.
    private static Failure Failed(Action<Wire> conversation, Delivery delivery, params byte[]?[] answers)
    {
        using var pair = new Pair(Side.Client, delivery);
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

        return Assert.Throws<Violation>(() => conversation(pair.Wire))!.Failure;
    }

    private sealed class Pair : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        public readonly Wire Wire;
        public readonly Socket Peer;

        public Pair(Side self, Delivery delivery = Delivery.Whole)
        {
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _listener.Listen(1);
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(_listener.LocalEndPoint!);
            Wire = new Wire(socket, self, delivery) { Patience = Settings.Milliseconds(400) };
            Peer = _listener.Accept();
        }

        public void Dispose()
        {
            Wire.Dispose();
            Peer.Dispose();
            _listener.Dispose();
        }
    }

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Octets(params byte[][] parts) => [.. parts.SelectMany(part => part)];

    private static readonly byte[] _cat = Notation.Bytes(300);
    private static readonly byte[] _ok = Text("OK\n");
    private static readonly byte[] _digest = new byte[32];

    // The conversations, from the client's side.
    private static void Ask(Wire wire)
    {
        wire.Send("GET|Cat.png\n");
        wire.Expect("OK\n");
    }

    private static void Block(Wire wire)
    {
        Ask(wire);
        wire.ExpectOctets(Notation.U64(300));
        wire.ExpectOctets(_cat);
    }

    private static void TwoInOnePiece(Wire wire)
    {
        wire.Send("LIST\nLIST\n");
        wire.Expect("OK\n");
    }

    private static void CaseOfName(Wire wire)
    {
        wire.Send("LIST\n");
        wire.Expect("Cat.png|");
    }

    private static void Malformed(Wire wire)
    {
        wire.Send("\n");
        wire.ExpectError("bad-request", closes: true);
    }

    private static void UnknownVerb(Wire wire)
    {
        wire.Send("X\n");
        wire.ExpectError("unsupported");
    }

    private static void UnknownOption(Wire wire)
    {
        wire.Send("GET|a.png|digest=md5\n");
        wire.ExpectError("unsupported");
    }

    private static void OutsideName(Wire wire)
    {
        wire.Send("GET|../x\n");
        wire.ExpectError("bad-name");
    }

    private static void OtherType(Wire wire)
    {
        wire.Send("GET|x.exe\n");
        wire.ExpectError("bad-type");
    }

    private static void NotThere(Wire wire)
    {
        wire.Send("GET|link.png\n");
        wire.ExpectError("not-found");
    }

    private static void Beyond(Wire wire)
    {
        wire.Send("GET|a.png|offset=99\n");
        wire.ExpectError("bad-offset");
    }

    private static void Corrupt(Wire wire) => wire.ExpectError("corrupt");

    private static void Separately(Wire wire)
    {
        wire.Send("LIST\n");
        wire.Send("LIST\n");
        wire.Expect("OK\nOK\n");
    }

    private static void Exists(Wire wire)
    {
        wire.Send("PUT|x.png\n");
        wire.ExpectError("exists");
    }

    private static void GoAhead(Wire wire)
    {
        wire.Send("PUT|a.png\n");
        wire.Expect("OK\n");
    }

    private static void Stopped(Wire wire)
    {
        wire.ToldToStop("TERM");
        wire.ExpectError("stopping");
    }

    private static void OneTooMany(Wire wire)
    {
        wire.Send("LIST\n");
        wire.ExpectError("busy", closes: true);
    }

    private static Action<Wire> Listing(string expected) => wire =>
    {
        wire.Send("LIST\n");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64((ulong)Text(expected).Length));
        wire.Expect(expected);
    };

    private static void BothOfTwo(Wire wire)
    {
        TwoInOnePiece(wire);
        wire.Expect(new Octets(Notation.U64(0)));
        wire.Expect("OK\n");
    }

    private static void OneMore(Wire wire)
    {
        wire.Send("GET|a.png\n");
        wire.Expect(new Octets(_ok));
        wire.Send("LIST\n");
        wire.Expect("OK\n");
    }

    private static Action<Wire> Upload(byte[] block, Action<Wire> then, string options = "") => wire =>
    {
        wire.Send($"PUT|a.png{options}\n");
        wire.Expect(new Octets(_ok));
        wire.Send(block);
        then(wire);
    };

    private static void Together(Wire wire)
    {
        wire.Send([.. "PUT|a.png\n"u8, .. _small, .. "LIST\n"u8]);
        wire.Expect("OK\nOK\n");
    }

    private static readonly byte[] _small = Octets(Notation.U64(9), Notation.Bytes(9));

    private static void Stored(Wire wire) => wire.Expect("OK\n");

    private static void Refused(Wire wire) => wire.ExpectError("bad-type");

    private static void LongName(Wire wire)
    {
        wire.Send($"PUT|{new string('x', 251)}.png\n");
        wire.Expect("OK\n");
        wire.Send(_small);
        wire.Expect("OK\n");
    }

    private static void TakenMeanwhile(Wire wire) => wire.ExpectError("exists");

    private static void WithBlanks(Wire wire)
    {
        wire.Send("LIST \n");
        wire.ExpectError("unsupported");
    }

    private static void Timed(Wire wire)
    {
        wire.Send("LIST\n");
        wire.Expect(new Shape("time"));
    }

    private static void TooLarge(Wire wire) => wire.ExpectError("too-large", closes: true);

    private static void AnotherPut(Wire wire)
    {
        wire.Expect(new Octets(_ok));
        wire.Send("PUT|b.png\n");
        wire.Expect("OK\n");
    }

    private static void Leaves(Wire wire)
    {
        wire.HalfClose();
        wire.ExpectEnd();
    }

    private static void LeavesAfter(Wire wire)
    {
        Ask(wire);
        wire.HalfClose();
        wire.ExpectEnd();
    }

    private static Action<Wire> Digested(string options, ulong length) => wire =>
    {
        wire.Send($"GET|a.png|digest=sha256{options}\n");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64(length));
        wire.Receive((int)length);
        wire.ExpectOctets(_digest);
    };

    private static void Rest(Wire wire)
    {
        wire.Send("GET|a.png|offset=7\n");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64(3));
    }

    private const string Umlaut = "ä.png|2|2026-01-31T23:59:59Z\n";
    private const string Plain = "a.png|2|2026-01-31T23:59:59Z\n";

    private static readonly (string Hint, Action<Wire> Conversation, Delivery Delivery, byte[]?[] Answers)[] _table =
    [
        ("reversed length", Block, Delivery.Whole, [_ok, [.. Notation.U64(300).Reverse()]]),
        ("4-octet length", Block, Delivery.Whole, [_ok, [.. Notation.U64(300)[4..], .. _cat]]),
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
        ("waits behind a whole block", Upload(_small, Stored), Delivery.Whole, [_ok]),
        ("ended inside a block", Upload(_small[..12], Leaves), Delivery.Whole, [_ok, Text("ER|bad-request|x\n")]),
        ("ended inside a block, stays open", Upload(_small[..12], Leaves), Delivery.Whole, [_ok]),
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
        ("offset passed over", Rest, Delivery.Whole, [_ok, Notation.U64(10), _cat[..10]]),
        ("option passed over", UnknownOption, Delivery.Whole, [_ok]),
        ("listing in another order", Listing("a.png|1\nb.png|2\n"), Delivery.Whole,
            [_ok, Notation.U64(16), Text("b.png|2\na.png|1\n")]),
        ("one send taken for all", Block, Delivery.Whole, [_ok, Notation.U64(300), _cat[..200], null]),
        ("stops", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(29), Text("a.pn"), null]),
        ("closes after each request", OneMore, Delivery.Whole, [_ok, null]),
        ("closes after each request", Upload(_small, AnotherPut), Delivery.Whole, [_ok, _ok, null]),
        ("closes without a word", Ask, Delivery.Whole, [null]),
        ("never closes", Malformed, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("never closes", LeavesAfter, Delivery.Whole, [_ok]),
        ("extra octets", Malformed, Delivery.Whole, [Text("ER|bad-request|x\nER|again|x\n")]),
        ("name case folded", CaseOfName, Delivery.Whole, [Text("cat.png|300")]),
        ("wrong code", UnknownVerb, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("malformed line", Malformed, Delivery.Whole, [Text("ER|unsupported|x\n")]),
        ("refused", Ask, Delivery.Whole, [Text("ER|not-found|x\n")]),
        ("taken", Exists, Delivery.Whole, [_ok]),
        ("taken meanwhile", Upload(_small, TakenMeanwhile), Delivery.Whole, [_ok, _ok]),
        ("line end and blanks taken off", WithBlanks, Delivery.Whole, [Octets(_ok, Notation.U64(0))]),
        ("time in another form", Timed, Delivery.Whole, [Text("2026-01-31 23:59:59+1\n")]),
        ("not there", NotThere, Delivery.Whole, [_ok]),
        ("not refused", Malformed, Delivery.Whole, [_ok]),
        ("digest not compared", Upload(_small, Corrupt, "|digest=sha256"), Delivery.Whole, [_ok, _ok]),
        ("offset not looked at", Beyond, Delivery.Whole, [_ok]),
        ("requests taken for one", Separately, Delivery.Whole, [_ok, Text("ER|unsupported|x\n")]),
        ("sends nothing", Ask, Delivery.Whole, []),
        ("closes without a word", UnknownVerb, Delivery.Whole, [null]),

        ("type refused", Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|bad-type|x\n")]),
        ("long name refused", LongName, Delivery.Whole, [_ok, Text("ER|storage|x\n")]),
        ("name refused", Ask, Delivery.Whole, [Text("ER|bad-name|x\n")]),
        ("stopped too early", Upload(_small, Stored), Delivery.Whole, [_ok, Text("ER|stopping|x\n")]),
        ("told to stop", Stopped, Delivery.Whole, [_ok]),
        ("busy though there is room", Ask, Delivery.Whole, [Text("ER|busy|x\n")]),
        ("length cut short", Upload(Notation.U64(1UL << 32), TooLarge), Delivery.Whole, [_ok, Text("ER|empty|x\n")]),

        // and where an older hint was wrong
        ("told to stop", Stopped, Delivery.Whole, [null]),
        ("not busy", OneTooMany, Delivery.Whole, [Octets(_ok, Notation.U64(0))]),
        ("refused", Upload(Octets(Notation.U64(12), Text("\nLIST\nLIST\n"), [1]), Stored), Delivery.Whole,
            [_ok, Text("ER|exists|x\n")]),                       // line ends in a block are no requests
        ("stops", CaseOfName, Delivery.Whole, [Text("Cat."), null]),                // nothing has changed its case
        ("", Listing(Plain), Delivery.Whole, [_ok, Notation.U64(58)]),       // a line too many is not "a little"
    ];

    [TestCaseSource(nameof(_table))]
    public void From_its_traces((string Hint, Action<Wire> Conversation, Delivery Delivery, byte[]?[] Answers) row)
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
        var failure = Assert.Throws<Violation>(() => Ask(pair.Wire))!.Failure;
        Assert.That(failure.HintName, Is.EqualTo("answers after the end"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had ended its sending: OK\\n"));
        Assert.That(server.Wait(Settings.Patience));
    }

    [Test]
    public void A_silent_connection_that_holds_up_another()
    {
        using var watch = new Watch([], "two connections");
        using Pair silent = new(Side.Client);
        using Pair asks = new(Side.Client);
        var server = Task.Run(() =>
        {
            while (silent.Peer.Receive(new byte[100]) > 0)
            {
            }

            asks.Peer.Send(_ok);
        });
        var failure = Assert.Throws<Violation>(() => Ask(asks.Wire))!.Failure;
        Assert.That(failure.HintName, Is.EqualTo("held up by another"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had closed its other connections: OK\\n"));
        Assert.That(server.Wait(Settings.Patience));
    }

    [Test]
    public void A_reset_is_told_by_the_sentence_about_closing()
    {
        using var pair = new Pair(Side.Client);
        pair.Wire.Send("LIST\r\nmore");
        pair.Peer.Receive(new byte[2]);
        pair.Peer.Close();                              // with octets unread
        var failure = Assert.Throws<Violation>(() => pair.Wire.ExpectError("bad-request", closes: true))!.Failure;
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("reset", "CLOSE-1")), failure.Text());
    }

    [Test]
    public void A_temporary_that_another_server_removed()
    {
        using var watch = new Watch([Spec.Find("P12")], "two servers");
        var failure = Failed(Upload(_small, Stored), Delivery.Whole, _ok, Text("ER|storage|gone\n"));
        Assert.That(failure.HintName, Is.EqualTo("a living temporary was removed"));
    }

    [Test]
    public void A_name_that_a_cut_upload_has_taken()
    {
        using var watch = new Watch([Spec.Find("P11"), Spec.Find("P1")], "resets");
        var failure = Failed(GoAhead, Delivery.Whole, Text("ER|exists|here\n"));
        Assert.That(failure.HintName, Is.EqualTo("taken by an upload that was cut"));
    }

    [Test]
    public void A_name_that_a_running_upload_has_taken()
    {
        using var watch = new Watch([Spec.Find("PUT-6")], "two uploads");
        var failure = Failed(GoAhead, Delivery.Whole, Text("ER|exists|here\n"));
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("name taken too early", "PUT-4")));
    }

    [Test]
    public void A_deadline_that_nobody_keeps()
    {
        using var watch = new Watch([Spec.Find("LIMIT-3")], "nobody reads");
        var failure = Failed(wire =>
        {
            Ask(wire);
            wire.ReceiveRest();
        }, Delivery.Whole, _ok);
        Assert.That(failure.HintName, Is.EqualTo("deadline passed over"));
    }

    [Test]
    public void A_client_that_waits_for_more_than_there_is()
    {
        using var pair = new Pair(Side.Server);
        pair.Wire.Send("OK\n");
        var failure = Assert.Throws<Violation>(pair.Wire.ExpectEnd)!.Failure;
        Assert.That(failure.HintName, Is.EqualTo("client hangs"));
        pair.Peer.Send(Octets(_small));
        failure = Assert.Throws<Violation>(pair.Wire.ExpectEnd)!.Failure;
        Assert.That(failure.HintName, Is.EqualTo("client says more"));
    }

    [TestCase("CLI-9", "client waits for ever")]
    [TestCase("CLI-2", "client reads a line for ever")]
    public void A_client_that_does_not_give_up(string clause, string hint)
    {
        using var watch = new Watch([Spec.Find(clause)], "a client that waits");
        using var pair = new Pair(Side.Server);
        Assert.That(Assert.Throws<Violation>(pair.Wire.ExpectEnd)!.Failure.HintName, Is.EqualTo(hint));
    }

    // ---- pieces ----

    [Test]
    public void Pieces_are_blamed_only_where_the_whole_passed([Values] bool wholePassed)
    {
        var failure = Failed(Ask, Delivery.OctetByOctet, Text("ER|unsupported|G\n"));
        var pieces = new Verdict(3, "GET-1", "a, OctetByOctet", "failed", "") { Failure = failure };
        var whole = new Verdict(3, "GET-1", "a, Whole", wholePassed ? "passed" : "failed", "")
        { Failure = wholePassed ? null : failure with { InPieces = null } };
        var settled = Report.Settled([whole, pieces]).Single(verdict => verdict.Test == pieces.Test);
        Assert.That(settled.Failure!.HintName, Is.EqualTo(wholePassed ? "one receive is one message" : "refused"));
        Assert.That(settled.Clause, Is.EqualTo(wholePassed ? "CONN-3" : "GET-1"));
    }

    [Test]
    public void Every_hint_is_tested()
    {
        string[] elsewhere =
        [
            "held up by another", "answers after the end", "reset", "a living temporary was removed",
            "client hangs", "client says more", "one receive is one message", "taken by an upload that was cut",
            "name taken too early",
            "deadline passed over", "client waits for ever", "client reads a line for ever",
        ];
        Assert.That(Hints.Names.Except(_table.Select(row => row.Hint)), Is.EquivalentTo(elsewhere));
    }

    // ---- words ----

    private static Failure Check(string message, string test = "Nothing_is_said", params string[] clauses)
    {
        using var watch = new Watch([.. clauses.Select(Spec.Find)], test);
        return Wording.Checked(message, watch);
    }

    [Test]
    public void A_check_is_told_in_words()
    {
        var listing = Check(
            "  Assert.That(Connect().List(), Is.Empty)\n  Expected: <empty>\n  But was:  < \"a|1\" >", clauses: "P1");
        Assert.That(listing.Rows(hint: false), Is.EqualTo("expected  the listing: nothing\nreceived  \"a|1\"\n"));
        Assert.That(listing.Sentence, Is.EqualTo("P1"));
        var shows = Check(
            "  Assert.That(Server.Shows(\"cat.png\"), Is.False)\n  Expected: False\n  But was:  True",
            clauses: "BLOCK-2");
        Assert.That(shows.Rows(hint: false), Is.EqualTo(
            "expected  cat.png does not show in the server's folder\nreceived  cat.png shows in the server's "
                + "folder\n"));
        Assert.That((shows.HintName, shows.Sentence), Is.EqualTo(("shows too early", "P1")));
        var exit = Check(
            "  Assert.That(client.WaitForExit(), Is.Not.Zero)\n  Expected: not equal to 0\n  But was:  0",
            clauses: "CLI-7");
        Assert.That(exit.Rows(hint: false), Is.EqualTo(
            "expected  the client's exit code: other than 0\nreceived  0\n"));
        Assert.That(exit.Sentence, Is.Null);
        var longer = Check("  Assert.That(slow.Get(\"cat.png\"), Is.EqualTo(Notation.Bytes(12)))\n"
            + "  Expected is <System.Byte[12]>, actual is <System.Byte[30]>\n  Values differ at index [12]\n"
            + "  Extra:    < 211, 13... >");
        Assert.That(longer.Rows(hint: false), Is.EqualTo(
            "expected  what GET of cat.png brought: the same as was sent or stored\n"
            + "received  12 are due, 30 came; they differ first at number 12, counted from 0\n"));
        var said = Check(
            "  it spoke too soon\nAssert.That(wire.HasMore, Is.False)\n  Expected: False\n  But was:  True");
        Assert.That(said.Rows(hint: false), Is.EqualTo("expected  nothing is said\nreceived  it spoke too soon\n"));
        var octets = Check(
            "  Assert.That(wire.Get(\"a.png\"), Is.EqualTo(Cat))\n  Expected: < 79, 75, 10 >\n  But was:  < 79 >");
        Assert.That(octets.Rows(hint: false), Is.EqualTo(
            "expected  what GET of a.png brought: OK\\n\nreceived  O\n"));
    }

    [Test]
    public void A_time_is_told_in_words()
    {
        string CheckOf(string took) =>
            "  Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(a, b))\n  Expected: in range (9,22)\n  But was:  "
            + took;

        var late = Check(CheckOf("40.01d"), clauses: "LIMIT-1");
        Assert.That(late.Rows(hint: true), Does.Contain("still went on after 40 s").And.Contain("between 9 and 22 s")
            .And.Contain("one deadline for the line, from its first octet on, not one for each receive"));
        var early = Check(CheckOf("0.0091d"), clauses: "LIMIT-1");
        Assert.That(early.Received, Is.EqualTo("an answer, or the end, after 0 s"));
    }

    [Test]
    public void No_type_of_the_suite_is_named()
    {
        string[] messages =
        [
            "System.TimeoutException : The operation has timed out.\n   at Wire.Fill()",
            "System.IO.IOException : The process cannot access the file",
            "System.Net.Sockets.SocketException : Connection reset by peer",
            "System.InvalidOperationException : Sequence contains no elements",
            "  Assert.That(listed, Is.EqualTo(x))\n  Expected is <System.String[4]>, actual is "
                + "<System.Linq.Enumerable+X>\n"
                + "  Values differ at index [0]\n  Expected: \"a-b.png\"\n  But was:  \"b.png\"",
        ];
        foreach (string message in messages)
        {
            Assert.That(Check(message).Text(),
                Does.Not.Match(@"System\.|Exception|Assert|Wire|Linq").And.Contain("expected  "));
        }
    }

    [Test]
    public void What_a_terminal_would_obey_is_escaped() =>
        Assert.That(Wording.Printable("\u001b[2J\u202e\u200d\u0085 ä猫"), Is.EqualTo("\\x1B[2J\\u202E\\u200D\\x85 ä猫"));

    private static readonly (string Said, int Exit, bool IsCrash)[] _ends =
    [
        ("Traceback (most recent call last):\n  File \"x\"\nValueError: no\n", 1, true),
        ("Unhandled exception. System.Exception: no\n", 134, true),
        ("Exception in thread \"main\" java.io.IOException\n", 1, true),
        ("panic: runtime error\n", 2, true),
        ("thread 'main' panicked at src/main.rs:3\n", 101, true),
        ("", 139, true),
        ("cat.png: not-found: no file of that name\n", 1, false),
        ("error: the server said ER|exists|it is here\n", 2, false),
    ];

    [TestCaseSource(nameof(_ends))]
    public void A_crash_is_no_refusal((string Said, int Exit, bool IsCrash) end) =>
        Assert.That(Wording.Crash(end.Said, end.Exit) is not null, Is.EqualTo(end.IsCrash));

    // Each stage that has sentences stands in README's table, under the name that the report gives it.
    [Test]
    public void README_names_the_stages_as_the_report_does()
    {
        string readme = File.ReadAllText(Path.Combine(Settings.Root, "README.md"));
        var stages = Enumerable.Range(1, Stages.All.Length - 1).Where(stage => Stages.Sections(stage) != "");
        foreach (int stage in stages)
        {
            Assert.That(readme, Does.Match($@"(?m)^\|.*\b{stage} {Stages.All[stage].Name}( \||  *·)"), $"{stage}");
        }
    }
}
