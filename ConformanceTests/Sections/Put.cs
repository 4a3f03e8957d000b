namespace ConformanceTests.Sections;

/// <summary>PUT: uploads, and why they are refused.</summary>
public sealed class Puts : ServerFixture
{
    private static readonly (string Name, string Code)[] _atOnce =
    [
        ("cat.png", "exists"),
        ("cat.exe", "bad-type"),
        ("a/b.png", "bad-name"),
    ];

    [Test, Clause("PUT-1")]
    public void Server_refuses_a_PUT_without_waiting_for_its_block()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (var (name, code) in _atOnce)
        {
            wire.ExpectRefusal($"PUT|{name}", code);
        }

        ListHas(wire, 1);
    }

    [Test, Clause("PUT-2")]
    public void Server_answers_exists_to_the_second_PUT_of_a_name()
    {
        var wire = Connect();
        wire.Put("cat.png", Notation.Bytes(20));
        wire.ExpectRefusal("PUT|cat.png", "exists");
        Same(Notation.Bytes(20), wire.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("PUT-10")]
    public void Server_accepts_a_block_that_arrives_before_the_go_ahead()
    {
        var wire = Connect();
        var picture = Notation.Bytes(100_000);
        wire.Send([.. "PUT|cat.png\n"u8, .. Notation.U64(100_000), .. picture]);
        wire.Expect("OK\nOK\n");
        Same(picture, wire.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("PUT-5", NotBefore = Stages.ManyClients)]
    public void Server_accepts_1_GiB_and_answers_too_large_to_one_byte_more()
    {
        var server = Start();                           // with the limit of Protocol.md
        ProtocolConnection at = Connect(server);
        ProtocolConnection beyond = Connect(server);
        at.Send("PUT|a.png\n");
        beyond.Send("PUT|b.png\n");
        at.Expect("OK\n");
        beyond.Expect("OK\n");
        beyond.ExpectRefusal(Notation.U64((ulong)Limits.UploadBytes + 1), "too-large", closes: true);
        at.Send([.. Notation.U64((ulong)Limits.UploadBytes), .. Notation.Bytes(100)]);
        Connect(server).List();
        Demand(!at.HasMore, "the server to wait for a block of exactly 1 GiB", "something comes before its end");
    }

    [Test, Clause("PUT-9", "ERR-2")]
    public void Server_answers_empty_to_a_length_of_0([Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        for (int i = 0; i < 3; i++)
        {
            wire.Send([.. "PUT|cat.png\n"u8, .. Notation.U64(0), .. "LIST\n"u8]);
            wire.Expect("OK\n");
            wire.ExpectError("empty");
            wire.Expect("OK\n");
            wire.ExpectBytes(Notation.U64(0));
        }

        wire.Put("cat.png", Notation.Bytes(9));         // the name is still free
    }

    [Test, Clause("PUT-6", "DIGEST-2")]
    public void Server_sends_the_first_error_that_applies_to_a_block()
    {
        ProtocolConnection slow = Connect();
        ProtocolConnection fast = Connect();
        slow.Ask("PUT|cat.png|digest=sha256");
        fast.Put("cat.png", Notation.Bytes(12));
        slow.ExpectRefusal([.. Notation.U64(12), .. Notation.Bytes(12), .. new byte[32]], "corrupt");
        slow.BeginPut("dog.png|digest=sha256", 12, [.. new byte[12], .. new byte[32]]);
        slow.ExpectError("bad-type");
        slow.List();
    }

    [Test, Clause("PUT-6")]
    public void Server_refuses_a_block_only_after_its_last_byte()
    {
        var wire = Connect();
        wire.BeginPut("cat.png", 2 << 20, new byte[(2 << 20) - 1]);
        ExpectNothingYet(wire);
        wire.ExpectRefusal([0], "bad-type");
        wire.List();
    }

    [Test, Clause("PUT-6", "CONN-3")]
    public void Server_reads_a_large_refused_block_to_its_end()
    {
        var wire = Connect();
        wire.BeginPut("cat.png", 5 << 20, [.. new byte[5 << 20], .. "LIST\n"u8]);
        wire.ExpectError("bad-type");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64(0));
    }

    private static readonly (string Name, string Code)[] _whereReadOnly =
    [
        ("dog.png", "denied"),
        ("cat.png", "exists"),
        ("dog.exe", "bad-type"),
        ("a/b.png", "bad-name"),
    ];

    [Test, Clause("PUT-7", "ERR-1")]
    public void Server_that_is_read_only_refuses_every_PUT()
    {
        var server = Start(with: "read-only");
        server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect(server);
        foreach (var (name, code) in _whereReadOnly)
        {
            wire.ExpectRefusal($"PUT|{name}", code);
        }

        Counts(9, wire.Get("cat.png").Length, "bytes in what GET of cat.png brought");
    }

    [Test, Clause("DIGEST-2")]
    public void Server_compares_the_digest_of_a_large_upload()
    {
        var picture = Notation.Bytes((5 << 20) + 3);
        var wire = Connect();
        wire.BeginPut("big.png|digest=sha256", picture.Length, [.. picture, .. SHA256.HashData(picture)]);
        wire.Expect("OK\n");
        Same(picture, wire.Get("big.png"), "what GET of big.png brought");
    }
}
