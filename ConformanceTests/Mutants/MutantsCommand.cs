using NUnit.Framework.Interfaces;

namespace ConformanceTests.Mutants;

/// <summary>
/// `make mutants`: the suite is tested, too. The program is built with one mistake at a time, and the tests of the
/// clause that the mistake violates have to catch it. A mutant that lives shows a test that is missing.
/// </summary>
public sealed class MutantsCommand : ISuiteCommand
{
    public string Name => "mutants";

    public string Help =>
        "tests the suite, with one mistake in the program at a time; words choose some: P1 or P2";

    public async Task<int> RunAsync(string[] words)
    {
        string part = string.Join(' ', words);
        string[] parts = part.Split(" or ");
        Mutant[] chosen =
            [.. MutantList.All.Where(mutant => parts.Any($"[{mutant.KilledBy}] {mutant.Name}".Contains))];
        if (chosen.Length == 0)
        {
            Console.Error.WriteLine($"There is no mutant with \"{part}\" in its name. Join several words with ' or '.");
            return 2;
        }

        Screen.TurnOn();
        using var interruption = new Interruption(GradedMutant.StopAll);
        var run = new MutantRun();
        await run.RunAsync(chosen);
        int passed = run.Passed;
        int failed = run.Failed;
        if (!run.MatchesSnapshot(isComplete: part == "") && failed == 0)
        {
            Screen.WriteLine(
                "The table of which test catches which mutant has changed. `make accept` accepts the new one.");
        }

        var names = chosen.Select(mutant => mutant.Name).ToHashSet();
        ITestResult reports = SuiteRun.Run(new TestSelection(test =>
            test.Method?.TypeInfo.Type == typeof(MutantReports) && names.Contains((string)test.Arguments[0]!)));
        if (reports.TotalCount > 0)
        {
            SuiteRun.Show(reports);
            passed += reports.PassCount;
            failed += reports.FailCount;
        }

        Screen.WriteLine($"{passed} passed, {failed} failed");
        return failed == 0 ? 0 : 1;
    }
}
