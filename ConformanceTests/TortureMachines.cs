// The promises where several machines share the folder: a replicated GlusterFS volume, all of it on this machine and on
// its loopback address, mounted twice, with a server on each mount.  It needs root and glusterfs-server, says so where
// it has not got them, and leaves nothing mounted, nothing running and nothing stored.

using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.RegularExpressions;
using static TortureReport;

public sealed partial class Torture
{
    [Test, Order(20)]
    public void On_two_machines_one_of_eight_racers_wins()
    {
        if (Share("P2 P3") is not { } shared)
        {
            return;
        }

        string here = shared.Mounts[0];
        string there = shared.Mounts[1];
        RunningServer[] servers = [Start(folder: here), Start("--sync", there)];
        Race(here, "machines", i => Connect(servers[i % 2]));
        string[] raced = [.. Visible(here).Select(path => Path.GetFileName(path))];
        var differ = raced.Where(name => !OctetsOf(here, name).AsSpan().SequenceEqual(OctetsOf(there, name)));
        Assert.That(differ, Is.Empty, "not the winner's through the other mount");
        Assert.That(raced, Has.Length.EqualTo(Times(500)));
        Say("P2", $"two mounts of a replicated folder, a server on each, 8 clients, {raced.Length} names: "
            + "one OK each, content is the winner's through both");

        // Asked for before it is there, and listed when most of it is, so that whatever a mount remembers is wrong.
        Wire[] wires = [Connect(servers[0]), Connect(servers[1])];
        int passes = Times(100);
        for (int i = 0; i < passes; i++)
        {
            string name = $"seen-{i}-{8 + i * 997}.png";
            Wire writer = wires[i % 2];
            Wire reader = wires[(i + 1) % 2];
            reader.Send($"GET|{name}\n");
            reader.ExpectError("not-found");
            Assert.That(Put(writer, name, Picture(name), digest: i % 4 < 2, () => reader.List()), Is.EqualTo("OK"));
            string listed = reader.List().SingleOrDefault(line => line.StartsWith(name)) ?? "";
            Assert.That(listed, Does.StartWith($"{name}|{8 + i * 997}|"), "in the other machine's list");
            Assert.That(reader.Get(name).AsSpan().SequenceEqual(Picture(name)), name);
        }

        Say("P1 P3", $"{passes} uploads, each listed and fetched through the other machine right after its OK");
    }

    [Test, Order(21)]
    public void A_brick_that_is_killed_among_uploads_costs_nothing()
    {
        if (Share("P1 P2 P3") is not { } shared)
        {
            return;
        }

        RunningServer[] servers = [Start(folder: shared.Mounts[0]), Start("--sync", shared.Mounts[1])];
        var acknowledged = new ConcurrentDictionary<string, int>();
        var random = new Random(Settings.Seed);
        int kills = Times(6);
        int refused = 0;
        double healed = 0;
        double stalled = 0;

        // Two writers on each machine; each has a rival on the other one, who uploads under the same names.
        void Write(int phase, int writer, Func<bool> isEnough)
        {
            using var wire = servers[writer % 2].Connect();
            var sizes = new Random(Mixed(phase, writer / 2));
            for (int i = 0; !isEnough(); i++)
            {
                string name = $"{phase}-{writer / 2}-{i}-{sizes.Next(8, 1 << sizes.Next(4, 20))}.png";
                var clock = Stopwatch.StartNew();
                string answer = PutPatiently(wire, name, Picture(name));
                lock (random)
                {
                    stalled = Math.Max(stalled, clock.Elapsed.TotalSeconds);
                }

                if (answer == "OK")
                {
                    acknowledged.AddOrUpdate(name, 1, (_, count) => count + 1);
                }
                else if (answer.StartsWith("ER|storage|"))
                {
                    Interlocked.Increment(ref refused);
                }
                else if (!answer.StartsWith("ER|exists|"))
                {
                    throw new Violation($"{name}: {answer}");
                }
            }
        }

        void Among(int phase, Action happens)
        {
            bool enough = false;
            var writers = Task.Run(() => Together(4, writer => Write(phase, writer, () => Volatile.Read(ref enough))));
            Thread.Sleep(300 + random.Next(500));
            happens();
            Thread.Sleep(500);
            Volatile.Write(ref enough, true);
            Assert.That(writers.Wait(Settings.Milliseconds(60_000)), "the writers hang");
        }

        string[] Look(string when)
        {
            string[][] lists = [.. servers.Select(server => Listed(server))];
            Assert.That(lists[1], Is.EqualTo(lists[0]), $"the two machines list the same {when}");
            Assert.That(acknowledged.Keys.Except(lists[0]), Is.Empty, $"acknowledged, and gone {when}");
            foreach (string mount in shared.Mounts)
            {
                Assert.That(lists[0].Where(name => !Intact(mount, name)), Is.Empty, $"not whole {when}");
                Assert.That(Hidden(mount).Where(name => name.EndsWith(".up")), Is.Empty, when);
            }

            return lists[0];
        }

        for (int i = 0; i < kills; i++)
        {
            Among(2 * i, () => shared.KillBrick(i % 3));
            Look($"while brick {i % 3} is missing");
            Among(2 * i + 1, shared.StartBricks);
            var clock = Stopwatch.StartNew();
            string[] names = Look($"after brick {i % 3} came back");
            shared.WaitUntilHealed(names, Intact);
            healed = Math.Max(healed, clock.Elapsed.TotalSeconds);
            Assert.That(Look($"when brick {i % 3} has healed"), Is.EqualTo(names));
        }

        Assert.That(acknowledged.Where(one => one.Value > 1), Is.Empty, "acknowledged twice");
        foreach (var server in servers)
        {
            server.Program.Signal("TERM");
            Assert.That(server.Program.WaitForExit(Settings.Milliseconds(15_000)), Is.Zero);
        }

        Say("P1 P2 P3", $"{kills} bricks of three killed among uploads to two machines, "
            + $"{acknowledged.Count:N0} acknowledged once, 0 lost, 0 half, {refused} refused (storage), "
            + $"{stalled:0.0} s the slowest; every copy whole {healed:0.0} s after a brick is back, at the latest");
    }

