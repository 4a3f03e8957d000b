using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;

namespace ConformanceTests.Sections;

/// <summary>CLI: listings of a client, and servers that refuse them.</summary>
public sealed class ClientList : ClientFixture
{
    [Test, Clause("CLI-5", "LIST-1")]
    public void A_listing_cut_short_is_a_failure([Values(0, 4, 8, 9, 38, 39, 69)] int octets)
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send("OK\n");
        byte[] line = [.. "cat.png|8|2026-01-31T23:59:59Z\n"u8];
        byte[] block = [.. Notation.U64(62), .. line, .. line];
        wire.Send(block.AsSpan(0, octets));
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-3", "CLI-13")]
    public void A_server_that_supports_nothing_is_not_asked_for_ever()
    {
        var client = Run("GET", "cat.png");
        int asked = 0;
        var wire = Accept();
        try
        {
            for (; asked < 20; asked++)
            {
                wire.ReceiveLine();
                wire.Send("ER|unsupported|no\n");
            }
        }
        catch (Violation) { }                           // it has closed: enough for it

        Demand(asked < 20, "an end, when even the plain request is unsupported", $"{asked} requests on one connection");
        wire.Dispose();
        Listener.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-5", "CLI-3")]
    public void A_listing_that_is_refused_is_a_failure_and_nothing_to_wait_for(
        [Values("storage", "tired", "unsupported")] string code)
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send($"ER|{code}|not now\n");              // and the connection stays open
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-2")]
    public void A_reply_line_that_never_ends_is_given_up()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send(new string('O', 3000));
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("CLI-5", "LIST-1")]
    public void A_listing_is_shown([Values(2, 3000)] int count)
    {
        string[] names = [.. Enumerable.Range(1, count - 1).Select(i => $"cat-{i}.png"), "x.y.JPG"];
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        string lines = string.Concat(names.Select(name => $"{name}|9|2026-01-31T23:59:59Z\n"));
        wire.Send([.. "OK\n"u8, .. Block(Encoding.UTF8.GetBytes(lines), digest: false)]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
        string said = client.Output + client.Errors;
        string[] missing = [.. names.Where(name => !said.Contains(name))];
        Demand(missing is [], $"the names of all {count} files in what the client prints",
            $"{missing.Length} of them are missing, {missing.LastOrDefault()} is one");
    }

    [Test, Clause("CLI-2")]
    public void A_listing_that_does_not_fill_its_block()
    {
        var client = Run("LIST");
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(20), .. "a.png|1|2026-01-31T23:59:59Z\n"u8]);
        wire.HalfClose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }
}
