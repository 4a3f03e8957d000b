using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>A run of tests in this process, by NUnit's own runner.</summary>
internal static class SuiteRun
{
    // A test mostly waits for a process or a deadline. Tests that are repeated have failed, and wait even more.
    private const int Workers = 10;
    private const int WorkersForRepeats = 24;

    /// <summary>Finds the tests, and runs none.</summary>
    public static ITest Find() => Load(new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder()));

    /// <summary>Runs the chosen tests.</summary>
    public static ITestResult Run(TestSelection selection)
    {
        // Some tests need several threads of the pool at once, which otherwise adds one every half second.
        ThreadPool.SetMinThreads(4 * Environment.ProcessorCount, 4 * Environment.ProcessorCount);
        using var interruption = new Interruption(EndPrograms);
        Screen.TurnOn();
        RunReport.ShowStage = line =>
        {
            if (!RunSettings.Current.OneIsEnough)
            {
                Screen.WriteLine(line);
            }
        };
        TestSelection.Current = selection;
        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        Load(runner);
        return runner.Run(TestListener.NULL, selection);
    }

    /// <summary>Shows what failed, what did not run and why, and the totals as the last line.</summary>
    /// <param name="result">The result of the run.</param>
    /// <returns>The exit code.</returns>
    public static int Show(ITestResult result)
    {
        ITestResult[] all = [.. Leaves(result)];
        var skipped = all
            .Where(test => test.ResultState.Status == TestStatus.Skipped)
            .GroupBy(test => Skip.Why(test.Message).Trim().Split('\n')[0]);
        foreach (var group in skipped.OrderBy(group => group.Key))
        {
            Screen.WriteLine($"{group.Count()} did not run: {group.Key}");
        }

        ITestResult[] failed = [.. all.Where(test => test.ResultState.Status == TestStatus.Failed)];
        foreach (ITestResult test in failed)
        {
            Screen.WriteLine($"\nFAILED {TestSelection.NameOf(test.Test)}\n{test.Message.TrimEnd()}");
            if (!test.Message.StartsWith('\n'))         // the messages of the report begin so: they need no stack
            {
                Screen.WriteLine(test.StackTrace?.TrimEnd() ?? "");
            }
        }

        int passed = all.Count(test => test.ResultState.Status == TestStatus.Passed);
        if (passed + failed.Length == 0)
        {
            Screen.WriteLine("No test ran.");
        }

        Screen.WriteLine($"{passed} passed, {failed.Length} failed");
        return passed > 0 && failed.Length == 0 && result.ResultState.Status != TestStatus.Failed ? 0 : 1;
    }

    private static IEnumerable<ITestResult> Leaves(ITestResult result) =>
        result.Test.IsSuite ? result.Children.SelectMany(Leaves) : [result];

    private static ITest Load(NUnitTestAssemblyRunner runner)
    {
        int workers = RunSettings.Current.RepeatFailedOnly ? WorkersForRepeats : Workers;
        return runner.Load(
            typeof(SuiteRun).Assembly,
            new Dictionary<string, object> { [NUnit.FrameworkPackageSettings.NumberOfTestWorkers] = workers });
    }

    private static void EndPrograms() => ChildProgram.KillAll(forGood: true);
}
