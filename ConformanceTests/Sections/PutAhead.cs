namespace ConformanceTests.Sections;

/// <summary>
/// AHEAD, against a server: blocks that come right after their requests, and refusals after the block.
/// </summary>
public sealed class Aheads : ServerFixture
{
    internal static readonly byte[] Cat = Notation.Bytes(300);
    internal static readonly byte[] Page = [.. "<!DOCTYPE html>"u8];

    // What follows the block.
    public enum Digest { None, Right, Wrong }

    internal static byte[] Request(string name, Digest digest) =>
        Encoding.UTF8.GetBytes($"PUT|{name}{(digest == Digest.None ? "" : "|digest=sha256")}|ahead\n");

    internal static byte[] Block(byte[] content, Digest digest) =>
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

    // A request, and its block right after it.
    internal static byte[] Upload(string name, byte[] content, Digest digest) =>
        [.. Request(name, digest), .. Block(content, digest)];

    // Expects the go-ahead, and the reply to the block: this error, or OK if the code is "".
    internal static void ExpectOutcome(ProtocolConnection wire, string code)
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

    // Uploads, each with the error of the first row in §6.1 that applies.
    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _refused =
    [
        ("../x.png",  Cat,  Digest.None,  "bad-name"),
        ("",          Cat,  Digest.Right, "bad-name"),
        ("con.png",   Cat,  Digest.None,  "bad-name"),
        ("../x.png",  Page, Digest.None,  "bad-name"),
        ("../x.exe",  [],   Digest.None,  "bad-name"),
        ("../x.png",  Cat,  Digest.Wrong, "bad-name"),
        ("cat.exe",   Cat,  Digest.None,  "bad-type"),
        ("cat",       Cat,  Digest.Right, "bad-type"),
        ("cat.exe",   [],   Digest.None,  "bad-type"),
        ("cat.exe",   Cat,  Digest.Wrong, "bad-type"),
        ("page.png",  Page, Digest.None,  "bad-type"),
        ("page.png",  Page, Digest.Wrong, "bad-type"),
        ("there.png", Page, Digest.None,  "bad-type"),
        ("there.png", Page, Digest.Wrong, "bad-type"),
        ("there.png", Cat,  Digest.None,  "exists"),
        ("there.png", [],   Digest.None,  "exists"),
        ("there.png", [],   Digest.Wrong, "exists"),
        ("there.png", Cat,  Digest.Wrong, "exists"),
        ("empty.png", [],   Digest.None,  "empty"),
        ("empty.png", [],   Digest.Right, "empty"),
        ("empty.png", [],   Digest.Wrong, "empty"),
        ("cat.png",   Cat,  Digest.Wrong, "corrupt"),
    ];

    private static IEnumerable<TestCaseData> Refused() =>
        from row in _refused
        let what = row.Content == Cat ? "a picture" : row.Content == Page ? "a page" : "nothing"
        select new TestCaseData(row.Name, row.Content, row.Digest, row.Code).SetArgDisplayNames(
            $"'{row.Name}'", what, $"digest {row.Digest}".ToLowerInvariant(), row.Code);