    [Test, Order(22)]
    public void A_start_on_one_machine_sweeps_what_is_dead_on_the_other_and_nothing_else()
    {
        if (Share("P12") is not { } shared)
        {
            return;
        }

        string here = shared.Mounts[0];
        string there = shared.Mounts[1];
        string slowName = "slow-2000000.png";
        Wire Begin(RunningServer server, string name)
        {
            var wire = Connect(server);
            wire.Send($"PUT|{name}\n");
            wire.Expect("OK\n");
            wire.Send([.. Notation.U64((ulong)Picture(name).Length), .. Picture(name).AsSpan(0, 1_000)]);
            return wire;
        }

        var slow = Begin(Start(folder: here), slowName);
        string[] Temporaries() => [.. Hidden(here).Where(name => name.EndsWith(".up"))];

        string[] living = Temporaries();
        Assert.That(living, Has.Length.EqualTo(1));

        int kills = Times(10);
        for (int i = 0; i < kills; i++)
        {
            string mine = shared.Mounts[i % 2];
            string other = shared.Mounts[(i + 1) % 2];
            using var victim = new RunningServer(folder: mine);
            Begin(victim, $"{i}-100000.png");
            using (new RunningServer(folder: other))
            {
                Assert.That(Temporaries(), Has.Length.EqualTo(2), "both uploads are running");
            }

            victim.Program.Signal("KILL");
            victim.Program.WaitForExit();
            using (new RunningServer(folder: other))
            {
                Assert.That(Temporaries(), Is.EqualTo(living), "one is dead");
            }
        }

        // A whole machine: what it held is free as soon as the volume misses it.
        Begin(Start(folder: there), "lost-100000.png");
        Assert.That(Temporaries(), Has.Length.EqualTo(2));
        shared.LoseMount(1);
        Thread.Sleep(1000);
        Start(folder: here);
        Assert.That(Temporaries(), Is.EqualTo(living), "its machine is gone");

        slow.Send(Picture(slowName).AsSpan(1_000));
        slow.Expect("OK\n");
        Assert.That(Intact(here, slowName));
        Assert.That(Directory.GetFiles(here), Has.Length.EqualTo(1));
        Say("P12", $"{kills} servers killed on either machine, and one with its machine: their temporaries go at the "
            + "other's next start, a running upload's never does");
    }

    private static byte[] OctetsOf(string folder, string name) => File.ReadAllBytes(Path.Combine(folder, name));

    // A volume that misses a brick makes its users wait, all of them that use this mount.
    private static Wire Answered(Wire wire)
    {
        wire.Socket.Poll(Settings.Milliseconds(60_000) * 1000, SelectMode.SelectRead);
        return wire;
    }

