using ConformanceTests.Harness.Specification;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

// Begin: how one starts to offer it, where that is anybody's choice.
public sealed record StageInfo(string Name, string Begin = "", string BeginClient = "");

/// <summary>The stages of the report, and which clause belongs to which.</summary>
public static class Stages
{
    public static readonly StageInfo[] All =
    [
        new(""),
        new("connect"),
        new("LIST"),
        new("GET"),
        new("PUT"),
        new("requests, names"),
        new("deadlines"),
        new("closing"),
        new("many clients"),
        new("digest",
            "Begin with GET: take the option digest=sha256 in place of unsupported, and send 32 octets behind the "
                + "block,\n"
            + "the SHA-256 of the file. Then PUT, which compares before the file gets its name.\n",
            "Begin with GET: ask with |digest=sha256 (once more without it if that is unsupported), and compare.\n"),
        new("resume",
            "Begin with the option offset=N of GET: leave out N octets of the file; the length is that of the rest.\n",
            "Begin by keeping what a cut download brought. If an option of your client says so, tell the suite:\n"
            + "{resume} in the template stands for --resume.\n"),
        new("STATUS",
            "Begin by noting, from each accept on, time, address, requests and octets; then send that as LIST does.\n"),
        new("ahead",
            "Begin with the option ahead of PUT: OK at once, whatever the name; what there is to refuse stands behind\n"
            + "the block.\n"),
        new("sealed",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then the handshake, and who is let in.\n",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then the handshake, and whom it speaks to.\n"),
    ];

    private static readonly (string Prefix, int Stage)[] _table =
    [
        ("CONN", 1), ("LIST", 2), ("GET", 3), ("PUT", 4), ("TYPE", 4),
        ("DIGEST", 9), ("P4", 9), ("CLI-7", 9), ("OFFSET", 10), ("CLI-10", 10), ("STATUS", 11), ("AHEAD", 12),
        ("SEAL", 13),
        ("LIMIT", 6), ("P8", 6), ("CLI-9", 6), ("CLOSE", 7), ("CLI-4", 7), ("CLI-8", 7),
        ("P10", 5), ("P11", 5), ("CLI", 5), ("P", 8),
    ];

    // The stage of the latest extension among them, else of the first sentence.
    public static int Of(Clause[] clauses) =>
        clauses.Where(clause => clause.IsExtension).Select(Of).DefaultIfEmpty(Of(clauses[0])).Max();

    private static int Of(Clause clause) =>
        _table.Where(row => clause.Id == row.Prefix
                || clause.Id.StartsWith(row.Prefix) && !char.IsDigit(row.Prefix[^1]))
            .Select(row => row.Stage).FirstOrDefault(5);

    // Of a test that is about none, 0.
    public static int Of(ITest test)
    {
        if (test.Method?.GetCustomAttributes<ClauseAttribute>(true).FirstOrDefault() is not { } attribute)
        {
            return 0;
        }

        return Of(ClauseAttribute.ClausesOf(attribute.Ids, test.Arguments.OfType<Transcript>().FirstOrDefault()));
    }

    public static bool IsOfClients(Clause clause) => clause.Id.StartsWith("CLI-");

    // A client has no deadlines of others to keep, for example: the stages that this run's half has.
    private static IEnumerable<Clause> ClausesOf(int stage) =>
        ProtocolSpecification.Clauses.Values.Where(clause => Of(clause) == stage
            && (IsOfClients(clause) ? RunSettings.TestsClient
                : RunSettings.TestsServer || stage is 2 or 3 or 4 or 9 or 10 or > 11));

    public static int? After(int stage) =>
        Enumerable.Range(stage + 1, All.Length - stage - 1).Cast<int?>()
            .FirstOrDefault(next => ClausesOf(next!.Value).Any());

    // §4.1 to §4.5, §6: where a stage's sentences stand, and the one that is broken.
    public static string Sections(int stage, Clause? broken = null)
    {
        var clauses = ClausesOf(stage).Concat(broken is null ? [] : [broken]).OrderBy(clause => clause.Line);
        var sections = clauses.Select(clause => clause.Section).Distinct().ToArray();
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
        one.Split('.') is [var chapter, var part] && other == $"{chapter}.{int.Parse(part) + 1}";
}
