using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Very many clients, idle and greedy ones.</summary>
[Torture]
public sealed class Crowds : TortureFixture
{
    [Test]
    public void Server_answers_others_beside_a_thousand_idle_and_four_greedy_clients()
    {
        var server = Start("--max-clients 2000");
        for (int i = 0; i < 30; i++)
        {
            server.Has($"{i}.png", Notation.Bytes(100));
        }

        LocalFiles.SetLength(server.PathOf("big.png"), 64 << 20);

        var probe = Connect(server);
        Repeat(100, () => probe.List());
        long before = Resident(server);
        long bytes = 0;
        var idle = Enumerable.Range(0, 1000).Select(_ => Own(Dial(server.Port))).ToArray();
        probe.List();
        double rest = Processor(server);

        bool enough = false;
        var bulk = Task.Run(() => Together(4, _ =>
        {
            using var socket = Dial(server.Port);
            var sink = new byte[1 << 20];
            while (!Volatile.Read(ref enough))
            {
                socket.Send("GET|big.png\n"u8);
                long left = 3 + 8 + (64 << 20);
                while (left > 0)
                {
                    int count = socket.Receive(sink);
                    if (count == 0)
                    {
                        throw new Violation("a bulk download was cut");
                    }

                    left -= count;
                    Interlocked.Add(ref bytes, count);
                }
            }
        }));
        var clock = Stopwatch.StartNew();
        double TimeOfList()
        {
            Thread.Sleep(2);
            return Milliseconds(() => probe.List());
        }

        var latencies = Enumerable.Range(0, Times(1000)).Select(_ => TimeOfList()).Order().ToArray();
        double p99 = latencies[latencies.Length * 99 / 100];
        double rate = bytes / 1e6 / clock.Elapsed.TotalSeconds;
        Volatile.Write(ref enough, true);
        Assert.That(bulk.Wait(60_000), "the bulk downloads hang");
        long grown = Resident(server) - before;
        int disturbed = idle.Count(socket => socket.Poll(0, SelectMode.SelectRead));
        Assert.That(disturbed, Is.Zero, "idle clients received something");
        MustBeBelow(RunSettings.Milliseconds(50), p99, "LIST's p99 in ms");
        Assert.That(grown, Is.LessThan(40 << 20), "resident bytes");
        MustBeBelow(5, rest, "% of a processor with a thousand idle clients");
        double median = latencies[latencies.Length / 2];
        double worst = latencies[^1];
        Say("P6 P7 P9", $"1,000 idle, 4 downloads at {rate:N0} MB/s: "
            + $"LIST takes {median:0.0} ms, p99 {p99:0.0} ms, worst {worst:0.0} ms; "
            + $"{Mebi(grown)} MiB more; {rest:0.0} % CPU while all are idle");
    }

    [Test]
    public void Server_ends_clients_that_never_read_or_write_in_time_and_at_little_cost()
    {
        var server = Start("--max-clients 1000");
        LocalFiles.SetLength(server.PathOf("big.png"), 64 << 20);

        var probe = Connect(server);
        for (int i = 0; i < 50; i++)
        {
            probe.List();
            probe.Put($"warm{i}.png", Notation.Bytes(1000));
        }

        int descriptors = Descriptors(server);
        long before = Resident(server);
        long most = before;
        double worst = 0;
        double end = 0;

        Repeat(200, () => Own(Dial(server.Port, receiveBuffer: 1 << 16)).Send("GET|big.png\nGET|big.png\n"u8));
        var waiting = new List<(ProtocolConnection Wire, string Kind, Stopwatch Since)>();
        foreach (var (kind, count) in ((string, int)[])[("line", 10), ("block", 10), ("silent", 100), ("length", 100)])
        {
            for (int i = 0; i < count; i++)
            {
                waiting.Add((BeginAndStop(server, kind, $"{kind}{i}.png"), kind, Stopwatch.StartNew()));
            }
        }

        probe.List();
        Assert.That(Descriptors(server), Is.GreaterThan(descriptors + 600), "some of the clients are not connected");

        var cut = waiting.Select(one => one.Kind).Distinct().ToDictionary(kind => kind, _ => new List<double>());
        var clock = Stopwatch.StartNew();
        while (end == 0 && clock.ElapsedMilliseconds < RunSettings.Milliseconds(50_000))
        {
            foreach (var one in waiting.ToArray())
            {
                if (one.Wire.Socket.Poll(0, SelectMode.SelectRead))
                {
                    cut[one.Kind].Add(one.Since.Elapsed.TotalSeconds);
                    one.Wire.ExpectError("timeout", closes: true);
                    one.Wire.Dispose();
                    waiting.Remove(one);
                }
                else if (one.Kind is "line" or "block")
                {
                    one.Wire.Socket.Send("X"u8);            // a byte every 100 ms
                }
            }

            worst = Math.Max(worst, Milliseconds(() => probe.List()));
            most = Math.Max(most, Resident(server));
            if (waiting.Count == 0 && Descriptors(server) <= descriptors)
            {
                end = clock.Elapsed.TotalSeconds;
            }

            Thread.Sleep(100);
        }

        int left = Descriptors(server) - descriptors;
        Assert.That(end, Is.GreaterThan(0), $"{waiting.Count} writers, {left} descriptors left after 50 s");
        double late = RunSettings.Milliseconds(3_000) / 1000.0;
        Assert.That(cut["line"], Is.All.InRange(9.5, 10 + late));
        foreach (string kind in (string[])["block", "silent", "length"])
        {
            Assert.That(cut[kind], Is.All.InRange(19.5, 40 + late), kind);
        }

        Assert.That(most - before, Is.LessThan(40 << 20), "resident bytes");
        MustBeBelow(RunSettings.Milliseconds(1000), worst, "LIST's worst in ms");
        Assert.That(Hidden(server.Folder), Is.Empty);
        Say("P6 P7", $"200 that never read, 200 that never write: at most {Mebi(most - before)} MiB more, "
            + $"LIST at worst {worst:0.0} ms; all cut and their descriptors back after {end:0.0} s");
        string Took(string kind) => $"{cut[kind].Min():0.0} to {cut[kind].Max():0.0} s";

        Say("P8", $"one byte per 100 ms: a line is cut after {Took("line")}, a block after {Took("block")}; "
            + $"a go-ahead that is not used after {Took("silent")}, a length without bytes after {Took("length")}");
    }

