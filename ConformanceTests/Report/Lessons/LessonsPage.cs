namespace ConformanceTests.Report.Lessons;

/// <summary>
/// Makes lessons.html: each lesson of the program with its heading, the paragraphs and transcripts of Protocol.md that
/// it implements, its code beside them, a real run, and the exercise. Nothing in it is written a second time.
/// </summary>
public static partial class LessonsPage
{
    private const string Indent = "    ";
    private static readonly string[] _files = ["Client.cs", "Server.cs"];

    /// <summary>Returns the lessons of the program in the order in which they are read.</summary>
    /// <param name="root">The folder of the project.</param>
    public static List<Lesson> FindLessons(string root) =>
        [.. _files.SelectMany(file => Lesson.Find(file, File.ReadAllLines(Path.Combine(root, file))))];

    /// <summary>Returns the page.</summary>
    /// <param name="lessons">The lessons.</param>
    /// <param name="run">Returns what a command prints, or null if it cannot be run.</param>
    public static string Render(List<Lesson> lessons, Func<string, string?> run)
    {
        var anchors = new HashSet<string>();
        var page = new StringBuilder()
            .Append(HtmlPage.Head("ImageTransfer in lessons", "lessons.css"))
            .Append("<header>\n<h1>ImageTransfer in lessons</h1>\n")
            .Append("<p>A client, then a server, from top to bottom. Each lesson shows the rules of the protocol next ")
            .Append("to the code that implements them. You can stop after any lesson.</p>\n</header>\n<nav>\n");
        foreach (var file in lessons.GroupBy(lesson => lesson.File))
        {
            page.Append($"<div><h2>{file.Key}</h2>\n<ol>\n");
            foreach (Lesson lesson in file)
            {
                page.Append($"<li value={lesson.Number}><a href='#lesson-{lesson.Number}'>")
                    .Append($"{E(TitleOf(lesson))}</a></li>\n");
            }

            page.Append("</ol></div>\n");
        }

        page.Append("</nav>\n<main>\n");
        foreach (Lesson lesson in lessons)
        {
            AppendLesson(page, lesson, anchors, run);
        }

        return page.Append("</main>\n</html>\n").ToString();
    }

    private static void AppendLesson(StringBuilder page, Lesson lesson, HashSet<string> anchors,
        Func<string, string?> run)
    {
        page.Append($"<section id=lesson-{lesson.Number}>\n<h2><span>Lesson {lesson.Number}</span> ")
            .Append($"{E(TitleOf(lesson))} <small>{lesson.File}</small></h2>\n<div class=heading>\n");
        int end = Array.FindLastIndex(lesson.Heading, line => line.StartsWith("You "));
        string[] heading = end < 0 ? lesson.Heading : lesson.Heading[..end];
        AppendHeading(page, heading);
        page.Append("</div>\n<div class=pair>\n<div class=rules>\n<h3>The rules</h3>\n");
        foreach (string id in lesson.Ids)
        {
            AppendRule(page, ProtocolSpecification.Find(id), isFirst: anchors.Add(id));
        }

        foreach (Transcript transcript in ProtocolSpecification.Transcripts
            .Where(transcript => lesson.Ids.Contains(transcript.Ids[0])))
        {
            string[] body = [.. ProtocolSpecification.Lines.Skip(transcript.Line).TakeWhile(line => line != "```")];
            page.Append($"<figure><figcaption>{E(transcript.Name.Replace('-', ' '))}</figcaption>\n<pre>")
                .Append($"{string.Join('\n', body.Select(TranscriptLine))}</pre></figure>\n");
        }

        page.Append("</div>\n<div class=code>\n<h3>The code</h3>\n<pre>");
        int number = lesson.FirstLine;
        foreach (string line in CSharpHighlighter.Highlight(lesson.Code, LinkIds))
        {
            page.Append($"<i>{number++}</i>{line}\n");
        }

        page.Append("</pre>\n</div>\n</div>\n");
        AppendRuns(page, lesson, run);
        AppendHeading(page, lesson.Heading[heading.Length..]);
        page.Append("</section>\n");
    }

