using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Marks a test that needs options, texts or logs that only the program of this repository has. It is not run for
/// other implementations.
/// </summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class)]
public sealed class ReferenceAttribute : NUnitAttribute, IApplyToTest
{
    public void ApplyToTest(Test test)
    {
        if (RunSettings.Current.IsReference)
        {
            return;
        }

        test.RunState = RunState.Ignored;
        test.Properties.Set(PropertyNames.SkipReason, "needs options, texts or logs of the reference");
    }
}
