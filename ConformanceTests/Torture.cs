// The promises of §10 under fire: `make torture`.  It takes minutes and a Linux, so it is no part of `make test`.
//
// Each test adds a line of what it counted to torture.txt.  SEED=2 draws other moments and other octets.  ROUNDS=0.1
// does a tenth of everything that is counted, ROUNDS=10 ten times as much; 1 takes about four minutes on two cores, and
// about as long again where TortureMachines.cs finds what it needs.

using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using static TortureReport;

// What all torture has in common: how much of it there is, and the file that says what came of it.
internal static class TortureReport
{
    private static readonly string _scale = Environment.GetEnvironmentVariable("ROUNDS") ?? "1";
    public static readonly double rounds =
        double.TryParse(_scale, CultureInfo.InvariantCulture, out double number) ? number : 1;
    private static readonly string _report = Path.Combine(Settings.Root, "ConformanceTests", "torture.txt");

    static TortureReport() =>               // once a run, whichever fixture comes first
        File.WriteAllText(_report, FormattableString.Invariant($"seed {Settings.Seed}, rounds x {rounds}\n"));

    public static int Times(int count) => Math.Max(1, (int)(count * rounds));

    public static void Say(string promises, string figures) =>
        File.AppendAllText(_report, $"{promises,-11} {figures}\n");

    public static void SayIfItFailed()
    {
        bool failed = TestContext.CurrentContext.Result.Outcome.Status == NUnit.Framework.Interfaces.TestStatus.Failed;
        if (failed)
        {
            Say("FAILED", TestContext.CurrentContext.Test.Name.Replace('_', ' '));
        }
    }
}

[Category("Torture"), Reference, NonParallelizable]
public sealed partial class Torture : ServerConformance
{
    [SetUp]
    public void OnlyTheReferenceOnLinux() =>
        Assume.That(Settings.IsReference && OperatingSystem.IsLinux(), "the reference on Linux");

    [TearDown]
    public void SayWhatFailed() => SayIfItFailed();

    // ---- killed ----

    [Test, Order(1)]
    public void Killed_at_any_moment_nothing_is_lost_and_nothing_is_half()
    {
        const int Step = 32 << 10;
        int kills = Times(200);
        int cut = 0;
        var random = new Random(Settings.Seed);
        var (acknowledged, seen) = (new ConcurrentDictionary<string, bool>(), new HashSet<string>());
        string folder = NewFolder();
        string slowName = $"slow-{(kills + 1) * Step}.png";

        // Beside it a server on the same folder lives on, and takes one long upload: that temporary is not to be swept.
        var slow = Connect(Start(folder: folder));
        slow.Send($"PUT|{slowName}\n");
        slow.Expect("OK\n");
        slow.Send(Notation.U64((ulong)Picture(slowName).Length));
        string[] living = Hidden(folder);
        Assert.That(living, Has.Length.EqualTo(1));

        for (int round = 0; ; round++)
        {
            using var server = new RunningServer(folder: folder);
            using Wire wire = server.Connect();
            using Wire other = server.Connect();
            var listed = other.List().Select(line => line.Split('|')[0]).ToHashSet();
            Assert.That(Hidden(folder), Is.EqualTo(living), $"temporaries after kill {round}");
            Assert.That(acknowledged.Keys.Except(listed), Is.Empty, $"acknowledged, and gone after kill {round}");
            var broken = listed.Where(name => seen.Add(name) && !Intact(folder, name));
            Assert.That(broken, Is.Empty, $"not whole after kill {round}");
            slow.Send(Picture(slowName).AsSpan(round * Step, Step));
            if (round == kills)
            {
                break;
            }

            if (round % 2 == 0)
            {
                KillAmongWriters(server, round, random.Next(150), acknowledged);
            }
            else
            {
                int length = random.Next(100, 200_000);
                (bool, int)[] stages =                          // the first octets of a block, its length not counted
                [
                    (false, -8),
                    (false, -1),
                    (false, 0),
                    (false, 1),
                    (false, length / 2),
                    (false, length - 1),
                    (false, length),
                    (true, length),
                    (true, length + 31),
                    (true, length + 32),
                ];
                var (digest, octets) = stages[round / 2 % stages.Length];
                bool whole = octets == length + (digest ? 32 : 0);
                string name = $"{round}-{length}.png";
                wire.Send($"PUT|{name}{(digest ? "|digest=sha256" : "")}\n");
                wire.Expect("OK\n");
                byte[] block = [.. Notation.U64((ulong)length), .. Picture(name), .. SHA256.HashData(Picture(name))];
                wire.Send(block.AsSpan(0, 8 + octets));
                if (random.Next(2) == 0)
                {
                    other.List();          // it has had time for it, or not
                }

                if (whole && random.Next(2) == 0)
                {
                    wire.Expect("OK\n");
                    acknowledged[name] = true;
                }

                server.Program.Signal("KILL");
                server.Program.WaitForExit();
                if (!whole)
                {
                    Assert.That(server.Shows(name), Is.False, $"{octets} of {length} octets came");
                }

                if (!whole)
                {
                    cut++;
                }
            }
        }

        slow.Expect("OK\n");
        Assert.That(Hidden(folder), Is.Empty);
        var cutFiles = Directory.GetFiles(folder).Where(path => !Intact(folder, Path.GetFileName(path)));
        Assert.That(cutFiles, Is.Empty, "not whole");
        Say("P1 P3 P12", $"{kills} kills, {acknowledged.Count:N0} uploads acknowledged, 0 lost, "
            + $"{seen.Count:N0} files, 0 cut; {cut} uploads killed at an exact octet, 0 leftovers; "
            + "a living server's temporary untouched");
    }

