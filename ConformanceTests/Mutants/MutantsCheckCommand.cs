namespace ConformanceTests.Mutants;

/// <summary>`make mutants-check`: whether each mutant still applies and compiles, without a run.</summary>
public sealed class MutantsCheckCommand : ISuiteCommand
{
    public string Name => "mutants-check";

    public string Help => "checks that each mutant applies and compiles, and runs none";

    public Task<int> RunAsync(string[] words)
    {
        var result = SuiteRun.Run(
            new TestSelection(test => test.Method?.TypeInfo.Type == typeof(MutantListTests)));
        return Task.FromResult(SuiteRun.Show(result));
    }
}
