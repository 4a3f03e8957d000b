// §5.1 where it is hard: many ask at once, some leave, files come meanwhile, and the folder is an odd one.

using System.Diagnostics;

public sealed class Listings : ServerConformance
{
    // Files with long names, so that a few of them make a listing of many octets.
    private static string[] Fill(string folder, int count)
    {
        var names = Enumerable.Range(0, count).Select(i => $"{i:D5}{new string('x', 200)}.png").ToArray();
        foreach (string name in names)
        {
            File.WriteAllBytes(Path.Combine(folder, name), [1]);
        }

        return names;
    }

    private static string[] NamesIn(IEnumerable<string> lines) => [.. lines.Select(line => line.Split('|')[0])];

    private static string[] TakeListing(Wire wire)
    {
        wire.Expect("OK\n");
        return Encoding.UTF8.GetString(wire.ReceiveBlock()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    [Test, Clause("LIST-1", "P6")]
    public void Many_who_ask_at_once_each_read_all_of_it()
    {
        const int Times = 5;
        var names = Fill(Server.Folder, 300);
        var wires = Enumerable.Range(0, 20).Select(_ => Connect()).ToArray();
        foreach (var wire in wires)
        {
            wire.Send(string.Concat(Enumerable.Repeat("LIST\n", Times)));
        }

        foreach (var wire in wires)
        {
            for (int i = 0; i < Times; i++)
            {
                Assert.That(NamesIn(TakeListing(wire)), Is.EqualTo(names));
            }
        }
    }

    [Test, Clause("P6", "CONN-4")]
    public void Who_asks_and_leaves_at_once_harms_nobody()
    {
        var names = Fill(Server.Folder, 300);
        var probe = Connect();
        for (int i = 0; i < 36; i++)
        {
            Wire other = Connect();
            Wire leaving = Connect();
            if (i % 2 == 0)
            {
                other.Send("LIST\n");       // it shares the listing of the one who leaves, or comes after
            }

            leaving.Send("LIST\n");
            if (i % 3 == 0)
            {
                leaving.Reset();
            }
            else
            {
                leaving.Dispose();
            }

            if (i % 2 != 0)
            {
                other.Send("LIST\n");
            }

            Assert.That(NamesIn(TakeListing(other)), Is.EqualTo(names));
            other.Dispose();
        }

        Assert.That(NamesIn(probe.List()), Is.EqualTo(names));
    }

    [Test, Clause("P3", "LIST-1")]
    public void What_is_stored_is_in_every_listing_that_is_asked_for_afterwards()
    {
        // Whoever asks all the time must not be the reason that somebody else is shown what was there before.
        const int Uploads = 60;
        int stored = 0;
        Fill(Server.Folder, 300);
        Wire uploader = Connect();
        Wire watcher = Connect();
        var listers = Enumerable.Range(0, 3).Select(_ => Connect()).ToArray();
        var listing = listers.Select(wire => Task.Run(() =>
        {
            while (Volatile.Read(ref stored) < Uploads)
            {
                int least = Volatile.Read(ref stored);
                string[] names = NamesIn(wire.List());
                Assert.That(names, Is.Unique.And.Ordered.Using((IComparer<string>)StringComparer.Ordinal));
                Assert.That(names.Count(name => name[0] == 'z'), Is.GreaterThanOrEqualTo(least));
            }
        })).ToArray();
        for (int i = 0; i < Uploads; i++)
        {
            uploader.Put($"z{i:D2}.png", Notation.Bytes(100));
            Volatile.Write(ref stored, i + 1);
            Assert.That(watcher.List(), Has.Length.EqualTo(300 + i + 1));
        }

        Assert.That(Task.WaitAll(listing, Settings.Patience * 2), "a lister hangs");
    }

    [Test, Clause("LIST-1", "LIST-2")]
    public void Files_that_come_and_go_meanwhile_disturb_no_listing()
    {
        var names = Fill(Server.Folder, 100);
        var wire = Connect();
        int listed = 0;
        var others = Task.Run(() =>
        {
            for (int i = 0; Volatile.Read(ref listed) < 100; i = (i + 1) % 50)
            {
                string path = Server.PathOf($"{i}z.png");
                File.WriteAllBytes(path, [1]);
                File.Delete(path);
            }
        });
        try
        {
            for (; listed < 100; Volatile.Write(ref listed, listed + 1))
            {
                string[] missing = [.. names.Except(NamesIn(wire.List()))];
                Demand(missing is [], "in each listing all of the files that stay", $"{missing.Length} are missing");
            }
        }
        finally
        {
            Volatile.Write(ref listed, 100);
            others.Wait();
        }
    }

    [Test, Clause("LIST-1", "CONN-2"), Reference]
    public void Read_slowly_it_comes_whole_where_there_is_no_temporary_folder()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("needs env");
        }

        const int Times = 40;
        var server = Start(launcher: "env TMPDIR=/nonexistent");
        var names = Fill(server.Folder, 1500);
        Wire slow = Connect(server);
        Wire other = Connect(server);
        slow.Send(string.Concat(Enumerable.Repeat("LIST\n", Times)));           // more than the kernels hold
        for (int i = 0; i < 5; i++)
        {
            Assert.That(NamesIn(other.List()), Is.EqualTo(names));
        }

        for (int i = 0; i < Times; i++)
        {
            Assert.That(NamesIn(TakeListing(slow)), Is.EqualTo(names));
        }
    }

