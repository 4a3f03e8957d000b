// §7, §8: limits, deadlines, closing.  What takes its time takes it beside the other tests.

using System.Diagnostics;
using System.Security.Cryptography;

[Order(1)]                                              // what waits longest begins first
public sealed class Deadlines : ServerConformance
{
    // Between a little before the promise and well behind it: a verdict must not hang on a busy machine.
    private static void AssertTook(Stopwatch clock, double atLeast, double atMost) =>
        Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(atLeast, atMost + Settings.Milliseconds(10_000) / 1000.0));

    [Test, Clause("LIMIT-1", "P8", "CLOSE-1")]
    public void A_request_line_that_dribbles_buys_no_time([Values] bool comesWithTheOneBefore, [Values] bool dribbles)
    {
        var wire = Connect();
        wire.Send(comesWithTheOneBefore ? "LIST\nX" : "LIST\n");
        wire.Expect("OK\n");
        wire.ReceiveBlock();
        if (!comesWithTheOneBefore)
        {
            wire.Send("X");
        }

        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < TimeSpan.FromSeconds(40))
        {
            if (dribbles)
            {
                wire.Send("X");
            }

            if (wire.Socket.Poll(200_000, SelectMode.SelectRead))
            {
                break;
            }
        }

        AssertTook(clock, 9, 12);
        var ended = Stopwatch.StartNew();
        wire.ExpectError("timeout", closes: true);
        ExpectItReadsOn(wire, ended);
    }

    [Test, Clause("LIMIT-1")]
    public void A_line_that_waits_behind_a_block_has_its_time_after_it()
    {
        var picture = Notation.Bytes(16 << 20);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\nLIS");
        wire.RestsFor(12_000);
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture));
        wire.Send("T\n");
        wire.Expect("OK\n");
        wire.ReceiveBlock();
    }

    [Test, Clause("LIMIT-1", "P6")]
    public void Half_a_line_holds_up_nobody()
    {
        var half = Connect();
        half.Send("LIS");
        for (int i = 0; i < 20; i++)
        {
            Connect().List();
        }

        half.Send("T\n");
        half.Expect("OK\n");
    }

    [Test, Clause("LIMIT-2")]
    public void An_idle_connection_is_let_go([Values] bool hasAsked)
    {
        var server = Start(with: "idle=2");
        var wire = Connect(server);
        if (hasAsked)
        {
            wire.List();
        }

        var clock = Stopwatch.StartNew();
        bool came = wire.Socket.Poll(Settings.Milliseconds(14_000) * 1000, SelectMode.SelectRead);
        Demand(came, "timeout on a connection that has been idle for 2 s", "nothing in 14 s");
        AssertTook(clock, 1.5, 4);
        wire.ExpectError("timeout", closes: true);
    }

    [Test, Clause("LIMIT-2", "LIMIT-1", "LIMIT-3")]
    public void Who_does_something_is_not_idle()
    {
        // Half a line, an upload and a download that rest, each with a deadline of its own; and who asks now and then.
        var server = Start(with: "idle=3");
        var picture = Notation.Bytes(24 << 20);
        server.Has("big.png", picture);
        Wire half = Connect(server);
        Wire upload = Connect(server);
        Wire download = Connect(server);
        Wire asks = Connect(server);
        var isRefused = Connect(server);
        asks.List();
        Stopwatch all = Stopwatch.StartNew();
        Stopwatch gap = Stopwatch.StartNew();
        half.Send("LIS");
        upload.Send("PUT|cat.png\n");
        upload.Expect("OK\n");
        upload.Send([.. Notation.U64(20), .. Notation.Bytes(20).AsSpan(0, 10)]);
        download.Send("GET|big.png\n");
        download.Expect("OK\n");
        try
        {
            for (int i = 0; i < 10; i++)
            {
                Thread.Sleep(500);
                asks.List();
                isRefused.Send("GET|dog.png\n");
                isRefused.ExpectError("not-found");
                gap.Restart();
            }

            half.Send("T\n");
            half.Expect("OK\n");
        }
        // On a machine that has slept, nobody can say who was idle, or too late.
        catch (Violation) when (gap.ElapsedMilliseconds > 2000 || all.ElapsedMilliseconds > 8500)
        {
            return;
        }

        upload.Send(Notation.Bytes(20).AsSpan(10));
        upload.Expect("OK\n");
        Demand(download.ReceiveBlock().AsSpan().SequenceEqual(picture), "all octets of big.png", "others");
    }

    [Test, Clause("LIMIT-3", "P8", "CLOSE-1")]
    public void An_upload_that_dribbles_is_cut([Values(1000, 4 << 20)] int atOnce)
    {
        // However much came at once: what counts is what comes now.
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(8 << 20), .. Notation.Bytes(atOnce)]);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < TimeSpan.FromSeconds(60))
        {
            wire.Send("XXXXXXXXXX");
            if (wire.Socket.Poll(100_000, SelectMode.SelectRead))
            {
                break;
            }
        }

        AssertTook(clock, 18, 42);
        wire.ExpectError("timeout", closes: true);
        Assert.That(Server.Shows("cat.png"), Is.False);
        Assert.That(Connect().List(), Is.Empty);
    }

    [Test, Clause("LIMIT-3", "P8")]
    public void An_upload_that_stops_is_given_up([Values("no octet", "half a length", "no digest")] string comes)
    {
        bool digest = comes == "no digest";
        if (digest && Offers.Missing("DIGEST-2") is { } missing)
        {
            Assert.Ignore(missing);
        }

        var wire = Connect();
        wire.Send(digest ? "PUT|cat.png|digest=sha256\n" : "PUT|cat.png\n");
        wire.Expect("OK\n");
        if (comes == "half a length")
        {
            wire.Send(Notation.U64(100).AsSpan(0, 4));
        }

        if (digest)
        {
            wire.Send([.. Notation.U64(100), .. Notation.Bytes(100)]);
        }

        bool came = wire.Socket.Poll(Settings.Milliseconds(50_000) * 1000, SelectMode.SelectRead);
        Demand(came, $"ER|timeout|…, 20 to 40 s after the go-ahead: {comes} has come", "nothing in 50 s");
        wire.ExpectError("timeout", closes: true);
    }

    [Test, Clause("LIMIT-3")]
    public void A_go_ahead_may_be_used_late()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.RestsFor(15_000);
        wire.Send([.. Notation.U64(100), .. Notation.Bytes(100)]);
        wire.Expect("OK\n");
    }

    [Test, Clause("LIMIT-3", "P8")]
    public void Lone_replies_that_nobody_takes_have_a_deadline_too()
    {
        var wire = ConnectSlow();
        byte[] requests = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("GET|cat.exe\n", 100_000)));
        wire.Trace.Happens("(the client asks for as much as is taken, and takes no answer)");
        wire.Socket.Blocking = false;                   // when nothing is taken any more its answers do not fit
        Stopwatch sinceTaken = Stopwatch.StartNew();
        Stopwatch all = Stopwatch.StartNew();
        while (sinceTaken.ElapsedMilliseconds < Settings.Milliseconds(44_000)
            && all.ElapsedMilliseconds < Settings.Milliseconds(120_000))
        {
            if (!wire.Socket.Poll(500_000, SelectMode.SelectWrite))
            {
                continue;
            }

            wire.Socket.Send(requests, 0, requests.Length, SocketFlags.None, out var error);
            if (error == SocketError.Success)
            {
                sinceTaken.Restart();
            }
            else if (error != SocketError.WouldBlock)
            {
                break;            // closed
            }
        }

        wire.Socket.Blocking = true;
        wire.ReceiveRest(orSilence: true);
        Demand(wire.IsAtItsEnd, "the connection closed, 20 to 40 s after the client has stopped taking replies",
            "it stays open");
    }

    [Test, Clause("LIMIT-3")]
    public void An_upload_that_keeps_the_pace_may_last()
    {
        // 100 KiB now, 100 KiB behind the first deadline, and the rest later still: slow, and within its rights.
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        var picture = Notation.Bytes(500 << 10);
        wire.Send(Notation.U64((ulong)picture.Length));
        for (int i = 0; i < 5; i++)
        {
            wire.Send(picture.AsSpan(i * 100 << 10, 100 << 10));
            if (i < 4)
            {
                Thread.Sleep(7_000);
            }
        }

        wire.Expect("OK\n");
    }

    [Test, Clause("LIMIT-3")]
    public void The_rest_of_a_block_is_enough_however_late_it_is_taken()
    {
        // More than the kernels hold is asked for, and read only when the first deadline is near or past:
        // all of it comes, and no word about time behind it.
        var picture = Notation.Bytes(7 << 20);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\n");
        wire.Expect("OK\n");
        wire.Receive(8);
        wire.RestsFor(19_000);
        Assert.That(wire.Receive(picture.Length).AsSpan().SequenceEqual(picture));
        wire.List();
    }

    [Test, Clause("LIMIT-3", "CONN-2")]
    public void Listings_that_are_taken_late_come_all_the_same()
    {
        // More than the kernels hold: the server has to wait for its client, and may not give it up before its time.
        const int Files = 300;
        const int Times = 200;
        for (int i = 0; i < Files; i++)
        {
            Server.Has($"{i}{new string('x', 200)}.png", [1]);
        }

        var wire = ConnectSlow();
        wire.Send(string.Concat(Enumerable.Repeat("LIST\n", Times)));
        wire.RestsFor(5_000);
        for (int i = 0; i < Times; i++)
        {
            wire.Expect("OK\n");
            int lines = wire.ReceiveBlock().Count(octet => octet == '\n');
            Demand(lines == Files, $"{Files} lines in each of {Times} listings", $"{lines} in number {i + 1}");
        }
    }

    [Test, Clause("LIMIT-3", "GET-3", "P8")]
    public void A_download_that_nobody_reads_is_cut_without_a_word()
    {
        var picture = Notation.Bytes(64 << 20);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\n");
        wire.Expect("OK\n");
        wire.Receive(8);
        wire.RestsFor(Settings.Milliseconds(44_000));
        var octets = wire.ReceiveRest(orSilence: true);
        Demand(octets.Length < picture.Length && wire.IsAtItsEnd,
            "the connection closed, 20 to 40 s after the client has stopped taking octets",
            octets.Length == picture.Length ? "all of the file, after a rest of 44 s"
            : $"{octets.Length:N0} octets, and it stays open: the client took nothing for 44 s");
        Demand(octets.AsSpan().SequenceEqual(picture.AsSpan(0, octets.Length)), "octets of the file", "others");
    }
}

