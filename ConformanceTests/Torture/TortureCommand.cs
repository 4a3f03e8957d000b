namespace ConformanceTests.Torture;

/// <summary>`make torture`: the promises of Protocol.md under fire.</summary>
public sealed class TortureCommand : ISuiteCommand
{
    public string Name => "torture";

    public string Help => "puts the promises under fire, for some minutes; a word chooses the tests that have it";

    public Task<int> RunAsync(string[] words)
    {
        var result = SuiteRun.Run(new TestSelection(test =>
            TestSelection.IsOf(test, TestSelection.Torture) && words.All(TestSelection.NameOf(test).Contains)));
        return Task.FromResult(SuiteRun.Show(result));
    }
}
