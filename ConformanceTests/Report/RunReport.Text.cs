namespace ConformanceTests.Report;

/// <summary>report.txt: stage by stage, with the next thing to correct first.</summary>
public static partial class RunReport
{
    private static string StageLine(int stage, IReadOnlyCollection<Verdict> all, PreviousRun before)
    {
        var judged = all.Where(verdict => verdict.Counts).ToArray();
        int passed = judged.Count(verdict => verdict.Outcome == "passed");
        int width = Math.Clamp(judged.Length, 0, 24);
        int filled = judged.Length == 0 ? 0 : passed * width / judged.Length;
        string bar = new string('#', filled).PadRight(width, '-');
        string score = judged.Length == 0 ? "not offered" : $"{passed}/{judged.Length}";
        var next = InOrder(judged).FirstOrDefault();
        string what = next is not null ? $" next: {Short(ProtocolSpecification.Find(next.Clause))}"
            : before.PassedOnRepeat(judged) is { } race ? $" {race}" : "";
        return $"{$"{stage} {Stages.All[stage].Name}",-18} {bar,-24} {score,-11}{what}\n";
    }

    /// <summary>Returns the report.</summary>
    /// <param name="under">The programs that were tested.</param>
    /// <param name="verdicts">The verdicts of the run.</param>
    /// <param name="before">What the run before this one found.</param>
    /// <param name="tail">What was not tested, and why.</param>
    /// <param name="page">Where the reader finds report.html.</param>
    public static string Text(string under, IReadOnlyCollection<Verdict> verdicts, PreviousRun? before = null,
        string tail = "", string page = "ConformanceTests/report.html")
    {
        var text = new StringBuilder($"ImageTransfer conformance    {under}\n");
        foreach (var stage in verdicts.GroupBy(verdict => verdict.Stage).OrderBy(stage => stage.Key))
        {
            text.Append(StageLine(stage.Key, stage.ToArray(), before ?? new([], [], false)));
        }

        text.Append(Totals(verdicts)).Append(Regressions(verdicts, before)).Append(Advice(verdicts));
        var groups = Groups(verdicts);
        if (RunSettings.Current.Stage == 0)
        {
            groups = [.. groups.Take(1)];
        }

        for (int i = 0; i < groups.Length; i++)
        {
            text.Append($"\n{new string('-', 78)}\n{FormatGroup(groups[i], inFull: i < InFull)}");
        }

        text.Append(NamesOfOthers(verdicts, page)).Append(tail);
        if (groups.Length > 0)
        {
            text.Append($"\nEvery failure in full: {page}\n");
        }

        return text.ToString().ReplaceLineEndings("\n");
    }

    // All that is wrong after the first one, a line each.
    private static string NamesOfOthers(IReadOnlyCollection<Verdict> verdicts, string page)
    {
        string[] lines = [.. InOrder(verdicts).Select(NameLine).Distinct().Skip(1)];
        if (lines.Length == 0)
        {
            return "";
        }

        int more = lines.Length - MostNames;
        return $"\nWhat else did not pass:\n{string.Concat(lines.Take(MostNames))}"
            + (more > 0 ? $"  … and {more} more, all in {page}\n" : "");
    }

    private static string NameLine(Verdict verdict)
    {
        string advice = verdict.Outcome == "advice" ? "advice: " : "";
        string line = $"  {verdict.Clause,-10} {advice}{Wording.DisplayName(verdict.Conversation)}";
        return (line.Length <= Columns ? line : line[..(Columns - 2)] + " …") + "\n";
    }

    private static string Totals(IReadOnlyCollection<Verdict> verdicts)
    {
        int CountOf(string outcome) => verdicts.Count(verdict => verdict.Outcome == outcome);

        return $"{CountOf("passed")} passed, {CountOf("failed")} failed, {CountOf("advice")} advice (SHOULD), "
            + $"{CountOf("not offered")} not offered\n";
    }

    private static string Regressions(IEnumerable<Verdict> verdicts, PreviousRun? before) =>
        before?.Regressions(verdicts) is not { Length: > 0 } lost ? ""
        : Wording.Wrapped($"{lost.Length} passed a moment ago, and fail{(lost.Length == 1 ? "s" : "")} now: "
            + string.Join(" · ", lost.Take(4))
            + (lost.Length > 4 ? $" · and {lost.Length - 4} others" : "")) + "\n";

