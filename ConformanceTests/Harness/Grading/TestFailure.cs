using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>The failure of a test, from what it has thrown and what its programs have printed.</summary>
public static class TestFailure
{
    public static Failure Of(TestResult result, TestScope scope)
    {
        var failure = ViolationIn(scope.Thrown) is { } violation
            ? Explanation.Of(violation, scope.Clauses)
            : scope.Thrown is null or AssertionException or NUnitException { InnerException: AssertionException }
            ? Failure.From(result.Message)
            : new Failure("", WhatStopped(scope.Thrown));
        if (failure.Expected == "")
        {
            failure = failure with { Expected = Wording.ToWords(scope.Test) };
        }

        bool hasEnded = result.AssertionResults.Any(one => one.Message.StartsWith(Ended));
        if (hasEnded && !failure.Received.StartsWith(Ended))
        {
            failure = failure with { Notes = [.. failure.Notes, Ended], Sentence = "P11" };
        }

        return AddContext(failure, scope);
    }

    // Says what an exception means, without naming its type.
    private static string WhatStopped(Exception thrown) => thrown switch
    {
        AggregateException { InnerException: { } inner } => WhatStopped(inner),
        NUnitException { InnerException: { } inner } => WhatStopped(inner),
        TimeoutException =>
            $"nothing came for {RunSettings.Patience / 1000.0:0.#} s, and the connection stays open",
        SocketException { SocketErrorCode: SocketError.ConnectionReset or SocketError.Shutdown } =>
            "the connection was closed or reset while the test was sending or receiving",
        SocketException => "the connection was lost",
        FileNotFoundException or DirectoryNotFoundException => "a file that should be there is not there",
        IOException or UnauthorizedAccessException => "a file that should be there cannot be read",
        FormatException or IndexOutOfRangeException or ArgumentOutOfRangeException or OverflowException =>
            "an answer that does not have the form that §5 gives, so the test could not go on",
        InvalidOperationException => "fewer or more entries than there should be, so the test could not go on",
        _ => "something after which the test could not go on",
    };

    // If several threads have thrown, the first one counts.
    private static Violation? ViolationIn(Exception? thrown) => thrown switch
    {
        Violation violation => violation,
        AggregateException many => many.InnerExceptions.Select(ViolationIn).FirstOrDefault(one => one is not null),
        not null => ViolationIn(thrown.InnerException),
        null => null,
    };

    public const string Ended = "The server has ended. Nothing that a client does may cause that.";

    // Adds all connections and what the program wrote. Removes a hint if the program's own error explains more.
    private static Failure AddContext(Failure failure, TestScope scope)
    {
        scope.FreezeOutput();
        string said = scope.ProgramOutput();
        var talks = scope.Connections.Select(wire => wire.Talk)
            .Where(talk => talk.Lines.Length > 0 || talk.FailedHere).ToArray();
        string[] lines = [.. said.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => Wording.Printable(line.TrimEnd().Replace("\t", "    ")))];
        failure = failure with
        {
            Expected = Wording.PrintableLines(failure.Expected),
            Received = Wording.PrintableLines(failure.Received),
            Talks = talks.Length > 0 ? talks : failure.Talks,
            Who = scope.ProgramName ?? "program",
            RunAs = Wording.PrintableLines(scope.RunAs),
            Said = lines.Length > 25 ? [.. lines[..5], $"… {lines.Length - 25} more lines …", .. lines[^20..]] : lines,
        };
        if (Wording.Crash(said, 0) is not { } crash || failure.Received.StartsWith("it crashed"))
        {
            return failure;
        }

        if (failure.GivenUp)
        {
            const string Late = "(the error below came when the test ended the connection)";
            return failure with { Notes = [.. failure.Notes, Late] };
        }

        string note = crash.Replace("it crashed", $"an error ended what the {failure.Who} was doing");
        failure = failure with { Notes = [.. failure.Notes, note] };
        return Hints.YieldsToACrash(failure.HintName)
            ? failure with { HintName = "", Hint = "", Sentence = null }
            : failure;
    }
}
