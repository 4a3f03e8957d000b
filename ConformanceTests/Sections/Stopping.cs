namespace ConformanceTests.Sections;

/// <summary>CLOSE-4, P12: a server that is stopped, and what it leaves for the next start.</summary>
public sealed class Stopping : ServerFixture
{
    private const int Large = 32 << 20;                         // more than kernels buffer

    // When this returns, the server has seen the signal.
    private static void Stop(RunningServer server, ProtocolConnection idle, string signal = "TERM")
    {
        server.Program.TellToStop(signal);
        idle.ExpectError("stopping", closes: true);
        idle.Dispose();
    }

    private static void ExpectCleanEnd(RunningServer server)
    {
        int code = server.Program.WaitForExit(RunSettings.Milliseconds(15_000));
        Demand(code == 0, "exit code 0 from a server that was told to stop",
            code > 128 ? $"{code}: the signal {code - 128} has ended it" : $"{code}");
    }

    private static void ExpectInFolder(RunningServer server, string[] names, string? breaks = null)
    {
        var there = Entries(server.Folder).Order().ToArray();
        Demand(there.SequenceEqual(names.Order()), $"in the folder: {string.Join(", ", names)}",
            $"in the folder: {string.Join(", ", there)}", breaks);
    }

    [Test, Clause("P12")]
    public void Server_without_clients_exits_with_0_when_it_is_stopped([Values("INT", "TERM", "HUP")] string signal)
    {
        var server = Start();
        var wire = Connect(server);
        wire.List();
        wire.Finish();
        wire.Dispose();
        server.Program.TellToStop(signal);
        ExpectCleanEnd(server);
    }

    [Test, Clause("CLOSE-4", "P12")]
    public void Server_sends_stopping_to_waiting_connections([Values("INT", "TERM", "HUP")] string signal)
    {
        var server = Start();
        ProtocolConnection silent = Connect(server);
        ProtocolConnection idle = Connect(server);
        ProtocolConnection half = Connect(server);
        idle.List();
        half.List();
        half.Send("LIS");
        var barrier = Connect(server);
        barrier.List();                                 // by now the server has seen the half line
        barrier.Finish();
        barrier.Dispose();
        var clock = Stopwatch.StartNew();
        server.Program.TellToStop(signal);
        foreach (var wire in (ProtocolConnection[])[silent, idle, half])
        {
            wire.ExpectError("stopping", closes: true);
            wire.Dispose();
        }

        ExpectCleanEnd(server);
        double took = clock.Elapsed.TotalSeconds;
        double atMost = 5 + RunSettings.Milliseconds(5_000) / 1000.0;
        Demand(took < atMost, "the end soon after the last client has closed: nothing runs", $"it took {took:0.0} s");
    }

    [Test, Clause("CLOSE-6", "CLOSE-4", "P12")]
    public void Server_finishes_running_transfers_and_answers_waiting_requests_with_stopping(
        [Values("INT", "TERM", "HUP")] string signal)
    {
        var server = Start();
        var picture = Notation.Bytes(Large);
        server.Has("cat.png", picture);
        ProtocolConnection idle = Connect(server);
        ProtocolConnection download = ConnectSlow(server);
        ProtocolConnection upload = Connect(server);
        ProtocolConnection begun = Connect(server);
        ProtocolConnection refused = Connect(server);
        ProtocolConnection digested = ConnectSlow(server);
        bool digests = Extensions.Missing("DIGEST-1") is null;
        idle.List();
        if (digests)
        {
            digested.Ask("GET|cat.png|digest=sha256");
        }

        upload.BeginPut("dog.png", 30, Notation.Bytes(10));
        begun.Ask("PUT|bird.png");                   // accepted, and no more than that
        refused.BeginPut("page.png", 100, new byte[50]);        // no picture, but a running transfer as well
        download.Send("GET|cat.png\nLIST\nGET|cat.png\n");
        download.Expect("OK\n");
        Stop(server, idle, signal);
        var clock = Stopwatch.StartNew();
        upload.Send([.. Notation.Bytes(30).AsSpan(10), .. "LIST\n"u8]);
        upload.Expect("OK\n");
        upload.ExpectError("stopping", closes: true);
        ExpectItReadsOn(upload, clock);
        refused.ExpectRefusal(new byte[50], "bad-type");
        refused.ExpectError("stopping", closes: true);
        begun.Send([.. Notation.U64(20), .. Notation.Bytes(20)]);
        begun.Expect("OK\n");
        begun.ExpectError("stopping", closes: true);
        Same(picture, download.ReceiveBlock(), "the block of cat.png");
        download.ExpectError("stopping", closes: true);
        if (digests)
        {
            Same(picture, digested.ReceiveBlock(), "the block of cat.png");
            digested.ExpectBytes(SHA256.HashData(picture));
            digested.ExpectError("stopping", closes: true);
        }

        foreach (var wire in (ProtocolConnection[])[upload, begun, refused, download, digested])
        {
            wire.Dispose();
        }

        ExpectCleanEnd(server);
        ExpectInFolder(server, ["cat.png", "dog.png", "bird.png"]);
        Same(Notation.Bytes(30), server.Stored("dog.png"), "dog.png as it was stored");
    }

