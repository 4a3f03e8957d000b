// §3 and §4.1 to §4.4: octets, lines, requests, replies, blocks.

using System.Security.Cryptography;

[Order(3)]
public sealed class Connections : ServerConformance
{
    private static readonly byte[] _cat = Notation.Bytes(300);

    [Test, Clause("P6", "CONN-1")]
    public void Connections_are_served_in_whatever_order_they_speak()
    {
        // A server that handles one connection after the other would answer the first accepted first:
        // so the last speaks first.
        var wires = Enumerable.Range(0, 5).Select(_ => Connect()).ToArray();
        foreach (var wire in wires.Reverse())
        {
            Assert.That(wire.List(), Is.Empty);
        }
    }

    [Test, Clause("CONN-1")]
    public void A_hundred_requests_on_one_connection()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        for (int i = 0; i < 100; i++)
        {
            Assert.That(wire.Get("cat.png"), Is.EqualTo(_cat));
        }
    }

    [Test, Clause("CONN-2")]
    public void Ten_requests_in_one_send_are_answered_without_further_input()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        wire.Send(string.Concat(Enumerable.Repeat("GET|cat.png\n", 10)));
        for (int i = 0; i < 10; i++)
        {
            wire.Expect("OK\n");
            wire.ExpectOctets([.. Notation.U64(300), .. _cat]);
        }
    }

    [Test, Clause("CONN-2")]
    public void A_thousand_requests_before_the_first_answer_is_read()
    {
        for (int i = 0; i < 20; i++)
        {
            Server.Has($"{i}.png", _cat);
        }

        var wire = Connect();
        string requests = string.Concat(Enumerable.Repeat("LIST\n", 1000));
        var sending = Task.Run(() => wire.Send(requests));
        for (int i = 0; i < 1000; i++)
        {
            wire.Expect("OK\n");
            Assert.That(wire.ReceiveBlock(), Has.Length.EqualTo(10 * 31 + 10 * 32));
        }

        Assert.That(sending.Wait(Settings.Patience));
    }

    [Test, Clause("CONN-3")]
    public void A_message_may_end_anywhere_in_a_piece() => CutAnywhere("", []);

    [Test, Clause("DIGEST-2", "CONN-3")]
    public void A_digest_may_end_anywhere_in_a_piece() =>
        CutAnywhere("|digest=sha256", SHA256.HashData(Notation.Bytes(9)));

    // Request, block and the next request, cut in two at every octet.
    private void CutAnywhere(string option, byte[] digest)
    {
        byte[] request = Encoding.UTF8.GetBytes($"PUT|猫.png{option}\n");
        byte[] all = [.. request, .. Notation.U64(9), .. Notation.Bytes(9), .. digest, .. "LIST\n"u8];
        for (int cut = 1; cut < all.Length; cut++)
        {
            Server.Empty();
            var wire = Connect();
            wire.Send(all.AsSpan(0, cut));
            Connect().List();                           // by now the server has seen the first piece
            wire.Send(all.AsSpan(cut));
            wire.Expect("OK\nOK\nOK\n");
            wire.ExpectOctets(Notation.U64(31));
            wire.Expect("猫.png|9|");
            wire.Dispose();
        }
    }

    [Test, Clause("P6", "CONN-4")]
    public void Connecting_and_leaving_disturbs_nobody()
    {
        var stays = Connect();
        for (int i = 0; i < 50; i++)
        {
            Connect().Dispose();
        }

        Assert.That(stays.List(), Is.Empty);
    }

    [Test, Clause("CONN-4")]
    public void A_large_file_arrives_whole_after_a_half_close([Values(0, 1500)] int rest)
    {
        var big = Notation.Bytes(16 << 20);
        Server.Has("big.png", big);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\n");
        wire.HalfClose();
        if (rest > 0)
        {
            wire.RestsFor(rest);              // more than the kernels hold: the server has to wait for it
        }

        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(big));
        wire.ExpectEnd();
    }
}

public sealed class Lines : ServerConformance
{
    [Test, Clause("LINE-1")]
    public void A_character_may_be_cut_in_two()
    {
        Server.Has("猫.png", Notation.Bytes(8));
        var wire = Connect(Delivery.OctetByOctet);
        Assert.That(wire.Get("猫.png"), Has.Length.EqualTo(8));
    }

    [Test, Clause("LINE-2")]
    public void A_line_of_1024_octets_is_read([Values(0, 1, 1022, 1023)] int cut)
    {
        var wire = Connect();
        wire.Send(new string('X', cut));
        Connect().List();                               // by now the server has seen the first piece
        wire.Send(new string('X', 1023 - cut) + "\n");
        wire.ExpectError("unsupported");
        wire.List();
    }

