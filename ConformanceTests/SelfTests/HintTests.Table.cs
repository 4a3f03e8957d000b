namespace ConformanceTests.SelfTests;

/// <summary>The hints that the bytes alone show: each with a conversation, and with the answers of a program.</summary>
public sealed partial class HintTests
{
    internal static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static byte[] Joined(params byte[][] parts) => [.. parts.SelectMany(part => part)];

    private static readonly byte[] _cat = Notation.Bytes(300);
    private static readonly byte[] _ok = Text("OK\n");
    private static readonly byte[] _digest = new byte[32];
    private static readonly byte[] _realDigest = SHA256.HashData(_cat);

    // The conversations, from the client's side.
    private static void Ask(ProtocolConnection wire) => wire.Ask("GET|Cat.png");

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

    private static Action<ProtocolConnection> Refusal(string request, string code, bool closes = false) =>
        wire => wire.ExpectRefusal(request, code, closes);

    private static Action<ProtocolConnection> Error(string code, bool closes = false) =>
        wire => wire.ExpectError(code, closes);

    private static void Separately(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Send("LIST\n");
        wire.Expect("OK\nOK\n");
    }

    private static void Twice(ProtocolConnection wire)
    {
        GoAhead(wire);
        wire.Ask("LIST");
    }

    private static void GoAhead(ProtocolConnection wire) => wire.Ask("PUT|a.png");

    private static void Stopped(ProtocolConnection wire)
    {
        wire.ToldToStop("TERM");
        wire.ExpectError("stopping");
    }

