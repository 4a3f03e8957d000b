namespace ConformanceTests.SelfTests;

/// <summary>How two texts differ, as a failed snapshot test shows it.</summary>
internal static class TextDifference
{
    private const int Context = 3;
    private const int Most = 20;

    /// <summary>Returns the lines from the first to the last that differ, and a few lines around them.</summary>
    public static string Of(string? expected, string received)
    {
        string[] old = expected?.Split('\n') ?? [];
        string[] now = received.Split('\n');
        int start = old.Zip(now).TakeWhile(pair => pair.First == pair.Second).Count();
        int end = old[start..].Reverse().Zip(now[start..].Reverse())
            .TakeWhile(pair => pair.First == pair.Second).Count();
        string Marked(string mark, string[] lines) =>
            string.Concat(lines.Take(Most).Select(line => $"{mark} {line}\n"))
                + (lines.Length > Most ? $"  … and {lines.Length - Most} more lines\n" : "");

        return Marked(" ", now[Math.Max(start - Context, 0)..start])
            + Marked("-", old[start..^end]) + Marked("+", now[start..^end])
            + Marked(" ", now[^end..Math.Min(now.Length - end + Context, now.Length)]) + "\n";
    }
}