    [Test, Clause("LINE-2", "CLOSE-1")]
    public void Octet_1024_without_a_line_end_is_answered_at_once()
    {
        var wire = Connect();
        wire.Send(new string('X', 1024));
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("LINE-2", "CLOSE-1")]
    public void A_megabyte_without_a_line_end()
    {
        var wire = Connect();
        wire.Send(new string('X', 1 << 20));
        wire.ExpectError("bad-request", closes: true);
    }

    private static readonly (string Name, byte[] Line)[] _bad =
    [
        ("empty",           []),
        ("CR",              [.. "\r"u8]),
        ("CR LF",           [.. "LIST\r"u8]),
        ("CR after a name", [.. "GET|cat.png\r"u8]),
        ("stray octet",     [.. "GET|"u8, 0xFF, .. ".png"u8]),
        ("overlong",        [.. "GET|"u8, 0xC0, 0xAF, .. ".png"u8]),
        ("surrogate",       [.. "GET|"u8, 0xED, 0xA0, 0x80, .. ".png"u8]),
        ("cut character",   [.. "GET|a.png"u8, 0xE7, 0x8C]),
        ("beyond Unicode",  [.. "GET|"u8, 0xF4, 0x90, 0x80, 0x80, .. ".png"u8]),
        ("pickle",          [0x80, 0x04, 0x95, 0x10]),
    ];

    [TestCaseSource(nameof(_bad)), Clause("LINE-3", "ERR-2", "P11", "CLOSE-1")]
    public void Malformed((string Name, byte[] Line) bad)
    {
        var wire = Connect();
        wire.Send([.. bad.Line, (byte)'\n']);
        wire.ExpectError("bad-request", closes: true);
        Connect().List();
    }

    [Test, Clause("LINE-4")]
    public void The_first_octet_of_TLS_is_refused_at_once(
        [Values("alone", "with an LF", "as it begins")] string how, [Values] bool hasAsked)
    {
        var wire = Connect();
        if (hasAsked)
        {
            wire.List();
        }

        wire.Send(how == "alone" ? [0x16] : how == "with an LF" ? [0x16, 0x0A] : Tls.HelloRecord());
        wire.ExpectError("bad-request", closes: true);
    }
}