    private static void KillAmongWriters(
        RunningServer server, int round, int after, ConcurrentDictionary<string, bool> acknowledged)
    {
        bool killed = false;
        var writers = Task.Run(() => Together(4, writer =>
        {
            var sizes = new Random(Mixed(round, writer));
            try
            {
                using var wire = server.Connect();
                for (int i = 0; ; i++)
                {
                    string name = $"{round}-{writer}-{i}-{sizes.Next(8, 1 << sizes.Next(4, 20))}.png";
                    string answer = Put(wire, name, Picture(name), digest: i % 2 == 0);
                    if (answer != "OK")
                    {
                        throw new Violation($"{name}: {answer}");
                    }

                    acknowledged[name] = true;
                }
            }
            catch (Violation) when (Volatile.Read(ref killed)) { }
        }));
        Thread.Sleep(after);
        Volatile.Write(ref killed, true);
        server.Program.Signal("KILL");
        if (!writers.Wait(30_000))
        {
            throw new Violation("the writers hang");
        }
    }

    // ---- racing ----

    [Test, Order(2)]
    public void Of_eight_racers_one_wins()
    {
        string folder = NewFolder();
        string config = Path.Combine(NewFolder("haproxy"), "haproxy.cfg");
        RunningServer[] servers = [Start(folder: folder), Start(folder: folder)];
        Race(folder, "direct", i => Connect(servers[i % 2]));
        Say("P2", $"two servers, 8 clients, {Times(500)} names: one OK each, content is the winner's");

        if (!File.Exists("/usr/sbin/haproxy"))
        {
            Say("P2", "skipped: no haproxy");
            return;
        }

        int port = Plug.FreePort();
        File.WriteAllText(config,
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            + $"listen pictures\n bind 127.0.0.1:{port}\n balance roundrobin\n"
            + $" server a 127.0.0.1:{servers[0].Port}\n server b 127.0.0.1:{servers[1].Port}\n");
        var proxy = Own(new Program("proxy", ["/usr/sbin/haproxy", "-db", "-f", config], folder));
        for (var clock = Stopwatch.StartNew(); ; Thread.Sleep(20))
        {
            try
            {
                Dial(port).Dispose();
                break;
            }
            catch (SocketException) when (!proxy.HasEnded && clock.ElapsedMilliseconds < Settings.Patience) { }
        }

        Race(folder, "proxy", _ => Own(new Wire(Dial(port), Side.Client)));
        Say("P2", $"the same through haproxy: one OK each");
    }

    private static void Race(string folder, string prefix, Func<int, Wire> connect)
    {
        byte[] Content(int name, int client) => [.. Notation.Bytes(8 + name * 7 % 5000), (byte)client];

        var wires = Enumerable.Range(0, 8).Select(connect).ToArray();
        var answers = Enumerable.Range(0, Times(500)).Select(_ => new string[8]).ToArray();
        using var line = new Barrier(8);
        void Meet()
        {
            if (!line.SignalAndWait(Settings.Patience * 2))
            {
                throw new Violation("another racer has stopped");
            }
        }

        Together(8, client =>
        {
            for (int name = 0; name < answers.Length; name++)
            {
                Meet();
                Action? end = name % 2 == 0 ? Meet : null;      // every other time once more, an octet before the end
                string file = $"{prefix}-{name}.png";
                answers[name][client] = Put(wires[client], file, Content(name, client), client > 3, end);
            }
        });
        for (int name = 0; name < answers.Length; name++)
        {
            string said = $"{prefix}-{name}: {string.Join(' ', answers[name])}";
            Assert.That(answers[name].Count(answer => answer == "OK"), Is.EqualTo(1), said);
            Assert.That(answers[name].Count(answer => answer.StartsWith("ER|exists|")), Is.EqualTo(7), said);
            byte[] stored = File.ReadAllBytes(Path.Combine(folder, $"{prefix}-{name}.png"));
            Assert.That(stored, Is.EqualTo(Content(name, Array.IndexOf(answers[name], "OK"))), said);
        }

        Assert.That(Hidden(folder), Is.Empty);
    }

    // ---- crowded, stalled, exhausted ----

    [Test, Order(3)]
    public void A_thousand_idle_clients_and_four_greedy_ones_hold_up_nobody()
    {
        var server = Start("--max-clients 2000");
        for (int i = 0; i < 30; i++)
        {
            server.Has($"{i}.png", Notation.Bytes(100));
        }

        using (var file = File.Create(server.PathOf("big.png")))
        {
            file.SetLength(64 << 20);
        }

        var probe = Connect(server);
        for (int i = 0; i < 100; i++)
        {
            probe.List();
        }

        long before = Resident(server);
        long octets = 0;
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
                    Interlocked.Add(ref octets, count);
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
        double rate = octets / 1e6 / clock.Elapsed.TotalSeconds;
        Volatile.Write(ref enough, true);
        Assert.That(bulk.Wait(60_000), "the bulk downloads hang");
        long grown = Resident(server) - before;
        int disturbed = idle.Count(socket => socket.Poll(0, SelectMode.SelectRead));
        Assert.That(disturbed, Is.Zero, "idle clients were spoken to or cut");
        Assert.That(p99, Is.LessThan(Settings.Milliseconds(50)), "LIST's p99 in ms");
        Assert.That(grown, Is.LessThan(40 << 20), "resident octets");
        Assert.That(rest, Is.LessThan(5), "% of a processor with a thousand idle clients");
        double median = latencies[latencies.Length / 2];
        double worst = latencies[^1];
        Say("P6 P7 P9", $"1,000 idle, 4 downloads at {rate:N0} MB/s: "
            + $"LIST takes {median:0.0} ms, p99 {p99:0.0} ms, worst {worst:0.0} ms; "
            + $"{Mebi(grown)} MiB more; {rest:0.0} % CPU while all are idle");
    }

