using System.Diagnostics;
using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Sections;

/// <summary>LIMIT: deadlines. These tests wait, so they start first and run beside the others.</summary>
[RunOrder(1)]                                              // what waits longest begins first
public sealed class Deadlines : ServerFixture
{
    // Between a little before the promise and well behind it: a verdict must not hang on a busy machine.
    private static void AssertTook(Stopwatch clock, double atLeast, double atMost) =>
        Assert.That(
            clock.Elapsed.TotalSeconds, Is.InRange(atLeast, atMost + RunSettings.Milliseconds(10_000) / 1000.0));

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
        bool came = wire.Socket.Poll(RunSettings.Milliseconds(14_000) * 1000, SelectMode.SelectRead);
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
        ProtocolConnection half = Connect(server);
        ProtocolConnection upload = Connect(server);
        ProtocolConnection download = Connect(server);
        ProtocolConnection asks = Connect(server);
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
        catch (Violation) when (gap.ElapsedMilliseconds > 2000 || all.ElapsedMilliseconds > 8500)
        {
            Skip.Because(MachinePaused);
        }

        upload.Send(Notation.Bytes(20).AsSpan(10));
        upload.Expect("OK\n");
        Demand(download.ReceiveBlock().AsSpan().SequenceEqual(picture), "all octets of big.png", "others");
    }

    [Test, Clause("LIMIT-4", "P8", "CLOSE-1")]
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

    [Test, Clause("LIMIT-4", "P8")]
    public void An_upload_that_stops_is_given_up([Values("no octet", "half a length", "no digest")] string comes)
    {
        bool digest = comes == "no digest";
        if (digest && Extensions.Missing("DIGEST-2") is { } missing)
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

        bool came = wire.Socket.Poll(RunSettings.Milliseconds(50_000) * 1000, SelectMode.SelectRead);
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

    [Test, Clause("LIMIT-4", "P8")]
    public void Lone_replies_that_nobody_takes_have_a_deadline_too()
    {
        var wire = ConnectSlow();
        byte[] requests = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("GET|cat.exe\n", 100_000)));
        wire.Trace.Happens("(the client asks for as much as is taken, and takes no answer)");
        wire.Socket.Blocking = false;                   // when nothing is taken any more its answers do not fit
        Stopwatch sinceTaken = Stopwatch.StartNew();
        Stopwatch all = Stopwatch.StartNew();
        while (sinceTaken.ElapsedMilliseconds < RunSettings.Milliseconds(44_000)
            && all.ElapsedMilliseconds < RunSettings.Milliseconds(120_000))
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

    [Test, Clause("LIMIT-4", "GET-3", "P8")]
    public void A_download_that_nobody_reads_is_cut_without_a_word()
    {
        var picture = Notation.Bytes(64 << 20);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\n");
        wire.Expect("OK\n");
        wire.Receive(8);
        wire.RestsFor(RunSettings.Milliseconds(44_000));
        var octets = wire.ReceiveRest(orSilence: true);
        Demand(octets.Length < picture.Length && wire.IsAtItsEnd,
            "the connection closed, 20 to 40 s after the client has stopped taking octets",
            octets.Length == picture.Length ? "all of the file, after a rest of 44 s"
            : $"{octets.Length:N0} octets, and it stays open: the client took nothing for 44 s");
        Demand(octets.AsSpan().SequenceEqual(picture.AsSpan(0, octets.Length)), "octets of the file", "others");
    }
}
