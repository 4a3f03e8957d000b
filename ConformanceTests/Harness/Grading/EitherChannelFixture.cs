namespace ConformanceTests.Harness.Grading;

/// <summary>How a client and a server talk: in the open, or inside TLS.</summary>
public enum Channel { Open, Sealed }

/// <summary>When a client sends the block of an upload: after the go-ahead, or with the request.</summary>
public enum Uploads { AfterTheGoAhead, Ahead }

/// <summary>
/// Tests that run twice, in the open and inside TLS. The fixture has a [TestFixture] for each; inside TLS its tests are
/// about SEAL-7 as well.
/// </summary>
public abstract class EitherChannelFixture(Channel channel) : SealedFixture
{
    protected bool IsSealed => channel == Channel.Sealed;

    protected override ConcurrentBag<RunningServer> Idle => IsSealed ? base.Idle : OpenServers;

    protected override RunningServer Launch() => IsSealed ? base.Launch() : new RunningServer();

    protected override ProtocolConnection Connect(RunningServer server, Delivery delivery = Delivery.Whole) =>
        IsSealed ? Enter(server, delivery) : base.Connect(server, delivery);
}
