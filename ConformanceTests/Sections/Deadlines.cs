namespace ConformanceTests.Sections;

/// <summary>LIMIT: deadlines. These tests wait, so they start first and run at the same time as the others.</summary>
[RunOrder(1)]                                              // the tests that wait longest start first
public sealed class Deadlines : ServerFixture
{
    // From a little before the deadline to well after it: the verdict must not depend on a busy machine.
    private static void MustEndInTime(Stopwatch clock, double atLeast, double atMost) =>
        EndsInTime(clock.Elapsed.TotalSeconds, atLeast, atMost + RunSettings.Milliseconds(6_000) / 1000.0);

    // Sends the text again and again with pauses, until something comes or the time is over.
    private static void SendSlowly(ProtocolConnection wire, string text, int pauseMilliseconds, int seconds)
    {
        for (var clock = Stopwatch.StartNew(); clock.Elapsed.TotalSeconds < seconds;)
        {
            if (text != "")
            {
                wire.Send(text);
            }

            if (wire.Socket.Poll(pauseMilliseconds * 1000, SelectMode.SelectRead))
            {
                return;
            }
        }
    }

    [Test, Slow, Clause("LIMIT-1", "P8", "CLOSE-1")]
    public void Server_ends_a_slow_request_line_10_s_after_its_first_byte(
        [Values] bool comesWithTheOneBefore, [Values] bool dribbles)
    {
        var wire = Connect();
        wire.Send(comesWithTheOneBefore ? "LIST\nX" : "LIST\n");
        wire.ReceiveAnswer();
        if (!comesWithTheOneBefore)
        {
            wire.Send("X");
        }

        var clock = Stopwatch.StartNew();
        SendSlowly(wire, dribbles ? "X" : "", 200, 40);
        MustEndInTime(clock, Limits.LineSeconds - 1, Limits.LineSeconds + 2);
        var ended = Stopwatch.StartNew();
        wire.ExpectError("timeout", closes: true);
        ExpectItReadsOn(wire, ended);
    }

    [Test, Slow, Clause("LIMIT-1")]
    public void Server_starts_the_deadline_of_a_pipelined_line_after_the_block_before_it()
    {
        var picture = Notation.Bytes(16 << 20);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\nLIS");
        wire.RestsFor(12_000);
        Same(picture, wire.ReceiveAnswer(), "the block");
        wire.AskForBlock("T");
    }

    [Test, Clause("LIMIT-1", "P6")]
    public void Server_answers_others_while_a_line_is_incomplete()
    {
        var half = Connect();
        half.Send("LIS");
        Repeat(20, () => Connect().List());
        half.Ask("T");
    }