    [Test, Order(4)]
    public void Those_who_never_read_or_write_cost_little_and_are_cut_in_time()
    {
        var server = Start("--max-clients 1000");
        using (var file = File.Create(server.PathOf("big.png")))
        {
            file.SetLength(64 << 20);
        }

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

        for (int i = 0; i < 200; i++)
        {
            Own(Dial(server.Port, receiveBuffer: 1 << 16)).Send("GET|big.png\nGET|big.png\n"u8);
        }

        var waiting = new List<(Wire Wire, string Kind, Stopwatch Since)>();
        foreach (var (kind, count) in ((string, int)[])[("line", 10), ("block", 10), ("silent", 100), ("length", 100)])
        {
            for (int i = 0; i < count; i++)
            {
                var wire = Own(new Wire(Dial(server.Port), Side.Client));
                if (kind == "line")
                {
                    wire.List();
                }

                wire.Send(kind == "line" ? "LIS" : $"PUT|{kind}{i}.png\n");
                if (kind != "line")
                {
                    wire.Expect("OK\n");
                }

                if (kind is "block" or "length")
                {
                    wire.Send(Notation.U64(1 << 20));
                }

                waiting.Add((wire, kind, Stopwatch.StartNew()));
            }
        }

        probe.List();
        Assert.That(Descriptors(server), Is.GreaterThan(descriptors + 600), "they are all there");

        var cut = waiting.Select(one => one.Kind).Distinct().ToDictionary(kind => kind, _ => new List<double>());
        var clock = Stopwatch.StartNew();
        while (end == 0 && clock.ElapsedMilliseconds < Settings.Milliseconds(50_000))
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
                    one.Wire.Socket.Send("X"u8);            // an octet every 100 ms
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
        double late = Settings.Milliseconds(3_000) / 1000.0;
        Assert.That(cut["line"], Is.All.InRange(9.5, 10 + late));
        foreach (string kind in (string[])["block", "silent", "length"])
        {
            Assert.That(cut[kind], Is.All.InRange(19.5, 40 + late), kind);
        }

        Assert.That(most - before, Is.LessThan(40 << 20), "resident octets");
        Assert.That(worst, Is.LessThan(Settings.Milliseconds(1000)), "LIST's worst in ms");
        Assert.That(Hidden(server.Folder), Is.Empty);
        Say("P6 P7", $"200 that never read, 200 that never write: at most {Mebi(most - before)} MiB more, "
            + $"LIST at worst {worst:0.0} ms; all cut and their descriptors back after {end:0.0} s");
        string Took(string kind) => $"{cut[kind].Min():0.0} to {cut[kind].Max():0.0} s";

        Say("P8", $"one octet per 100 ms: a line is cut after {Took("line")}, a block after {Took("block")}; "
            + $"a go-ahead that is not used after {Took("silent")}, a length without octets after {Took("length")}");
    }

    [Test, Order(5)]
    public void Out_of_descriptors_it_rests_and_recovers()
    {
        RunningServer server = null!;
        Wire[] wires = [];
        for (int burst = 0; burst < Times(15); burst++)
        {
            // As soon as it listens: what it opens on first use comes too late then.
            server = Start("--max-clients 1000", launcher: "sh -c 'ulimit -n 128; exec \"$@\"' sh");
            server.Has("cat.png", Notation.Bytes(9));
            wires = [.. Enumerable.Range(0, 150).Select(_ => Connect(server))];
            for (var clock = Stopwatch.StartNew(); !server.Program.Errors.Contains("cannot accept"); Thread.Sleep(10))
            {
                Assert.That(server.Program.HasEnded, Is.False, server.Program.Said());
                Assert.That(clock.ElapsedMilliseconds, Is.LessThan(Settings.Patience),
                    $"they do not run out\n{server.Program.Said()}");
            }
        }

        double starving = Processor(server);
        for (int i = 0; i < 20; i++)
        {
            wires[0].List();           // those inside are served
        }

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
        Assert.That(starving, Is.LessThan(20), "% of a processor");
        Assert.That(rest, Is.LessThan(5), "% of a processor afterwards");
        Say("P9", $"150 clients, 128 descriptors, {Times(15)} servers: {starving:0.0} % CPU while none is left, "
            + $"{rest:0.0} % afterwards, all served in the end");
    }

    [Test, Order(6)]
    public void A_log_that_nobody_reads_and_clients_that_do_nothing_cost_nothing()
    {
        var server = Start("--trace --max-clients 5", drain: false);
        server.Has("big.png", Notation.Bytes(32 << 20));
        server.Has("cat.png", Notation.Bytes(9));
        Wire idle = Connect(server);
        Wire half = Connect(server);
        Wire upload = Connect(server);
        Wire stalled = Connect(server);
        Wire ended = Connect(server);
        double worst = Enumerable.Range(0, Times(5000)).Max(_ => Milliseconds(() => idle.Get("cat.png")));
        half.Send("LIS");
        upload.Send("PUT|dog.png\n");
        upload.Expect("OK\n");
        upload.Send([.. Notation.U64(1000), .. Notation.Bytes(500)]);
        stalled.Send("GET|big.png\nGET|big.png\n");
        ended.Send("GET|big.png\n");
        ended.HalfClose();
        Connect(server).ExpectError("busy");
        double[] used = [Processor(server), Processor(server)];
        upload.Reset();
        idle.List();
        Assert.That(used, Is.All.LessThan(5), "% of a processor with each client at rest in another state");
        server.Program.Signal("TERM");
        Assert.That(server.Program.WaitForExit(Settings.Milliseconds(15_000)), Is.Zero);
        Say("P6", $"a --trace that nobody reads: {Times(5000):N0} GETs, at worst {worst:0.0} ms, and exit 0; "
            + $"at rest in six states {used.Max():0.0} % CPU");
    }

