// §5.3, ahead: refusals behind the block, blocks behind their requests.

using System.Security.Cryptography;

public sealed class Aheads : ServerConformance
{
    private static readonly byte[] _cat = Notation.Bytes(300);
    private static readonly byte[] _page = [.. "<!DOCTYPE html>"u8];

    // What stands behind the go-ahead.
    public enum Digest { None, Right, Wrong }

    private static byte[] Request(string name, Digest digest) =>
        Encoding.UTF8.GetBytes($"PUT|{name}{(digest == Digest.None ? "" : "|digest=sha256")}|ahead\n");

    private static byte[] Block(byte[] content, Digest digest) =>
    [
        .. Notation.U64((ulong)content.Length),
        .. content,
        .. digest switch
        {
            Digest.Right => SHA256.HashData(content),
            Digest.Wrong => new byte[32],
            _            => (byte[])[],
        },
    ];

    // The go-ahead, and what became of the block; "" is OK.
    private static void ExpectOutcome(Wire wire, string code)
    {
        wire.Expect("OK\n");
        if (code == "")
        {
            wire.Expect("OK\n");
        }
        else
        {
            wire.ExpectError(code);
        }
    }

    // Each names its row of §6, the uppermost of those that fit.
    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _refused =
    [
        ("../x.png",  _cat,  Digest.None,  "bad-name"),
        ("",          _cat,  Digest.Right, "bad-name"),
        ("con.png",   _cat,  Digest.None,  "bad-name"),
        ("../x.png",  _page, Digest.None,  "bad-name"),
        ("../x.exe",  [],   Digest.None,  "bad-name"),
        ("../x.png",  _cat,  Digest.Wrong, "bad-name"),
        ("cat.exe",   _cat,  Digest.None,  "bad-type"),
        ("cat",       _cat,  Digest.Right, "bad-type"),
        ("cat.exe",   [],   Digest.None,  "bad-type"),
        ("cat.exe",   _cat,  Digest.Wrong, "bad-type"),
        ("page.png",  _page, Digest.None,  "bad-type"),
        ("page.png",  _page, Digest.Wrong, "bad-type"),
        ("there.png", _page, Digest.None,  "bad-type"),
        ("there.png", _page, Digest.Wrong, "bad-type"),
        ("there.png", _cat,  Digest.None,  "exists"),
        ("there.png", [],   Digest.None,  "exists"),
        ("there.png", [],   Digest.Wrong, "exists"),
        ("there.png", _cat,  Digest.Wrong, "exists"),
        ("empty.png", [],   Digest.None,  "empty"),
        ("empty.png", [],   Digest.Right, "empty"),
        ("empty.png", [],   Digest.Wrong, "empty"),
        ("cat.png",   _cat,  Digest.Wrong, "corrupt"),
    ];

    private static IEnumerable<TestCaseData> Refused() =>
        from row in _refused
        let what = row.Content == _cat ? "a picture" : row.Content == _page ? "a page" : "nothing"
        select new TestCaseData(row.Name, row.Content, row.Digest, row.Code).SetArgDisplayNames(
            $"'{row.Name}'", what, $"digest {row.Digest}".ToLowerInvariant(), row.Code);

