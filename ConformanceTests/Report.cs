// What a run says: each stage as it finishes, and in the end, stage by stage, the next thing to mend first.

using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

// Outcome: passed, failed, advice (a SHOULD that is not kept), not offered, not looked at.  Message is the failure's
// text, or why it was not looked at.
public sealed record Verdict(int Stage, string Clause, string Test, string Outcome, string Message)
{
    public string Fixture { get; init; } = "";          // two of them may have tests of one name

    [JsonIgnore] public Failure? Failure { get; init; }

    [JsonIgnore] public bool IsWrong => Outcome is "failed" or "advice";

    [JsonIgnore] public bool IsJudged => IsWrong || Outcome == "passed";

    [JsonIgnore] public string About { get; } = Clause;                       // of what the test is about; Clause is

    [JsonIgnore] public int Line { get; } = Spec.Find(Clause).Line;           // what turns out to be broken

    // A transcript, or a test, without the delivery that this one was in.
    [JsonIgnore] public string Conversation => Regex.Replace(Test, @"(, |\()(Whole|ThreeOctets|OctetByOctet)\)?$", "");

    [JsonIgnore]
    public int Delivered =>
        Test.Contains("Whole") ? 0 : Test.Contains("ThreeOctets") ? 1 : Test.Contains("OctetByOctet") ? 2 : 3;

    public string Shown => Wording.Named(Test);
}

public static partial class Report
{
    private static readonly List<Verdict> _verdicts = [];
    private static readonly HashSet<string> _lookedAt = [];
    private static Dictionary<int, int> _planned = [];
    private static readonly System.Diagnostics.Stopwatch _clock = System.Diagnostics.Stopwatch.StartNew();

    // ---- while the run goes on ----

    private static string Stream => Path.Combine(Settings.ReportFolder, "stages.txt");

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
        _before = Earlier.Read(Implementation);
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

    private static Earlier _before = new([], [], false);

    // ---- at the end ----

    public static string Implementation
    {
        get
        {
            string server = Settings.TestsServer ? $"server: {Or(Settings.Server)}" : "";
            string client = Settings.TestsClient ? $"client: {Or(Settings.Client)}" : "";
            return string.Join("   ", new[] { server, client }.Where(part => part != ""));
        }
    }

    private static string Or(string template) => template == "" ? "the reference" : template;

    public static void Write()
    {
        if (_verdicts.Count == 0)
        {
            if (Settings.Stage > 0)
            {
                CannotStart($"Stage {Settings.Stage} asks nothing of it: there is none of that number, or a client "
                    + "is meant, and this stage is about servers.\nA client begins with STAGE=2.");
            }

            return;
        }

        var settled = Settled(_verdicts);
        string text = Text(Implementation, settled, _before);
        string tail = !Settings.IsReference && Settings.Stage == 0 ? NotLookedAt() : "";
        tail += OnWindows.Report() is { Length: > 0 } windows ? windows + "\n" : "";
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.txt"), text + tail);
        string page = ReportPage.Of(Implementation, settled, Totals(settled) + Lead(settled), tail);
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.html"), page);
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.json"), Json(settled));
    }

    private static string Json(IEnumerable<Verdict> settled)
    {
        var all = new { Implementation, Settings.Seed, Settings.Strict, Verdicts = settled };
        return JsonSerializer.Serialize(all, new JsonSerializerOptions { WriteIndented = true });
    }

