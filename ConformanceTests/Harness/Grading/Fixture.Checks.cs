namespace ConformanceTests.Harness.Grading;

/// <summary>Checks with their own messages, and with a hint where the mistake is known.</summary>
public abstract partial class Fixture
{
    private const int MostNames = 20;

    /// <summary>Checks a condition, and says in words what was expected and what was there instead.</summary>
    /// <param name="holds">The condition.</param>
    /// <param name="expected">What was expected.</param>
    /// <param name="received">What was there instead.</param>
    /// <param name="breaks">The id of the paragraph that is broken, if it is not the first one of the test.</param>
    protected static void Demand(bool holds, string expected, string received, string? breaks = null)
    {
        if (!holds)
        {
            throw new FailedCheck(new Failure(expected, received == "" ? "nothing" : received) { Sentence = breaks });
        }
    }

    /// <summary>Checks that the bytes are the same.</summary>
    /// <param name="expected">What was sent or stored.</param>
    /// <param name="received">What came.</param>
    /// <param name="what">Where it came from: "what GET of cat.png brought".</param>
    protected static void Same(byte[] expected, byte[] received, string what)
    {
        if (!received.AsSpan().SequenceEqual(expected))
        {
            throw new FailedCheck(Wording.OtherBytes(what, expected, received));
        }
    }

    /// <summary>Checks that the texts are the same, in the same order.</summary>
    protected static void Same(
        IEnumerable<string> expected, IEnumerable<string> received, string what, string? breaks = null)
    {
        string[] wanted = [.. expected];
        string[] came = [.. received];
        Demand(came.SequenceEqual(wanted), $"{what}: {Joined(wanted)}", Joined(came), breaks);
    }

    /// <summary>Checks a number.</summary>
    protected static void Counts(long expected, long received, string what) =>
        Demand(received == expected, $"{expected:N0} {what}", $"{received:N0}");

    /// <summary>Gets a listing, which must have these names in this order. Without names, it must be empty.</summary>
    protected static void ListIs(ProtocolConnection connection, params string[] names)
    {
        string[] listed = NamesListedBy(connection);
        if (!listed.SequenceEqual(names))
        {
            throw WrongListing($"the listing: {Joined(names)}", listed, names is [], listed.Except(names).Any());
        }
    }

    /// <summary>Gets a listing, which must have this number of files.</summary>
    protected static void ListHas(ProtocolConnection connection, int count)
    {
        string[] listed = NamesListedBy(connection);
        if (listed.Length != count)
        {
            throw WrongListing($"the listing: {count:N0} files", listed, count == 0, listed.Length > count);
        }
    }

    private static string[] NamesListedBy(ProtocolConnection connection) =>
        [.. connection.List().Select(line => line.Split('|')[0])];

    private static FailedCheck WrongListing(string expected, string[] listed, bool isEmpty, bool showsMore)
    {
        string received = listed.Length > 1 ? $"{listed.Length:N0} files: {Joined(listed)}" : Joined(listed);
        var failure = new Failure(expected, received);
        string[] about = Scope?.Clauses ?? [];
        bool isEarly = showsMore
            && (about.Contains("P1") || isEmpty && (about.Contains("P6") || about.Contains("P7")));
        return new FailedCheck(isEarly ? failure.ExplainedAs(Wording.Shows(Side.Server, "", 0)) : failure);
    }

    private static string Joined(string[] texts) => texts is [] ? "nothing"
        : string.Join(", ", texts.Take(MostNames)) + (texts.Length > MostNames ? ", …" : "");

    /// <summary>Checks the answers to uploads of the same name: one must be OK, and the others `exists`.</summary>
    protected static void OneWins(string[] answers)
    {
        int winners = answers.Count(answer => answer == "OK");
        int losers = answers.Count(answer => answer.StartsWith("ER|exists|"));
        if (winners == 1 && losers == answers.Length - 1)
        {
            return;
        }

        var failure = new Failure("one upload to be answered with OK, and the others with exists",
            string.Join(' ', answers));
        throw new FailedCheck(winners <= 1 ? failure : failure with
        {
            HintName = "looks first",
            Sentence = "P2",
            Hint = "to check whether the name is free and to take it are two steps, and another upload can come in "
                + "between: take it in one step that fails if it is taken (a hard link, O_EXCL).",
        });
    }

    /// <summary>Checks when a connection ended.</summary>
    /// <param name="seconds">How long it lasted.</param>
    /// <param name="least">It must not end before this.</param>
    /// <param name="most">It must not end after this.</param>
    /// <param name="what">What the client did, if the clauses of the test do not say it.</param>
    protected static void EndsInTime(double seconds, double least, double most, string? what = null)
    {
        if (seconds >= least && seconds <= most)
        {
            return;
        }

        string[] about = Scope?.Clauses ?? [];
        bool isLine = about.Contains("LIMIT-1");
        bool isBlock = about.Contains("LIMIT-3") || about.Contains("LIMIT-4");
        what ??= isLine ? "a line that is sent slowly" : isBlock ? "a block that is sent slowly" : "an idle client";
        bool isLate = seconds > most;
        throw new FailedCheck(new Failure(
            $"{what}: the end of the connection between {least:0.#} and {most:0.#} s after its start",
            isLate ? $"it still went on after {seconds:0.#} s" : $"an answer, or the end, after {seconds:0.#} s")
        {
            HintName = "deadline",
            Hint = !isLate
                ? "nothing should come before the deadline: is a partial line read as a request, or did an error "
                    + "end it?"
                : isLine ? "the line needs one deadline, from its first byte on, not one for each receive."
                : isBlock ? "every 80 KiB need one deadline, not each receive: what counts is how much arrived."
                : "the deadline starts at the end of the last reply.",
        });
    }

    /// <summary>Checks that the memory of a server does not grow with what clients ask for.</summary>
    protected static void UsesLittleMemory(long bytes, long most, string what)
    {
        if (bytes >= most)
        {
            throw new FailedCheck(new Failure(
                $"{what}: less than {most >> 20:N0} MiB of memory", $"{bytes >> 20:N0} MiB")
            {
                HintName = "memory",
                Sentence = "P7",
                Hint = "does the server keep more for a client the more it asks? Read no requests while answers wait.",
            });
        }
    }
}
