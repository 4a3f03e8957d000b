using System.Buffers.Binary;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Harness.Diagnosis;

/// <summary>
/// A check that failed on a connection: what was expected, what came, and what had been asked. The hints look at
/// it.
/// </summary>
public sealed record Evidence
{
    public Side Self { get; init; }                     // the side that the suite plays

    public byte[]? Expected { get; init; }

    public int At { get; init; }                        // so many octets of it have come

    public byte[] Received { get; init; } = [];

    public string? What { get; init; }                  // in words, where it is not octets that were expected

    public Delivery Delivery { get; init; }

    public bool Waited { get; init; }                   // nothing came in time

    public bool Reset { get; init; }

    public bool AnswersAfterEnd { get; init; }

    public bool AnswersAfterOthers { get; init; }

    public int Taken { get; init; }                     // replies, or parts of them, that were as expected

    public RequestTracker Asked { get; init; } = new();

    public string[] Clauses { get; init; } = [];        // that the test is about

    // The eight octets of a length, if that is what was to come here.
    public ulong? Length => Expected is { Length: >= 8 } && Expected[..4].All(octet => octet == 0)
        ? BinaryPrimitives.ReadUInt64BigEndian(Expected) : null;

    // And the length that came in its place, if that many octets have come.
    public ulong? SeenLength => Length is not null && Seen.Length >= 8
        ? BinaryPrimitives.ReadUInt64BigEndian(Seen) : null;

    // The text, if that is what was to come; and the line without its LF, if it is one.
    public string? Text => Expected is { Length: > 0 } expected && expected.All(octet => octet is 10 or >= 32)
        ? Encoding.UTF8.GetString(expected) : null;

    public string? Line => Text is [.. var line, '\n'] ? line : null;

    public bool Wants(string start) => (What ?? Text)?.StartsWith(start) == true;

    public bool WantsReply => Wants("OK") || Wants("ER|");

    public bool WantsError(params string[] codes) => codes.Any(code => Wants($"ER|{code}"));

    public bool WantsEnd => What?.StartsWith("the connection to be closed") == true;

    public byte[] Seen => [.. Expected is null ? [] : Expected[..At], .. Received];

    public bool Starts(params byte[] octets) => Seen.AsSpan().StartsWith(octets);

    public bool Starts(string text) => Starts(Encoding.UTF8.GetBytes(text));

    public bool Ended => Received.Length == 0 && !Waited && !Reset;

    public bool Refused(params string[] codes) => codes.Any(code => Starts($"ER|{code}|"));

    public bool About(string clause) => Clauses.Contains(clause);

    public bool OfServer => Self == Side.Client;
}