    public static void CannotStart(string why)
    {
        lock (_verdicts)
        {
            _verdicts.Clear();
        }

        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.txt"), $"Nothing was tested.\n\n{why}\n");
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
            var clause = Spec.Find(failure.Sentence ?? verdict.Clause);
            return verdict with
            {
                Clause = clause.Id, Failure = failure, Message = $"\n{clause.Sentence}\n\n{failure.Text().TrimEnd()}\n",
            };
}).OrderBy(verdict => verdict.Stage).ThenBy(verdict => verdict.Clause).ThenBy(verdict => verdict.Test)];
    }

    private static string Line(int stage, IReadOnlyCollection<Verdict> all, Earlier before)
    {
        var judged = all.Where(verdict => verdict.IsJudged).ToArray();
        int passed = judged.Count(verdict => verdict.Outcome == "passed");
        int width = Math.Clamp(judged.Length, 0, 24);
        int filled = judged.Length == 0 ? 0 : passed * width / judged.Length;
        string bar = new string('#', filled).PadRight(width, '-');
        string score = judged.Length == 0 ? "not offered" : $"{passed}/{judged.Length}";
        var next = InOrder(judged).FirstOrDefault();
        string what = next is not null ? $" next: {Short(Spec.Find(next.Clause))}"
            : before.Race(judged) is { } race ? $" {race}" : "";
        return $"{$"{stage} {Stages.All[stage].Name}",-18} {bar,-24} {score,-11}{what}\n";
    }

    public static string Text(string under, IReadOnlyCollection<Verdict> verdicts, Earlier? before = null)
    {
        var text = new StringBuilder($"ImageTransfer conformance    {under}\n");
        foreach (var stage in verdicts.GroupBy(verdict => verdict.Stage).OrderBy(stage => stage.Key))
        {
            text.Append(Line(stage.Key, stage.ToArray(), before ?? new([], [], false)));
        }

        text.Append(Totals(verdicts)).Append(Lost(verdicts, before)).Append(Lead(verdicts));
        var groups = Groups(verdicts);
        if (Settings.Stage == 0)
        {
            groups = [.. groups.Take(1)];
        }

        for (int i = 0; i < groups.Length; i++)
        {
            text.Append($"\n{new string('-', 78)}\n{Of(groups[i], inFull: i < InFull)}");
        }

        if (groups.Length > InFull)
        {
            text.Append($"\nThe first {InFull} are in full; all of them are in ConformanceTests/report.html.\n");
        }

        return text.ToString().ReplaceLineEndings("\n");
    }

    private static string Totals(IReadOnlyCollection<Verdict> verdicts)
    {
        int CountOf(string outcome) => verdicts.Count(verdict => verdict.Outcome == outcome);

        return $"{CountOf("passed")} passed, {CountOf("failed")} failed, {CountOf("advice")} advice (SHOULD), "
            + $"{CountOf("not offered")} not offered\n";
    }

    private static string Lost(IEnumerable<Verdict> verdicts, Earlier? before) =>
        before?.Lost(verdicts) is not { Length: > 0 } lost ? ""
        : Wording.Wrapped($"{lost.Length} passed a moment ago, and fail{(lost.Length == 1 ? "s" : "")} now: "
            + string.Join(" · ", lost.Take(4))
            + (lost.Length > 4 ? $" · and {lost.Length - 4} others" : "")) + "\n";

    // What to do now.
    private static string Lead(IReadOnlyCollection<Verdict> verdicts) =>
        InOrder(verdicts).FirstOrDefault() is not { } first ? WhatNext(verdicts)
        : first.Outcome == "advice" ? $"\nWhat is left is advice: it should be so, and need not.\n{WhatNext(verdicts)}"
        : Settings.Stage > 0 ? $"To read: {ToRead(first)} of Protocol.md\n"
        : $"\nMend this next; to read: {ToRead(first)} of Protocol.md. The whole stage:\n"
            + $"{Command(first.Stage)}\n";

    private static string ToRead(Verdict first) => Stages.Sections(first.Stage, Spec.Find(first.Clause));

    private const int InFull = 3;

    // What is green leads on: to the next stage, or to an extension.
    private static string WhatNext(IReadOnlyCollection<Verdict> verdicts)
    {
        var judged = verdicts.Where(verdict => verdict.IsJudged).ToArray();
        var text = new StringBuilder();
        if (judged.Length > 0)
        {
            text.Append(Settings.Stage == 0 ? "\nAll of it is green.\n" : $"\nStage {Settings.Stage} is green.\n");
        }

        foreach (var stage in verdicts.Where(verdict => verdict.Outcome == "not offered")
            .Select(verdict => verdict.Stage).Distinct().Order())
        {
            if (!judged.Any(verdict => verdict.Stage == stage))
            {
                text.Append($"\nStage {stage}, {Stages.All[stage].Name}, is not offered, which is allowed (CONF-1). "
                    + $"To offer it, read {Stages.Sections(stage)} of Protocol.md.\n"
                    + (Settings.Server != "" ? Stages.All[stage].Begin : Stages.All[stage].BeginClient)
                    + $"{Command(stage)}\n");
            }
        }

        if (Settings.Stage == 8)
        {
            text.Append($"\nThat was the core: all of what is asked of a server. All at once: {Command(0)}\n"
                + "What follows are extensions.\n");
        }

        if (Settings.Stage > 0 && Stages.After(Settings.Stage) is { } next)
        {
            text.Append($"\nNext is stage {next}, {Stages.All[next].Name}: "
                + $"read {Stages.Sections(next)} of Protocol.md, then\n{Command(next)}\n");
        }
        else if (Settings.Stage > 0)
        {
            text.Append($"\nThat was the last stage. Everything at once: {Command(0)}\n");
        }

        return text.ToString();
    }

    // As it was typed, so that it can be typed again.
    public static string Command(int stage)
    {
        string server = Settings.Server == "" ? "" : $" SERVER='{Settings.Server}'";
        string client = Settings.Client == "" ? "" : $" CLIENT='{Settings.Client}'";
        return $"make test{(stage == 0 ? "" : $" STAGE={stage}")}{server}{client}";
    }

    // ---- equal failures are said once ----

    public sealed record Group(Verdict First, Verdict[] Deliveries, Verdict[] Same);

    public static Group[] Groups(IEnumerable<Verdict> verdicts)
    {
        var groups = new List<Group>();
        foreach (var equal in InOrder(verdicts).GroupBy(verdict => verdict.Conversation)
            .GroupBy(deliveries => Key(deliveries.First())))
        {
            var first = equal.First().First();
            var same = equal.Skip(1).SelectMany(deliveries => deliveries);
            groups.Add(new Group(first, [.. equal.First().Skip(1)], [.. same]));
        }

        return [.. groups];
    }

    // What makes two failures the same mistake, as far as one can see: a hint that names it, or the same words.
    public static string Key(Verdict verdict)
    {
        if (verdict.Failure is not { } failure)
        {
            return verdict.Message;
        }

        string hint = $"{verdict.Clause} {failure.HintName}";
        if (failure.HintName == Wording.ExitZero)
        {
            hint += $" {verdict.About}";      // that has a cause of its own
        }

        if (failure.HintName != "" && failure.Sentence is not null)
        {
            return hint;
        }

        string Words(string text) => string.Concat(Regex.Replace(text, @"\d+", "0").Take(40));

        return $"{verdict.Outcome} {hint} {Words(failure.Expected)} {Words(failure.Received)}";
    }

    private static string Of(Group group, bool inFull)
    {
        var first = group.First;
        var text = new StringBuilder($"{first.Shown}\n");
        text.Append(inFull || first.Failure is null ? first.Message.TrimEnd() + "\n"
            : $"{Short(Spec.Find(first.Clause))}\n{first.Failure.Core()}");
        if (first.Failure is { } failure)
        {
            foreach (var other in group.Deliveries)
            {
                text.Append(Key(other) == Key(first)
                    ? $"{How(other)}: the same\n"
                    : $"{How(other)}, differently:\n{other.Failure!.Core()}");
            }
        }

        if (group.Same.Length == 0)
        {
            return text.ToString();
        }

        var names = group.Same.Select(verdict => Wording.Named(verdict.Conversation)).Distinct().ToArray();
        int shown = names.Length <= 7 ? names.Length : 6;
        string others = names.Length > shown ? $" · and {names.Length - shown} others" : "";
        string list = string.Join(" · ", names.Take(shown));
        return text.Append(Wording.Wrapped($"the same in {names.Length} more: {list}{others}") + "\n").ToString();
    }

    private static string How(Verdict verdict) =>
        verdict.Delivered switch { 0 => "whole", 1 => "three octets at a time", _ => "octet by octet" };

    // Failures before advice, the simplest stage first, transcripts before programmed tests, one piece before many.
    public static IEnumerable<Verdict> InOrder(IEnumerable<Verdict> verdicts) => verdicts
        .Where(verdict => verdict.IsWrong)
        .OrderBy(verdict => verdict.Outcome == "advice")
        .ThenBy(verdict => verdict.Stage)
        .ThenBy(verdict => verdict.Delivered)
        .ThenBy(verdict => verdict.Line)
        .ThenBy(verdict => verdict.Test, StringComparer.Ordinal);

    public static string Short(Clause clause)
    {
        string sentence = clause.Text.Replace("**", "");
        return $"[{clause.Id}] {(sentence.Length <= 64 ? sentence : sentence[..sentence.LastIndexOf(' ', 63)] + " …")}";
    }

    // Sentences of which every test needs what only the reference has.
    private static string NotLookedAt()
    {
        var offered = _verdicts.Where(verdict => verdict.Outcome == "not offered").Select(verdict => verdict.Clause);
        var missing = Spec.Clauses.Values.Where(clause => !_lookedAt.Contains(clause.Id) && clause.Level == Level.Must
                && (Stages.IsOfClients(clause) ? Settings.Client != "" : Settings.Server != "")
                && !(clause.IsExtension && offered.Any(id => id.Split('-')[0] == clause.Id.Split('-')[0])))
            .Select(clause => clause.Id).Where(id => id != "CONF-1"
                && !_verdicts.Any(verdict => verdict.Outcome == "not looked at" && verdict.Clause == id)).ToArray();
        var reasons = _verdicts.Where(verdict => verdict.Outcome == "not looked at")
            .GroupBy(verdict => verdict.Message.Trim(), verdict => verdict.Clause)
            .Select(group => $"  {string.Join(", ", group.Distinct())}: {group.Key}\n").ToArray();
        if (missing.Length + reasons.Length == 0)
        {
            return "";
        }

        string options = missing.Length == 0 ? ""
            : $"  {string.Join(", ", missing)}: needs an option or extension that it has not, or is not given\n";
        return $"\nNot looked at in yours:\n{options}{string.Concat(reasons)}";
    }
}

