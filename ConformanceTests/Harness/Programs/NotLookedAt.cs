namespace ConformanceTests.Harness.Programs;

/// <summary>Ends a test that this run cannot do, with an exception of the framework that runs the tests.</summary>
public static class NotLookedAt
{
    public const string Mark = "not looked at: ";

    /// <summary>Makes the exception.</summary>
    public static Func<string, Exception> NewException { private get; set; } = why => new NotSupportedException(why);

    /// <param name="why">What it would need, beginning with "needs".</param>
    public static Exception Because(string why) => NewException(Mark + why);

    public static Exception NotOffered(string what) => NewException($"not offered: {what}");
}
