namespace ConformanceTests.Harness.Specification;

/// <summary>The strongest word in capitals of a clause.</summary>
public enum Level { May, Should, Must }

/// <summary>A normative paragraph.</summary>
public sealed partial record Clause(string Id, Level Level, int Line, string Text)
{
    public string Sentence => Wrapped().Replace($"[{Id}] {Text} (Protocol.md:{Line})", "$1\n").TrimEnd();

    [GeneratedRegex(@"(.{1,100})(?: +|$)")] private static partial Regex Wrapped();

    /// <summary>The optional feature that the paragraph belongs to (§15), or null.</summary>
    public string? Feature => ProtocolTables.Features.FirstOrDefault(row => row.Clauses.Contains(Id))?.Name;

    public string Section { get; init; } = "";          // 4.5
}

/// <summary>Protocol.md as data: its clauses and its transcripts.</summary>
public static partial class ProtocolSpecification
{
    public static readonly string[] Lines = File.ReadAllLines(Path.Combine(RunSettings.Root, "Protocol.md"));
    public static readonly List<Transcript> Transcripts = [];
    public static readonly Dictionary<string, Clause> Clauses = [];
    public static readonly List<string> Errors = [];          // in Protocol.md itself

    static ProtocolSpecification()
    {
        string section = "";
        for (int i = 0; i < Lines.Length;)
        {
            if (Heading().Match(Lines[i]) is { Success: true } heading)
            {
                section = heading.Groups[1].Value;
            }

            int end = EndOfPart(i);
            if (Lines[i].StartsWith("```transcript "))
            {
                string header = Lines[i]["```transcript ".Length..];
                Transcripts.Add(TranscriptParser.Parse(header, Lines[(i + 1)..(end - 1)], i + 1));
            }
            else if (IsText(Lines[i]))
            {
                AddParagraph(string.Join(' ', Lines[i..end].Select(line => line.Trim())), i + 1, section);
            }

            i = end;
        }

        foreach (var transcript in Transcripts)
        {
            foreach (string id in transcript.Ids.Where(id => !Clauses.ContainsKey(id)))
            {
                Errors.Add($"Protocol.md:{transcript.Line}: there is no {id}");
            }
        }
    }

    private static bool IsText(string line) => line is not ("" or ['|', ..] or ['#', ..] or ['`', '`', '`', ..]);

    // The number of the line after a fenced part, after a paragraph, or after any other single line.
    private static int EndOfPart(int first)
    {
        int end = first + 1;
        if (Lines[first].StartsWith("```"))
        {
            while (end < Lines.Length && !Lines[end].StartsWith("```"))
            {
                end++;
            }

            return end + 1;
        }

        while (IsText(Lines[first]) && end < Lines.Length && Lines[end] is not ("" or ['|', ..] or ['`', '`', '`', ..]))
        {
            end++;
        }

        return end;
    }

    private static void AddParagraph(string paragraph, int line, string section)
    {
        string words = CodeSpan().Replace(paragraph, "");
        if (Id().Match(paragraph) is { Success: true } match)
        {
            var level = words.Contains("MUST") ? Level.Must : words.Contains("SHOULD") ? Level.Should : Level.May;
            string id = match.Groups[1].Value;
            var clause = new Clause(id, level, line, match.Groups[2].Value.Trim()) { Section = section };
            if (!Clauses.TryAdd(id, clause))
            {
                Errors.Add($"Protocol.md:{line}: the id {id} is given twice");
            }
        }
        else if (Keyword().IsMatch(words) && !words.StartsWith("The words MUST"))
        {
            Errors.Add($"Protocol.md:{line}: MUST, SHOULD or MAY without an id");
        }
    }

    public static Clause Find(string id) =>
        Clauses.TryGetValue(id, out var clause) ? clause : throw new ArgumentException($"Protocol.md has no [{id}]");

    [GeneratedRegex(@"^\*\*\[([A-Z]+-?\d+)\][^*]*\*\*(.*)$")] private static partial Regex Id();

    [GeneratedRegex(@"\b(MUST|SHOULD|MAY)\b")] private static partial Regex Keyword();

    [GeneratedRegex(@"^#+ ([\d.]*\d)\.? ")] private static partial Regex Heading();

    [GeneratedRegex("`[^`]*`")] private static partial Regex CodeSpan();
}
