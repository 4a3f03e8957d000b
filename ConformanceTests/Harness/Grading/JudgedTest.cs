using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Decides whether a test belongs to this run, runs it, words its failure, and adds its verdict to the report.
/// </summary>
internal sealed class JudgedTest(TestCommand inner, string[] ids, int notBefore) : DelegatingTestCommand(inner)
{
    private ITest _test = null!;
    private Clause[] _clauses = [];
    private int _stage;
    private bool _isOfClient;

    private string Name => ClauseAttribute.NameInReport(_test);

    public override TestResult Execute(TestExecutionContext context)
    {
        _test = context.CurrentTest;
        Clause[] clauses = ClauseAttribute.ClausesOf(_test, ids);
        _stage = Stages.Of(clauses, _test.Arguments, notBefore);
        _isOfClient = typeof(ClientFixture).IsAssignableFrom(_test.Method!.TypeInfo.Type);

        // Clauses that only bind the other half come last: a report quotes the first one.
        _clauses = [.. clauses.OrderBy(clause => Stages.IsOfClients(clause) != _isOfClient)];
        if (!IsDecidedBefore(context.CurrentResult))
        {
            context.CurrentResult = Run(context);
        }

        return context.CurrentResult;
    }

    // Says whether the test does not run, and gives it its result then.
    private bool IsDecidedBefore(TestResult result)
    {
        if (WhyLeftOut() is { } why)
        {
            if (why.StartsWith("not offered"))
            {
                AddVerdict("not offered", why);
            }
            else
            {
                RunReport.Skip(_stage);
            }

            result.SetResult(ResultState.Ignored, why);
            return true;
        }

        bool timeIsUp = RunSettings.Current.TimeIsUp;
        if (PreviousRun.VerdictToKeep(ClauseAttribute.FixtureOf(_test), Name, timeIsUp) is { } earlier)
        {
            AddVerdict(earlier.Outcome, earlier.Message);
            result.SetResult(ResultState.Ignored, "not asked again");
            return true;
        }

        if (timeIsUp)
        {
            AddVerdict("failed", $"{PreviousRun.NotReached}{RunSettings.Current.Minutes} minutes were over.\n");
            result.SetResult(ResultState.Failure, "not reached");
        }

        return timeIsUp;
    }

    private TestResult Run(TestExecutionContext context)
    {
        var scope = new TestScope([.. _clauses.Select(clause => clause.Id)], Name);
        ClauseAttribute.CurrentScope = scope;
        TestResult result = innerCommand.Execute(context);
        ClauseAttribute.CurrentScope = null;
        if (FailureOf(result, scope) is { } failure)
        {
            AddFailure(result, failure);
        }
        else if (result.ResultState.Status == TestStatus.Skipped)
        {
            string outcome = result.Message.StartsWith("not offered") ? "not offered" : "not looked at";
            AddVerdict(outcome, Skip.Why(result.Message));
        }
        else
        {
            AddVerdict("passed");
        }

        return result;
    }

    private static Failure? FailureOf(TestResult result, TestScope scope) => result.ResultState.Status switch
    {
        TestStatus.Failed => TestFailure.Of(result, scope),
        TestStatus.Passed => ClientBaseline.FailsEvenTheSimpleCase(scope),
        _ => null,
    };

    private void AddFailure(TestResult result, Failure failure)
    {
        var clause = ProtocolSpecification.Find(failure.Sentence ?? _clauses[0].Id);
        string text = $"\n{clause.Sentence}\n\n{failure.Text().TrimEnd()}\n";
        bool advice = (failure.IsAdvice || _clauses[0].Level < Level.Must) && !RunSettings.Current.Strict;
        AddVerdict(advice ? "advice" : "failed", text, failure);
        result.SetResult(advice ? ResultState.Ignored : ResultState.Failure, text);
    }

    private void AddVerdict(string outcome, string message = "", Failure? failure = null)
    {
        var verdict = new Verdict(_stage, _clauses[0].Id, Name, outcome, message)
        {
            Failure = failure,
            Fixture = ClauseAttribute.FixtureOf(_test),
            Delivery = _test.Arguments.OfType<Delivery>().Cast<Delivery?>().FirstOrDefault(),
        };
        RunReport.Add(verdict, _clauses);
        if (RunSettings.Current.OneIsEnough && verdict.IsWrong)
        {
            Screen.WriteLine($"{Screen.FirstFailure}{verdict.Fixture}.{verdict.Test}");
        }
    }

    // Why the test does not belong to this run, or null.
    private string? WhyLeftOut()
    {
        RunSettings settings = RunSettings.Current;
        return settings switch
        {
            { OneIsEnough: true } when RunReport.HasFailed => "one failure is enough",
            { Stage: not 0 } when settings.Stage != _stage => $"not of stage {settings.Stage}",
            { UpToStage: not 0 } when _stage > settings.UpToStage => $"after stage {settings.UpToStage}",
            _ when !(_isOfClient ? settings.TestsClient : settings.TestsServer) => "the other half is tested",
            _ => WhyNotOffered() ?? (WindowsLimits.Lacks(_test.MethodName!) ? "not there on Windows" : null),
        };
    }

    private string? WhyNotOffered()
    {
        string template = _isOfClient ? CommandTemplates.ClientTemplate : CommandTemplates.ServerTemplate;
        if (_clauses.Any(clause => clause.Feature == "sealed") && !template.Contains("{key}"))
        {
            return "not offered: key";
        }

        return _isOfClient
            ? null
            : _clauses.Select(clause => Extensions.Missing(clause.Id)).FirstOrDefault(missing => missing is not null);
    }
}
