namespace ConformanceTests.Mutants;

/// <summary>The program with one mistake, which the suite has to catch.</summary>
/// <param name="Name">What the mistake is, in a few words.</param>
/// <param name="KilledBy">The id of the clause whose tests have to catch it.</param>
/// <param name="Member">
/// Where the mistake is, as Type.Member: a method (with all of its overloads), a constructor (called as its type), a
/// property, a field or a nested type. A type alone is allowed, too. All parts of a partial type are searched.
/// </param>
/// <param name="Find">The tokens to be changed. They have to occur exactly once in the member.</param>
/// <param name="Replace">The source text that takes their place.</param>
/// <param name="AsReference">
/// True if only tests of the program's own options can catch it. Otherwise it is graded as other people's programs are.
/// </param>
public sealed record Mutant(
    string Name, string KilledBy, string Member, string Find, string Replace, bool AsReference = false)
{
    public override string ToString() => Name;
}

/// <summary>All mutants.</summary>
public static class MutantList
{
    public static readonly Mutant[] All = [.. ClientMistakes.All, .. ServerMistakes.All];

    /// <summary>
    /// Clauses that no change to a few tokens of this program violates in a way that a test could see.
    /// </summary>
    public static readonly (string Id, string Reason)[] ShownByNoMutant =
    [
        ("CONF-1", "this server has all optional features; REQ-1 shows its answer to what it does not know"),
    ];
}