public sealed class Closing : ServerConformance
{
    [Test, Clause("CLOSE-1", "PUT-5")]
    public void A_reply_survives_the_upload_that_it_refuses()
    {
        foreach (string option in Offers.Missing("AHEAD-1") is null ? (string[])["", "|ahead"] : [""])
        {
            for (int i = 0; i < 5; i++)
            {
                var wire = Connect();
                wire.Send($"PUT|cat.png{option}\n");
                wire.Expect("OK\n");
                var clock = Stopwatch.StartNew();
                wire.Send(Notation.U64(ulong.MaxValue));
                wire.Socket.Send(new byte[512 << 10]);  // on their way while the refusal comes back
                wire.ExpectError("too-large", closes: true);
                ExpectItReadsOn(wire, clock);
            }
        }
    }

    [Test, Clause("CLOSE-1")]
    public void Octets_behind_a_request_that_closes_do_not_eat_the_reply()
    {
        for (int i = 0; i < 50; i++)
        {
            var wire = Connect();
            wire.Send("LIST\r\n" + new string('x', 5000));
            wire.ExpectError("bad-request", closes: true);
        }
    }

    [Test, Clause("CLOSE-1")]
    public void Behind_its_last_word_it_reads_on([Values("LIST\r\n", "GET\n", "PUT|cat.png\n")] string request)
    {
        for (int i = 0; i < 5; i++)
        {
            var wire = Connect();
            wire.List();
            var clock = Stopwatch.StartNew();
            wire.Send(request);
            if (request.StartsWith("PUT"))
            {
                wire.Expect("OK\n");
                wire.Send(Notation.U64(ulong.MaxValue));
            }

            wire.ExpectError(request.StartsWith("PUT") ? "too-large" : "bad-request", closes: true);
            ExpectItReadsOn(wire, clock);
        }
    }

