using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Files that change, and disks that are full.</summary>
[Torture]
public sealed class DiskFaults : TortureFixture
{
    [Test]
    public void Server_sends_no_wrong_byte_of_a_file_that_changes()
    {
        const int Size = 24 << 20;
        var random = new Random(RunSettings.Current.Seed);
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
            wire.Ask("GET|cat.png|digest=sha256");
            wire.ExpectBytes(Notation.U64(Size));
            byte[] begun = wire.Receive(random.Next(1, Size / 4));
            if (i % 3 == 0)
            {
                LocalFiles.SetLength(server.PathOf("cat.png"), random.Next(Size));
            }
            else
            {
                File.Delete(server.PathOf("cat.png"));
            }

            if (i % 3 == 2)
            {
                server.Has("cat.png", other);
            }

            wire.HalfClose();
            byte[] all = [.. begun, .. wire.ReceiveRest()];
            Assert.That(all.AsSpan().SequenceEqual(right.AsSpan(0, all.Length)), "bytes that are not the file's");
            Assert.That(i % 3 == 0 || all.Length == right.Length, "cut, although the file only lost its name");
            if (all.Length < right.Length)
            {
                cut++;
            }
        }

        Say("P4", $"{runs} downloads of a file that is cut, deleted or replaced while it is sent: "
            + $"{runs - cut} right, {cut} short, none wrong");
    }

    [Test]
    public void Server_stores_nothing_on_a_full_disk_and_recovers()
    {
        if (SmallDisk.TryMount("size=1m") is not { } disk)
        {
            Say("P1 P5", "skipped: no small disk can be mounted");
            Assert.Ignore("no small disk can be mounted");
            return;
        }

        string folder = Own(disk).Folder;
        var server = Start(folder: folder);
        ProtocolConnection wire = Connect(server);
        ProtocolConnection other = Connect(server);
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

    [Test]
    public void Server_continues_if_its_log_is_on_a_full_disk()
    {
        var server = Start("--trace", launcher: "sh -c 'exec \"$@\" 2>/dev/full' sh");
        for (int i = 0; i < 20; i++)
        {
            using var wire = server.Connect();
            wire.Put($"{i}.png", Notation.Bytes(100));
            Assert.That(wire.List(), Has.Length.EqualTo(i + 1));
        }

        Thread.Sleep(500);
        Assert.That(server.Program.HasEnded, Is.False, "the server ended because it could not write its log");
        Say("P6 P11", "a log that cannot be written: 20 clients served");
    }
}
