namespace ConformanceTests.Sections;

/// <summary>CLI-9: a client whose server sends nothing.</summary>
[RunOrder(1)]                                              // the tests that wait longest start first
public sealed class ClientDeadlines : ClientFixture
{
    [Test, Slow, Clause("CLI-9")]
    public void Client_gives_up_if_the_server_sends_nothing()
    {
        var (client, wire, _) = Begin("LIST");
        client.MustFail(RunSettings.Milliseconds(75_000));
    }
}
