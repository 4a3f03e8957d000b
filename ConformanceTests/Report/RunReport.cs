using System.Text.Json;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Report;

/// <summary>
/// Collects the verdicts of a run, prints each stage as it finishes, and writes the report in the end.
/// </summary>
public static partial class RunReport
{
    private static readonly List<Verdict> _verdicts = [];
    private static readonly HashSet<string> _lookedAt = [];
    private static Dictionary<int, int> _planned = [];
    private static readonly System.Diagnostics.Stopwatch _clock = System.Diagnostics.Stopwatch.StartNew();

    // ---- while the run goes on ----

    private static string Stream => Path.Combine(RunSettings.ReportFolder, "stages.txt");

    // What `make test` does not run.
    private static readonly string[] _apart = ["Mutants", "MutantsCheck", "Torture"];

    // How many verdicts each stage will have, so that its end is seen; and what the run before this one said.
    public static void Begin(ITest root)
    {
        _planned = Leaves(root)
            .Where(test => IsRunnable(test) && !_apart.Any(category => Is(test, category)))
            .Select(Stages.Of).Where(stage => stage > 0)
            .GroupBy(stage => stage).ToDictionary(group => group.Key, group => group.Count());
        File.WriteAllText(Stream, "");
        _before = PreviousRun.Read(Implementation);
    }

    private static IEnumerable<ITest> Leaves(ITest test) => test.IsSuite ? test.Tests.SelectMany(Leaves) : [test];

    private static bool IsRunnable(ITest? test) =>
        test is null || test.RunState == RunState.Runnable && IsRunnable(test.Parent);

    private static bool Is(ITest? test, string category) =>
        test is not null
        && (test.Properties[PropertyNames.Category].Contains(category) || Is(test.Parent, category));

    public static void Add(Verdict verdict, params Clause[] clauses)
    {
        lock (_verdicts)
        {
            _verdicts.Add(verdict);
            if (verdict.IsJudged)
            {
                foreach (var clause in clauses)
                {
                    _lookedAt.Add(clause.Id);
                }
            }

            Count(verdict.Stage);
        }
    }

    public static bool HasFailed
    {
        get
        {
            lock (_verdicts)
            {
                return _verdicts.Any(verdict => verdict.IsWrong);
            }
        }
    }

    // A test that is not for this run: not a verdict, but it need not be waited for.
    public static void Skip(int stage)
    {
        lock (_verdicts)
        {
            if (_planned.ContainsKey(stage))
            {
                _planned[stage]--;
            }

            Count(stage);
        }
    }

    private static void Count(int stage)
    {
        int count = _verdicts.Count(verdict => verdict.Stage == stage);
        if (count == 0 || _planned.GetValueOrDefault(stage) != count)
        {
            return;
        }

        var all = Settled(_verdicts).Where(verdict => verdict.Stage == stage).ToArray();
        File.AppendAllText(Stream, $"{_clock.Elapsed.TotalSeconds,4:0} s  {Line(stage, all, _before).TrimEnd()}\n");
    }

    private static PreviousRun _before = new([], [], false);

    // ---- at the end ----

    public static string Implementation
    {
        get
        {
            string server = RunSettings.TestsServer ? $"server: {Or(RunSettings.Server)}" : "";
            string client = RunSettings.TestsClient ? $"client: {Or(RunSettings.Client)}" : "";
            return string.Join("   ", new[] { server, client }.Where(part => part != ""));
        }
    }

    private static string Or(string template) => template == "" ? "the reference" : template;

    public static void Write()
    {
        Verdict[] verdicts;
        lock (_verdicts)
        {
            verdicts = [.. _verdicts];
        }

        if (verdicts.Length == 0)
        {
            if (RunSettings.Stage > 0)
            {
                CannotStart($"Stage {RunSettings.Stage} asks nothing of it: there is none of that number, or a client "
                    + "is meant, and this stage is about servers.\nA client begins with STAGE=2.");
            }

            return;
        }

        var settled = Settled(verdicts);
        string text = Text(Implementation, settled, _before);
        string tail = !RunSettings.IsReference && RunSettings.Stage == 0 ? NotLookedAt(verdicts) : "";
        tail += WindowsLimits.Report() is { Length: > 0 } windows ? windows + "\n" : "";
        File.WriteAllText(Path.Combine(RunSettings.ReportFolder, "report.txt"), text + tail);
        string page = ReportHtml.Of(Implementation, settled, Totals(settled) + Lead(settled), tail);
        File.WriteAllText(Path.Combine(RunSettings.ReportFolder, "report.html"), page);
        File.WriteAllText(Path.Combine(RunSettings.ReportFolder, "report.json"), Json(settled));
    }

    private static string Json(IEnumerable<Verdict> settled)
    {
        var all = new { Implementation, RunSettings.Seed, RunSettings.Strict, Verdicts = settled };
        return JsonSerializer.Serialize(all, new JsonSerializerOptions { WriteIndented = true });
    }

    public static void CannotStart(string why)
    {
        lock (_verdicts)
        {
            _verdicts.Clear();
        }

        File.WriteAllText(Path.Combine(RunSettings.ReportFolder, "report.txt"), $"Nothing was tested.\n\n{why}\n");
    }

    // That a message came in pieces explains a failure only if the same conversation passed in one.
    public static Verdict[] Settled(IEnumerable<Verdict> verdicts)
    {
        // Where there is no such, that messages in one piece are understood at all.
        bool any = verdicts.Any(verdict => verdict is { Test: "a-whole-conversation, Whole", Outcome: "passed" });
        var wholes = verdicts.Where(verdict => verdict.Delivered == 0).ToArray();
        var known = wholes.Select(verdict => verdict.Conversation).ToHashSet();
        var whole = wholes.Where(verdict => verdict.Outcome == "passed")
            .Select(verdict => verdict.Conversation).ToHashSet();
        return [.. verdicts.Select(verdict =>
        {
            if (verdict.Failure is not { } failure)
            {
                return verdict;
            }

            failure = failure.Settled(
                known.Contains(verdict.Conversation) ? whole.Contains(verdict.Conversation) : any);
            var clause = ProtocolSpecification.Find(failure.Sentence ?? verdict.Clause);
            return verdict with
            {
                Clause = clause.Id,
                Failure = failure,
                Message = $"\n{clause.Sentence}\n\n{failure.Text().TrimEnd()}\n",
            };
        }).OrderBy(verdict => verdict.Stage).ThenBy(verdict => verdict.Clause).ThenBy(verdict => verdict.Test)];
    }
}
