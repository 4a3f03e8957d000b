namespace ConformanceTests.Torture;

/// <summary>`make torture`: tests the promises of Protocol.md under heavy load and with faults.</summary>
public sealed class TortureCommand : ISuiteCommand
{
    public string Name => "torture";

    public string Help => "tests the promises under heavy load and with faults; a word chooses tests by their names";

    public Task<int> RunAsync(string[] words)
    {
        var result = SuiteRun.Run(new TestSelection(test =>
            TestSelection.IsOf(test, TestSelection.Torture) && words.All(TestSelection.NameOf(test).Contains)));
        return Task.FromResult(SuiteRun.Show(result));
    }
}
