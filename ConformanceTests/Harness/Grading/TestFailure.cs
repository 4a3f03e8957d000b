using System.Globalization;
using System.Text.RegularExpressions;
using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Programs;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>The failure of a test, from what NUnit says about it.</summary>
public static partial class TestFailure
{
    // ---- a test's own checks ----

    // What a check looks at.  Two texts: what is so and what is not so, where the check is a yes or no.
    private static readonly (string Look, string Words, string Not)[] _subjects =
    [
        (@"File\.Exists\(PathOf\(""(.+?)""\)\)", "$1 is in the client's folder", "$1 is not in the client's folder"),
        (@"\w*[Ss]erver\.Shows\(""(.+?)""\)",
            "$1 shows in the server's folder", "$1 does not show in the server's folder"),
        (@"File\.Exists\(canary\)", "a file beside the server's folder", ""),
        (@"\.HasMore", "something has come", "nothing has come"),
        (@"\.SendingFailed", "the connection was given up", "what was sent was taken"),
        (@"^sending\.Wait", "all of the requests were taken", "they were not all taken"),
        (@"char\.IsControl", "control characters came through", "no control character came through"),
        (@"SequenceEqual", "the same bytes", "other bytes, or fewer"),
        (@"List\(\)\.Select|NamesIn\(|^(names|listed)\b", "the names in the listing", ""),
        (@"^lines", "the lines of the block", ""),
        (@"List\(\)", "the listing", ""),
        (@"\.Get\(""(.+?)""\)", "what GET of $1 brought", ""),
        (@"\.Get\(", "what GET brought", ""),
        (@"ReceiveBlock\(\)\.Count", "the number of lines in the block", ""),
        (@"ReceiveBlock\(|\.Receive\(", "the block", ""),
        (@"ReceiveRest|^octets|^rest", "what came until the end", ""),
        (@"ReceiveLine\(|^(answer|line|request)\b", "the line", ""),
        (@"client\.WaitForExit|^exit", "the client's exit code", ""),
        (@"Program\.WaitForExit", "the server's exit code", ""),
        (@"answer == ""OK""\)", "the number of uploads answered with OK", ""),
        (@"ER\|exists\|""\)\)", "the number of uploads answered with exists", ""),
        (@"GetFileSystemEntries\(|GetFiles\(|HostileFolder|^(left|entries)", "what lies in the server's folder", ""),
        (@"Files\(\)\.Sum", "bytes on the client's disk", ""),
        (@"Files\(\)", "what lies in the client's folder", ""),
        (@"ReadAllBytes\(.*PathOf|^stored", "the file as it was stored", ""),
        (@"Memory\(\)", "bytes of memory more than before", ""),
        (@"clock\.|Elapsed", "seconds until it ended", ""),
        (@"Available", "bytes that came unasked", ""),
        (@"Errors|Output|^all\b", "what the program wrote", ""),
        (@"CpuTime", "milliseconds of processor time", ""),
    ];

    // The words of NUnit, in those of people.
    private static readonly (string Look, string Words)[] _values =
    [
        (@"^<empty>$", "nothing"), (@"^<string\.Empty>$", "nothing"), (@"^null$", "nothing"),
        (@"^String starting with ", "begins with "), (@"^String ending with ", "ends with "),
        (@"^String containing ", "contains "), (@"String (starting with|ending with|containing) ", "$1 "),
        (@"\bnot equal to 0\b", "other than 0"),
        (@"^property Length equal to (\d+)$", "$1 of them"), (@"^property Length less than (\d+)$", "fewer than $1"),
        (@"^in range \(([\d.]+),([\d.]+)\)$", "between $1 and $2"), (@"^(\d+\.\d)\d*d$", "$1"), (@"^(\d+)\.0d$", "$1"),
        (@"^all items unique and collection ordered$", "each of them once, and in order"),
        (@"^equivalent to ", ""), (@"^< (.*) >$", "$1"), (@"^<(\[.*\])>$", "$1"),
    ];

    public static Failure Of(TestResult result, TestScope scope)
    {
        string message = result.Message;
        var failure = ViolationIn(scope.Thrown) is { } violation
            ? Explanation.Of(violation, scope.Clauses)
            : FailureFromAssertion(result.AssertionResults.FirstOrDefault()?.Message ?? message, scope);
        if (failure.Expected == "")
        {
            failure = failure with { Expected = Wording.ToWords(scope.Test) };
        }

        string[] ended = [.. result.AssertionResults.Select(one => one.Message).Where(one => one.StartsWith(Ended))];
        if (ended.Length > 0 && !failure.Received.StartsWith(Ended))
        {
            failure = failure with { Notes = [.. failure.Notes, Ended], Sentence = "P11" };
        }

        return AddContext(failure, scope);
    }

