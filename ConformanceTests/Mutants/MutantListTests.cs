namespace ConformanceTests.Mutants;

/// <summary>Checks the list of mutants without a run of the suite.</summary>
[Reference]
public sealed class MutantListTests
{
    [Test, Slow]
    public void Every_mutant_applies() =>
        Assert.That(string.Join("\n\n", MutantList.All.Select(Problem).Where(problem => problem != "")), Is.Empty);

    /// <summary>`make mutants-check`: each mutant compiles.</summary>
    [Test, Explicit("it takes a minute")]
    public void Every_mutant_compiles()
    {
        var problems = MutantList.All
            .Where(mutant => Problem(mutant) == "")             // the test above reports these
            .Select(mutant => (mutant, Errors: MutantBuild.Errors(mutant)))
            .Where(row => row.Errors.Count > 0)
            .Select(row => $"mutant \"{row.mutant.Name}\", {row.mutant.Member}: does not compile\n"
                + string.Join('\n', row.Errors.Take(3).Select(error => $"  {error}")));
        Assert.That(string.Join("\n\n", problems), Is.Empty);
    }

    [Test]
    public void No_two_mutants_have_the_same_name() =>
        Assert.That(MutantList.All.Select(mutant => mutant.Name), Is.Unique);

    [Test]
    public void Every_mutant_names_a_clause() =>
        Assert.That(
            MutantList.All.Select(mutant => mutant.KilledBy).Except(ProtocolSpecification.Clauses.Keys), Is.Empty);

    [Test]
    public void Every_MUST_has_a_mutant_or_a_reason()
    {
        var required = ProtocolSpecification.Clauses.Values
            .Where(clause => clause.Level == Level.Must)
            .Select(clause => clause.Id);
        var shown = MutantList.All.Select(mutant => mutant.KilledBy);
        var excused = MutantList.ShownByNoMutant.Select(row => row.Id);
        Assert.That(required.Except(shown).Except(excused), Is.Empty);
    }

    private static string Problem(Mutant mutant)
    {
        try
        {
            MutantBuild.Source.Apply(mutant);
            return "";
        }
        catch (MutantException e)
        {
            return e.Message;
        }
    }
}