    private static string Advice(IReadOnlyCollection<Verdict> verdicts) =>
        InOrder(verdicts).FirstOrDefault() is not { } first ? WhatNext(verdicts)
        : first.Outcome == "advice"
            ? $"\nWhat did not pass is advice (SHOULD), which does not count.\n{WhatNext(verdicts)}"
        : RunSettings.Current.Stage > 0 ? $"To read: {ToRead(first)} of Protocol.md\n"
        : $"\nFix this next. To read: {ToRead(first)} of Protocol.md. The whole stage:\n"
            + $"{Command(first.Stage)}\n";

    private static string ToRead(Verdict first) =>
        Stages.Sections(first.Stage, ProtocolSpecification.Find(first.Clause));

    private const int InFull = 3;
    private const int MostNames = 30;
    private const int Columns = 120;

    // If everything has passed: the next stage, or an optional feature.
    private static string WhatNext(IReadOnlyCollection<Verdict> verdicts)
    {
        var judged = verdicts.Where(verdict => verdict.Counts).ToArray();
        var text = new StringBuilder();
        if (judged.Length > 0)
        {
            text.Append(RunSettings.Current.Stage == 0
                ? "\nEverything that counts has passed.\n"
                : $"\nStage {RunSettings.Current.Stage} has passed.\n");
        }

        foreach (var stage in verdicts.Where(verdict => verdict.Outcome == "not offered")
            .Select(verdict => verdict.Stage).Distinct().Order())
        {
            if (!judged.Any(verdict => verdict.Stage == stage))
            {
                text.Append($"\nStage {stage}, {Stages.All[stage].Name}, is not offered, which is allowed (CONF-1). "
                    + $"To offer it, read {Stages.Sections(stage)} of Protocol.md.\n"
                    + (RunSettings.Current.Server != "" ? Stages.All[stage].Begin : Stages.All[stage].BeginClient)
                    + $"{Command(stage)}\n");
            }
        }

        if (RunSettings.Current.Stage == 8)
        {
            text.Append($"\nThat was the last stage that every server has to pass. All stages at once: {Command(0)}\n"
                + "The stages that follow are optional features.\n");
        }

        if (RunSettings.Current.Stage > 0 && Stages.After(RunSettings.Current.Stage) is { } next)
        {
            text.Append($"\nNext is stage {next}, {Stages.All[next].Name}: "
                + $"read {Stages.Sections(next)} of Protocol.md, then\n{Command(next)}\n");
        }
        else if (RunSettings.Current.Stage > 0)
        {
            text.Append($"\nThat was the last stage. Everything at once: {Command(0)}\n");
        }

        return text.ToString();
    }

    /// <summary>Returns the command that runs a stage of the same programs.</summary>
    public static string Command(int stage)
    {
        string server = RunSettings.Current.Server == "" ? "" : $" SERVER='{RunSettings.Current.Server}'";
        string client = RunSettings.Current.Client == "" ? "" : $" CLIENT='{RunSettings.Current.Client}'";
        return $"make test{(stage == 0 ? "" : $" STAGE={stage}")}{server}{client}";
    }

    // ---- equal failures are reported once ----

    public sealed record Group(Verdict First, Verdict[] Deliveries, Verdict[] Same);

    public static Group[] Groups(IEnumerable<Verdict> verdicts)
    {
        var groups = new List<Group>();
        foreach (var equal in InOrder(verdicts).GroupBy(verdict => verdict.Conversation)
            .GroupBy(deliveries => MistakeKey(deliveries.First())))
        {
            var first = equal.First().First();
            var same = equal.Skip(1).SelectMany(deliveries => deliveries);
            groups.Add(new Group(first, [.. equal.First().Skip(1)], [.. same]));
        }

        return [.. groups];
    }

    /// <summary>
    /// Returns the same text for failures that probably have the same cause: the same hint, or the same words.
    /// </summary>
    public static string MistakeKey(Verdict verdict)
    {
        if (verdict.Failure is not { } failure)
        {
            return verdict.Message;
        }

        string hint = $"{verdict.Clause} {failure.HintName}";
        if (failure.HintName == Wording.ExitZero)
        {
            hint += $" {verdict.TestedClause}";      // in tests of other clauses, the cause is another one
        }

        if (failure.HintName != "" && failure.Sentence is not null)
        {
            return hint;
        }

        string Words(string text) => string.Concat(Regex.Replace(text, @"\d+", "0").Take(40));

        return $"{verdict.Outcome} {hint} {Words(failure.Expected)} {Words(failure.Received)}";
    }

