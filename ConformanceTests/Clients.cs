// §9: a client, with the suite as its server, honest and otherwise.

using System.Diagnostics;
using System.Security.Cryptography;

public sealed class Clients : ClientConformance
{
    string PathOf(string name) => Path.Combine(Folder, name);
    void Give(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);
    string[] Files() => [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))];

    // The request line of whichever form the client uses; a digest it asks for is then part of the answer.  `ahead` is
    // tested elsewhere: here the server does not know it.
    static bool Takes(Wire wire, string request)
    {
        string line = wire.ReceiveLine(request + "\\n");
        if (line.Split('|').Contains("ahead"))
        {
            wire.Send("ER|unsupported|this server does not know ahead\n");
            line = wire.ReceiveLine(request + "\\n");
        }
        if (line == request) return false;
        Assert.That(line, Is.EqualTo(request + "|digest=sha256"));
        return true;
    }

    // A block, with the digest behind it if that is part of the answer.
    static byte[] Block(byte[] octets, bool digest) =>
        [.. Notation.U64((ulong)octets.Length), .. octets, .. digest ? SHA256.HashData(octets) : []];

    [Test, Clause("CLI-1", "PUT-3")]
    public void No_block_before_the_go_ahead_and_none_after_a_refusal()
    {
        Give("cat.png", Notation.Bytes(5000));
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        Takes(wire, "PUT|cat.png");
        wire.Send("ER|exists|it is here\n");
        wire.ExpectEnd();                               // not an octet more
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    static readonly string[] nonsense =
    [
        "HELLO", "ok", "OK ", " OK", "OK\r", "OKAY", "",
        "ER", "ER|", "ER|exists", "ER|Exists|x", "ERR|exists|x",
        "{\"status\":\"ok\"}", "SSH-2.0-OpenSSH_9.2",
    ];

    [TestCaseSource(nameof(nonsense)), Clause("CLI-2", "CLI-5")]
    public void What_is_no_reply_is_a_failure(string reply)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "GET|cat.png");
        wire.Send([.. Encoding.UTF8.GetBytes(reply + "\n"), .. Block(Notation.Bytes(8), digest)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-2")]
    public void A_reply_line_that_never_ends_is_given_up()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send(new string('O', 3000));
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-2")]
    public void A_listing_that_does_not_fill_its_block()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(20), .. "a.png|1|2026-01-31T23:59:59Z\n"u8]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-2")]
    public void A_file_of_no_octets_is_no_file()
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Block([], digest)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-4", "GET-3")]
    public void A_block_cut_anywhere_is_a_failure([Values(0, 4, 8, 9, 107)] int octets, [Values] bool reset)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send("OK\n");
        wire.Send(((byte[])[.. Notation.U64(100), .. Notation.Bytes(100)]).AsSpan(0, octets));
        if (reset) wire.Reset();
        else wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-4")]
    public void Nothing_shows_before_the_last_octet()
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "GET|cat.png");
        var picture = Notation.Bytes(200_000);
        wire.Send([.. "OK\n"u8, .. Notation.U64(200_000), .. picture[..199_999]]);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
        wire.Send([picture[^1], .. digest ? SHA256.HashData(picture) : []]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(File.ReadAllBytes(PathOf("cat.png")).AsSpan().SequenceEqual(picture));
    }

    [Test, Clause("CLI-6", "P2", "CLI-5")]
    public void A_local_file_is_never_overwritten()
    {
        Give("cat.png", "mine"u8.ToArray());
        var client = Run("GET", "cat.png");
        // It may refuse on its own, or ask first.
        if (Listener.Poll(Settings.Milliseconds(500) * 1000, SelectMode.SelectRead))
        {
            var wire = Accept();
            try
            {
                bool digest = Takes(wire, "GET|cat.png");
                wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest)]);
            }
            catch (Violation) { }                       // it closed without asking
            wire.HalfClose();
        }
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo("mine"u8.ToArray()));
    }

    [Test, Clause("CLI-6", "P2")]
    public void Nor_one_that_appears_while_the_download_runs()
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. Notation.Bytes(50)]);
        Give("cat.png", "mine"u8.ToArray());
        wire.Send([.. Notation.Bytes(100).AsSpan(50), .. digest ? SHA256.HashData(Notation.Bytes(100)) : []]);
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo("mine"u8.ToArray()));
    }

    [Test, Clause("CLI-6")]
    public void A_put_goes_under_the_last_component_of_its_path()
    {
        Directory.CreateDirectory(PathOf("holiday"));
        Give("holiday/cat.png", Notation.Bytes(9));
        var client = Run("PUT", Path.Combine("holiday", "cat.png"));
        var wire = Accept();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(9), digest));
        wire.Send("OK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    [Test, Clause("CLI-7", "DIGEST-2")]
    public void Corrupt_is_a_failure()
    {
        Give("cat.png", Notation.Bytes(9));
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        wire.Receive(8 + 9 + (digest ? 32 : 0));
        wire.Send("ER|corrupt|something happened on the way\n");
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-8")]
    public void The_reply_to_an_upload_that_is_not_wanted_is_read()
    {
        Give("big.png", Notation.Bytes(40 << 20));
        var client = Run("PUT", "big.png");
        var wire = Accept();
        Takes(wire, "PUT|big.png");
        wire.Send("OK\n");
        wire.Receive(8);
        wire.Send("ER|too-large|that is too much for this one\n");
        wire.HalfClose();
        wire.Dispose();                                 // with octets unread: a reset, which the client has to survive
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(client.Output + client.Errors, Does.Contain("too-large").Or.Contain("too much"));
    }

    [Test, Clause("CLI-9")]
    public void A_server_that_says_nothing_is_given_up()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        Assert.That(client.WaitForExit(Settings.Milliseconds(75_000)), Is.Not.Zero);
    }

    [Test, Clause("CLI-11", "BLOCK-2")]
    public void A_length_is_not_believed([Values(1UL << 40, 1UL << 62, 1UL << 63, ulong.MaxValue)] ulong length)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Notation.U64(length), .. Notation.Bytes(100)]);
        if (length == 1UL << 40) wire.Send(new byte[16 << 20]);         // more than kernels buffer: it does receive
        if (length == 1UL << 40) Assert.That(wire.SendingFailed, Is.False, "it gave up before it was cut");
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(Files().Sum(name => new FileInfo(PathOf(name)).Length), Is.LessThan(20 << 20));
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-11", "NAME-1")]
    public void What_a_server_says_does_not_reach_the_terminal_raw()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        byte[] lines = [.. "\u001b[2Jx.png|1|2026-01-31T23:59:59Z\na\u009b\rb.png|2|2026-01-31T23:59:59Z\n"u8];
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)lines.Length), .. lines]);
        wire.HalfClose();
        client.WaitForExit();
        var refused = Run("GET", "cat.png");
        wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send("ER|not-found|\u001b]0;gotcha\u0007\n");
        wire.HalfClose();
        refused.WaitForExit();
        string all = client.Output + client.Errors + refused.Output + refused.Errors;
        Assert.That(all.Any(c => char.IsControl(c) && c is not ('\n' or '\t')), Is.False, all);
    }

    [Test, Clause("CLI-10", "OFFSET-1"), Reference]
    public void A_cut_download_is_gone_on_with()
    {
        var picture = Notation.Bytes(1000);
        var client = Run("GET", "cat.png");
        var wire = Accept();
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(1000), .. picture[..600]]);
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("600 octets are kept"));

        client = Run("GET", "cat.png", "--resume");
        wire = Accept();
        wire.Expect("GET|cat.png|offset=600|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(400), .. picture[600..], .. SHA256.HashData(picture)]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo(picture));
        Assert.That(Files(), Has.Length.EqualTo(1));
    }

    [Test, Clause("CLI-10", "CLI-7"), Reference]
    public void A_resumed_file_that_has_changed_is_thrown_away()
    {
        CutAt(600);
        var client = Run("GET", "cat.png", "--resume");
        var wire = Accept();
        wire.Expect("GET|cat.png|offset=600|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(400), .. new byte[400], .. SHA256.HashData("other"u8)]);
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(Files(), Is.Empty);
    }

    [Test, Clause("CLI-10", "OFFSET-2"), Reference]
    public void A_resumed_file_that_has_become_shorter_starts_over()
    {
        CutAt(600);
        var client = Run("GET", "cat.png", "--resume");
        var wire = Accept();
        wire.Expect("GET|cat.png|offset=600|digest=sha256\n");
        wire.Send("ER|bad-offset|it is shorter now\n");
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(9), .. Notation.Bytes(9), .. SHA256.HashData(Notation.Bytes(9))]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo(Notation.Bytes(9)));
    }

    void CutAt(int octets)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(1000), .. Notation.Bytes(octets)]);
        wire.Dispose();
        client.WaitForExit();
    }

    [Test, Clause("CLI-7", "CONF-1"), Reference]
    public void A_server_without_extensions_is_asked_once_more_and_the_result_is_called_unverified()
    {
        Give("dog.png", Notation.Bytes(9));
        var client = Run("GET", "cat.png bird.png".Split(' ')[0]);
        var wire = Accept();
        wire.Expect("GET|cat.png|digest=sha256\n");
        wire.Send("ER|unsupported|no\n");
        wire.Expect("GET|cat.png\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain("not verified"));

        client = Run("PUT", "dog.png");
        wire = Accept();
        wire.Expect("PUT|dog.png|digest=sha256\n");
        wire.Send("ER|unsupported|no\n");
        wire.Expect("PUT|dog.png\n");
        wire.Send("OK\n");
        wire.ExpectOctets([.. Notation.U64(9), .. Notation.Bytes(9)]);
        wire.Send("OK\n");
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain("not verified"));
    }

    [Test, Clause("CLI-3", "CLI-5"), Reference]
    public void A_batch_goes_on_past_refusals_and_reconnects_after_a_code_that_closes()
    {
        var client = Run("GET", "a.png", "b.png c.png --no-digest");
        var wire = Accept();
        wire.Expect("GET|a.png\nGET|b.png\nGET|c.png\n");
        wire.Send("ER|tired|a little\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        wire.Send("ER|timeout|too late\n");
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(Files(), Is.EqualTo(new[] { "b.png" }));

        client = Run("GET", "d.png", "e.png --no-digest");
        wire = Accept();
        wire.Expect("GET|d.png\nGET|e.png\n");
        wire.Send("ER|internal|oops\n");
        wire.Dispose();
        wire = Accept();
        wire.Expect("GET|e.png\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(Files(), Does.Contain("e.png"));
    }

    [Test, Clause("CLI-1", "CLI-3"), Reference]
    public void A_block_that_is_called_unsupported_is_not_sent_under_the_next_name()
    {
        // An odd server: it has taken the option, and the block.
        byte[] one = Notation.Bytes(9), two = Notation.Bytes(12);
        Give("a.png", one);
        Give("b.png", two);
        var client = Run("PUT", "a.png", "b.png");
        var wire = Accept();
        wire.Expect("PUT|a.png|digest=sha256|ahead\n");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(one, digest: true));
        wire.Send("ER|unsupported|on second thoughts\n");
        wire.Expect("PUT|b.png|digest=sha256|ahead\n");
        wire.ExpectOctets(Block(two, digest: true));
        wire.Send("OK\nOK\n");
        Assert.That(client.WaitForExit(), Is.EqualTo(1), client.Said());
    }

    static readonly (string Verb, string Name, string Says)[] cannotWork =
    [
        ("PUT", "missing.png", "no such file"),
        ("PUT", "text.png", "bad-type"),
        ("PUT", "empty.png", "empty"),
        ("PUT", "folder.png", "folder"),
        ("PUT", "pipe.png", "empty"),
        ("PUT", "note.txt", "bad-type"),
        ("GET", "there.png", "here already"),
        ("GET", "../x.png", "bad-name"),
        ("GET", "con.png", "bad-name"),
        ("GET", "x.exe", "bad-type"),
    ];

    [Test, Clause("CLI-5"), Reference]
    public void What_cannot_work_is_refused_before_connecting()
    {
        Listener.Dispose();                             // a connection would be refused, and said to be
        Give("text.png", "no picture"u8.ToArray());
        Give("note.txt", "no picture"u8.ToArray());
        Give("empty.png", []);
        Give("there.png", Notation.Bytes(9));
        Directory.CreateDirectory(PathOf("folder.png"));
        using (var pipe = Process.Start("mkfifo", [PathOf("pipe.png")])) pipe.WaitForExit();
        foreach (var (verb, name, says) in cannotWork)
        {
            var client = Run(verb, name);
            Assert.That(client.WaitForExit(), Is.EqualTo(1), $"{verb} {name}");
            Assert.That(client.Errors, Does.Contain(says).And.Not.Contain("connect"), $"{verb} {name}");
        }
    }
}

