namespace ConformanceTests.Reference;

/// <summary>This program where the system limits sizes, names, permissions or space.</summary>
public sealed class FileLimits : ProgramFixture
{
    [Test, Clause("P11", "PUT-6")]
    public void Server_answers_storage_to_a_file_above_the_limit_of_the_system_and_continues()
    {
        RequireLinux();
        var server = Start();
        var wire = Connect(server);
        wire.List();
        Tool.Run("prlimit", "--fsize=50000", $"--pid={server.Program.Id}");
        wire.BeginPut("large.png", 200_000, Notation.Bytes(200_000));
        wire.ExpectError("storage");
        wire.Put("small.png", Notation.Bytes(9));
        Assert.That(wire.List(), Has.Length.EqualTo(1));
        Assert.That(server.Hidden(), Is.Empty);
    }

    [Test, Clause("NAME-4")]
    public void Server_answers_not_found_and_storage_to_a_name_that_the_file_system_cannot_hold()
    {
        RequireLinux();
        string folder = NewFolder();
        while (folder.Length < 3700)
        {
            folder = Path.Combine(folder, new string('d', 180));
        }

        folder = Path.Combine(folder, new string('d', Math.Max(1, 3890 - folder.Length)));
        Directory.CreateDirectory(folder);
        string name = new string('n', 251) + ".png";
        var wire = Connect(Start(folder: folder));
        wire.ExpectRefusal($"GET|{name}", "not-found");
        wire.ExpectRefusal($"PUT|{name}", "storage");
        wire.Put("short.png", Notation.Bytes(9));
    }

    [Test, Clause("LIST-2")]
    public void Server_answers_storage_to_LIST_if_it_cannot_read_the_sizes()
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "cat.png");
        string launcher = UnprivilegedUser.Launcher(folder);
        var wire = Connect(Start("--read-only", folder: folder, launcher: launcher));
        try
        {
            SetMode(folder, UnixFileMode.UserRead);
            wire.ExpectRefusal("LIST", "storage");
            SetMode(folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            Assert.That(wire.List(), Has.Length.EqualTo(1));
        }
        finally
        {
            SetMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    [Test, Clause("REPLY-1", "BLOCK-1")]
    public void Server_needs_no_room_in_the_temporary_folder_for_LIST_and_STATUS()
    {
        RequireLinux();
        if (SmallDisk.TryMount("size=64k") is not { } disk)
        {
            Skip.Because("needs a small disk, which only root can mount");
            return;
        }

        string temporary = Own(disk).Folder;
        var server = Start(launcher: $"env TMPDIR={temporary}");
        File.WriteAllBytes(Path.Combine(temporary, "filler"), new byte[60_000]);
        using var watch = new FolderWatch(temporary);
        for (int i = 0; i < 2000; i++)
        {
            server.Has($"{i:D5}{new string('x', 200)}.png", Notation.Bytes(8));
        }

        PassBy(server, 300);
        var wire = Connect(server);
        for (int i = 0; i < 3; i++)
        {
            Assert.That(wire.List(), Has.Length.EqualTo(2000));
            Assert.That(wire.AskForBlock("STATUS"), Has.Length.GreaterThan(10_000));
        }

        Assert.That(Names(temporary), Has.Length.EqualTo(1), "a listing was written to a file");
    }

    [Test, Clause("PUT-5", "BLOCK-2")]
    public void Server_with_the_largest_limit_for_uploads_does_not_overflow()
    {
        var server = Start("--max-size 9223372036854775807");
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(9));
        wire.Ask("PUT|dog.png");
        wire.ExpectRefusal([.. Notation.U64(1UL << 63)], "too-large", closes: true);
        wire = Connect(server);
        wire.BeginPut("dog.png", long.MaxValue, Notation.Bytes(100));
        wire.Finish();
        Assert.That(Connect(server).List(), Has.Length.EqualTo(1));
    }

    // ---- the files of the client ----

    [Test, Clause("CLI-5")]
    public void Client_reports_missing_permissions_as_such()
    {
        RequireLinux();
        Server.Has("cat.png", Notation.Bytes(9));
        string folder = NewFolder();
        Give(folder, "secret.png");
        string closed = Directory.CreateDirectory(Path.Combine(folder, "closed")).FullName;
        string launcher = UnprivilegedUser.Launcher(folder, closed, Path.Combine(folder, "secret.png"));
        SetMode(Path.Combine(folder, "secret.png"), UnixFileMode.None);
        SetMode(closed, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        foreach (string words in (string[])["PUT secret.png", "GET cat.png --output closed"])
        {
            Ran ran = Client(folder, words, launcher: launcher);
            ran.MustExit(1);
            Assert.That(ran.Errors, Does.Contain("denied").And.Not.Contain("TLS").And.Not.Contain("key"));
        }
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_a_full_disk_as_a_full_disk()
    {
        RequireLinux();
        if (SmallDisk.TryMount("size=1m") is not { } disk)
        {
            Skip.Because("needs a small disk, which only root can mount");
            return;
        }

        Server.Has("cat.png", Notation.Bytes(3_000_000));
        Ran ran = Client(Own(disk).Folder, "GET cat.png");
        ran.MustExit(1);
        Assert.That(ran.Errors, Does.Contain("No space left").And.Not.Contain("TLS"));
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_the_size_of_the_target_of_a_link()
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "real/cat.png", 300_008);
        File.CreateSymbolicLink(Path.Combine(folder, "link.png"), "real/cat.png");
        Ran ran = Client(folder, "PUT link.png");
        ran.MustExit(0);
        Assert.That(ran.Errors, Does.StartWith("link.png: 300,008 bytes in "));
        Assert.That(Server.Stored("link.png"), Has.Length.EqualTo(300_008));
    }

    [Test, Slow, Clause("CLI-5", "P7")]
    public void Client_does_not_read_linked_large_files_into_memory()
    {
        RequireLinux();
        string folder = NewFolder();
        for (int i = 0; i < 2; i++)
        {
            Give(folder, $"real/{i}.png");
            LocalFiles.SetLength(Path.Combine(folder, $"real/{i}.png"), 80 << 20);
            File.CreateSymbolicLink(Path.Combine(folder, $"{i}.png"), $"real/{i}.png");
        }

        // The suite gives the program 64 MiB of memory, so the files do not fit.
        Ran ran = Client(folder, "PUT 0.png 1.png");
        ran.MustExit(0, "2 files: 2 done, 0 failed; 167.8 MB in ");
    }

    [Test, Clause("CLI-5")]
    public void Client_refuses_a_link_to_a_pipe_like_a_pipe()
    {
        RequireLinux();
        string folder = NewFolder();
        Tool.Run("mkfifo", Path.Combine(folder, "pipe.png"));
        File.CreateSymbolicLink(Path.Combine(folder, "link.png"), "pipe.png");
        File.CreateSymbolicLink(Path.Combine(folder, "lost.png"), "nowhere.png");
        Ran ran = Client(folder, "PUT pipe.png link.png lost.png");
        ran.MustExit(1);
        const string Why = "a pipe or a device, not a file";
        Assert.That(ran.Errors, Does.Contain($"pipe.png: {Why}")
            .And.Contain($"link.png: {Why}").And.Contain("lost.png: "));
        Assert.That(Names(Server.Folder), Is.Empty);
    }
}