    [Test, Slow, Clause("CLOSE-6", "P12", "GET-3")]
    public void Server_ends_transfers_after_10_s_and_leaves_no_partial_file()
    {
        var server = Start();
        var picture = Notation.Bytes(Large);
        server.Has("cat.png", picture);
        ProtocolConnection idle = Connect(server);
        ProtocolConnection stalled = Connect(server);
        ProtocolConnection slow = Connect(server);
        ProtocolConnection unread = ConnectSlow(server);
        var dribbles = Connect(server);
        idle.List();
        (ProtocolConnection, string)[] running = [(stalled, "never"), (slow, "late"), (dribbles, "dribbles")];
        foreach (var (wire, name) in running)
        {
            wire.BeginPut($"{name}.png", 1000, Notation.Bytes(500));
        }

        unread.Ask("GET|cat.png");
        var clock = Stopwatch.StartNew();
        Stop(server, idle);
        bool early = false;
        for (int i = 0; i < 14 && !early; i++)
        {
            dribbles.Send("x");
            early = stalled.Socket.Poll(500_000, SelectMode.SelectRead);
        }

        double waited = clock.Elapsed.TotalSeconds;
        Demand(!early, $"{Limits.StopSeconds} s for a running upload to end", $"something comes after {waited:0.0} s");
        bool isInTime = clock.Elapsed.TotalSeconds < 9;
        if (isInTime)
        {
            slow.Send(Notation.Bytes(1000).AsSpan(500));
            slow.Expect("OK\n");
            slow.ExpectError("stopping", closes: true);
        }

        slow.Dispose();
        bool came = false;
        for (int i = 0; i < RunSettings.Milliseconds(24) && !came; i++)
        {
            dribbles.Send("x");
            came = stalled.Socket.Poll(500_000, SelectMode.SelectRead);
        }

        Demand(came, $"`stopping` inside the stalled upload, {Limits.StopSeconds} s after the signal",
            "nothing in 19 s");
        stalled.ExpectError("stopping", closes: true);
        stalled.Dispose();
        dribbles.ExpectError("stopping", closes: true);         // single bytes do not extend the time
        dribbles.Dispose();
        byte[] rest = unread.ReceiveRest(orSilence: true);
        var block = rest.AsSpan(Math.Min(8, rest.Length));
        Demand(block.Length < Large && block.SequenceEqual(picture.AsSpan(0, block.Length)),
            "the block cut short, and no reply after it (GET-3)",
            $"{block.Length} of {Large} bytes, which are not those of the file: an ER here is taken for the picture");
        unread.ExpectEnd();
        unread.Dispose();
        ExpectCleanEnd(server);
        double took = clock.Elapsed.TotalSeconds;
        double atMost = Limits.ExitSeconds + RunSettings.Milliseconds(6_000) / 1000.0;
        Demand(took < atMost, $"the end within {Limits.ExitSeconds} s", $"it took {took:0.0} s");
        string[] late = server.Shows("late.png") ? ["late.png"] : [];
        ExpectInFolder(server, ["cat.png", .. late]);
        Skip.If(!isInTime, MachinePaused);
    }

    [Test, Clause("CLOSE-4")]
    public void Server_that_is_stopped_accepts_no_new_clients()
    {
        var server = Start();
        ProtocolConnection idle = Connect(server);
        ProtocolConnection upload = Connect(server);
        upload.Ask("PUT|cat.png");
        idle.List();
        Stop(server, idle);
        // The connection may be refused, or reset in the end. It must not be served.
        if (server.TryToConnect() is { } late)
        {
            Own(late);
            late.Send("LIST\n");
            late.Socket.Poll(1_500_000, SelectMode.SelectRead);         // the upload keeps the server running
            upload.Send([.. Notation.U64(20), .. Notation.Bytes(20)]);
            upload.Expect("OK\n");
            upload.ExpectError("stopping", closes: true);
            upload.Dispose();
            ExpectCleanEnd(server);
            string said = Encoding.UTF8.GetString(late.ReceiveRest());
            Demand(!said.StartsWith("OK"),
                "no service for a client that comes after the signal", said.ReplaceLineEndings("\\n"));
        }
    }

