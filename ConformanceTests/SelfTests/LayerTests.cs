using System.Text.RegularExpressions;
using ConformanceTests.Harness.Grading;

namespace ConformanceTests.SelfTests;

/// <summary>Each layer of the suite knows only those below it; the one at the top knows NUnit.</summary>
[Reference]
public sealed class LayerTests
{
    // Each with the layers that it may use.
    private static readonly (string Folder, string[] Uses)[] _layers =
    [
        ("Harness/Specification", []),
        ("Harness/Wire", ["Harness.Specification"]),
        ("Harness/Diagnosis", ["Harness.Specification", "Harness.Wire"]),
        ("Harness/Programs", ["Harness.Specification", "Harness.Wire", "Harness.Diagnosis"]),
        ("Report", ["Harness.Specification", "Harness.Wire", "Harness.Diagnosis"]),
    ];

    [TestCaseSource(nameof(_layers))]
    public void A_layer_uses_only_those_below_it((string Folder, string[] Uses) layer)
    {
        string folder = Path.Combine(RunSettings.Root, "ConformanceTests", layer.Folder);
        string own = layer.Folder.Replace('/', '.');
        foreach (string file in Directory.GetFiles(folder, "*.cs", SearchOption.AllDirectories))
        {
            string code = Regex.Replace(File.ReadAllText(file), @"//.*", "");
            var used = Regex.Matches(code, @"\bConformanceTests\.((?:Harness\.)?[A-Z]\w+)")
                .Select(match => match.Groups[1].Value);
            Assert.That(used.Except([own, .. layer.Uses]), Is.Empty, file);
            Assert.That(code, Does.Not.Match(@"\b(NUnit|Assert|TestContext|RunSettings|AsyncLocal)\b"), file);
            Assert.That(code, Does.Not.Match(@"\bGetEnvironmentVariables?\b"), file);
        }
    }
}