    private static string PutPatiently(Wire wire, string name, byte[] content)
    {
        wire.Send($"PUT|{name}\n");
        if (Answered(wire).ReceiveLine() is var refused && refused != "OK")
        {
            return refused;
        }

        wire.Send([.. Notation.U64((ulong)content.Length), .. content]);
        return Answered(wire).ReceiveLine();
    }

    // The names that a server lists, each with the size that belongs to it.
    private static string[] Listed(RunningServer server)
    {
        using var wire = server.Connect();
        wire.Send("LIST\n");
        Answered(wire).Expect("OK\n");
        string text = Encoding.UTF8.GetString(wire.ReceiveBlock());
        string[][] lines = [.. text.Split('\n').SkipLast(1).Select(line => line.Split('|'))];
        var wrong = lines.Where(line => Path.GetFileNameWithoutExtension(line[0]).Split('-')[^1] != line[1]);
        Assert.That(wrong.Select(line => string.Join('|', line)), Is.Empty, "listed with another size");
        return [.. lines.Select(line => line[0])];
    }

    // Null, and a line in the report, where this machine cannot have such a folder.
    private SharedFolder? Share(string promises)
    {
        if (SharedFolder.Missing() is { } missing)
        {
            Say(promises, $"skipped: {missing}");
            return null;
        }

        var shared = Own(new SharedFolder(NewFolder("machines")));
        shared.Begin();
        return shared;
    }

    // A volume of three replicas and its two mounts.  A glusterd that runs already is used, and keeps running.
    private sealed class SharedFolder(string root) : IDisposable
    {
        private static readonly int _patience = Settings.Milliseconds(60_000);
        private readonly string _volume = $"torture{Environment.ProcessId}";
        private readonly string _host = Dns.GetHostName();
        private readonly Program?[] _mounted = new Program?[2];
        private readonly string[] _sockets = Sockets();
        private Program? _glusterd;

        private static string[] Sockets() =>
        [
            .. Directory.GetFiles("/run", "glusterd.socket"),
            .. Directory.Exists("/run/gluster") ? Directory.GetFiles("/run/gluster", "*.socket") : [],
        ];

        public readonly string[] Bricks = [.. Enumerable.Range(0, 3).Select(i => $"{root}/brick{i}")];
        public readonly string[] Mounts = [.. Enumerable.Range(0, 2).Select(i => $"{root}/mount{i}")];

        public static string? Missing()
        {
            if (!File.Exists("/usr/sbin/glusterd"))
            {
                return "no glusterfs-server";
            }

            if (!Environment.IsPrivilegedProcess)
            {
                return "a volume and its mounts take root";
            }

            if (!File.Exists("/dev/fuse"))
            {
                return "no /dev/fuse";
            }

            return Address() is null ? "the host's name is not that of a loopback address (see /etc/hosts)" : null;
        }

        // .NET would add those of all network cards, where the volume would not be reached.
        private static string? Address()
        {
            using var names = new Program("getent", ["getent", "ahostsv4", Dns.GetHostName()], "/");
            names.WaitForExit();
            string[] addresses = [.. names.Output.Split('\n').SkipLast(1).Select(line => line.Split(' ')[0])];
            return addresses is [var first, ..] && addresses.All(one => one.StartsWith("127.")) ? first : null;
        }

        public void Begin()
        {
            foreach (string folder in Bricks.Concat(Mounts))
            {
                Directory.CreateDirectory(folder);
            }

            if (Gluster("pool", "list").Exit != 0)
            {
                StartGlusterd();
            }

            Must(["volume", "create", _volume, "replica", "3", .. Bricks.Select(brick => $"{_host}:{brick}"), "force"]);
            Must("volume", "start", _volume);
            for (int i = 0; i < Mounts.Length; i++)
            {
                Mount(i);
            }
        }

        private void StartGlusterd()
        {
            Directory.CreateDirectory($"{root}/work");
            File.WriteAllText($"{root}/glusterd.vol", $"""
                volume management
                    type mgmt/glusterd
                    option working-directory {root}/work
                    option run-directory {root}/run
                    option transport-type socket
                    option transport.address-family inet
                    option transport.socket.bind-address {Address()}
                    option transport.socket.listen-port 24007
                end-volume

                """);
            string[] command =
            [
                "/usr/sbin/glusterd", "--no-daemon", "-f", $"{root}/glusterd.vol",
                "-l", $"{root}/glusterd.log", "-p", $"{root}/glusterd.pid",
            ];
            _glusterd = new Program("glusterd", command, root);
            Until(() => Gluster("pool", "list").Exit == 0, () => $"glusterd does not answer\n{_glusterd.Said()}");
        }

