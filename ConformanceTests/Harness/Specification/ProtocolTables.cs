namespace ConformanceTests.Harness.Specification;

/// <summary>A row of the table of error codes.</summary>
/// <param name="Code">The code, such as bad-name.</param>
/// <param name="Closes">True if the server closes the connection after it.</param>
public sealed record ErrorCode(string Code, bool Closes);

/// <summary>A row of the table of optional features.</summary>
/// <param name="Name">The name of the feature, such as digest.</param>
/// <param name="Clauses">The ids of its paragraphs.</param>
public sealed record OptionalFeature(string Name, string[] Clauses);

/// <summary>
/// What the suite takes from the tables and lists of Protocol.md: limits, error codes, optional features, types.
/// </summary>
public static partial class ProtocolTables
{
    /// <summary>The table of §6.1.</summary>
    public static readonly ErrorCode[] Codes =
    [
        .. from cells in Table("code", "when", "then")
           select new ErrorCode(cells[0].Trim('`'), cells[2] == "close"),
    ];

    /// <summary>The table of §15.</summary>
    public static readonly OptionalFeature[] Features =
    [
        .. from cells in Table("optional feature", "verb, option or setting", "its paragraphs")
           select new OptionalFeature(cells[0], cells[2].Split(", ")),
    ];

    /// <summary>The extensions that a server accepts unless it is told others (NAME-3).</summary>
    public static readonly string[] DefaultTypes =
        CodeSpans(ProtocolSpecification.Find("NAME-3").Text.Split("(A to Z):", 2)[1].Split("unless")[0]);

    /// <summary>The extensions that only pictures have (TYPE-1).</summary>
    public static readonly string[] PictureTypes =
        CodeSpans(ProtocolSpecification.Find("TYPE-1").Text.Split('(', ')')[1]);

    private static readonly Dictionary<string, string> _limits =
        Table("limit", "value", "of what", "beyond it").ToDictionary(cells => cells[0], cells => cells[1]);

    /// <summary>Returns the first number in a row of the table of §9.1: bytes, seconds or a count.</summary>
    public static int Limit(string name) => Amounts(name)[0];

    /// <summary>Returns all numbers in a row of the table of §9.1, KiB, MiB and GiB as bytes.</summary>
    public static int[] Amounts(string name) =>
    [
        .. from Match match in Amount().Matches(_limits[name])
           let unit = match.Groups[2].Value switch { "KiB" => 1 << 10, "MiB" => 1 << 20, "GiB" => 1 << 30, _ => 1 }
           select int.Parse(match.Groups[1].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture) * unit,
    ];

    /// <summary>Returns the rows of the table that has this header; in a cell, \| is a |.</summary>
    public static string[][] Table(params string[] header)
    {
        string[] lines = ProtocolSpecification.Lines;
        int start = Array.FindIndex(lines, line => Cells(line).SequenceEqual(header));
        if (start < 0)
        {
            throw new InvalidOperationException($"Protocol.md has no table | {string.Join(" | ", header)} |");
        }

        return [.. lines.Skip(start + 2).TakeWhile(line => line.StartsWith('|')).Select(Cells)];
    }

    private static string[] Cells(string line) =>
        line.StartsWith('|') ? [.. Border().Split(line)[1..^1].Select(cell => cell.Trim().Replace("\\|", "|"))] : [];

    private static string[] CodeSpans(string text) =>
        [.. CodeSpan().Matches(text).Select(match => match.Groups[1].Value)];

    [GeneratedRegex(@"([\d,]*\d)(?: (KiB|MiB|GiB))?\b")] private static partial Regex Amount();

    [GeneratedRegex(@"(?<!\\)\|")] private static partial Regex Border();

    [GeneratedRegex("`([^`]*)`")] private static partial Regex CodeSpan();
}

/// <summary>The numbers of §9.1: bytes and seconds.</summary>
public static class Limits
{
    public static readonly int LineBytes = ProtocolTables.Limit("line");
    public static readonly int NameBytes = ProtocolTables.Limit("name");
    public static readonly int UploadBytes = ProtocolTables.Limit("upload");
    public static readonly int Clients = ProtocolTables.Limit("clients");
    public static readonly int LineSeconds = ProtocolTables.Limit("line time");
    public static readonly int PaceBytes = ProtocolTables.Amounts("pace")[0];
    public static readonly int PaceSeconds = ProtocolTables.Amounts("pace")[1];
    public static readonly int StopSeconds = ProtocolTables.Limit("stop time");
    public static readonly int ExitSeconds = ProtocolTables.Limit("exit time");
    public static readonly int HistoryLines = ProtocolTables.Limit("history");
    public static readonly int AheadRequests = ProtocolTables.Limit("ahead");
    public static readonly int HandshakeBytes = ProtocolTables.Limit("handshake size");
    public static readonly int KeyFileBytes = ProtocolTables.Limit("key file");
}
