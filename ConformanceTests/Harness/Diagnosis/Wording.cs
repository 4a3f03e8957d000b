using System.Numerics;

namespace ConformanceTests.Harness.Diagnosis;

/// <summary>
/// Describes crashes, exit codes and failed checks to a reader who knows Protocol.md, but not the suite.
/// </summary>
public static partial class Wording
{
    public const string ExitZero = "exit 0";

    /// <param name="wantedZero">Whether the command was to succeed.</param>
    /// <param name="exit">The exit code.</param>
    /// <param name="test">The name of the test.</param>
    /// <param name="talks">Its connections.</param>
    public static Failure Exit(bool wantedZero, int exit, string test, params RecordedConnection[] talks)
    {
        string about = test.Contains('_') ? $": {ToWords(test)}" : "";
        var failure = new Failure($"exit code {(wantedZero ? "0: it is done" : "other than 0")}", $"exit code {exit}")
        { Talks = talks };
        return wantedZero ? failure : failure with
        {
            HintName = ExitZero,
            Hint = talks.Any(talk => talk.Lines.LastOrDefault(line => line.Side == Side.Server)
                    ?.Show(200).Contains("ER|") == true)
                ? "the last reply of the server is an error: does the client read it before it ends?"
                : $"0 means that everything was done; here it was not{about}.",
        };
    }

    public static Failure Shows(Side side, string name, long bytes) =>
        new($"{name} is not in the {side.ToString().ToLowerInvariant()}'s folder",
            $"it is there, with {bytes:N0} bytes")
        {
            HintName = "shows too early",
            Sentence = side == Side.Server ? "P1" : "CLI-4",
            Hint = "write a file under another, hidden name next to it, and give it its own name in one step when all "
                + "bytes are there (link, or a move that fails if the name is taken: rename replaces). Remove what a "
                + "failed one has left.",
        };

    public static Failure OtherBytes(string name, byte[] wanted, byte[] there)
    {
        int same = wanted.AsSpan().CommonPrefixLength(there);
        bool isOneByte = wanted.Length == there.Length && wanted.AsSpan(same + 1).SequenceEqual(there.AsSpan(same + 1));
        return new($"{name}: {wanted.Length:N0} bytes: {Notation.Show(wanted, 30)}",
            $"{there.Length:N0} bytes: {Notation.Show(there, 30)}")
        {
            Notes = [same == Math.Min(wanted.Length, there.Length)
                ? there.Length < wanted.Length ? $"the end is missing, from byte {same:N0} on"
                : "there is more after the end"
                : isOneByte ? $"only byte {same:N0} differs: it is 0x{there[same]:X2}, not 0x{wanted[same]:X2}"
                    + Bit(wanted[same], there[same])
                : $"they differ from byte {same:N0} on"],
        };
    }

    private static string Bit(byte wanted, byte there) =>
        BitOperations.IsPow2(wanted ^ there) ? $" (bit {BitOperations.Log2((uint)(wanted ^ there))})" : "";

    /// <param name="name">Which program hangs.</param>
    /// <param name="milliseconds">How long the suite has waited for its end.</param>
    /// <param name="talk">The connection of a client.</param>
    /// <param name="serverHasClosed">Whether the suite, as the server, has ended it.</param>
    public static Failure Hangs(string name, int milliseconds, RecordedConnection? talk, bool serverHasClosed)
    {
        var failure = new Failure($"the {name} to end", $"it still runs after {milliseconds / 1000.0:0.#} s");
        if (name != "client" || talk is null)           // the suite does not know what a real server has sent
        {
            return failure;
        }

        var lines = talk.Lines.Where(line => line.Side == Side.Server).ToArray();
        bool isEndless = lines is [{ Length: > 1024 } first, ..] && !first.First.Contains((byte)'\n');
        return failure with
        {
            HintName = "client hangs",
            Hint = isEndless
                ? "a line has at most 1,024 bytes. A server that has sent 1,024 without an LF does not speak this "
                    + "protocol: give up."
                : lines.Length == 0
                ? "the server sends nothing, and the client waits without a limit: give each receive 60 s, then "
                    + "give up and say so."
                : serverHasClosed
                ? "the server has closed the connection, and the client still waits. A receive of 0 bytes is the end, "
                    + "not a piece: a loop that waits for the rest never ends."
                : "everything has been sent, and the client still waits. Did its first receive read the length too, or "
                    + "does it wait for more bytes than the length says?",
        };
    }

