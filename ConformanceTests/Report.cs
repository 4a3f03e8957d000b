// What a run says in the end: stage by stage, the next thing to mend first.

using System.Text.Json;

public sealed record Verdict(int Stage, string Clause, string Test, string Outcome, string Message);

public static class Report
{
    static readonly List<Verdict> verdicts = [];
    public static void Add(Verdict verdict)
    {
        lock (verdicts) verdicts.Add(verdict);
    }

    public static void Write()
    {
        if (verdicts.Count == 0) return;
        string server = Settings.TestsServer ? $"server: {Or(Settings.Server)}" : "";
        string client = Settings.TestsClient ? $"client: {Or(Settings.Client)}" : "";
        string under = string.Join("   ", new[] { server, client }.Where(part => part != ""));
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.txt"), Text(under, verdicts));
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.json"), Json(under));
    }

    static string Json(string under)
    {
        var sorted = verdicts.OrderBy(v => v.Stage).ThenBy(v => v.Clause).ThenBy(v => v.Test);
        var all = new { Implementation = under, Settings.Seed, Settings.Strict, Verdicts = sorted };
        return JsonSerializer.Serialize(all, new JsonSerializerOptions { WriteIndented = true });
    }

    public static void CannotStart(string why)
    {
        lock (verdicts) verdicts.Clear();
        File.WriteAllText(Path.Combine(Settings.ReportFolder, "report.txt"), $"Nothing was tested.\n\n{why}\n");
    }

    static string Or(string template) => template == "" ? "the reference" : template;

    public static string Text(string under, IReadOnlyCollection<Verdict> verdicts)
    {
        var text = new StringBuilder($"ImageTransfer conformance    {under}\n");
        for (int stage = 1; stage < Stages.Names.Length; stage++)
        {
            var all = verdicts.Where(verdict => verdict.Stage == stage).ToArray();
            var judged = all.Where(verdict => verdict.Outcome != "not offered").ToArray();
            if (all.Length == 0) continue;
            int passed = judged.Count(verdict => verdict.Outcome == "passed");
            int width = Math.Clamp(judged.Length, 0, 24);
            int filled = judged.Length == 0 ? 0 : passed * width / judged.Length;
            string bar = new string('#', filled).PadRight(width, '-');
            string score = judged.Length == 0 ? "not offered" : $"{passed}/{judged.Length}";
            text.Append($"{$"{stage} {Stages.Names[stage]}",-15} {bar,-24} {score,-11}");
            var next = InOrder(judged).FirstOrDefault();
            text.AppendLine(next is null ? "" : $" next: {Short(Spec.Find(next.Clause))}");
        }
        int count(string outcome) => verdicts.Count(verdict => verdict.Outcome == outcome);
        text.Append($"{count("passed")} passed, {count("failed")} failed, ");
        text.Append($"{count("advice")} advice (SHOULD), {count("not offered")} not offered");
        var wrong = InOrder(verdicts).ToArray();
        if (wrong is [var first, ..] && Settings.Stage == 0) wrong = [first];
        if (wrong.Length > 0)
            text.Append(Settings.Stage != 0
                ? "\n"
                : $"\n\nMend this next; make test STAGE={wrong[0].Stage} shows the whole stage.");
        foreach (var verdict in wrong)
            text.Append($"\n\n{new string('-', 78)}\n{verdict.Test}\n{verdict.Message.TrimEnd()}");
        return text.AppendLine(NotLookedAt.Report() + OnWindows.Report()).ToString().ReplaceLineEndings("\n");
    }

    // Failures before advice, the simplest stage first, transcripts before programmed tests, one piece before many.
    static IEnumerable<Verdict> InOrder(IEnumerable<Verdict> verdicts) => verdicts
        .Where(verdict => verdict.Outcome is "failed" or "advice")
        .OrderBy(verdict => verdict.Outcome == "advice")
        .ThenBy(verdict => verdict.Stage)
        .ThenBy(verdict => Delivered(verdict.Test))
        .ThenBy(verdict => Spec.Find(verdict.Clause).Line)
        .ThenBy(verdict => verdict.Test, StringComparer.Ordinal);

    static int Delivered(string test) =>
        test.EndsWith(", Whole") ? 0
        : test.EndsWith(", ThreeOctets") ? 1
        : test.EndsWith(", OctetByOctet") ? 2
        : 3;

    static string Short(Clause clause)
    {
        string sentence = clause.Text.Replace("**", "");
        return $"[{clause.Id}] {(sentence.Length <= 64 ? sentence : sentence[..sentence.LastIndexOf(' ', 63)] + " …")}";
    }
}
