using ConformanceTests.Harness.Grading;

namespace ConformanceTests.Mutants;

/// <summary>`make mutants`: the suite's own test.</summary>
public sealed class MutantsCommand : ISuiteCommand
{
    public string Name => "mutants";

    public string Help => "tests the suite with the program with one mistake at a time";

    public Task<int> RunAsync(string[] words)
    {
        var result = SuiteRun.Run(new TestSelection(test =>
            TestSelection.IsOf(test, "Mutants") && words.All(TestSelection.NameOf(test).Contains)));
        return Task.FromResult(SuiteRun.Show(result));
    }
}
