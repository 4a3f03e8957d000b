using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Programs;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Report;

namespace ConformanceTests.SelfTests;

/// <summary>The words of failures.</summary>
[Reference]
public sealed class WordingTests
{
    // ---- words ----

    private static Failure Check(string message, string test = "Nothing_is_said", params string[] clauses)
    {
        return TestFailure.FailureFromAssertion(message, new TestScope(clauses, test));
    }

    [Test]
    public void A_check_is_told_in_words()
    {
        var listing = Check(
            "  Assert.That(Connect().List(), Is.Empty)\n  Expected: <empty>\n  But was:  < \"a|1\" >", clauses: "P1");
        Assert.That(
            listing.ExpectedReceivedRows(hint: false),
            Is.EqualTo("expected  the listing: nothing\nreceived  \"a|1\"\n"));
        Assert.That(listing.Sentence, Is.EqualTo("P1"));
        var shows = Check(
            "  Assert.That(Server.Shows(\"cat.png\"), Is.False)\n  Expected: False\n  But was:  True",
            clauses: "BLOCK-2");
        Assert.That(shows.ExpectedReceivedRows(hint: false), Is.EqualTo(
            "expected  cat.png does not show in the server's folder\nreceived  cat.png shows in the server's "
                + "folder\n"));
        Assert.That((shows.HintName, shows.Sentence), Is.EqualTo(("shows too early", "P1")));
        var exit = Check(
            "  Assert.That(client.WaitForExit(), Is.Not.Zero)\n  Expected: not equal to 0\n  But was:  0",
            clauses: "CLI-7");
        Assert.That(exit.ExpectedReceivedRows(hint: false), Is.EqualTo(
            "expected  the client's exit code: other than 0\nreceived  0\n"));
        Assert.That(exit.Sentence, Is.Null);
        var longer = Check("  Assert.That(slow.Get(\"cat.png\"), Is.EqualTo(Notation.Bytes(12)))\n"
            + "  Expected is <System.Byte[12]>, actual is <System.Byte[30]>\n  Values differ at index [12]\n"
            + "  Extra:    < 211, 13... >");
        Assert.That(longer.ExpectedReceivedRows(hint: false), Is.EqualTo(
            "expected  what GET of cat.png brought: the same as was sent or stored\n"
            + "received  12 expected, 30 received; they differ first at number 12, counted from 0\n"));
        var said = Check(
            "  it spoke too soon\nAssert.That(wire.HasMore, Is.False)\n  Expected: False\n  But was:  True");
        Assert.That(
            said.ExpectedReceivedRows(hint: false),
            Is.EqualTo("expected  nothing is said\nreceived  it spoke too soon\n"));
        var octets = Check(
            "  Assert.That(wire.Get(\"a.png\"), Is.EqualTo(Cat))\n  Expected: < 79, 75, 10 >\n  But was:  < 79 >");
        Assert.That(octets.ExpectedReceivedRows(hint: false), Is.EqualTo(
            "expected  what GET of a.png brought: OK\\n\nreceived  O\n"));
    }

    [Test]
    public void A_time_is_told_in_words()
    {
        string CheckOf(string took) =>
            "  Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(a, b))\n  Expected: in range (9,22)\n  But was:  "
            + took;

        var late = Check(CheckOf("40.01d"), clauses: "LIMIT-1");
        Assert.That(late.ExpectedReceivedRows(hint: true),
            Does.Contain("still went on after 40 s").And.Contain("between 9 and 22 s")
            .And.Contain("one deadline for the line, from its first byte on, not one for each receive"));
        var early = Check(CheckOf("0.0091d"), clauses: "LIMIT-1");
        Assert.That(early.Received, Is.EqualTo("an answer, or the end, after 0 s"));
    }

    [Test]
    public void No_type_of_the_suite_is_named()
    {
        string[] messages =
        [
            "System.TimeoutException : The operation has timed out.\n   at Wire.Fill()",
            "System.IO.IOException : The process cannot access the file",
            "System.Net.Sockets.SocketException : Connection reset by peer",
            "System.InvalidOperationException : Sequence contains no elements",
            "  Assert.That(listed, Is.EqualTo(x))\n  Expected is <System.String[4]>, actual is "
                + "<System.Linq.Enumerable+X>\n"
                + "  Values differ at index [0]\n  Expected: \"a-b.png\"\n  But was:  \"b.png\"",
        ];
        foreach (string message in messages)
        {
            Assert.That(Check(message).Text(),
                Does.Not.Match(@"System\.|Exception|Assert|Wire|Linq").And.Contain("expected  "));
        }
    }

    [Test]
    public void What_a_terminal_would_obey_is_escaped() =>
        Assert.That(Wording.Printable("\u001b[2J\u202e\u200d\u0085 ä猫"), Is.EqualTo("\\x1B[2J\\u202E\\u200D\\x85 ä猫"));

    private static readonly (string Said, int Exit, bool IsCrash)[] _ends =
    [
        ("Traceback (most recent call last):\n  File \"x\"\nValueError: no\n", 1, true),
        ("Unhandled exception. System.Exception: no\n", 134, true),
        ("Exception in thread \"main\" java.io.IOException\n", 1, true),
        ("panic: runtime error\n", 2, true),
        ("thread 'main' panicked at src/main.rs:3\n", 101, true),
        ("", 139, true),
        ("cat.png: not-found: no file of that name\n", 1, false),
        ("error: the server said ER|exists|it is here\n", 2, false),
    ];

    [TestCaseSource(nameof(_ends))]
    public void A_crash_is_no_refusal((string Said, int Exit, bool IsCrash) end) =>
        Assert.That(Wording.Crash(end.Said, end.Exit) is not null, Is.EqualTo(end.IsCrash));

    // Each stage that has sentences stands in README's table, under the name that the report gives it.
    [Test]
    public void README_names_the_stages_as_the_report_does()
    {
        string readme = File.ReadAllText(Path.Combine(RunSettings.Root, "README.md"));
        var stages = Enumerable.Range(1, Stages.All.Length - 1).Where(stage => Stages.Sections(stage) != "");
        foreach (int stage in stages)
        {
            Assert.That(readme, Does.Match($@"(?m)^\|.*\b{stage} {Stages.All[stage].Name}( \||  *·)"), $"{stage}");
        }
    }
}
