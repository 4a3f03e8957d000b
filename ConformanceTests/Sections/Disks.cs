namespace ConformanceTests.Sections;

/// <summary>Full disks, files that change while they are sent, and missing rights.</summary>
public sealed class Disks : ServerFixture
{
    // Mounts a small file system, and returns its folder.
    private string SmallFolder(string room)
    {
        Skip.If(!OperatingSystem.IsLinux() || RunSettings.Current.OnWindows, "needs a small tmpfs");

        if (SmallDisk.TryMount(room) is not { } disk)
        {
            Skip.Because("needs a small tmpfs, and root to mount it");
            return "";
        }

        return Own(disk).Folder;
    }

    private static void ExpectOnly(RunningServer server, params string[] names)
    {
        var folder = new DirectoryInfo(server.Folder);
        Eventually(() => folder.GetFileSystemInfos().Select(entry => entry.Name).Order().SequenceEqual(names.Order()),
            () =>
            {
                var more = folder.GetFiles().Where(file => !names.Contains(file.Name));
                string[] shown = [.. more.Select(file => $"{file.Name} with {file.Length:N0} bytes")];
                return $"expected  in the folder, when the upload is refused: {string.Join(", ", names)} and nothing "
                    + "else\nreceived  " + (shown is [] ? "one of them is missing"
                        : $"{string.Join(", ", shown)}, too: what could not be stored has to be removed");
            });
    }

