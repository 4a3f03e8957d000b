// Every transcript of Protocol.md, in three deliveries.

public sealed class Transcripts : ServerConformance
{
    static IEnumerable<object[]> Cases() => from transcript in Spec.Transcripts where !transcript.ClientOnly from delivery in Enum.GetValues<Delivery>() select new object[] { transcript, delivery };

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) =>
        Player.AgainstServer(transcript, transcript.Ids.Any(id => id.StartsWith("STATUS")) ? Start() : Server, delivery);
}

public sealed class ClientTranscripts : ClientConformance
{
    static IEnumerable<object[]> Cases() => from transcript in Spec.Transcripts where transcript.Command is not null from delivery in Enum.GetValues<Delivery>() select new object[] { transcript, delivery };

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) => Player.AgainstClient(transcript, Listener, Folder, delivery);
}
