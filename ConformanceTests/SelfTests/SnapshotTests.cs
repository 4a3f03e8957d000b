using static VerifyNUnit.Verifier;

namespace ConformanceTests.SelfTests;

/// <summary>
/// What a snapshot's file is called and holds. With VERIFY=1 the same tests run against the real Verify.
/// </summary>
[Reference]
public sealed class SnapshotTests
{
    // Only CR LF and CR become LF; a byte order mark at the start is not text.
    [Test]
    public async Task Line_ends() => await Verify("\uFEFFCR LF\r\nCR\rLF\nFF\fNEL\u0085LS\u2028end");

    [Test]
    public async Task Argument([Values(null, "a/b\tc")] string? name) => await Verify(name ?? "nothing");
}

public abstract class Inherited
{
    [Test]
    public async Task Is_called_like_its_fixture() =>
        await Verify("The fixture that runs it, not the one that has it.");
}

[Reference]
public sealed class Heir : Inherited;
