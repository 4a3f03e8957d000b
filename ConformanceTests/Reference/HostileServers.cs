namespace ConformanceTests.Reference;

/// <summary>This client with listings that a server should not send, and with servers that disappear.</summary>
[Reference]
public sealed class HostileServers : ClientFixture
{
    private const string Time = "2026-01-31T23:59:59Z";

    private static void SendListing(ProtocolConnection wire, byte[] lines)
    {
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Block(lines)]);
    }

    private static byte[] Lines(params string[] lines) =>
        Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => $"{line}\n")));

    // Answers a GET for this name, with any options.
    private static void AnswerGet(ProtocolConnection wire, string name)
    {
        string request = wire.ReceiveLine($"GET|{name}\\n");
        Assert.That(request.Split('|')[..2], Is.EqualTo(new[] { "GET", name }));
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(9), request.Contains("digest"))]);
    }

    [Test, Clause("LINE-1", "CLI-11")]
    public void Client_asks_only_for_names_that_are_in_the_listing()
    {
        var (client, wire) = Connected("GET", "*");
        SendListing(wire, [
            .. Lines($"\uFEFFa.png|9|{Time}", $"b\rc.png|9|{Time}"),
            .. "d"u8, 0xFF, .. Lines($".png|9|{Time}", $"e.png|9|{Time}"),
        ]);
        AnswerGet(wire, "e.png");
        wire.ExpectEnd();
        client.MustExit(1, "U+FEFF at position 1", "U+000D at position 2", @"d\xFF.png");
        Assert.That(Files(), Is.EqualTo(new[] { "e.png" }));
    }

    [Test, Clause("LINE-1", "CLI-11")]
    public void Client_prints_a_line_as_it_came_and_escapes_control_characters()
    {
        var (client, wire) = Connected("LIST");
        SendListing(wire, [.. Lines($"\uFEFFa.png|9|{Time}", "b\rc"), 0xFE, 0xFF, .. Lines("")]);
        wire.ExpectEnd();
        client.MustExit(0);
        Assert.That(client.Output, Is.EqualTo($"\\xEF\\xBB\\xBFa.png|9|{Time}\nb\\rc\n\\xFE\\xFF\n"));
    }

    [Test, Clause("BLOCK-2", "CLI-5")]
    public void Client_survives_sizes_whose_sum_overflows(
        [Values("9223372036854775807", "18446744073709551615", "99999999999999999999")] string size)
    {
        var (client, wire) = Connected("GET", "*");
        SendListing(wire, Lines($"a.png|{size}|{Time}", $"b.png|{size}|{Time}", $"c.png|9|{Time}"));
        bool isSize = size.Length < 20 || size[0] == '1';
        foreach (string name in isSize ? (string[])["a.png", "b.png", "c.png"] : ["c.png"])
        {
            AnswerGet(wire, name);
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(isSize ? 0 : 1), client.Said());
        Assert.That(Files(), Has.Length.EqualTo(isSize ? 3 : 1));
    }

    [Test, Clause("CLI-5")]
    public void Client_downloads_a_file_once_if_two_words_name_it()
    {
        var (client, wire) = Connected("GET", "a.png", "* a.png ?.png");
        SendListing(wire, Lines($"a.png|9|{Time}", $"b.png|9|{Time}"));
        AnswerGet(wire, "a.png");
        AnswerGet(wire, "b.png");
        wire.ExpectEnd();
        client.MustExit(0, "2 files: 2 done, 0 failed");
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_a_failed_listing_once()
    {
        var (client, wire) = Connected("GET", "*.png", "*.jpg");
        wire.Expect("LIST\n");
        wire.Send("ER|storage|not now\n");
        wire.ExpectEnd();
        client.MustExit(1);
        Assert.That(client.Errors, Is.EqualTo("LIST: storage: not now\n"));
    }

    [Test, Clause("CLI-5")]
    public void Client_that_cannot_reconnect_names_what_is_left()
    {
        var (client, wire) = Connected("GET", "a.png", "b.png c.png");
        Repeat(3, () => wire.ReceiveLine());        // with requests left unread, the end would be a reset
        StopListening();
        wire.Send("ER|timeout|too slow\n");
        wire.Dispose();
        client.MustExit(3, "a.png: timeout", "cannot connect", "b.png: not transferred", "c.png: not transferred",
            "3 files: 0 done, 3 failed");
    }

    [Test, Clause("CLI-5", "CLI-8")]
    public void Client_does_not_call_a_lost_connection_a_timeout()
    {
        // More than the kernels hold, so the client is waiting inside a send when the connection is reset.
        File.WriteAllBytes(PathOf("cat.png"), Notation.Bytes(64 << 20));
        var (client, wire) = Connected("PUT", "cat.png");
        wire.ReceiveLine();
        wire.Send("OK\n");
        wire.Receive(1 << 20);
        wire.Dispose();
        client.MustExit(3);
        Assert.That(client.Errors, Does.Match("cat.png: the (connection was reset|server closed the connection)"));
    }

    [Test, Clause("CONN-2", "CLI-5")]
    public void Client_reports_for_each_file_the_time_of_its_own_turn()
    {
        // All requests were sent at once. The first file takes a while, the others come right after it.
        var (client, wire) = Connected("GET", "a.png", "b.png c.png");
        string[] requests = [wire.ReceiveLine(), wire.ReceiveLine(), wire.ReceiveLine()];
        foreach (string request in requests)
        {
            int size = request.Contains("a.png") ? 128 << 20 : 9;
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(size), request.Contains("digest"))]);
        }

        wire.ExpectEnd();
        client.MustExit(0);
        double[] seconds =
        [
            .. client.Errors.Split('\n').Where(line => line.Contains(" bytes in "))
                .Select(line => double.Parse(line.Split(' ')[4], CultureInfo.InvariantCulture)),
        ];
        Assert.That(seconds, Has.Length.EqualTo(3), client.Said());
        Assert.That(seconds[1], Is.LessThan(seconds[0]), client.Said());
        Assert.That(seconds[2], Is.LessThan(seconds[0]), client.Said());
    }

    [TestCase("busy", 3)]
    [TestCase("timeout", 3)]
    [TestCase("stopping", 3)]
    [TestCase("internal", 1)]
    [TestCase("storage", 1)]
    [TestCase("not-found", 1)]
    [Clause("CLI-5")]
    public void Client_exits_with_3_if_a_retry_may_help(string code, int exit)
    {
        foreach (string verb in (string[])["LIST", "GET", "STATUS"])
        {
            var (client, wire) = Connected(verb, verb == "GET" ? "cat.png" : null);
            wire.ReceiveLine();
            wire.Send($"ER|{code}|that is so\n");
            wire.HalfClose();
            Assert.That(client.WaitForExit(), Is.EqualTo(exit), $"{verb}\n{client.Said()}");
        }
    }

    [Test, Clause("CLI-5")]
    public void Client_exits_with_3_if_one_failure_may_be_repaired_and_another_may_not()
    {
        var (client, wire) = Connected("GET", "a.png", "b.png");
        wire.ReceiveLine();
        wire.Send("ER|not-found|no\nER|stopping|soon over\n");
        wire.HalfClose();
        client.MustExit(3);
    }

    [Test, Clause("CLI-4", "CLI-10")]
    public void Client_whose_connection_was_cut_says_what_is_kept_and_exits_with_3()
    {
        var (client, wire) = BeginHundredBytes("cat.png");
        wire.Dispose();
        client.MustExit(3, "40 bytes are kept, and --resume goes on from there");
    }

    [Test, Clause("CLI-10")]
    public void Client_that_is_interrupted_says_what_is_kept_and_exits_with_130()
    {
        var (client, wire) = BeginHundredBytes("cat.png");
        Eventually(() => Files() is [var hidden] && new FileInfo(PathOf(hidden)).Length == 40, "nothing is saved");
        client.Signal("INT");
        client.MustExit(130, "cat.png: interrupted; 40 bytes are kept, and --resume goes on from there");
    }

    [Test, Clause("CLI-10")]
    public void Client_resumes_even_if_the_server_is_given_another_name()
    {
        Interrupt("cat.png");
        var resumed = Own(ProgramFixture.Begin(Folder, $"client localhost:{Port} GET cat.png --resume"));
        var wire = Accept();
        Assert.That(wire.ReceiveLine(), Does.StartWith("GET|cat.png|").And.Contain("|offset=40"));
        byte[] all = Notation.Bytes(100);
        wire.Send([.. "OK\n"u8, .. Block(all[40..]), .. SHA256.HashData(all)]);
        resumed.MustExit(0);
        Assert.That(resumed.Errors, Does.Match(@"^cat\.png: the remaining 60 bytes in .* s, verified; 100 in all\n$"));
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo(all));
    }

    [Test, Clause("CLI-10")]
    public void Client_starts_over_in_the_same_run_if_the_kept_bytes_do_not_match()
    {
        Interrupt("cat.png", new byte[40]);
        var (client, wire) = Connected("GET", "cat.png", "--resume");
        Assert.That(wire.ReceiveLine(), Does.Contain("|offset=40"));
        byte[] all = Notation.Bytes(100);
        byte[] digest = SHA256.HashData(all);
        wire.Send([.. "OK\n"u8, .. Notation.U64(60), .. all[40..], .. digest]);
        Assert.That(wire.ReceiveLine(), Does.StartWith("GET|cat.png|").And.Not.Contain("offset"));
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. all, .. digest]);
        client.MustExit(0, "starting over");
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo(all));
    }

    // ---- files that are kept ----

    // Interrupts a download of 100 bytes after 40, and returns the path of the file that the client keeps.
    private string Interrupt(string name, byte[]? first = null)
    {
        string[] before = Files();
        var (client, wire) = BeginHundredBytes(name, first);
        wire.Dispose();
        client.WaitForExit();
        return PathOf(Files().Except(before).Single());
    }

    private (ChildProgram Client, ProtocolConnection Wire) BeginHundredBytes(string name, byte[]? first = null)
    {
        var (client, wire) = Connected("GET", name);
        wire.ReceiveLine();
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. first ?? Notation.Bytes(40)]);
        return (client, wire);
    }

    [Test, Clause("CLI-10", "CLI-13")]
    public void Client_starts_over_even_if_it_may_not_remove_the_kept_file(
        [Values("unsupported", "bad-offset")] string code)
    {
        Skip.If(OperatingSystem.IsWindows(), "needs the rights of Unix");

        string kept = Interrupt("cat.png");
        string launcher = UnprivilegedUser.Launcher(Folder, kept);
        try
        {
            ProgramFixture.SetMode(Folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
            string words = $"client 127.0.0.1:{Port} GET cat.png --resume";
            var client = Own(ProgramFixture.Begin(Folder, words, launcher: launcher));
            var wire = Accept();
            Assert.That(wire.ReceiveLine(), Does.Contain("|offset=40"));
            wire.Send($"ER|{code}|not from there\n");
            Assert.That(wire.ReceiveLine(), Does.StartWith("GET|cat.png|").And.Not.Contain("offset"));
            Assert.That(new FileInfo(kept).Length, Is.EqualTo(40), "before another attempt has begun");
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(100), digest: true)]);
            client.MustExit(1);
            Assert.That(client.Errors, Does.StartWith("cat.png: ").And.Not.Contain("   at "));
            Assert.That(client.Errors.Split('\n'), Has.Length.EqualTo(2), client.Errors);
        }
        finally
        {
            ProgramFixture.SetMode(Folder, ProgramFixture.OwnerOnly);
        }
    }

    [Test, Clause("CLI-10", "CONN-3")]
    public void Client_reads_the_digest_of_a_block_that_it_cannot_save_after_it_started_over()
    {
        string kept = Interrupt("cat.png");
        var (client, wire) = Connected("", null, input: "GET cat.png --resume\nGET dog.png\n");
        Assert.That(wire.ReceiveLine(), Does.Contain("|offset=40"));
        wire.Send([.. "OK\n"u8, .. Notation.U64(60), .. new byte[60], .. new byte[32]]);
        Assert.That(wire.ReceiveLine(), Does.StartWith("GET|cat.png|").And.Not.Contain("offset"));
        Directory.CreateDirectory(kept);
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(100), digest: true)]);
        AnswerGet(wire, "dog.png");                     // on the same connection
        wire.ExpectEnd();
        client.MustExit(1);
        Assert.That(File.Exists(PathOf("dog.png")), client.Said());
    }

    [Test, Clause("CLI-10")]
    public void Client_says_that_it_drops_what_was_kept_if_it_is_not_told_to_resume()
    {
        Interrupt("cat.png");
        var (client, wire) = Connected("GET", "cat.png");
        AnswerGet(wire, "cat.png");
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain(
            "cat.png: starting over; 40 bytes of an earlier attempt are dropped, because --resume was not given\n"));
    }

    [Test, Clause("CLI-10", "CLI-5")]
    public void Client_does_not_say_that_it_keeps_bytes_that_it_has_dropped()
    {
        Interrupt("cat.png");
        Interrupt("dog.png");
        var (client, wire) = Connected("", null, input: "GET cat.png --resume\nGET dog.png --resume\n");
        wire.ReceiveLine();
        wire.Send("ER|unsupported|offset\n");
        AnswerGet(wire, "cat.png");
        Assert.That(wire.ReceiveLine(), Does.StartWith("GET|dog.png|").And.Not.Contain("offset"));
        wire.Send([.. "OK\n"u8, .. Notation.U64(100)]);
        wire.Dispose();
        client.MustExit(3);
        Assert.That(client.Errors, Does.Contain("dog.png: ").And.Not.Contain("are kept"));
        Assert.That(Files(), Is.EqualTo(new[] { "cat.png" }));
    }

    [Test, Clause("CLI-10")]
    public void Client_that_is_interrupted_does_not_name_a_download_that_failed_before()
    {
        var (client, wire) = Connected("GET", "a.png", "b.png");
        Repeat(2, () => wire.ReceiveLine());        // with a request left unread, the end would be a reset
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. Notation.Bytes(40)]);
        wire.Dispose();
        wire = Accept();
        wire.ReceiveLine();                             // for b.png
        client.Signal("INT");
        client.MustExit(130);
        Assert.That(client.Errors, Does.Contain("interrupted").And.Not.Contain("a.png: interrupted"));
    }

    // ---- a file that changes while it is sent ----

    [Test, Clause("BLOCK-1", "CLI-5")]
    public void Client_stores_nothing_if_the_file_changes_while_it_is_sent([Values("its size", "its time")] string what)
    {
        byte[] picture = Notation.Bytes(30 << 20);
        Give("big.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;
        var (client, wire) = Connected("PUT", "big.png", "--no-digest");
        while (wire.ReceiveLine().Contains("|modified"))
        {
            wire.Send("ER|unsupported|not known\n");
        }

        wire.Send("OK\n");
        wire.ExpectBytes(Block(picture)[..1000]);
        if (what == "its size")
        {
            LocalFiles.SetLength(PathOf("big.png"), picture.Length + 1);
        }
        else
        {
            File.SetLastWriteTimeUtc(PathOf("big.png"), new DateTime(2001, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        }

        int received = wire.ReceiveRest(orSilence: true).Length;
        Assert.That(received, Is.LessThan(picture.Length + 8 - 1000), "the block is complete");
        wire.Dispose();
        client.MustExit(1, "big.png: the file changed while it was being sent; nothing was stored");
    }

    // ---- the prompt ----

    [Test, Clause("CLI-5")]
    public void Client_continues_the_prompt_after_unusual_bytes()
    {
        string[] lines = ["GET a\0b.png", "PUT a\0b.png", "a\0b.png", "\u001b[A", "PUT '\0", "\uFFFF|", "LIST"];
        var (client, wire) = Connected("", null, input: string.Concat(lines.Select(line => $"{line}\n")));
        SendListing(wire, Lines($"a.png|9|{Time}"));
        client.MustExit(1);
        Assert.That(client.Output, Is.EqualTo($"a.png|9|{Time}\n"));
    }

    // ---- limits of the disk ----

    [Test, Clause("CLI-5")]
    public void Client_whose_file_would_be_larger_than_the_system_allows_fails_and_says_so()
    {
        Skip.If(!OperatingSystem.IsLinux(), "needs prlimit");

        var (client, wire) = Connected("GET", "cat.png", "--no-digest");
        wire.ReceiveLine();
        Tool.Run("prlimit", "--fsize=50000", $"--pid={client.Id}");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(200_000))]);
        client.MustExit(1);
        Assert.That(client.Errors, Does.StartWith("cat.png: ").And.Not.Contain("TLS"));
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }
}
