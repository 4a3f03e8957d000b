namespace ConformanceTests.Harness.Wire;

/// <summary>How long the suite waits. Every wait has an end, and nothing that works ever comes near it.</summary>
public static class Waits
{
    /// <summary>Slow machines get more: a setting of the run.</summary>
    public static double Scale { get; set; } = 1;

    /// <summary>How long one waits for what never comes.</summary>
    public static int Longest => Scaled(6_000);

    public static int Scaled(double milliseconds) => (int)(milliseconds * Scale);
}
