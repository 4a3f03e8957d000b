namespace ConformanceTests.Harness.Grading;

/// <summary>Whether a connection is plain or inside TLS.</summary>
public enum Channel { Open, Sealed }

/// <summary>When a client sends the block of an upload: after the go-ahead, or with the request.</summary>
public enum Uploads { AfterTheGoAhead, Ahead }

/// <summary>
/// Tests that run twice: on plain connections and inside TLS. The fixture has a [TestFixture] for each. Inside TLS, its
/// tests are also about SEAL-7.
/// </summary>
public abstract class EitherChannelFixture(Channel channel) : SealedFixture
{
    protected bool IsSealed => channel == Channel.Sealed;

    protected override ConcurrentBag<RunningServer> Idle => IsSealed ? base.Idle : OpenServers;

    protected override RunningServer Launch() => IsSealed ? base.Launch() : new RunningServer();

    protected override ProtocolConnection Connect(RunningServer server, Delivery delivery = Delivery.Whole) =>
        IsSealed ? Enter(server, delivery) : base.Connect(server, delivery);
}
