namespace ConformanceTests.Sections;

/// <summary>GET, OFFSET, DIGEST: downloads.</summary>
public sealed class Gets : ServerFixture
{
    [Test, Clause("GET-2", "P10")]
    public void Server_answers_not_found_to_GET_of_an_unlisted_entry()
    {
        HostileFolder.Fill(Server.Folder, NewFolder());
        var wire = Connect();
        foreach (string name in HostileFolder.Names)
        {
            wire.ExpectRefusal($"GET|{name}", "not-found");
        }

        HostileFolder.ExpectListed(wire.List());
    }

    [Test, Clause("GET-2", "OFFSET-1")]
    public void Server_answers_not_found_to_GET_of_an_empty_file_with_any_offset([Values(0, 1)] int offset)
    {
        Server.Has("empty.png", []);
        Connect().ExpectRefusal($"GET|empty.png|offset={offset}", "not-found");
    }

    [Test, Clause("GET-1", "BLOCK-1", NotBefore = Stages.ManyClients)]
    public void Server_sends_a_file_that_is_larger_than_the_kernel_buffers()
    {
        var picture = Notation.Bytes(24 << 20);
        Server.Has("big.png", picture);
        ProtocolConnection slow = ConnectSlow();
        ProtocolConnection other = Connect();
        slow.Send("GET|big.png\nLIST\n");
        Repeat(5, () => other.List());       // by now a send of the server was partial
        Same(picture, slow.ReceiveAnswer(), "the block");
        slow.ReceiveAnswer();
    }

    [Test, Clause("DIGEST-1")]
    public void Server_sends_the_digest_of_a_large_file()
    {
        var picture = Notation.Bytes((5 << 20) + 3);
        Server.Has("big.png", picture);
        var wire = Connect();
        wire.Send("GET|big.png|digest=sha256\nLIST\n");
        Same(picture, wire.ReceiveAnswer(), "the block");
        wire.ExpectBytes(SHA256.HashData(picture));
        wire.ReceiveAnswer();
    }

    [Test, Clause("OFFSET-1", "DIGEST-1")]
    public void Server_sends_the_rest_of_a_file_from_any_offset(
        [Values(0, 1, 8, 1000, 1 << 20, (3 << 20) - 1, 3 << 20)] int offset)
    {
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        var wire = Connect();
        Same(picture[offset..], wire.AskForBlock($"GET|big.png|offset={offset:D20}|digest=sha256"), "the block");
        wire.ExpectBytes(SHA256.HashData(picture));
        Same(picture[offset..], wire.AskForBlock($"GET|big.png|offset={offset}"), "the block");
        wire.List();
    }

    [Test, Clause("DIGEST-1", "OFFSET-1")]
    public void Server_sends_the_digest_of_the_whole_file_with_an_offset()
    {
        var picture = Notation.Bytes(40 << 20);
        Server.Has("big.png", picture);
        var wire = Connect();
        Same(picture[(33 << 20)..], wire.AskForBlock($"GET|big.png|offset={33 << 20}|digest=sha256"), "the block");
        wire.ExpectBytes(SHA256.HashData(picture));
    }

    [Test, Clause("OFFSET-1")]
    public void Server_accepts_offsets_beyond_2_and_4_GiB([Values(1L << 31, (1L << 32) + 9)] long offset)
    {
        Skip.If(RunSettings.Current.OnWindows, "needs a file with a hole in it");

        byte[] end = Notation.Bytes(100);
        Server.Has("big.png", Notation.Bytes(8));
        try
        {
            using var file = LocalFiles.Open(Server.PathOf("big.png"), FileAccess.Write);
            file.Seek(offset, SeekOrigin.Begin);        // the hole needs no space
            file.Write(end);
        }
        catch (IOException)
        {
            Skip.Because("needs a file system that takes a file of 4 GiB");
        }

        var wire = Connect();
        wire.Ask($"GET|big.png|offset={offset}");
        wire.ExpectBytes([.. Notation.U64(100), .. end]);
        wire.List();
    }

    [Test, Clause("OFFSET-2")]
    public void Server_answers_bad_offset_beyond_the_end(
        [Values("10", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
                "18446744073709551615", "18446744073709551616", "99999999999999999999")] string offset)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.ExpectRefusal($"GET|cat.png|offset={offset}", "bad-offset");
        wire.List();
    }
}

/// <summary>GET of a file that changes while it is sent.</summary>
public sealed class ServedFilesThatChange : ServerFixture
{
    [Test, Slow, Clause("REPLY-1", "GET-3", "OFFSET-1", "DIGEST-1", NotBefore = Stages.ManyClients)]
    public void Server_sends_one_answer_if_the_file_shrinks_before_it()
    {
        // The server hashes all of it before it sends the last ten bytes, which takes longer than a listing.
        const long Size = 1L << 29;
        LocalFiles.SetLength(Server.PathOf("big.png"), Size);
        ProtocolConnection wire = Connect();
        ProtocolConnection other = Connect();
        wire.Send($"GET|big.png|offset={Size - 10}|digest=sha256\n");
        other.List();
        LocalFiles.SetLength(Server.PathOf("big.png"), 1 << 20);

        string answer = wire.ReceiveLine();
        if (answer != "OK")
        {
            Demand(answer.StartsWith("ER|storage|") || answer.StartsWith("ER|bad-offset|"),
                "ER|storage|… or ER|bad-offset|…", answer);
            ListHas(wire, 1);
            return;
        }

        wire.ExpectBytes(Notation.U64(10));
        wire.HalfClose();
        byte[] rest = wire.ReceiveRest();
        Demand(rest.Take(10).All(value => value == 0), "no bytes but those of the file",
            "bytes that are not in the file");
        Demand(rest.Length is < 10 or 10 + 32, "an end before the block is complete", $"{rest.Length} bytes of it");
    }
}
