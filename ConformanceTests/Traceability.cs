// The specification and the suite, held against each other.

using System.Reflection;
using System.Text.RegularExpressions;
using static VerifyNUnit.Verifier;

[Reference]
public sealed class Traceability
{
    static IEnumerable<(string Id, string Test)> Tests() =>
        (from method in typeof(Traceability).Assembly.GetTypes().SelectMany(type => type.GetMethods())
         where method.GetCustomAttribute<ClauseAttribute>() is not null
         from id in method.GetCustomAttribute<ClauseAttribute>()!.Ids
         select (id, $"{method.DeclaringType!.Name}.{method.Name}"))
        .Concat(
            from transcript in Spec.Transcripts
            from id in transcript.Ids
            select (id, $"transcript {transcript.Name}"));

    [Test]
    public void The_specification_gives_each_normative_paragraph_one_id() => Assert.That(Spec.Mistakes, Is.Empty);

    [Test]
    public void Every_sentence_has_a_test() =>
        Assert.That(Spec.Clauses.Keys.Except(Tests().Select(test => test.Id)), Is.Empty);

    [Test]
    public void Every_test_names_a_sentence() =>
        Assert.That(Tests().Where(test => !Spec.Clauses.ContainsKey(test.Id)), Is.Empty);

    [Test]
    public void Every_snapshot_belongs_to_a_test()
    {
        var methods = typeof(Traceability).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods().Select(method => $"{type.Name}.{method.Name}"))
            .ToHashSet();
        string snapshots = Path.Combine(Settings.Root, "ConformanceTests", "Snapshots");
        var stray = Directory.GetFiles(snapshots, "*.verified.txt")
            .Select(Path.GetFileName)
            .Where(file => !methods.Contains(file!.Split(".verified.txt")[0].Split("_name=")[0].Split("_mutant=")[0]));
        Assert.That(stray, Is.Empty);
    }

    [Test]
    public void The_line_counts_in_the_README_are_true()
    {
        string readme = File.ReadAllText(Path.Combine(Settings.Root, "README.md"));
        var rows = Regex.Matches(readme, @"^\| \[[^\]]+\]\(([^)]+)\) \| ([\d,]+) \|", RegexOptions.Multiline);
        foreach (Match row in rows)
        {
            string path = Path.Combine(Settings.Root, row.Groups[1].Value);
            string[] files = Directory.Exists(path) ? Directory.GetFiles(path, "*.cs") : [path];
            int lines = files.Sum(file => File.ReadLines(file).Count());
            Assert.That(row.Groups[2].Value, Is.EqualTo($"{lines:N0}"), row.Groups[1].Value);
        }
    }

    [Test]
    public async Task Table() => await Verify(string.Join('\n', Spec.Clauses.Values.Select(Row)));

    static string Row(Clause clause)
    {
        string level = clause.Level.ToString().ToUpperInvariant();
        var tests = Tests().Where(test => test.Id == clause.Id).Select(test => test.Test).Distinct();
        return $"{clause.Id,-10} {level,-7} {string.Join(", ", tests)}";
    }
}
