namespace ConformanceTests.Report;

/// <summary>A stage of the report.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Begin">How to begin with an optional feature in a server.</param>
/// <param name="BeginClient">The same for a client.</param>
/// <param name="Reads">Sections to read for it, in addition to those of its own paragraphs.</param>
public sealed record StageInfo(string Name, string Begin = "", string BeginClient = "", params string[] Reads);

/// <summary>
/// The stages of the report, and which test belongs to which. A test belongs to the latest stage of anything that it
/// uses, so a program that has this stage and those before it can pass it.
/// </summary>
public static partial class Stages
{
    public const int List = 2;
    public const int Get = 3;
    public const int Put = 4;
    public const int Requests = 5;
    public const int Deadlines = 6;
    public const int Closing = 7;
    public const int ManyClients = 8;
    private const int FirstOptional = 9;

    public static readonly StageInfo[] All =
    [
        new(""),
        new("connect", Reads: ["1", "2"]),
        new("LIST", Reads: ["4.1", "4.2", "4.3", "4.4"]),
        new("GET"),
        new("PUT"),
        new("requests, names"),
        new("deadlines"),
        new("closing"),
        new("many clients"),
        new("digest",
            "Begin with GET: accept the option digest=sha256 instead of answering unsupported, and send 32 bytes\n"
                + "after the block, the SHA-256 of the file. Then PUT, which compares before the file gets its name.\n",
            "Begin with GET: ask with |digest=sha256 (and again without it if that is unsupported), and compare.\n"),
        new("resume",
            "Begin with the option offset=N of GET: leave out N bytes of the file; the length is that of the rest.\n",
            "Begin by keeping the part that an interrupted download brought. If an option of your client turns this\n"
                + "on, tell the suite: {resume} in the template becomes --resume.\n"),
        new("STATUS",
            "Begin by recording, from each accept on, the time, the address, the requests and the bytes; then send\n"
                + "that as LIST does.\n",
            "Begin with the command STATUS: send the request, and print the block that comes, as for LIST.\n"),
        new("ahead",
            "Begin with the option ahead of PUT: answer OK at once, even to an invalid name; an error is sent after\n"
                + "the block.\n",
            "Begin with PUT of several files in one start, which the suite writes as words of their own in the place\n"
                + "of {file}. Ask for each with |ahead, send its block at once, and read its replies later.\n"),
        new("modified",
            "Begin with GET: if the request has the option modified, answer OK|time instead of OK. Then PUT, which\n"
                + "gives the file its time before the file gets its name.\n",
            "Begin with GET: ask with |modified, read the time in the reply, and give it to the file before the file\n"
                + "gets its name.\n"),
        new("sealed",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then implement the handshake, and decide which clients to accept.\n",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then implement the handshake, and decide which servers to accept.\n"),
    ];

    // The stage of an id, or of all ids of a section. The first row that matches counts.
    private static readonly (string Where, int Stage)[] _table =
    [
        ("CLI-9", Deadlines), ("CLI-4", Closing), ("CLI-8", Closing), ("LINE-4", Requests), ("CONF-1", Requests),
        ("P8", Deadlines), ("P10", Requests), ("P11", Requests), ("P12", Closing), ("P13", Closing),
        ("3", 1), ("4.6", Put), ("4", Requests), ("5.1", List), ("5.2", Get), ("5.3", Put), ("6", Requests),
        ("9.2", Requests), ("9", Deadlines), ("7", Closing), ("11", Closing), ("12", Closing), ("10", ManyClients),
        ("13", Requests),
    ];

    private static readonly string[] _features = ["digest", "offset", "STATUS", "ahead", "modified", "sealed"];

