namespace ConformanceTests.SelfTests;

/// <summary>The tests that are not run on Windows are named by text.</summary>
[Reference]
public sealed class WindowsLimitsTests
{
    [Test]
    public void Every_test_that_is_named_exists()
    {
        var methods = typeof(WindowsLimitsTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods())
            .Select(method => method.Name);
        Assert.That(WindowsLimits.Tests.Except(methods), Is.Empty);
    }
}
