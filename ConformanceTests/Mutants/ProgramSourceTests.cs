namespace ConformanceTests.Mutants;

/// <summary>Tests how a mutant's place in the program is found.</summary>
[Reference]
public sealed class ProgramSourceTests
{
    private static readonly ProgramSource _source = new(
        ("One.cs",
            """
            namespace Pictures;

            partial class Loop
            {
                const int Most = 10;        // a limit

                Loop(int first) { Run(first); }

                int Size => Most;

                void Run(int i) { if (i > 1)   Stop( ); }

                class Wait { void Stop() { Give(1); } }
            }
            """),
        ("Two.cs",
            """
            partial class Loop
            {
                void Run(string s)
                {
                    Stop(/* all of it */);
                    Take($"{s}", List<List<int>>.Empty);
                }

                int Last = 0, Next = 1;
            }
            """));

    [TestCase("Loop.Most", "= 10;", "= 11;", "const int Most = 11;        // a limit")]
    [TestCase("Loop.Loop", "Run(first);", "", "Loop(int first) {  }")]
    [TestCase("Loop.Size", "Most", "Most + 1", "int Size => Most + 1;")]
    [TestCase("Loop.Run", "i>1", "i > 2", "if (i > 2)   Stop( );")]
    [TestCase("Loop.Run", "Take($\"{s}\", List<List<int>>.Empty)", "Take(s)", "    Take(s);")]
    [TestCase("Loop.Wait.Stop", "Give(1)", "Give(2)", "void Stop() { Give(2); }")]
    [TestCase("Loop.Wait", "1", "2", "Give(2)")]
    [TestCase("Loop.Next", "Next = 1", "Next = 2", "Last = 0, Next = 2;")]
    [TestCase("Loop", "void Run(int i) {", "void Run(int i) { i++;", "void Run(int i) { i++; if (i > 1)")]
    public void A_mutant_is_found_by_its_tokens_in_the_member(
        string member, string find, string replace, string line) =>
        Assert.That(Apply(member, find, replace), Does.Contain(line));

    [TestCase("Loop.Go", "Stop()", "", "there is no such member in One.cs or Two.cs; it occurs in Loop.Run (2)")]
    [TestCase("Loop.Run", "Stop()", "",
        "occurs 2 times in One.cs:11, Two.cs:3, and has to occur once")]
    [TestCase("Loop.Run", "Give(1)", "",
        "occurs 0 times in One.cs:11, Two.cs:3, and has to occur once; it occurs in Loop.Wait.Stop (1)")]
    [TestCase("Loop.Run", "Get(1)", "",
        "occurs 0 times in One.cs:11, Two.cs:3, and has to occur once; it occurs in no other member")]
    [TestCase("Loop.Most", "= 10;", "=  10 ;", "changes nothing")]
    [TestCase("Loop.Most", " /* nothing */ ", "1", "has nothing to find")]
    [TestCase("Loop.Run", "if (i > 1)", "if (i > ", "with its replacement the file does not parse")]
    public void A_mutant_that_cannot_be_made_says_why(string member, string find, string replace, string why) =>
        Assert.That(() => Apply(member, find, replace),
            Throws.TypeOf<MutantException>().With.Message.Contains($"mutant \"this one\", {member}: {why}"));

    private static string Apply(string member, string find, string replace) =>
        _source.Apply(new Mutant("this one", "CONN-1", member, find, replace)).After.GetText().ToString();
}
