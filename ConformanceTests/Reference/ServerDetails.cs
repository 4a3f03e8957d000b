using static ConformanceTests.Sections.Aheads;
using static ConformanceTests.Sections.Listings;
using Digest = ConformanceTests.Sections.Aheads.Digest;

namespace ConformanceTests.Reference;

/// <summary>
/// Details of this server that Protocol.md leaves open, or that need its own options and logs to be seen.
/// </summary>
[Reference]
public sealed class ServerDetails : ServerFixture
{
    // Without `ahead`, `storage` comes before a digest that does not match.
    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _whereNothingCanBeStored =
    [
        ("dog.png", Cat,  Digest.None,  "storage"),
        ("dog.png", Cat,  Digest.Right, "storage"),
        ("dog.png", Cat,  Digest.Wrong, "corrupt"),
        ("dog.png", [],   Digest.None,  "empty"),
        ("dog.png", Page, Digest.Wrong, "bad-type"),
        ("dog.exe", Cat,  Digest.None,  "bad-type"),
        ("a/b.png", Cat,  Digest.None,  "bad-name"),
    ];

    [Test, Clause("AHEAD-2", "AHEAD-1")]
    public void Server_reports_a_missing_folder_after_the_block_with_ahead()
    {
        var server = Start();
        Directory.Delete(server.Folder);
        var wire = Connect(server);
        wire.ExpectRefusal("PUT|dog.png", "storage");
        foreach (var (name, content, digest, code) in _whereNothingCanBeStored)
        {
            wire.Send(Upload(name, content, digest));
            ExpectOutcome(wire, code);
        }
    }

    [Test, Clause("CLOSE-2", "STATUS-1")]
    public void Server_logs_and_counts_an_incomplete_line_as_it_arrived()
    {
        var server = Start("--trace");
        ProtocolConnection cut = Connect(server);
        ProtocolConnection other = Connect(server);
        cut.Send("LIST");
        cut.HalfClose();
        cut.ExpectError("bad-request", closes: true);
        string[] figures = Encoding.UTF8.GetString(other.AskForBlock("STATUS")).Split('\n')[0].Split('|');
        Assert.That(figures[3..5], Is.EqualTo(new[] { "1", "4" }), "one request, of four bytes");
        Eventually(() => server.Program.Errors.Contains("#1 disconnected"), "the end of the connection is not logged");
        Assert.That(server.Program.Errors, Does.Contain("#1 C: LIST\n").And.Not.Contain("#1 C: LIST\\n"));
    }

