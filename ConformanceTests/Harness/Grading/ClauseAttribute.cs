using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal.Commands;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Names the clauses that a test is about, the main one first, and has the test judged by them (JudgedTest).
/// </summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class ClauseAttribute(params string[] ids) : NUnitAttribute, IWrapSetUpTearDown, IWrapTestMethod,
    IApplyToTest
{
    public string[] Ids => ids;

    /// <summary>The earliest stage of the test, if that is later than the clauses and arguments say.</summary>
    public int NotBefore { get; init; }

    // The ids are categories as well: --filter TestCategory=GET-3 runs the tests of that paragraph.
    public void ApplyToTest(Test test)
    {
        foreach (string id in ids)
        {
            test.Properties.Add(PropertyNames.Category, id);
        }

        // The first stages run first, so that the first lines appear soon.
        if (ids.Length > 0)
        {
            test.Properties.Set(PropertyNames.Order, Stages.Of(ClausesOf(ids, null), test.Arguments, NotBefore));
        }

        // The arguments of some tests contain control characters, which would clear the screen.
        test.Name = Wording.Printable(test.Name);
        test.FullName = Wording.Printable(test.FullName);
    }

    // NUnit calls this twice: for the method alone, and for the method with its set-up and tear-down.
    public TestCommand Wrap(TestCommand command) =>
        command is TestMethodCommand ? new KeepsWhatIsThrown(command) : new JudgedTest(command, ids, NotBefore);

    private static readonly AsyncLocal<TestScope?> _scope = new();

    /// <summary>The connections and programs of the test that is running.</summary>
    public static TestScope? CurrentScope
    {
        get => _scope.Value;
        set => _scope.Value = value;
    }

    /// <summary>Returns the stage of a test, or 0 if it has no clause.</summary>
    public static int StageOf(ITest test)
    {
        if (test.Method?.GetCustomAttributes<ClauseAttribute>(true).FirstOrDefault() is not { } attribute)
        {
            return 0;
        }

        return Stages.Of(ClausesOf(test, attribute.Ids), test.Arguments, attribute.NotBefore);
    }

    /// <summary>The clauses of a test. In the second mode of a fixture, the one about that mode comes first.</summary>
    internal static Clause[] ClausesOf(ITest test, string[] ids)
    {
        var clauses = ClausesOf(ids, test.Arguments.OfType<Transcript>().FirstOrDefault());
        string? mode = ModeOf(test) switch { Channel.Sealed => "SEAL-7", Uploads.Ahead => "AHEAD-1", _ => null };
        return mode is null ? clauses : [ProtocolSpecification.Find(mode), .. clauses];
    }

    // The second mode of a fixture that runs in two, or null.
    private static object? ModeOf(ITest? test) =>
        test is null ? null
        : test.Arguments.FirstOrDefault(argument => argument is Channel.Sealed or Uploads.Ahead) ?? ModeOf(test.Parent);

    /// <summary>The name of the fixture of a test, with its second mode.</summary>
    public static string FixtureOf(ITest test) =>
        $"{test.Method?.TypeInfo.Type.Name}{(ModeOf(test) is { } mode ? $"({mode})" : "")}";

    // NUnit keeps only the text of an exception. The report needs the exception itself.
    private sealed class KeepsWhatIsThrown(TestCommand inner) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            try
            {
                return innerCommand.Execute(context);
            }
            catch (Exception e) when (CurrentScope is { } scope)
            {
                scope.Thrown = e;
                throw;
            }
        }
    }

    public static Clause[] ClausesOf(string[] ids, Transcript? transcript) =>
        [.. (ids.Length > 0 ? ids : transcript!.Ids).Select(ProtocolSpecification.Find)];

    /// <summary>The name of a test in the report: that of its transcript, if it plays one.</summary>
    public static string NameInReport(ITest test) =>
        test.Arguments.OfType<Transcript>().FirstOrDefault() is { } transcript
            ? $"{transcript.Name}, {test.Arguments[1]}"
            : test.Name;
}
