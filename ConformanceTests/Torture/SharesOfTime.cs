using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Clients that cost the server time without sending much do not delay others (P6, P9).</summary>
[Torture]
public sealed class SharesOfTime : TortureFixture
{
    private const int Clients = 90;

    private static double Median(List<double> values) => values.Order().ElementAt(values.Count / 2);

    // Downloads a small file again and again for this many seconds. Returns how long each GET took, in milliseconds.
    private static List<double> TimesOfSmallGets(RunningServer server, double seconds)
    {
        var times = new List<double>();
        using var other = server.Connect();
        other.Get("small.png");
        for (var clock = Stopwatch.StartNew(); clock.Elapsed.TotalSeconds < seconds;)
        {
            times.Add(Milliseconds(() => other.Get("small.png")));
        }

        return times;
    }

    [Test]
    public void Server_answers_others_while_it_hashes_and_stops_with_the_client()
    {
        const long Size = 1L << 30;
        var server = Start($"--max-clients {Clients + 5}");
        server.Has("small.png", Notation.Bytes(100));
        server.Has("large.png", Notation.Bytes(8));
        LocalFiles.SetLength(server.PathOf("large.png"), Size);
        var hashing = Enumerable.Range(0, Clients).Select(_ => server.Connect()).ToList();
        foreach (ProtocolConnection wire in hashing)
        {
            wire.Send($"GET|large.png|digest=sha256|offset={Size}\n");
        }

        List<double> times = TimesOfSmallGets(server, 3);
        Assert.That(times, Has.Count.GreaterThan(10));
        MustBeBelow(RunSettings.Milliseconds(60), Median(times), "the median of another client's GET");
        MustBeBelow(RunSettings.Milliseconds(2000), times.Max(), "the slowest of another client's GETs");

        foreach (ProtocolConnection wire in hashing)
        {
            wire.Reset();
        }

        // Their places are free at once: the server does not finish hashing for clients that have left.
        double took = Milliseconds(() =>
        {
            Repeat(Clients, () => Connect(server).List());
        });
        Say("P6 P9", $"{Clients} clients that have 1 GiB hashed: another one's GET {Median(times):0.0} ms in the "
            + $"median, {times.Max():0} ms at worst; after their resets {Clients} others were served in {took:0} ms");
    }

    [Test]
    public void Server_answers_others_while_it_flushes_many_uploads()
    {
        RequireStrace("P6");

        // Each flush takes 10 ms, as on a hard disk.
        const string Slow = "strace -f --seccomp-bpf -qq -o /dev/null -e trace=fsync,fdatasync "
            + "-e inject=fsync,fdatasync:delay_enter=10000";
        var server = Start("--sync --quiet", launcher: Slow);
        server.Has("small.png", Notation.Bytes(100));
        bool isOver = false;
        var uploads = Enumerable.Range(0, Clients).Select(client => Task.Factory.StartNew(() =>
        {
            using var wire = server.Connect();
            for (int i = 0; !Volatile.Read(ref isOver); i++)
            {
                wire.Put($"{client}-{i}.png", Notation.Bytes(100));
            }
        }, TaskCreationOptions.LongRunning)).ToArray();
        List<double> times;
        try
        {
            Thread.Sleep(500);
            times = TimesOfSmallGets(server, 8);
        }
        finally
        {
            Volatile.Write(ref isOver, true);
            Task.WaitAll(uploads, RunSettings.Milliseconds(60_000));
        }

        MustBeBelow(RunSettings.Milliseconds(100), Median(times), "the median of another client's GET");
        Say("P6", $"{Clients} clients that upload with --sync, 10 ms for each flush: another one's GET "
            + $"{Median(times):0} ms in the median, {times.Max():0} ms at worst");
    }

    [Test]
    public void Server_at_its_limit_accepts_a_client_that_connects_again([Values] bool resets)
    {
        int runs = Times(200);
        var server = Start("--max-clients 1 --quiet");
        for (int i = 0; i < runs; i++)
        {
            using var wire = server.Connect();
            wire.List();
            if (resets)
            {
                wire.Reset();
            }
        }

        Say("P9", $"{runs} clients, one after another, with a place for one: none of them reads busy, "
            + (resets ? "after resets" : "after closed connections"));
    }

    [Test]
    public void Server_limits_the_connections_that_it_drains()
    {
        const int MaxDraining = 256;
        var server = Start("--max-clients 10 --quiet");
        int before = Descriptors(server);
        var sockets = new List<Socket>();
        int most = 0;
        var clock = Stopwatch.StartNew();
        try
        {
            while (sockets.Count < 1500 && clock.ElapsedMilliseconds < 1800)
            {
                Socket socket = Dial(server.Port);
                sockets.Add(socket);
                socket.Send("\r\n"u8);
                if (sockets.Count % 50 == 0)
                {
                    most = Math.Max(most, Descriptors(server));
                }
            }

            most = Math.Max(most, Descriptors(server));
        }
        finally
        {
            sockets.ForEach(socket => socket.Dispose());
        }

        Assert.That(most - before, Is.LessThan(MaxDraining + 60), "descriptors");
        Say("P9", $"{sockets.Count} clients that are refused and stay, within 1.8 s: "
            + $"at most {most - before} descriptors");
    }
}
