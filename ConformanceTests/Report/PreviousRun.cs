using System.Text.Json;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Programs;
using NUnit.Framework.Internal;

namespace ConformanceTests.Report;

/// <summary>What the run before this one said about the same implementation.</summary>
public sealed record PreviousRun(HashSet<string> Failed, HashSet<string> Passed, bool Unchanged)
{
    public static PreviousRun Read(string implementation)
    {
        string path = Path.Combine(RunSettings.ReportFolder, "report.json");
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
                    && !verdict.GetProperty("Message").GetString()!.StartsWith(RunSettings.NotReached))
                .Select(verdict => verdict.GetProperty("Test").GetString()!).ToHashSet();

            var (failed, passed) = (Those("failed"), Those("passed"));
            var then = File.GetLastWriteTimeUtc(path);
            string templates = $"{CommandTemplates.ServerTemplate} {CommandTemplates.ClientTemplate}";
            var files = CommandTemplates.Words(templates).Where(File.Exists);
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
        string path = Path.Combine(RunSettings.ReportFolder, "report.json");
        if (!RunSettings.Again || !File.Exists(path))
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

    // A verdict that stands: it was no failure, or there is no time left.
    public static (string Outcome, string Message)? Stands(Type fixture, string test) =>
        _before.Value.TryGetValue($"{fixture.Name}.{test}", out var verdict)
        && (!IsWrong(verdict) || RunSettings.TimeIsUp) ? verdict : null;

    // What worked before, and does no more.
    public string[] Lost(IEnumerable<Verdict> verdicts) => [.. verdicts
        .Where(verdict => verdict.Outcome == "failed")
        .Where(verdict => Passed.Contains(verdict.Test) && !Failed.Contains(verdict.Test))
        .Select(verdict => verdict.Shown)];

    public string? Race(IReadOnlyCollection<Verdict> stage)
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