    [TestCaseSource(nameof(Refused)), Clause("AHEAD-1", "AHEAD-2", "ERR-2")]
    public void A_refusal_comes_behind_the_block(string name, byte[] content, Digest digest, string code)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(Request(name, digest));
        wire.Expect("OK\n");                            // whatever it thinks of the name
        var block = Block(content, digest);
        wire.Send(block.AsSpan(0, block.Length - 1));
        Connect().List();                               // by now the server has seen all but the last octet
        Assert.That(wire.HasMore, Is.False, "it spoke before the end of the block");
        wire.Send(block.AsSpan(block.Length - 1));
        wire.ExpectError(code);
        Assert.That(wire.List(), Has.Length.EqualTo(1));
        Assert.That(wire.Get("there.png"), Is.EqualTo(Notation.Bytes(9)));
    }

    [Test, Clause("AHEAD-1", "AHEAD-2", "CONN-3")]
    public void Every_refusal_in_one_conversation([Values] Delivery delivery)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect(delivery);
        foreach (var (name, content, digest, code) in _refused)
        {
            wire.Send([.. Request(name, digest), .. Block(content, digest)]);
            ExpectOutcome(wire, code);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    [Test, Clause("AHEAD-1", "DIGEST-2")]
    public void Options_stand_in_either_order([Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        foreach (string request in (string[])["PUT|a.png|digest=sha256|ahead\n", "PUT|b.png|ahead|digest=sha256\n"])
        {
            wire.Send(request);
            wire.Expect("OK\n");
            wire.Send(Block(_cat, Digest.Right));
            wire.Expect("OK\n");
        }

        Assert.That(wire.Get("a.png"), Is.EqualTo(_cat));
        Assert.That(wire.Get("b.png"), Is.EqualTo(_cat));
    }

    [Test, Clause("AHEAD-1", "REQ-1")]
    public void An_unknown_option_beside_it_is_refused_at_once()
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (string request in (string[])["PUT|cat.png|ahead|zip", "PUT|there.png|zip|ahead", "PUT|../x|ahead|y"])
        {
            wire.Send(request + "\n");
            wire.ExpectError("unsupported");
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    [Test, Clause("AHEAD-1", "CONN-2")]
    public void Sixty_four_at_once_and_the_answers_read_behind_the_last()
    {
        Server.Has("there.png", Notation.Bytes(9));
        (string Name, Digest Digest, string Code) FileAt(int i) => (i % 4) switch
        {
            1 => ("there.png", Digest.None, "exists"),
            2 => ($"{i}.png", Digest.Right, ""),
            3 => ($"{i}.png", Digest.Wrong, "corrupt"),
            _ => ($"{i}.png", Digest.None, ""),
        };

        byte[] Content(int i) => Notation.Bytes(1000 + i * 321);

        var files = Enumerable.Range(0, 64).Select(FileAt).ToArray();
        var wire = Connect();
        wire.Send([.. files.SelectMany((one, i) =>
            (byte[])[.. Request(one.Name, one.Digest), .. Block(Content(i), one.Digest)])]);
        foreach (var one in files)
        {
            ExpectOutcome(wire, one.Code);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(33));
        for (int i = 0; i < 64; i += 2)
        {
            Assert.That(wire.Get($"{i}.png"), Is.EqualTo(Content(i)));
        }

        Assert.That(wire.Get("there.png"), Is.EqualTo(Notation.Bytes(9)));
    }

    [Test, Clause("AHEAD-1", "CONN-2")]
    public void Other_requests_stand_between_them()
    {
        var wire = Connect();
        wire.Send([
            .. Request("cat.png", Digest.Right), .. Block(_cat, Digest.Right), .. "GET|cat.png\n"u8,
            .. Request("cat.exe", Digest.None), .. Block(_cat, Digest.None), .. "PUT|dog.png\n"u8,
            .. Block(_cat, Digest.None), .. "PUT|cat.png\nLIST\n"u8]);
        ExpectOutcome(wire, "");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock(), Is.EqualTo(_cat));
        ExpectOutcome(wire, "bad-type");
        wire.Expect("OK\nOK\n");
        wire.ExpectError("exists");                     // without the option it is refused at once, as ever
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().Count(octet => octet == '\n'), Is.EqualTo(2));
    }

    [Test, Clause("AHEAD-1", "PUT-6")]
    public void A_large_refused_block_is_read_to_its_end()
    {
        var wire = Connect();
        wire.Send([.. Request("../x.png", Digest.None), .. Notation.U64(5 << 20), .. new byte[5 << 20], .. "LIST\n"u8]);
        ExpectOutcome(wire, "bad-name");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64(0));
    }

    [Test, Clause("AHEAD-1", "PUT-5", "CLOSE-1")]
    public void A_length_beyond_the_limit_is_answered_at_once()
    {
        var wire = Connect();
        wire.Send([.. Request("cat.png", Digest.Right), .. Notation.U64(1UL << 63)]);
        wire.Expect("OK\n");
        wire.ExpectError("too-large", closes: true);
        Assert.That(Server.Shows("cat.png"), Is.False);
    }

    [Test, Clause("AHEAD-1", "P2")]
    public void The_name_is_taken_while_the_block_comes()
    {
        Wire slow = Connect();
        Wire fast = Connect();
        slow.Send(Request("cat.png", Digest.Right));
        slow.Expect("OK\n");
        var block = Block(_cat, Digest.Right);
        slow.Send(block.AsSpan(0, 200));
        fast.Put("cat.png", Notation.Bytes(12));
        slow.Send(block.AsSpan(200));
        slow.ExpectError("exists");
        Assert.That(slow.Get("cat.png"), Is.EqualTo(Notation.Bytes(12)));
    }

    [Test, Clause("AHEAD-2", "P4")]
    public void A_name_that_is_taken_later_comes_last_of_all_reasons()
    {
        Wire slow = Connect();
        Wire fast = Connect();
        slow.Send(Request("cat.png", Digest.Wrong));
        slow.Expect("OK\n");
        fast.Put("cat.png", Notation.Bytes(12));
        slow.Send(Block(_cat, Digest.Wrong));
        slow.ExpectError("corrupt");
        Assert.That(slow.Get("cat.png"), Is.EqualTo(Notation.Bytes(12)));
    }

    [Test, Clause("AHEAD-2")]
    public void A_name_that_was_taken_when_it_was_asked_for_is_taken()
    {
        if (Settings.OnWindows)
        {
            NotLookedAt.Skip("needs a server that does not hold the files of its folder");
        }

        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(Request("cat.png", Digest.None));
        wire.Expect("OK\n");
        File.Delete(Server.PathOf("cat.png"));          // by somebody else, between request and block
        wire.Send(Block(_cat, Digest.None));
        wire.ExpectError("exists");
        Assert.That(wire.List(), Is.Empty);
    }

    [Test, Clause("AHEAD-1", "PUT-5", "CLOSE-1")]
    public void Too_large_comes_before_what_is_wrong_with_the_name(
        [Values("../x.png", "cat.exe", "there.png")] string name)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send([.. Request(name, Digest.None), .. Notation.U64((1 << 30) + 1)]);
        wire.Expect("OK\n");
        wire.ExpectError("too-large", closes: true);
    }

    [Test, Clause("AHEAD-1", "P2")]
    public void Of_two_in_a_row_the_first_has_the_name()
    {
        var wire = Connect();
        wire.Send([
            .. Request("cat.png", Digest.None), .. Block(_cat, Digest.None),
            .. Request("cat.png", Digest.None), .. Block(Notation.Bytes(12), Digest.None)]);
        ExpectOutcome(wire, "");
        ExpectOutcome(wire, "exists");
        Assert.That(wire.Get("cat.png"), Is.EqualTo(_cat));
    }

    [Test, Clause("AHEAD-1", "P1")]
    public void It_shows_when_it_is_whole()
    {
        Wire slow = Connect();
        Wire other = Connect();
        slow.Send([.. Request("cat.png", Digest.None), .. Block(_cat, Digest.None)[..^1]]);
        slow.Expect("OK\n");
        Assert.That(other.List(), Is.Empty);
        Assert.That(Server.Shows("cat.png"), Is.False);
        slow.Send(_cat.AsSpan(^1..));
        slow.Expect("OK\n");
        Assert.That(other.Get("cat.png"), Is.EqualTo(_cat));
    }

    [Test, Clause("AHEAD-1", "CLOSE-2", "P1")]
    public void Cut_inside_it_leaves_nothing([Values("cat.png", "cat.exe", "../x.png")] string name)
    {
        byte[] all = Block(Notation.Bytes(20), Digest.Right);
        for (int cut = 0; cut < all.Length; cut++)
        {
            var wire = Connect();
            wire.Send([.. Request(name, Digest.Right), .. all[..cut]]);
            wire.HalfClose();
            wire.Expect("OK\n");
            wire.ExpectEnd();                           // and no word about the name
            Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
                $"expected  an empty folder after an upload that was cut behind {cut} of {all.Length} octets\n"
                + "received  something stays in it");
        }

        Connect().List();
    }

    [Test, Clause("AHEAD-1", "P1", "P11")]
    public void Reset_inside_it_keeps_what_was_whole()
    {
        for (int i = 0; i < 10; i++)
        {
            var wire = Connect();
            wire.Send([.. Request($"{i}.png", Digest.None), .. Block(_cat, Digest.None)]);
            ExpectOutcome(wire, "");
            wire.Send([.. Request("cut.png", Digest.None), .. Block(_cat, Digest.None)[..^1]]);
            if (i % 2 == 0)
            {
                wire.Expect("OK\n");
            }

            wire.Reset();
        }

        var other = Connect();
        Assert.That(other.List(), Has.Length.EqualTo(10));
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder).Length == 10, "what was cut is left behind");
    }

    [Test, Clause("AHEAD-1", "PUT-4", "P10")]
    public void Whatever_has_the_name_keeps_it()
    {
        string outside = NewFolder();
        HostileFolder.Fill(Server.Folder, outside);
        var before = HostileFolder.Look(Server.Folder, outside);
        var wire = Connect();
        foreach (string name in HostileFolder.Names)
        {
            wire.Send([.. Request(name, Digest.None), .. Block(_cat, Digest.None)]);
            ExpectOutcome(wire, "exists");
        }

        wire.List();
        Assert.That(HostileFolder.Look(Server.Folder, outside), Is.EqualTo(before));
    }

    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _whereReadOnly =
    [
        ("dog.png",   _cat,  Digest.Right, "denied"),
        ("dog.png",   _cat,  Digest.Wrong, "denied"),
        ("dog.png",   [],   Digest.None,  "empty"),
        ("there.png", _cat,  Digest.None,  "exists"),
        ("there.png", [],   Digest.None,  "exists"),
        ("dog.png",   _page, Digest.None,  "bad-type"),
        ("dog.exe",   _cat,  Digest.None,  "bad-type"),
        ("a/b.png",   _cat,  Digest.None,  "bad-name"),
    ];

    [Test, Clause("AHEAD-2", "AHEAD-1", "PUT-7")]
    public void A_read_only_server_refuses_behind_the_block()
    {
        var server = Start(with: "read-only");
        server.Has("there.png", Notation.Bytes(9));
        var wire = Connect(server);
        foreach (var (name, content, digest, code) in _whereReadOnly)
        {
            wire.Send([.. Request(name, digest), .. Block(content, digest)]);
            ExpectOutcome(wire, code);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    // Without `ahead` a digest that does not match comes behind `storage`.
    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _whereNothingCanBeStored =
    [
        ("dog.png", _cat,  Digest.None,  "storage"),
        ("dog.png", _cat,  Digest.Right, "storage"),
        ("dog.png", _cat,  Digest.Wrong, "corrupt"),
        ("dog.png", [],   Digest.None,  "empty"),
        ("dog.png", _page, Digest.Wrong, "bad-type"),
        ("dog.exe", _cat,  Digest.None,  "bad-type"),
        ("a/b.png", _cat,  Digest.None,  "bad-name"),
    ];

    [Test, Clause("AHEAD-2", "AHEAD-1"), Reference]
    public void A_folder_that_is_gone_is_told_behind_the_block()
    {
        var server = Start();
        Directory.Delete(server.Folder);
        var wire = Connect(server);
        wire.Send("PUT|dog.png\n");
        wire.ExpectError("storage");
        foreach (var (name, content, digest, code) in _whereNothingCanBeStored)
        {
            wire.Send([.. Request(name, digest), .. Block(content, digest)]);
            ExpectOutcome(wire, code);
        }
    }

    [Test, Clause("AHEAD-1", "PUT-5")]
    public void At_the_limit_and_one_beyond()
    {
        var wire = Connect(Start(with: "max-size=10240"));
        wire.Send([.. Request("a.png", Digest.None), .. Block(Notation.Bytes(10 << 10), Digest.None)]);
        ExpectOutcome(wire, "");
        wire.Send([.. Request("b.png", Digest.None), .. Notation.U64((10 << 10) + 1)]);
        wire.Expect("OK\n");
        wire.ExpectError("too-large", closes: true);
    }
}

// AHEAD-3: a client, with the suite as its server.
public sealed class AheadClients : ClientConformance
{
    private string PathOf(string name) => Path.Combine(Folder, name);

    private void Give(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    private static byte[] Block(byte[] content) => [.. Notation.U64((ulong)content.Length), .. content];

    private static byte[] Ahead(string name, byte[] content) =>
        [.. Encoding.UTF8.GetBytes($"PUT|{name}|ahead\n"), .. Block(content)];

    // ---- any client that takes several files and uses the option ----

    private sealed record Upload(string Name, string[] Options);

    private static Upload ReceiveRequest(Wire wire)
    {
        string[] fields = wire.ReceiveLine("PUT|…\\n").Split('|');
        Assert.That(fields[0], Is.EqualTo("PUT"), "a block before its go-ahead?");
        return new Upload(fields[1], fields[2..]);
    }

    private static byte[] ReceiveBlock(Wire wire, Upload upload)
    {
        var content = wire.ReceiveBlock();
        if (upload.Options.Contains("digest=sha256"))
        {
            wire.ExpectOctets(SHA256.HashData(content));
        }

        return content;
    }

    // Four pictures for a client.  It need not take several files, nor send any of them ahead; then this is not for it.
    private (Program Client, Wire Wire, Upload First) RunWithFour()
    {
        for (int i = 0; i < 4; i++)
        {
            Give($"{i}.png", Notation.Bytes(1000 + i));
        }

        var client = Run("PUT", "0.png", "1.png 2.png 3.png");
        bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

        Eventually(() => client.HasEnded || Comes(50_000), "the client neither connects nor ends");
        if (!Comes(0))
        {
            Assert.Ignore("not offered: the client takes one file");
        }

        var wire = Accept();
        var first = ReceiveRequest(wire);
        if (!first.Options.Contains("ahead"))
        {
            Assert.Ignore("not offered: the client does not use ahead");
        }

        return (client, wire, first);
    }

    [Test, Clause("AHEAD-3", "AHEAD-1")]
    public void Four_files_for_a_server_that_takes_them_ahead()
    {
        var (client, wire, next) = RunWithFour();
        for (int i = 0; i < 4; i++)
        {
            wire.Send("OK\n");
            Assert.That(ReceiveBlock(wire, next), Is.EqualTo(Notation.Bytes(1000 + next.Name[0] - '0')));
            wire.Send("OK\n");
            if (i < 3)
            {
                next = ReceiveRequest(wire);
            }
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    [Test, Clause("AHEAD-3", "CLI-7", "CONF-1")]
    public void No_block_before_the_first_go_ahead_and_none_behind_a_refusal_of_the_option()
    {
        var (client, wire, next) = RunWithFour();
        var stored = new HashSet<string>();
        for (int requests = 1; ; requests++)
        {
            Assert.That(requests, Is.LessThan(20), "it asks again and again");
            if (next.Options.Length > 0)
            {
                wire.Send("ER|unsupported|this server has no extensions\n");
            }
            else
            {
                wire.Send("OK\n");
                Assert.That(ReceiveBlock(wire, next), Is.EqualTo(Notation.Bytes(1000 + next.Name[0] - '0')));
                wire.Send("OK\n");
                Assert.That(stored.Add(next.Name), $"{next.Name} is sent twice");
            }

            if (stored.Count == 4)
            {
                break;
            }

            next = ReceiveRequest(wire);
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    [Test, Clause("AHEAD-3", "CLI-5")]
    public void A_refusal_behind_a_block_is_a_failure_of_that_file_alone()
    {
        var (client, wire, next) = RunWithFour();
        for (int i = 0; i < 4; i++)
        {
            wire.Send("OK\n");
            ReceiveBlock(wire, next);
            wire.Send(next.Name == "1.png" ? "ER|exists|it is here\n" : "OK\n");
            if (i < 3)
            {
                next = ReceiveRequest(wire);
            }
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    // ---- the reference's ----

    // It has sent the first of its files, and is through with it: from now on blocks may come behind their requests.
    private Wire AcceptFirst(string name)
    {
        var wire = Accept();
        wire.Expect($"PUT|{name}|ahead\n");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(File.ReadAllBytes(PathOf(name))));
        wire.Send("OK\n");
        return wire;
    }

    private void ExpectAhead(Wire wire, params string[] names)
    {
        foreach (string name in names)
        {
            wire.ExpectOctets(Ahead(name, File.ReadAllBytes(PathOf(name))));
        }
    }

    private void GiveFour()
    {
        for (int i = 0; i < 4; i++)
        {
            Give($"{"abcd"[i]}.png", Notation.Bytes(9 + i));
        }
    }

    [Test, Clause("AHEAD-3", "CLI-1"), Reference]
    public void Blocks_come_behind_their_requests_once_a_go_ahead_was_read()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png d.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png");                   // while not one of them is answered
        wire.Send("OK\nOK\nOK\nOK\nOK\nOK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain("4 files: 4 done, 0 passed over, 0 failed; 42 octets in"));
    }

    [Test, Clause("AHEAD-3", "DIGEST-2"), Reference]
    public void Each_block_has_its_digest_behind_it()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png");
        var wire = Accept();
        foreach (string name in (string[])["a.png", "b.png", "c.png"])
        {
            wire.Expect($"PUT|{name}|digest=sha256|ahead\n");
            if (name == "a.png")
            {
                wire.Send("OK\n");
            }

            var content = File.ReadAllBytes(PathOf(name));
            wire.ExpectOctets([.. Block(content), .. SHA256.HashData(content)]);
            if (name == "a.png")
            {
                wire.Send("OK\n");
            }
        }

        wire.Send("OK\nOK\nOK\nOK\n");
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain("c.png: 11 octets in").And.Not.Contain("not verified"));
    }

    [Test, Clause("AHEAD-3", "CLI-7"), Reference]
    public void What_the_server_does_not_know_is_left_out_one_by_one()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png");
        var wire = Accept();
        wire.Expect("PUT|a.png|digest=sha256|ahead\n");
        wire.Send("ER|unsupported|no\n");
        wire.Expect("PUT|b.png|digest=sha256\n");
        wire.Send("ER|unsupported|no\n");
        foreach (string name in (string[])["a.png", "b.png"])
        {
            wire.Expect($"PUT|{name}\n");
            wire.Send("OK\n");
            wire.ExpectOctets(Block(File.ReadAllBytes(PathOf(name))));
            wire.Send("OK\n");
        }

        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Contain("a.png: 9 octets").And.Contain("b.png: 10 octets"));
        Assert.That(client.Errors, Does.Contain("not verified").And.Not.Contain("unsupported"));
    }

    [Test, Clause("AHEAD-3", "CLI-7"), Reference]
    public void A_server_that_knows_the_digest_alone_is_sent_digests()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png");
        var wire = Accept();
        wire.Expect("PUT|a.png|digest=sha256|ahead\n");
        wire.Send("ER|unsupported|no\n");
        foreach (string name in (string[])["b.png", "a.png"])
        {
            wire.Expect($"PUT|{name}|digest=sha256\n");
            wire.Send("OK\n");
            var content = File.ReadAllBytes(PathOf(name));
            wire.ExpectOctets([.. Block(content), .. SHA256.HashData(content)]);
            wire.Send("OK\n");
        }

        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        Assert.That(client.Errors, Does.Not.Contain("not verified"));
    }

    [Test, Clause("AHEAD-3"), Reference]
    public void A_large_file_is_asked_for_first()
    {
        GiveFour();
        Give("large.png", Notation.Bytes((256 << 10) + 1));
        Give("small.png", Notation.Bytes(256 << 10));
        var client = Run("PUT", "a.png", "b.png large.png small.png c.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png");
        wire.Send("OK\nOK\n");
        wire.Expect("PUT|large.png\n");
        wire.Send("ER|exists|it is here\n");                            // and costs no octets
        ExpectAhead(wire, "small.png", "c.png");
        wire.Send("OK\nOK\nOK\nOK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("large.png: exists").And.Contain("5 files: 4 done"));
    }

    [Test, Clause("AHEAD-3", "CLI-5"), Reference]
    public void Refusals_in_the_middle_are_told_of_the_right_file()
    {
        GiveFour();
        Give("e.png", Notation.Bytes(20));
        var client = Run("PUT", "a.png", "b.png c.png d.png e.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png", "e.png");
        wire.Send("OK\nER|exists|it is here\nOK\nOK\nOK\nER|tired|a little\nOK\nOK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("b.png: exists: it is here").And.Contain("d.png: tired: a little"));
        Assert.That(client.Errors, Does.Contain("c.png: 11 octets in").And.Contain("e.png: 20 octets in"));
        Assert.That(client.Errors, Does.Contain("5 files: 3 done, 0 passed over, 2 failed"));
    }

    [Test, Clause("AHEAD-3", "CLI-1"), Reference]
    public void What_was_not_answered_is_asked_again_on_another_connection([Values] bool inWords)
    {
        GiveFour();
        Give("e.png", Notation.Bytes(20));
        var client = Run("PUT", "a.png", "b.png c.png d.png e.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png", "e.png");
        wire.Send("OK\nOK\n");                                          // b.png
        if (inWords)
        {
            wire.Send("ER|stopping|good night\n");             // to c.png
        }

        wire.HalfClose();
        wire.ExpectEnd();

        wire = Accept();
        wire.Expect("PUT|d.png|ahead\n");                               // and no block: this may be another server
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(12)));
        wire.Send("ER|exists|it is here\n");
        ExpectAhead(wire, "e.png");
        wire.Send("OK\nOK\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        string lost = inWords ? "c.png: stopping: good night" : "c.png: the server closed the connection";
        Assert.That(client.Errors, Does.Contain(lost).And.Contain("d.png: exists: perhaps stored by the try"));
        Assert.That(client.Errors, Does.Contain("5 files: 3 done, 0 passed over, 2 failed"));
    }

    [Test, Clause("AHEAD-3", "CLI-7"), Reference]
    public void What_one_connection_has_shown_says_nothing_of_the_next()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png d.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png");
        wire.HalfClose();
        wire.ExpectEnd();
        wire = Accept();                                                // an older server, that has come in its place
        wire.Expect("PUT|c.png|ahead\n");
        wire.Send("ER|unsupported|no\n");
        foreach (string name in (string[])["d.png", "c.png"])           // not an octet of a block between them
        {
            wire.Expect($"PUT|{name}\n");
            wire.Send("OK\n");
            wire.ExpectOctets(Block(File.ReadAllBytes(PathOf(name))));
            wire.Send("OK\n");
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("4 files: 3 done, 0 passed over, 1 failed"));
    }

    [Test, Clause("AHEAD-3"), Reference]
    public void No_more_than_128_are_unanswered()
    {
        string[] names = [.. Enumerable.Range(0, 300).Select(i => $"{i:D3}.png")];
        foreach (string name in names)
        {
            Give(name, Notation.Bytes(100));
        }

        var client = Run("PUT", "000.png", $"{string.Join(' ', names[1..])} --no-digest");
        var wire = AcceptFirst("000.png");
        ExpectAhead(wire, names[1..129]);
        wire.HalfClose();
        wire.ExpectEnd();                                               // and nothing behind the 128th
        wire = Accept();                                                // where all goes on, but for the first of them
        wire.Expect("PUT|002.png|ahead\n");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(100)));
        wire.Send("OK\n");
        int read = 3;
        int answered = 3;
        while (answered < 300)
        {
            for (; read < 300 && read - answered < 33; read++)
            {
                ExpectAhead(wire, names[read]);
            }

            wire.Send("OK\nOK\n");
            answered++;
        }

        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("300 files: 299 done, 0 passed over, 1 failed; 29,900 octets"));
    }

    [Test, Clause("AHEAD-3", "CLI-5"), Reference]
    public void A_file_that_goes_meanwhile_costs_itself_alone()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png --no-digest");
        var wire = Accept();
        wire.Expect("PUT|a.png|ahead\n");
        File.Delete(PathOf("b.png"));
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(9)));
        wire.Send("OK\n");
        wire.Expect("PUT|b.png|ahead\n");
        wire.Send("OK\n");
        wire.ExpectEnd();                                               // a block is due, and there is none
        wire = Accept();
        wire.Expect("PUT|c.png|ahead\n");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(11)));
        wire.Send("OK\n");
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Contain("3 files: 2 done, 0 passed over, 1 failed"));
    }

    [Test, Clause("AHEAD-3", "CLI-5"), Reference]
    public void A_file_that_grows_meanwhile_is_sent_as_it_is_then()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png --no-digest");
        var wire = Accept();
        wire.Expect("PUT|a.png|ahead\n");
        Give("b.png", Notation.Bytes(3 << 20));                         // more than is ever sent ahead
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(9)));
        wire.Send("OK\n");
        string request = wire.ReceiveLine("PUT|b.png\\n");
        Assert.That(request, Is.EqualTo("PUT|b.png").Or.EqualTo("PUT|b.png|ahead"));
        wire.Send("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(Notation.Bytes(3 << 20)));
        wire.Send("OK\n");
        ExpectAhead(wire, "c.png");
        wire.Send("OK\nOK\n");
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    [Test, Clause("AHEAD-3"), Reference]
    public void A_single_file_is_asked_for_first()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "--no-digest");
        var wire = Accept();
        wire.Expect("PUT|a.png\n");
        wire.Send("ER|exists|it is here\n");
        wire.ExpectEnd();
        Assert.That(client.WaitForExit(), Is.EqualTo(1));
        Assert.That(client.Errors, Does.Not.Contain("files:"), "a summary of one");
    }
}
