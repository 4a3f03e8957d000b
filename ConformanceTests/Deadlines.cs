// §7, §8: limits, deadlines, closing.  What takes its time takes it beside the other tests.

using System.Diagnostics;
using System.Security.Cryptography;

[Order(1)]                                              // what waits longest begins first
public sealed class Deadlines : ServerConformance
{
    // Between a little before the promise and well behind it: a verdict must not hang on a busy machine.
    static void AssertTook(Stopwatch clock, double atLeast, double atMost) =>
        Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(atLeast, atMost + Settings.Milliseconds(10_000) / 1000.0));

    [Test, Clause("LIMIT-1", "P8", "CLOSE-1")]
    public void A_request_line_that_dribbles_buys_no_time()
    {
        var wire = Connect();
        wire.List();
        wire.Socket.ReceiveTimeout = 200;
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < TimeSpan.FromSeconds(40))
        {
            wire.Socket.Send("X"u8);
            if (wire.Socket.Poll(200_000, SelectMode.SelectRead)) break;
        }
        AssertTook(clock, 9, 12);
        wire.ExpectError("timeout", closes: true);
    }

    [Test, Clause("LIMIT-1", "P6")]
    public void Half_a_line_holds_up_nobody()
    {
        var half = Connect();
        half.Send("LIS");
        for (int i = 0; i < 20; i++) Connect().List();
        half.Send("T\n");
        half.Expect("OK\n");
    }

    [Test, Clause("LIMIT-2"), Reference]
    public void An_idle_connection_is_let_go()
    {
        var server = Start("--idle 1");
        var wire = Connect(server);
        var clock = Stopwatch.StartNew();
        wire.ExpectError("timeout", closes: true);
        AssertTook(clock, 0.7, 2);
        var busy = Connect(server);                     // not idle: it asks now and then, for longer than the limit
        clock.Restart();
        while (clock.ElapsedMilliseconds < 1500) { busy.List(); Thread.Sleep(300); }
    }

    [Test, Clause("LIMIT-3", "P8", "CLOSE-1")]
    public void An_upload_that_dribbles_is_cut()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(1 << 20), .. Notation.Bytes(1000)]);
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < TimeSpan.FromSeconds(60))
        {
            wire.Socket.Send("XXXXXXXXXX"u8);
            if (wire.Socket.Poll(100_000, SelectMode.SelectRead)) break;
        }
        AssertTook(clock, 18, 42);
        wire.ExpectError("timeout", closes: true);
        Assert.That(Server.Shows("cat.png"), Is.False);
        Assert.That(Connect().List(), Is.Empty);
    }

    [Test, Clause("LIMIT-3", "P8")]
    public void A_go_ahead_that_is_not_used_is_taken_back()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        bool came = wire.Socket.Poll(Settings.Milliseconds(50_000) * 1000, SelectMode.SelectRead);
        if (!came) Assert.Fail("nothing came in 50 s");
        wire.ExpectError("timeout", closes: true);
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
            if (i < 4) Thread.Sleep(7_000);
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
        var wire = Connect();
        wire.Send("GET|big.png\n");
        wire.Expect("OK\n");
        wire.Receive(8);
        Thread.Sleep(19_000);
        Assert.That(wire.Receive(picture.Length).AsSpan().SequenceEqual(picture));
        wire.List();
    }

    [Test, Clause("LIMIT-3", "GET-3", "P8")]
    public void A_download_that_nobody_reads_is_cut_without_a_word()
    {
        var picture = Notation.Bytes(64 << 20);
        Server.Has("big.png", picture);
        var wire = Connect();
        wire.Send("GET|big.png\n");
        wire.Expect("OK\n");
        wire.Receive(8);
        Thread.Sleep(Settings.Milliseconds(44_000));
        var octets = wire.ReceiveRest();
        Assert.That(octets, Has.Length.LessThan(picture.Length));
        Assert.That(octets.AsSpan().SequenceEqual(picture.AsSpan(0, octets.Length)), "octets that are not the file's");
    }
}

