namespace ConformanceTests.Class;

/// <summary>
/// Makes class.html, the table of a class as a page. It is one file without a script, and loads nothing.
/// </summary>
public static class ClassHtml
{
    private static string E(string text) => WebUtility.HtmlEncode(Wording.Printable(text));

    private static string Lines(string text) => string.Join('\n', text.Split('\n').Select(E));

    public static string Of(Grade[] grades)
    {
        var page = new StringBuilder();
        int[] stages = ClassText.StagesOf(grades);
        page.Append(HtmlPage.Head("ImageTransfer: the class", "class.css"))
            .Append($"<h1>A class of {grades.Length}</h1>\n<p class=quiet>{Under(grades)}</p>\n");
        Table(page, grades, stages);
        Lesson(page, grades);
        page.Append("<h2>One by one</h2>\n");
        for (int i = 0; i < grades.Length; i++)
        {
            One(page, grades[i], i);
        }

        Matrix(page, grades);
        return page.ToString();
    }

    private static string Under(Grade[] grades)
    {
        int all = grades.Count(grade => grade.Started && grade.Stages is var (kept, of) && kept == of);
        int none = grades.Count(grade => !grade.Started);
        string advice = RunSettings.Current.Strict ? "SHOULD counts" : "SHOULD is advice and does not count";
        return $"{all} all green, {grades.Length - all - none} on the way, {none} not graded · "
            + $"pictures of seed {RunSettings.Current.Seed}, {advice} · a failure counts if it came twice";
    }

    private static string Kind((int Kept, int Of) share) =>
        share.Of == 0 ? "none" : share.Kept == share.Of ? "all" : 2 * share.Kept >= share.Of ? "most" : "few";

    private static void Table(StringBuilder page, Grade[] grades, int[] stages)
    {
        page.Append("<div class=wide>\n<table>\n<tr><th>student</th><th>stages</th><th>sentences</th>");
        foreach (int stage in stages)
        {
            page.Append($"<th>{stage}<br><small>{E(Stages.All[stage].Name)}</small></th>");
        }

        page.Append("</tr>\n");
        for (int i = 0; i < grades.Length; i++)
        {
            var grade = grades[i];
            page.Append($"<tr><th scope=row><a href='#student-{i}'>{E(grade.Student.Name)}</a></th>");
            if (grade.Started)
            {
                page.Append($"<td>{ClassText.Of(grade.Stages)}</td><td>{ClassText.Of(grade.Sentences)}</td>");
                foreach (int stage in stages)
                {
                    page.Append($"<td class={Kind(grade.InStage(stage))}>{ClassText.Cell(grade.InStage(stage))}</td>");
                }
            }
            else
            {
                page.Append($"<td class=not colspan={stages.Length + 2}>")
                    .Append($"not graded: {E(ClassText.First(grade.WhyNot))}</td>");
            }

            page.Append("</tr>\n");
        }

        page.Append("</table>\n</div>\n<p class=quiet>Sentences of Protocol.md that are kept, of those looked at, ")
            .Append("each counted once however many tests it has. <b>ok</b>: all of them; ")
            .Append("<b>-</b>: not offered, or not of this half.</p>\n");
    }

    private static void Lesson(StringBuilder page, Grade[] grades)
    {
        var lesson = ClassText.NextLesson(grades);
        page.Append("<h2>The next lesson</h2>\n");
        page.Append(lesson.Length == 0
            ? "<p>No rule is broken by more than half of the class.</p>\n"
            : "<p>The rules that more than half of the class breaks, the most frequent first:</p>\n");
        foreach (var (clause, by, of) in lesson)
        {
            string words = RunReport.FirstSentence(clause);
            page.Append($"<details><summary><b>{clause.Id}</b> <span>{ReportHtml.Prose(words)}</span> ")
                .Append($"<em>{by.Length} of {of}</em><i><b style='width:{100 * by.Length / of}%'></b></i></summary>\n")
                .Append($"<blockquote>{ReportHtml.Prose(clause.Text)} ")
                .Append($"<small>Protocol.md:{clause.Line}</small></blockquote>\n")
                .Append($"<p class=quiet>{string.Join(", ", by.Select(grade => E(grade.Student.Name)))}</p>\n")
                .Append("</details>\n");
        }
    }

