using System.Buffers.Binary;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Harness.Diagnosis;

/// <summary>A check that failed and explains itself.</summary>
public sealed class FailedCheck(Failure failure) : Violation(failure.Text())
{
    public Failure Failure => failure;
}

/// <summary>From what was seen to what somebody reads who has to find the mistake.</summary>
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
        bool hasCaret = mismatch is { Expected: not null, Instead: null, LateText: null, Received.Length: > 0 };
        var failure = new Failure(mismatch.ExpectedText, mismatch.ReceivedText)
        {
            Notes = [.. Lengths(mismatch)],
            GivenUp = mismatch.GivenUp,
            Caret = hasCaret
                ? mismatch.Prefix.Length
                    + Notation.Show(mismatch.Rest.AsSpan(0, mismatch.Same), int.MaxValue).Length
                : null,
            Talks = [mismatch.Connection],
        };
        return Hints.WithBestHint(failure, new Evidence(mismatch, clauses));
    }

    // The eight bytes of a length as the number that they are.
    private static IEnumerable<string> Lengths(Mismatch mismatch)
    {
        if (mismatch.Expected is not { Length: 8 } expected || expected[..4].Any(value => value != 0))
        {
            yield break;
        }

        string Number(byte[] bytes) => $"<u64:{BinaryPrimitives.ReadUInt64BigEndian(bytes)}>";

        byte[] seen = [.. expected[..mismatch.At], .. mismatch.Received];
        yield return $"(expected is the length {Number(expected)}"
            + (seen.Length < 8 ? ")" : $"; received is {Number(seen)})");
    }
}
