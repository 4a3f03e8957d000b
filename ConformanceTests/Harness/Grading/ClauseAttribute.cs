using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal.Commands;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Names the clauses that a test is about, the main one first. It also decides whether the test belongs to this
/// run, words its failure and adds its verdict to the report.
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
        command is TestMethodCommand ? new KeepsWhatIsThrown(command) : new Judged(command, ids, NotBefore);

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
    private static Clause[] ClausesOf(ITest test, string[] ids)
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

    private sealed class Judged(TestCommand inner, string[] ids, int notBefore) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            var clauses = ClausesOf(context.CurrentTest, ids);
            var fixture = context.CurrentTest.Method!.TypeInfo.Type;
            int stage = Stages.Of(clauses, context.CurrentTest.Arguments, notBefore);
            // Clauses that only bind the other half come last: a report quotes the first one.
            bool isClient = typeof(ClientFixture).IsAssignableFrom(fixture);
            clauses = [.. clauses.OrderBy(clause => Stages.IsOfClients(clause) != isClient)];

            string name = NameInReport(context.CurrentTest);
            var delivery = context.CurrentTest.Arguments.OfType<Delivery>().Cast<Delivery?>().FirstOrDefault();
            void Note(string outcome, string message = "", Failure? failure = null)
            {
                var verdict = new Verdict(stage, clauses[0].Id, name, outcome, message)
                {
                    Failure = failure,
                    Fixture = FixtureOf(context.CurrentTest),
                    Delivery = delivery,
                };
                RunReport.Add(verdict, clauses);
                if (RunSettings.Current.OneIsEnough && verdict.IsWrong)
                {
                    Screen.WriteLine($"{Screen.FirstFailure}{verdict.Fixture}.{verdict.Test}");
                }
            }

            string? why = (RunSettings.Current.OneIsEnough && RunReport.HasFailed ? "one failure is enough" : null)
                ?? NotForThisRun(fixture, stage, clauses)
                ?? (WindowsLimits.Lacks(context.CurrentTest.MethodName!) ? "not there on Windows" : null);
            if (why is not null)
            {
                if (why.StartsWith("not offered"))
                {
                    Note("not offered", why);
                }
                else
                {
                    RunReport.Skip(stage);
                }

                context.CurrentResult.SetResult(ResultState.Ignored, why);
                return context.CurrentResult;
            }

            bool timeIsUp = RunSettings.Current.TimeIsUp;
            if (PreviousRun.VerdictToKeep(FixtureOf(context.CurrentTest), name, timeIsUp) is { } earlier)
            {
                Note(earlier.Outcome, earlier.Message);
                context.CurrentResult.SetResult(ResultState.Ignored, "not asked again");
                return context.CurrentResult;
            }

            if (timeIsUp)
            {
                Note("failed", $"{PreviousRun.NotReached}{RunSettings.Current.Minutes} minutes were over.\n");
                context.CurrentResult.SetResult(ResultState.Failure, "not reached");
                return context.CurrentResult;
            }

            var scope = new TestScope([.. clauses.Select(clause => clause.Id)], name);
            CurrentScope = scope;
            var result = context.CurrentResult = innerCommand.Execute(context);
            CurrentScope = null;
            Failure? failure = result.ResultState.Status == TestStatus.Failed ? TestFailure.Of(result, scope)
                : result.ResultState.Status == TestStatus.Passed ? ClientBaseline.FailsEvenTheSimpleCase(scope) : null;
            if (failure is not null)
            {
                var clause = ProtocolSpecification.Find(failure.Sentence ?? clauses[0].Id);
                string text = $"\n{clause.Sentence}\n\n{failure.Text().TrimEnd()}\n";
                bool advice = (failure.IsAdvice || clauses[0].Level < Level.Must) && !RunSettings.Current.Strict;
                Note(advice ? "advice" : "failed", text, failure);
                result.SetResult(advice ? ResultState.Ignored : ResultState.Failure, text);
            }
            else if (result.ResultState.Status == TestStatus.Skipped)
            {
                Note(result.Message.StartsWith("not offered") ? "not offered" : "not looked at",
                    Skip.Why(result.Message));
            }
            else
            {
                Note("passed");
            }

            return result;
        }

        private static string? NotForThisRun(Type fixture, int stage, Clause[] clauses)
        {
            if (RunSettings.Current.Stage != 0 && RunSettings.Current.Stage != stage)
            {
                return $"not of stage {RunSettings.Current.Stage}";
            }

            if (RunSettings.Current.UpToStage != 0 && stage > RunSettings.Current.UpToStage)
            {
                return $"after stage {RunSettings.Current.UpToStage}";
            }

            bool client = typeof(ClientFixture).IsAssignableFrom(fixture);
            if (client ? !RunSettings.Current.TestsClient : !RunSettings.Current.TestsServer)
            {
                return "the other half is tested";
            }

            string template = client ? CommandTemplates.ClientTemplate : CommandTemplates.ServerTemplate;
            bool isSealed = clauses.Any(clause => clause.Feature == "sealed");
            if (isSealed && !template.Contains("{key}"))
            {
                return "not offered: key";
            }

            if (client)
            {
                return null;
            }

            return clauses.Select(clause => Extensions.Missing(clause.Id))
                .FirstOrDefault(missing => missing is not null);
        }
    }
}