    // A client that stops inside a line, after the go-ahead, or after the length of a block.
    private ProtocolConnection BeginAndStop(RunningServer server, string kind, string name)
    {
        var wire = Own(new ProtocolConnection(Dial(server.Port), Side.Client));
        if (kind == "line")
        {
            wire.List();
            wire.Send("LIS");
            return wire;
        }

        wire.Ask($"PUT|{name}");
        if (kind is "block" or "length")
        {
            wire.Send(Notation.U64(1 << 20));
        }

        return wire;
    }

    [Test]
    public void Server_uses_no_CPU_without_descriptors_and_recovers()
    {
        RunningServer server = null!;
        ProtocolConnection[] wires = [];
        for (int burst = 0; burst < Times(15); burst++)
        {
            // The clients come as soon as the server listens, before it has opened the files that it needs later.
            server = Start("--max-clients 1000", launcher: "sh -c 'ulimit -n 128; exec \"$@\"' sh");
            server.Has("cat.png", Notation.Bytes(9));
            wires = [.. Enumerable.Range(0, 150).Select(_ => Connect(server))];
            for (var clock = Stopwatch.StartNew(); !server.Program.Errors.Contains("cannot accept"); Thread.Sleep(10))
            {
                Assert.That(server.Program.HasEnded, Is.False, server.Program.Said());
                Assert.That(clock.ElapsedMilliseconds, Is.LessThan(RunSettings.Patience),
                    $"they do not run out\n{server.Program.Said()}");
            }
        }

        double starving = Processor(server);
        Repeat(20, () => wires[0].List());           // accepted clients are served
        foreach (var wire in wires[1..141])
        {
            wire.Dispose();
        }

        foreach (var wire in wires[141..])
        {
            Assert.That(wire.Get("cat.png"), Is.EqualTo(Notation.Bytes(9)));
        }

        wires[0].Put("dog.png", Notation.Bytes(1000));
        double rest = Processor(server);
        MustBeBelow(20, starving, "% of a processor");
        MustBeBelow(5, rest, "% of a processor afterwards");
        Say("P9", $"150 clients, 128 descriptors, {Times(15)} servers: {starving:0.0} % CPU while none is left, "
            + $"{rest:0.0} % afterwards, all served in the end");
    }

    [Test]
    public void Server_needs_no_CPU_for_an_unread_log_and_for_waiting_clients()
    {
        var server = Start("--trace --max-clients 5", drain: false);
        server.Has("big.png", Notation.Bytes(32 << 20));
        server.Has("cat.png", Notation.Bytes(9));
        ProtocolConnection idle = Connect(server);
        ProtocolConnection half = Connect(server);
        ProtocolConnection upload = Connect(server);
        ProtocolConnection stalled = Connect(server);
        ProtocolConnection ended = Connect(server);
        double worst = Enumerable.Range(0, Times(5000)).Max(_ => Milliseconds(() => idle.Get("cat.png")));
        half.Send("LIS");
        upload.BeginPut("dog.png", 1000, Notation.Bytes(500));
        stalled.Send("GET|big.png\nGET|big.png\n");
        ended.Send("GET|big.png\n");
        ended.HalfClose();
        Connect(server).ExpectError("busy");
        double[] used = [Processor(server), Processor(server)];
        upload.Reset();
        idle.List();
        MustBeBelow(5, used.Max(), "% of a processor with each client at rest in another state");
        server.Program.Signal("TERM");
        Assert.That(server.Program.WaitForExit(RunSettings.Milliseconds(15_000)), Is.Zero);
        Say("P6", $"a --trace that is not read: {Times(5000):N0} GETs, at worst {worst:0.0} ms, and exit 0; "
            + $"at rest in six states {used.Max():0.0} % CPU");
    }
}
