using System.Reflection;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using static VerifyNUnit.Verifier;

namespace ConformanceTests.SelfTests;

/// <summary>Compares the specification with the suite: clauses and tests, snapshots and tests.</summary>
[Reference]
public sealed class SpecificationCoverage
{
    private static IEnumerable<(string Id, string Test)> Tests() =>
        (from method in typeof(SpecificationCoverage).Assembly.GetTypes().SelectMany(type => type.GetMethods())
         where method.GetCustomAttribute<ClauseAttribute>() is not null
         from id in method.GetCustomAttribute<ClauseAttribute>()!.Ids
         select (id, $"{method.DeclaringType!.Name}.{method.Name}"))
        .Concat(
            from transcript in ProtocolSpecification.Transcripts
            from id in transcript.Ids
            select (id, $"transcript {transcript.Name}"));

    [Test]
    public void The_specification_gives_each_normative_paragraph_one_id() =>
        Assert.That(ProtocolSpecification.Mistakes, Is.Empty);

    [Test]
    public void Every_sentence_has_a_test() =>
        Assert.That(ProtocolSpecification.Clauses.Keys.Except(Tests().Select(test => test.Id)), Is.Empty);

    [Test]
    public void Every_test_names_a_sentence() =>
        Assert.That(Tests().Where(test => !ProtocolSpecification.Clauses.ContainsKey(test.Id)), Is.Empty);

    [Test]
    public void Every_snapshot_belongs_to_a_test()
    {
        var methods = typeof(SpecificationCoverage).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods().Select(method => $"{type.Name}.{method.Name}"))
            .ToHashSet();
        var stray = Directory.GetFiles(SnapshotSettings.Folder, "*.verified.txt")
            .Select(Path.GetFileName)
            .Where(file => !methods.Contains(file!.Split(".verified.txt")[0].Split("_name=")[0].Split("_mutant=")[0]));
        Assert.That(stray, Is.Empty);
    }

    [Test]
    public async Task Table() => await Verify(string.Join('\n', ProtocolSpecification.Clauses.Values.Select(Row)));

    private static string Row(Clause clause)
    {
        string level = clause.Level.ToString().ToUpperInvariant();
        var tests = Tests()
            .Where(test => test.Id == clause.Id)
            .Select(test => test.Test)
            .Distinct()
            .Order(StringComparer.Ordinal);
        return $"{clause.Id,-10} {level,-7} {string.Join(", ", tests)}";
    }
}