    // What several threads threw, the first.
    private static Violation? ViolationIn(Exception? thrown) => thrown switch
    {
        Violation violation => violation,
        AggregateException many => many.InnerExceptions.Select(ViolationIn).FirstOrDefault(one => one is not null),
        not null => ViolationIn(thrown.InnerException),
        null => null,
    };

    public const string Ended = "The server has ended; no client may cause that.";

    // All connections, what the program wrote, and no hint that its own error explains better.
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
            RunAs = Wording.Printable(scope.RunAs),
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

    // An assertion's message, or an error's, taken apart.
    public static Failure FailureFromAssertion(string message, TestScope scope)
    {
        if (message.Contains("TearDown : ") && message.Contains("\n"))
        {
            message = message.Split("\nTearDown : ")[0];
        }

        string[] lines = [.. message.Split('\n').Select(line => line.TrimEnd())];
        int of(string start) => Array.FindIndex(lines, line => line.TrimStart().StartsWith(start));

        int check = of("Assert.That(");
        int expected = of("Expected:");
        int was = of("But was:");
        // Of lists of another length there is nothing but that.
        string[] differences = [.. Differences(lines)];
        if ((expected < 0 || was < 0) && differences is [_, ..])
        {
            string looked = check < 0 ? "" : Subject(lines[check].Trim());
            var row = _subjects.FirstOrDefault(row => Regex.IsMatch(looked, row.Look));
            string what = row.Look is null ? "what came" : Regex.Match(looked, row.Look).Result(row.Words);
            return new Failure($"{what}: the same as was sent or stored", string.Join("; ", differences));
        }

        if (expected < 0 || was < 0)
        {
            return Error(message, scope);
        }

        string look = check < 0 ? "" : lines[check].Trim();
        string words = string.Join(' ', lines[..(check < 0 ? expected : check)]
            .Where(line => line != "" && !line.StartsWith("[your ")).Select(line => line.Trim()));
        string due = Value(lines[expected]);
        string came = Value(lines[was]);
        var subject = _subjects.FirstOrDefault(row => Regex.IsMatch(Subject(look), row.Look));
        string about = subject.Look is null ? ""
            : Regex.Match(Subject(look), subject.Look) is var match ? match.Result(subject.Words) : "";
        string not = subject.Look is null ? "" : Regex.Match(Subject(look), subject.Look).Result(subject.Not);

        Failure failure;
        if (due is "True" or "False")
        {
            bool isSo = came == "True";
            failure = words != "" ? new(Wording.ToWords(scope.Test), words)
                : not != "" ? new(isSo ? not : about, isSo ? about : not)
                : new(Wording.ToWords(scope.Test), "it is not so");
        }
        else
        {
            string label = about == "" ? "" : $"{about}: ";
            var notes = Differences(lines).Append(words).Where(note => note != "");
            failure = new($"{label}{due}", came) { Notes = [.. notes] };
        }

        return AddHint(failure, look, due, came, scope);
    }

    // Assert.That(wire.List(), Is.Empty) → wire.List()
    private static string Subject(string look)
    {
        string inside = look.Replace("Assert.That(", "");
        int end = new[] { ", Is.", ", Has.", ", Does.", ", Throws." }
            .Select(start => inside.IndexOf(start, StringComparison.Ordinal)).Where(at => at >= 0)
            .DefaultIfEmpty(inside.Length).Min();
        return inside[..end];
    }

    private static string Value(string line)
    {
        string value = line[(line.IndexOf(':') + 1)..].Trim();
        if (Octets().IsMatch(value))
        {
            return Notation.Show([.. Regex.Matches(value, @"\d+").Select(number => byte.Parse(number.Value))], 60)
                + (value.Contains("...") ? "…" : "");
        }

        foreach (var (look, words) in _values)
        {
            value = Regex.Replace(value, look, words);
        }

        value = Regex.Replace(value, @"(.)\1{20,}", run => $"{run.Value[..3]}…({run.Length} of them)");
        return value.Length > 300 ? $"{value[..200]} … {value[^80..]}" : value;
    }

    [GeneratedRegex(@"^< (?:\d{1,3}(?:, |\.\.\.)?)+ ?>$")]
    private static partial Regex Octets();

    private static IEnumerable<string> Differences(string[] lines)
    {
        foreach (string line in lines.Select(line => line.Trim()))
        {
            if (Regex.Match(line, @"^Expected is <[\w.]+\[(\d+)\]>, actual is <[\w.]+\[(\d+)\]>")
                is { Success: true } sizes)
            {
                yield return $"{sizes.Groups[1]} expected, {sizes.Groups[2]} received";
            }
            else if (Regex.Match(line, @"^Values differ at index \[(\d+)\]") is { Success: true } at)
            {
                yield return $"they differ first at number {at.Groups[1]}, counted from 0";
            }
        }
    }

