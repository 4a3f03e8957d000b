// The suite is tested, too: the program with one mistake in it, built beside the real one and started in its place.  The
// tests of the sentence that the mistake violates have to fail.  A mutant that lives shows a test that is missing.

using System.Diagnostics;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using static VerifyNUnit.Verifier;

// A one-line edit: Find stands in the file exactly once, so that the list cannot rot.
public sealed record Mutant(string Name, string KilledBy, string File, string Find, string Replace)
{
    public override string ToString() => Name;
}

[Category("Mutants"), Reference]
public sealed partial class Mutants
{
    static readonly SemaphoreSlim twoAtATime = new(2);
    static readonly List<string> rows = [];

    [TestCaseSource(typeof(MutantList), nameof(MutantList.All))]
    public void Is_caught(Mutant mutant)
    {
        var (caughtBy, _) = Run(mutant);
        lock (rows) rows.Add($"{mutant.Name,-64} {mutant.KilledBy,-10} {(caughtBy.Length == 0 ? "LIVES" : $"caught by {caughtBy.Length}: {caughtBy[0]}")}");
        Assert.That(caughtBy, Is.Not.Empty, $"{mutant.Name}: no test of {mutant.KilledBy} fails");
    }

    // The same way without a mistake: or a mutant could be "caught" by a broken build.
    [Test]
    public void The_program_without_a_mistake_is_not_caught()
    {
        foreach (string id in (string[])["GET-1", "PUT-2", "CLI-7"])
            Assert.That(Run(new Mutant($"none {id}", id, "Server.cs", "", "")).CaughtBy, Is.Empty);
    }

    [Test]
    public void Every_MUST_has_a_mutant_or_a_reason() => Assert.That(Spec.Clauses.Values.Where(clause => clause.Level == Level.Must).Select(clause => clause.Id)
        .Except(MutantList.All.Select(mutant => mutant.KilledBy)).Except(MutantList.ShownByNoMutant.Select(row => row.Id)), Is.Empty);

    [Test]
    public void Every_mutant_names_a_sentence() => Assert.That(MutantList.All.Select(mutant => mutant.KilledBy).Except(Spec.Clauses.Keys), Is.Empty);

    // What somebody reads whose implementation has this mistake.
    [Test]
    public async Task Report_on([Values("length reversed", "length of four octets", "CR LF behind OK", "LF missing behind OK", "closes after each request", "client keeps a file cut short")] string mutant) =>
        await Verify(Neutral(Run(MutantList.All.Single(one => one.Name == mutant), transcriptsOnly: true).Report));

    static string Neutral(string report) => SpecLines().Replace(Times().Replace(Ports().Replace(Stderr().Replace(report, ""), "127.0.0.1:7005"), "2026-01-31T23:59:59Z").Replace("\r", ""), "Protocol.md:1");

    [GeneratedRegex(@"Protocol\.md:\d+")] private static partial Regex SpecLines();

    [GeneratedRegex(@"\[your \w+\] .*\n?")] private static partial Regex Stderr();
    [GeneratedRegex(@"127\.0\.0\.1:\d+")] private static partial Regex Ports();
    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")] private static partial Regex Times();

    static (string[] CaughtBy, string Report) Run(Mutant mutant, bool transcriptsOnly = false)
    {
        twoAtATime.Wait();
        string folder = Plug.NewFolder("mutant");
        try
        {
            Build(mutant, folder);
            var start = new ProcessStartInfo("dotnet", ["vstest", typeof(Mutants).Assembly.Location, "--nologo", $"--TestCaseFilter:{(transcriptsOnly ? "FullyQualifiedName~Transcripts" : $"TestCategory={mutant.KilledBy}&TestCategory!=Mutants&TestCategory!=Torture")}"])
            {
                WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true,
            };
            (start.Environment["PROGRAM"], start.Environment["REPORT"]) = (Path.Combine(folder, "ImageTransfer.dll"), folder);
            foreach (string name in (string[])["SERVER", "CLIENT", "STAGE", "STRICT"]) start.Environment.Remove(name);
            using var run = Process.Start(start)!;
            var output = run.StandardOutput.ReadToEndAsync();
            var errors = run.StandardError.ReadToEndAsync();
            if (!run.WaitForExit(TimeSpan.FromMinutes(5))) { run.Kill(true); throw new TimeoutException($"{mutant.Name}: the suite does not end"); }

            string report = Path.Combine(folder, "report.json");
            if (!File.Exists(report)) throw new InvalidOperationException($"{mutant.Name}: nothing was tested\n{output.Result}{errors.Result}");
            using var json = System.Text.Json.JsonDocument.Parse(File.ReadAllText(report));
            var failed = json.RootElement.GetProperty("Verdicts").EnumerateArray().Where(verdict => verdict.GetProperty("Outcome").GetString() is "failed" or "advice");
            return ([.. failed.Select(verdict => verdict.GetProperty("Test").GetString()!)], File.ReadAllText(Path.Combine(folder, "report.txt")));
        }
        finally
        {
            Directory.Delete(folder, true);
            twoAtATime.Release();
        }
    }

    static void Build(Mutant mutant, string folder)
    {
        var options = new CSharpParseOptions(LanguageVersion.Preview);
        string[] names = ["System", "System.Collections.Generic", "System.IO", "System.Linq", "System.Threading", "System.Threading.Tasks"];
        var trees = new List<SyntaxTree> { CSharpSyntaxTree.ParseText(string.Concat(names.Select(name => $"global using {name};\n")), options) };
        foreach (string file in (string[])["Server.cs", "Client.cs"])
        {
            string source = File.ReadAllText(Path.Combine(Settings.Root, file));
            if (file == mutant.File && mutant.Find != "")
            {
                Assert.That(Regex.Count(source, Regex.Escape(mutant.Find)), Is.EqualTo(1), $"{mutant.Name}: what it changes has to stand in {file} exactly once");
                source = source.Replace(mutant.Find, mutant.Replace);
            }
            trees.Add(CSharpSyntaxTree.ParseText(source, options, path: file));
        }
        var libraries = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Where(path => Path.GetDirectoryName(path) == Path.GetDirectoryName(typeof(object).Assembly.Location));
        var compilation = CSharpCompilation.Create("ImageTransfer", trees, libraries.Select(path => MetadataReference.CreateFromFile(path)),
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, optimizationLevel: OptimizationLevel.Release, nullableContextOptions: NullableContextOptions.Enable));
        var result = compilation.Emit(Path.Combine(folder, "ImageTransfer.dll"));
        Assert.That(result.Success, $"{mutant.Name} does not compile: {string.Join('\n', result.Diagnostics.Where(d => d.Severity == DiagnosticSeverity.Error).Take(3))}");
        File.Copy(Path.ChangeExtension(Plug.Dll, ".runtimeconfig.json"), Path.Combine(folder, "ImageTransfer.runtimeconfig.json"));
    }

    [OneTimeTearDown]
    public static void Write()
    {
        string table = $"{"mistake",-64} {"sentence",-10} caught\n{string.Concat(rows.Order(StringComparer.Ordinal).Select(row => row + "\n"))}";
        if (rows.Count > 0) File.WriteAllText(Path.Combine(Settings.ReportFolder, "mutants.txt"), table);
    }
}