// What the run before this one said of the same implementation.
public sealed record Earlier(HashSet<string> Failed, HashSet<string> Passed, bool Unchanged)
{
    public static Earlier Read(string implementation)
    {
        string path = Path.Combine(Settings.ReportFolder, "report.json");
        if (!File.Exists(path))
        {
            return new([], [], false);
        }

        try
        {
            using var json = JsonDocument.Parse(File.ReadAllText(path));
            if (json.RootElement.GetProperty("Implementation").GetString() != implementation)
            {
                return new([], [], false);
            }

            HashSet<string> Those(string outcome) => json.RootElement.GetProperty("Verdicts").EnumerateArray()
                .Where(verdict => verdict.GetProperty("Outcome").GetString() == outcome
                    && !verdict.GetProperty("Message").GetString()!.StartsWith(Settings.NotReached))
                .Select(verdict => verdict.GetProperty("Test").GetString()!).ToHashSet();

            var (failed, passed) = (Those("failed"), Those("passed"));
            var then = File.GetLastWriteTimeUtc(path);
            var files = Plug.Words($"{Plug.ServerTemplate} {Plug.ClientTemplate}").Where(File.Exists);
            return new(failed, passed, files.All(file => File.GetLastWriteTimeUtc(file) < then));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new([], [], false);                      // another version's report, or half of one
        }
    }

