namespace ConformanceTests.Harness.Diagnosis;

/// <summary>What the hints look at: a check that failed on a connection, and what the test is about.</summary>
/// <param name="Mismatch">The check.</param>
/// <param name="Clauses">The ids of the clauses that the test is about.</param>
public sealed record Evidence(Mismatch Mismatch, string[] Clauses)
{
    // If several messages were expected together, the hints look at the one that was wrong.
    private readonly ExpectedMessage _message = Mismatch.Expected is null
        ? default
        : ExpectedMessage.At(Mismatch.Expected, Mismatch.At + Mismatch.Same);

    public byte[]? Expected => Mismatch.Expected?[_message.Start.._message.End];

    /// <summary>How many bytes of it have come.</summary>
    public int At => Math.Max(Mismatch.At - _message.Start, 0);

    public byte[] Received => Mismatch.Received[Math.Max(_message.Start - Mismatch.At, 0)..];

    public string? What => Mismatch.What;

    public Delivery Delivery => Mismatch.Delivery;

    public bool Waited => Mismatch.Waited;

    public bool Reset => Mismatch.Reset;

    public bool AnswersAfterEnd => Mismatch.LateAnswer == LateAnswer.AfterTheEnd;

    public bool AnswersAfterOthers => Mismatch.LateAnswer == LateAnswer.WithoutOtherConnections;

    public int RepliesAccepted => Mismatch.RepliesAccepted + _message.Replies;

    public RequestTracker Asked => Mismatch.Asked;

    /// <summary>The request that has to be answered here, or "" if it may be one of several.</summary>
    public string Request => Asked.UnansweredRequests > 1 ? "" : Asked.LastRequest;

    /// <summary>The length that was expected, if a block was expected.</summary>
    public ulong? Length => ExpectedMessage.LengthIn(Expected);

    /// <summary>The length that came instead, if eight bytes have come.</summary>
    public ulong? LengthReceived => Length is not null && ReceivedSoFar.Length >= 8
        ? BinaryPrimitives.ReadUInt64BigEndian(ReceivedSoFar) : null;

    /// <summary>What was expected, if that is text.</summary>
    public string? Text => Expected is { Length: > 0 } expected && expected.All(value => value is 10 or >= 32)
        ? Encoding.UTF8.GetString(expected) : null;

    /// <summary>What was expected, without its LF, if that is a line.</summary>
    public string? Line => Text is [.. var line, '\n'] ? line : null;

    public bool Expects(string start) => (What ?? Text)?.StartsWith(start) == true;

    public bool ExpectsReply => Expects("OK") || Expects("ER|");

    public bool ExpectsError(params string[] codes) => codes.Any(code => Expects($"ER|{code}"));

    public bool ExpectsEnd => What?.StartsWith("the connection to be closed") == true;

    /// <summary>Whether any bytes were expected, of a certain number.</summary>
    public bool ExpectsBytes => What?.Contains(" bytes") == true || What == ProtocolConnection.PossibleLength;

    /// <summary>Whether a reply came before the one that is wrong: otherwise that answers the first request.</summary>
    public bool HasReplied => RepliesAccepted > 0 || Asked.BytesReceived > 0;

    /// <summary>How many error replies have come in place of what was expected.</summary>
    public int ErrorReplies =>
        Encoding.UTF8.GetString(ReceivedSoFar).Split('\n').Count(line => line.StartsWith("ER|"));

    public byte[] ReceivedSoFar => [.. Expected is null ? [] : Expected[..At], .. Received];

    public bool ReceivedStartsWith(params byte[] bytes) => ReceivedSoFar.AsSpan().StartsWith(bytes);

    public bool ReceivedStartsWith(string text) => ReceivedStartsWith(Encoding.UTF8.GetBytes(text));

    public bool Ended => Received.Length == 0 && !Waited && !Reset;

    public bool Refused(params string[] codes) => codes.Any(code => ReceivedStartsWith($"ER|{code}|"));

    /// <summary>Whether the client has begun a line with this byte.</summary>
    public bool HasSentFirst(byte value) =>
        Mismatch.Connection.Lines.Any(line => line.Side == Side.Client && line.First.FirstOrDefault() == value);

    /// <summary>Whether the last line that came from the server, and was expected, is an error.</summary>
    public bool LastReplyIsError => Mismatch.Connection.Lines
        .LastOrDefault(line => line.Side == Side.Server)?.First.AsSpan().StartsWith("ER|"u8) == true;

    public bool TestIsAbout(string clause) => Clauses.Contains(clause);

    public bool OfServer => Mismatch.Self == Side.Client;
}
