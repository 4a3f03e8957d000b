using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ConformanceTests.Mutants;

namespace ConformanceTests.SelfTests;

/// <summary>
/// Each stage can be passed by a program that has just the core up to it; and not by one that has less. The programs
/// are in SelfTests/StagePrograms; they are compiled here, and graded by a suite in a process of its own.
/// </summary>
[Category(TestSelection.Slow)]
[Parallelizable(ParallelScope.Children)]
[Reference]
public sealed class StageTests
{
    private static readonly SemaphoreSlim _twoAtATime = new(2);
    private static readonly Lazy<string> _programs = new(Compile);

    [Test]
    public void Server_with_the_core_up_to_a_stage_passes_it([Values(1, 2, 3, 4)] int stage)
    {
        string dll = Path.Combine(_programs.Value, "StageServer.dll");
        ExpectPassed(stage, first: 1, "SERVER", $"dotnet {dll} {stage} {{port}} {{dir}}");
    }

    [Test]
    public void Client_with_the_core_up_to_a_stage_passes_it([Values(2, 3, 4)] int stage)
    {
        string dll = Path.Combine(_programs.Value, "StageClient.dll");
        ExpectPassed(stage, first: 2, "CLIENT", $"dotnet {dll} {stage} {{host}} {{port}} {{command}} {{file}}");
    }

    private static void ExpectPassed(int stage, int first, string half, string template)
    {
        var verdicts = Grade(half, template, upTo: Math.Min(stage + 1, Stages.Put));
        Assert.Multiple(() =>
        {
            for (int each = first; each <= stage; each++)
            {
                var those = verdicts.Where(verdict => verdict.Stage == each).ToArray();
                var missed = those.Where(verdict => verdict.Outcome is "failed" or "advice");
                Assert.That(missed.Select(verdict => $"{verdict.Test}: {verdict.Message}"), Is.Empty, $"stage {each}");
                Assert.That(those.Count(verdict => verdict.Outcome == "passed"), Is.GreaterThan(3), $"stage {each}");
            }

            if (stage < Stages.Put)
            {
                Assert.That(verdicts.Where(verdict => verdict.Stage == stage + 1 && verdict.Outcome == "failed"),
                    Is.Not.Empty, $"passed without what stage {stage + 1} teaches");
            }
        });
    }

    private static Verdict[] Grade(string half, string template, int upTo)
    {
        _twoAtATime.Wait();
        string folder = TestFolders.New("stages");
        try
        {
            // Longer waits: this run is beside all other tests, and a program that has to pass may be slow.
            var start = SuiteProcess.In(
                folder, (half, template), ("UP_TO_STAGE", $"{upTo}"), ("SEED", $"{RunSettings.Current.Seed}"),
                ("TIMEOUT_SCALE", "3"));
            string said = SuiteProcess.Run(start);
            string report = Path.Combine(folder, "report.json");
            Assert.That(File.Exists(report), said);
            return ReportFile.Read(report)!.Verdicts;
        }
        finally
        {
            Directory.Delete(folder, true);
            _twoAtATime.Release();
        }
    }

    private static string Compile()
    {
        string folder = TestFolders.New("programs");
        string sources = Path.Combine(RunSettings.Root, "ConformanceTests", "SelfTests", "StagePrograms");
        foreach (string name in (string[])["StageServer", "StageClient"])
        {
            SyntaxTree[] trees =
            [
                CSharpSyntaxTree.ParseText(MutantBuild.ImplicitUsings),
                CSharpSyntaxTree.ParseText(File.ReadAllText(Path.Combine(sources, name + ".cs"))),
            ];
            var options = new CSharpCompilationOptions(
                OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable);
            var result = CSharpCompilation.Create(name, trees, MutantBuild.Libraries(), options)
                .Emit(Path.Combine(folder, name + ".dll"));
            Assert.That(result.Success, string.Join('\n', result.Diagnostics));
            File.Copy(Path.ChangeExtension(typeof(StageTests).Assembly.Location, ".runtimeconfig.json"),
                Path.Combine(folder, name + ".runtimeconfig.json"));
        }

        return folder;
    }

    [OneTimeTearDown]
    public static void RemovePrograms()
    {
        if (_programs.IsValueCreated)
        {
            Directory.Delete(_programs.Value, true);
        }
    }
}
