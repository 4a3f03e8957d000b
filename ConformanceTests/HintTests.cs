// Each hint, from the octets that a server with that mistake sends.

[Reference]
public sealed class HintTests
{
    // A peer that answers each request with the next of these; null ends the connection;
    // nothing more to say is silence.
    static string Failure(Action<Wire> conversation, Delivery delivery, params byte[]?[] answers)
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(listener.LocalEndPoint!);
        using var wire = new Wire(client, Side.Client, delivery);
        using var peer = listener.Accept();
        foreach (var answer in answers)
            if (answer is null) { peer.Dispose(); break; }
            else peer.Send(answer);
        return Assert.Throws<Violation>(() => conversation(wire))!.Message;
    }

    static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);
    static readonly byte[] Cat = Notation.Bytes(300);
    // The conversations, from the client's side.
    static void Ask(Wire wire) { wire.Send("GET|Cat.png\n"); wire.Expect("OK\n"); }
    static void Block(Wire wire) { Ask(wire); wire.ExpectOctets(Notation.U64(300)); wire.ExpectOctets(Cat); }
    static void TwoInOnePiece(Wire wire) { wire.Send("LIST\nLIST\n"); wire.Expect("OK\n"); }
    static void CaseOfName(Wire wire) { wire.Send("LIST\n"); wire.Expect("Cat.png|"); }
    static void Malformed(Wire wire) { wire.Send("\n"); wire.ExpectError("bad-request", closes: true); }
    static void UnknownVerb(Wire wire) { wire.Send("X\n"); wire.ExpectError("unsupported"); }
    static void OutsideName(Wire wire) { wire.Send("GET|../x\n"); wire.ExpectError("bad-name"); }

    static void BothOfTwo(Wire wire)
    {
        TwoInOnePiece(wire);
        wire.Expect(new Octets(Notation.U64(0)));
        wire.Expect("OK\n");
    }

    static void OneMore(Wire wire)
    {
        wire.Send("GET|a.png\n");
        wire.Expect(new Octets(Text("OK\n")));
        wire.Send("LIST\n");
        wire.Expect("OK\n");
    }

    static readonly (string Hint, Action<Wire> Conversation, Delivery Delivery, byte[]?[] Answers)[] table =
    [
        ("reversed length", Block, Delivery.Whole, [Text("OK\n"), [.. Notation.U64(300).Reverse()]]),
        ("4-octet length", Block, Delivery.Whole, [Text("OK\n"), [.. Notation.U64(300)[4..], .. Cat]]),
        ("length as text", Block, Delivery.Whole, [Text("OK\n300\n")]),
        ("length off by a few", Block, Delivery.Whole, [Text("OK\n"), Notation.U64(308)]),
        ("CR LF", Ask, Delivery.Whole, [Text("OK\r\n")]),
        ("no final LF", Block, Delivery.Whole, [[.. "OK"u8, .. Notation.U64(300)]]),
        ("one receive per request", BothOfTwo, Delivery.Whole, [Text("OK\n"), Notation.U64(0)]),
        ("requests taken for one", TwoInOnePiece, Delivery.Whole, [Text("ER|unsupported|LIST LIST\n")]),
        ("one receive is one message", Ask, Delivery.OctetByOctet, [Text("ER|bad-request|G\n")]),
        ("one send taken for all", Block, Delivery.Whole, [Text("OK\n"), Notation.U64(300), Cat[..200], null]),
        ("closes after each request", OneMore, Delivery.Whole, [Text("OK\n"), null]),
        ("never closes", Malformed, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("extra octets", Malformed, Delivery.Whole, [Text("ER|bad-request|x\nER|again|x\n")]),
        ("name case folded", CaseOfName, Delivery.Whole, [Text("cat.png|300")]),
        ("plain ER", UnknownVerb, Delivery.Whole, [Text("ER\n")]),
        ("wrong code", UnknownVerb, Delivery.Whole, [Text("ER|bad-request|x\n")]),
        ("refused", Ask, Delivery.Whole, [Text("ER|not-found|x\n")]),
        ("not refused", OutsideName, Delivery.Whole, [Text("OK\n")]),
        ("sends nothing", Ask, Delivery.Whole, []),
    ];

    [TestCaseSource(nameof(table))]
    public void From_its_traces((string Hint, Action<Wire> Conversation, Delivery Delivery, byte[]?[] Answers) row)
    {
        string failure = Failure(row.Conversation, row.Delivery, row.Answers);
        Assert.That(failure, Does.Contain($"hint      {Hints.TextOf(row.Hint)}"), row.Hint);
    }

    [Test]
    public void An_answer_that_waits_for_the_end()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        client.Connect(listener.LocalEndPoint!);
        using var wire = new Wire(client, Side.Client);
        using var peer = listener.Accept();
        var server = Task.Run(() => { while (peer.Receive(new byte[100]) > 0) { } peer.Send("OK\n"u8); });
        string failure = Assert.Throws<Violation>(() => Ask(wire))!.Message;
        Assert.That(failure, Does.Contain(Hints.TextOf("answers after the end")));
        server.Wait(Settings.Patience);
    }

    [Test]
    public void Every_hint_is_tested()
    {
        var elsewhere = Hints.Names.Except(table.Select(row => row.Hint));
        Assert.That(elsewhere, Is.EqualTo(new[] { "answers after the end" }));
    }
}
