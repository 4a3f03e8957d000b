using ConformanceTests.Reference;
using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>This client, with system calls that strace delays.</summary>
[Torture]
public sealed class SlowClients : ClientFixture
{
    private ChildProgram RunTraced(string trace, string words) => Own(ProgramFixture.Begin(
        Folder, $"client 127.0.0.1 {Port} {words}", launcher: $"{Strace} -f -qq {trace}"));

    // Interrupts a download, and gives the file that the client keeps this length. Returns its path.
    private string Keep(string name, long length)
    {
        var (client, wire) = Connected("GET", name);
        wire.ReceiveLine();
        wire.Send([.. "OK\n"u8, .. Notation.U64(1UL << 40), .. new byte[10]]);
        wire.Dispose();
        client.WaitForExit();
        string hidden = Directory.GetFiles(Folder, ".imagetransfer-*.down").Single();
        LocalFiles.SetLength(hidden, length);
        return hidden;                              // it has only zeros
    }

    [Test, Clause("CLI-4", "CLI-6")]
    public void Client_that_locks_too_late_does_not_touch_a_published_file()
    {
        RequireStrace("P2");
        var picture = Notation.Bytes(100_000);
        var first = Run("GET", "cat.png");
        var wire = Accept();
        wire.ExpectRequest("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(100_000), .. picture[..50_000]]);
        Eventually(() => Directory.GetFileSystemEntries(Folder).Length == 1, "nothing is being saved");
        string hidden = Directory.GetFileSystemEntries(Folder)[0];

        // The second client opens the hidden file, and asks late for the lock that the first one holds.
        var second = RunTraced($"-P {hidden} -e inject=flock:delay_enter={RunSettings.Milliseconds(3_000)}000 "
            + $"-o {Path.Combine(NewFolder("calls"), "calls.txt")}", "GET cat.png");
        var other = Accept();
        other.ExpectRequest("GET|cat.png|digest=sha256\n");
        other.Send([.. "OK\n"u8, .. Notation.U64(100_000), .. picture[..10]]);
        int traced = 0;
        Eventually(() =>
        {
            string children = File.ReadAllText($"/proc/{second.Id}/task/{second.Id}/children");
            return int.TryParse(children.Split(' ')[0], out traced)
                && TortureFixture.OpenFiles(traced).Contains(hidden);
        }, "the second client does not open it");
        wire.Send([.. picture[50_000..], .. SHA256.HashData(picture)]);
        first.MustSucceed();
        Assert.That(File.ReadAllBytes(PathOf("cat.png")).AsSpan().SequenceEqual(picture));

        other.Dispose();                                    // this interrupts the download of the second client
        Assert.That(second.WaitForExit(RunSettings.Milliseconds(20_000)), Is.EqualTo(3));
        Assert.That(File.ReadAllBytes(PathOf("cat.png")).AsSpan().SequenceEqual(picture), "the picture was changed");
        Say("P2", "a client that locks the hidden file after another has published it: the picture is untouched");
    }

    [Test, Clause("CLI-10", "CLI-9", "LIMIT-3")]
    public void Client_reads_what_it_kept_before_it_sends_a_request()
    {
        RequireStrace("P8");
        const int Kept = 5_000_000;
        string hidden = Keep("cat.png", Kept);
        string calls = Path.Combine(NewFolder("calls"), "calls.txt");
        var client = RunTraced($"-P {hidden} -o {calls} -e trace=pread64 "
            + "-e inject=pread64:delay_exit=100000", "GET cat.png --resume");
        var wire = Accept();
        wire.ExpectRequest($"GET|cat.png|offset={Kept}|digest=sha256\n");
        string[] reads = File.ReadAllLines(calls);
        long read = reads.Select(line => Regex.Match(line, @"= (\d+)( |$)")).Where(match => match.Success)
            .Sum(match => long.Parse(match.Groups[1].Value));
        Assert.That(read, Is.EqualTo(Kept), string.Join('\n', reads));
        byte[] whole = [.. new byte[Kept], .. Notation.Bytes(8)];
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. whole[Kept..], .. SHA256.HashData(whole)]);
        client.MustSucceed();
        Assert.That(File.ReadAllBytes(PathOf("cat.png")).AsSpan().SequenceEqual(whole));
        Assert.That(File.ReadAllLines(calls), Has.Length.EqualTo(reads.Length), "the client reads the file again");
        Say("P8", $"a slow disk under --resume: all {Kept:N0} bytes kept are read before the server is asked");
    }

    [Test, Clause("CLI-10", "CLI-9")]
    public void Client_waits_longer_for_a_server_that_has_much_to_hash()
    {
        // A minute, and one more for each 100 MiB that the server has to read before it can answer.
        const int Kept = 150 << 20;
        Keep("cat.png", Kept);
        var clock = Stopwatch.StartNew();
        var (client, wire) = Connected("GET", "cat.png", "--resume");
        wire.ExpectRequest($"GET|cat.png|offset={Kept}|digest=sha256\n");
        byte[] whole = [.. new byte[Kept], .. Notation.Bytes(8)];
        while (clock.Elapsed < TimeSpan.FromSeconds(66))
        {
            Assert.That(client.HasEnded, Is.False, $"given up after {clock.Elapsed.TotalSeconds:0} s\n{client.Said()}");
            Thread.Sleep(200);
        }

        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. whole[Kept..], .. SHA256.HashData(whole)]);
        client.MustSucceed();
        Assert.That(new FileInfo(PathOf("cat.png")).Length, Is.EqualTo(whole.Length));
        Say("P8", "an answer that takes 66 s after 150 MiB of offset: the client waits");
    }
}