    // Where only what failed is asked again, the verdicts of the run before, of equal names the worst.
    private static readonly Lazy<Dictionary<string, (string Outcome, string Message)>> _before = new(() =>
    {
        string path = Path.Combine(Settings.ReportFolder, "report.json");
        if (!Settings.Again || !File.Exists(path))
        {
            return [];
        }

        using var json = JsonDocument.Parse(File.ReadAllText(path));
        string Said(JsonElement verdict, string what) => verdict.GetProperty(what).GetString()!;

        return json.RootElement.GetProperty("Verdicts").EnumerateArray()
            .Select(verdict =>
                (Test: $"{Said(verdict, "Fixture")}.{Said(verdict, "Test")}",
                    What: (Said(verdict, "Outcome"), Said(verdict, "Message"))))
            .OrderByDescending(verdict => IsWrong(verdict.What))
            .DistinctBy(verdict => verdict.Test).ToDictionary(verdict => verdict.Test, verdict => verdict.What);
    });

    private static bool IsWrong((string Outcome, string Message) verdict) => verdict.Outcome is "failed" or "advice";

    // A verdict that stands: it was no failure, or there is no time left.
    public static (string Outcome, string Message)? Stands(Type fixture, string test) =>
        _before.Value.TryGetValue($"{fixture.Name}.{test}", out var verdict)
        && (!IsWrong(verdict) || Settings.TimeIsUp) ? verdict : null;

    // What worked before, and does no more.
    public string[] Lost(IEnumerable<Verdict> verdicts) => [.. verdicts
        .Where(verdict => verdict.Outcome == "failed")
        .Where(verdict => Passed.Contains(verdict.Test) && !Failed.Contains(verdict.Test))
        .Select(verdict => verdict.Shown)];

    public string? Race(IReadOnlyCollection<Verdict> stage)
    {
        int now = stage.Count(verdict => verdict.Outcome == "passed" && Failed.Contains(verdict.Test));
        if (now == 0)
        {
            return null;
        }

        string passes = now == 1 ? "1 passes that failed a moment ago" : $"{now} pass that failed a moment ago";
        return Unchanged ? $"{passes}, and nothing was changed: a race?" : passes;
    }
}