    [TestCaseSource(nameof(Refused)), Clause("AHEAD-1", "AHEAD-2", "ERR-2")]
    public void Server_sends_OK_first_and_refuses_after_the_block(
        string name, byte[] content, Digest digest, string code)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(Request(name, digest));
        wire.Expect("OK\n");                            // even if the name is invalid
        var block = Block(content, digest);
        wire.Send(block.AsSpan(0, block.Length - 1));
        Connect().List();                               // by now the server has seen all but the last byte
        Demand(!wire.HasMore, "nothing before the end of the block", "a reply");
        wire.Send(block.AsSpan(block.Length - 1));
        wire.ExpectError(code);
        ListHas(wire, 1);
        Same(Notation.Bytes(9), wire.Get("there.png"), "what GET of there.png brought");
    }

    [Test, Clause("AHEAD-1", "AHEAD-2", "CONN-3")]
    public void Server_sends_every_refusal_in_one_conversation([Values] Delivery delivery)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect(delivery);
        foreach (var (name, content, digest, code) in _refused)
        {
            wire.Send(Upload(name, content, digest));
            ExpectOutcome(wire, code);
        }

        ListHas(wire, 1);
    }

    [Test, Clause("AHEAD-1", "DIGEST-2")]
    public void Server_accepts_ahead_and_digest_in_either_order([Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        foreach (string request in (string[])["PUT|a.png|digest=sha256|ahead\n", "PUT|b.png|ahead|digest=sha256\n"])
        {
            wire.Send(request);
            wire.Expect("OK\n");
            wire.Send(Block(Cat, Digest.Right));
            wire.Expect("OK\n");
        }

        Same(Cat, wire.Get("a.png"), "what GET of a.png brought");
        Same(Cat, wire.Get("b.png"), "what GET of b.png brought");
    }

    [Test, Clause("AHEAD-1", "REQ-1")]
    public void Server_refuses_an_unknown_option_beside_ahead_at_once()
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (string request in (string[])["PUT|cat.png|ahead|zip", "PUT|there.png|zip|ahead", "PUT|../x|ahead|y"])
        {
            wire.ExpectRefusal(request, "unsupported");
        }

        ListHas(wire, 1);
    }

    [Test, Clause("AHEAD-1", "CONN-2")]
    public void Server_answers_64_PUTs_that_were_sent_at_once()
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
            Upload(one.Name, Content(i), one.Digest))]);
        foreach (var one in files)
        {
            ExpectOutcome(wire, one.Code);
        }

        ListHas(wire, 33);
        for (int i = 0; i < 64; i += 2)
        {
            Same(Content(i), wire.Get($"{i}.png"), $"what GET of {i}.png brought");
        }

        Same(Notation.Bytes(9), wire.Get("there.png"), "what GET of there.png brought");
    }

    [Test, Clause("AHEAD-1", "CONN-2")]
    public void Server_answers_other_requests_between_PUTs_with_ahead()
    {
        var wire = Connect();
        wire.Send([
            .. Upload("cat.png", Cat, Digest.Right), .. "GET|cat.png\n"u8,
            .. Upload("cat.exe", Cat, Digest.None), .. "PUT|dog.png\n"u8,
            .. Block(Cat, Digest.None), .. "PUT|cat.png\nLIST\n"u8]);
        ExpectOutcome(wire, "");
        Same(Cat, wire.ReceiveAnswer(), "the block");
        ExpectOutcome(wire, "bad-type");
        wire.Expect("OK\nOK\n");
        wire.ExpectError("exists");                     // without the option it is refused at once
        Counts(2, wire.ReceiveAnswer().Count(value => value == '\n'), "lines in the block");
    }

    [Test, Clause("AHEAD-1", "PUT-6")]
    public void Server_reads_a_large_block_to_its_end_that_it_refuses()
    {
        var wire = Connect();
        wire.Send([.. Request("../x.png", Digest.None), .. Notation.U64(5 << 20), .. new byte[5 << 20], .. "LIST\n"u8]);
        ExpectOutcome(wire, "bad-name");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64(0));
    }

    [Test, Clause("AHEAD-1", "PUT-5", "CLOSE-1")]
    public void Server_answers_too_large_at_once_with_ahead()
    {
        var wire = Connect();
        wire.Send([.. Request("cat.png", Digest.Right), .. Notation.U64(1UL << 63)]);
        wire.Expect("OK\n");
        wire.ExpectError("too-large", closes: true);
        Server.MustLack("cat.png");
    }

    [Test, Clause("AHEAD-2", "P4")]
    public void Server_checks_last_whether_the_name_was_taken_during_the_upload()
    {
        ProtocolConnection slow = Connect();
        ProtocolConnection fast = Connect();
        slow.Send(Request("cat.png", Digest.Wrong));
        slow.Expect("OK\n");
        fast.Put("cat.png", Notation.Bytes(12));
        slow.Send(Block(Cat, Digest.Wrong));
        slow.ExpectError("corrupt");
        Same(Notation.Bytes(12), slow.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("AHEAD-2")]
    public void Server_answers_exists_if_the_name_was_taken_when_it_answered_the_request()
    {
        Skip.If(RunSettings.Current.OnWindows, "needs a server that does not hold the files of its folder");

        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send(Request("cat.png", Digest.None));
        wire.Expect("OK\n");
        File.Delete(Server.PathOf("cat.png"));          // by another program, between request and block
        wire.Send(Block(Cat, Digest.None));
        wire.ExpectError("exists");
        ListIs(wire);
    }

    [Test, Clause("AHEAD-1", "PUT-5", "CLOSE-1")]
    public void Server_answers_too_large_before_it_looks_at_the_name(
        [Values("../x.png", "cat.exe", "there.png")] string name)
    {
        Server.Has("there.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send([.. Request(name, Digest.None), .. Notation.U64((ulong)Limits.UploadBytes + 1)]);
        wire.Expect("OK\n");
        wire.ExpectError("too-large", closes: true);
    }

    [Test, Clause("AHEAD-1", "P2")]
    public void Server_stores_the_first_of_two_blocks_for_one_name()
    {
        var wire = Connect();
        wire.Send([
            .. Upload("cat.png", Cat, Digest.None),
            .. Upload("cat.png", Notation.Bytes(12), Digest.None)]);
        ExpectOutcome(wire, "");
        ExpectOutcome(wire, "exists");
        Same(Cat, wire.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("AHEAD-1", "P1")]
    public void Server_shows_an_ahead_upload_only_when_it_is_complete()
    {
        ProtocolConnection slow = Connect();
        ProtocolConnection other = Connect();
        slow.Send(Upload("cat.png", Cat, Digest.None)[..^1]);
        slow.Expect("OK\n");
        ListIs(other);
        Server.MustLack("cat.png");
        slow.Send(Cat.AsSpan(^1..));
        slow.Expect("OK\n");
        Same(Cat, other.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("AHEAD-1", "CLOSE-5", "P1")]
    public void Server_stores_nothing_if_the_client_leaves_inside_an_ahead_upload(
        [Values("cat.png", "cat.exe", "../x.png")] string name)
    {
        byte[] all = Block(Notation.Bytes(20), Digest.Right);
        for (int cut = 0; cut < all.Length; cut++)
        {
            var wire = Connect();
            wire.Send([.. Request(name, Digest.Right), .. all[..cut]]);
            wire.HalfClose();
            wire.Expect("OK\n");
            wire.ExpectEnd();                           // and no reply about the name
            Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
                $"expected  an empty folder after an upload that was cut after {cut} of {all.Length} bytes\n"
                + "received  something stays in it", breaks: "CLOSE-5");
        }

        Connect().List();
    }

    [Test, Clause("AHEAD-1", "P1", "P11")]
    public void Server_keeps_complete_files_after_a_reset_inside_the_next_one()
    {
        for (int i = 0; i < 10; i++)
        {
            var wire = Connect();
            wire.Send(Upload($"{i}.png", Cat, Digest.None));
            ExpectOutcome(wire, "");
            wire.Send(Upload("cut.png", Cat, Digest.None)[..^1]);
            if (i % 2 == 0)
            {
                wire.Expect("OK\n");
            }

            wire.Reset();
        }

        var other = Connect();
        ListHas(other, 10);
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder).Length == 10,
            "a file of a cut upload was not removed", breaks: "CLOSE-5");
    }

    private static readonly (string Name, byte[] Content, Digest Digest, string Code)[] _whereReadOnly =
    [
        ("dog.png",   Cat,  Digest.Right, "denied"),
        ("dog.png",   Cat,  Digest.Wrong, "denied"),
        ("dog.png",   [],   Digest.None,  "empty"),
        ("there.png", Cat,  Digest.None,  "exists"),
        ("there.png", [],   Digest.None,  "exists"),
        ("dog.png",   Page, Digest.None,  "bad-type"),
        ("dog.exe",   Cat,  Digest.None,  "bad-type"),
        ("a/b.png",   Cat,  Digest.None,  "bad-name"),
    ];

    [Test, Clause("AHEAD-2", "AHEAD-1", "PUT-7")]
    public void Server_that_is_read_only_refuses_after_the_block()
    {
        var server = Start(with: "read-only");
        server.Has("there.png", Notation.Bytes(9));
        var wire = Connect(server);
        foreach (var (name, content, digest, code) in _whereReadOnly)
        {
            wire.Send(Upload(name, content, digest));
            ExpectOutcome(wire, code);
        }

        ListHas(wire, 1);
    }
}
