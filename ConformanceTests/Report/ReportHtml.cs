namespace ConformanceTests.Report;

/// <summary>
/// Makes report.html, the report as a page. It is one file without a script, and loads nothing.
/// </summary>
public static class ReportHtml
{
    private static string E(string text) => WebUtility.HtmlEncode(text);

    /// <param name="under">The programs that were tested.</param>
    /// <param name="verdicts">The verdicts of the run.</param>
    /// <param name="lead">What to show before the failures.</param>
    /// <param name="tail">What to show after them.</param>
    public static string Render(string under, Verdict[] verdicts, string lead, string tail)
    {
        var page = new StringBuilder();
        page.Append(HtmlPage.Head("ImageTransfer conformance", "report.css"))
            .Append($"<h1>ImageTransfer conformance</h1>\n<p class=under><code>{E(under)}</code></p>\n");
        var groups = RunReport.Groups(verdicts);
        var stages = verdicts.GroupBy(verdict => verdict.Stage).OrderBy(stage => stage.Key).ToArray();
        page.Append("<nav>\n");
        foreach (var stage in stages)
        {
            Bar(page, stage.Key, [.. stage]);
        }

        page.Append($"</nav>\n<p class=lead>{Paragraphs(lead)}</p>\n");
        string next = groups.Length > 0 ? Anchor(groups[0].First) : "";
        if (next != "")
        {
            page.Append($"<p><a class=next href='#{next}'>Fix this next</a></p>\n");
        }

        foreach (var stage in stages)
        {
            Stage(page, stage.Key, [.. stage], groups);
        }

        if (tail != "")
        {
            page.Append($"<p class=lead>{Paragraphs(tail)}</p>\n");
        }

        return page.ToString();
    }

    private static string Paragraphs(string text) => string.Join("<br>\n", text.Trim('\n').Split('\n').Select(E));

    private static void Bar(StringBuilder page, int stage, Verdict[] all)
    {
        var judged = all.Where(verdict => verdict.Counts).ToArray();
        int passed = judged.Count(verdict => verdict.Outcome == "passed");
        string width = judged.Length == 0 ? "0"
            : (100.0 * passed / judged.Length).ToString("0.#", CultureInfo.InvariantCulture);
        string score = judged.Length == 0 ? "not offered" : $"{passed}/{judged.Length}";
        string kind = judged.Length == 0 ? "none" : passed == judged.Length ? "green" : "some";
        page.Append($"<a class='bar {kind}' href='#stage-{stage}'><span>{stage} {E(Stages.All[stage].Name)}</span>")
            .Append($"<i><b style='width:{width}%'></b></i><em>{score}</em></a>\n");
    }

    private static void Stage(StringBuilder page, int stage, Verdict[] all, RunReport.Group[] groups)
    {
        page.Append($"<section id=stage-{stage}>\n<h2>{stage} {E(Stages.All[stage].Name)}</h2>\n")
            .Append($"<p class=read>Protocol.md {E(Stages.Sections(stage))}</p>\n");
        var sentences = all.GroupBy(verdict => verdict.Clause)
            .OrderBy(rows => ProtocolSpecification.Find(rows.Key).Line);
        foreach (var sentence in sentences)
        {
            var clause = ProtocolSpecification.Find(sentence.Key);
            var judged = sentence.Where(verdict => verdict.Counts).ToArray();
            var wrong = sentence.Where(verdict => verdict.IsWrong).ToArray();
            string kind = judged.Length == 0 ? "none" : wrong.Length == 0 ? "green" : "red";
            string score = judged.Length == 0 ? sentence.First().Outcome
                : $"{judged.Length - wrong.Length}/{judged.Length}";
            bool isNext = groups.Length > 0 && groups[0].First is var next && wrong.Contains(next);
            page.Append($"<details class='sentence {kind}'{(isNext ? " open" : "")}>\n<summary><b>{clause.Id}</b> ")
                .Append($"<span>{Prose(RunReport.FirstSentence(clause))}</span> <em>{score}</em></summary>\n")
                .Append($"<blockquote>{Prose(clause.Text)} <small>Protocol.md:{clause.Line}</small></blockquote>\n");
            foreach (var verdict in RunReport.InOrder(wrong))
            {
                Test(page, verdict, groups, isNext);
            }

            var passed = judged.Except(wrong).Select(verdict => E(verdict.DisplayName)).ToArray();
            if (passed.Length > 0)
            {
                page.Append($"<details class=passed><summary>{passed.Length} passed</summary>\n")
                    .Append($"<ul>{string.Concat(passed.Select(name => $"<li>{name}</li>"))}</ul>\n</details>\n");
            }

            foreach (var other in sentence.Where(verdict => !verdict.Counts))
            {
                page.Append($"<p class=quiet>{E(other.DisplayName)}: {E(other.Message.Trim())}</p>\n");
            }

            page.Append("</details>\n");
        }

        page.Append("</section>\n");
    }

    // Protocol.md's `code` and **strong**.
    public static string Prose(string text)
    {
        string html = E(text);
        string Pair(string mark, string tag) => string.Concat(html.Split(mark).Select((part, i) =>
            i == 0 ? part : (i % 2 == 1 ? $"<{tag}>" : $"</{tag}>") + part));

        if (html.Split("**").Length % 2 == 1)
        {
            html = Pair("**", "strong");
        }

        if (html.Split('`').Length % 2 == 1)
        {
            html = Pair("`", "code");
        }

        return html;
    }

    private static string Anchor(Verdict verdict) => "t-" + string.Concat(verdict.Test.Select(c =>
        char.IsAsciiLetterOrDigit(c) || c == '-' ? $"{c}" : $"_{(int)c:x}"));

