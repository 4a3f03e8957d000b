namespace ConformanceTests.Harness.Wire;

/// <summary>The program did not do what the specification says.</summary>
/// <param name="text">"expected  …\nreceived  …", or words.</param>
public class Violation(string text) : Exception(text);

/// <summary>A check on a connection has failed. Diagnosis explains it.</summary>
public sealed class MismatchViolation(Mismatch mismatch)
    : Violation($"expected  {mismatch.ExpectedText}\nreceived  {mismatch.ReceivedText}\n{mismatch.Connection.Text()}")
{
    public Mismatch Mismatch => mismatch;
}

/// <summary>What made the answer come after nothing had come in time.</summary>
public enum LateAnswer { None, WithoutOtherConnections, AfterTheEnd }

/// <summary>A check that failed on a connection: what was expected, what came, and what had been asked.</summary>
public sealed record Mismatch
{
    /// <summary>The side that the suite plays.</summary>
    public Side Self { get; init; }

    public Delivery Delivery { get; init; }

    /// <summary>What was expected, in words, if that is not certain bytes.</summary>
    public string? What { get; init; }

    public byte[]? Expected { get; init; }

    /// <summary>How many bytes of it have come.</summary>
    public int At { get; init; }

    /// <summary>What came instead of the rest of it.</summary>
    public byte[] Received { get; init; } = [];

    /// <summary>What came, in words, if these say more than the bytes.</summary>
    public string? Instead { get; init; }

    /// <summary>Whether nothing came in time.</summary>
    public bool Waited { get; init; }

    public int Patience { get; init; }

    /// <summary>
    /// Whether the test gave up before the program crashed. Then an error that the program reports explains nothing.
    /// </summary>
    public bool GivenUp { get; init; }

    public bool Reset { get; init; }

    public LateAnswer LateAnswer { get; init; }

    /// <summary>How many replies were as expected.</summary>
    public int RepliesAccepted { get; init; }

    public RequestTracker Asked { get; init; } = new();

    public required RecordedConnection Connection { get; init; }

    /// <summary>How many of the remaining expected bytes have come.</summary>
    public int Same => Rest.AsSpan().CommonPrefixLength(Received);

    /// <summary>The expected bytes that had not come yet.</summary>
    public byte[] Rest => Expected?[At..] ?? [];

    public string ExpectedText => What ?? Prefix + Notation.Show(Rest, 80);

    public string ReceivedText => (Instead ?? LateText ?? Prefix + CameText).Trim();

    /// <summary>What came as expected, which is shown before the rest.</summary>
    public string Prefix => Expected is null ? "" : At > 24 ? "…" : Notation.Show(Expected.AsSpan(0, At));

    private string CameText => Received.Length > 0 ? Notation.Show(Received, 80)
        : Waited ? $"  (nothing more, for {Seconds})"
        : Reset ? "  (a reset)"
        : "  (the end of the connection)";

    /// <summary>The message if the right bytes came, but too late.</summary>
    public string? LateText => LateAnswer == LateAnswer.None || Same != Math.Min(Rest.Length, Received.Length)
        ? null
        : $"nothing for {Seconds}; then, when "
            + (LateAnswer == LateAnswer.WithoutOtherConnections ? "the test had closed its other connections"
                : "the test had ended its sending")
            + $": {Prefix}{CameText}";

    private string Seconds => $"{Patience / 1000.0:0.#} s";
}