    // ---- malformed ----

    // What the client of a transcript says, piece by piece, and what lies in the server's folder before.
    private static readonly (byte[][] Pieces, byte[] Octets, Holding[] Before)[] _conversations = [..
        from transcript in Spec.Transcripts
        where !transcript.ClientOnly
        let said = transcript.Steps.OfType<Says>().Where(says => says.Side == Side.Client)
            .Select(says => says.Pieces.OfType<Octets>().SelectMany(piece => piece.Value).ToArray()).ToArray()
        let before = transcript.Before.Where(file => file.Side == Side.Server).ToArray()
        select (said, said.SelectMany(octets => octets).ToArray(), before)];

    // A server whose log goes into a file, and what it has and uses before anybody is unkind to it.
    private sealed class Target
    {
        private readonly RunningServer _server;
        private readonly string _log;
        private readonly HashSet<string> _belongs;
        private readonly int _descriptors;
        private readonly long _resident;

        public Target(Torture test, string? folder = null)
        {
            _log = Path.Combine(test.NewFolder("log"), "stderr");
            _server = test.Start("--max-clients 1000", folder, launcher: $"sh -c 'exec \"$@\" 2>{_log}' sh");
            _belongs = [.. Directory.GetFileSystemEntries(_server.Folder)];
            for (int i = 0; i < 2000; i++)
            {
                Exchange(_conversations[i % _conversations.Length].Octets);
            }

            Recover([]);
            _descriptors = Descriptors(_server);
            _resident = Resident(_server);
        }

        // A good client is answered, and the folder is as it was, with these files.
        public void Recover(Holding[] files)
        {
            using var wire = _server.Connect();
            var listed = wire.List().Select(line => line.Split('|')[0]);
            Assert.That(listed.Intersect(HostileFolder.Names), Is.Empty, "served, and no picture");
            foreach (string path in Directory.GetFiles(_server.Folder))
            {
                if (!_belongs.Contains(path) && Path.GetFileName(path)[0] != '.')
                {
                    File.Delete(path);
                }
            }

            foreach (var file in files)
            {
                _server.Has(file.Name, file.Content!);
            }
        }

        // Nothing is left of it all: figures for the report.
        public string AsBefore()
        {
            Recover([]);
            string[] Entries() => Directory.GetFileSystemEntries(_server.Folder);

            bool Clean() => Descriptors(_server) <= _descriptors && _belongs.SetEquals(Entries());

            var clock = Stopwatch.StartNew();
            while (!Clean() && clock.ElapsedMilliseconds < Settings.Patience)
            {
                Thread.Sleep(20);
            }

            Assert.That(Entries(), Is.EquivalentTo(_belongs));
            Assert.That(Descriptors(_server), Is.LessThanOrEqualTo(_descriptors), "descriptors");
            long grown = Resident(_server) - _resident;
            Assert.That(grown, Is.LessThan(40 << 20), "resident octets");
            string[] lines = File.ReadAllLines(_log);
            string[] mishaps = ["Exception", "   at ", "Unhandled", "internal"];
            Assert.That(lines.Where(line => mishaps.Any(line.Contains)).Take(5), Is.Empty);
            var gaps = lines.Where(line => line.EndsWith("faster than they were read)"));
            Assert.That(gaps, Is.Empty, "what was left out cannot be judged");
            return $"descriptors and temporaries as before, {Mebi(grown)} MiB more, "
                + $"nothing amiss in {lines.Length:N0} lines of log";
        }

        // Sends all of it and FIN, and judges what comes back until the end.
        public void Exchange(ReadOnlySpan<byte> octets)
        {
            using var socket = Dial(_server.Port);
            var answer = new byte[1 << 14];
            int count = 0;
            string? wrong = null;
            try
            {
                socket.Send(octets);
                socket.Shutdown(SocketShutdown.Send);
                int Kept() => Math.Min(count, answer.Length - 1024);

                while (socket.Receive(answer.AsSpan(Kept())) is > 0 and var received)
                {
                    count += received;
                }

                wrong = Judged(answer.AsSpan(0, Kept()), octets.Length > 0);
            }
            catch (SocketException e)
            {
                wrong = $"{e.SocketErrorCode} after {count} octets";
            }

            if (wrong is null)
            {
                return;
            }

            throw new Violation(
                $"expected  an answer and the end\nreceived  {wrong}\nsent      {Notation.Show(octets, 2000)}");
        }

        private static readonly string[] _closing = ["bad-request", "too-large"];
        private static readonly string[] _goingOn =
            ["unsupported", "bad-name", "bad-type", "not-found", "exists", "bad-offset", "empty", "corrupt", "storage"];

