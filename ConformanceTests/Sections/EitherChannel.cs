namespace ConformanceTests.Sections;

/// <summary>The same in the open and inside TLS (SEAL-7).</summary>
[TestFixture(Channel.Open)]
[TestFixture(Channel.Sealed)]
public sealed class EitherChannel(Channel channel) : EitherChannelFixture(channel)
{
    [Test, Clause("CONN-2", "LIST-1")]
    public void Server_answers_a_thousand_requests_sent_before_the_first_answer_is_read()
    {
        for (int i = 0; i < 20; i++)
        {
            Server.Has($"{i}.png", Notation.Bytes(300));
        }

        var wire = Connect();
        string requests = string.Concat(Enumerable.Repeat("LIST\n", 1000));
        var sending = Task.Run(() => wire.Send(requests));
        Repeat(1000, () => Counts(10 * 31 + 10 * 32, wire.ReceiveAnswer().Length, "bytes in the block"));

        Demand(sending.Wait(RunSettings.Patience), "all of the requests to be accepted", "they were not all accepted");
    }

    [Test, Clause("P6")]
    public void Server_serves_fifty_clients_at_once()
    {
        var wires = Enumerable.Range(0, 50).Select(_ => Connect()).ToArray();
        Parallel.For(0, wires.Length, new ParallelOptions { MaxDegreeOfParallelism = 50 }, i =>
        {
            byte[] picture = Notation.Bytes(10_000 + i);
            wires[i].Put($"{i}.png", picture);
            Same(picture, wires[i].Get($"{i}.png"), $"what GET of {i}.png brought");
        });
        ListHas(Connect(), 50);
    }

    [Test, Clause("CLOSE-1")]
    public void Server_sends_bad_request_so_that_it_arrives_when_more_bytes_follow()
    {
        for (int i = 0; i < 50; i++)
        {
            var wire = Connect();
            wire.Send("LIST\r\n" + new string('x', 5000));
            wire.ExpectError("bad-request", closes: true);
        }
    }

    [Test, Clause("CLOSE-1")]
    public void Server_sends_a_large_block_completely_before_a_closing_reply()
    {
        // Closing at once would discard what the kernel has not sent yet, since there is unread input.
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        ProtocolConnection wire = Connect();
        ProtocolConnection other = Connect();
        wire.Send("GET|big.png\nLIST\r\n" + new string('x', 50_000));
        Repeat(5, () => other.List());

        Same(picture, wire.ReceiveAnswer(), "the block");
        wire.ExpectError("bad-request", closes: true);
    }
}
