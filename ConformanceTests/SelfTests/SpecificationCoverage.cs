using System.Reflection;
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
        Assert.That(ProtocolSpecification.Errors, Is.Empty);

    [Test]
    public void Every_sentence_has_a_test() =>
        Assert.That(ProtocolSpecification.Clauses.Keys.Except(Tests().Select(test => test.Id)), Is.Empty);

    [Test]
    public void Every_test_names_a_sentence() =>
        Assert.That(Tests().Where(test => !ProtocolSpecification.Clauses.ContainsKey(test.Id)), Is.Empty);

    [Test]
    public void Every_optional_feature_names_paragraphs_that_exist_and_each_of_its_own_section()
    {
        string[] named = [.. ProtocolTables.Features.SelectMany(feature => feature.Clauses)];
        Assert.That(named, Is.Unique.And.SubsetOf(ProtocolSpecification.Clauses.Keys));
        var inPartThree = ProtocolSpecification.Clauses.Values
            .Where(clause => int.Parse(clause.Section.Split('.')[0]) is >= 16 and <= 21 && clause.Id != "LINE-4");
        Assert.That(inPartThree.Select(clause => clause.Id), Is.SubsetOf(named));
        foreach (var feature in ProtocolTables.Features)
        {
            int stage = Stages.Of([ProtocolSpecification.Find(feature.Clauses[0])], []);
            Assert.That(stage, Is.GreaterThan(Stages.ManyClients), $"{feature.Name} has no stage");
        }
    }

    [Test]
    public void Limits_codes_and_types_are_read_from_the_specification()
    {
        Assert.That(Limits.UploadBytes, Is.EqualTo(1 << 30));
        Assert.That((Limits.PaceBytes, Limits.PaceSeconds), Is.EqualTo((80 << 10, 20)));
        Assert.That(Limits.HistoryLines, Is.EqualTo(1000));
        Assert.That(ProtocolTables.Codes.Where(row => row.Closes).Select(row => row.Code), Is.EquivalentTo(
            new[] { "bad-request", "too-large", "busy", "timeout", "stopping", "internal" }));
        Assert.That(ProtocolTables.DefaultTypes, Is.EqualTo(new[] { "jpg", "jpeg", "png" }));
        Assert.That(ProtocolTables.PictureTypes, Does.Contain("jxl").And.Contain("png").And.Not.Contain("pdf"));
    }

    // Each stage is read about somewhere, and what it names exists.
    [Test]
    public void Every_stage_has_sections_to_read()
    {
        var sections = ProtocolSpecification.Clauses.Values.Select(clause => clause.Section)
            .Concat(["1", "2"]).ToHashSet();
        for (int stage = 1; stage < Stages.All.Length; stage++)
        {
            Assert.That(Stages.Sections(stage), Is.Not.Empty, $"stage {stage}");
            Assert.That(Stages.All[stage].Reads, Is.SubsetOf(sections), $"stage {stage}");
        }
    }

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