    /// <param name="crash">What the program printed when it crashed.</param>
    /// <param name="talk">Its connection.</param>
    public static Failure Crashed(string crash, RecordedConnection? talk) =>
        new("the client to exit by itself, and to say what went wrong", crash)
        {
            HintName = "crash",
            Hint = NoReply(talk) is { } line
                ? $"the reply was {line}, neither OK nor ER|code|text, and the client continued. Read the line up to "
                    + "its LF, compare the whole line, and only then read a length. (To catch the error would only "
                    + "hide that.)"
                : "an error that is not caught does not tell the user what to do: catch it, say what went wrong, and "
                    + "exit with a code of your own, 1 for example.",
        };

    // Returns the first line that the suite has sent as a server, if that is not a reply.
    private static string? NoReply(RecordedConnection? talk)
    {
        if (talk?.Lines.FirstOrDefault(line => line.Side == Side.Server) is not { } first)
        {
            return null;
        }

        string said = Encoding.UTF8.GetString(first.First);
        return said.StartsWith("OK\n") || Regex.IsMatch(said, @"^ER\|[a-z-]+\|.*\n") ? null : first.Show(60);
    }

    // Returns how a program crashed, in the words of its runtime, or null if it did not.
    public static string? Crash(string said, int exit)
    {
        if (exit is > 128 and < 160)
        {
            return $"it was ended by signal {exit - 128}: a crash";
        }

        if (Unhandled().Match(said) is not { Success: true } match)
        {
            return null;
        }

        bool isPython = match.Value.StartsWith("Traceback");
        string error = isPython && PythonError().Matches(said, match.Index) is [_, .., var last]
            ? last.Value.Trim() : match.Value.Trim();
        return $"it crashed: {Printable(error)}";
    }

    [GeneratedRegex(@"^(Traceback \(most recent call last\):|Unhandled exception.*|Exception in thread "".*"".*"
        + @"|panic: .*|thread '.*' panicked at.*|Segmentation fault.*|Uncaught .*|.*: uncaught exception.*"
        + @"|terminate called.*|PHP Fatal error.*|\*\*\* Error in .*|.*AddressSanitizer.*)", RegexOptions.Multiline)]
    private static partial Regex Unhandled();

    [GeneratedRegex(@"^[A-Za-z_][\w.]*( \(most.*|:.*)?$", RegexOptions.Multiline)]
    private static partial Regex PythonError();

    /// <summary>Escapes the characters that a terminal would obey, or that a reader could not see.</summary>
    public static string Printable(string text)
    {
        var shown = new StringBuilder();
        foreach (var rune in text.EnumerateRunes())
        {
            if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
                    or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.PrivateUse
                || rune.Value is 0xA0 or 0x3000 or 0xFFFD)
            {
                shown.Append(rune.Value < 0x100 ? $"\\x{rune.Value:X2}"
                    : rune.Value < 0x10000 ? $"\\u{rune.Value:X4}" : $"\\U{rune.Value:X8}");
            }
            else
            {
                shown.Append(rune);
            }
        }

        return shown.ToString();
    }

    public static string Wrapped(string text)
    {
        var lines = new List<string> { "" };
        foreach (string word in text.Split(' '))
        {
            if (lines[^1].Length + word.Length > 96)
            {
                lines.Add(word);
            }
            else
            {
                lines[^1] += (lines[^1] == "" ? "" : " ") + word;
            }
        }

        return string.Join('\n', lines);
    }

    // Malformed((CR, System.Byte[])) → Malformed(CR)
    public static string DisplayName(string test)
    {
        test = Regex.Replace(test, @"\(\((.*?)(, System\.[\w.\[\]`]+)*\)\)$", "($1)");
        return Printable(Regex.Replace(test, @"(?<=\d)UL\b", ""));
    }

    // Client_shows_no_file_before_the_last_byte_has_arrived →
    // client shows no file before the last byte has arrived
    public static string ToWords(string test)
    {
        int end = test.IndexOf('(');
        string name = end < 0 ? test : test[..end];
        string arguments = end < 0 ? "" : test[(end + 1)..^1];
        arguments = arguments is "" or "\"\"" ? "" : $", with {arguments}";
        name = name.Replace('_', ' ');
        bool isWord = name.Length < 2 || !char.IsUpper(name[1]);
        return (isWord ? char.ToLowerInvariant(name[0]) + name[1..] : name) + arguments;
    }

    public static string PrintableLines(string text) => string.Join('\n', text.Split('\n').Select(Printable));
}
