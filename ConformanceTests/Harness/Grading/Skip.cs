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

    /// <summary>The same, if this run lacks what the test needs.</summary>
    public static void If(bool lacks, string why)
    {
        if (lacks)
        {
            throw NotLookedAt.Because(why);
        }
    }

    /// <summary>Ends the test of an optional feature if the program does not have it.</summary>
    public static void IfNotOffered(bool isMissing, string why)
    {
        if (isMissing)
        {
            throw NotLookedAt.NotOffered(why);
        }
    }

    public static string Why(string message) =>
        message.StartsWith(NotLookedAt.Mark) ? message[NotLookedAt.Mark.Length..] : message;
}
