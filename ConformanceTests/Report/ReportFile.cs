using System.Text.Json;

namespace ConformanceTests.Report;

/// <summary>report.json: what a run has found.</summary>
/// <param name="Implementation">The commands of what was tested.</param>
/// <param name="Seed">What the pictures depended on.</param>
/// <param name="Strict">Whether SHOULD counted.</param>
/// <param name="Verdicts">A verdict for each test.</param>
public sealed record ReportFile(string Implementation, int Seed, bool Strict, Verdict[] Verdicts)
{
    private static readonly JsonSerializerOptions _options = new() { WriteIndented = true };

    public static string Path => System.IO.Path.Combine(RunSettings.Current.ReportFolder, "report.json");

    public void Write() => File.WriteAllText(Path, JsonSerializer.Serialize(this, _options));

    /// <summary>Returns null if there is none, or one of another version of the suite or of Protocol.md.</summary>
    /// <param name="path">Where it is, if not where this run puts it.</param>
    public static ReportFile? Read(string? path = null)
    {
        try
        {
            return JsonSerializer.Deserialize<ReportFile>(File.ReadAllText(path ?? Path));
        }
        catch (Exception e) when (e is FileNotFoundException or JsonException or ArgumentException)
        {
            return null;
        }
    }
}
