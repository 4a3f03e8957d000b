namespace ConformanceTests.Sections;

/// <summary>AHEAD-3: a client that sends blocks right after their requests.</summary>
public sealed class ClientAhead : ClientFixture
{
    internal sealed record Upload(string Name, string[] Options);

    internal static Upload ReceiveRequest(ProtocolConnection wire) => Parsed(wire.ReceiveLine("PUT|…\\n"));

    private static Upload Parsed(string line)
    {
        string[] fields = line.Split('|');
        Demand(fields[0] == "PUT", "a PUT, and no block before its go-ahead", string.Join('|', fields));
        return new Upload(fields[1], fields[2..]);
    }

    internal static byte[] ReceiveBlock(ProtocolConnection wire, Upload upload)
    {
        var content = wire.ReceiveBlock();
        if (upload.Options.Contains("digest=sha256"))
        {
            wire.ExpectBytes(SHA256.HashData(content));
        }

        return content;
    }

    // Starts a client with pictures of these sizes, and receives its first request. Skips the test if the client does
    // not take several files, or does not use ahead.
    private (ChildProgram Client, ProtocolConnection Wire, Upload First) RunWith(params int[] sizes)
    {
        for (int i = 0; i < sizes.Length; i++)
        {
            Give($"{i}.png", Notation.Bytes(sizes[i]));
        }

        string others = string.Join(' ', Enumerable.Range(1, sizes.Length - 1).Select(i => $"{i}.png"));
        var client = Run("PUT", "0.png", others);
        Skip.IfNotOffered(!Connects(client), "the client takes one file");

        var wire = Accept();
        var first = ReceiveRequest(wire);
        Skip.IfNotOffered(!first.Options.Contains("ahead"), "the client does not use ahead");

        return (client, wire, first);
    }

    private (ChildProgram Client, ProtocolConnection Wire, Upload First) RunWithFour() =>
        RunWith(1000, 1001, 1002, 1003);

    private static void ReceiveOneOfFour(ProtocolConnection wire, Upload upload) =>
        Same(Notation.Bytes(1000 + upload.Name[0] - '0'), ReceiveBlock(wire, upload), $"the block of {upload.Name}");

    // Receives all four files, and answers the block of 1.png with this line.
    private static void ReceiveFour(ProtocolConnection wire, Upload first, string reply)
    {
        for (int i = 0; i < 4; i++)
        {
            Upload next = i == 0 ? first : ReceiveRequest(wire);
            wire.Send("OK\n");
            ReceiveOneOfFour(wire, next);
            wire.Send(next.Name == "1.png" ? reply : "OK\n");
        }

        wire.ExpectEnd();
    }

    [Test, Clause("AHEAD-3", "AHEAD-1")]
    public void Client_sends_four_files_to_a_server_that_knows_ahead()
    {
        var (client, wire, first) = RunWithFour();
        ReceiveFour(wire, first, "OK\n");
        client.MustSucceed();
    }

    [Test, Clause("AHEAD-3", "CLI-7", "CONF-1")]
    public void Client_sends_no_block_before_the_first_go_ahead_or_after_unsupported()
    {
        var (client, wire, next) = RunWithFour();
        var stored = new HashSet<string>();
        for (int requests = 1; ; requests++)
        {
            Demand(requests < 20, "each file asked for a few times at most", "the client asks again and again");
            if (next.Options.Length > 0)
            {
                wire.Send("ER|unsupported|this server has no extensions\n");
                string? line = NextRequest(client, ref wire);           // on this connection or on a new one
                Skip.IfNotOffered(line is null, "the client does not ask again without options");
                next = Parsed(line!);
                continue;
            }

            wire.Send("OK\n");
            ReceiveOneOfFour(wire, next);
            wire.Send("OK\n");
            Demand(stored.Add(next.Name), "each file sent once", $"{next.Name} is sent twice");
            if (stored.Count == 4)
            {
                break;
            }

            next = ReceiveRequest(wire);
        }

        wire.ExpectEnd();
        client.MustSucceed();
    }

    [Test, Clause("AHEAD-3", "CLI-5")]
    public void Client_continues_with_the_next_file_after_a_refused_block()
    {
        var (client, wire, first) = RunWithFour();
        ReceiveFour(wire, first, "ER|exists|it is here\n");
        client.MustFail();
    }

    [Test, Clause("AHEAD-3", "AHEAD-1", "CLI-5")]
    public void Client_fails_if_the_block_of_its_only_file_is_refused()
    {
        var (client, wire, first) = RunWith(1000);
        wire.Send("OK\n");
        ReceiveOneOfFour(wire, first);
        wire.Send("ER|storage|the disk is full\n");
        wire.ExpectEnd();
        client.MustFail();
    }

    // Returns the blocks that the client sends after its first file although nothing is answered. A client that waits
    // for the go-ahead sends none.
    private static List<byte[]> ReceiveUnanswered(ProtocolConnection wire, Upload first)
    {
        bool Comes() => wire.HasMore || wire.Socket.Poll(RunSettings.Milliseconds(1_000) * 1000, SelectMode.SelectRead);

        wire.Send("OK\n");
        ReceiveBlock(wire, first);
        wire.Send("OK\n");
        var blocks = new List<byte[]>();
        while (Comes() && !wire.IsAtItsEnd)
        {
            var upload = ReceiveRequest(wire);
            if (!Comes())
            {
                break;
            }

            blocks.Add(ReceiveBlock(wire, upload));
        }

        return blocks;
    }

    [Test, Clause("AHEAD-4")]
    public void Client_sends_only_small_files_without_waiting()
    {
        const int Large = 4 << 20;
        var (client, wire, first) = RunWith(1000, Large, 1001, 1002, Large);
        var blocks = ReceiveUnanswered(wire, first);
        Demand(blocks.All(block => block.Length < Large), $"the go-ahead waited for before a file of {Large} bytes",
            "its block, which is sent in vain if the server refuses the file");
        client.Kill();
    }

    [Test, Clause("AHEAD-5")]
    public void Client_leaves_no_more_PUTs_unanswered_than_allowed()
    {
        int most = Limits.AheadRequests;
        var (client, wire, first) = RunWith([.. Enumerable.Repeat(100, most + 72)]);
        int count = ReceiveUnanswered(wire, first).Count;
        Demand(count <= most, $"at most {most} PUTs without an answer", $"{count}");
        client.Kill();
    }
}
