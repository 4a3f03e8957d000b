namespace ConformanceTests.Sections;

[RunOrder(1)]                                              // what waits longest begins first
public sealed class ClientDeadlines : ClientFixture
{
    [Test, Slow, Clause("CLI-9")]
    public void Client_gives_up_if_the_server_sends_nothing()
    {
        var (client, wire, _) = Begin("LIST");
        client.MustFail(RunSettings.Milliseconds(75_000));
    }
}