    [Test, Clause("P12", "PUT-5")]
    public void Server_leaves_no_temporary_file_after_too_large()
    {
        var server = Start();
        var wire = Connect(server);
        wire.Ask("PUT|cat.png");
        wire.ExpectRefusal(Notation.U64(ulong.MaxValue), "too-large", closes: true);
        wire.Dispose();
        server.Program.TellToStop();
        ExpectCleanEnd(server);
        ExpectInFolder(server, []);
    }

    [Test, Clause("P12", "P5")]
    public void Server_starts_again_at_once_on_the_same_port_and_folder([Values("TERM", "KILL")] string signal)
    {
        var server = Start();
        ProtocolConnection open = Connect(server);
        ProtocolConnection upload = Connect(server);
        open.Put("cat.png", Notation.Bytes(5000));
        upload.Ask("PUT|dog.png");
        if (signal == "KILL")
        {
            upload.Send([.. Notation.U64(1 << 20), .. Notation.Bytes(1 << 19)]);
        }

        Connect(server).List();
        server.Program.TellToStop(signal);
        if (signal == "TERM")
        {
            open.ExpectError("stopping", closes: true);     // the server closes first, so its port is in TIME_WAIT
            upload.Send([.. Notation.U64(9), .. Notation.Bytes(9)]);
            upload.Expect("OK\n");
            foreach (var wire in (ProtocolConnection[])[open, upload])
            {
                wire.Dispose();
            }

            ExpectCleanEnd(server);
        }
        else
        {
            server.Program.WaitForExit();
        }

        var next = Start(folder: server.Folder, port: server.Port);
        var listed = Connect(next).List().Select(line => line.Split('|')[0]);
        string[] expected = signal == "TERM" ? ["cat.png", "dog.png"] : ["cat.png"];
        Demand(listed.SequenceEqual(expected), $"{string.Join(", ", expected)} in the list of the next server",
            string.Join(", ", listed));
        ExpectInFolder(next, expected, breaks: signal == "KILL" ? "P13" : "P12");
        bool isWhole = next.Stored("cat.png").AsSpan().SequenceEqual(Notation.Bytes(5000));
        Demand(isWhole, "cat.png as it was stored", "others");
    }

    [Test, Clause("P13")]
    public void Server_removes_temporary_files_of_dead_servers_only()
    {
        string folder = NewFolder();
        var before = new List<string[]>();
        RunningServer[] servers = [Start(folder: folder), Start(folder: folder)];
        foreach (var server in servers)
        {
            for (int i = 0; i < 4; i++)
            {
                var wire = Connect(server);
                wire.BeginPut($"{before.Count}-{i}.png", 1 << 20, Notation.Bytes(1 << 19));
            }

            Connect(server).List();
            before.Add([.. Entries(folder).Except(before.SelectMany(names => names))]);
        }

        servers[0].Program.TellToStop("KILL");
        servers[0].Program.WaitForExit();
        Connect(Start(folder: folder)).List();
        var after = Entries(folder);
        Demand(before[1].All(after.Contains), "the temporary files of a running server left alone",
            $"gone: {string.Join(", ", before[1].Except(after))}");
        Demand(!before[0].Any(after.Contains), "the temporary files of a server that was killed removed",
            $"still there: {string.Join(", ", before[0].Intersect(after))}");
    }

    // A server that has ended inside an upload, and the path of its temporary file.
    private (RunningServer Server, string Temporary) KillInsideAnUpload()
    {
        var server = Start();
        Connect(server).BeginPut("cat.png", 2 << 20, Notation.Bytes(1 << 20));
        Connect(server).List();
        Eventually(() => server.Hidden().All(name => new FileInfo(server.PathOf(name)).Length > 0),
            "nothing is written");
        server.Program.SignalAndWait("KILL");
        string[] hidden = server.Hidden();
        Skip.If(hidden.Length != 1, "needs a server whose temporary files are in its folder");
        return (server, server.PathOf(hidden[0]));
    }

