using System.Text.Json.Serialization;

namespace ConformanceTests.Report;

/// <summary>What the suite found out with one test.</summary>
/// <param name="Stage">Its stage.</param>
/// <param name="Clause">The clause that it is about, or the one that turned out to be broken.</param>
/// <param name="Test">Its name.</param>
/// <param name="Outcome">"passed", "failed", "advice" (a broken SHOULD), "not offered" or "not looked at".</param>
/// <param name="Message">The text of the failure, or why the test did not run.</param>
public sealed record Verdict(int Stage, string Clause, string Test, string Outcome, string Message)
{
    public string Fixture { get; init; } = "";

    [JsonIgnore] public Failure? Failure { get; init; }

    [JsonIgnore] public bool HasFailed => Outcome == "failed";

    [JsonIgnore] public bool IsWrong => Outcome is "failed" or "advice";

    [JsonIgnore] public bool Counts => IsWrong || Outcome == "passed";

    /// <summary>The clause that the test is about, even if another one turned out to be broken.</summary>
    [JsonIgnore] public string TestedClause { get; } = Clause;

    [JsonIgnore] public int Line { get; } = ProtocolSpecification.Find(Clause).Line;

    /// <summary>The name of the test, without the pieces in which the suite sent.</summary>
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
