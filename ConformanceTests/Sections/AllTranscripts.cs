using NUnit.Framework.Internal;

namespace ConformanceTests.Sections;

/// <summary>Every transcript of Protocol.md, in three deliveries, against a server.</summary>
[RunOrder(2)]
public sealed class Transcripts : ServerFixture
{
    // The ids of the clauses are categories, so --filter TestCategory=GET-3 runs the transcripts of GET-3.
    public static TestCaseData Case(Transcript transcript, Delivery delivery) =>
        transcript.Ids.Aggregate(new TestCaseData(transcript, delivery), (data, id) => data.SetCategory(id))
            .SetProperty(PropertyNames.Order, Stages.Of(ClauseAttribute.ClausesOf([], transcript), [transcript]));

    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in ProtocolSpecification.Transcripts
        where !transcript.ClientOnly
        from delivery in Enum.GetValues<Delivery>()
        select Case(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) =>
        TranscriptPlayer.AgainstServer(transcript, NeedsItsOwn(transcript) ? Start() : Server, delivery);

    // STATUS shows every connection of a server, so its transcripts need one that no other test has used.
    private static bool NeedsItsOwn(Transcript transcript) => transcript.Ids.Any(id => id.StartsWith("STATUS"));
}

[RunOrder(2)]
public sealed class ClientTranscripts : ClientFixture
{
    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in ProtocolSpecification.Transcripts
        where transcript.Command is not null
        from delivery in Enum.GetValues<Delivery>()
        select Transcripts.Case(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause]
    public void Play(Transcript transcript, Delivery delivery) =>
        TranscriptPlayer.AgainstClient(transcript, Listener, Folder, delivery, Scope);
}
