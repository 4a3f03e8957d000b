using NUnit.Framework.Internal;

namespace ConformanceTests.SelfTests;

/// <summary>The words of failures.</summary>
[Reference]
public sealed class WordingTests
{
    [Test]
    public void No_type_of_the_suite_is_named([Values] bool inAnotherThread)
    {
        Exception[] errors =
        [
            new TimeoutException("The operation has timed out."), new IOException("The process cannot access the file"),
            new SocketException((int)SocketError.ConnectionReset), new SocketException((int)SocketError.HostDown),
            new InvalidOperationException("Sequence contains no elements"), new FileNotFoundException("cat.png"),
            new IndexOutOfRangeException(), new FormatException(), new ArgumentException("x"),
        ];
        var result = TestExecutionContext.CurrentContext.CurrentTest.MakeTestResult();
        foreach (var error in errors)
        {
            var thrown = inAnotherThread ? new AggregateException(error) : error;
            var scope = new TestScope([], "Server_answers") { Thrown = thrown };
            string text = TestFailure.Of(result, scope).Text();
            Assert.That(text, Does.Not.Match(@"System\.|Exception|Assert|Linq"));
            Assert.That(text, Does.Contain("expected  server answers"));
            Assert.That(text, Does.Match(@"received  \w"));
        }
    }

    [Test]
    public void Client_escapes_what_a_terminal_would_obey() =>
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

    // The tables of stages in the two documents have the names that the report uses.
    [TestCase("README.md"), TestCase("Handout.md")]
    public void Documents_name_the_stages_as_the_report_does(string document)
    {
        string readme = File.ReadAllText(Path.Combine(RunSettings.Root, "ConformanceTests", document));
        var stages = Enumerable.Range(1, Stages.All.Length - 1).Where(stage => Stages.Sections(stage) != "");
        foreach (int stage in stages)
        {
            Assert.That(readme, Does.Match($@"(?m)^\|.*\b{stage} {Stages.All[stage].Name} \|"), $"{stage}");
        }
    }
}
