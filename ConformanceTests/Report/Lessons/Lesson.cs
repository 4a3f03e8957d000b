namespace ConformanceTests.Report.Lessons;

/// <summary>One lesson of the program, as its heading comment and the code below it say.</summary>
/// <param name="Number">Such as 3.</param>
/// <param name="Title">Such as "LIST and GET".</param>
/// <param name="File">The source file that it is in.</param>
/// <param name="Heading">The lines of the heading, without the slashes and without what the other properties hold.
/// </param>
/// <param name="Ids">The paragraphs of Protocol.md that it implements.</param>
/// <param name="Commands">The commands that show it.</param>
/// <param name="FirstLine">The number of the first line of its code in the file.</param>
/// <param name="Code">Its code, up to the next heading.</param>
public sealed partial record Lesson(int Number, string Title, string File, string[] Heading, string[] Ids,
    string[] Commands, int FirstLine, string[] Code)
{
    private const string Comment = "//";

    /// <summary>Returns the lessons of a source file, in their order. Appendices are not lessons.</summary>
    /// <param name="file">The name of the file.</param>
    /// <param name="lines">Its lines.</param>
    /// <exception cref="FormatException">A heading does not end.</exception>
    public static List<Lesson> Find(string file, string[] lines)
    {
        var lessons = new List<Lesson>();
        int start = 0;
        while ((start = Array.FindIndex(lines, start, IsRule)) >= 0)
        {
            int end = Array.FindIndex(lines, start + 1, IsRule);
            if (end < 0)
            {
                throw new FormatException($"{file}:{start + 1}: this heading has no end");
            }

            string[] heading = [.. lines[(start + 1)..end].Select(WithoutSlashes)];
            int next = Array.FindIndex(lines, end + 1, IsRule);
            if (LessonTitle().Match(heading.FirstOrDefault("")) is { Success: true } title)
            {
                int last = next < 0 ? lines.Length : next;
                lessons.Add(Make(file, title, heading[1..], end + 1, lines[(end + 1)..last]));
            }

            start = end + 1;
        }

        return lessons;
    }

    private static Lesson Make(string file, Match title, string[] heading, int firstLine, string[] code)
    {
        var text = new List<string>();
        var ids = new List<string>();
        var commands = new List<string>();
        List<string> section = text;
        foreach (string line in heading)
        {
            section = line == "" || line.StartsWith("You ") ? text
                : line.StartsWith("Protocol.md:") ? ids
                : line.StartsWith("See it:") ? commands
                : section;
            section.Add(line);
        }

        int skipped = code.TakeWhile(line => line == "").Count();
        string[] trimmed = [.. code.Skip(skipped)];
        while (trimmed is [.., ""])
        {
            trimmed = trimmed[..^1];
        }

        return new Lesson(int.Parse(title.Groups[1].Value), title.Groups[2].Value, file, [.. text],
            FindIds(string.Join(' ', ids)), [.. commands.Select(CommandOf)], firstLine + skipped + 1, trimmed);
    }

    /// <summary>Returns the ids in a text, where "GET-1 to GET-3" stands for three of them.</summary>
    public static string[] FindIds(string text)
    {
        var ids = new List<string>();
        foreach (Match match in IdOrRange().Matches(text))
        {
            string group = match.Groups["group"].Value;
            int first = int.Parse(match.Groups["first"].Value);
            int last = match.Groups["last"].Success ? int.Parse(match.Groups["last"].Value) : first;
            ids.AddRange(Enumerable.Range(first, last - first + 1).Select(number => $"{group}{number}"));
        }

        return [.. ids.Distinct()];
    }

    // "See it:  make test STAGE=5      why" is a command and a remark, with at least three spaces between them.
    private static string CommandOf(string line) => line.Replace("See it:", "").Trim();

    private static bool IsRule(string line) => line.StartsWith("// ====================");

    private static string WithoutSlashes(string line) =>
        line.StartsWith(Comment + " ") ? line[3..] : line.StartsWith(Comment) ? line[2..] : line;

    [GeneratedRegex(@"^Lesson (\d+): (.+)$")] private static partial Regex LessonTitle();

    [GeneratedRegex(@"\b(?<group>[A-Z]+-|P)(?<first>\d+)\b(?: to \k<group>(?<last>\d+)\b)?")]
    private static partial Regex IdOrRange();
}
