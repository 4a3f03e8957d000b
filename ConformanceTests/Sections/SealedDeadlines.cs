namespace ConformanceTests.Sections;

/// <summary>SEAL: deadlines and stopping, inside TLS and in the handshake.</summary>
public sealed class SealedDeadlines : SealedFixture
{
    [Test, Slow, Clause("SEAL-4", "LIMIT-1", "P8")]
    public void Server_ends_a_handshake_after_10_s()
    {
        var steps = Enumerable.Range(0, 4).Select(step => HalfMade(step)).ToList();
        var dribbled = Dial();
        byte[] hello = Tls.HelloRecord();
        var clock = Stopwatch.StartNew();
        for (int at = 0; clock.Elapsed < TimeSpan.FromSeconds(40); at++)
        {
            dribbled.Tls.Write(hello.AsSpan(Math.Min(at, hello.Length - 2), 1));            // a byte every 200 ms
            if (dribbled.Socket.Poll(200_000, SelectMode.SelectRead))
            {
                break;
            }
        }

        double slack = RunSettings.Milliseconds(10_000) / 1000.0;
        EndsInTime(clock.Elapsed.TotalSeconds, 8.5, 12 + slack, "a handshake that is sent slowly");
        ExpectNothing(dribbled);
        foreach (var (wire, step) in steps.Select((wire, step) => (wire, step)))
        {
            if (step == 2)
            {
                wire.Tls.ReadServerMessages();
            }

            ExpectNothing(wire);
            EndsInTime(clock.Elapsed.TotalSeconds, 0, 14 + slack, $"a handshake that stops at step {step}");
        }

        StillServes();
    }

    [Test, Clause("SEAL-4", "CLOSE-4", "P12")]
    public void Server_that_is_stopped_ends_handshakes_at_once_and_finishes_sealed_transfers()
    {
        var server = Start(key: KeyFile);
        var picture = Notation.Bytes(8 << 20);
        server.Has("cat.png", picture);
        SealedConnection idle = Enter(server);
        SealedConnection half = Enter(server);
        SealedConnection upload = Enter(server);
        SealedConnection download = Enter(server);
        idle.List();
        half.List();
        half.Send("LIS");
        upload.BeginPut("dog.png", 30, Notation.Bytes(10));
        download.Send("GET|cat.png\nLIST\n");
        download.Expect("OK\n");
        var shaking = Enumerable.Range(0, 4).Select(step => HalfMade(step, server)).ToArray();
        shaking[2].Tls.ReadServerMessages();
        idle.List();
        var clock = Stopwatch.StartNew();
        server.Program.Signal("TERM");
        foreach (var wire in shaking)
        {
            ExpectNothing(wire);
        }

        Demand(clock.ElapsedMilliseconds < RunSettings.Milliseconds(3_000),
            "handshakes that end at once when the server is stopped",
            $"one that ended after {clock.Elapsed.TotalSeconds:0.0} s");
        idle.ExpectError("stopping", closes: true);
        half.ExpectError("stopping", closes: true);
        upload.Send(Notation.Bytes(30).AsSpan(10));
        upload.Expect("OK\n");
        upload.ExpectError("stopping", closes: true);
        Same(picture, download.ReceiveBlock(), "the block");
        download.ExpectError("stopping", closes: true);
        foreach (var wire in (SealedConnection[])[idle, half, upload, download, .. shaking])
        {
            wire.Dispose();
        }

        server.Program.MustSucceed(RunSettings.Milliseconds(15_000));
        var left = Directory.GetFileSystemEntries(server.Folder).Select(Path.GetFileName);
        Same(["cat.png", "dog.png"], left.Order(StringComparer.Ordinal)!, "what is in the server's folder",
            breaks: "P12");
    }

    [Test, Clause("SEAL-7", "CLOSE-4", "P12")]
    public void Server_that_is_stopped_sends_stopping_inside_TLS([Values("INT", "TERM")] string signal)
    {
        var server = Start(key: KeyFile);
        var wire = Enter(server);
        wire.List();
        server.Program.Signal(signal);
        wire.ExpectError("stopping", closes: true);
        wire.Dispose();
        server.Program.MustSucceed();
    }

    [Test, Clause("SEAL-7", "LIMIT-2")]
    public void Server_sends_timeout_inside_TLS_to_an_idle_client()
    {
        var server = Start(with: "idle=1", key: KeyFile);
        Enter(server).ExpectError("timeout", closes: true);
    }

    [Test, Slow, Clause("SEAL-7", "LIMIT-1", "LIMIT-3", "P8")]
    public void Server_ends_slow_lines_and_uploads_inside_TLS()
    {
        SealedConnection line = Enter();
        SealedConnection block = Enter();
        SealedConnection record = Enter();
        block.BeginPut("cat.png", 1 << 20, Notation.Bytes(1000));
        byte[] half = record.Tls.Record(Tls.Data, "LIST\n"u8);
        var clock = Stopwatch.StartNew();
        double[] ended = new double[3];
        SealedConnection[] all = [line, block, record];
        for (int turn = 0; clock.Elapsed < TimeSpan.FromSeconds(60) && (ended[0] == 0 || ended[1] == 0); turn++)
        {
            for (int i = 0; i < all.Length; i++)
            {
                if (ended[i] == 0 && all[i].Socket.Poll(0, SelectMode.SelectRead) && HasNews(all[i]))
                {
                    ended[i] = clock.Elapsed.TotalSeconds;
                }
            }

            if (ended[0] == 0)
            {
                line.Send("X");
            }

            if (ended[1] == 0)
            {
                block.Send("XXXX");
            }

            if (turn < half.Length / 2)
            {
                record.Tls.Write(half.AsSpan(turn, 1));
            }

            Thread.Sleep(100);
        }

        double slack = RunSettings.Milliseconds(10_000) / 1000.0;
        EndsInTime(ended[0], 9, 12 + slack, "a line that is sent slowly");
        EndsInTime(ended[1], 18, 42 + slack, "a block that is sent slowly");
        line.ExpectError("timeout", closes: true);
        block.ExpectError("timeout", closes: true);
        Server.MustLack("cat.png");
    }

    // Whether the server has sent data or closed. The tickets that TLS sends after a handshake do not count.
    private static bool HasNews(SealedConnection wire)
    {
        wire.Socket.ReceiveTimeout = 50;
        try
        {
            return wire.HasBytes;
        }
        finally
        {
            wire.Socket.ReceiveTimeout = RunSettings.Patience;
        }
    }
}
