namespace ConformanceTests.Reference;

/// <summary>Where the log goes, and what the server does when there is nothing to do.</summary>
[Reference]
public sealed class AtRest : ServerFixture
{
    [Test, Clause("P6")]
    public void It_rests_in_every_state()
    {
        var server = Start("--max-clients 6");
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
        ended.HalfClose();
        Connect(server).ExpectError("busy");
        closing.Send("LIST\r\n");                       // from now on it is no client any more
        idle.List();
        Thread.Sleep(300);
        var before = server.Program.CpuTime;
        Thread.Sleep(2000);
        Assert.That((server.Program.CpuTime - before).TotalMilliseconds, Is.LessThan(400));
    }

    [Test, Clause("P11")]
    public void A_log_that_cannot_be_written_ends_nothing()
    {
        Skip.If(!File.Exists("/dev/full"), "needs /dev/full");

        var server = Start(launcher: "sh -c 'exec \"$@\" 2>/dev/full' sh");
        Repeat(20, () => Connect(server).List());
    }

    [Test, Clause("P6")]
    public void A_log_that_nobody_reads_stops_nothing()
    {
        var server = Start("--trace", drain: false);
        var wire = Connect(server);
        wire.Put("cat.png", Notation.Bytes(9));
        Repeat(5000, () => wire.Get("cat.png"));
    }
}
