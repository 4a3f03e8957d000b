using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Torture;

/// <summary>
/// Marks a fixture of `make torture`: it runs alone, on Linux, with the program of this repository, and a test that
/// fails gets a line in torture.txt.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class TortureAttribute : NUnitAttribute, IApplyToTest, ITestAction
{
    public ActionTargets Targets => ActionTargets.Test;

    public void ApplyToTest(Test test)
    {
        if (test.RunState == RunState.Runnable)
        {
            bool canRun = RunSettings.Current.IsReference && OperatingSystem.IsLinux();
            test.RunState = canRun ? RunState.Explicit : RunState.Ignored;
        }

        test.Properties.Add(PropertyNames.Category, TestSelection.Torture);
        test.Properties.Set(PropertyNames.ParallelScope, ParallelScope.None);
    }

    public void BeforeTest(ITest test)
    {
    }

    public void AfterTest(ITest test)
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Failed)
        {
            TortureReport.Say("FAILED", test.Name.Replace('_', ' '));
        }
    }
}
