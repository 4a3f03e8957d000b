using static VerifyNUnit.Verifier;

namespace ConformanceTests.Mutants;

/// <summary>What the author of a program with one of these mistakes reads. `make mutants` runs it.</summary>
[Explicit, Reference]
public sealed partial class MutantReports
{
    [Test]
    public async Task Report_on(
        [Values(
            "the length is reversed",
            "the length has four bytes",
            "CR LF after OK",
            "no LF after OK",
            "closes after each request",
            "the client keeps a file cut short")] string mutant)
    {
        using var graded = new GradedMutant(MutantList.All.Single(one => one.Name == mutant));
        await Verify(Neutral(await graded.ReportAsync()));
    }

    private static string Neutral(string report)
    {
        report = Stderr().Replace(report, "");
        report = Ports().Replace(report, "127.0.0.1:7005");
        report = Times().Replace(report, "2026-01-31T23:59:59Z").Replace("\r", "");
        report = CutTimes().Replace(report, "2026-01- …");
        report = Waits().Replace(report, "for 6 s");
        return SpecLines().Replace(report, "Protocol.md:1");
    }

    [GeneratedRegex(@"Protocol\.md:\d+")] private static partial Regex SpecLines();

    [GeneratedRegex(@"your \w+ wrote\n(?: {10}.*\n)*")] private static partial Regex Stderr();
    [GeneratedRegex(@"\bfor \d+(\.\d)? s\b")] private static partial Regex Waits();

    [GeneratedRegex(@"127\.0\.0\.1:\d+")] private static partial Regex Ports();
    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")] private static partial Regex Times();

    // The middle of long data is left out, and a time may be cut there.
    [GeneratedRegex(@"\d{4}-\d\d- …")] private static partial Regex CutTimes();
}
