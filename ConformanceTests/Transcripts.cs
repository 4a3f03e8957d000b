// Every transcript of Protocol.md, in three deliveries.

using NUnit.Framework.Internal;

[Order(2)]
public sealed class Transcripts : ServerConformance
{
    // With the sentences as categories: --filter TestCategory=GET-3 runs what proves that one.
    public static TestCaseData Case(Transcript transcript, Delivery delivery) =>
        transcript.Ids.Aggregate(new TestCaseData(transcript, delivery), (data, id) => data.SetCategory(id))
            .SetProperty(PropertyNames.Order, Stages.Of([.. transcript.Ids.Select(Spec.Find)]));

    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in Spec.Transcripts
        where !transcript.ClientOnly
        from delivery in Enum.GetValues<Delivery>()
        select Case(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) =>
        Player.AgainstServer(transcript, NeedsItsOwn(transcript) ? Start() : Server, delivery);

    // STATUS tells of every connection that a server has had.
    private static bool NeedsItsOwn(Transcript transcript) => transcript.Ids.Any(id => id.StartsWith("STATUS"));
}

[Order(2)]
public sealed class ClientTranscripts : ClientConformance
{
    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in Spec.Transcripts
        where transcript.Command is not null
        from delivery in Enum.GetValues<Delivery>()
        select Transcripts.Case(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) =>
        Player.AgainstClient(transcript, Listener, Folder, delivery);
}