public sealed class Requests : ServerConformance
{
    [Test, Clause("REQ-1", "ERR-2")]
    public void Unknown_verbs_and_options_cost_nothing(
        [Values("DELETE|cat.png", "list", "get|cat.png", "Get|cat.png", "LIST|", "LIST|x", "LISTS",
                "GET|cat.png|digest=md5", "GET|cat.png|digest", "GET|cat.png|digest=", "GET|cat.png|Digest=sha256",
                "GET|cat.png|", "GET|a|", "GET|a|digest",
                "GET|cat.png|offset =1", "PUT|dog.png|offset=1", "PUT|dog.png|mode=755",
                "PUT|dog.png|ahead=1", "PUT|dog.png|ahead=", "PUT|dog.png|Ahead", "GET|cat.png|ahead", "LIST|ahead",
                "LI\u0001ST", " LIST", "LIST ", "HELO cat", "STATUS|all")] string request)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(request + "\n");
        wire.ExpectError("unsupported");
        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    [Test, Clause("REQ-2", "CLOSE-1")]
    public void Requests_outside_the_grammar(
        [Values("|", "|cat.png", "GET", "PUT", "GET|cat.png|x=1|x=2", "PUT|dog.png|x|x", "LIST||", "GET|cat.png||",
                "PUT|dog.png|ahead|ahead", "PUT|dog.png|ahead|ahead=1", "GET|cat.png|ahead|ahead")] string request)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(request + "\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("REQ-2", "OFFSET-1", "CLOSE-1")]
    public void Offsets_that_are_no_numbers(
        [Values("", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1e1", "100000000000000000000", "१")] string offset)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send($"GET|cat.png|offset={offset}\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("REQ-2", "DIGEST-1", "CLOSE-1")]
    public void An_option_given_twice()
    {
        var wire = Connect();
        wire.Send("GET|cat.png|digest=sha256|digest=sha256\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("REPLY-1", "CLOSE-3")]
    public void Nothing_comes_but_the_answers()
    {
        // The barrier: whatever else the server said would come before the answer to the last request, or behind it.
        var wire = Connect();
        wire.Send("GET|cat.png\nPUT|a.exe\nLIST\n");
        wire.ExpectError("not-found");
        wire.ExpectError("bad-type");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64(0));
        wire.HalfClose();
        wire.ExpectEnd();
    }

    [Test, Clause("REPLY-2", "NAME-1")]
    public void A_reply_never_echoes_what_was_sent(
        [Values("GET|\u001b[2Jx.png", "GET|a\rb.png", "GET|\u202egnp.exe",
                "PUT|\u009bx.png", "\u001b]0;gotcha\u0007", "GET|a\u0000b.png")] string request)
    {
        var wire = Connect();
        wire.Send(request + "\n");
        string line = wire.ReceiveLine();
        Assert.That(line, Does.StartWith("ER|"));
        Assert.That(line.Any(c => char.IsControl(c) || c == '\u202e') || line.Contains("gotcha"), Is.False, line);
    }
}

public sealed class Blocks : ServerConformance
{
    private static readonly int[] _sizes =
    [
        8, 9, 255, 256, 1023, 1024, 1025, 4096, 8191, 65535, 65536, 65537,
        (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20,
    ];

    [TestCaseSource(nameof(_sizes)), Clause("BLOCK-1", "PUT-2", "GET-1")]
    public void Octets_go_up_and_come_back_unchanged(int size)
    {
        var wire = Connect();
        var picture = Notation.Bytes(size);
        wire.Put("cat.png", picture);
        var stored = Server.Stored("cat.png");
        Assert.That(stored.AsSpan().SequenceEqual(picture), "what was stored differs");
        Assert.That(wire.Get("cat.png").AsSpan().SequenceEqual(picture), "what came back differs");
    }

    [Test, Clause("BLOCK-1")]
    public void Nothing_in_a_block_is_a_mark()
    {
        byte[] marks =
        [
            .. Notation.Bytes(8),
            .. "\r\n\n\0\x1a\nOK\nER|x|y\nLIST\nEOF<END>\r\n.\r\n"u8,
            .. Enumerable.Range(0, 256).Select(i => (byte)i),
            0xEF, 0xBB, 0xBF,
        ];
        var wire = Connect(Delivery.OctetByOctet);
        wire.Put("marks.png", marks);
        Assert.That(wire.Get("marks.png"), Is.EqualTo(marks));
        wire.List();
    }

    [Test, Clause("BLOCK-1", "CONN-3")]
    public void Request_block_and_next_request_in_one_piece()
    {
        var wire = Connect();
        var picture = Notation.Bytes(50);
        wire.Send([.. "PUT|a.png\n"u8, .. Notation.U64(50), .. picture, .. "GET|a.png\nLIST\n"u8]);
        wire.Expect("OK\nOK\nOK\n");
        wire.ExpectOctets([.. Notation.U64(50), .. picture, .. "OK\n"u8]);
        Assert.That(wire.ReceiveBlock(), Has.Length.EqualTo(30));
    }

    private static readonly ulong[] _lies =
    [
        1UL << 31, 1UL << 32, (1UL << 32) + 9, long.MaxValue, 1UL << 63, ulong.MaxValue - 1, ulong.MaxValue,
    ];

    [TestCaseSource(nameof(_lies)), Clause("BLOCK-2", "PUT-5", "CLOSE-1")]
    public void A_length_beyond_the_limit(ulong length)
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send(Notation.U64(length));
        wire.ExpectError("too-large", closes: true);
        Assert.That(Server.Shows("cat.png"), Is.False);
        Connect().List();
    }

    [Test, Clause("BLOCK-2", "P7")]
    public void Many_large_lengths_and_few_octets_cost_nothing()
    {
        var wires = Enumerable.Range(0, 40).Select(_ => Connect()).ToArray();
        for (int i = 0; i < wires.Length; i++)
        {
            wires[i].Send($"PUT|{i}.png\n");
            wires[i].Expect("OK\n");
            wires[i].Send([.. Notation.U64(1 << 30), .. Notation.Bytes(10)]);
        }

        Assert.That(Connect().List(), Is.Empty);
        // What is taken on the disk, and not how long the files claim to be.
        if (OperatingSystem.IsWindows())
        {
            NotLookedAt.Skip("needs du");
        }

        using var du = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("du", ["-sk", Server.Folder]) { RedirectStandardOutput = true })!;
        int disk = int.Parse(du.StandardOutput.ReadToEnd().Split('\t')[0]);
        Demand(disk < 2048, "no room taken on the disk for lengths whose octets have not come",
            $"{disk} KiB are taken");
    }

    [Test, Clause("BLOCK-3", "DIGEST-2")]
    public void A_digest_stands_behind_the_block_and_is_no_part_of_it()
    {
        var wire = Connect(Delivery.ThreeOctets);
        var picture = Notation.Bytes(77);
        wire.Send("PUT|a.png|digest=sha256\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(77), .. picture, .. SHA256.HashData(picture), .. "GET|a.png\n"u8]);
        wire.Expect("OK\nOK\n");
        wire.ExpectOctets([.. Notation.U64(77), .. picture]);
    }
}