    [Test, Clause("LIMIT-2")]
    public void Server_ends_an_idle_connection_with_timeout([Values] bool hasAsked)
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
        MustEndInTime(clock, 1.5, 4);
        wire.ExpectError("timeout", closes: true);
    }

    // The idle time begins with accept, or when the last reply and its block have been sent, of any request.
    [Test, Slow, Clause("LIMIT-2", "P8", "PUT-2")]
    public void Server_ends_idle_connections_whatever_they_did_before_and_others_do_now()
    {
        var server = Start(with: "idle=3");
        server.Has("cat.png", Notation.Bytes(100));
        var born = Stopwatch.StartNew();
        (string What, ProtocolConnection Wire)[] idle =
            [.. ((string[])["nothing", "LIST", "GET", "PUT", "an ER", "a refused block", "many requests"])
                .Select(what => (what, Connect(server)))];
        var busy = Connect(server);
        byte[] page = [.. "<!DOCTYPE html>"u8];
        var since = new Dictionary<ProtocolConnection, Stopwatch> { [idle[0].Wire] = born };
        foreach (var (what, wire) in idle.Skip(1))
        {
            since[wire] = Stopwatch.StartNew();         // started early, so that no timeout seems too early
            switch (what)
            {
                case "LIST":
                    wire.List();
                    break;
                case "GET":
                    wire.Get("cat.png");
                    break;
                case "PUT":
                    wire.Put("dog.png", Notation.Bytes(9));
                    break;
                case "an ER":
                    wire.ExpectRefusal("GET|bird.png", "not-found");
                    break;
                case "a refused block":
                    wire.BeginPut("page.png", page.Length, page);
                    wire.ExpectError("bad-type");
                    break;
                case "many requests":
                    wire.Send(string.Concat(Enumerable.Repeat("GET|bird.png\n", 50)));
                    Repeat(50, () => wire.ExpectError("not-found"));
                    break;
            }
        }

        // A server that looks at deadlines only when nothing else happens never gets to it.
        var clock = Stopwatch.StartNew();
        var waits = idle.ToList();
        while (waits.Count > 0 && clock.ElapsedMilliseconds < RunSettings.Milliseconds(14_000))
        {
            busy.List();
            Thread.Sleep(5);                            // the pace of the busy client
            foreach (var one in waits.Where(one => one.Wire.Socket.Poll(0, SelectMode.SelectRead)).ToArray())
            {
                waits.Remove(one);
                double after = since[one.Wire].Elapsed.TotalSeconds;
                Demand(after > 2.5, "no timeout before the 3 s are over", $"one after {after:0.0} s ({one.What})");
            }
        }

        Demand(waits.Count == 0, "timeout on each connection that has been idle for 3 s, while another client is busy",
            $"nothing in {clock.Elapsed.TotalSeconds:0} s after {string.Join(", ", waits.Select(one => one.What))}");
        foreach (var (_, wire) in idle)
        {
            wire.ExpectError("timeout", closes: true);
        }

        busy.List();
    }

    // The idle time begins when a transfer is complete, however long it took.
    [Test, Slow, Clause("LIMIT-2", "GET-1", "PUT-2")]
    public void Server_starts_the_idle_time_at_the_end_of_a_transfer([Values("GET", "PUT")] string verb)
    {
        var server = Start(with: "idle=2");
        var picture = Notation.Bytes(16 << 20);
        server.Has("big.png", picture);
        ProtocolConnection wire = ConnectSlow(server);
        wire.Send(verb == "GET" ? "GET|big.png\n" : "PUT|cat.png\n");
        wire.Expect("OK\n");
        var clock = Stopwatch.StartNew();
        if (verb == "GET")
        {
            wire.RestsFor(3_000);
            Same(picture, wire.ReceiveBlock(), "what GET of big.png brought");
        }
        else
        {
            wire.Send([.. Notation.U64(9), .. Notation.Bytes(9).AsSpan(0, 8)]);
            wire.RestsFor(3_000);
            clock.Restart();
            wire.Send(Notation.Bytes(9).AsSpan(8));
            wire.Expect("OK\n");
        }

        double transfer = verb == "GET" ? 3 : 0;
        wire.RestsFor(500);
        wire.Send("LIST\n");
        Skip.If(clock.Elapsed.TotalSeconds - transfer > 1.5, MachinePaused);

        wire.Expect("OK\n");
    }

    // The idle time is longer than the other deadlines, 10 s and 20 s, which must not end the connection.
    [Test, Slow, Clause("LIMIT-2", "LIST-1")]
    public void Server_keeps_an_idle_connection_for_its_idle_time_and_no_longer()
    {
        const int Idle = 24;
        var server = Start(with: $"idle={Idle}");
        var clock = Stopwatch.StartNew();
        ProtocolConnection silent = Connect(server);
        ProtocolConnection asks = Connect(server);
        asks.List();
        ExpectNoEnd(silent, clock, Idle - 1);
        Skip.If(clock.Elapsed.TotalSeconds > Idle - 0.5, MachinePaused);

        clock.Restart();
        asks.List();                                    // which begins its idle time again
        ExpectTimeout(silent, 12_000);
        ExpectNoEnd(asks, clock, Idle - 1);
        ExpectTimeout(asks, 12_000);
    }

    private static void ExpectNoEnd(ProtocolConnection wire, Stopwatch clock, double seconds)
    {
        double left = Math.Max(0, seconds - clock.Elapsed.TotalSeconds);
        bool ended = wire.Socket.Poll((int)(left * 1_000_000), SelectMode.SelectRead)
            && clock.Elapsed.TotalSeconds < seconds;
        Demand(!ended, $"a connection that may be idle for {seconds + 1:0} s",
            $"its end after {clock.Elapsed.TotalSeconds:0.0} s");
    }

    private static void ExpectTimeout(ProtocolConnection wire, int milliseconds)
    {
        bool came = wire.Socket.Poll(RunSettings.Milliseconds(milliseconds) * 1000, SelectMode.SelectRead);
        Demand(came, "timeout on a connection whose idle time is over", $"nothing for {milliseconds / 1000} s more");
        wire.ExpectError("timeout", closes: true);
    }

    // The 10 s pass also while another client is busy all the time.
    [Test, Slow, Clause("LIMIT-1", "P8", "LIST-1")]
    public void Server_ends_a_slow_line_while_another_client_is_busy()
    {
        ProtocolConnection half = Connect();
        ProtocolConnection busy = Connect();
        half.Send("LIS");
        var clock = Stopwatch.StartNew();
        bool came = false;
        while (!came && clock.ElapsedMilliseconds < RunSettings.Milliseconds(22_000))
        {
            busy.List();
            came = half.Socket.Poll(5_000, SelectMode.SelectRead);      // the pace of the other client
        }

        Demand(came, "timeout 10 s after the first byte of a line, while another client is busy", "nothing in 22 s");
        MustEndInTime(clock, Limits.LineSeconds - 1, Limits.LineSeconds + 2);
        half.ExpectError("timeout", closes: true);
    }

    [Test, Slow, Clause("LIMIT-2", "LIMIT-1", "LIMIT-3")]
    public void Server_does_not_close_active_connections_as_idle()
    {
        // Half a line, an upload and a download that pause, each with its own deadline; and a client that asks often.
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
        upload.BeginPut("cat.png", 20, Notation.Bytes(20).AsSpan(0, 10));
        download.Ask("GET|big.png");
        try
        {
            for (int i = 0; i < 10; i++)
            {
                Thread.Sleep(500);
                asks.List();
                isRefused.ExpectRefusal("GET|dog.png", "not-found");
                gap.Restart();
            }

            half.Ask("T");
        }
        catch (Violation) when (gap.ElapsedMilliseconds > 2000 || all.ElapsedMilliseconds > 8500)
        {
            Skip.Because(MachinePaused);
        }

        upload.Send(Notation.Bytes(20).AsSpan(10));
        upload.Expect("OK\n");
        Same(picture, download.ReceiveBlock(), "the block of big.png");
    }

    [Test, Slow, Clause("LIMIT-4", "P8", "CLOSE-1")]
    public void Server_ends_an_upload_that_is_too_slow([Values(1000, 4 << 20)] int atOnce)
    {
        // The bytes that came at once do not count later: each interval needs bytes of its own.
        var wire = Connect();
        wire.BeginPut("cat.png", 8 << 20, Notation.Bytes(atOnce));
        var clock = Stopwatch.StartNew();
        SendSlowly(wire, "XXXXXXXXXX", 100, 60);
        MustEndInTime(clock, Limits.PaceSeconds - 2, 2 * Limits.PaceSeconds + 2);
        wire.ExpectError("timeout", closes: true);
        Server.MustLack("cat.png");
        ListIs(Connect());
    }

    [Test, Slow, Clause("LIMIT-4", "P8")]
    public void Server_ends_an_upload_that_stops(
        [Values("no byte", "half a length", "half of what is no picture", "no digest")] string comes)
    {
        bool digest = comes == "no digest";
        Needs("DIGEST-2", when: digest);
        var wire = Connect();
        wire.Send(digest ? "PUT|cat.png|digest=sha256\n" : "PUT|cat.png\n");
        wire.Expect("OK\n");
        if (comes == "half a length")
        {
            wire.Send(Notation.U64(100).AsSpan(0, 4));
        }

        if (comes == "half of what is no picture")      // it will be refused, but not before it is complete
        {
            wire.Send([.. Notation.U64(100), .. new byte[50]]);
        }

        if (digest)
        {
            wire.Send([.. Notation.U64(100), .. Notation.Bytes(100)]);
        }

        bool came = wire.Socket.Poll(RunSettings.Milliseconds(50_000) * 1000, SelectMode.SelectRead);
        Demand(came, $"ER|timeout|…, 20 to 40 s after the go-ahead: {comes} has come", "nothing in 50 s");
        wire.ExpectError("timeout", closes: true);
        ExpectNothingHidden("after the timeout of an upload", breaks: "P12");
    }

    [Test, Slow, Clause("LIMIT-3")]
    public void Server_accepts_an_upload_that_starts_15_s_after_the_go_ahead()
    {
        var wire = Connect();
        wire.Ask("PUT|cat.png");
        wire.RestsFor(15_000);
        wire.Send([.. Notation.U64(100), .. Notation.Bytes(100)]);
        wire.Expect("OK\n");
    }

    [Test, Slow, Clause("LIMIT-4", "P8")]
    public void Server_closes_a_connection_with_unread_replies()
    {
        var wire = ConnectSlow();
        byte[] requests = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("GET|cat.exe\n", 100_000)));
        wire.Trace.Note("(the client sends requests as long as they are accepted, and reads no answer)");
        wire.Socket.Blocking = false;       // when nothing more is accepted, the answers do not fit into the buffers
        Stopwatch sinceAccepted = Stopwatch.StartNew();
        Stopwatch all = Stopwatch.StartNew();
        while (sinceAccepted.ElapsedMilliseconds < RunSettings.Milliseconds(44_000)
            && all.ElapsedMilliseconds < RunSettings.Milliseconds(120_000))
        {
            if (!wire.Socket.Poll(500_000, SelectMode.SelectWrite))
            {
                continue;
            }

            wire.Socket.Send(requests, 0, requests.Length, SocketFlags.None, out var error);
            if (error == SocketError.Success)
            {
                sinceAccepted.Restart();
            }
            else if (error != SocketError.WouldBlock)
            {
                break;                                  // the server has closed the connection
            }
        }

        wire.Socket.Blocking = true;
        wire.ReceiveRest(orSilence: true);
        Demand(wire.IsAtItsEnd, "the connection closed, 20 to 40 s after the client has stopped reading replies",
            "it stays open");
    }

    [Test, Slow, Clause("LIMIT-3")]
    public void Server_does_not_end_a_slow_upload_that_keeps_the_pace()
    {
        // 100 KiB now, 100 KiB after the first deadline, and the rest later: slow, but fast enough.
        var wire = Connect();
        wire.Ask("PUT|cat.png");
        var picture = Notation.Bytes(800 << 10);
        wire.Send(Notation.U64((ulong)picture.Length));
        for (int i = 0; i < 8; i++)
        {
            wire.Send(picture.AsSpan(i * 100 << 10, 100 << 10));
            if (i < 7)
            {
                Thread.Sleep(7_000);
            }
        }

        wire.Expect("OK\n");
    }

    // Six listings of 2 MB: more than the kernels hold.
    [Test, Slow, Clause("LIMIT-4", "GET-3", "LIST-1")]
    public void Server_closes_without_a_reply_if_listings_are_not_read()
    {
        Listings.Fill(Server.Folder, 10_000);
        var wire = ConnectSlow();
        Repeat(6, () => wire.Send("LIST\n"));
        wire.RestsFor(RunSettings.Milliseconds(44_000));
        wire.ReceiveRest(orSilence: true);
        Demand(wire.IsAtItsEnd, "the connection closed, 20 to 40 s after the client has stopped reading listings",
            "it stays open: the client read nothing for 44 s");
    }

    // Asks for a picture of this size, and receives its length only. The kernels hold little of the rest.
    private (ProtocolConnection Wire, byte[] Picture) AskForPicture(int size)
    {
        var picture = Notation.Bytes(size);
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Ask("GET|big.png");
        wire.Receive(8);
        return (wire, picture);
    }

    [Test, Slow, Clause("LIMIT-3")]
    public void Server_does_not_end_a_download_whose_rest_is_read_in_time()
    {
        // The client asks for more than the kernels hold, and reads it when the first deadline is near or past. The
        // server must send all of it, and no timeout after it.
        var (wire, picture) = AskForPicture(7 << 20);
        wire.RestsFor(19_000);
        Same(picture, wire.Receive(picture.Length), "the block");
        wire.List();
    }

    // There is no interval of 20 s in which the client reads nothing, but one of 18 s.
    [Test, Slow, Clause("LIMIT-3")]
    public void Server_does_not_end_a_download_that_is_read_with_pauses()
    {
        var (wire, picture) = AskForPicture(24 << 20);
        wire.RestsFor(9_000);
        var begin = wire.Receive(8 << 20);
        wire.RestsFor(18_000);
        Same(picture, [.. begin, .. wire.Receive(picture.Length - begin.Length)], "the block");
    }

    [Test, Slow, Clause("LIMIT-3", "CONN-2")]
    public void Server_sends_all_listings_to_a_client_that_reads_late()
    {
        // More than the kernels hold: the server has to wait for its client, and must not close the connection early.
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
            int lines = wire.ReceiveAnswer().Count(value => value == '\n');
            Demand(lines == Files, $"{Files} lines in each of {Times} listings", $"{lines} in number {i + 1}");
        }
    }

    [Test, Slow, Clause("LIMIT-4", "GET-3", "P8")]
    public void Server_closes_without_a_reply_if_a_download_is_not_read()
    {
        var (wire, picture) = AskForPicture(64 << 20);
        wire.RestsFor(RunSettings.Milliseconds(44_000));
        var bytes = wire.ReceiveRest(orSilence: true);
        Demand(bytes.Length < picture.Length && wire.IsAtItsEnd,
            "the connection closed, 20 to 40 s after the client has stopped reading",
            bytes.Length == picture.Length ? "all of the file, after a rest of 44 s"
            : $"{bytes.Length:N0} bytes, and it stays open: the client read nothing for 44 s");
        Same(picture[..bytes.Length], bytes, "the bytes of the file");
    }
}