        // Lines of §6 up to the first OK, behind which a block may come; nothing behind a line that closes.
        // Null is well.
        private static string? Judged(ReadOnlySpan<byte> answer, bool expected)
        {
            if (expected && answer.Length == 0)
            {
                return "no answer";
            }

            for (var rest = answer; rest.Length > 0 && !rest.StartsWith("OK\n"u8);)
            {
                int end = rest.IndexOf((byte)'\n');
                if (end < 0 && answer.Length > 14_000)
                {
                    return null;
                }

                string line = Encoding.UTF8.GetString(rest[..Math.Max(end, 0)]);
                rest = rest[(end + 1)..];
                string code = line.Split('|', 3) is ["ER", var middle, _] ? middle : "";
                bool fits = _goingOn.Contains(code) || _closing.Contains(code) && rest.Length == 0;
                if (!fits || line.Any(char.IsControl))
                {
                    return Notation.Show(answer, 500);
                }
            }

            return null;
        }

        // Sends it, and has no manners: a reset, or silence until it is disposed of.
        public void Leave(byte[] octets, bool resets, ConcurrentBag<Socket> silent)
        {
            var socket = Dial(_server.Port);
            socket.Send(octets, 0, octets.Length, SocketFlags.None, out _);
            socket.Poll(1000, SelectMode.SelectError);          // a millisecond, for the server to get there
            socket.LingerState = new LingerOption(resets, 0);
            if (resets)
            {
                socket.Dispose();
            }
            else
            {
                silent.Add(socket);
            }
        }
    }

    [Test, Order(7)]
    public void Every_conversation_cut_at_every_octet()
    {
        var target = new Target(this);
        var silent = new ConcurrentBag<Socket>();
        int cuts = 0;
        foreach (var (_, octets, before) in _conversations)
        {
            for (int length = 0; length <= octets.Length; length++)
            {
                for (int how = 0; how < 3; how++, cuts++)
                {
                    target.Recover(before);
                    if (how == 0)
                    {
                        target.Exchange(octets.AsSpan(0, length));
                    }
                    else
                    {
                        target.Leave(octets[..length], how == 1, silent);
                    }
                }
            }

            while (silent.TryTake(out var socket))
            {
                socket.Dispose();
            }
        }

        Say("P10 P11", $"{_conversations.Length} transcripts cut at every octet by FIN, reset or silence, "
            + $"{cuts:N0} connections; {target.AsBefore()}");
    }

    [Test, Order(8)]
    public void Every_octet_of_every_header_replaced_by_every_other()
    {
        var target = new Target(this);
        var headers = new HashSet<string>();
        int connections = 0;
        foreach (var (pieces, octets, before) in _conversations)
        {
            for (int i = 0, start = 0; i < pieces.Length; start += pieces[i++].Length)
            {
                bool isHeader = pieces[i] is [.., 10] or { Length: 8 };
                if (!isHeader || !headers.Add(Encoding.Latin1.GetString(pieces[i])))
                {
                    continue;
                }

                for (int at = start; at < start + pieces[i].Length; at++)
                {
                    target.Recover(before);
                    Together(4, thread =>
                    {
                        for (int value = thread; value < 256; value += 4)
                        {
                            byte[] changed = [.. octets[..at], (byte)value, .. octets[(at + 1)..]];
                            if (value == octets[at] || new Random(Mixed(at, value)).NextDouble() >= rounds)
                            {
                                continue;
                            }

                            target.Exchange(changed);
                            Interlocked.Increment(ref connections);
                        }
                    });
                }
            }
        }

        Say("P10 P11", $"{headers.Count} requests and lengths, each octet replaced by all others, "
            + $"{connections:N0} connections; {target.AsBefore()}");
    }

    [Test, Order(9)]
    public void Random_octets_in_a_hostile_folder()
    {
        string folder = NewFolder();
        string outside = NewFolder();
        HostileFolder.Fill(folder, outside);
        // That of a dead server would be swept.
        File.Delete(Path.Combine(folder, ".imagetransfer-0123456789abcdef.up"));
        var (target, look) = (new Target(this, folder), HostileFolder.Look(folder, outside));
        string[] requests =
        [
            .. HostileFolder.Names.Select(name => $"GET|{name}\nPUT|{name}\n"),
            "GET|../outside.png\nPUT|folder.png/inside.png\n",
            "GET|fine.png|digest=sha256|offset=3\nGET|.hidden.png\n",
            "GET|link-folder.png/outside.png\nLIST\nSTATUS\n",
        ];
        byte[][] valid =
        [
            .. _conversations.Select(conversation => conversation.Octets),
            .. requests.Select(Encoding.UTF8.GetBytes),
        ];
        int inputs = Times(20_000);
        int judged = 0;
        for (int first = 0; first < inputs; first += 1000)
        {
            var silent = new ConcurrentBag<Socket>();
            Together(4, thread =>
            {
                for (int i = first + thread; i < Math.Min(first + 1000, inputs); i += 4)
                {
                    var random = new Random(Mixed(i, 0));
                    byte[] input = Mutated(valid, random);
                    if (random.Next(4) < 2)
                    {
                        target.Leave(input, random.Next(2) == 0, silent);
                    }
                    else
                    {
                        target.Exchange(input);
                        Interlocked.Increment(ref judged);
                    }
                }
            });
            target.Recover([]);
            while (silent.TryTake(out var socket))
            {
                socket.Dispose();
            }
        }

        string after = target.AsBefore();
        Assert.That(HostileFolder.Look(folder, outside), Is.EqualTo(look));
        Assert.That(File.ReadAllBytes(Path.Combine(outside, "outside.png")), Is.EqualTo(Notation.Bytes(9)));
        Say("P10 P11", $"{inputs:N0} random inputs, {judged:N0} answers judged, "
            + $"a folder of links and pipes stays as it is; {after}");
    }

