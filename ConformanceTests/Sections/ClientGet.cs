namespace ConformanceTests.Sections;

/// <summary>CLI: downloads of a client. The suite is its server, an honest one or not.</summary>
public sealed class ClientGet : ClientFixture
{
    [Test, Clause("CLI-4", "GET-3")]
    public void Client_shows_no_file_at_any_moment_if_the_download_is_interrupted([Values(100, 200_000)] int size)
    {
        using var watch = new FolderWatch(Folder);
        var (client, wire, _) = Begin("GET");
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)size), .. Notation.Bytes(size - 1)]);
        wire.HalfClose();
        client.MustFail();
        ExpectNeverThere(watch, "since its last byte has not come");
    }

    [Test, Clause("CLI-4")]
    public void Client_publishes_a_download_in_one_step()
    {
        using var watch = new FolderWatch(Folder);
        var (client, wire, digest) = Begin("GET");
        var picture = Notation.Bytes(2 << 20);
        wire.Send([.. "OK\n"u8, .. Block(picture, digest)]);
        client.MustSucceed();
        var done = watch.DoneTo("cat.png");
        Demand(!done.Contains("written"), "cat.png in the folder in one step, with all its bytes",
            $"it was {string.Join(", then ", done.Take(6))}: others can see a part of it");
        Same(picture, LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }

    [Test, Clause("CLI-7", "P4")]
    public void Client_compares_the_digest_before_the_file_has_its_name(
        [Values(9, 1000, 2 << 20)] int size,
        [Values("another", "one with another last byte", "none", "31 bytes of it")] string digest)
    {
        using var watch = new FolderWatch(Folder);
        var (client, wire) = Connected("GET", "cat.png");
        Skip.IfNotOffered(!Takes(ref wire, "GET|cat.png"), "the client does not ask for a digest");

        byte[] right = SHA256.HashData(Notation.Bytes(size));
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)size), .. Notation.Bytes(size), .. digest switch
        {
            "another"         => SHA256.HashData("another"u8),
            "none"            => (byte[])[],
            "31 bytes of it" => right[..31],
            _                 => [.. right[..31], (byte)~right[31]],
        }]);
        wire.HalfClose();
        client.MustFail();
        ExpectNeverThere(watch, "since the digest does not match");
    }

    // The client may ask again, but not for ever. What comes without a digest then is not what was asked for.
    [Test, Clause("CLI-7", "CLI-5")]
    public void Client_fails_if_the_digest_is_wrong_each_time_it_asks()
    {
        var (client, wire) = Connected("GET", "cat.png");
        Skip.IfNotOffered(!Takes(ref wire, "GET|cat.png"), "the client does not ask for a digest");

        bool asksForDigest = true;
        int answers = 0;
        for (; answers < 20; answers++)
        {
            byte[] digest = asksForDigest ? SHA256.HashData("another"u8) : [];
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(100)), .. digest]);
            if (NextRequest(client, ref wire) is not { } line)
            {
                break;
            }

            asksForDigest = line.Contains("|digest=");
        }

        Demand(answers < 20, "an end, when the digest is wrong each time", $"{answers} requests");
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("CLI-13", "CONF-1")]
    public void Client_asks_again_without_options_after_unsupported()
    {
        var (client, wire) = BeginWithoutOptions("GET");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest: false)]);
        client.MustSucceed();
        Same(["cat.png"], Files(), "what is in the client's folder");
    }

    private static readonly string[] _nonsense =
    [
        "HELLO", "ok", "OK ", " OK", "OK\r", "OKAY", "",
        "ER", "ER|", "ER|exists", "ER|Exists|x", "ERR|exists|x",
        "{\"status\":\"ok\"}", "SSH-2.0-OpenSSH_9.2",
    ];

    [Test, Clause("CLI-2", "CLI-5")]
    public void Client_fails_if_the_answer_is_not_a_reply(
        [Values("GET", "LIST")] string verb, [ValueSource(nameof(_nonsense))] string reply)
    {
        var (client, wire, digest) = Begin(verb);
        byte[] content = verb == "GET" ? Notation.Bytes(8) : [.. "cat.png|8|2026-01-31T23:59:59Z\n"u8];
        wire.Send([.. Encoding.UTF8.GetBytes(reply + "\n"), .. Block(content, digest)]);
        client.MustFail();                              // although the connection stays open
        FolderMustLack("cat.png");
    }

    [Test, Clause("CLI-2", "CLI-1", "CLI-5")]
    public void Client_sends_no_block_if_the_answer_is_not_a_reply([ValueSource(nameof(_nonsense))] string reply)
    {
        var (client, wire, _) = BeginPut(Notation.Bytes(5000));
        wire.Send(reply + "\n");
        wire.ExpectEnd();                               // not a byte more, although the connection stays open
        client.MustFail();
    }

    // In Latin-1, as they are sent: the last but one is not valid UTF-8. The last one is too long by its LF.
    private static readonly string[] _resemblances =
    [
        "ER|unsupported", "ER|UNSUPPORTED|x", "ER|unsupported-thing|x", "ER||unsupported", "ER|unsupported|caf\u00e9",
        "ER|unsupported|".PadRight(Limits.LineBytes, 'x'),
    ];

    // A client that compares only the first bytes of a line asks again, and accepts the answer to that.
    [TestCaseSource(nameof(_resemblances)), Clause("CLI-2", "CLI-3")]
    public void Client_does_not_ask_again_after_a_line_that_only_resembles_unsupported(string reply)
    {
        var (client, wire) = Connected("GET", "cat.png");
        wire.ReceiveLine("GET|cat.png\\n");
        wire.Send(Encoding.Latin1.GetBytes(reply + "\n"));
        try
        {
            bool digest = Takes(ref wire, "GET|cat.png");
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest)]);
        }
        catch (Violation) { }                           // the client does not ask again, as it should

        wire.HalfClose();
        int exit = client.WaitForExit();
        string shown = Notation.Show(Encoding.Latin1.GetBytes(reply), most: 40);
        Demand(exit != 0, $"exit code other than 0 after {shown}\\n, which is not ER|unsupported|…", "exit code 0");
    }

    [Test, Clause("CLI-4", "GET-2")]
    public void Client_fails_if_the_downloaded_file_is_empty()
    {
        var (client, wire, digest) = Begin("GET");
        wire.Send([.. "OK\n"u8, .. Block([], digest)]);
        wire.HalfClose();
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("CLI-4", "GET-3")]
    public void Client_fails_if_the_connection_ends_inside_the_block(
        [Values(0, 4, 8, 9, 107)] int bytes, [Values] bool reset)
    {
        var (client, wire, _) = Begin("GET");
        wire.Send("OK\n");
        wire.Send(((byte[])[.. Notation.U64(100), .. Notation.Bytes(100)]).AsSpan(0, bytes));
        wire.Leave(reset: reset);

        client.MustFail();
        FolderMustLack("cat.png");
    }

    // Where a digest is missing, too, the client fails for that. Here only the length says that bytes are missing.
    [Test, Clause("CLI-4", "GET-3")]
    public void Client_without_a_digest_fails_if_the_connection_ends_inside_the_block(
        [Values] bool reset, [Values(99, 4096, 65536, 131072, 1 << 20)] int bytes)
    {
        // A client that reads in pieces of 2^n bytes must not take the end after a whole piece for the end of the file.
        var (client, wire) = BeginWithoutOptions("GET");
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)bytes + 1), .. Notation.Bytes(bytes)]);
        wire.Leave(reset: reset);
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("CLI-4")]
    public void Client_shows_no_file_before_the_last_byte_has_arrived()
    {
        var (client, wire, digest) = Begin("GET");
        var picture = Notation.Bytes(200_000);
        wire.Send([.. "OK\n"u8, .. Notation.U64(200_000), .. picture[..100_000]]);
        // Waits until the client has a file in its folder, but not for long: it may keep the bytes in memory.
        for (var clock = Stopwatch.StartNew(); clock.ElapsedMilliseconds < 500 && Files() is [];)
        {
            Thread.Sleep(10);
        }

        wire.Send(picture.AsSpan(100_000, 99_999));
        Demand(!File.Exists(PathOf("cat.png")), "no cat.png before its last byte has come", "it is there");
        wire.Send([picture[^1], .. digest ? SHA256.HashData(picture) : []]);
        client.MustSucceed();
        Same(picture, LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }

    [Test, Clause("CLI-6", "P2", "CLI-5")]
    public void Client_does_not_overwrite_a_local_file(
        [Values("a file", "an empty file", "a folder", "a link to nowhere")] string what)
    {
        byte[] mine = what == "a file" ? [.. "mine"u8] : [];
        bool isFile = what is "a file" or "an empty file";
        if (isFile)
        {
            Give("cat.png", mine);
        }
        else if (what == "a folder")
        {
            Directory.CreateDirectory(PathOf("cat.png"));
        }
        else if (RunSettings.Current.OnWindows)
        {
            Skip.Because("needs symbolic links");
        }
        else
        {
            File.CreateSymbolicLink(PathOf("cat.png"), PathOf("nowhere.png"));
        }

        var client = Run("GET", "cat.png");
        // The client may refuse without a request, or ask first.
        if (Connects(client))
        {
            var wire = Accept();
            try
            {
                bool digest = Takes(ref wire, "GET|cat.png");
                wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest)]);
            }
            catch (Violation) { }                       // the client closed without a request

            wire.HalfClose();
        }

        int code = client.WaitForExit();
        bool isMine = isFile ? LocalFiles.Read(PathOf("cat.png")).AsSpan().SequenceEqual(mine)
            : what == "a folder" ? Directory.Exists(PathOf("cat.png"))
            : new FileInfo(PathOf("cat.png")).LinkTarget is not null && !File.Exists(PathOf("nowhere.png"));
        Demand(isMine, $"cat.png as it was here before: {what}", "it has been overwritten");
        Demand(code != 0, "exit code other than 0: the client has a file of this name already", "exit code 0");
    }

    [Test, Clause("CLI-6", "P2")]
    public void Client_does_not_overwrite_a_file_created_during_the_download()
    {
        var (client, wire, digest) = Begin("GET");
        wire.Send([.. "OK\n"u8, .. Notation.U64(100), .. Notation.Bytes(50)]);
        Give("cat.png", "mine"u8.ToArray());
        wire.Send([.. Notation.Bytes(100).AsSpan(50), .. digest ? SHA256.HashData(Notation.Bytes(100)) : []]);
        int exit = client.WaitForExit();
        Demand(LocalFiles.Read(PathOf("cat.png")).AsSpan().SequenceEqual("mine"u8),
            "the cat.png that the test has put into the folder while the download ran, as it was",
            "it has been overwritten: rename replaces what has the name, link does not (§10)");
        Demand(exit != 0, "exit code other than 0: that name was taken here while the download ran", "exit code 0");
    }

    // Each client may refuse to run at the same time as the other. But if it exits with 0, it has the right bytes.
    [Test, Clause("CLI-4", "CLI-6")]
    public void Clients_that_download_the_same_name_do_not_mix_their_bytes()
    {
        var picture = Notation.Bytes(400_000);
        var clients = new ChildProgram[2];
        var wires = new ProtocolConnection?[2];
        bool[] digests = [false, false];
        int[] sent = [200_000, 1];
        for (int i = 0; i < 2; i++)
        {
            clients[i] = Run("GET", "cat.png");
            if (!Connects(clients[i]))
            {
                continue;
            }

            var wire = Accept();
            try
            {
                digests[i] = Takes(ref wire, "GET|cat.png");
                wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)picture.Length), .. picture[..sent[i]]]);
                wires[i] = wire;
            }
            catch (Violation) { }                       // the client has refused to run
        }

        for (int i = 0; i < 2; i++)
        {
            if (wires[i] is { } wire)
            {
                wire.Send([.. picture[sent[i]..], .. digests[i] ? SHA256.HashData(picture) : []]);
                wire.HalfClose();
            }

            if (clients[i].WaitForExit() != 0)
            {
                continue;
            }

            Demand(LocalFiles.Read(PathOf("cat.png")).AsSpan().SequenceEqual(picture),
                "the bytes that were sent, since the client ended with 0", "others: two downloads write to one file");
        }
    }

    // The low 32 or 63 bits of the last two are 100, which is the number of bytes that arrive.
    [Test, Clause("BLOCK-4", "BLOCK-2", "CLI-4")]
    public void Client_survives_absurd_lengths(
        [Values(1UL << 40, 1UL << 62, 1UL << 63, ulong.MaxValue, (1UL << 32) + 100, (1UL << 63) + 100)] ulong length)
    {
        var (client, wire, _) = Begin("GET");
        wire.Send([.. "OK\n"u8, .. Notation.U64(length), .. Notation.Bytes(100)]);
        if (length == 1UL << 40)
        {
            wire.Send(new byte[16 << 20]);              // more than kernels buffer, so the client has to receive
            Demand(!wire.SendingFailed, "a client that receives until the server ends", "it gave up before that");
        }

        wire.HalfClose();
        client.MustFail();
        Demand(Files().Sum(name => new FileInfo(PathOf(name)).Length) < 20 << 20,
            "less than 20 MiB on the client's disk", "more");
        FolderMustLack("cat.png");
    }

    [Test, Clause("BLOCK-4")]
    public void Client_reserves_no_memory_for_a_length(
        [Values("LIST", "GET")] string verb, [Values(1L << 30, 3L << 30)] long length)
    {
        (long Peak, long Data) Reserved(long announced)
        {
            var (client, wire, _) = Begin(verb);
            wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)announced), .. Notation.Bytes(20)]);
            wire.RestsFor(1000);
            long peak = ProcessFigures.Sum(client.Id, "VmPeak");
            long data = ProcessFigures.Sum(client.Id, "VmData");
            wire.HalfClose();
            client.MustFail();
            return (peak, data);
        }

        var (peak, data) = Reserved(length);
        var (usualPeak, usualData) = Reserved(100);
        long more = Math.Max(peak - usualPeak, data - usualData);
        Demand(more < length / 2, $"no memory for a length of {length >> 30} GiB with 20 bytes after it",
            $"{more >> 20} MiB were reserved: the length is only a claim");
    }
}
