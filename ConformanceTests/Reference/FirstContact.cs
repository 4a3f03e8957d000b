using System.Net.NetworkInformation;

namespace ConformanceTests.Reference;

/// <summary>What users see who start this program for the first time.</summary>
public sealed class FirstContact : ProgramFixture
{
    private string StartMessages(string options, string? folder = null, string? key = null)
    {
        var server = Start(options, folder: folder, key: key);

        // With a connection that stays open, the server would take 2 s to stop.
        server.CloseUnusedConnection();
        server.Program.Signal("TERM");
        server.Program.MustExit(0);
        Assert.That(server.Program.Output.Split('\n'), Has.Length.EqualTo(2), "one line on standard output");
        Assert.That(server.Program.Output, Does.StartWith("listening on "));
        return server.Program.Errors;
    }

    [Test, Clause("CONN-1")]
    public void Server_on_loopback_says_how_other_machines_can_connect()
    {
        Assert.That(StartMessages(""), Does.Contain("this machine only; --listen 0.0.0.0 lets others in\n"));
        Assert.That(StartMessages("--quiet"), Is.Empty);
    }

    [Test, Clause("CONN-1")]
    public void Server_on_the_network_says_what_to_type_on_another_machine([Values("0.0.0.0", "::")] string address)
    {
        string said = StartMessages($"--listen {address}");
        IPAddress[] own =
        [
            .. from card in NetworkInterface.GetAllNetworkInterfaces()
               from unicast in card.GetIPProperties().UnicastAddresses
               where unicast.Address.AddressFamily == AddressFamily.InterNetwork
               where !IPAddress.IsLoopback(unicast.Address)
               select unicast.Address,
        ];
        foreach (IPAddress one in own)
        {
            Assert.That(said, Does.Match($@"on another machine: imagetransfer client {one} \d+\n"));
        }

        Assert.That(said, Does.Contain("warning: without --key, anyone who can reach this port"));
        Assert.That(said, Does.Not.Contain("this machine only").And.Not.Contain(" 127.0.0.1 "));
        if (own.Length > 0)
        {
            string key = Path.Combine(NewFolder("key"), "pictures.key");
            said = StartMessages($"--listen {address} --key {key}");
            Assert.That(said, Does.Match($@"imagetransfer client {own[0]} \d+ --key pictures\.key\n"));
        }
    }

    [Test, Clause("CONN-1")]
    public void Server_says_how_many_pictures_it_does_not_serve()
    {
        string folder = NewFolder();
        Assert.That(StartMessages("", folder), Does.Not.Contain("not served"));
        GiveAll(folder, "a.png", "b.heic", "c.HEIC", "d.webp", "notes.txt", ".hidden.heic", "x:y.gif");

        Assert.That(StartMessages("", folder),
            Does.Contain("3 pictures are not served (heic, webp); --types images serves them\n"));
        Assert.That(StartMessages("--types png,heic", folder),
            Does.Contain("1 picture is not served (webp); --types images serves it\n"));
        Assert.That(StartMessages("--types images", folder), Does.Not.Contain("pictures are not served"));
    }

    [Test, Clause("CONN-1")]
    public void Server_says_which_pictures_no_set_of_types_or_only_a_named_type_would_serve()
    {
        string folder = NewFolder();
        GiveAll(folder, "a.png", "x:y.heic", "b.DNG", "c.raf", "con.txt");

        const string Refused = "1 file is not served because its name is not allowed: 'x:y.heic' "
            + "(U+003A ':' at position 2 is not allowed)\n";
        string said = StartMessages("", folder);
        Assert.That(said, Does.Contain(Refused).And.Not.Contain("--types images"));
        Assert.That(said, Does.Contain("2 camera raw files are not served (dng, raf); --types can name these types\n"));
        said = StartMessages("--types dng,png", folder);
        Assert.That(said, Does.Contain("1 camera raw file is not served (raf); --types can name this type\n"));
        said = StartMessages("--types any", folder);
        Assert.That(said, Does.Contain("2 files are not served because their names are not allowed: 'con.txt' "
            + "(this is the name of a device on Windows) and others\n").And.Not.Contain("raw"));
    }

