// The suite is tested, too: the program with one mistake in it, built beside the real one and started in its place.
// The tests of the sentence that the mistake violates have to fail.  A mutant that lives shows a test that is missing.

using System.Diagnostics;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using static VerifyNUnit.Verifier;

// A one-line edit: Find stands in the file exactly once, so that the list cannot rot.  It is graded as a stranger's
// program is, through the plug; only what the reference's own options can show is graded as the reference.
public sealed record Mutant(
    string Name, string KilledBy, string File, string Find, string Replace, bool AsReference = false)
{
    public override string ToString() => Name;
}

[Category("Mutants"), Reference]
public sealed partial class Mutants
{
    private static readonly SemaphoreSlim _aFewAtATime = new(3);
    private static readonly List<string> _rows = [];

    [TestCaseSource(typeof(MutantList), nameof(MutantList.All))]
    public void Is_caught(Mutant mutant)
    {
        var (caughtBy, _) = Run(mutant);
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
            Assert.That(Run(new Mutant($"none {id}", id, "Server.cs", "", "")).CaughtBy, Is.Empty);
        }
    }

    [Test]
    public void Every_MUST_has_a_mutant_or_a_reason()
    {
        var required = Spec.Clauses.Values.Where(clause => clause.Level == Level.Must).Select(clause => clause.Id);
        var shown = MutantList.All.Select(mutant => mutant.KilledBy);
        var excused = MutantList.ShownByNoMutant.Select(row => row.Id);
        Assert.That(required.Except(shown).Except(excused), Is.Empty);
    }

    [Test]
    public void Every_mutant_names_a_sentence() =>
        Assert.That(MutantList.All.Select(mutant => mutant.KilledBy).Except(Spec.Clauses.Keys), Is.Empty);

    // What somebody reads whose implementation has this mistake.
    [Test]
    public async Task Report_on(
        [Values(
            "length reversed",
            "length of four octets",
            "CR LF behind OK",
            "LF missing behind OK",
            "closes after each request",
            "client keeps a file cut short")] string mutant) =>
        await Verify(Neutral(Run(Named(mutant) with { AsReference = true }, transcriptsOnly: true).Report));

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

    private static (string[] CaughtBy, string Report) Run(Mutant mutant, bool transcriptsOnly = false)
    {
        _aFewAtATime.Wait();
        string folder = Plug.NewFolder("mutant");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);    // for anybody
        }

        try
        {
            Build(mutant, folder);
            string filter = transcriptsOnly
                ? "FullyQualifiedName~Transcripts"
                : $"TestCategory={mutant.KilledBy}&TestCategory!=Mutants&TestCategory!=Torture";
            string[] words = ["vstest", typeof(Mutants).Assembly.Location, "--nologo", $"--TestCaseFilter:{filter}"];
            var start = new ProcessStartInfo("dotnet", words)
            {
                WorkingDirectory = folder,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            string program = Path.Combine(folder, "ImageTransfer.dll");
            foreach (string name in (string[])["SERVER", "CLIENT", "STAGE", "STRICT"])
            {
                start.Environment.Remove(name);
            }

            start.Environment["REPORT"] = folder;
            start.Environment["ONE_IS_ENOUGH"] = transcriptsOnly ? "" : "1";
            if (mutant.AsReference)
            {
                start.Environment["PROGRAM"] = program;
            }
            else
            {
                start.Environment["SERVER"] = Plug.ReferenceServer(program);
                start.Environment["CLIENT"] = Plug.ReferenceClient(program);
            }

            using var run = Process.Start(start)!;
            var output = run.StandardOutput.ReadToEndAsync();
            var errors = run.StandardError.ReadToEndAsync();
            if (!run.WaitForExit(TimeSpan.FromMinutes(5)))
            {
                run.Kill(true);
                throw new TimeoutException($"{mutant.Name}: the suite does not end");
            }

            string report = Path.Combine(folder, "report.json");
            if (!File.Exists(report))
            {
                throw new InvalidOperationException(
                    $"{mutant.Name}: nothing was tested\n{output.Result}{errors.Result}");
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

    private const string Usings =
        """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Threading;
        global using System.Threading.Tasks;

        """;

    private static void Build(Mutant mutant, string folder)
    {
        var options = new CSharpParseOptions(LanguageVersion.Preview);
        string project = File.ReadAllText(Path.Combine(Settings.Root, "ImageTransfer.csproj"));
        var own = Regex.Matches(project, "<Using Include=\"(.*?)\"( Static)?")
            .Select(use => $"global using {(use.Groups[2].Success ? "static " : "")}{use.Groups[1]};\n");
        var trees = new List<SyntaxTree> { CSharpSyntaxTree.ParseText(Usings + string.Concat(own), options) };
        foreach (string file in (string[])["Server.cs", "Client.cs"])
        {
            string source = File.ReadAllText(Path.Combine(Settings.Root, file));
            if (file == mutant.File && mutant.Find != "")
            {
                int times = Regex.Count(source, Regex.Escape(mutant.Find));
                Assert.That(times, Is.EqualTo(1),
                    $"{mutant.Name}: what it changes has to stand in {file} exactly once");
                source = source.Replace(mutant.Find, mutant.Replace);
            }

            trees.Add(CSharpSyntaxTree.ParseText(source, options, path: file));
        }

        var compilation = CSharpCompilation.Create("ImageTransfer", trees, Libraries(),
            new CSharpCompilationOptions(
                OutputKind.ConsoleApplication,
                optimizationLevel: OptimizationLevel.Release,
                nullableContextOptions: NullableContextOptions.Enable));
        var result = compilation.Emit(Path.Combine(folder, "ImageTransfer.dll"));
        var errors = result.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        Assert.That(result.Success, $"{mutant.Name} does not compile: {string.Join('\n', errors.Take(3))}");
        File.Copy(
            Path.ChangeExtension(Plug.Dll, ".runtimeconfig.json"),
            Path.Combine(folder, "ImageTransfer.runtimeconfig.json"));
    }

    // What comes with .NET, and nothing of the suite.
    private static IEnumerable<MetadataReference> Libraries()
    {
        string trusted = (string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!;
        string? framework = Path.GetDirectoryName(typeof(object).Assembly.Location);
        return trusted.Split(Path.PathSeparator)
            .Where(path => Path.GetDirectoryName(path) == framework)
            .Select(path => MetadataReference.CreateFromFile(path));
    }

    [OneTimeTearDown]
    public static void Write()
    {
        var sorted = _rows.Order(StringComparer.Ordinal).Select(row => row + "\n");
        string table = $"{"mistake",-64} {"sentence",-10} {"graded as",-10} caught\n{string.Concat(sorted)}";
        if (_rows.Count > 0)
        {
            File.WriteAllText(Path.Combine(Settings.ReportFolder, "mutants.txt"), table);
        }
    }
}