    [Test, Clause("PUT-6", "PUT-2", "ERR-2", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_when_the_disk_is_full([Values("", "|digest=sha256")] string option)
    {
        Needs("DIGEST-2", when: option != "");
        var server = Start(folder: SmallFolder("size=2m"));
        server.Has("cat.png", Notation.Bytes(100_000));
        var wire = Connect(server);
        byte[] large = Notation.Bytes(6 << 20);
        byte[] small = Notation.Bytes(1000);
        byte[] Digest(byte[] bytes) => option == "" ? [] : SHA256.HashData(bytes);

        wire.Ask($"PUT|big.png{option}");
        byte[] block = [.. Notation.U64(6 << 20), .. large, .. Digest(large)];
        wire.Send(block.AsSpan(..^1));
        ExpectNothingYet(wire);
        wire.Send(block.AsSpan(^1..));
        wire.ExpectError("storage");
        ExpectOnly(server, "cat.png");
        Same(Notation.Bytes(100_000), wire.Get("cat.png"), "what GET of cat.png brought");
        wire.Ask($"PUT|dog.png{option}");            // there is room again
        wire.Send([.. Notation.U64(1000), .. small, .. Digest(small)]);
        wire.Expect("OK\n");
        ExpectOnly(server, "cat.png", "dog.png");
    }

    [Test, Clause("PUT-2", "PUT-6", NotBefore = Stages.ManyClients)]
    public void Server_answers_OK_only_for_files_that_fit_on_the_disk()
    {
        // For some of these sizes, only a part of the last write fits.
        var server = Start(folder: SmallFolder("size=1028k"));
        var wire = Connect(server);
        for (int size = 1 << 20; size <= (1 << 20) + 40_000; size += 1500)
        {
            var picture = Notation.Bytes(size);
            wire.BeginPut("cat.png", size, picture);
            string answer = wire.ReceiveLine();
            if (answer == "OK")
            {
                Demand(server.Stored("cat.png").AsSpan().SequenceEqual(picture),
                    $"all of cat.png's {size:N0} bytes on the disk, since the server said OK",
                    $"{server.Stored("cat.png").Length:N0}: a write may take fewer bytes than it was given");
                File.Delete(server.PathOf("cat.png"));
            }
            else
            {
                Demand(answer.StartsWith("ER|storage|"), "OK or ER|storage|…", answer);
            }

            ExpectOnly(server);
        }
    }

    [Test, Clause("AHEAD-2", "PUT-6")]
    public void Server_answers_storage_after_the_block_with_ahead()
    {
        var server = Start(folder: SmallFolder("size=2m,nr_inodes=24"));
        var wire = Connect(server);
        wire.List();
        int fillers = FillWithFiles(server);
        byte[] block = [.. Notation.U64(9), .. Notation.Bytes(9)];
        wire.Send([.. "PUT|cat.png|ahead\n"u8, .. block]);
        wire.Expect("OK\n");                            // this OK says only that the server knows the option
        wire.ExpectError("storage");
        wire.Send([.. "PUT|cat.exe|ahead\n"u8, .. block]);
        wire.Expect("OK\n");
        wire.ExpectError("bad-type");                   // the upper row of the table in §6.1
        Demand(wire.List().Length == fillers, $"{fillers} files in the list", "others");
    }

    [Test, Clause("AHEAD-2", "DIGEST-2")]
    public void Server_answers_corrupt_before_storage_with_ahead()
    {
        var server = Start(folder: SmallFolder("size=1m"));
        var wire = Connect(server);
        wire.BeginPut("cat.png|ahead|digest=sha256", 3 << 20, [.. Notation.Bytes(3 << 20), .. new byte[32]]);
        wire.ExpectError("corrupt");                    // with ahead, the first in the table of §6.1 counts
        ExpectOnly(server);
    }

    [Test, Clause("PUT-6", "P6", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_if_others_fill_the_disk_during_the_upload()
    {
        var server = Start(folder: SmallFolder("size=2m"));
        ProtocolConnection late = Connect(server);
        ProtocolConnection small = Connect(server);
        late.BeginPut("big.png", 1 << 20, Notation.Bytes(1 << 19));
        small.Put("cat.png", Notation.Bytes(1000));
        Fill(server.PathOf("filler.png"));
        late.Send(Notation.Bytes(1 << 20).AsSpan(1 << 19));
        late.ExpectError("storage");
        File.Delete(server.PathOf("filler.png"));
        small.Put("dog.png", Notation.Bytes(1 << 20));  // the space of big.png is free again
        ExpectOnly(server, "cat.png", "dog.png");
        late.Put("big.png", Notation.Bytes(1 << 19));   // and so is its name
    }

    private static void Fill(string path)
    {
        using var file = File.Create(path, 1);
        try
        {
            while (true)
            {
                file.Write(new byte[4096]);
            }
        }
        catch (IOException) { }                         // the disk is full
    }

    [Test, Clause("PUT-6", "ERR-2", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_when_no_file_can_be_created()
    {
        var server = Start(folder: SmallFolder("size=2m,nr_inodes=24"));
        var wire = Connect(server);
        wire.List();
        int fillers = FillWithFiles(server);
        ExpectNoRoomFor("cat.png", wire);
        Demand(wire.List().Length == fillers, $"{fillers} files in the list", $"{wire.List().Length}");
        for (int i = 0; i < 3; i++)
        {
            File.Delete(server.PathOf($"filler-{i}.png"));
        }

        wire.Put("cat.png", Notation.Bytes(9));
    }

    private static int FillWithFiles(RunningServer server)
    {
        int fillers = 0;
        try
        {
            for (; fillers < 100; fillers++)
            {
                server.Has($"filler-{fillers}.png", [1]);
            }
        }
        catch (IOException) { }

        File.Delete(server.PathOf($"filler-{fillers}.png"));
        return fillers;
    }

    // The server may refuse the request, or the block.
    private static void ExpectNoRoomFor(string name, ProtocolConnection wire)
    {
        wire.Send($"PUT|{name}\n");
        string answer = wire.ReceiveLine();
        if (answer == "OK")
        {
            wire.ExpectRefusal([.. Notation.U64(9), .. Notation.Bytes(9)], "storage");
        }
        else
        {
            Demand(answer.StartsWith("ER|storage|"), "ER|storage|… where no file can be made", answer);
        }
    }

    // ---- a file that changes while it is sent ----

    private const int Large = 48 << 20;
    private static readonly Lazy<byte[]> _large = new(() => Notation.Bytes(Large));

    private ProtocolConnection BeginDownload(out byte[] picture, string option = "")
    {
        picture = _large.Value;
        Server.Has("big.png", picture);
        var wire = ConnectSlow();
        wire.Ask($"GET|big.png{option}");
        wire.ExpectBytes(Notation.U64(Large));
        return wire;
    }

    [Test, Clause("GET-3", NotBefore = Stages.ManyClients)]
    public void Server_ends_the_block_early_if_the_file_shrinks([Values(1000, 0, 1 << 20, Large - 1000)] int length)
    {
        var wire = BeginDownload(out var picture);
        LocalFiles.SetLength(Server.PathOf("big.png"), length);
        var rest = wire.ReceiveRest(orSilence: true);
        Demand(rest.Length < Large,
            $"a block of less than the {Large} bytes that were announced, and the end: the file has {length} now",
            $"{rest.Length} bytes: more than the file has now; the server read all of it before, or made them up");
        int same = rest.AsSpan().CommonPrefixLength(picture);
        Demand(same == rest.Length, "the bytes of the file as far as there were any, and then the end",
            $"{rest.Length - same} bytes after them that are not the file's: "
            + Notation.Show(rest.AsSpan(same, Math.Min(40, rest.Length - same))));
        wire.ExpectEnd();
        Connect().List();
    }

    [Test, Clause("GET-3", "BLOCK-1", NotBefore = Stages.ManyClients)]
    public void Server_sends_the_announced_length_if_the_file_grows()
    {
        var wire = BeginDownload(out var picture);
        LocalFiles.Append(Server.PathOf("big.png"), new byte[1 << 20]);

        Same(picture, wire.Receive(Large), "the block");
        Demand(wire.List().Length == 1, "a listing of one line", "another one");
    }

    [Test, Clause("DIGEST-1", "GET-3")]
    public void Server_sends_the_digest_of_the_bytes_that_it_sent_if_the_file_grows()
    {
        var wire = BeginDownload(out var picture, "|digest=sha256");
        LocalFiles.Append(Server.PathOf("big.png"), new byte[1 << 20]);

        Same(picture, wire.Receive(Large), "the block");
        wire.ExpectBytes(SHA256.HashData(picture));
        wire.List();
    }

    // ---- a folder that goes away ----

    // A server that keeps the folder open can still store the file, and one that uses its path cannot. Both answer.
    [Test, Clause("PUT-2", "PUT-6", "P11", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_if_the_folder_goes_away_during_the_upload([Values("", "|ahead")] string option)
    {
        Skip.If(RunSettings.Current.OnWindows, "needs a folder that can be renamed while it is used");

        Needs("AHEAD-1", when: option != "");
        string folder = NewFolder();
        var server = Start(folder: folder);
        var wire = Connect(server);
        wire.Ask($"PUT|cat.png{option}");
        Directory.Move(folder, folder + "-away");
        string answer;
        try
        {
            wire.Send([.. Notation.U64(9), .. Notation.Bytes(9)]);
            answer = wire.ReceiveLine("ER|storage|…\\n");
        }
        finally
        {
            Directory.Move(folder + "-away", folder);
        }

        Demand(answer.StartsWith("ER|storage|") || (answer == "OK" && server.Shows("cat.png")),
            "ER|storage|…, since the folder is not where it was", answer);
        ListHas(wire, answer == "OK" ? 1 : 0);          // and the conversation goes on
    }

    // ---- rights ----

    // Root may do everything, so if the suite runs as root, the server is started as another user.
    private RunningServer StartAsNobody()
    {
        Skip.If(!OperatingSystem.IsLinux() || RunSettings.Current.OnWindows, "needs the rights of Unix");

        string folder = NewFolder();
        string launcher = UnprivilegedUser.Launcher(folder);
        try
        {
            return Start(folder: folder, launcher: launcher);
        }
        catch (Violation) when (launcher != "")
        {
            Skip.Because("needs a server that a user other than root can start from there");
            throw;
        }
    }

    [Test, Clause("GET-4", "ERR-1", "ERR-2", NotBefore = Stages.ManyClients)]
    public void Server_lists_an_unreadable_file_and_answers_storage_to_GET(
        [Values("", "|digest=sha256", "|offset=0", "|offset=999")] string option)
    {
        Needs("DIGEST-1", when: option.StartsWith("|d"));
        Needs("OFFSET-1", when: option.StartsWith("|o"));
        var server = StartAsNobody();
        server.Has("secret.png", Notation.Bytes(9));
        server.Has("cat.png", Notation.Bytes(10));
        SetMode(server.PathOf("secret.png"), "000");
        SetMode(server.PathOf("cat.png"), "644");
        var wire = Connect(server);
        wire.ExpectRefusal($"GET|secret.png{option}", "storage");                    // GET-4: with any offset
        Demand(wire.List().Length == 2, "both files in the list, the one that cannot be read, too", "another listing");
        wire.ExpectRefusal("PUT|secret.png", "exists");
        Demand(wire.Get("cat.png").Length == 10, "cat.png", "another file");
    }

    // Permissions may change between two requests, in either direction, so an earlier answer must not be reused.
    [Test, Clause("GET-4", NotBefore = Stages.ManyClients)]
    public void Server_looks_at_the_permissions_again_at_each_GET([Values(1, 100, 2 << 20)] int size)
    {
        var server = StartAsNobody();
        byte[] picture = Notation.Bytes(size);
        server.Has("cat.png", picture);
        var wire = Connect(server);
        foreach (string mode in (string[])["644", "000", "200", "644", "000"])
        {
            SetMode(server.PathOf("cat.png"), mode);
            Demand(wire.List() is [var line] && line.StartsWith($"cat.png|{size}|"),
                $"cat.png in the list, its rights are {mode}", "it is not");
            foreach (var each in (ProtocolConnection[])[wire, Connect(server)])
            {
                if (mode == "644")
                {
                    Same(picture, each.Get("cat.png"), "what GET of cat.png brought");
                    continue;
                }

                each.ExpectRefusal("GET|cat.png", "storage");
            }
        }
    }

    [Test, Clause("PUT-6", "ERR-1", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_if_the_folder_is_not_writable()
    {
        var server = StartAsNobody();
        server.Has("cat.png", Notation.Bytes(10));
        SetMode(server.PathOf("cat.png"), "644");
        var wire = Connect(server);
        try
        {
            SetMode(server.Folder, "555");
            ExpectNoRoomFor("dog.png", wire);
            Demand(wire.Get("cat.png").Length == 10, "cat.png", "another file");
        }
        finally
        {
            SetMode(server.Folder, "755");
        }

        wire.Put("dog.png", Notation.Bytes(9));
    }

    private static void SetMode(string path, string mode) => Tool.Run("chmod", mode, path);
}