public sealed class Closing : ServerConformance
{
    [Test, Clause("CLOSE-1", "PUT-5")]
    public void A_reply_survives_the_upload_that_it_refuses()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send(Notation.U64(ulong.MaxValue));
        wire.Socket.Send(new byte[512 << 10]);          // on their way while the refusal comes back
        wire.ExpectError("too-large", closes: true);
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
    public void A_last_reply_behind_a_large_block_arrives()
    {
        // Closing at once would throw away what the kernel has not sent yet, since there is input that nobody read.
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        Wire wire = Connect(), other = Connect();
        wire.Send("GET|big.png\nLIST\r\n" + new string('x', 50_000));
        for (int i = 0; i < 5; i++) other.List();
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture));
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("CLOSE-1", "P9"), Reference]
    public void Busy_is_read_by_a_client_that_spoke_first()
    {
        var server = Start("--max-clients 2");
        Wire[] running = [Connect(server), Connect(server)];
        foreach (var wire in running) wire.List();
        for (int i = 0; i < 20; i++)
        {
            var wire = Connect(server);
            wire.Send("LIST\nLIST\nLIST\n");
            wire.ExpectError("busy", closes: true);
            wire.Dispose();
        }
        foreach (var wire in running) wire.List();
        running[0].Dispose();
        Eventually(() =>                                // the place is free again once the server has seen the end
        {
            using var wire = server.Connect();
            wire.Send("LIST\n");
            return wire.ReceiveLine() == "OK";
        }, "no place becomes free");
    }

    [Test, Clause("CLOSE-2", "STATUS-1"), Reference]
    public void A_line_that_is_cut_short_is_shown_and_counted_as_it_came()
    {
        var server = Start("--trace");
        Wire cut = Connect(server), other = Connect(server);
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

    [Test, Clause("P9", "CLOSE-1"), Reference]
    public void A_connection_on_its_way_out_takes_no_place()
    {
        var server = Start("--max-clients 1");
        var leaving = Connect(server);
        leaving.Send("LIST\r\n");
        leaving.ExpectError("bad-request", closes: true);       // and stays: the server waits for its end
        Connect(server).List();
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
            Assert.That(Directory.GetFileSystemEntries(Server.Folder), Is.Empty, $"after {cut} of {all.Length} octets");
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
        Assert.That(Directory.GetFileSystemEntries(Server.Folder), Is.Empty);
    }

    [Test, Clause("CLOSE-3")]
    public void The_server_says_nothing_first()
    {
        var silent = Connect();
        for (int i = 0; i < 10; i++) Connect().List();  // the barrier: the server has had time for it
        Assert.That(silent.Socket.Available, Is.Zero);
        silent.HalfClose();
        silent.ExpectEnd();
    }

    [Test, Clause("CLOSE-4", "P12"), Reference]
    public void Told_to_stop_it_says_so_and_lets_transfers_end()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(8 << 20));
        Wire idle = Connect(server), half = Connect(server);
        Wire upload = Connect(server), download = Connect(server), stalled = Connect(server);
        idle.List();
        half.List();
        half.Send("LIS");
        upload.Send("PUT|dog.png\n");
        upload.Expect("OK\n");
        upload.Send([.. Notation.U64(30), .. Notation.Bytes(10)]);
        stalled.Send("PUT|never.png\n");
        stalled.Expect("OK\n");
        stalled.Send([.. Notation.U64(30), .. Notation.Bytes(10)]);
        download.Send("GET|cat.png\nLIST\n");
        download.Expect("OK\n");

        server.Program.Signal("TERM");
        idle.ExpectError("stopping", closes: true);
        half.ExpectError("stopping", closes: true);
        Assert.That(() => server.Connect(), Throws.TypeOf<Violation>());
        upload.Send(Notation.Bytes(30).AsSpan(10));
        upload.Expect("OK\n");
        upload.ExpectError("stopping", closes: true);
        Assert.That(download.ReceiveBlock(), Has.Length.EqualTo(8 << 20));
        download.ExpectError("stopping", closes: true);
        bool ended = stalled.Socket.Poll(Settings.Milliseconds(15_000) * 1000, SelectMode.SelectRead);
        if (!ended) Assert.Fail("the stalled upload is not ended");
        stalled.ExpectError("stopping", closes: true);
        Assert.That(server.Program.WaitForExit(Settings.Milliseconds(15_000)), Is.Zero);
        var left = Directory.GetFileSystemEntries(server.Folder).Select(Path.GetFileName);
        Assert.That(left, Is.EquivalentTo(new[] { "cat.png", "dog.png" }));
    }
}
