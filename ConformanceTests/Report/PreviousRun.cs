using System.Text.Json;

namespace ConformanceTests.Report;

/// <summary>What the run before this one said about the same implementation.</summary>
public sealed record PreviousRun(HashSet<string> Failed, HashSet<string> Passed, bool Unchanged)
{
    /// <summary>How the message of a test begins that the time did not suffice for.</summary>
    public const string NotReached = "\nNot reached: ";

    /// <param name="implementation">What is tested now.</param>
    /// <param name="files">Its files: whether they are older than the report is told.</param>
    public static PreviousRun Read(string implementation, IEnumerable<string> files)
    {
        string path = Path.Combine(ReportSettings.Folder, "report.json");
        if (!File.Exists(path))
        {
            return new([], [], false);
        }

        try
        {
            using var json = JsonDocument.Parse(File.ReadAllText(path));
            if (json.RootElement.GetProperty("Implementation").GetString() != implementation)
            {
                return new([], [], false);
            }

            HashSet<string> Those(string outcome) => json.RootElement.GetProperty("Verdicts").EnumerateArray()
                .Where(verdict => verdict.GetProperty("Outcome").GetString() == outcome
                    && !verdict.GetProperty("Message").GetString()!.StartsWith(NotReached))
                .Select(verdict => verdict.GetProperty("Test").GetString()!).ToHashSet();

            var (failed, passed) = (Those("failed"), Those("passed"));
            var then = File.GetLastWriteTimeUtc(path);
            return new(failed, passed, files.All(file => File.GetLastWriteTimeUtc(file) < then));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new([], [], false);                      // another version's report, or half of one
        }
    }

    // Where only what failed is asked again, the verdicts of the run before, of equal names the worst.
    private static readonly Lazy<Dictionary<string, (string Outcome, string Message)>> _before = new(() =>
    {
        string path = Path.Combine(ReportSettings.Folder, "report.json");
        if (!ReportSettings.RepeatFailedOnly || !File.Exists(path))
        {
            return [];
        }

        using var json = JsonDocument.Parse(File.ReadAllText(path));
        string Said(JsonElement verdict, string what) => verdict.GetProperty(what).GetString()!;

        return json.RootElement.GetProperty("Verdicts").EnumerateArray()
            .Select(verdict =>
                (Test: $"{Said(verdict, "Fixture")}.{Said(verdict, "Test")}",
                    What: (Said(verdict, "Outcome"), Said(verdict, "Message"))))
            .OrderByDescending(verdict => IsWrong(verdict.What))
            .DistinctBy(verdict => verdict.Test).ToDictionary(verdict => verdict.Test, verdict => verdict.What);
    });

    private static bool IsWrong((string Outcome, string Message) verdict) => verdict.Outcome is "failed" or "advice";

    // A verdict that is kept: it was no failure, or there is no time left.
    public static (string Outcome, string Message)? VerdictToKeep(Type fixture, string test, bool timeIsUp) =>
        _before.Value.TryGetValue($"{fixture.Name}.{test}", out var verdict)
        && (!IsWrong(verdict) || timeIsUp) ? verdict : null;

    // What worked before, and does no more.
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
