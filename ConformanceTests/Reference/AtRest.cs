namespace ConformanceTests.Reference;

/// <summary>The server while there is nothing to do, in the open and inside TLS.</summary>
[TestFixture(Channel.Open)]
[TestFixture(Channel.Sealed)]
[Reference]
public sealed class AtRest(Channel channel) : EitherChannelFixture(channel)
{
    [Test, Clause("P6")]
    public void Server_uses_no_CPU_while_clients_wait()
    {
        var server = IsSealed ? Start(with: "max-clients=20", key: KeyFile) : Start(with: "max-clients=6");
        server.Has("big.png", Notation.Bytes(32 << 20));
        ProtocolConnection idle = Connect(server);
        ProtocolConnection half = Connect(server);
        ProtocolConnection upload = Connect(server);
        ProtocolConnection stalled = Connect(server);
        ProtocolConnection ended = Connect(server);
        ProtocolConnection closing = Connect(server);
        idle.List();
        half.Send("LIS");
        upload.Ask("PUT|cat.png");
        upload.Send(Notation.U64(1000));
        stalled.Send("GET|big.png\nGET|big.png\n");
        ended.Send("GET|big.png\n");
        if (IsSealed)
        {
            ((SealedConnection)ended).Tls.SendCloseNotify();
            SealedConnection record = Enter(server);
            record.Tls.Write(record.Tls.Record(Tls.Data, "LIST\n"u8).AsSpan(..^1));
            for (int step = 0; step < 4; step++)
            {
                HalfMade(step, server);
            }
        }
        else
        {
            ended.HalfClose();
            Connect(server).ExpectError("busy");
        }

        closing.Send("LIST\r\n");                       // from now on this connection does not count as a client
        idle.List();
        Thread.Sleep(300);
        var before = server.Program.CpuTime;
        Thread.Sleep(2000);
        Assert.That((server.Program.CpuTime - before).TotalMilliseconds, Is.LessThan(400));
    }
}
