namespace ConformanceTests.Report;

/// <summary>What the run before this one found in the same implementation.</summary>
public sealed record PreviousRun(HashSet<string> Failed, HashSet<string> Passed, bool Unchanged)
{
    /// <summary>The start of the message of a test that was not run because the time was up.</summary>
    public const string NotReached = "\nNot reached: ";

    /// <param name="implementation">What is tested now.</param>
    /// <param name="files">Its files, which may be older than the report.</param>
    public static PreviousRun Read(string implementation, IEnumerable<string> files)
    {
        if (ReportFile.Read() is not { } report || report.Implementation != implementation)
        {
            return new([], [], false);
        }

        HashSet<string> Those(string outcome) => report.Verdicts
            .Where(verdict => verdict.Outcome == outcome && !verdict.Message.StartsWith(NotReached))
            .Select(verdict => verdict.Test).ToHashSet();

        var then = File.GetLastWriteTimeUtc(ReportFile.Path);
        return new(Those("failed"), Those("passed"), files.All(file => File.GetLastWriteTimeUtc(file) < then));
    }

    // The verdicts of the run before, if only failed tests are repeated. If two have the same name, the worse one.
    private static readonly Lazy<Dictionary<string, Verdict>> _before = new(() =>
        !RunSettings.Current.RepeatFailedOnly ? []
        : (ReportFile.Read()?.Verdicts ?? [])
            .OrderByDescending(verdict => verdict.IsWrong)
            .DistinctBy(verdict => $"{verdict.Fixture}.{verdict.Test}")
            .ToDictionary(verdict => $"{verdict.Fixture}.{verdict.Test}"));

    /// <summary>Returns the verdict of the run before, if the test passed then or no time is left.</summary>
    public static Verdict? VerdictToKeep(string fixture, string test, bool timeIsUp) =>
        _before.Value.TryGetValue($"{fixture}.{test}", out var verdict) && (!verdict.IsWrong || timeIsUp)
            ? verdict : null;

    // The tests that passed before and fail now.
    public string[] Regressions(IEnumerable<Verdict> verdicts) => [.. verdicts
        .Where(verdict => verdict.Outcome == "failed")
        .Where(verdict => Passed.Contains(verdict.Test) && !Failed.Contains(verdict.Test))
        .Select(verdict => verdict.DisplayName)];

    public string? PassedOnRepeat(IReadOnlyCollection<Verdict> stage)
    {
        int now = stage.Count(verdict => verdict.Outcome == "passed" && Failed.Contains(verdict.Test));
        if (now == 0)
        {
            return null;
        }

        string passes = now == 1 ? "1 passes that failed a moment ago" : $"{now} pass that failed a moment ago";
        return Unchanged ? $"{passes}, and nothing was changed: a race?" : passes;
    }
}