    private Wire Dismissed()
    {
        var wire = Connect();
        wire.Send("LIST\r\n");
        wire.ExpectError("bad-request");
        return wire;
    }

    [Test, Clause("CLOSE-1")]
    public void Behind_its_last_word_it_waits_for_two_seconds_and_no_longer()
    {
        var wire = Dismissed();
        int most = Settings.Milliseconds(12_000);
        for (var clock = Stopwatch.StartNew(); !wire.SendingFailed && clock.ElapsedMilliseconds < most;)
        {
            wire.Send("x");
            Thread.Sleep(100);                          // the pace of the dribble
        }

        Demand(wire.SendingFailed, "the connection closed 2 s after the server's FIN, although the client goes on",
            $"it still takes octets after {most / 1000} s: one limit for all of the waiting, not one for each receive");
    }

    [Test, Clause("CLOSE-1")]
    public void Behind_its_last_word_it_drops_a_mebibyte_and_no_more()
    {
        const int Most = 64 << 20;                      // kernels on both sides hold a few MiB more
        var wire = Dismissed();
        var piece = new byte[1 << 20];
        int sent = 0;
        try
        {
            while (sent < Most)
            {
                sent += wire.Socket.Send(piece);
            }
        }
        catch (SocketException)
        {
            return;
        }             // closed, as it should be

        Demand(false, "the connection closed when 1 MiB has been dropped, although the client goes on",
            $"{sent >> 20} MiB were taken");
    }

