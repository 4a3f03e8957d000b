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
    public void A_difference_is_shown_with_a_few_lines_around_it() =>
        Assert.That(TextDifference.Of("1\n2\n3\n4\nold\n6\n7\n8\n9", "1\n2\n3\n4\nnew\nmore\n6\n7\n8\n9"),
            Is.EqualTo("  2\n  3\n  4\n- old\n+ new\n+ more\n  6\n  7\n  8\n\n"));

    [Test]
    public void A_long_difference_is_cut() =>
        Assert.That(TextDifference.Of(null, string.Concat(Enumerable.Repeat("line\n", 30))),
            Does.StartWith("+ line\n").And.Contain("… and 11 more lines\n"));

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
