// §9: a client, with the suite as its server, honest and otherwise.

using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.RegularExpressions;

public sealed class Clients : ClientConformance
{
    private string PathOf(string name) => Path.Combine(Folder, name);

    private void Give(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    private string[] Files() => [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))];

    // The request line of whichever form the client uses; a digest it asks for is then part of the answer.  `ahead` is
    // tested elsewhere: here the server does not know it.
    private static bool Takes(Wire wire, string request)
    {
        string line = wire.ReceiveLine(request + "\\n");
        if (line.Split('|').Contains("ahead"))
        {
            wire.Send("ER|unsupported|this server does not know ahead\n");
            line = wire.ReceiveLine(request + "\\n");
        }

        if (line == request)
        {
            return false;
        }

        Demand(line == request + "|digest=sha256", $"{request}\\n, with |digest=sha256 or without", $"{line}\\n");
        return true;
    }

    // What becomes of cat.png while a client runs, as Linux notes it down: also what is there for a moment only.
    private void ExpectNeverThere(FolderWatch watch, string why)
    {
        var done = watch.DoneTo("cat.png");
        Demand(done is [], $"no cat.png at any moment, {why}", $"it was {string.Join(", then ", done.Take(6))}");
    }

    [Test, Clause("CLI-4", "GET-3")]
    public void What_is_cut_was_never_there([Values(100, 200_000)] int size)
    {
        using var watch = new FolderWatch(Folder);
        var client = Run("GET", "cat.png");
        var wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)size), .. Notation.Bytes(size - 1)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        ExpectNeverThere(watch, "since its last octet has not come");
    }

    [Test, Clause("CLI-4")]
    public void A_download_comes_to_its_name_in_one_step()
    {
        using var watch = new FolderWatch(Folder);
        var client = Run("GET", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "GET|cat.png");
        var picture = Notation.Bytes(2 << 20);
        wire.Send([.. "OK\n"u8, .. Block(picture, digest)]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        var done = watch.DoneTo("cat.png");
        Demand(!done.Contains("written"), "cat.png in the folder in one step, with all its octets",
            $"it was {string.Join(", then ", done.Take(6))}: whoever looks meanwhile sees a part of it");
        Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(picture), "the octets that were sent", "others");
    }

    [Test, Clause("CLI-7", "P4")]
    public void A_digest_is_compared_before_the_name_is_there(
        [Values(9, 1000, 2 << 20)] int size,
        [Values("another", "one with another last octet", "none", "31 octets of it")] string digest)
    {
        using var watch = new FolderWatch(Folder);
        var client = Run("GET", "cat.png");
        var wire = Accept();
        if (!Takes(wire, "GET|cat.png"))
        {
            Assert.Ignore("not offered: the client does not ask for a digest");
        }

        byte[] right = SHA256.HashData(Notation.Bytes(size));
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)size), .. Notation.Bytes(size), .. digest switch
        {
            "another"         => SHA256.HashData("another"u8),
            "none"            => (byte[])[],
            "31 octets of it" => right[..31],
            _                 => [.. right[..31], (byte)~right[31]],
        }]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        ExpectNeverThere(watch, "since the digest does not match");
    }

    // ---- going on with what was cut: for a client that does so by itself, or by what its template calls {resume} ----

    private const int Cut = 600;
    private static readonly byte[] _whole = Notation.Bytes(1000);

    // A download cut after 600 of 1,000 octets, and the same once more.  What is asked for then, and from where on.
    private (Program Client, Wire Wire, int Offset, bool Digest) GoOnWithACutDownload()
    {
        bool isTold = Plug.ClientTemplate.Contains("{resume}");
        var client = Run("GET", "cat.png", with: isTold ? "resume" : "");
        var wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Notation.U64(1000), .. _whole[..Cut]]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        wire.Dispose();
        long Size(string name) => new FileInfo(PathOf(name)).Length;

        string kept = string.Join(", ", Files().Select(name => $"{name} with {Size(name)} octets"));

        client = Run("GET", "cat.png", with: isTold ? "resume" : "");
        wire = Accept();
        string[] fields = wire.ReceiveLine("GET|cat.png|offset=…\\n").Split('|');
        string? offset = fields.FirstOrDefault(field => field.StartsWith("offset="))?["offset=".Length..];
        Demand(offset is not null || !isTold, $"GET|cat.png|offset=…|digest=sha256\\n: {Cut} octets have come before",
            $"{string.Join('|', fields)}\\n; what it has kept: {(kept == "" ? "nothing" : kept)}");
        if (offset is null)
        {
            Assert.Ignore("not offered: the client does not go on with what was cut (if an option of it does, say so: "
                + "{resume} in the template)");
        }

        Demand(fields.Contains("digest=sha256"), "digest=sha256 beside the offset, or nobody knows whether it fits",
            string.Join('|', fields));
        Demand(int.TryParse(offset, out int at) && at <= Cut,
            $"an offset of at most the {Cut} octets that came", offset!);
        return (client, wire, at, true);
    }

    [Test, Clause("CLI-10", "OFFSET-1")]
    public void A_cut_download_is_gone_on_with()
    {
        var (client, wire, at, _) = GoOnWithACutDownload();
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)(1000 - at)), .. _whole[at..], .. SHA256.HashData(_whole)]);
        int exit = client.WaitForExit();
        Demand(exit == 0, "exit code 0: all has come, and the digest is that of the whole file (DIGEST-1), of the "
            + $"{at} octets that were kept and of those that came now", $"exit code {exit}");
        Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(_whole),
            "both parts, joined where they were cut", "others");
        Demand(Files() is ["cat.png"], "cat.png alone, now that it is whole", string.Join(", ", Files()));
    }

    [Test, Clause("CLI-10", "CLI-7")]
    public void A_file_that_has_changed_since_is_not_joined([Values] bool longer)
    {
        var (client, wire, at, _) = GoOnWithACutDownload();
        using var watch = new FolderWatch(Folder);
        byte[] rest = longer ? new byte[2000] : new byte[1000 - at];
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)rest.Length), .. rest, .. SHA256.HashData("another"u8)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        ExpectNeverThere(watch, "since the digest is that of another file");
    }

    [Test, Clause("CLI-10", "CLI-4")]
    public void What_is_cut_again_is_no_file([Values(0, 100)] int octets)
    {
        var (client, wire, at, _) = GoOnWithACutDownload();
        using var watch = new FolderWatch(Folder);
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)(1000 - at)), .. _whole.AsSpan(at, octets)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        ExpectNeverThere(watch, "since it was cut again");
    }

    [Test, Clause("CLI-10", "OFFSET-2")]
    public void A_refused_offset_joins_nothing([Values("bad-offset", "unsupported")] string code)
    {
        var (client, wire, _, _) = GoOnWithACutDownload();
        wire.Send($"ER|{code}|not from there\n");
        // It may ask again, for all of it, here or on another connection; or give up.
        byte[] other = Notation.Bytes(300);
        string? line = null;
        try
        {
            line = wire.ReceiveLine("GET|cat.png\\n");
        }
        catch (Violation)
        {
            wire.Dispose();
            bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

            Eventually(() => client.HasEnded || Comes(20_000), "the client neither connects again nor ends");
            if (Comes(0))
            {
                wire = Accept();
                line = wire.ReceiveLine("GET|cat.png\\n");
            }
        }

        if (line is not null)
        {
            Demand(!line.Contains("offset="), $"a request without an offset after {code}", line);
            wire.Send([.. "OK\n"u8, .. Block(other, line.Contains("digest="))]);
            wire.HalfClose();
        }

        int exit = client.WaitForExit();
        Demand(exit == 0 == File.Exists(PathOf("cat.png")), "cat.png and exit code 0, or neither", $"exit code {exit}");
        if (exit == 0)
        {
            Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(other),
                $"cat.png as the last answer brought it, {other.Length} octets, and nothing of what was kept before",
                $"{Disk.Read(PathOf("cat.png")).Length} octets");
        }
    }

    // ---- failures that a client must not take for success ----

    [Test, Clause("CLI-5", "PUT-2")]
    public void An_upload_without_a_last_reply_is_a_failure([Values(0, 1, 2, 3)] int stage)
    {
        Give("cat.png", Notation.Bytes(5000));
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|cat.png");
        if (stage > 0)
        {
            wire.Send("OK\n");
        }

        if (stage > 1)
        {
            wire.Receive(8 + 5000 + (digest ? 32 : 0));
        }

        if (stage > 2)
        {
            wire.Reset();
        }
        else
        {
            wire.HalfClose();
        }

        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-8", "CLI-5")]
    public void An_OK_before_all_was_sent_is_no_success()
    {
        Give("big.png", Notation.Bytes(40 << 20));
        Listener.ReceiveBufferSize = 1 << 16;
        var client = Run("PUT", "big.png");
        var wire = Accept();
        Takes(wire, "PUT|big.png");
        wire.Send("OK\n");
        wire.Receive(8);
        wire.Send("OK\n");                              // it cannot have sent all of it: nobody takes it
        wire.RestsFor(500);
        wire.HalfClose();
        wire.ReceiveRest(orSilence: true);
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    private static readonly int[] _sizes = [8, 9, 1024, 65_535, 65_536, 65_537, 131_072, 1 << 20, (48 << 20) + 1];

    [TestCaseSource(nameof(_sizes)), Clause("PUT-2", "BLOCK-1", "CLI-5")]
    public void A_file_of_any_size_goes_up_whole(int size)
    {
        var picture = Notation.Bytes(size);
        Give("cat.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;           // one send does not take it all
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        if (size > 40 << 20)
        {
            wire.RestsFor(1500);
        }

        wire.ExpectOctets(Block(picture, digest));
        wire.Send("OK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    // A client may also have read all of it before.
    [Test, Clause("BLOCK-1", "CLI-5")]
    public void A_file_that_becomes_shorter_while_it_goes_up_is_not_made_up()
    {
        var picture = Notation.Bytes(30 << 20);
        Give("big.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;
        var client = Run("PUT", "big.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|big.png");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(picture, false)[..1000]);
        Disk.SetLength(PathOf("big.png"), (30 << 20) - 1000);
        var rest = wire.ReceiveRest(orSilence: true).AsSpan();
        int due = picture.Length + 8 - 1000;
        Demand(rest.Length < due + (digest ? 32 : 0) || rest[..due].SequenceEqual(picture.AsSpan(992)),
            "the end of the connection inside the block: its last octets are gone", "as many octets, and others");
        wire.HalfClose();
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("BLOCK-1", "PUT-3")]
    public void A_file_that_becomes_longer_while_it_goes_up_is_sent_as_long_as_was_said()
    {
        var picture = Notation.Bytes(30 << 20);
        Give("big.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;
        var client = Run("PUT", "big.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|big.png");
        wire.Send("OK\n");
        byte[] block = Block(picture, digest);
        wire.ExpectOctets(block[..1000]);
        using (var file = Disk.Open(PathOf("big.png"), FileAccess.Write))
        {
            file.Seek(0, SeekOrigin.End);
            file.Write(new byte[1 << 20]);
        }

        try
        {
            wire.ExpectOctets(block[1000..]);
        }
        catch (Violation) when (wire.IsAtItsEnd)        // it has noticed, and given up
        {
            Assert.That(client.WaitForExit(), Is.Not.Zero);
            return;
        }

        wire.Send("OK\n");
        wire.ExpectEnd();
        client.WaitForExit();
    }

    // One receive is not one message.  Each piece is there for a while before the next one comes: a client that takes
    // what one receive brings for all of it has nothing else to take.
    [Test, Clause("GET-1", "CONN-3", "CLI-5")]
    public void A_message_may_come_in_pieces([Values("LIST", "GET", "PUT")] string verb)
    {
        void Send(Wire wire, byte[] octets, params int[] cuts)
        {
            int at = 0;
            foreach (int cut in cuts)
            {
                wire.Send(octets.AsSpan(at, cut - at));
                wire.RestsFor(150);
                at = cut;
            }

            wire.Send(octets.AsSpan(at));
        }

        byte[] picture = Notation.Bytes(1000);
        byte[] line = [.. "cat.png|9|2026-01-31T23:59:59Z\n"u8];
        if (verb == "PUT")
        {
            Give("dog.png", picture);
        }

        var client = Run(verb, verb == "LIST" ? null : verb == "GET" ? "cat.png" : "dog.png");
        var wire = Accept();
        if (verb == "LIST")
        {
            wire.Expect("LIST\n");
            Send(wire, [.. "OK\n"u8, .. Block(line, digest: false)], 1, 2, 7, 11, 20, 41);
        }
        else if (verb == "GET")
        {
            bool digest = Takes(wire, "GET|cat.png");
            Send(wire, [.. "OK\n"u8, .. Block(picture, digest)], 1, 3, 7, 13, 500, 1010);
        }
        else
        {
            bool digest = Takes(wire, "PUT|dog.png");
            Send(wire, [.. "OK\n"u8], 1, 2);
            wire.ExpectOctets(Block(picture, digest));
            Send(wire, [.. "OK\n"u8], 1, 2);
        }

        int exit = client.WaitForExit();
        if (exit != 0)
        {
            throw new Violation(Wording.Exit(true, exit, wire.Talk) with
            {
                HintName = "one receive is one message",
                Sentence = "CONN-3",
                Hint = "the replies came in pieces. One receive is not one message: collect octets until the LF, or "
                    + "until the counted octets are there.",
            });
        }

        if (verb == "GET")
        {
            Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(picture),
                "cat.png as it was sent", "other octets");
        }

        if (verb == "LIST")
        {
            Demand((client.Output + client.Errors).Contains("cat.png"), "cat.png in what the client prints",
                "it is not");
        }
    }

    private static readonly string[] _lastReplies =
        ["ER|exists|it is here", "ER|storage|the disk is full", "ER|tired|a new code", "OK?", "HELLO"];

    [TestCaseSource(nameof(_lastReplies)), Clause("CLI-5", "PUT-2")]
    public void An_upload_that_is_refused_in_the_end_is_a_failure(string reply)
    {
        Give("cat.png", Notation.Bytes(5000));
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        wire.Receive(8 + 5000 + (digest ? 32 : 0));
        wire.Send(reply + "\n");
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-5", "CLOSE-3")]
    public void Turned_away_unasked_is_a_failure([Values("LIST", "GET", "PUT")] string verb)
    {
        Give("dog.png", Notation.Bytes(5000));
        var client = Run(verb, verb == "LIST" ? null : verb == "GET" ? "cat.png" : "dog.png");
        var wire = Accept();
        wire.Send("ER|busy|come back later\n");
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        string said = Encoding.Latin1.GetString(wire.ReceiveRest());
        Demand(said.Count(c => c == '\n') <= 1 && said.Length < 100,
            "a request at most, and no block", $"{said.Length} octets");
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-5", "LIST-1")]
    public void A_listing_cut_short_is_a_failure([Values(0, 4, 8, 9, 38, 39, 69)] int octets)
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send("OK\n");
        byte[] line = [.. "cat.png|8|2026-01-31T23:59:59Z\n"u8];
        byte[] block = [.. Notation.U64(62), .. line, .. line];
        wire.Send(block.AsSpan(0, octets));
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-3", "CLI-7")]
    public void A_server_that_supports_nothing_is_not_asked_for_ever()
    {
        var client = Run("GET", "cat.png");
        int asked = 0;
        var wire = Accept();
        try
        {
            for (; asked < 20; asked++)
            {
                wire.ReceiveLine();
                wire.Send("ER|unsupported|no\n");
            }
        }
        catch (Violation) { }                           // it has closed: enough for it

        Demand(asked < 20, "an end, when even the plain request is unsupported", $"{asked} requests on one connection");
        wire.Dispose();
        Listener.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-7", "CONF-1")]
    public void What_is_unsupported_is_asked_for_once_more_without_it()
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        Player.ExpectRequest(ref wire, Listener, [.. "GET|cat.png\n"u8]);
        Own(wire);
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest: false)]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(Files(), Is.EqualTo(new[] { "cat.png" }));
    }

    // A block, with the digest behind it if that is part of the answer.
    private static byte[] Block(byte[] octets, bool digest) =>
        [.. Notation.U64((ulong)octets.Length), .. octets, .. digest ? SHA256.HashData(octets) : []];

    [Test, Clause("CLI-1", "PUT-3")]
    public void No_block_before_the_go_ahead_and_none_after_a_refusal(
        [Values("exists", "bad-name", "denied", "storage", "tired", "too-large", "busy", "internal")] string code)
    {
        Give("cat.png", Notation.Bytes(5000));
        var client = Run("PUT", "cat.png");
        var wire = Accept();
        Takes(wire, "PUT|cat.png");
        wire.Send($"ER|{code}|not now\n");
        wire.ExpectEnd();                               // not an octet more
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    private static readonly string[] _nonsense =
    [
        "HELLO", "ok", "OK ", " OK", "OK\r", "OKAY", "",
        "ER", "ER|", "ER|exists", "ER|Exists|x", "ERR|exists|x",
        "{\"status\":\"ok\"}", "SSH-2.0-OpenSSH_9.2",
    ];

    [TestCaseSource(nameof(_nonsense)), Clause("CLI-2", "CLI-5")]
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

    [TestCaseSource(nameof(_nonsense)), Clause("CLI-2", "CLI-5")]
    public void What_is_no_reply_to_LIST_is_a_failure(string reply)
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send([.. Encoding.UTF8.GetBytes(reply + "\n"),
            .. Block([.. "cat.png|8|2026-01-31T23:59:59Z\n"u8], digest: false)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    // Whoever takes the first octets of a line for the line asks once more, and is content with what comes then.
    [Test, Clause("CLI-2", "CLI-3")]
    public void What_is_no_unsupported_is_not_asked_again(
        [Values("ER|unsupported", "ER|UNSUPPORTED|x", "ER|unsupported-thing|x", "ER||unsupported")] string reply)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        wire.ReceiveLine("GET|cat.png\\n");
        wire.Send(reply + "\n");
        try
        {
            bool digest = Takes(wire, "GET|cat.png");
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8), digest)]);
        }
        catch (Violation) { }                           // it does not, as it should be

        wire.HalfClose();
        int exit = client.WaitForExit();
        string shown = Notation.Show(Encoding.UTF8.GetBytes(reply));
        Demand(exit != 0, $"exit code other than 0 after {shown}\\n, which is not ER|unsupported|…", "exit code 0");
    }

    [Test, Clause("CLI-5", "CLI-3")]
    public void A_listing_that_is_refused_is_a_failure_and_nothing_to_wait_for(
        [Values("storage", "tired", "unsupported")] string code)
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send($"ER|{code}|not now\n");              // and the connection stays open
        Assert.That(client.WaitForExit(), Is.Not.Zero);
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

    [Test, Clause("CLI-5", "LIST-1")]
    public void A_listing_is_shown([Values(2, 3000)] int count)
    {
        string[] names = [.. Enumerable.Range(1, count - 1).Select(i => $"cat-{i}.png"), "x.y.JPG"];
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        string lines = string.Concat(names.Select(name => $"{name}|9|2026-01-31T23:59:59Z\n"));
        wire.Send([.. "OK\n"u8, .. Block(Encoding.UTF8.GetBytes(lines), digest: false)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        string said = client.Output + client.Errors;
        string[] missing = [.. names.Where(name => !said.Contains(name))];
        Demand(missing is [], $"the names of all {count} files in what the client prints",
            $"{missing.Length} of them are missing, {missing.LastOrDefault()} is one");
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
        if (reset)
        {
            wire.Reset();
        }
        else
        {
            wire.Dispose();
        }

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
        wire.Send([.. "OK\n"u8, .. Notation.U64(200_000), .. picture[..100_000]]);
        // Once something is being saved anywhere in its folder; a client may also keep it for itself until the end.
        for (var clock = Stopwatch.StartNew(); clock.ElapsedMilliseconds < 500 && Files() is [];)
        {
            Thread.Sleep(10);
        }

        wire.Send(picture.AsSpan(100_000, 99_999));
        Demand(!File.Exists(PathOf("cat.png")), "no cat.png before its last octet has come", "it is there");
        wire.Send([picture[^1], .. digest ? SHA256.HashData(picture) : []]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(picture));
    }

    [Test, Clause("CLI-6", "P2", "CLI-5")]
    public void A_local_file_is_never_overwritten([Values("a file", "a folder", "a link to nowhere")] string what)
    {
        bool isFile = what == "a file";
        if (isFile)
        {
            Give("cat.png", "mine"u8.ToArray());
        }
        else if (what == "a folder")
        {
            Directory.CreateDirectory(PathOf("cat.png"));
        }
        else if (Settings.OnWindows)
        {
            NotLookedAt.Skip("needs symbolic links");
        }
        else
        {
            File.CreateSymbolicLink(PathOf("cat.png"), PathOf("nowhere.png"));
        }

        var client = Run("GET", "cat.png");
        // It may refuse on its own, or ask first.
        bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

        Eventually(() => client.HasEnded || Comes(20_000), "the client neither connects nor ends");
        if (Comes(0))
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

        int code = client.WaitForExit();
        bool isMine = isFile ? Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual("mine"u8)
            : what == "a folder" ? Directory.Exists(PathOf("cat.png"))
            : new FileInfo(PathOf("cat.png")).LinkTarget is not null && !File.Exists(PathOf("nowhere.png"));
        Demand(isMine, $"cat.png as it was here before: {what}", "it has been overwritten");
        Demand(code != 0, "exit code other than 0: nothing was fetched, since that name is taken here", "exit code 0");
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
        int exit = client.WaitForExit();
        Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual("mine"u8),
            "the cat.png that the test has put into the folder while the download ran, as it was",
            "it has been overwritten: rename replaces what has the name, link does not (§10)");
        Demand(exit != 0, "exit code other than 0: that name was taken here while the download ran", "exit code 0");
    }

    // Each may refuse to run beside the other; if one says that it has the picture, it is the picture.
    [Test, Clause("CLI-4", "CLI-6")]
    public void Two_downloads_of_one_name_are_not_mixed()
    {
        var picture = Notation.Bytes(400_000);
        var clients = new Program[2];
        var wires = new Wire?[2];
        bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

        bool[] digests = [false, false];
        int[] sent = [200_000, 1];
        for (int i = 0; i < 2; i++)
        {
            clients[i] = Run("GET", "cat.png");
            var client = clients[i];
            Eventually(() => client.HasEnded || Comes(20_000), "the client neither connects nor ends");
            if (!Comes(0))
            {
                continue;
            }

            wires[i] = Accept();
            try
            {
                digests[i] = Takes(wires[i]!, "GET|cat.png");
                wires[i]!.Send([.. "OK\n"u8, .. Notation.U64((ulong)picture.Length), .. picture[..sent[i]]]);
            }
            catch (Violation)
            {
                wires[i] = null;
            }      // it has looked, and refused
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

            Demand(Disk.Read(PathOf("cat.png")).AsSpan().SequenceEqual(picture),
                "the octets that were sent, since the client ended with 0", "others: two downloads write to one file");
        }
    }

    [Test, Clause("CLI-6", "NAME-4")]
    public void A_file_is_saved_under_the_very_name_that_was_asked_for(
        [Values("cafe\u0301.png", "caf\u00e9.png", "A-b.PNG")] string name)
    {
        var client = Run("GET", name);
        var wire = Accept();
        bool digest = Takes(wire, $"GET|{name}");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(9), digest)]);
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Demand(Files() is [var saved] && saved == name, Notation.Show(Encoding.UTF8.GetBytes(name)),
            string.Join(", ", Files()));
    }

    [Test, Clause("CLI-6")]
    public void A_put_goes_under_the_last_component_of_its_path([Values("holiday", "holiday/2026/may")] string folder)
    {
        Directory.CreateDirectory(PathOf(folder));
        Give($"{folder}/cat.png", Notation.Bytes(9));
        var client = Run("PUT", Path.Combine(folder, "cat.png"));
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
        string said = client.Output + client.Errors;
        Demand(said.Contains("too-large") || said.Contains("too much"),
            "in what the client writes, the code or the text of the last line: "
                + "ER|too-large|that is too much for this one",
            said == "" ? "nothing" : said);
    }

    [Test, Clause("CLI-11", "BLOCK-2")]
    public void A_length_is_not_believed([Values(1UL << 40, 1UL << 62, 1UL << 63, ulong.MaxValue)] ulong length)
    {
        var client = Run("GET", "cat.png");
        var wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Notation.U64(length), .. Notation.Bytes(100)]);
        if (length == 1UL << 40)
        {
            wire.Send(new byte[16 << 20]);         // more than kernels buffer: it does receive
        }

        if (length == 1UL << 40)
        {
            Assert.That(wire.SendingFailed, Is.False, "it gave up before it was cut");
        }

        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(Files().Sum(name => new FileInfo(PathOf(name)).Length), Is.LessThan(20 << 20));
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("CLI-11", "BLOCK-2")]
    public void A_length_reserves_no_memory([Values("LIST", "GET")] string verb)
    {
        long Reserved(ulong length)
        {
            var client = Run(verb, verb == "LIST" ? null : "cat.png");
            var wire = Accept();
            if (verb == "LIST")
            {
                wire.Expect("LIST\n");
            }
            else
            {
                Takes(wire, "GET|cat.png");
            }

            wire.Send([.. "OK\n"u8, .. Notation.U64(length), .. Notation.Bytes(20)]);
            wire.RestsFor(1000);
            long octets = Processes.Sum(client.Id, "VmPeak");
            wire.HalfClose();
            Assert.That(client.WaitForExit(), Is.Not.Zero);
            return octets;
        }

        const long Gigabyte = 1 << 30;
        long more = Reserved(3 * (ulong)Gigabyte) - Reserved(100);
        Demand(more < 2 * Gigabyte, "no memory for a length of 3 GiB with 20 octets behind it",
            $"{more >> 20} MiB were reserved: the length is only a claim");
    }

    [Test, Clause("CLI-11", "NAME-1")]
    public void What_a_server_says_does_not_reach_the_terminal_raw([Values] Delivery delivery)
    {
        var client = Run("LIST");
        var wire = Accept(delivery);
        wire.Expect("LIST\n");
        byte[] lines = [.. "\u001b[2Jx.png|1|2026-01-31T23:59:59Z\na\u009b\rb.png|2|2026-01-31T23:59:59Z\n"u8];
        byte[] all = [.. "OK\n"u8, .. Notation.U64((ulong)lines.Length), .. lines];
        int inside = all.AsSpan().IndexOf((byte)0x9B);
        wire.Send(all.AsSpan(0, inside));
        wire.RestsFor(300);                             // so that the rest of the character comes apart
        wire.Send(all.AsSpan(inside));
        wire.HalfClose();
        client.WaitForExit();
        var refused = Run("GET", "cat.png");
        wire = Accept();
        Takes(wire, "GET|cat.png");
        wire.Send("ER|not-found|\u001b]0;gotcha\u0007\n");
        wire.HalfClose();
        refused.WaitForExit();
        Give("dog.png", Notation.Bytes(9));
        var late = Run("PUT", "dog.png");
        wire = Accept();
        bool digest = Takes(wire, "PUT|dog.png");
        wire.Send("OK\n");
        wire.Receive(8 + 9 + (digest ? 32 : 0));
        wire.Send("ER|storage|\u001b]0;gotcha\u0007\n");
        wire.HalfClose();
        late.WaitForExit();
        string said = string.Concat(new[] { client, refused, late }.Select(one => one.Output + one.Errors));
        Assert.That(said.Any(c => char.IsControl(c) && c is not ('\n' or '\t')), Is.False, said);
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
        byte[] one = Notation.Bytes(9);
        byte[] two = Notation.Bytes(12);
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

    private static readonly (string Verb, string Name, string Says)[] _cannotWork =
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
        using (var pipe = Process.Start("mkfifo", [PathOf("pipe.png")]))
        {
            pipe.WaitForExit();
        }

        foreach (var (verb, name, says) in _cannotWork)
        {
            var client = Run(verb, name);
            Assert.That(client.WaitForExit(), Is.EqualTo(1), $"{verb} {name}");
            Assert.That(client.Errors, Does.Contain(says).And.Not.Contain("connect"), $"{verb} {name}");
        }
    }
}