    private static byte[] Mutated(byte[][] valid, Random random)
    {
        byte[] octets = valid[random.Next(valid.Length)];
        for (int times = random.Next(1, 5); times > 0; times--)
        {
            int at = random.Next(octets.Length + 1);
            int end = random.Next(at, octets.Length + 1);
            byte[] other = valid[random.Next(valid.Length)];
            byte[] raw = new byte[random.Next(1 << random.Next(13))];
            random.NextBytes(raw);
            byte[] Behind(int count) => octets[Math.Min(at + count, octets.Length)..];

            octets = random.Next(6) switch
            {
                0 => [.. octets[..at], .. octets[end..]],                                       // left out
                1 => [.. octets[..end], .. octets[at..]],                                       // twice
                2 => [.. octets[..at], .. other[random.Next(other.Length)..]],                  // from another
                3 => [.. octets[..at], (byte)random.Next(256), .. Behind(1)],
                4 => [.. octets[..at], .. Notation.U64((1UL << random.Next(64)) - 1), .. Behind(8)],
                _ => [.. octets[..at], .. raw, .. octets[at..]],
            };
        }

        return octets;
    }

    // ---- corrupted ----

    [Test, Order(10)]
    public void A_flipped_bit_never_becomes_a_file()
    {
        var server = Start("--max-clients 1000");
        var picture = Notation.Bytes(20_000);
        server.Has("cat.png", picture);
        int runs = Times(160);
        int flipped = 0;
        int failed = 0;
        Together(4, thread =>
        {
            for (int i = thread; i < runs; i += 4)
            {
                var random = new Random(Mixed(i, 1));
                bool puts = i / 4 % 2 == 0;
                bool up = i / 8 % 2 == 0;
                int traffic = puts == up ? picture.Length + 43 : puts ? 6 : 26;
                int at = random.Next(random.Next(2) == 0 ? Math.Min(traffic, 64) : traffic);
                string folder = NewFolder("client");
                string name = puts ? $"{i}.png" : "cat.png";
                string path = Path.Combine(folder, name);
                string verb = puts ? "PUT" : "GET";
                if (puts)
                {
                    File.WriteAllBytes(path, picture);
                }

                using var proxy = new Flipper(server.Port, up, at, random.Next(8));
                using var client = Player.StartClient(folder, proxy.Port, verb, name);
                int exit = client.WaitForExit(Settings.Milliseconds(90_000));
                string what = $"{verb}, octet {at} {(up ? "up" : "down")} is wrong, exit {exit}\n{client.Said()}";
                foreach (string file in Visible(puts ? server.Folder : folder))
                {
                    Assert.That(File.ReadAllBytes(file).AsSpan().SequenceEqual(picture), $"{file}: {what}");
                }

                bool misnamed = puts && up && at < $"PUT|{name}".Length;    // a wrong name is no matter of the digest
                if (exit == 0 && !misnamed)
                {
                    Assert.That(File.Exists(puts ? server.PathOf(name) : path), what);
                }

                if (proxy.HasFlipped)
                {
                    Interlocked.Increment(ref flipped);
                }

                if (exit != 0)
                {
                    Interlocked.Increment(ref failed);
                }
            }
        });
        Assert.That(flipped, Is.GreaterThan(runs * 3 / 4));
        Say("P4", $"{runs} clients, {flipped} with a flipped bit: "
            + $"{failed} say so, {runs - failed} exit with 0, no wrong file");
    }

    // Hands on what client and server say, one bit of it wrong.  Where both wait for good, it hangs up.
    private sealed class Flipper : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        public volatile bool HasFlipped;

        public Flipper(int port, bool up, int at, int bit)
        {
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _listener.Listen(8);
            Task.Run(() =>
            {
                while (true)
                {
                    Socket client = _listener.Accept();
                    Socket server = Dial(port);     // disposing of the listener ends it
                    Task.Run(() => Pump(client, server, up));
                    Task.Run(() => Pump(server, client, !up));
                }
            });

            void Pump(Socket from, Socket to, bool flips)
            {
                var buffer = new byte[1 << 16];
                try
                {
                    while (from.Poll(Settings.Milliseconds(1_500) * 1000, SelectMode.SelectRead))
                    {
                        int count = from.Receive(buffer);
                        if (count == 0)
                        {
                            to.Shutdown(SocketShutdown.Send);
                            return;
                        }

                        if (flips && at >= 0 && at < count)
                        {
                            buffer[at] ^= (byte)(1 << bit);
                            HasFlipped = true;
                        }

                        if (flips)
                        {
                            at -= count;
                        }

                        to.Send(buffer.AsSpan(0, count));
                    }
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException) { }

                from.Dispose();
                to.Dispose();
            }
        }

        public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