        private void Mount(int i)
        {
            string[] command =
            [
                "/usr/sbin/glusterfs", "--no-daemon", "-l", $"{root}/mount{i}.log",
                $"--volfile-server={_host}", $"--volfile-id=/{_volume}", Mounts[i],
            ];
            _mounted[i] = new Program("mount", command, root);
            Until(() => IsMounted(Mounts[i]) && Directory.Exists(Mounts[i]), () => $"no mount\n{_mounted[i]!.Said()}");
        }

        private static bool IsMounted(string folder) => File.ReadAllText("/proc/mounts").Contains($" {folder} ");

        public void LoseMount(int i)
        {
            _mounted[i]!.Signal("KILL");
            _mounted[i]!.WaitForExit();
        }

        public void KillBrick(int i)
        {
            int pid = Pids()[Bricks[i]] ?? throw new Violation($"brick {i} does not run");
            Assert.That(Execute("kill", "-KILL", $"{pid}"), Is.Zero);
            Until(() => Pids()[Bricks[i]] is null, () => $"brick {i} is still there");
        }

        // Once is not enough: for a moment it takes a killed one for one that runs.
        public void StartBricks() => Until(() =>
        {
            if (Pids().Values.All(pid => pid is not null))
            {
                return true;
            }

            Gluster("volume", "start", _volume, "force");
            return false;
        }, () => "the bricks do not come back");

        // Each brick has its own whole copy of each of these, and no other.
        public void WaitUntilHealed(string[] names, Func<string, string, bool> isIntact)
        {
            var copies = Bricks.SelectMany(_ => names, (brick, name) => (Brick: brick, Name: name));
            var left = copies.ToHashSet();
            Until(() =>
            {
                left.RemoveWhere(copy => File.Exists($"{copy.Brick}/{copy.Name}") && isIntact(copy.Brick, copy.Name));
                return left.Count == 0 && Bricks.All(brick => Visible(brick).Count() == names.Length);
            }, () => $"{left.Count} copies do not heal: {string.Join(", ", left.Take(5))}");
        }

        private Dictionary<string, int?> Pids()
        {
            string status = Gluster("volume", "status", _volume, "--xml").Said;
            var nodes = Regex.Matches(status, "<path>(.*?)</path>.*?<status>(.)</status>.*?<pid>(.*?)</pid>",
                RegexOptions.Singleline);
            var pids = Bricks.ToDictionary(brick => brick, _ => (int?)null);
            foreach (Match node in nodes)
            {
                if (pids.ContainsKey(node.Groups[1].Value) && node.Groups[2].Value == "1")
                {
                    pids[node.Groups[1].Value] = int.Parse(node.Groups[3].Value);
                }
            }

            return pids;
        }

        private static void Until(Func<bool> condition, Func<string> otherwise)
        {
            for (var clock = Stopwatch.StartNew(); !condition(); Thread.Sleep(200))
            {
                if (clock.ElapsedMilliseconds > _patience)
                {
                    throw new Violation(otherwise());
                }
            }
        }

        private static void Must(params string[] words)
        {
            var (exit, said) = Gluster(words);
            if (exit != 0)
            {
                throw new Violation($"gluster {string.Join(' ', words)}\n{said}");
            }
        }

        private static (int Exit, string Said) Gluster(params string[] words)
        {
            using var gluster = new Program("gluster", ["/usr/sbin/gluster", "--mode=script", .. words], "/");
            return (gluster.WaitForExit(_patience), gluster.Output + gluster.Errors);
        }

        public void Dispose()
        {
            for (int i = 0; i < Mounts.Length; i++)
            {
                if (IsMounted(Mounts[i]) && Execute("umount", Mounts[i]) != 0)
                {
                    Execute("umount", "-l", Mounts[i]);
                }

                _mounted[i]?.Dispose();
            }

            Gluster("volume", "stop", _volume, "force");
            Gluster("volume", "delete", _volume);
            _glusterd?.Dispose();
            if (_glusterd is not null)
            {
                foreach (string left in Directory.GetFiles(root, "*.pid", SearchOption.AllDirectories))
                {
                    Execute("kill", "-KILL", File.ReadAllText(left).Trim());
                }
            }

            foreach (string brick in Bricks)
            {
                File.Delete($"/var/log/glusterfs/bricks/{brick[1..].Replace('/', '-')}.log");
            }

            if (_glusterd is null)
            {
                return;
            }

            foreach (string socket in Sockets().Except(_sockets))
            {
                File.Delete(socket);
            }
        }
    }
}
