using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Fixtures with a lower number begin first: those that wait longest.</summary>
/// <param name="order">The number.</param>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RunOrderAttribute(int order) : NUnitAttribute, IApplyToTest
{
    public void ApplyToTest(Test test) => test.Properties.Set(PropertyNames.Order, order);
}