    /// <summary>Returns the stage of a test.</summary>
    /// <param name="clauses">The clauses that it names, the main one first.</param>
    /// <param name="arguments">Its arguments: verbs among them and what a transcript sends count, too.</param>
    /// <param name="notBefore">The earliest stage, if none of these says enough.</param>
    public static int Of(Clause[] clauses, IEnumerable<object?> arguments, int notBefore = 0) =>
        clauses.Where(IsNeeded).Append(clauses[0]).Select(Of)
            .Concat(arguments.SelectMany(Verbs).Select(StageOfVerb))
            .Append(notBefore)
            .Max();

    // Without a request, an optional feature or several connections at a time, the test cannot pass.
    private static bool IsNeeded(Clause clause) =>
        clause.Feature is not null || clause.Id == "P6" || Of(clause) is List or Get or Put;

    private static IEnumerable<string> Verbs(object? argument) => argument switch
    {
        string text => Verb().Matches(text).Select(match => match.Value),
        Transcript transcript => transcript.Steps.OfType<SendStep>()
            .Where(says => says.Side == Side.Client)
            .SelectMany(says => says.Pieces.OfType<KnownBytes>())
            .SelectMany(piece => Verb().Matches(Encoding.Latin1.GetString(piece.Value)).Select(match => match.Value)),
        _ => [],
    };

    [GeneratedRegex(@"(?m)^(LIST|GET|PUT)\b")] private static partial Regex Verb();

    private static int StageOfVerb(string verb) => verb switch { "LIST" => List, "GET" => Get, _ => Put };

    private static int Of(Clause clause)
    {
        bool Fits(string where) =>
            where == clause.Id || where == clause.Section || clause.Section.StartsWith(where + ".");

        return clause.Feature is { } feature
            ? FirstOptional + Array.IndexOf(_features, feature)
            : _table.First(row => Fits(row.Where)).Stage;
    }

    // Paragraphs that bind only clients, outside of §13.
    private static readonly string[] _ofClients =
        ["PUT-3", "AHEAD-3", "AHEAD-4", "AHEAD-5", "MODIFIED-5", "MODIFIED-6"];

    /// <summary>Says whether a paragraph binds only clients.</summary>
    public static bool IsOfClients(Clause clause) => clause.Id.StartsWith("CLI-") || _ofClients.Contains(clause.Id);

    // The clauses of a stage for the half that is tested. A client enforces no deadlines, for example.
    private static IEnumerable<Clause> ClausesOf(int stage) =>
        ProtocolSpecification.Clauses.Values.Where(clause => Of(clause) == stage
            && (IsOfClients(clause) ? RunSettings.Current.TestsClient
                : RunSettings.Current.TestsServer || stage is List or Get or Put || stage >= FirstOptional));

    public static int? After(int stage) =>
        Enumerable.Range(stage + 1, All.Length - stage - 1).Cast<int?>()
            .FirstOrDefault(next => ClausesOf(next!.Value).Any());

    // Returns the sections to read for a stage and for the clause that is broken: §4.1 to §4.5, §6.
    public static string Sections(int stage, Clause? broken = null)
    {
        var clauses = ClausesOf(stage).Concat(broken is null ? [] : [broken]).ToArray();
        if (clauses.Length == 0)
        {
            return "";
        }

        var sections = All[stage].Reads.Concat(clauses.Select(clause => clause.Section)).Distinct()
            .OrderBy(section => double.Parse(section, CultureInfo.InvariantCulture)).ToArray();
        var parts = new List<string>();
        for (int i = 0; i < sections.Length; i++)
        {
            int first = i;
            while (i + 1 < sections.Length && IsNext(sections[i], sections[i + 1]))
            {
                i++;
            }

            parts.Add(i - first > 1 ? $"§{sections[first]} to §{sections[i]}"
                : string.Join(", ", sections[first..(i + 1)].Select(section => $"§{section}")));
        }

        return string.Join(", ", parts);
    }

    private static bool IsNext(string one, string other) =>
        one.Split('.') is [var chapter, var part]
            ? other == $"{chapter}.{int.Parse(part, CultureInfo.InvariantCulture) + 1}"
            : other == $"{int.Parse(one, CultureInfo.InvariantCulture) + 1}";
}
