namespace ConformanceTests.Report;

/// <summary>
/// Collects the verdicts of a run, prints each stage as it finishes, and writes the report in the end.
/// </summary>
public static partial class RunReport
{
    private static readonly List<Verdict> _verdicts = [];
    private static readonly HashSet<string> _lookedAt = [];
    private static Dictionary<int, int> _planned = [];
    private static readonly Stopwatch _clock = Stopwatch.StartNew();

    // ---- during the run ----

    /// <summary>Shows the line of a stage. It is called when the last test of the stage has ended.</summary>
    public static Action<string> ShowStage { get; set; } = _ => { };

    /// <summary>Begins a run.</summary>
    /// <param name="planned">How many verdicts each stage will have.</param>
    /// <param name="files">The files of the programs that are tested.</param>
    public static void Begin(Dictionary<int, int> planned, IEnumerable<string> files)
    {
        _planned = planned;
        _before = PreviousRun.Read(Implementation, files);
    }

    public static void Add(Verdict verdict, params Clause[] clauses)
    {
        lock (_verdicts)
        {
            _verdicts.Add(verdict);
            if (verdict.Counts)
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

    /// <summary>Notes that a test of this stage is not run, so it will have no verdict.</summary>
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
        string line = StageLine(stage, all, _before).TrimEnd();
        ShowStage($"{_clock.Elapsed.TotalSeconds,4:0} s  {line}");
    }

    private static PreviousRun _before = new([], [], false);

    // ---- at the end ----

    public static string Implementation
    {
        get
        {
            string server = RunSettings.Current.TestsServer ? $"server: {Or(RunSettings.Current.Server)}" : "";
            string client = RunSettings.Current.TestsClient ? $"client: {Or(RunSettings.Current.Client)}" : "";
            return string.Join("   ", new[] { server, client }.Where(part => part != ""));
        }
    }

    private static string Or(string template) => template == "" ? "the reference" : template;

    private static bool _cannotStart;

    /// <summary>Ends a run.</summary>
    /// <param name="limits">What could not be tested on this machine, or nothing.</param>
    public static void Write(string limits)
    {
        Verdict[] verdicts;
        lock (_verdicts)
        {
            verdicts = [.. _verdicts];
        }

        if (verdicts.Length == 0)
        {
            if (RunSettings.Current.Stage > 0 && !_cannotStart)
            {
                CannotStart($"There are no tests for this program in stage {RunSettings.Current.Stage}. The stages are "
                    + "1 to 14; stage 1 is only for servers, so a client begins with STAGE=2.");
            }

            return;
        }

        var settled = Settled(verdicts);
        string tail = !RunSettings.Current.IsReference && RunSettings.Current.Stage == 0 ? NotLookedAt(verdicts) : "";
        tail += limits == "" ? "" : limits + "\n";
        string path = Path.Combine(RunSettings.Current.ReportFolder, "report.html");
        string relative = Path.GetRelativePath(RunSettings.Root, path);
        WriteText(Text(Implementation, settled, _before, tail, relative.StartsWith("..") ? "report.html" : relative));
        string page = ReportHtml.Render(Implementation, settled, Totals(settled) + Advice(settled), tail);
        File.WriteAllText(path, page);
        new ReportFile(Implementation, RunSettings.Current.Seed, RunSettings.Current.Strict, settled).Write();
    }

    private static void WriteText(string text) =>
        File.WriteAllText(Path.Combine(RunSettings.Current.ReportFolder, "report.txt"), text);

    public static void CannotStart(string why)
    {
        _cannotStart = true;
        lock (_verdicts)
        {
            _verdicts.Clear();
        }

        WriteText($"Nothing was tested.\n\n{why}\n");
    }

    // The pieces of a message explain a failure only if the same conversation passed in one piece.
    public static Verdict[] Settled(IEnumerable<Verdict> verdicts)
    {
        var wholes = verdicts.Where(verdict => verdict.DeliveryRank == 0)
            .ToLookup(verdict => (verdict.Fixture, verdict.Conversation), verdict => verdict.Outcome == "passed");
        // If there is no such test, another conversation shows whether the program understands messages in one piece.
        var understands = verdicts
            .Where(verdict => verdict is { Test: "a-whole-conversation, Whole", Outcome: "passed" })
            .Select(verdict => verdict.Fixture.StartsWith("Client")).ToHashSet();
        return [.. verdicts.Select(verdict =>
        {
            if (verdict.Failure is not { } failure)
            {
                return verdict;
            }

            bool[] whole = [.. wholes[(verdict.Fixture, verdict.Conversation)]];
            failure = failure.ChooseExplanation(
                whole is [] ? understands.Contains(verdict.Fixture.StartsWith("Client")) : whole.All(passed => passed));
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