    [Test, Clause("CLOSE-1")]
    public void A_last_reply_behind_a_large_block_arrives()
    {
        // Closing at once would throw away what the kernel has not sent yet, since there is input that nobody read.
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        Wire wire = Connect();
        Wire other = Connect();
        wire.Send("GET|big.png\nLIST\r\n" + new string('x', 50_000));
        for (int i = 0; i < 5; i++)
        {
            other.List();
        }

        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture));
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("CLOSE-2", "STATUS-1"), Reference]
    public void A_line_that_is_cut_short_is_shown_and_counted_as_it_came()
    {
        var server = Start("--trace");
        Wire cut = Connect(server);
        Wire other = Connect(server);
        cut.Send("LIST");
        cut.HalfClose();
        cut.ExpectError("bad-request", closes: true);
        other.Send("STATUS\n");
        other.Expect("OK\n");
        string[] figures = Encoding.UTF8.GetString(other.ReceiveBlock()).Split('\n')[0].Split('|');
        Assert.That(figures[3..5], Is.EqualTo(new[] { "1", "4" }), "one request, of four octets");
        Eventually(() => server.Program.Errors.Contains("#1 disconnected"), "its end is not logged");
        Assert.That(server.Program.Errors, Does.Contain("#1 C: LIST\n").And.Not.Contain("#1 C: LIST\\n"));
    }

    [Test, Clause("CLOSE-2", "P1")]
    public void An_upload_cut_at_every_stage_leaves_nothing()
    {
        byte[] all = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int cut = 0; cut < all.Length; cut++)
        {
            var wire = Connect();
            wire.Send("PUT|cat.png\n");
            wire.Expect("OK\n");
            wire.Send(all.AsSpan(0, cut));
            wire.HalfClose();
            wire.ExpectEnd();
            Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
                $"expected  an empty folder after an upload that was cut behind {cut} of {all.Length} octets\n"
                + "received  something stays in it");
        }

        Connect().Put("cat.png", Notation.Bytes(20));
    }

    [Test, Clause("CLOSE-2", "DIGEST-2", "P4")]
    public void An_upload_cut_inside_its_digest_leaves_nothing([Values(0, 1, 31)] int octets)
    {
        var wire = Connect();
        wire.Send("PUT|cat.png|digest=sha256\n");
        wire.Expect("OK\n");
        var digest = SHA256.HashData(Notation.Bytes(20));
        wire.Send([.. Notation.U64(20), .. Notation.Bytes(20), .. digest[..octets]]);
        wire.HalfClose();
        wire.ExpectEnd();
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
            $"expected  an empty folder after an upload that was cut behind {octets} octets of its digest\n"
            + "received  something stays in it");
    }

    [Test, Clause("CLOSE-3")]
    public void The_server_says_nothing_first()
    {
        var silent = Connect();
        for (int i = 0; i < 10; i++)
        {
            Connect().List();  // the barrier: the server has had time for it
        }

        Assert.That(silent.Socket.Available, Is.Zero);
        silent.HalfClose();
        silent.ExpectEnd();
    }
}