    // Prose, and drawings: lines that are indented by at least four spaces.
    private static void AppendHeading(StringBuilder page, string[] lines)
    {
        int start = 0;
        while (start < lines.Length)
        {
            bool isDrawing = lines[start].StartsWith(Indent);
            int end = start + 1;
            while (end < lines.Length && (isDrawing ? ContinuesDrawing(lines[end..])
                : lines[start] != "" && ContinuesProse(lines[end])))
            {
                end++;
            }

            string[] block = lines[start..end];
            if (isDrawing)
            {
                page.Append($"<pre>{E(string.Join('\n', Outdent(block)))}</pre>\n");
            }
            else if (lines[start] != "")
            {
                page.Append($"<p>{Prose(string.Join(' ', block))}</p>\n");
            }

            start = end;
        }
    }

    private static bool ContinuesProse(string line) => line != "" && !line.StartsWith(Indent);

    private static IEnumerable<string> Outdent(string[] lines)
    {
        int indent = lines.Where(line => line != "").Min(line => line.TakeWhile(char.IsWhiteSpace).Count());
        return lines.Select(line => line.Length < indent ? line : line[indent..]);
    }

    // A drawing may have empty lines in it, but does not end with one.
    private static bool ContinuesDrawing(string[] rest) =>
        rest.SkipWhile(line => line == "").FirstOrDefault("").StartsWith(Indent);

    private static void AppendRule(StringBuilder page, Clause clause, bool isFirst)
    {
        string anchor = isFirst ? $" id={clause.Id}" : "";
        page.Append($"<article{anchor}><h4>{clause.Id} <small>section {clause.Section}</small></h4>\n")
            .Append($"<p>{Prose(clause.Text)}</p></article>\n");
    }

    private static void AppendRuns(StringBuilder page, Lesson lesson, Func<string, string?> run)
    {
        page.Append("<div class=turn>\n<h3>See it</h3>\n<pre>");
        foreach (string command in lesson.Commands)
        {
            string[] parts = Remark().Split(command, 2);
            string remark = parts.Length > 1 ? $"   <span class=c># {E(parts[1])}</span>" : "";
            page.Append($"<b>$ {E(parts[0])}</b>{remark}\n");
            if (run(parts[0]) is { } printed)
            {
                page.Append($"{E(printed)}\n");
            }
        }

        page.Append("</pre>\n");
        string[] tests = [.. lesson.Commands.Select(Exercise).OfType<string>()];
        if (tests.Length > 0)
        {
            page.Append("<h3>Your turn</h3>\n<p>Write this part of a program of your own, in any language, and ")
                .Append($"let the suite check it:</p>\n<pre><b>$ {E(string.Join("\n$ ", tests))}</b></pre>\n");
        }

        page.Append("</div>\n");
    }

    // "make test STAGE=5" tests this program; with a command, it tests the reader's.
    private static string? Exercise(string command)
    {
        return Stage().Match(command) is not { Success: true } stage ? null
            : $"make test {stage.Value} " + (command.Contains("CLIENT=")
                ? "CLIENT='python3 my_client.py {host} {port} {command} {file}'"
                : "SERVER='python3 my_server.py {port} {dir}'");
    }

    private static string TranscriptLine(string line)
    {
        string kind = line.StartsWith("C:") ? "client" : line.StartsWith("S:") ? "server" : "c";
        return $"<span class={kind}>{E(line)}</span>";
    }

    // Protocol.md's `code`, **strong** and *emphasis*.
    private static string Prose(string text)
    {
        string html = Code().Replace(E(text), "<code>$1</code>");
        html = Strong().Replace(html, "<strong>$1</strong>");
        return LinkIds(Emphasis().Replace(html, "<em>$1</em>"));
    }

    // Ids are links to the rule, if the page has it.
    private static string LinkIds(string html) =>
        Id().Replace(html, match => ProtocolSpecification.Clauses.ContainsKey(match.Value)
            ? $"<a href='#{match.Value}'>{match.Value}</a>" : match.Value);

    private static string TitleOf(Lesson lesson) => char.ToUpperInvariant(lesson.Title[0]) + lesson.Title[1..];

    private static string E(string text) => WebUtility.HtmlEncode(text);

    [GeneratedRegex(" {3,}")] private static partial Regex Remark();

    [GeneratedRegex(@"STAGE=\d+")] private static partial Regex Stage();

    [GeneratedRegex("`([^`]+)`")] private static partial Regex Code();

    [GeneratedRegex(@"\*\*([^*]+)\*\*")] private static partial Regex Strong();

    [GeneratedRegex(@"(?<![*\w])\*([^*<]+)\*(?![*\w])")] private static partial Regex Emphasis();

    [GeneratedRegex(@"\b(?:[A-Z]+-|P)\d+\b")] private static partial Regex Id();
}
