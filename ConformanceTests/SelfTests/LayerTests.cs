using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using ConformanceTests.Mutants;

namespace ConformanceTests.SelfTests;

/// <summary>Each layer of the suite compiles with only those below it, and without NUnit.</summary>
[Reference, Slow]
public sealed class LayerTests
{
    // Each with the layers that it may use.
    private static readonly (string Folder, string[] Uses)[] _layers =
    [
        ("Harness/Specification", []),
        ("Harness/Wire", ["Harness/Specification"]),
        ("Harness/Diagnosis", ["Harness/Specification", "Harness/Wire"]),
        ("Harness/Programs", ["Harness/Specification", "Harness/Wire", "Harness/Diagnosis"]),
        ("Report", ["Harness/Specification", "Harness/Wire", "Harness/Diagnosis"]),
    ];

    private static readonly string _suite = Path.Combine(RunSettings.Root, "ConformanceTests");

    [TestCaseSource(nameof(_layers))]
    public void A_layer_compiles_with_only_those_below_it((string Folder, string[] Uses) layer)
    {
        string[] folders = [layer.Folder, .. layer.Uses];
        string[] sources = [.. folders.SelectMany(Sources)];
        string project = File.ReadAllText(Path.Combine(_suite, "ConformanceTests.csproj"));
        var usings = Regex.Matches(project, "<Using Include=\"(.*?)\" />").Select(match => match.Groups[1].Value)
            .Where(name => name.StartsWith("System") || sources.Any(source => source.Contains($"namespace {name};")))
            .Select(name => $"global using {name};");
        string all = MutantBuild.ImplicitUsings + string.Concat(usings);
        var compilation = CSharpCompilation.Create(
            "Layer", sources.Append(all).Select(source => CSharpSyntaxTree.ParseText(source)), MutantBuild.Libraries());
        // The regular expressions are written by a generator, which does not run here.
        var errors = compilation.GetDiagnostics()
            .Where(item => item.Severity == DiagnosticSeverity.Error && item.Id is not ("CS8795" or "CS5001"));
        Assert.That(errors, Is.Empty);
        foreach (string source in Sources(layer.Folder))
        {
            Assert.That(source, Does.Not.Match(@"\b(AsyncLocal|GetEnvironmentVariables?)\b"));
        }
    }

    private static IEnumerable<string> Sources(string folder) =>
        Directory.GetFiles(Path.Combine(_suite, folder), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText);
}