        public void Dispose() => _listener.Dispose();
    }

    [Test, Order(11)]
    public void A_file_that_changes_while_it_is_sent()
    {
        const int Size = 24 << 20;
        var random = new Random(Settings.Seed);
        var server = Start();
        byte[] old = Notation.Bytes(Size);
        byte[] right = [.. old, .. SHA256.HashData(old)];
        byte[] other = new byte[Size];
        int runs = Times(30);
        int cut = 0;
        for (int i = 0; i < runs; i++)
        {
            server.Has("cat.png", old);
            using var wire = server.Connect();
            wire.Send("GET|cat.png|digest=sha256\n");
            wire.Expect("OK\n");
            wire.ExpectOctets(Notation.U64(Size));
            byte[] begun = wire.Receive(random.Next(1, Size / 4));
            if (i % 3 > 0)
            {
                File.Delete(server.PathOf("cat.png"));
            }

            if (i % 3 > 1)
            {
                server.Has("cat.png", other);
            }

            if (i % 3 == 0)
            {
                Truncate(server.PathOf("cat.png"), random.Next(Size));
            }

            wire.HalfClose();
            byte[] all = [.. begun, .. wire.ReceiveRest()];
            Assert.That(all.AsSpan().SequenceEqual(right.AsSpan(0, all.Length)), "octets that are not the file's");
            Assert.That(i % 3 == 0 || all.Length == right.Length, "cut, though the file has only lost its name");
            if (all.Length < right.Length)
            {
                cut++;
            }
        }

        Say("P4", $"{runs} downloads of a file that is cut, deleted or replaced meanwhile: "
            + $"{runs - cut} right, {cut} short, none wrong");
    }

    private static void Truncate(string path, int length)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.SetLength(length);
    }

    // ---- the disk ----

    [Test, Order(12)]
    public void A_full_disk()
    {
        string folder = NewFolder();
        bool mounted = Execute("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder) == 0;
        if (!mounted)
        {
            Say("P1 P5", "skipped: no small disk can be mounted");
            return;
        }

        Own(new Mounted(folder));
        var server = Start(folder: folder);
        Wire wire = Connect(server);
        Wire other = Connect(server);
        wire.Put("small.png", Notation.Bytes(300_000));
        string before = string.Join('\n', other.List());
        for (int i = 0; i < Times(20); i++)
        {
            string answer = Put(wire, "large.png", Notation.Bytes(2 << 20), digest: i % 2 == 0);
            Assert.That(answer, Does.StartWith("ER|storage|"));
            Assert.That(string.Join('\n', other.List()), Is.EqualTo(before));
            Assert.That(Hidden(folder), Is.Empty);
        }

        Assert.That(() => server.Has(".filler", new byte[1 << 20]), Throws.InstanceOf<IOException>());
        Assert.That(Put(wire, "tiny.png", Notation.Bytes(9), digest: false), Does.StartWith("ER|storage|"));
        File.Delete(server.PathOf(".filler"));
        wire.Put("large.png", Notation.Bytes(600_000));
        foreach (var (name, size) in ((string, int)[])[("small.png", 300_000), ("large.png", 600_000)])
        {
            Assert.That(other.Get(name).AsSpan().SequenceEqual(Notation.Bytes(size)), name);
        }

        Assert.That(Directory.GetFileSystemEntries(folder), Has.Length.EqualTo(2));
        Say("P1 P5", $"{Times(20) + 1} uploads to a full disk: storage each time, nothing left; "
            + "with room again the next one is stored");
    }

    private sealed class Mounted(string folder) : IDisposable
    {
        public void Dispose()
        {
            if (Execute("umount", folder) != 0)
            {
                Execute("umount", "-l", folder);
            }
        }
    }

    [Test, Order(13)]
    public void Sync_flushes_in_order_and_survives_a_kill_before_each_step()
    {
        if (!File.Exists("/usr/bin/strace"))
        {
            Say("P1 P5", "skipped: no strace");
            return;
        }

        string folder = NewFolder();
        string calls = Path.Combine(NewFolder("calls"), "calls.txt");
        var server = Start("--sync", folder,
            launcher: $"strace -f -y -qq -o {calls} -e trace=fsync,fdatasync,?link,linkat,sendto,sendmsg");
        Connect(server).Put("cat.png", Notation.Bytes(100_000));
        string traced = File.ReadAllText($"/proc/{server.Program.Id}/task/{server.Program.Id}/children").Trim();
        Execute("kill", "-TERM", traced);                       // strace itself would not hear it
        Assert.That(server.Program.WaitForExit(Settings.Milliseconds(15_000)), Is.Zero);
        string[] lines = File.ReadAllLines(calls);
        string[] steps = [@"sync\(.*\.up>", $"link.*{folder}/cat.png", $@"sync\(.*<{folder}>", @"send.*""OK\\n"""];
        int[] at = [.. steps.Select(step => Array.FindLastIndex(lines, line => Regex.IsMatch(line, step)))];
        Assert.That(at, Is.Ordered.Ascending.And.All.GreaterThanOrEqualTo(0), string.Join('\n', lines));

        // Killed as it is about to flush the file, to name it, to flush the folder, to say OK.
        (string Only, string Call)[] kills =
        [
            ("", "fsync:when=1"),
            ($"-P {folder}/1.png", "?link,linkat:when=1"),
            ($"-P {folder}", "fsync:when=1"),
            ("", "sendto,sendmsg:when=2"),
        ];
        for (int i = 0; i < kills.Length; i++)
        {
            string trace = $"strace -f -qq -o {calls} {kills[i].Only} -e inject={kills[i].Call}:signal=KILL";
            var victim = Start("--sync", folder, launcher: trace);
            var wire = Connect(victim);
            wire.Send($"PUT|{i}.png\n");
            wire.Expect("OK\n");
            wire.Send([.. Notation.U64(100_000), .. Notation.Bytes(100_000)]);
            wire.ExpectEnd();
            Assert.That(victim.Program.WaitForExit(), Is.EqualTo(128 + 9));
            var next = Connect(Start(folder: folder));
            Assert.That(next.List().Any(line => line.StartsWith($"{i}.png|")), Is.EqualTo(i >= 2), kills[i].Call);
            if (i >= 2)
            {
                Assert.That(next.Get($"{i}.png").AsSpan().SequenceEqual(Notation.Bytes(100_000)), kills[i].Call);
            }

            Assert.That(Hidden(folder), Is.Empty, kills[i].Call);
        }

        Say("P1 P5", "--sync: fsync(file), link, fsync(folder), OK, in this order; "
            + "killed before each: absent (2), whole (2), 0 leftovers");
    }

    [Test, Order(14)]
    public void Sync_acknowledges_nothing_that_could_not_be_flushed()
    {
        if (!File.Exists("/usr/bin/strace"))
        {
            Say("P5", "skipped: no strace");
            return;
        }

        string calls = Path.Combine(NewFolder("calls"), "calls.txt");
        foreach (var (error, which) in ((string, int)[])[("EIO", 1), ("ENOSPC", 1), ("EIO", 2)])
        {
            var server = Start("--sync", NewFolder(),
                launcher: $"strace -f -qq -o {calls} -e trace=fsync -e inject=fsync:error={error}:when={which}");
            var wire = Connect(server);
            Assert.That(Put(wire, "cat.png", Notation.Bytes(9), digest: false), Does.StartWith("ER|storage|"), error);
            Assert.That(wire.List(), Is.Empty);
            wire.Put("cat.png", Notation.Bytes(9));
        }

        Say("P5", "--sync: a flush of the file or of the folder that fails is refused (storage), 0 files");
    }

    [Test, Order(15)]
    public void A_log_on_a_full_disk_ends_no_server()
    {
        var server = Start("--trace", launcher: "sh -c 'exec \"$@\" 2>/dev/full' sh");
        for (int i = 0; i < 20; i++)
        {
            using var wire = server.Connect();
            wire.Put($"{i}.png", Notation.Bytes(100));
            Assert.That(wire.List(), Has.Length.EqualTo(i + 1));
        }

        Thread.Sleep(500);
        Assert.That(server.Program.HasEnded, Is.False, "it ended because it could not write its log");
        Say("P6 P11", "a log that cannot be written: 20 clients served");
    }

    // ---- small things ----

    public static int Mixed(int a, int b) => unchecked(Settings.Seed * 1_000_003 + a * 7_919 + b);

    // The content that belongs to a name; the last number in it is the length.
    private static byte[] Picture(string name)
    {
        var octets = new byte[int.Parse(Path.GetFileNameWithoutExtension(name).Split('-')[^1])];
        new Random(BitConverter.ToInt32(SHA256.HashData(Encoding.UTF8.GetBytes(name)))).NextBytes(octets);
        Notation.Bytes(8).CopyTo(octets, 0);
        return octets;
    }

    private static bool Intact(string folder, string name) =>
        File.ReadAllBytes(Path.Combine(folder, name)).AsSpan().SequenceEqual(Picture(name));

    public static string[] Hidden(string folder) =>
        [.. Directory.GetFileSystemEntries(folder, ".*").Select(path => Path.GetFileName(path))];

    private static IEnumerable<string> Visible(string folder) =>
        Directory.GetFiles(folder).Where(file => Path.GetFileName(file)[0] != '.');

    // The answer to an upload, whether it is refused at once or in the end.
    private static string Put(Wire wire, string name, byte[] content, bool digest, Action? beforeTheLastOctet = null)
    {
        wire.Send($"PUT|{name}{(digest ? "|digest=sha256" : "")}\n");
        if (wire.ReceiveLine() is var refused && refused != "OK")
        {
            return refused;
        }

        byte[] block = [.. Notation.U64((ulong)content.Length), .. content, .. digest ? SHA256.HashData(content) : []];
        wire.Send(block.AsSpan(..^1));
        beforeTheLastOctet?.Invoke();
        wire.Send(block.AsSpan(^1..));
        return wire.ReceiveLine();
    }

    public static Socket Dial(int port, int receiveBuffer = 0)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.SendTimeout = socket.ReceiveTimeout = Settings.Patience * 2;
        if (receiveBuffer > 0)
        {
            socket.ReceiveBufferSize = receiveBuffer;
        }

        try
        {
            socket.Connect(IPAddress.Loopback, port);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }

        return socket;
    }

    // The body in several threads; the first failure counts.
    public static void Together(int threads, Action<int> body)
    {
        Task StartOne(int i) => Task.Factory.StartNew(() => body(i), TaskCreationOptions.LongRunning);

        var tasks = Enumerable.Range(0, threads).Select(StartOne).ToArray();
        if (!Task.WaitAll(tasks, Settings.Milliseconds(300_000)))
        {
            throw new Violation("it hangs");
        }
    }

    public static double Milliseconds(Action action)
    {
        var clock = Stopwatch.StartNew();
        action();
        return clock.Elapsed.TotalMilliseconds;
    }

    public static int Descriptors(RunningServer server) =>
        Directory.GetFileSystemEntries($"/proc/{server.Program.Id}/fd").Length;

    public static string Mebi(long octets) => $"{Math.Max(octets, 0) / 1048576.0:0.0}";

    public static long Resident(RunningServer server) =>
        long.Parse(File.ReadAllText($"/proc/{server.Program.Id}/statm").Split(' ')[1]) * Environment.SystemPageSize;

    // How much of one processor it uses for two seconds, in per cent, once .NET has compiled again what was used a lot.
    public static double Processor(RunningServer server)
    {
        Thread.Sleep(500);
        var before = server.Program.CpuTime;
        Thread.Sleep(2000);
        return (server.Program.CpuTime - before).TotalMilliseconds / 20;
    }

    public static int Execute(string program, params string[] words)
    {
        using var process = Process.Start("sh", ["-c", "exec \"$@\" 2>/dev/null", "sh", program, .. words]);
        return process.WaitForExit(10_000) ? process.ExitCode : -1;
    }
}