    [Test, Clause("CONN-1")]
    public void Server_that_accepts_no_uploads_does_not_warn_of_them()
    {
        Assert.That(StartMessages("--listen 0.0.0.0 --read-only"), Does.Contain(
            "warning: without --key, anyone who can reach this port can list and download\n"));
    }

    [Test, Clause("CONN-1")]
    public void Server_does_not_create_a_folder_that_was_named()
    {
        string folder = NewFolder();
        Ran ran = Execute(folder, "server 0 --dir pictures");
        Assert.That((ran.Exit, ran.Errors), Is.EqualTo((1,
            "imagetransfer: there is no folder 'pictures'; mkdir -p pictures creates it\n")));
        ran = Execute(folder, "server 0 --read-only");
        Assert.That((ran.Exit, ran.Errors), Is.EqualTo((1,
            "imagetransfer: there is no folder 'images'; mkdir -p images creates it\n")));
        Assert.That(Names(folder), Is.Empty);
    }

    [Test, Clause("CONN-1")]
    public void Server_creates_the_folder_images_after_it_has_bound_its_port()
    {
        string folder = NewFolder();
        Ran ran = Execute(folder, $"server {Server.Port}");
        Assert.That((ran.Exit, Names(folder).Length), Is.EqualTo((1, 0)), "the port is in use");

        using var server = Begin(folder, "server 0");
        Eventually(() => server.Output.Contains("listening"), () => server.Said());
        Eventually(() => server.Errors.Contains("created the folder "), () => server.Said());
        Assert.That(Names(folder), Is.EqualTo(new[] { "images" }));
    }

    [Test, Clause("CONN-1")]
    public void Server_and_client_expand_a_tilde_even_after_an_equals_sign()
    {
        string home = NewFolder();
        Directory.CreateDirectory(Path.Combine(home, "pictures"));
        string launcher = $"env HOME={home}";
        foreach (string words in (string[])["--dir=~/pictures", "--dir ~/pictures", "--dir ~"])
        {
            using var server = Begin(NewFolder(), $"server 0 {words}", launcher: launcher);
            Eventually(() => server.Output.Contains($", folder {home}"), () => server.Said());
        }

        Server.Has("cat.png", Notation.Bytes(9));
        Assert.That(Client(NewFolder(), "GET cat.png --output=~/pictures", launcher: launcher).Exit, Is.Zero);
        Assert.That(Names(Path.Combine(home, "pictures")), Is.EqualTo(new[] { "cat.png" }));
    }