    [Test, Clause("NAME-3", "TYPE-1")]
    public void Server_refuses_a_file_extension_and_a_content_with_different_texts()
    {
        var wire = Connect(Start("--types png,webp"));
        wire.Send("PUT|a.jpg\n");
        string extension = wire.ReceiveLine();
        wire.Send("GET|a.jpg\n");
        Assert.That(wire.ReceiveLine(), Is.EqualTo(extension));
        Assert.That(extension, Does.StartWith("ER|bad-type|").And.Contain("accepts only png, webp"));
        wire.BeginPut("a.webp", 4, "text"u8);
        string content = wire.ReceiveLine();
        Assert.That(content, Does.StartWith("ER|bad-type|").And.Contain("does not look like a picture"));
        Assert.That(content, Does.Not.Contain("accepts only"));
        wire.Send([.. "PUT|a.jpg|ahead\n"u8, .. Notation.U64(4), .. "text"u8]);
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveLine(), Is.EqualTo(extension), "the answer to the name alone");
    }

    [Test, Clause("NAME-3")]
    public void Server_accepts_any_type_with_types_any()
    {
        var wire = Connect(Start("--types any"));
        foreach (string name in (string[])["notes.txt", "README", "a.tar.gz"])
        {
            wire.Put(name, "text"u8.ToArray());
        }

        wire.ExpectRefusal("PUT|.bashrc", "bad-name");
        wire.BeginPut("a.png", 4, "text"u8);
        wire.ExpectError("bad-type");
    }

    [Test, Clause("P5")]
    public void Server_with_sync_stores_uploads_as_without()
    {
        var server = Start("--sync");
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(100_000));
        Assert.That(wire.Get("cat.png"), Has.Length.EqualTo(100_000));
        wire.ExpectRefusal("PUT|cat.png", "exists");
    }

    [Test, Clause("P9")]
    public void Server_continues_when_it_has_no_descriptors_left()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs ulimit");

        var server = Start("--max-clients 1000", launcher: "sh -c 'ulimit -n 128; exec \"$@\"' sh");
        server.Has("cat.png", Notation.Bytes(9));
        var wires = new List<ProtocolConnection>();
        Repeat(150, () => wires.Add(Connect(server)));
        Eventually(() => server.Program.Errors.Contains("cannot accept"), "the descriptors do not run out");
        for (int i = 0; ; i++)                          // each upload needs one more descriptor
        {
            wires[i].Send($"PUT|{i}.png\n");
            string answer = wires[i].ReceiveLine();
            if (answer.StartsWith("ER|storage|"))
            {
                wires[i].ExpectRefusal("GET|cat.png", "storage");
                break;
            }

            Assert.That(answer, Is.EqualTo("OK"));
        }

        var before = server.Program.CpuTime;
        Thread.Sleep(1000);
        Assert.That((server.Program.CpuTime - before).TotalMilliseconds, Is.LessThan(500), "the server spins");
        foreach (var wire in wires.Skip(1).Take(140))
        {
            wire.Dispose();
        }

        wires[149].List();                              // this client has waited, and is served now
        wires[0].Dispose();
        server.Program.Signal("TERM");
        server.Program.MustExit(0);
    }

    [Test, Clause("P12")]
    public void Server_exits_with_1_at_a_second_signal()
    {
        var server = Start();
        var upload = Connect(server);
        upload.Ask("PUT|cat.png");
        server.Program.Signal("TERM");
        Eventually(() => server.Program.Errors.Contains("stopping"), "the first signal is not noticed");
        bool EndsWhenToldAgain()
        {
            server.Program.Signal("INT");
            return server.Program.HasEnded;
        }

        Eventually(EndsWhenToldAgain, "a second signal does not end it");
        server.Program.MustExit(1);
    }

    [Test, Clause("P12")]
    public void Server_removes_temporary_files_of_dead_servers_and_is_not_blocked_by_a_pipe()
    {
        string folder = NewFolder();
        string[] others =
        [
            ".imagetransfer-0123456789abcdef.down",
            ".imagetransfer-0123.up",
            ".imagetransfer-0123456789ABCDEF.upx",
            ".mine",
            "x.imagetransfer-0123456789abcdef.up",
        ];
        foreach (string name in others)
        {
            File.WriteAllBytes(Path.Combine(folder, name), [1]);
        }

        File.WriteAllBytes(Path.Combine(folder, ".imagetransfer-0123456789abcdef.up"), [1]);
        string planted = Path.Combine(folder, ".imagetransfer-fedcba9876543210.up");
        Tool.Run("mkfifo", planted);
        Connect(Start(folder: folder)).List();
        Assert.That(Directory.GetFileSystemEntries(folder).Select(Path.GetFileName), Is.EquivalentTo(others));
    }

    [Test, Clause("LIST-1", "CONN-2")]
    public void Server_sends_whole_listings_to_a_slow_reader_without_a_temporary_folder()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs env");

        const int Times = 40;
        var server = Start(launcher: "env TMPDIR=/nonexistent");
        var names = Fill(server.Folder, 1500);
        ProtocolConnection slow = Connect(server);
        ProtocolConnection other = Connect(server);
        slow.Send(string.Concat(Enumerable.Repeat("LIST\n", Times)));           // more than the kernels hold
        Repeat(5, () => Assert.That(NamesIn(other.List()), Is.EqualTo(names)));
        Repeat(Times, () => Assert.That(NamesIn(ReceiveListing(slow)), Is.EqualTo(names)));
    }

    [Test, Clause("LIST-1")]
    public void Server_shows_a_date_outside_the_years_1_to_9999_as_the_nearest_one()
    {
        Skip.If(!Directory.Exists("/dev/shm"), "needs a file system that takes any date, such as /dev/shm");

        string folder = Directory.CreateDirectory($"/dev/shm/{Path.GetRandomFileName()}").FullName;
        try
        {
            const string First = "0001-01-01T00:00:00Z";
            const string Last = "9999-12-31T23:59:59Z";
            (string Name, string Seconds, string Shown)[] files =
            [
                ("a.png", "253402300799", Last),        // the last second of 9999
                ("b.png", "253402300800", Last),        // the first second after 9999
                ("c.png", "4000000000000", Last),
                ("d.png", "-62135596800", First),       // the first second of the year 1
                ("e.png", "-62135596801", First),       // the last second before the year 1
                ("f.png", "-4000000000000", First),
            ];
            foreach (var (name, seconds, _) in files)
            {
                File.WriteAllBytes(Path.Combine(folder, name), Notation.Bytes(9));
                Tool.Run("touch", "-d", $"@{seconds}", Path.Combine(folder, name));
            }

            using var server = new RunningServer(folder: folder);
            using var wire = server.Connect();
            string[] lines = [.. files.Select(file => $"{file.Name}|9|{file.Shown}")];
            Assert.That(wire.List(), Is.EqualTo(lines));
            Assert.That(wire.Get("b.png"), Is.EqualTo(Notation.Bytes(9)));
            wire.Send("GET|e.png|modified\n");
            wire.Expect($"OK|{First}\n");
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    [Test, Clause("ERR-1", "LIST-2")]
    public void Server_answers_storage_to_LIST_of_an_unreadable_folder()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs the rights of Unix");

        string folder = NewFolder();
        var server = Start(folder: folder, launcher: UnprivilegedUser.Launcher(folder));
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(9));
        try
        {
            ProgramFixture.SetMode(folder, UnixFileMode.None);
            wire.ExpectRefusal("LIST", "storage");
        }
        finally
        {
            ProgramFixture.SetMode(folder, ProgramFixture.OwnerOnly);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    [Test, Clause("P11")]
    public void Server_continues_if_its_log_cannot_be_written()
    {
        Skip.If(!File.Exists("/dev/full"), "needs /dev/full");

        var server = Start(launcher: "sh -c 'exec \"$@\" 2>/dev/full' sh");
        Repeat(20, () => Connect(server).List());
    }

    [Test, Clause("P6")]
    public void Server_continues_if_its_log_is_not_read()
    {
        var server = Start("--trace", drain: false);
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(9));
        Repeat(5000, () => wire.Get("cat.png"));
    }
}