    private static string FormatGroup(Group group, bool inFull)
    {
        var first = group.First;
        var text = new StringBuilder($"{first.DisplayName}\n");
        text.Append(inFull || first.Failure is null ? first.Message.TrimEnd() + "\n"
            : $"{Short(ProtocolSpecification.Find(first.Clause))}\n{first.Failure.TextWithoutConnections()}");
        if (first.Failure is { } failure)
        {
            foreach (var other in group.Deliveries)
            {
                text.Append(MistakeKey(other) == MistakeKey(first)
                    ? $"{DeliveryName(other)}: the same\n"
                    : $"{DeliveryName(other)}, differently:\n{other.Failure!.TextWithoutConnections()}");
            }
        }

        if (group.Same.Length == 0)
        {
            return text.ToString();
        }

        var names = group.Same.Select(verdict => Wording.DisplayName(verdict.Conversation)).Distinct().ToArray();
        int shown = names.Length <= 7 ? names.Length : 6;
        string others = names.Length > shown ? $" · and {names.Length - shown} others" : "";
        string list = string.Join(" · ", names.Take(shown));
        return text.Append(Wording.Wrapped($"the same in {names.Length} more: {list}{others}") + "\n").ToString();
    }

    private static string DeliveryName(Verdict verdict) =>
        verdict.DeliveryRank switch { 0 => "whole", 1 => "three bytes at a time", _ => "byte by byte" };

    /// <summary>Returns what did not pass, in the order in which to fix it.</summary>
    public static IEnumerable<Verdict> InOrder(IEnumerable<Verdict> verdicts) => verdicts
        .Where(verdict => verdict.IsWrong)
        .OrderBy(verdict => verdict.Outcome == "advice")
        .ThenBy(verdict => verdict.Stage)
        .ThenBy(verdict => verdict.DeliveryRank)
        .ThenBy(verdict => verdict.Line)
        .ThenBy(verdict => verdict.Test, StringComparer.Ordinal);

    /// <summary>Returns the first sentence of a paragraph, which a page shows until the reader opens it.</summary>
    public static string FirstSentence(Clause clause) => Regex.Match(clause.Text, @"^.*?\.\)?(?= |$)|^.*").Value;

    public static string Short(Clause clause)
    {
        string sentence = clause.Text.Replace("**", "");
        return $"[{clause.Id}] {(sentence.Length <= 64 ? sentence : sentence[..sentence.LastIndexOf(' ', 63)] + " …")}";
    }

    // Lists the paragraphs that no test has looked at, and why.
    private static string NotLookedAt(Verdict[] verdicts)
    {
        HashSet<string> lookedAt;
        lock (_verdicts)
        {
            lookedAt = [.. _lookedAt];
        }

        var absent = verdicts.Where(verdict => verdict.Outcome == "not offered")
            .Select(verdict => ProtocolSpecification.Find(verdict.Clause).Feature).ToHashSet();
        var missing = ProtocolSpecification.Clauses.Values.Where(clause =>
                !RunSettings.Current.IsOfAPart && !lookedAt.Contains(clause.Id) && clause.Level == Level.Must
                && (Stages.IsOfClients(clause) ? RunSettings.Current.Client != "" : RunSettings.Current.Server != "")
                && (clause.Feature is null || !absent.Contains(clause.Feature)))
            .Select(clause => clause.Id).Where(id => id != "CONF-1"
                && !verdicts.Any(verdict => verdict.Outcome == "not looked at" && verdict.Clause == id)).ToArray();
        var reasons = verdicts.Where(verdict => verdict.Outcome == "not looked at")
            .GroupBy(verdict => verdict.Message.Trim(), verdict => verdict.Clause)
            .Select(group => $"  {string.Join(", ", group.Distinct())}: {group.Key}\n").ToArray();
        if (missing.Length + reasons.Length == 0)
        {
            return "";
        }

        string options = missing.Length == 0 ? ""
            : $"  {string.Join(", ", missing)}: need a feature that your program does not have, or a placeholder\n";
        return $"\nNot tested in your program:\n{options}{string.Concat(reasons)}";
    }
}