    private static Action<ProtocolConnection> Listing(string expected) => wire =>
    {
        wire.Ask("LIST");
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
        wire.Ask("LIST");
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

    private static void StoredAlthoughStopped(ProtocolConnection wire)
    {
        wire.ToldToStop("TERM");
        Stored(wire);
    }

    private static void Listed(ProtocolConnection wire)
    {
        wire.Expect(new KnownBytes(_ok));
        wire.Ask("LIST");
    }

    private static void CutLine(ProtocolConnection wire)
    {
        wire.Send("LIS");
        wire.HalfClose();
        wire.ExpectError("bad-request", closes: true);
    }

    private static void SendsSlowly(ProtocolConnection wire)
    {
        wire.Send("LIST");
        wire.ExpectEnd();
    }

    private static void TakenAlready(ProtocolConnection wire)
    {
        wire.Send([.. "PUT|a.png|ahead\n"u8, .. _small]);
        wire.Expect("OK\n");
        wire.ExpectError("exists");
    }

    private static void LongName(ProtocolConnection wire)
    {
        wire.Send($"PUT|{new string('x', 251)}.png\n");
        wire.Expect("OK\n");
        wire.Send(_small);
        wire.Expect("OK\n");
    }

    private static void Timed(ProtocolConnection wire)
    {
        wire.Send("LIST\n");
        wire.Expect(new Placeholder("time"));
    }

    private static void AnotherPut(ProtocolConnection wire)
    {
        wire.Expect(new KnownBytes(_ok));
        wire.Ask("PUT|b.png");
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

    private static readonly (string Hint, Action<ProtocolConnection> Conversation, byte[]?[] Answers)[] _table =
    [
        ("reversed length", Block, [_ok, [.. Notation.U64(300).Reverse()]]),
        ("4-byte length", Block, [_ok, [.. Notation.U64(300)[4..], .. _cat]]),
        ("length as text", Block, [Text("OK\n300\n")]),
        ("length in characters", Listing(Umlaut), [_ok, Notation.U64(29), Text(Umlaut)]),
        ("empty listing", Listing(Plain), [_ok, Notation.U64(0)]),
        ("empty block", Block, [_ok, Notation.U64(0)]),
        ("time in another form", Listing(Plain), [_ok, Notation.U64(14), Text("a.png|2|17952\n")]),
        ("length of something else", Listing(Plain), [_ok, Notation.U64(7), Text("b.png|1")]),
        ("length off by itself", Block, [_ok, Notation.U64(308)]),
        ("length off by the digest", Block, [_ok, Notation.U64(332)]),
        ("length off by one", Block, [_ok, Notation.U64(301)]),
        ("CR LF", Ask, [Text("OK\r\n")]),
        ("no final LF", Block, [[.. "OK"u8, .. Notation.U64(300)]]),
        ("plain ER", Refusal("X", "unsupported"), [Text("ER\n")]),
        ("requests taken for one", TwoInOnePiece, [Text("ER|unsupported|LIST LIST\n")]),
        ("one receive per request", BothOfTwo, [_ok, Notation.U64(0)]),
        ("waits for a block that is too long", Upload(Notation.U64(ulong.MaxValue), Error("too-large", closes: true)),
            [_ok]),
        ("waits after a whole block", Upload(_small, Stored), [_ok]),
        ("ended inside a block", Upload(_small[..12], Leaves), [_ok, Text("ER|bad-request|x\n")]),
        ("ended inside a block, stays open", Upload(_small[..12], Leaves), [_ok]),
        ("waits after pieces", Together, []),
        ("pieces that end anywhere", Together, [_ok, Text("ER|bad-request|x\n")]),
        ("digest not read", Upload([.. _small, .. _digest], Stored, "|digest=sha256"),
            [_ok, Text("ER|unsupported|x\n")]),
        ("digest not read", Upload([.. _small, .. _digest], Stored, "|digest=sha256"), [_ok, null]),
        ("leftovers of a block", Upload(_small, Stored), [_ok, Text("ER|unsupported|x\n")]),
        ("leftovers of a block, or a refusal", Upload(_small, AnotherPut), [_ok, _ok, Text("ER|bad-request|x\n")]),
        ("leftovers of a block, or a refusal", Upload(_small, Listed), [_ok, _ok, Text("ER|unsupported|x\n")]),
        ("name to be refused", Refusal("GET|../x", "bad-name"), [Text("ER|not-found|x\n")]),
        ("type to be refused", Refusal("GET|x.exe", "bad-type"), [Text("ER|not-found|x\n")]),
        ("no picture", Upload(_small, Error("bad-type")), [_ok, _ok]),
        ("no go-ahead", GoAhead, []),
        ("no digest", Digested("", 8), [_ok, Notation.U64(8), _cat[..8]]),
        ("wrong digest", Digested("|offset=1", 8), [_ok, Notation.U64(8), _cat[..40]]),
        ("offset ignored", Rest, [_ok, Notation.U64(10), _cat[..10]]),
        ("option ignored", Refusal("GET|a.png|digest=md5", "unsupported"), [_ok]),
        ("listing in another order", Listing("a.png|1\nb.png|2\n"),
            [_ok, Notation.U64(16), Text("b.png|2\na.png|1\n")]),
        ("one send taken for all", Block, [_ok, Notation.U64(300), _cat[..200], null]),
        ("stops", Listing(Plain), [_ok, Notation.U64(29), Text("a.pn"), null]),
        ("closes after each request", OneMore, [_ok, null]),
        ("closes after each request", Upload(_small, AnotherPut), [_ok, _ok, null]),
        ("closes without a word", Ask, [null]),
        ("never closes", Refusal("", "bad-request", closes: true), [Text("ER|bad-request|x\n")]),
        ("never closes", LeavesAfter, [_ok]),
        ("extra bytes", Refusal("", "bad-request", closes: true), [Text("ER|bad-request|x\nER|again|x\n")]),
        ("name case folded", CaseOfName, [Text("cat.png|300")]),
        ("wrong code", Refusal("X", "unsupported"), [Text("ER|bad-request|x\n")]),
        ("line without its LF", CutLine, [Text("ER|unsupported|x\n")]),
        ("malformed line", Refusal("", "bad-request", closes: true), [Text("ER|unsupported|x\n")]),
        ("refused", Ask, [Text("ER|not-found|x\n")]),
        ("taken", Refusal("PUT|x.png", "exists"), [_ok]),
        ("name taken in the meantime", Upload(_small, Error("exists")), [_ok, _ok]),
        ("line end and blanks taken off", Refusal("LIST ", "unsupported"), [Joined(_ok, Notation.U64(0))]),
        ("time in another form", Timed, [Text("2026-01-31 23:59:59+1\n")]),
        ("not there", Refusal("GET|link.png", "not-found"), [_ok]),
        ("not refused", Refusal("", "bad-request", closes: true), [_ok]),
        ("digest not compared", Upload(_small, Error("corrupt"), "|digest=sha256"), [_ok, _ok]),
        ("offset not looked at", Refusal("GET|a.png|offset=99", "bad-offset"), [_ok]),
        ("sends nothing", Ask, []),
        ("closes without a word", Refusal("X", "unsupported"), [null]),

        ("type refused", Upload(_small, Stored), [_ok, Text("ER|bad-type|x\n")]),
        ("long name refused", LongName, [_ok, Text("ER|storage|x\n")]),
        ("name refused", Ask, [Text("ER|bad-name|x\n")]),
        ("stopped too early", Upload(_small, StoredAlthoughStopped), [_ok, Text("ER|stopping|x\n")]),
        ("told to stop", Stopped, [_ok]),
        ("busy though there is room", Ask, [Text("ER|busy|x\n")]),
        ("length cut short", Upload(Notation.U64(1UL << 32), Error("too-large", closes: true)),
            [_ok, Text("ER|empty|x\n")]),

        // several messages were expected together
        ("reversed length", AllTogether, [Joined(_ok, [.. Notation.U64(300).Reverse()], _cat)]),
        ("4-byte length", AllTogether, [Joined(_ok, Notation.U64(300)[4..], _cat)]),
        ("length as text", AllTogether, [Joined(_ok, Text("300\n"), _cat)]),
        ("length off by one", AllTogether, [Joined(_ok, Notation.U64(301), _cat)]),
        ("length off by the digest", AllTogether, [Joined(_ok, Notation.U64(332), _cat)]),
        ("empty block", AllTogether, [Joined(_ok, Notation.U64(0))]),
        ("CR LF", AllTogether, [Joined(Text("OK\r\n"), Notation.U64(300), _cat)]),
        ("no final LF", AllTogether, [Joined(Text("OK"), Notation.U64(300), _cat)]),
        ("one send taken for all", AllTogether, [Joined(_ok, Notation.U64(300), _cat[..200]), null]),
        ("no digest", AllTogether, [Joined(_ok, Notation.U64(300), _cat), null]),
        ("no digest", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _ok, Notation.U64(0))]),
        ("wrong digest", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _digest)]),
        ("CR LF", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _realDigest, Text("OK\r\n"), Notation.U64(0))]),
        ("refused", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _realDigest, Text("ER|unsupported|x\n"))]),
        ("refused", AllTogether, [Text("ER|unsupported|GET\nER|unsupported|LIST\n")]),
        ("requests taken for one", AllTogether, [Text("ER|not-found|GET LIST\n")]),
        ("closes after each request", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _realDigest), null]),
        ("closes without a word", AllTogether, [null]),
        ("one receive per request", AllTogether, [Joined(_ok, Notation.U64(300), _cat, _realDigest)]),

        // bytes that resemble those of another hint
        ("refused", Separately, [_ok, Text("ER|unsupported|x\n")]),     // the first was answered
        ("closes after each request", Twice, [_ok, null]),
        ("", Ask, [Text("OK|modified=2026-01-31T23:59:59Z\n")]),         // its LF is there
        ("", Ask, [Text("OKAY\n")]),
        ("refused", TwoInOnePiece, [Text("ER|unsupported|LIST\nER|unsupported|LIST\n")]),
        ("refused", Together, [Text("ER|unsupported|PUT\nER|unsupported|LIST\n")]),
        ("impossible length", AnyListing, [_ok, [.. Notation.U64(300).Reverse()], _cat]),
        ("", AnyLine, [_cat, null]),                         // the CR LF of a PNG ends no line
        ("told to stop", Stopped, [null]),
        ("not busy", Refusal("LIST", "busy", closes: true), [Joined(_ok, Notation.U64(0))]),
        // Line ends in a block do not end requests.
        ("refused", Upload(Joined(Notation.U64(12), Text("\nLIST\nLIST\n"), [1]), Stored),
            [_ok, Text("ER|exists|x\n")]),
        ("refused", Upload(_small, Stored), [_ok, Text("ER|stopping|x\n")]),     // the test did not stop the server
        ("taken", TakenAlready, [_ok, _ok]),                                    // the name was taken before the block
        ("stops", CaseOfName, [Text("Cat."), null]),                // nothing has changed its case
        ("", Listing(Plain), [_ok, Notation.U64(58)]),       // a line too many is not "a little"
    ];

    [TestCaseSource(nameof(_table))]
    public void A_hint_fits_the_bytes_of_its_mistake(
        (string Hint, Action<ProtocolConnection> Conversation, byte[]?[] Answers) row)
    {
        var failure = Failed(row.Conversation, row.Answers);
        Assert.That(failure.HintName, Is.EqualTo(row.Hint), failure.Text());
    }
}
