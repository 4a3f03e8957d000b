namespace ConformanceTests.Reference;

/// <summary>What this program says to a person: what was wrong, and what to do about it.</summary>
public sealed class Messages : ProgramFixture
{
    private string FolderWithFiles()
    {
        string folder = NewFolder();
        GiveAll(folder, "cat.png", "my dog.png", "a:b.png", "one/inside.png", "README");

        return folder;
    }

    // ---- where a file is saved ----

    [TestCase("--output dl3", "a.png: 9 bytes in 0.00 s, verified, saved as dl3")]
    [TestCase("--output one/b.png", "a.png: 9 bytes in 0.00 s, verified, saved as one/b.png")]
    [TestCase("--output one", "a.png: 9 bytes in 0.00 s, verified")]
    [TestCase("", "a.png: 9 bytes in 0.00 s, verified")]
    [Clause("CLI-5")]
    public void Client_says_where_it_saved_a_file_under_another_name(string options, string says)
    {
        Server.Has("a.png", Notation.Bytes(9));
        Ran ran = Client(FolderWithFiles(), $"GET a.png {options}");
        ran.MustExit(0);
        Assert.That(Regex.Replace(ran.Errors, @"\d+\.\d\d s", "0.00 s"), Is.EqualTo(says + "\n"));
    }

    [TestCase("cat.png", "cat.png: there is a file with this name here already; files are never overwritten")]
    [TestCase("cat.png --output README", "cat.png: there is a file README already; files are never overwritten")]
    [TestCase("inside.png --output one",
        "inside.png: there is a file one/inside.png already; files are never overwritten")]
    [TestCase("cat.png --output new/deep/", "cat.png: there is no folder new; mkdir -p new/deep creates it")]
    [TestCase("cat.png --output one/two/three/x.png",
        "cat.png: there is no folder one/two; mkdir -p one/two/three creates it")]
    [TestCase("cat.png --output README/deep/", "cat.png: README is not a folder")]
    [TestCase("my dog.png",
        "my: bad-type: this name has no file extension, such as .jpg; a name with spaces needs quotes")]
    [TestCase("notes.txt", "notes.txt: bad-type: not among the --types (jpg, jpeg, png)")]
    [TestCase("one/cat.png", "one/cat.png: bad-name: U+002F '/' at position 4 is not allowed: "
        + "a name must not contain '/'")]
    [Clause("CLI-5", "CLI-6")]
    public void Client_says_why_it_does_not_download_a_file(string words, string says)
    {
        foreach (string name in (string[])["cat.png", "inside.png"])
        {
            Server.Has(name, Notation.Bytes(9));
        }

        string folder = FolderWithFiles();
        string[] before = Names(folder);
        Ran ran = Client(folder, $"GET {words}");
        ran.MustExitWithLines(1, says);
        Assert.That(Names(folder), Is.EqualTo(before));
    }

    [TestCase("README", "README: bad-type: this name has no file extension, such as .jpg")]
    [TestCase("my dog.png", "my dog.png: a name with spaces needs quotes: 'my dog.png'")]
    [TestCase("cat.png --as a:b.png", "a:b.png: bad-name: U+003A ':' at position 2 is not allowed")]
    [TestCase("cat.png --as dir/b.png",
        "dir/b.png: bad-name: U+002F '/' at position 4 is not allowed: a name must not contain '/'")]
    [TestCase("cat.png --as cat.txt", "cat.txt: bad-type: not among the --types (jpg, jpeg, png)")]
    [TestCase("'*/inside.png'",
        "*/inside.png: only the last part of a path may have * or ?, and not the name of a folder")]
    [TestCase("'?ne/*.png'",
        "?ne/*.png: only the last part of a path may have * or ?, and not the name of a folder")]
    [TestCase("/dev/null --as null.png", "/dev/null: a pipe or a device, not a file")]
    [Clause("CLI-5", "CLI-12")]
    public void Client_says_why_it_does_not_send_a_file(string words, string says)
    {
        RequireLinux();
        Ran ran = Client(FolderWithFiles(), $"PUT {words}");
        ran.MustExitWithLines(1, says);
        Assert.That(Names(Server.Folder), Is.Empty);
    }