    [TestCase("127.0.0.1:{0} ls")]
    [TestCase("[::ffff:127.0.0.1]:{0} LIST")]
    [TestCase("localhost {0} list")]
    [Clause("CONN-1")]
    public void Client_accepts_host_and_port_in_each_form(string words)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        Ran ran = Execute(NewFolder(), "client " + string.Format(words, Server.Port));
        ran.MustExit(0);
        Assert.That(ran.Output, Does.StartWith("cat.png|9|"));
    }

    [TestCase("client LIST", "missing HOST")]
    [TestCase("client PUT x.png", "missing HOST, the name or address of the server: imagetransfer client HOST PUT ...")]
    [TestCase("client GET 2024.png", "missing HOST, the name or address of the server: imagetransfer client HOST GET")]
    [TestCase("client LIST 7005", "missing HOST")]
    [TestCase("client :7005 LIST", "missing HOST")]
    [TestCase("client host:1:2:3 1 2", "there is no command 2")]
    [TestCase("client host:7005 7006 LIST", "the port is given twice")]
    [TestCase("client host:x LIST", "a port is a number from 1 to 65535, not 'x'")]
    [TestCase("client host LSIT", "there is no command LSIT; did you mean LIST?")]
    [TestCase("client host delete a.png", "there is no command delete; help lists them")]
    [TestCase("client host dwnload a.png", "there is no command dwnload; did you mean DOWNLOAD?")]
    [TestCase("client host sned a.png", "there is no command sned; did you mean SEND?")]
    [TestCase("client host a.png", "there is no command a.png; GET downloads a picture")]
    [TestCase("client host pictures/b.png", "there is no command pictures/b.png; PUT uploads a file")]
    [TestCase("client host ''", "there is no command ''; help lists them")]
    [TestCase("client host PUT -c.png", "there is no option '-c.png'; write -- before a file name that begins with -")]
    [TestCase("client host GET a.png --output --new", "--output needs a value")]
    [TestCase("server --key --listen ::", "--key needs a value")]
    [TestCase("client host GET a.png --outptu x", "there is no option '--outptu'; did you mean --output?")]
    [TestCase("client host GET a.png --overwrite", "there is no option '--overwrite'; see imagetransfer client --help")]
    [TestCase("client host GET a.png -o x", "there is no option '-o'; did you mean --output?")]
    [TestCase("client host GET a.png --dir x", "--dir is an option of the server")]
    [TestCase("server --new", "--new is an option of the client")]
    [TestCase("list host", "a command needs `client` and HOST: imagetransfer client host LIST")]
    [TestCase("get a.png", "a command needs `client` and HOST: imagetransfer client HOST GET a.png")]
    [TestCase("server --redonly", "there is no option '--redonly'; did you mean --read-only?")]
    [TestCase("client host GET a.png --output -", "--output - is not possible")]
    [TestCase("server pictures", "a folder is named with --dir: imagetransfer server --dir pictures")]
    [TestCase("server 7005 pictures", "a folder is named with --dir: imagetransfer server --dir pictures")]
    [TestCase("server nowhere", "a port is a number from 0 to 65535, not 'nowhere'; a folder is named with --dir")]
    [TestCase("client 7200 LIST", "missing HOST")]
    [TestCase("client 7200", "missing HOST")]
    [TestCase("client ada@localhost LIST", "leave out 'ada@' before HOST: imagetransfer client localhost ...")]
    [TestCase("client http://localhost:7005/ LIST",
        "leave out 'http://' before HOST: imagetransfer client localhost:7005 ...")]
    [TestCase("client localhost --port 7200 LIST",
        "there is no option '--port'; the port comes after HOST (HOST:PORT)")]
    [TestCase("client localhost -p 7200 LIST", "there is no option '-p'; the port comes after HOST (HOST:PORT)")]
    [TestCase("server --port=7200",
        "there is no option '--port'; the port is the first word (imagetransfer server PORT)")]
    [TestCase("server nosuch 7210", "the server takes one PORT; what is 'nosuch'?")]
    [TestCase("server 7210 nosuch", "the server takes one PORT; what is 'nosuch'?")]
    [TestCase("server 7210 7211", "the server takes one PORT; what is '7211'?")]
    [TestCase("server --max-size 1T", "--max-size takes a number of bytes, such as 500M or 1G, not '1T'")]
    [TestCase("put 'my dog.png'", "a command needs `client` and HOST: imagetransfer client HOST PUT 'my dog.png'")]
    [TestCase("list", "a command needs `client` and HOST: imagetransfer client HOST LIST")]
    [Clause("CLI-5")]
    public void Server_and_client_answer_a_wrong_command_line_with_one_line_that_helps(string words, string says)
    {
        string folder = NewFolder();
        Give(folder, "pictures/b.png");
        Give(folder, "-c.png");
        Ran ran = Execute(folder, words);
        ran.MustExit(2);
        Assert.That(ran.ErrorLines, Has.Length.EqualTo(1));
        Assert.That(ran.Errors, Does.StartWith($"imagetransfer: {says}"));
    }

    [Test, Clause("CLI-5")]
    public void Client_exits_with_3_if_a_name_cannot_be_looked_up_at_the_moment()
    {
        RequireLinux();
        Skip.If(Tool.Run("unshare", "-rn", "true") != 0, "needs unshare -rn, which starts a program without a network");
        Ran ran = Execute(NewFolder(), "client pictures.example LIST", launcher: "unshare -rn");
        Assert.That(ran.Exit, Is.EqualTo(3), ran.ToString());
        Assert.That(ran.Errors, Does.Contain("that name cannot be looked up at the moment"));
    }

    [Test, Clause("CLI-5")]
    public void Client_prints_its_help_in_each_way_of_asking()
    {
        string help = Execute(NewFolder(), "client --help").Output;
        foreach (string words in (string[])["client help", "client -h", "client localhost help", "client HELP",
            "client help me", "client --overwrite --help"])
        {
            Ran ran = Execute(NewFolder(), words);
            Assert.That((ran.Exit, ran.Output), Is.EqualTo((0, help)), words);
        }

        Assert.That(help, Does.Contain("a|b|c"));
        Assert.That(Execute(NewFolder(), "help").Output, Is.EqualTo(Execute(NewFolder(), "--help").Output));

        help = Execute(NewFolder(), "server --help").Output;
        foreach (string words in (string[])["server help", "server -h", "server 70000 --help"])
        {
            Ran ran = Execute(NewFolder(), words);
            Assert.That((ran.Exit, ran.Output), Is.EqualTo((0, help)), words);
        }
    }

    [TestCase("127.0.0.1 1", 3,
        "the connection was refused; is the server running, and does it --listen on the network?")]
    [TestCase("::ffff:127.0.0.1 1", 3, "the connection was refused")]
    [TestCase("no..such..host", 1, "there is no machine with that name")]
    [Clause("CLI-5")]
    public void Client_exits_with_3_if_the_server_cannot_be_reached_and_with_1_if_the_name_is_wrong(
        string host, int exit, string says)
    {
        Ran ran = Execute(NewFolder(), $"client {host} LIST");
        Assert.That((ran.Exit, ran.ErrorLines.Length), Is.EqualTo((exit, 1)), ran.ToString());
        Assert.That(ran.Errors, Does.Contain(says).And.Not.Contain("[::ffff"));
    }

    [Test, Clause("CLI-12")]
    public void Client_takes_output_as_a_folder_with_a_slash_a_pattern_or_several_names()
    {
        Server.Has("a.png", Notation.Bytes(9));
        Server.Has("b.png", Notation.Bytes(9));
        string folder = NewFolder();
        foreach (string words in (string[])["GET a.png --output one/", "GET 'a*' --output two",
            "GET a.png b.png --output three", "GET a.png --output four"])
        {
            Ran ran = Client(folder, words);
            ran.MustExit(0);
        }

        Assert.That(Names(Path.Combine(folder, "one")), Is.EqualTo(new[] { "a.png" }));
        Assert.That(Names(Path.Combine(folder, "two")), Is.EqualTo(new[] { "a.png" }));
        Assert.That(Names(Path.Combine(folder, "three")), Is.EqualTo(new[] { "a.png", "b.png" }));
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "four")), Is.EqualTo(Notation.Bytes(9)));

        foreach (string words in (string[])["GET 'z*' --output five/", "GET z.png --output six/",
            "GET a.png --output no/parent/"])
        {
            Assert.That(Client(folder, words).Exit, Is.EqualTo(1), words);
        }

        Assert.That(Names(folder), Is.EqualTo(new[] { "four", "one", "three", "two" }), "an empty folder was made");
        Assert.That(Client(folder, "GET a.png --output four/").Exit, Is.EqualTo(2), "it is a file");
    }

    // ---- stopping ----

    [Test, Clause("CLOSE-4", "P12")]
    public void Server_stops_cleanly_at_SIGHUP_unless_it_was_started_with_nohup()
    {
        RequireLinux();
        var server = Start();
        var wire = Connect(server);
        wire.List();
        server.Program.Signal("HUP");
        wire.ExpectError("stopping", closes: true);
        server.Program.MustExit(0);

        server = Start(launcher: "nohup");
        wire = Connect(server);
        wire.List();
        server.Program.Signal("HUP");
        Repeat(3, () => wire.List());
        server.Program.Signal("TERM");
        wire.ExpectError("stopping", closes: true);
        server.Program.MustExit(0);
    }

    // ---- the prompt ----

    [TestCase(@"PUT My\ Photo.png", "My Photo.png")]
    [TestCase(@"PUT 'Anna'\''s cat.png'", "Anna's cat.png")]
    [TestCase("PUT Anna's cat.png", "Anna's cat.png")]
    [TestCase("PUT My Photo.png", "My Photo.png")]
    [TestCase("PUT \"My Photo.png\"", "My Photo.png")]
    [TestCase("PUT file://{0}/My%20Photo.png", "My Photo.png")]
    [TestCase(@"PUT file://localhost{0}/My%20Photo.png plain.png", "My Photo.png|plain.png")]
    [Clause("CLI-12")]
    public void Client_accepts_names_that_a_terminal_pastes_at_the_prompt(string line, string stored)
    {
        string folder = NewFolder();
        GiveAll(folder, "My Photo.png", "Anna's cat.png", "plain.png");

        Ran ran = Client(folder, "", input: string.Format(line, folder) + "\n");
        ran.MustExit(0);
        Assert.That(Names(Server.Folder), Is.EqualTo(stored.Split('|')));
    }

    [Test, Clause("CLI-5", "CLI-12")]
    public void Client_applies_options_at_the_prompt_to_their_own_line()
    {
        Server.Has("a.png", Notation.Bytes(9));
        string folder = NewFolder();
        Give(folder, "b.png");
        Give(folder, "-c.png");
        string[] lines =
        [
            "PUT b.png --as other.png", "put b.png --as=third.png", "PUT -c.png", "GET a.png --output one/",
            "a.png --output two.png", "GET a.png --output one/ --new", "GET 'o*' --output three --types png",
            "GET third.png --no-digest", "GET a.png",
        ];
        Ran ran = Client(folder, "", input: string.Concat(lines.Select(line => $"{line}\n")));
        ran.MustExit(0);
        Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "-c.png", "a.png", "other.png", "third.png" }));
        Assert.That(Names(folder), Is.EqualTo(
            new[] { "-c.png", "a.png", "b.png", "one", "third.png", "three", "two.png" }));
        Assert.That(Names(Path.Combine(folder, "three")), Is.EqualTo(new[] { "other.png" }));
        Assert.That(ran.ErrorLines.Count(line => line.EndsWith("not verified")), Is.EqualTo(1), ran.ToString());
    }

    [TestCase("LIST --output x", "--output goes with GET")]
    [TestCase("PUT b.png --resume", "--resume goes with GET")]
    [TestCase("PUT b.png b.png --as c.png", "--as gives one file another name, so it needs exactly one file")]
    [TestCase("GET a.png --key x.key", "--key is given at the start: imagetransfer client HOST --key ...")]
    [TestCase("a.png --trace", "--trace is given at the start: imagetransfer client HOST --trace ...")]
    [TestCase("GET a.png --outptu x", "there is no option '--outptu'; did you mean --output?")]
    [TestCase("GET a.png --resume --no-digest", "--resume needs the digest")]
    [TestCase("GET --a-long-name.png", "there is no option '--a-long-name.png'; write -- before a file name")]
    [TestCase("exti", "there is no command exti; did you mean EXIT?")]
    [Clause("CLI-5")]
    public void Client_answers_a_wrong_line_at_the_prompt_with_one_line_that_helps(string line, string says)
    {
        string folder = NewFolder();
        Give(folder, "b.png");
        Ran ran = Client(folder, "", input: $"{line}\nLIST\n");
        ran.MustExit(1);
        Assert.That(ran.ErrorLines, Has.Length.EqualTo(3), "the greeting, the line, and the empty listing");
        Assert.That(ran.ErrorLines[1], Does.StartWith($"imagetransfer: {says}"));
        Assert.That(Names(Server.Folder), Is.Empty);
    }

    [Test, Clause("CLI-5")]
    public void Client_fails_if_it_cannot_read_its_input()
    {
        RequireLinux();
        Ran ran = Client(NewFolder(), "", launcher: "sh -c 'exec \"$@\" </' sh");
        ran.MustExit(1);
        Assert.That(ran.ErrorLines[^1], Is.EqualTo("imagetransfer: cannot read standard input: Is a directory"));
    }
}
