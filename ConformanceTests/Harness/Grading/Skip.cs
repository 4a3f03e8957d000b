namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Ends a test that this run cannot do, and says what it would need. The report lists these as "not looked at".
/// </summary>
public static class Skip
{
    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Because(string why)
    {
        throw NotLookedAt.Because(why);
    }

    public static string Why(string message) =>
        message.StartsWith(NotLookedAt.Mark) ? message[NotLookedAt.Mark.Length..] : message;
}
