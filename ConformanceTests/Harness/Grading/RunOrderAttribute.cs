using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Makes a fixture begin before those with a higher number: what waits longest should begin first.</summary>
/// <param name="order">The number.</param>
[AttributeUsage(AttributeTargets.Class)]
public sealed class RunOrderAttribute(int order) : NUnitAttribute, IApplyToTest
{
    public void ApplyToTest(Test test) => test.Properties.Set(PropertyNames.Order, order);
}
