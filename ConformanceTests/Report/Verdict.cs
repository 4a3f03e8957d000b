using System.Text.Json.Serialization;

namespace ConformanceTests.Report;

// Outcome: passed, failed, advice (a SHOULD that is not kept), not offered, not looked at. Message is the failure's
// text, or why it was not looked at.
public sealed record Verdict(int Stage, string Clause, string Test, string Outcome, string Message)
{
    public string Fixture { get; init; } = "";          // two of them may have tests of one name

    [JsonIgnore] public Failure? Failure { get; init; }

    [JsonIgnore] public bool HasFailed => Outcome == "failed";

    [JsonIgnore] public bool IsWrong => Outcome is "failed" or "advice";

    [JsonIgnore] public bool Counts => IsWrong || Outcome == "passed";

    // The clause that the test is about; Clause is the one that turns out to be broken.
    [JsonIgnore] public string TestedClause { get; } = Clause;

    [JsonIgnore] public int Line { get; } = ProtocolSpecification.Find(Clause).Line;

    // A transcript, or a test, without the delivery that this one was in.
    [JsonIgnore] public string Conversation => Regex.Replace(Test, @"(, |\()(Whole|ThreeBytes|ByteByByte)\)?$", "");

    // The pieces in which the suite sent, if the test has that as an argument.
    [JsonIgnore] public Delivery? Delivery { get; init; }

    [JsonIgnore]
    public int DeliveryRank => Delivery switch
    {
        Harness.Wire.Delivery.Whole => 0,
        Harness.Wire.Delivery.ThreeBytes => 1,
        Harness.Wire.Delivery.ByteByByte => 2,
        _ => 3,
    };

    public string DisplayName => Wording.DisplayName(Test);
}
