namespace ConformanceTests.Sections;

/// <summary>AHEAD-3: a client that sends blocks right after their requests.</summary>
public sealed class ClientAhead : ClientFixture
{
    // ---- any client that accepts several files and uses the option ----

    internal sealed record Upload(string Name, string[] Options);

    internal static Upload ReceiveRequest(ProtocolConnection wire)
    {
        string[] fields = wire.ReceiveLine("PUT|…\\n").Split('|');
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

    // Four pictures for a client. A client does not have to accept several files, or to send any of them ahead.
    private (ChildProgram Client, ProtocolConnection Wire, Upload First) RunWithFour() =>
        RunWith([1000, 1001, 1002, 1003]);

    private (ChildProgram Client, ProtocolConnection Wire, Upload First) RunWith(int[] sizes)
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

    [Test, Clause("AHEAD-3", "AHEAD-1")]
    public void Client_sends_four_files_to_a_server_that_knows_ahead()
    {
        var (client, wire, next) = RunWithFour();
        for (int i = 0; i < 4; i++)
        {
            wire.Send("OK\n");
            Same(Notation.Bytes(1000 + next.Name[0] - '0'), ReceiveBlock(wire, next), $"the block of {next.Name}");
            wire.Send("OK\n");
            if (i < 3)
            {
                next = ReceiveRequest(wire);
            }
        }

        wire.ExpectEnd();
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
            }
            else
            {
                wire.Send("OK\n");
                Same(Notation.Bytes(1000 + next.Name[0] - '0'), ReceiveBlock(wire, next), $"the block of {next.Name}");
                wire.Send("OK\n");
                Demand(stored.Add(next.Name), "each file sent once", $"{next.Name} is sent twice");
            }

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
        client.MustFail();
    }

    // What the client sends after its first file, without an answer. A client that waits for its go-ahead sends no
    // block.
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
        var (client, wire, first) = RunWith([1000, Large, 1001, 1002, Large]);
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
