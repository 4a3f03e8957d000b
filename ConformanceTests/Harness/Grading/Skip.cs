
namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Ends a test that this run cannot do, and says what it would need. The report lists these as "not looked at".
/// </summary>
public static class Skip
{
    private const string Mark = "not looked at: ";

    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Because(string why)
    {
        Assert.Ignore(Mark + why);
        throw new InvalidOperationException();          // Ignore has thrown
    }

    public static string Why(string message) => message.StartsWith(Mark) ? message[Mark.Length..] : message;
}