// The reference's client and server together, as people use them.
[Reference]
public sealed class Together : ServerConformance
{
    (int Exit, string Output, string Errors) Client(string folder, string options, string? input = null)
    {
        string reference = $"dotnet {Plug.Dll} client 127.0.0.1 {Server.Port}";
        using var client = new Program("client", [.. Plug.Words(reference), .. Plug.Words(options)], folder, input);
        return (client.WaitForExit(), client.Output, client.Errors);
    }

    [Test, Clause("P4", "CONN-1")]
    public void Five_hundred_files_up_and_down()
    {
        string up = NewFolder(), down = NewFolder();
        for (int i = 0; i < 500; i++)
            File.WriteAllBytes(Path.Combine(up, $"{i}.png"), [.. Notation.Bytes(100 + i * 37), (byte)i]);
        string names = string.Join(' ', Enumerable.Range(0, 500).Select(i => $"{i}.png"));
        Assert.That(Client(up, $"send {names}").Exit, Is.Zero);
        Assert.That(Client(down, $"download {names} --quiet"), Is.EqualTo((0, "", "")));
        foreach (string path in Directory.GetFiles(up))
        {
            var copy = File.ReadAllBytes(Path.Combine(down, Path.GetFileName(path)));
            Assert.That(copy.AsSpan().SequenceEqual(File.ReadAllBytes(path)));
        }
        Assert.That(Directory.GetFileSystemEntries(down), Has.Length.EqualTo(500));
    }