    // An error that reached the test: what it means, not what it is called.
    private static Failure Error(string message, TestScope scope)
    {
        string expected = Wording.ToWords(scope.Test);
        var type = Regex.Match(message, @"^([\w.]+Exception) : ");
        if (!type.Success)
        {
            return new Failure(expected, message.Trim());
        }

        string said = message[type.Length..].Split('\n')[0].Trim();
        return new Failure(expected, type.Groups[1].Value.Split('.')[^1] switch
        {
            "TimeoutException" =>
                $"nothing came for {RunSettings.Patience / 1000.0:0.#} s, and the connection stays open",
            "SocketException" when said.Contains("reset") || said.Contains("Broken pipe") =>
                "the connection was closed or reset while the test was sending or receiving",
            "SocketException" => "the connection was lost",
            "FileNotFoundException" or "DirectoryNotFoundException" => "a file that should be there is not there",
            "IOException" or "UnauthorizedAccessException" => "a file that should be there cannot be read",
            "FormatException" or "IndexOutOfRangeException" or "ArgumentOutOfRangeException" or "OverflowException" =>
                "an answer that does not have the form that §5 gives, so the test could not go on",
            "InvalidOperationException" =>
                "fewer or more entries than there should be, so the test could not go on",
            _ => "something after which the test could not go on",
        });
    }

    // What a test's own check says about the mistake.
    private static Failure AddHint(Failure failure, string look, string due, string came, TestScope scope)
    {
        bool IsAbout(string id) => scope.Clauses.Contains(id);

        bool IsAboutBlocks() => IsAbout("LIMIT-3") || IsAbout("LIMIT-4");

        bool client = look.Contains("PathOf(\"") && !look.Contains("erver.PathOf");
        if (look.Contains("WaitForExit") && due == "other than 0" && came == "0")
        {
            var exit = Wording.Exit(false, 0, scope.Test, [.. scope.Connections.Select(wire => wire.Talk)]);
            return failure with { HintName = exit.HintName, Hint = exit.Hint, Sentence = exit.Sentence };
        }

        bool early = due == "False" && came == "True"
                && (look.Contains(".Shows(") || look.Contains("File.Exists(PathOf"))
            || IsAbout("P1") && look.Contains("List()")
            || look.Contains("List()") && due == "nothing" && came.Contains('|') && (IsAbout("P6") || IsAbout("P7"));
        if (early)
        {
            var shows = Wording.Shows(client ? Side.Client : Side.Server, "", 0);
            return failure with { HintName = shows.HintName, Hint = shows.Hint, Sentence = shows.Sentence };
        }

        if (look.Contains("Elapsed") && double.TryParse(came, CultureInfo.InvariantCulture, out double took))
        {
            var range = Regex.Match(due, @"between ([\d.]+) and ([\d.]+)");
            double.TryParse(range.Groups[1].Value, CultureInfo.InvariantCulture, out double least);
            string what = IsAbout("LIMIT-1") ? "the line dribbled"
                : IsAboutBlocks() ? "the block dribbled"
                : "it was idle";
            bool late = took > least;
            return failure with
            {
                Expected = $"{what}, and is ended {due} s after its start",
                Received = late
                    ? $"it still went on after {took:0.#} s" : $"an answer, or the end, after {took:0.#} s",
                HintName = "deadline",
                Hint = !late
                    ? "nothing should come before the deadline: is a partial line read as a request, or did an error "
                        + "end it?"
                    : IsAbout("LIMIT-1")
                    ? "one deadline for the line, from its first byte on, not one for each receive."
                    : IsAboutBlocks()
                    ? "one deadline for every 80 KiB, not one for each receive: what counts is how much arrived."
                    : "a deadline that starts at the end of the last reply.",
            };
        }

        if (look.Contains("answer == \"OK\"") && int.TryParse(came, out int winners) && winners > 1)
        {
            return failure with
            {
                HintName = "looks first",
                Sentence = "P2",
                Hint = "to check whether the name is free and to take it are two steps, and another upload can come in "
                    + "between: take it in one step that fails if it is taken (a hard link, O_EXCL).",
            };
        }

        if (look.Contains("Memory()"))
        {
            return failure with
            {
                HintName = "memory",
                Sentence = "P7",
                Hint = "does the server keep more for a client the more it asks? Read no requests while answers wait.",
            };
        }

        return failure;
    }
}
