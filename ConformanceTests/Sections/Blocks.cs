namespace ConformanceTests.Sections;

/// <summary>BLOCK: lengths and blocks.</summary>
public sealed class Blocks : ServerFixture
{
    private static readonly int[] _sizes =
    [
        8, 9, 255, 256, 1023, 1024, 1025, 4096, 8191, 65535, 65536, 65537,
        (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20,
    ];

    [TestCaseSource(nameof(_sizes)), Clause("BLOCK-1", "PUT-2", "GET-1")]
    public void Server_stores_and_returns_the_same_bytes(int size)
    {
        var wire = Connect();
        var picture = Notation.Bytes(size);
        wire.Put("cat.png", picture);
        var stored = Server.Stored("cat.png");
        Same(picture, stored, "the file as it was stored");
        Same(picture, wire.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("BLOCK-1")]
    public void Server_does_not_interpret_the_content_of_a_block()
    {
        byte[] marks =
        [
            .. Notation.Bytes(8),
            .. "\r\n\n\0\x1a\nOK\nER|x|y\nLIST\nEOF<END>\r\n.\r\n"u8,
            .. Enumerable.Range(0, 256).Select(i => (byte)i),
            0xEF, 0xBB, 0xBF,
        ];
        var wire = Connect(Delivery.ByteByByte);
        wire.Put("marks.png", marks);
        Same(marks, wire.Get("marks.png"), "what GET of marks.png brought");
        wire.List();
    }

    [Test, Clause("BLOCK-1", "CONN-3")]
    public void Server_accepts_request_block_and_next_request_in_one_piece()
    {
        var wire = Connect();
        var picture = Notation.Bytes(50);
        wire.Send([.. "PUT|a.png\n"u8, .. Notation.U64(50), .. picture, .. "GET|a.png\nLIST\n"u8]);
        wire.Expect("OK\nOK\nOK\n");
        wire.ExpectBytes([.. Notation.U64(50), .. picture, .. "OK\n"u8]);
        Counts(30, wire.ReceiveBlock().Length, "bytes in the block");
    }

    private static readonly ulong[] _lies =
    [
        1UL << 31, 1UL << 32, (1UL << 32) + 9, long.MaxValue, 1UL << 63, ulong.MaxValue - 1, ulong.MaxValue,
    ];

    [TestCaseSource(nameof(_lies)), Clause("BLOCK-2", "PUT-5", "CLOSE-1")]
    public void Server_answers_too_large_to_a_length_above_the_limit(ulong length)
    {
        var wire = Connect();
        wire.Ask("PUT|cat.png");
        wire.ExpectRefusal(Notation.U64(length), "too-large", closes: true);
        Server.MustLack("cat.png");
        Connect().List();
    }

    [Test, Clause("BLOCK-2", "PUT-5", "DIGEST-2")]
    public void Server_answers_too_large_to_an_upload_with_a_digest(
        [Values((1UL << 32) + 9, 1UL << 63, ulong.MaxValue)] ulong length) => Refuses("digest=sha256", length);

    [Test, Clause("BLOCK-2", "PUT-5", "AHEAD-1")]
    public void Server_answers_too_large_to_an_upload_with_ahead(
        [Values((1UL << 32) + 9, 1UL << 63, ulong.MaxValue)] ulong length) => Refuses("ahead", length);

    private void Refuses(string option, ulong length)
    {
        var wire = Connect();
        wire.BeginPut($"cat.png|{option}", (long)length, Notation.Bytes(9));
        wire.ExpectError("too-large", closes: true);
        Server.MustLack("cat.png");
    }

    [Test, Clause("BLOCK-4", "P7")]
    public void Server_reserves_no_disk_space_for_announced_lengths([Values(1 << 30, 100 << 20, 4 << 20)] int length)
    {
        var wires = Enumerable.Range(0, 40).Select(_ => Connect()).ToArray();
        for (int i = 0; i < wires.Length; i++)
        {
            wires[i].BeginPut($"{i}.png", length, Notation.Bytes(10));
        }

        ListIs(Connect());
        // The length of a file does not say how much space it uses on the disk.
        Skip.If(OperatingSystem.IsWindows(), "needs du");

        using var du = Process.Start(
            new ProcessStartInfo("du", ["-sk", Server.Folder]) { RedirectStandardOutput = true })!;
        int disk = int.Parse(du.StandardOutput.ReadToEnd().Split('\t')[0]);
        Demand(disk < 2048, "no space used on the disk for lengths whose bytes have not arrived",
            $"{disk} KiB are taken");
    }

    [Test, Clause("BLOCK-3", "DIGEST-2")]
    public void Server_reads_the_digest_after_the_block_and_does_not_store_it()
    {
        var wire = Connect(Delivery.ThreeBytes);
        var picture = Notation.Bytes(77);
        wire.BeginPut("a.png|digest=sha256", 77, [.. picture, .. SHA256.HashData(picture), .. "GET|a.png\n"u8]);
        wire.Expect("OK\nOK\n");
        wire.ExpectBytes([.. Notation.U64(77), .. picture]);
    }
}