    private static void Test(StringBuilder page, Verdict verdict, RunReport.Group[] groups, bool mayOpen)
    {
        var group = groups.First(one =>
            one.First == verdict || one.Deliveries.Contains(verdict) || one.Same.Contains(verdict));
        string advice = verdict.Outcome == "advice" ? " <small>advice</small>" : "";
        if (verdict.Failure is not { } failure)
        {
            return;
        }

        bool isSame = group.First != verdict
            && (group.Same.Contains(verdict) || RunReport.MistakeKey(group.First) == RunReport.MistakeKey(verdict));
        if (isSame)
        {
            page.Append($"<p class=same id='{Anchor(verdict)}'>{E(verdict.DisplayName)}{advice}: the same as ")
                .Append($"<a href='#{Anchor(group.First)}'>{E(group.First.DisplayName)}</a></p>\n");
            return;
        }

        bool open = mayOpen && groups[0].First == verdict;
        page.Append($"<details class=test id='{Anchor(verdict)}'{(open ? " open" : "")}>")
            .Append($"<summary>{E(verdict.DisplayName)}{advice}</summary>\n");
        if (failure.Where != "")
        {
            page.Append($"<p class=quiet>{E(failure.Where)}</p>\n");
        }

        page.Append($"<pre class=rows>{Rows(failure)}</pre>\n");
        if (failure.Hint != "")
        {
            page.Append($"<p class=hint>{Prose(failure.Hint)}</p>\n");
        }

        var (shown, more) = failure.Connections();
        foreach (var (title, talk) in shown)
        {
            Wire(page, title, talk);
        }

        if (more > 0)
        {
            page.Append($"<p class=quiet>{Failure.AndMore(more)}</p>\n");
        }

        if (failure.Said.Length > 0)
        {
            page.Append($"<p class=quiet>your {E(failure.Who)} wrote</p>\n")
                .Append($"<pre class=said>{E(string.Join('\n', failure.Said))}</pre>\n");
        }

        page.Append("</details>\n");
    }

    private static string Rows(Failure failure)
    {
        var lines = (failure with { Hint = "" }).ExpectedReceivedRows(hint: false).TrimEnd().Split('\n');
        return string.Join('\n', lines.Select(line =>
            line.TrimStart() == "^" ? $"{line[..^1]}<b class=caret>^</b>"
            : line.StartsWith("expected  ") ? $"<i>expected</i>  {E(line[10..])}"
            : line.StartsWith("received  ") ? $"<i>received</i>  {E(line[10..])}"
            : E(line)));
    }

    // Shows a connection in two columns, with the bytes in the pieces in which they were sent or arrived.
    private static void Wire(StringBuilder page, string title, RecordedConnection talk)
    {
        page.Append($"<table class=wire><caption>{E(title)}</caption>\n")
            .Append("<tr><th>byte</th><th>client</th><th>server</th><th>byte</th></tr>\n");
        foreach (var line in talk.Lines)
        {
            if (line.Side is not { } side)
            {
                page.Append($"<tr><td class=event colspan=4>{E(line.Event)}</td></tr>\n");
                continue;
            }

            string cut = line.Cuts.Length > 0 ? " cut" : "";
            string bytes = $"<td class='bytes{cut}'>{Pieces(line)}</td>";
            string at = $"<td class=at>{line.Offset:N0}</td>";
            page.Append(side == Side.Client
                ? $"<tr>{at}{bytes}<td></td><td></td></tr>\n"
                : $"<tr><td></td><td></td>{bytes}{at}</tr>\n");
        }

        if (talk.UnexpectedBytes.Length > 0)
        {
            var unread = talk.UnexpectedBytes.AsSpan(0, Math.Min(talk.UnexpectedBytes.Length, Shown));
            int same = Math.Min(talk.MatchingBytes, unread.Length);
            int wrong = Math.Min(same + 1, unread.Length);
            int hidden = talk.UnexpectedBytes.Length - unread.Length;
            string more = hidden > 0 ? $" <small>…({hidden:N0} more)</small>" : "";
            string bytes = $"<td class='bytes wrong'>{E(Notation.Show(unread[..same]))}"
                + $"<b>{E(Notation.Show(unread[same..wrong]))}</b>{E(Notation.Show(unread[wrong..]))}{more}</td>";
            page.Append(talk.OtherSide == Side.Client
                ? $"<tr><td class=at>came</td>{bytes}<td></td><td></td></tr>\n"
                : $"<tr><td></td><td></td>{bytes}<td class=at>came</td></tr>\n");
        }
        else if (talk.Lines.Length == 0)
        {
            page.Append("<tr><td class=event colspan=4>(nothing)</td></tr>\n");
        }

        page.Append("</table>\n");
    }

    private const int Shown = 120;
    private const int ShownLast = 30;

    private static string Pieces(RecordedLine line)
    {
        var html = new StringBuilder();
        int end = line.Length <= Shown + ShownLast ? line.First.Length : Math.Min(Shown, line.First.Length);
        int start = 0;
        foreach (long cut in line.Cuts.Where(cut => cut < end).Append(end))
        {
            html.Append($"<span>{E(Notation.Show(line.First.AsSpan(start..(int)cut), int.MaxValue))}</span>");
            start = (int)cut;
        }

        if (end < line.Length)
        {
            byte[] last = line.Last.Length >= ShownLast ? line.Last : [.. line.First, .. line.Last];
            html.Append($" <small>…({line.Length - end - ShownLast:N0} more)…</small> ")
                .Append($"<span>{E(Notation.Show(last.AsSpan()[^ShownLast..], int.MaxValue))}</span>");
        }

        if (line.Cuts.Length > 0)
        {
            html.Append($" <small>in {line.Cuts.Length + 1:N0} pieces</small>");
        }

        return html.ToString();
    }
}
