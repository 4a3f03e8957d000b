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
        for (int i = 0; i < Lines.Length; i++)
        {
            if (Heading().Match(Lines[i]) is { Success: true } heading)
            {
                section = heading.Groups[1].Value;
            }

            if (Lines[i].StartsWith("```"))
            {
                int start = i;
                for (i++; i < Lines.Length && !Lines[i].StartsWith("```");)
                {
                    i++;
                }

                if (Lines[start].StartsWith("```transcript "))
                {
                    string header = Lines[start]["```transcript ".Length..];
                    Transcripts.Add(Transcript.Parse(header, Lines[(start + 1)..i], start + 1));
                }

                continue;
            }

            if (Lines[i] is "" or ['|', ..] or ['#', ..])
            {
                continue;
            }

            int first = i;
            while (i + 1 < Lines.Length && Lines[i + 1] is not ("" or ['|', ..] or ['`', '`', '`', ..]))
            {
                i++;
            }

            string paragraph = string.Join(' ', Lines[first..(i + 1)].Select(line => line.Trim()));
            string words = CodeSpan().Replace(paragraph, "");
            bool normative = Keyword().IsMatch(words) && !words.StartsWith("The words MUST");
            if (Id().Match(paragraph) is { Success: true } match)
            {
                var level = words.Contains("MUST") ? Level.Must : words.Contains("SHOULD") ? Level.Should : Level.May;
                var clause = new Clause(match.Groups[1].Value, level, first + 1, match.Groups[2].Value.Trim())
                { Section = section };
                if (!Clauses.TryAdd(clause.Id, clause))
                {
                    Errors.Add($"Protocol.md:{first + 1}: the id {clause.Id} is given twice");
                }
            }
            else if (normative)
            {
                Errors.Add($"Protocol.md:{first + 1}: MUST, SHOULD or MAY without an id");
            }
        }

        foreach (var transcript in Transcripts)
        {
            foreach (string id in transcript.Ids.Where(id => !Clauses.ContainsKey(id)))
            {
                Errors.Add($"Protocol.md:{transcript.Line}: there is no {id}");
            }
        }
    }

    public static Clause Find(string id) =>
        Clauses.TryGetValue(id, out var clause) ? clause : throw new ArgumentException($"Protocol.md has no [{id}]");

    [GeneratedRegex(@"^\*\*\[([A-Z]+-?\d+)\][^*]*\*\*(.*)$")] private static partial Regex Id();

    [GeneratedRegex(@"\b(MUST|SHOULD|MAY)\b")] private static partial Regex Keyword();

    [GeneratedRegex(@"^#+ ([\d.]*\d)\.? ")] private static partial Regex Heading();

    [GeneratedRegex("`[^`]*`")] private static partial Regex CodeSpan();
}
