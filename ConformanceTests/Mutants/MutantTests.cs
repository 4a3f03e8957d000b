using System.Diagnostics;
using System.Text.RegularExpressions;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Programs;
using static VerifyNUnit.Verifier;

namespace ConformanceTests.Mutants;

// The suite is tested, too: the program with one mistake in it, built beside the real one and started in its place.
// The tests of the sentence that the mistake violates have to fail.  A mutant that lives shows a test that is missing.

[Category("Mutants"), Explicit, Reference]
public sealed partial class MutantTests
{
    private static readonly SemaphoreSlim _aFewAtATime = new(3);
    private static readonly List<string> _rows = [];

    [TestCaseSource(typeof(MutantList), nameof(MutantList.All))]
    public void Is_caught(Mutant mutant)
    {
        var (caughtBy, _) = Run(mutant.KilledBy, mutant, mutant.AsReference);
        string fate = caughtBy.Length == 0 ? "LIVES" : $"caught by {caughtBy[0]}";
        string graded = mutant.AsReference ? "reference" : "stranger";
        lock (_rows)
        {
            _rows.Add($"{mutant.Name,-64} {mutant.KilledBy,-10} {graded,-10} {fate}");
        }

        Assert.That(caughtBy, Is.Not.Empty, $"{mutant.Name}: no test of {mutant.KilledBy} fails");
    }

    // The same way without a mistake: or a mutant could be "caught" by a broken build.
    [Test]
    public void The_program_without_a_mistake_is_not_caught()
    {
        foreach (string id in (string[])["GET-1", "PUT-2", "CLI-7"])
        {
            Assert.That(Run(id, mutant: null).CaughtBy, Is.Empty);
        }
    }

    // What somebody reads whose implementation has this mistake.
    [Test]
    public async Task Report_on(
        [Values(
            "the length is reversed",
            "the length has four bytes",
            "CR LF after OK",
            "no LF after OK",
            "closes after each request",
            "the client keeps a file cut short")] string mutant) =>
        await Verify(Neutral(Run("", Named(mutant), asReference: true).Report));

    private static Mutant Named(string name) => MutantList.All.Single(mutant => mutant.Name == name);

    private static string Neutral(string report)
    {
        report = Stderr().Replace(report, "");
        report = Ports().Replace(report, "127.0.0.1:7005");
        report = Times().Replace(report, "2026-01-31T23:59:59Z").Replace("\r", "");
        report = Waits().Replace(report, "for 6 s");
        return SpecLines().Replace(report, "Protocol.md:1");
    }

    [GeneratedRegex(@"Protocol\.md:\d+")] private static partial Regex SpecLines();

    [GeneratedRegex(@"your \w+ wrote\n(?: {10}.*\n)*")] private static partial Regex Stderr();

    [GeneratedRegex(@"\bfor \d+(\.\d)? s\b")] private static partial Regex Waits();

    [GeneratedRegex(@"127\.0\.0\.1:\d+")] private static partial Regex Ports();

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")] private static partial Regex Times();

    /// <summary>Grades the program with the mistake, or without if there is none, in a process of its own.</summary>
    /// <param name="clause">The clause whose tests are run; if empty, all transcripts are.</param>
    /// <param name="mutant">The mistake, or null.</param>
    /// <param name="asReference">True if the tests of the program's own options are to be run, too.</param>
    private static (string[] CaughtBy, string Report) Run(string clause, Mutant? mutant, bool asReference = false)
    {
        _aFewAtATime.Wait();
        string folder = CommandTemplates.NewFolder("mutant");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);    // for anybody
        }

        try
        {
            MutantBuild.Write(mutant, folder);
            string[] words = [typeof(MutantTests).Assembly.Location, "test"];
            var start = new ProcessStartInfo("dotnet", words)
            {
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            string program = Path.Combine(folder, "ImageTransfer.dll");
            foreach (string name in (string[])["SERVER", "CLIENT", "STAGE", "STRICT", "QUICK"])
            {
                start.Environment.Remove(name);
            }

            start.Environment["REPORT"] = folder;
            start.Environment["CLAUSE"] = clause;
            start.Environment["TESTS"] = clause == "" ? @"Transcripts\." : "";
            start.Environment["ONE_IS_ENOUGH"] = clause == "" ? "" : "1";
            if (asReference)
            {
                start.Environment["PROGRAM"] = program;
            }
            else
            {
                start.Environment["SERVER"] = CommandTemplates.ReferenceServer(program);
                start.Environment["CLIENT"] = CommandTemplates.ReferenceClient(program);
            }

            using var run = Process.Start(start)!;
            var output = run.StandardOutput.ReadToEndAsync();
            var errors = run.StandardError.ReadToEndAsync();
            if (!run.WaitForExit(TimeSpan.FromMinutes(5)))
            {
                run.Kill(true);
                throw new TimeoutException($"{mutant?.Name}: the suite does not end");
            }

            string report = Path.Combine(folder, "report.json");
            if (!File.Exists(report))
            {
                throw new InvalidOperationException(
                    $"{mutant?.Name}: nothing was tested\n{output.Result}{errors.Result}");
            }

            return (Failed(report), File.ReadAllText(Path.Combine(folder, "report.txt")));
        }
        finally
        {
            Directory.Delete(folder, true);
            _aFewAtATime.Release();
        }
    }

    // The tests that a run's report.json has a complaint about.
    private static string[] Failed(string report)
    {
        using var json = System.Text.Json.JsonDocument.Parse(File.ReadAllText(report));
        return [..
            from verdict in json.RootElement.GetProperty("Verdicts").EnumerateArray()
            where verdict.GetProperty("Outcome").GetString() is "failed" or "advice"
            select verdict.GetProperty("Test").GetString()!];
    }

    [OneTimeTearDown]
    public static void Write()
    {
        string[] rows;
        lock (_rows)
        {
            rows = [.. _rows];
        }

        var sorted = rows.Order(StringComparer.Ordinal).Select(row => row + "\n");
        string table = $"{"mistake",-64} {"sentence",-10} {"graded as",-10} caught\n{string.Concat(sorted)}";
        if (rows.Length > 0)
        {
            File.WriteAllText(Path.Combine(RunSettings.ReportFolder, "mutants.txt"), table);
        }
    }
}