    [TestCase("PUT '*.jpg'"), TestCase("GET '*.jpg'"), TestCase("GET 'img_?.*'")]
    [Clause("CLI-12")]
    public void Client_matches_patterns_in_upper_and_lower_case(string words)
    {
        string folder = NewFolder();
        string from = words.StartsWith("PUT") ? folder : Server.Folder;
        string to = words.StartsWith("PUT") ? Server.Folder : folder;
        Give(from, "IMG_1.JPG");
        Give(from, "img_2.jpg");
        Ran ran = Client(folder, words);
        ran.MustExit(0);
        Assert.That(Names(to), Is.EquivalentTo(new[] { "IMG_1.JPG", "img_2.jpg" }));
    }

    // ---- rights ----

    [Test, Clause("CLI-5")]
    public void Server_and_client_name_the_folder_that_they_may_not_write_into()
    {
        RequireLinux();
        Server.Has("a.png", Notation.Bytes(9));
        string folder = NewFolder();
        string closed = Directory.CreateDirectory(Path.Combine(folder, "closed")).FullName;
        string launcher = UnprivilegedUser.Launcher(folder, closed);
        SetMode(closed, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        string denied = $"you may not write into {closed} (access is denied)";
        string to = $"client 127.0.0.1 {Server.Port}";
        foreach ((string words, string says) in ((string, string)[])
            [
                ($"{to} GET a.png --output closed", $"a.png: {denied}\n"),
                ("server 0 --dir closed", $"imagetransfer: cannot use the folder 'closed': {denied} "
                    + "(with --read-only the server does not need to write)\n"),
                ("server 0 --key closed/new.key",
                    $"imagetransfer: cannot create the key file 'closed/new.key': {denied}\n"),
            ])
        {
            Ran ran = Execute(folder, words, launcher: launcher);
            Assert.That((ran.Exit, ran.Errors), Is.EqualTo((1, says)), words);
        }

        Ran inside = Execute(closed, "server 0", launcher: launcher);
        Assert.That((inside.Exit, inside.Errors),
            Is.EqualTo((1, $"imagetransfer: cannot create the folder 'images': {denied}\n")));

        SetMode(closed, UnixFileMode.None);
        Ran unreadable = Execute(folder, "server 0 --dir closed --read-only", launcher: launcher);
        Assert.That((unreadable.Exit, unreadable.Errors),
            Is.EqualTo((1, "imagetransfer: you may not read the folder 'closed' (access is denied)\n")));
    }

    // ---- key files ----

    [TestCase("client 127.0.0.1 1 LIST --key nokey.key", "there is no key file 'nokey.key'; copy it from the server")]
    [TestCase("client 127.0.0.1 1 LIST --key no/nokey.key",
        "there is no key file 'no/nokey.key'; copy it from the server")]
    [TestCase("client 127.0.0.1 1 LIST --key one", "'one' is a folder, not a key file")]
    [TestCase("server 0 --dir one --key one", "'one' is a folder, not a key file")]
    [TestCase("server 0 --dir one --key no/new.key",
        "cannot create the key file 'no/new.key': there is no folder '{0}/no'")]
    [TestCase("server 0 --dir one --key link.key", "the key file 'link.key' is a link that leads nowhere")]
    [Clause("SEAL-1")]
    public void Server_and_client_say_why_they_cannot_use_a_key_file(string words, string says)
    {
        string folder = FolderWithFiles();
        File.CreateSymbolicLink(Path.Combine(folder, "link.key"), "nowhere");
        Ran ran = Execute(folder, words);
        Assert.That((ran.Exit, ran.Errors),
            Is.EqualTo((1, $"imagetransfer: {string.Format(says, folder)}\n")));
    }

    [Test, Clause("SEAL-1")]
    public void Server_prints_the_whole_path_of_a_new_key_file()
    {
        string folder = FolderWithFiles();
        using var server = Begin(folder, "server 0 --dir one --key new.key");
        Eventually(() => server.Output.Contains("listening"), () => server.Said());
        Assert.That(server.Errors, Does.StartWith($"created the key file '{folder}/new.key': copy it to the other "));
    }

    // ---- what the server says ----

    [Test, Clause("REPLY-2")]
    public void Server_names_its_own_types_and_its_own_limit()
    {
        var wire = Connect(Start("--types png,pdf --max-size 1000000"));
        wire.Send("GET|rome.jpg\n");
        Assert.That(wire.ReceiveLine(), Is.EqualTo("ER|bad-type|the server accepts only png, pdf"));
        foreach (string options in (string[])["", "|digest=sha256", "|ahead"])
        {
            wire = Connect(Start("--max-size 1000000"));
            wire.Ask($"PUT|cat.png{options}");
            wire.Send(Notation.U64(1_000_001));
            Assert.That(wire.ReceiveLine(),
                Is.EqualTo("ER|too-large|the file is larger than this server accepts (1,000,000 bytes)"), options);
        }
    }

    [Test, Clause("LINE-4")]
    public void Server_without_a_key_logs_that_a_client_uses_one()
    {
        var server = Start();
        string key = Path.Combine(NewFolder("key"), "new.key");
        Start(key: key);
        Ran ran = Execute(NewFolder(), $"client 127.0.0.1 {server.Port} LIST --key {key}");
        ran.MustExit(1);
        Eventually(() => server.Program.Errors.Contains("a client with --key, 0 bytes, "), () => server.Program.Said());
        Assert.That(server.Program.Errors, Does.Not.Contain(@"\x16"));
    }

    [TestCase("HTTP/1.1 400 Bad Request\r\n", "it answered HTTP/1.1 400 Bad Request")]
    [TestCase("SSH-2.0-OpenSSH_9.2\r\n", "it answered SSH-2.0-OpenSSH_9.2")]
    [TestCase("OK\r\n", @"it answered OK\r")]
    [Clause("CLI-2")]
    public void Client_shows_the_line_of_another_protocol_without_its_CR(string line, string says)
    {
        int port = ServeOne(socket =>
        {
            socket.Receive(new byte[1000]);
            socket.Send(Encoding.UTF8.GetBytes(line));
            while (socket.Receive(new byte[1000]) > 0)
            {
            }
        });
        Ran ran = Execute(NewFolder(), $"client 127.0.0.1 {port} LIST");
        Assert.That((ran.Exit, ran.Errors),
            Is.EqualTo((1, $"LIST: this is not an ImageTransfer server: {says}\n")));
    }

    [Test, Clause("CLI-5")]
    public void Program_prints_the_same_for_help_client_as_for_client_help()
    {
        foreach (string mode in (string[])["client", "server"])
        {
            Ran ran = Execute(NewFolder(), $"help {mode}");
            Assert.That((ran.Exit, ran.Output), Is.EqualTo((0, Execute(NewFolder(), $"{mode} --help").Output)));
        }
    }

    [Test, Clause("CONN-1")]
    public void Server_listens_on_localhost_as_on_127_0_0_1()
    {
        var server = Start("--listen localhost");
        Eventually(() => server.Program.Output.StartsWith("listening on 127.0.0.1:"), () => server.Program.Said());
        Assert.That(Connect(server).List(), Is.Empty);
    }

    // ---- many files ----

    [TestCase(7, 7), TestCase(200, 3), Clause("CLI-5")]
    public void Client_names_the_first_three_of_many_files_that_it_could_not_send(int files, int named)
    {
        string folder = NewFolder();
        for (int i = 0; i < files; i++)
        {
            Give(folder, $"camera/{i:D3}.png");
        }

        Ran ran = Execute(folder, "client 127.0.0.1 1 PUT camera");
        ran.MustExit(3);
        const string Reason = "not transferred: there is no connection";
        Assert.That(ran.ErrorLines.Count(line => line.Contains($".png: {Reason}")), Is.EqualTo(named));
        Assert.That(ran.ErrorLines.Contains($"and {files - 3} more: {Reason}"), Is.EqualTo(files > 10), ran.ToString());
        Assert.That(ran.Errors, Does.Contain($"{files} files: 0 done, {files} failed"));
    }
}
