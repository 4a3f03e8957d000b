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

    // Each byte has 60 s, and not all of them together.
    [Test, Slow, Clause("CLI-9", "CLI-5")]
    public void Client_waits_for_a_server_that_is_slow_but_sends()
    {
        var (client, wire, digest) = Begin("GET");
        byte[] answer = [.. "OK\n"u8, .. Block(Notation.Bytes(9), digest)];
        int[] cuts = [0, 2, 5, 15, answer.Length];
        for (int i = 1; i < cuts.Length; i++)
        {
            wire.RestsFor(RunSettings.Milliseconds(17_000));
            wire.Send(answer.AsSpan(cuts[i - 1]..cuts[i]));
        }

        client.MustSucceed();
    }
}
