namespace ConformanceTests.Reference;

/// <summary>Expects requests of this client, which asks for the time of every file, or sends it.</summary>
internal static partial class RequestExpectations
{
    /// <summary>Expects these request lines, with the option `modified` at their end or without.</summary>
    /// <param name="wire">The connection, on which the suite is the server.</param>
    /// <param name="lines">Requests without that option, each with its LF.</param>
    public static void ExpectRequest(this ProtocolConnection wire, string lines)
    {
        foreach (string line in lines.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string received = wire.ReceiveLine($"{line}\\n");
            if (Modified().Replace(received, "") != line)
            {
                throw new Violation($"expected  {line}\\n, with modified or without\nreceived  {received}\\n");
            }
        }
    }

    /// <summary>Expects these requests, and sends an answer.</summary>
    public static void Answer(this ProtocolConnection wire, string lines, ReadOnlySpan<byte> answer)
    {
        wire.ExpectRequest(lines);
        wire.Send(answer);
    }

    public static void Answer(this ProtocolConnection wire, string lines, string answer) =>
        wire.Answer(lines, Encoding.UTF8.GetBytes(answer));

    /// <summary>Expects exactly these bytes, and sends an answer.</summary>
    public static void AnswerExactly(this ProtocolConnection wire, string lines, ReadOnlySpan<byte> answer)
    {
        wire.Expect(lines);
        wire.Send(answer);
    }

    public static void AnswerExactly(this ProtocolConnection wire, string lines, string answer) =>
        wire.AnswerExactly(lines, Encoding.UTF8.GetBytes(answer));

    [GeneratedRegex(@"\|modified(=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?$")] private static partial Regex Modified();
}