    [Test, Clause("GET-1", "CLI-6")]
    public void Output_names_a_folder_or_a_file()
    {
        Server.Has("my cat.png", Notation.Bytes(100));
        string folder = NewFolder();
        Directory.CreateDirectory(Path.Combine(folder, "into"));
        Assert.That(Client(folder, "GET 'my cat.png' --output into").Exit, Is.Zero);
        Assert.That(Client(folder, "GET 'my cat.png' --output=other.dat").Exit, Is.Zero);
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "into", "my cat.png")), Is.EqualTo(Notation.Bytes(100)));
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "other.dat")), Is.EqualTo(Notation.Bytes(100)));
        Assert.That(Client(folder, "GET 'my cat.png' --output nowhere/x.png").Errors, Does.Contain("no folder"));
        Assert.That(Client(folder, "GET a.png b.png --output other.dat").Exit, Is.EqualTo(2));
    }

    [Test, Clause("CONN-4", "CLI-5")]
    public void The_prompt_takes_the_same_commands()
    {
        Server.Has("my cat.png", Notation.Bytes(100));
        string folder = NewFolder();
        File.WriteAllBytes(Path.Combine(folder, "dog.png"), Notation.Bytes(50));
        var (exit, output, errors) = Client(folder, "", "upload dog.png\nlist\nmy cat.png\nHELP\nquit\nlist\n");
        Assert.That(exit, Is.Zero, errors);
        Assert.That(output.Split('\n').Count(line => line.StartsWith("dog.png|50|")), Is.EqualTo(1));
        Assert.That(File.Exists(Path.Combine(folder, "my cat.png")));
        (exit, _, errors) = Client(folder, "", "get \"my cat.png\"\nget 'unclosed\nlst\n\nlist nothing\n");
        Assert.That(exit, Is.EqualTo(1));
        Assert.That(errors, Does.Contain("here already").And.Contain("quote"));
        Assert.That(errors, Does.Contain("no command lst").And.Contain("LIST takes no file name"));
    }

    [Test, Clause("LIMIT-2", "CLOSE-3")]
    public void A_prompt_that_was_left_alone_connects_again()
    {
        var server = Start("--idle 1");
        var start = new ProcessStartInfo("dotnet", [Plug.Dll, "client", "127.0.0.1", $"{server.Port}"])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using var client = Process.Start(start)!;
        Eventually(() => server.Program.Errors.Contains("timeout"), "it is not let go");
        client.StandardInput.Write("LIST\n");
        client.StandardInput.Close();
        Assert.That(client.WaitForExit(Settings.Patience));
        Assert.That(client.ExitCode, Is.Zero, client.StandardError.ReadToEnd());
    }

    [Test, Clause("P2")]
    public void Two_clients_that_fetch_the_same_file_into_one_folder()
    {
        var picture = Notation.Bytes(20 << 20);
        Server.Has("big.png", picture);
        string folder = NewFolder();
        var runs = Enumerable.Range(0, 3).Select(_ => Task.Run(() => Client(folder, "GET big.png").Exit)).ToArray();
        Task.WaitAll(runs);
        Assert.That(runs.Count(run => run.Result == 0), Is.EqualTo(1));
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "big.png")).AsSpan().SequenceEqual(picture));
    }
}