    [Test, Clause("P13", "P10")]
    public void Server_starts_despite_a_folder_pipe_or_link_named_like_its_temporary(
        [Values("folder", "pipe", "link")] string what)
    {
        Skip.If(RunSettings.Current.OnWindows, "needs links and pipes");

        var (server, path) = KillInsideAnUpload();
        string outside = Path.Combine(NewFolder(), "outside.png");
        File.Delete(path);
        File.WriteAllBytes(outside, Notation.Bytes(100));
        if (what == "folder")
        {
            Directory.CreateDirectory(path);
        }
        else if (what == "link")
        {
            File.CreateSymbolicLink(path, outside);
        }
        else
        {
            Tool.Run("mkfifo", path);
        }

        var listed = Connect(Start(folder: server.Folder)).List();
        Demand(listed is [], "an empty listing", string.Join(", ", listed));
        Same(Notation.Bytes(100), LocalFiles.Read(outside), "what the link points to, outside the folder");
    }

    // After a crash between link and unlink, a stored file still has its temporary name, too.
    [Test, Clause("P5", "P13")]
    public void Server_keeps_a_stored_file_whose_temporary_name_is_still_there()
    {
        Skip.If(RunSettings.Current.OnWindows, "needs hard links");

        var (server, temporary) = KillInsideAnUpload();
        Tool.Run("ln", temporary, server.PathOf("cat.png"));
        Skip.If(!server.Shows("cat.png"), "needs hard links");

        byte[] stored = server.Stored("cat.png");
        Connect(Start(folder: server.Folder)).List();
        Demand(server.Shows("cat.png") && server.Stored("cat.png").AsSpan().SequenceEqual(stored),
            "cat.png as it was before the start, although a temporary file is the same one",
            server.Shows("cat.png")
                ? $"{server.Stored("cat.png").Length:N0} bytes of {stored.Length:N0}" : "it is gone");
        ExpectInFolder(server, ["cat.png"], breaks: "P13");
    }

    [Test, Clause("P10", "P13")]
    public void Server_starts_on_a_folder_with_all_kinds_of_entries()
    {
        string folder = NewFolder();
        string outside = NewFolder();
        HostileFolder.Fill(folder, outside);
        foreach (string name in (string[])[".keep", ".keep.png", ".png"])
        {
            File.WriteAllBytes(Path.Combine(folder, name), []);         // empty files of other programs
        }

        string[] before = [.. HostileFolder.Look(folder, outside).Where(entry => !entry.Contains("/.imagetransfer-"))];
        var wire = Connect(Start(folder: folder));
        wire.Put("cat.png", Notation.Bytes(9));
        var listed = wire.List().Select(line => line.Split('|')[0]);
        Demand(listed.SequenceEqual(["cat.png", "fine.png"]), "cat.png and fine.png in the list",
            string.Join(", ", listed));
        var after = HostileFolder.Look(folder, outside);
        Demand(before.All(entry => after.Contains(entry)), "all that was in the folder left as it was",
            $"gone or changed: {string.Join(", ", before.Except(after))}");
    }

    [Test, Clause("P13", "P2")]
    public void Server_leaves_the_temporary_files_of_another_running_server_alone([Values] bool stops)
    {
        string folder = NewFolder();
        var first = Start(folder: folder);
        ProtocolConnection upload = Connect(first);
        ProtocolConnection begun = Connect(first);
        begun.Ask("PUT|dog.png");                    // no byte of it yet
        var picture = Notation.Bytes(2 << 20);
        upload.BeginPut("cat.png", 2 << 20, picture.AsSpan(0, 1 << 20));
        Connect(first).List();
        var before = Entries(folder);
        var second = Start(folder: folder);
        Connect(second).List();
        void ExpectAllThere(string server)
        {
            string[] gone = [.. before.Except(Entries(folder))];
            Demand(gone is [], $"the temporary files of a running upload left alone by {server}",
                $"gone: {string.Join(", ", gone)}");
        }

        ExpectAllThere("a second server that starts");
        if (stops)
        {
            second.Program.TellToStop();
            ExpectCleanEnd(second);
            ExpectAllThere("another server that ends");
        }

        begun.Send([.. Notation.U64(9), .. Notation.Bytes(9)]);
        begun.Expect("OK\n");
        upload.Send(picture.AsSpan(1 << 20));
        upload.Expect("OK\n");
        Same(picture, first.Stored("cat.png"), "the bytes that were sent");
    }

    private static string[] Entries(string folder) =>
        [.. Directory.GetFileSystemEntries(folder).Select(path => Path.GetFileName(path))];
}