[Order(1)]                                              // what waits longest begins first
public sealed class ClientDeadlines : ClientConformance
{
    [Test, Clause("CLI-9")]
    public void A_server_that_says_nothing_is_given_up()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        Assert.That(client.WaitForExit(Settings.Milliseconds(75_000)), Is.Not.Zero);
    }
}

// The reference's client and server together, as people use them.
[Reference]
public sealed class Together : ServerConformance
{
    private (int Exit, string Output, string Errors) Client(string folder, string options, string? input = null)
    {
        string reference = $"dotnet {Plug.Dll} client 127.0.0.1 {Server.Port}";
        using var client = new Program("client", [.. Plug.Words(reference), .. Plug.Words(options)], folder, input);
        return (client.WaitForExit(), client.Output, client.Errors);
    }

    [Test, Clause("P4", "CONN-1")]
    public void Five_hundred_files_up_and_down()
    {
        string up = NewFolder();
        string down = NewFolder();
        for (int i = 0; i < 500; i++)
        {
            File.WriteAllBytes(Path.Combine(up, $"{i}.png"), [.. Notation.Bytes(100 + i * 37), (byte)i]);
        }

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
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var client = Process.Start(start)!;
        Eventually(() => Regex.IsMatch(server.Program.Errors, "#2 .*timeout"), "it is not let go");
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
