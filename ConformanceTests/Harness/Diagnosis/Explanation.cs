namespace ConformanceTests.Harness.Diagnosis;

/// <summary>A check that failed and explains itself.</summary>
public sealed class FailedCheck(Failure failure) : Violation(failure.Text())
{
    public Failure Failure => failure;
}

/// <summary>Turns what was seen into what the author of the program reads.</summary>
public static class Explanation
{
    /// <param name="violation">What was thrown.</param>
    /// <param name="clauses">The ids of the clauses that the test is about.</param>
    public static Failure Of(Violation violation, params IEnumerable<string> clauses) => violation switch
    {
        FailedCheck check => check.Failure,
        MismatchViolation { Mismatch: var mismatch } => Of(mismatch, [.. clauses]),
        _ => Failure.From(violation.Message),
    };

    private static Failure Of(Mismatch mismatch, string[] clauses)
    {
        var evidence = new Evidence(mismatch, clauses);
        bool hasCaret = mismatch is { Expected: not null, Instead: null, LateText: null, Received.Length: > 0 };
        var failure = new Failure(mismatch.ExpectedText, mismatch.ReceivedText)
        {
            Notes = [.. Lengths(evidence)],
            GivenUp = mismatch.GivenUp,
            Caret = hasCaret
                ? mismatch.Prefix.Length
                    + Notation.Show(mismatch.Rest.AsSpan(0, mismatch.Same), int.MaxValue).Length
                : null,
            Talks = [mismatch.Connection],
        };
        return Hints.WithBestHint(failure, evidence);
    }

    // The eight bytes of a length as the number that they are.
    private static IEnumerable<string> Lengths(Evidence evidence)
    {
        const int LengthBytes = 8;
        byte[] received = evidence.ReceivedSoFar;
        bool isInLength = received.AsSpan().CommonPrefixLength(evidence.Expected) < LengthBytes;
        if (evidence.Length is not { } length || !isInLength)
        {
            yield break;
        }

        yield return $"(expected is the length <u64:{length}>"
            + (received.Length < LengthBytes ? ")"
                : $"; received is <u64:{BinaryPrimitives.ReadUInt64BigEndian(received)}>)");
    }
}