    [Test, Clause("LIST-1"), Reference]
    public void A_date_that_four_digits_cannot_say_is_shown_as_the_last_that_they_can()
    {
        if (!Directory.Exists("/dev/shm"))
        {
            Assert.Ignore("needs a file system that takes any date, such as /dev/shm");
        }

        string folder = Directory.CreateDirectory($"/dev/shm/{Path.GetRandomFileName()}").FullName;
        try
        {
            (string Name, string Seconds)[] files =
            [
                ("a.png", "253402300799"),              // the last second of 9999,
                ("b.png", "253402300800"),              // and the next
                ("c.png", "4000000000000"),
            ];
            foreach (var (name, seconds) in files)
            {
                File.WriteAllBytes(Path.Combine(folder, name), Notation.Bytes(9));
                using var touch = Process.Start("touch", ["-d", $"@{seconds}", Path.Combine(folder, name)]);
                touch.WaitForExit();
            }

            using var server = new RunningServer(folder: folder);
            using var wire = server.Connect();
            string[] lines = [.. files.Select(file => $"{file.Name}|9|9999-12-31T23:59:59Z")];
            Assert.That(wire.List(), Is.EqualTo(lines));
            Assert.That(wire.Get("b.png"), Is.EqualTo(Notation.Bytes(9)));
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Test, Clause("P10", "LIST-1")]
    public void An_entry_without_a_name_is_not_taken_for_the_one_that_looks_like_it()
    {
        if (!OperatingSystem.IsLinux())
        {
            Assert.Ignore("needs names that are no UTF-8");
        }

        Server.Has("a\uFFFD.png", Notation.Bytes(9));
        foreach (string octet in (string[])["\\377", "\\376"])
        {
            Shell($"printf 12345 > \"$0/$(printf 'a{octet}.png')\"");
        }

        Assert.That(Directory.GetFiles(Server.Folder), Has.Length.EqualTo(3));
        string[] lines = Connect().List();
        Assert.That(lines, Has.Length.EqualTo(1));
        Assert.That(lines[0], Does.StartWith("a\uFFFD.png|9|"));
        Assert.That(Connect().Get("a\uFFFD.png"), Is.EqualTo(Notation.Bytes(9)));
        Shell("rm -f \"$0\"/a*");                       // .NET cannot name them

        void Shell(string script)
        {
            using var shell = Process.Start("sh", ["-c", script, Server.Folder]);
            shell.WaitForExit();
        }
    }

    [Test, Clause("ERR-1", "LIST-2")]
    public void A_folder_that_is_gone_is_no_empty_one()
    {
        string folder = NewFolder();
        var server = Start(folder: folder);
        var wire = Connect(server);
        Assert.That(wire.List(), Is.Empty);
        Directory.Delete(folder, true);
        wire.Send("LIST\n");
        wire.ExpectError("storage");
        Directory.CreateDirectory(folder);
        Assert.That(wire.List(), Is.Empty);             // and the conversation goes on
    }

    [Test, Clause("ERR-1", "LIST-2"), Reference]
    public void Nor_is_one_that_may_not_be_read()
    {
        if (OperatingSystem.IsWindows())
        {
            Assert.Ignore("needs Unix rights");
            return;
        }

        string folder = NewFolder();
        var server = Start(folder: folder, launcher: Nobody.Launcher(folder));
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(9));
        try
        {
            File.SetUnixFileMode(folder, UnixFileMode.None);
            wire.Send("LIST\n");
            wire.ExpectError("storage");
        }
        finally
        {
            File.SetUnixFileMode(folder, (UnixFileMode)0x1C0);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }
}

// Root may do everything: what a missing right does is seen by somebody else alone.
internal static class Nobody
{
    private const string Id = "65534";

    // What starts a program as one who owns these paths and has no other rights; nothing where the tests are such one.
    public static string Launcher(params string[] paths)
    {
        if (Environment.UserName != "root")
        {
            return "";
        }

        string launcher = $"setpriv --reuid={Id} --regid={Id} --clear-groups";
        foreach (string path in paths)
        {
            Run("chown", Id, path);
        }

        string can = Settings.IsReference ? $"test -r {Plug.Dll}" : "true";
        if (Run("sh", "-c", $"exec 2>/dev/null; {launcher} {can}") != 0)
        {
            NotLookedAt.Skip("needs a server that somebody else than root can start from there");
        }

        return launcher;
    }

    private static int Run(string program, params string[] words)
    {
        using var process = Process.Start(program, words);
        process.WaitForExit();
        return process.ExitCode;
    }
}

public sealed class ListingsTaken : ClientConformance
{
    [Test, Clause("CLI-2", "LIMIT-3"), Reference]
    public void It_is_taken_whole_before_anybody_has_looked_at_it()
    {
        // Whoever pages through it takes minutes; the server would not wait for him.
        string[] lines = [.. Enumerable.Range(0, 60_000).Select(i => $"{i:D5}{new string('x', 200)}.png|1|{Date}")];
        string[] command = [.. Plug.Words($"dotnet {Plug.Dll} client 127.0.0.1 {Port} LIST")];
        var client = Own(new Program("client", command, Folder, drain: false));
        var wire = Accept();
        wire.Expect("LIST\n");
        byte[] listing = Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n")));
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)listing.Length), .. listing]);
        Assert.That(wire.SendingFailed, Is.False, "it does not take what nobody reads yet");
        wire.Dispose();
        client.Drain();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).SequenceEqual(lines));
    }

    private const string Date = "2026-01-31T23:59:59Z";
}
