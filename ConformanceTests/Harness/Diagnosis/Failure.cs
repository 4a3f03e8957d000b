namespace ConformanceTests.Harness.Diagnosis;

/// <summary>
/// A failure as the author of the program reads it: what was expected, what was received, what was sent on which
/// connection, what the program printed. report.txt and report.html both show it.
/// </summary>
/// <param name="Expected">What was expected, in words.</param>
/// <param name="Received">What was received, in words.</param>
public sealed record Failure(string Expected, string Received)
{
    public string Where { get; init; } = "";

    /// <summary>The column of the first difference in what was received.</summary>
    public int? Caret { get; init; }

    public string[] Notes { get; init; } = [];

    public string HintName { get; init; } = "";

    public string Hint { get; init; } = "";

    /// <summary>The id of the clause that is broken, if the test is about another one.</summary>
    public string? Sentence { get; init; }

    /// <summary>How the client was started, such as "client … GET cat.png".</summary>
    public string RunAs { get; init; } = "";

    /// <summary>Whether only a SHOULD of that clause is broken.</summary>
    public bool IsAdvice { get; init; }

    /// <summary>The same failure with the hint for pieces, which fits if the message passes in one piece.</summary>
    public Failure? InPieces { get; init; }

    /// <summary>Whether the test gave up waiting. Errors that the program reports later are not the cause.</summary>
    public bool GivenUp { get; init; }

    public RecordedConnection[] Talks { get; init; } = [];

    public string Who { get; init; } = "";

    public string[] Said { get; init; } = [];

    /// <summary>The same failure with the hint of another one.</summary>
    public Failure ExplainedAs(Failure other) =>
        this with { HintName = other.HintName, Hint = other.Hint, Sentence = other.Sentence };

    public Failure ChooseExplanation(bool wholePassed) =>
        (wholePassed && InPieces is { } pieces
            ? ExplainedAs(pieces) : this)
        with
        { InPieces = null };

    public static Failure From(string text)
    {
        string[] lines = text.Split('\n');
        string Of(string label) =>
            lines.FirstOrDefault(line => line.StartsWith(label))?[label.Length..].Trim() ?? "";

        string expected = Of("expected  ");
        string received = Of("received  ");
        if (expected != "" && received != "")
        {
            return new Failure(expected, received);
        }

        return new Failure("", string.Join('\n', lines.Where(line => !line.StartsWith("[your "))).Trim());
    }

    /// <summary>Returns the part that failures of the same conversation in other pieces may share.</summary>
    public string TextWithoutConnections() => ExpectedReceivedRows(hint: true);

    public string ExpectedReceivedRows(bool hint)
    {
        var text = new StringBuilder();
        if (Expected != "")
        {
            text.Append(Row("expected", Expected));
        }

        text.Append(Row("received", Received));
        if (Caret is { } column)
        {
            text.Append($"{new string(' ', 10 + column)}^\n");
        }

        foreach (string note in Notes)
        {
            text.Append(Row("", Wording.Wrapped(note)));
        }

        if (hint && Hint != "")
        {
            text.Append(Row("hint", Wording.Wrapped(Hint)));
        }

        if (RunAs != "")
        {
            text.Append(Row("run as", RunAs));
        }

        return text.ToString();
    }

    private static string Row(string label, string text) =>
        $"{label,-10}{text.TrimEnd().Replace("\n", $"\n{"",10}")}\n";

    // Connections with the same contents are shown once. More is the number of connections that are not shown.
    public ((string Title, RecordedConnection Talk)[] Shown, int More) Connections()
    {
        var all = Kinds().ToArray();
        return ([.. all.Take(MostConnections).Select(kind => (kind.Title, kind.Talk))],
            all.Skip(MostConnections).Sum(kind => kind.Count));
    }

    private IEnumerable<(string Title, RecordedConnection Talk, int Count)> Kinds()
    {
        if (Talks.Length == 1)
        {
            yield return ("so far", Talks[0], 1);
            yield break;
        }

        var groups = Talks.Select((talk, i) => (talk, Number: i + 1))
            .GroupBy(row => (row.talk.FailedHere, row.talk.Text()))
            .OrderByDescending(group => group.Key.FailedHere);
        foreach (var group in groups)
        {
            var numbers = group.Select(row => row.Number).ToArray();
            string which = numbers.Length == 1 ? $"connection {numbers[0]} of {Talks.Length}"
                : numbers[^1] - numbers[0] == numbers.Length - 1
                    ? $"connections {numbers[0]} to {numbers[^1]} of {Talks.Length}, each"
                    : $"connections {string.Join(", ", numbers.Take(8))}{(numbers.Length > 8 ? ", …" : "")} "
                        + $"of {Talks.Length}, each";
            string here = group.Key.FailedHere ? ": here it failed" : "";
            yield return ($"so far, on {which}{here}", group.First().talk, numbers.Length);
        }
    }

    private const int MostConnections = 8;

    public static string AndMore(int more) => $"and {more} more connection{(more == 1 ? "" : "s")}";

    public string Text(bool hint = true)
    {
        var text = new StringBuilder(Where == "" ? "" : Where + "\n");
        text.Append(ExpectedReceivedRows(hint));
        var (shown, more) = Connections();
        foreach (var (title, talk) in shown)
        {
            text.Append($"{title}\n   byte\n{talk.Text()}");
        }

        if (more > 0)
        {
            text.Append($"{AndMore(more)}\n");
        }

        if (Said.Length > 0)
        {
            text.Append($"your {Who} wrote\n");
        }

        foreach (string line in Said)
        {
            text.Append($"          {line}\n");
        }

        return text.ToString();
    }
}
