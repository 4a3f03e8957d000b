// Files that change, shrink or vanish while one half of the program is busy with them.

using System.Security.Cryptography;

public sealed class ServedFilesThatChange : ServerConformance
{
    private static void Truncate(string path, long length)
    {
        using var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite);
        file.SetLength(length);
    }

    [Test, Clause("REPLY-1", "GET-3", "OFFSET-1", "DIGEST-1")]
    public void A_file_that_shrinks_before_its_answer_gets_one_answer()
    {
        // All of it is hashed before its last ten octets are sent, and that takes longer than another's listing.
        const long Size = 1L << 29;
        Truncate(Server.PathOf("big.png"), Size);
        Wire wire = Connect();
        Wire other = Connect();
        wire.Send($"GET|big.png|offset={Size - 10}|digest=sha256\n");
        other.List();
        Truncate(Server.PathOf("big.png"), 1 << 20);

        string answer = wire.ReceiveLine();
        if (answer != "OK")
        {
            Assert.That(answer, Does.StartWith("ER|storage|").Or.StartWith("ER|bad-offset|"));
            Assert.That(wire.List(), Has.Length.EqualTo(1));
            return;
        }

        wire.ExpectOctets(Notation.U64(10));
        wire.HalfClose();
        byte[] rest = wire.ReceiveRest();
        Assert.That(rest.Take(10), Is.All.Zero, "octets that are not the file's");
        Assert.That(rest.Length is < 10 or 10 + 32, $"{rest.Length} octets");
    }
}

public sealed class KeptFilesThatChange : ClientConformance
{
    private string PathOf(string name) => Path.Combine(Folder, name);

    private string[] Files() => [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))];

    [Test, Clause("CLI-4"), Reference]
    public void A_download_whose_octets_somebody_removes_leaves_no_file()
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. Notation.Bytes(50)]);
        // Its octets, and not the file alone: that it would make anew.
        Eventually(() => Files() is [var hidden] && new FileInfo(PathOf(hidden)).Length == 50,
            "nothing is being saved");
        File.Delete(PathOf(Files()[0]));
        wire.Send([.. Notation.Bytes(100).AsSpan(50), .. SHA256.HashData(Notation.Bytes(100))]);
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(Files(), Is.Empty);
    }

    [Test, Clause("CLI-10", "CLI-4"), Reference]
    public void A_kept_file_that_shrinks_while_it_is_read_ends_the_resumption()
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Ignore("needs /proc");
        }

        const long Kept = 2L << 30;
        var client = Run("GET", "cat.png");
        var wire = Accept();
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(1UL << 40), .. Notation.Bytes(50)]);
        wire.Dispose();
        client.WaitForExit();
        string hidden = PathOf(Files().Single());
        void SetLength(long length)
        {
            using var file = File.OpenWrite(hidden);
            file.SetLength(length);
        }

        SetLength(Kept);                                // more than can be read before it is cut

        client = Run("GET", "cat.png", "--resume");
        bool Reads() => Directory.GetFiles($"/proc/{client.Id}/fd")
            .Any(link => new FileInfo(link).LinkTarget == hidden);

        var shrinking = Task.Run(() => Eventually(() =>
        {
            if (!client.HasEnded && !Reads())
            {
                return false;
            }

            Execute("truncate", "-s", "1000", hidden);  // without the lock that .NET would ask for
            return true;
        }, "the kept file is not read"));
        wire = Accept();
        wire.ReceiveLine();
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8), .. new byte[32]]);
        shrinking.Wait(Settings.Patience);
        Assert.That(client.WaitForExit(), Is.EqualTo(1), client.Said());
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    private static void Execute(string program, params string[] words)
    {
        using var process = System.Diagnostics.Process.Start(program, words);
        process.WaitForExit();
    }
}
