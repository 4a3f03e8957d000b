using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Servers that are killed at any moment.</summary>
[Torture]
public sealed class Kills : TortureFixture
{
    [Test]
    public void Server_killed_at_any_moment_loses_nothing_and_leaves_no_partial_file()
    {
        const int Step = 32 << 10;
        int kills = Times(200);
        int cut = 0;
        var random = new Random(RunSettings.Current.Seed);
        var acknowledged = new ConcurrentDictionary<string, bool>();
        var seen = new HashSet<string>();
        string folder = NewFolder();
        string slowName = $"slow-{(kills + 1) * Step}.png";

        // Another server on the same folder keeps running with one long upload: its temporary file must stay.
        var slow = Connect(Start(folder: folder));
        slow.Ask($"PUT|{slowName}");
        slow.Send(Notation.U64((ulong)Picture(slowName).Length));
        string[] living = Hidden(folder);
        Assert.That(living, Has.Length.EqualTo(1));

        for (int round = 0; ; round++)
        {
            using var server = new RunningServer(folder: folder);
            using ProtocolConnection other = server.Connect();
            var listed = other.List().Select(line => line.Split('|')[0]).ToHashSet();
            Assert.That(Hidden(folder), Is.EqualTo(living), $"temporaries after kill {round}");
            Assert.That(acknowledged.Keys.Except(listed), Is.Empty, $"acknowledged files are gone after kill {round}");
            var broken = listed.Where(name => seen.Add(name) && !Intact(folder, name));
            Assert.That(broken, Is.Empty, $"files are cut after kill {round}");
            slow.Send(Picture(slowName).AsSpan(round * Step, Step));
            if (round == kills)
            {
                break;
            }

            if (round % 2 == 0)
            {
                KillAmongWriters(server, round, random.Next(150), acknowledged);
            }
            else if (KillInsideUpload(server, round, random, acknowledged))
            {
                cut++;
            }
        }

        slow.Expect("OK\n");
        Assert.That(Hidden(folder), Is.Empty);
        var cutFiles = Directory.GetFiles(folder).Where(path => !Intact(folder, Path.GetFileName(path)));
        Assert.That(cutFiles, Is.Empty, "files are cut");
        Say("P1 P3 P12", $"{kills} kills, {acknowledged.Count:N0} uploads acknowledged, 0 lost, "
            + $"{seen.Count:N0} files, 0 cut; {cut} uploads killed at an exact byte, 0 leftovers; "
            + "a living server's temporary untouched");
    }

    // Kills the server at an exact byte of an upload. Says whether bytes were missing.
    private static bool KillInsideUpload(
        RunningServer server, int round, Random random, ConcurrentDictionary<string, bool> acknowledged)
    {
        int length = random.Next(100, 200_000);
        (bool, int)[] stages =                  // whether with a digest, and how many bytes are sent after the length
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
        var (digest, bytes) = stages[round / 2 % stages.Length];
        bool whole = bytes == length + (digest ? 32 : 0);
        string name = $"{round}-{length}.png";
        using ProtocolConnection wire = server.Connect();
        wire.Ask($"PUT|{name}{(digest ? "|digest=sha256" : "")}");
        byte[] block = [.. Notation.U64((ulong)length), .. Picture(name), .. SHA256.HashData(Picture(name))];
        wire.Send(block.AsSpan(0, 8 + bytes));
        if (random.Next(2) == 0)
        {
            using ProtocolConnection other = server.Connect();
            other.List();                               // by then the server has read them
        }

        if (whole && random.Next(2) == 0)
        {
            wire.Expect("OK\n");
            acknowledged[name] = true;
        }

        server.Program.SignalAndWait("KILL");
        if (!whole)
        {
            Assert.That(server.Shows(name), Is.False, $"{bytes} of {length} bytes came");
        }

        return !whole;
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

    [Test]
    public void Server_with_sync_flushes_in_order_and_survives_a_kill_before_each_step()
    {
        RequireStrace("P1 P5");
        string folder = NewFolder();
        string calls = Path.Combine(NewFolder("calls"), "calls.txt");
        var server = Start("--sync", folder,
            launcher: $"strace -f -y -qq -o {calls} -e trace=fsync,fdatasync,?link,linkat,sendto,sendmsg");
        Connect(server).Put("cat.png", Notation.Bytes(100_000));
        string traced = File.ReadAllText($"/proc/{server.Program.Id}/task/{server.Program.Id}/children").Trim();
        Execute("kill", "-TERM", traced);                       // strace does not forward the signal
        Assert.That(server.Program.WaitForExit(RunSettings.Milliseconds(15_000)), Is.Zero);
        string[] lines = File.ReadAllLines(calls);
        string[] steps = [@"sync\(.*\.up>", $"link.*{folder}/cat.png", $@"sync\(.*<{folder}>", @"send.*""OK\\n"""];
        int[] at = [.. steps.Select(step => Array.FindLastIndex(lines, line => Regex.IsMatch(line, step)))];
        Assert.That(at, Is.Ordered.Ascending.And.All.GreaterThanOrEqualTo(0), string.Join('\n', lines));

        // The server is killed before it flushes the file, before it names it, before it flushes the folder, and
        // before it sends OK.
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
            wire.BeginPut($"{i}.png", 100_000, Notation.Bytes(100_000));
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

    [Test]
    public void Server_with_sync_sends_no_OK_if_a_flush_fails()
    {
        RequireStrace("P5");
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
}