    // One student: the rules that are broken, and links to the report.
    private static void One(StringBuilder page, Grade grade, int number)
    {
        string name = grade.Student.Name;
        string score = grade.Started
            ? $"{ClassText.Of(grade.Stages)} stages" : "not graded";
        page.Append($"<details id=student-{number}><summary><b>{E(name)}</b> ")
            .Append($"<span>{Summary(grade)}</span> <em>{score}</em></summary>\n");
        foreach (var (half, template) in new[] { ("server", grade.Student.Server), ("client", grade.Student.Client) })
        {
            if (template != "")
            {
                page.Append($"<p class=quiet>{half}: <code>{E(template)}</code></p>\n");
            }
        }

        if (!grade.Started)
        {
            page.Append($"<pre>{Lines(grade.WhyNot)}</pre>\n");
        }

        string at = $"class/{Uri.EscapeDataString(name)}/report";
        if (grade.Started)
        {
            page.Append($"<p>The whole report: <a href='{at}.html'>as a page</a>, ")
                .Append($"<a href='{at}.txt'>as text</a></p>\n");
        }

        if (grade.Races.Length > 0)
        {
            page.Append("<p>Failed, and passed when it was repeated. A race?</p>\n<ul>")
                .Append(string.Concat(grade.Races.Select(test => $"<li>{E(Wording.DisplayName(test))}</li>")))
                .Append("</ul>\n");
        }

        var broken = grade.Marks.Where(mark => mark.HasFailed).GroupBy(mark => (mark.Stage, mark.Clause))
            .OrderBy(group => group.Key.Stage).ThenBy(group => ProtocolSpecification.Find(group.Key.Clause).Line);
        foreach (var sentence in broken)
        {
            var tests = sentence.Select(mark => Wording.DisplayName(mark.Test)).ToArray();
            string others = tests.Length <= 4 ? "" : $" and {tests.Length - 3} more";
            page.Append($"<p class=broken><b>{sentence.Key.Clause}</b> <small>stage {sentence.Key.Stage}</small> ")
                .Append(string.Join(" · ", tests.Take(others == "" ? 4 : 3).Select(E))).Append($"{others}</p>\n");
        }

        page.Append("</details>\n");
    }

    private static string Summary(Grade grade)
    {
        if (!grade.Started)
        {
            return E(ClassText.First(grade.WhyNot));
        }

        return $"{ClassText.Of(grade.Sentences)} sentences{ClassText.Races(grade)}";
    }

    // A row for each rule, a column for each student.
    private static void Matrix(StringBuilder page, Grade[] grades)
    {
        var shown = grades.Where(grade => grade.Started).ToArray();
        var ids = shown.SelectMany(grade => grade.Judged).ToHashSet();
        if (ids.Count == 0)
        {
            return;
        }

        page.Append("<h2>Sentence by sentence</h2>\n<details class=plain><summary>all that were looked at</summary>\n")
            .Append("<div class=wide>\n<table>\n<tr><th>sentence</th>")
            .Append(string.Concat(shown.Select(grade => $"<th>{E(grade.Student.Name)}</th>"))).Append("</tr>\n");
        foreach (var clause in ProtocolSpecification.Clauses.Values.Where(clause => ids.Contains(clause.Id)))
        {
            page.Append($"<tr><th scope=row title='{E(clause.Text)}'>{clause.Id}</th>");
            foreach (var grade in shown)
            {
                page.Append(!grade.Judged.Contains(clause.Id) ? "<td class=none>-</td>"
                    : grade.Broken.Contains(clause.Id) ? "<td class=few>no</td>"
                    : "<td class=all>ok</td>");
            }

            page.Append("</tr>\n");
        }

        page.Append("</table>\n</div>\n</details>\n");
    }
}
