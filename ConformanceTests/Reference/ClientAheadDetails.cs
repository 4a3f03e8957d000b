namespace ConformanceTests.Reference;

/// <summary>How far this client sends ahead, and what it does after refusals and lost connections.</summary>
[Reference]
public sealed class ClientAheadDetails : ClientFixture
{
    // Accepts the first file. From now on the client may send blocks right after their requests.
    private ProtocolConnection AcceptFirst(string name)
    {
        var wire = Accept();
        wire.Answer($"PUT|{name}|ahead\n", "OK\n");
        ReceiveBlock(wire, name);
        return wire;
    }

    private void ExpectBlock(ProtocolConnection wire, string name, bool digest = false) =>
        wire.ExpectBytes(Block(File.ReadAllBytes(PathOf(name)), digest));

    private void ReceiveBlock(ProtocolConnection wire, string name, string reply = "OK\n", bool digest = false)
    {
        ExpectBlock(wire, name, digest);
        wire.Send(reply);
    }

    private void ExpectAhead(ProtocolConnection wire, params string[] names)
    {
        foreach (string name in names)
        {
            wire.ExpectRequest($"PUT|{name}|ahead\n");
            ExpectBlock(wire, name);
        }
    }

    private void GiveFour()
    {
        for (int i = 0; i < 4; i++)
        {
            Give($"{"abcd"[i]}.png", Notation.Bytes(9 + i));
        }
    }

    [Test, Clause("AHEAD-3", "CLI-1")]
    public void Client_sends_blocks_right_after_their_requests_once_it_has_read_a_go_ahead()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png d.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png");                   // before any of them is answered
        wire.Send("OK\nOK\nOK\nOK\nOK\nOK\n");
        wire.ExpectEnd();
        client.MustExit(0, "4 files: 4 done, 0 failed; 42 bytes in");
    }

    [Test, Clause("AHEAD-3", "DIGEST-2")]
    public void Client_sends_the_digest_after_each_block()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "b.png c.png");
        foreach (string name in (string[])["a.png", "b.png", "c.png"])
        {
            wire.ExpectRequest($"PUT|{name}|digest=sha256|ahead\n");
            if (name == "a.png")
            {
                wire.Send("OK\n");
            }

            ExpectBlock(wire, name, digest: true);
            if (name == "a.png")
            {
                wire.Send("OK\n");
            }
        }

        wire.Send("OK\nOK\nOK\nOK\n");
        client.MustExit(0);
        Assert.That(client.Errors, Does.Contain("c.png: 11 bytes in").And.Not.Contain("not verified"));
    }

    [Test, Clause("AHEAD-3", "CLI-7")]
    public void Client_leaves_out_unsupported_options_one_by_one()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "b.png");
        const string Time = @"modified=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ";
        Assert.That(wire.ReceiveLine(), Does.Match(@"^PUT\|a\.png\|digest=sha256\|ahead\|" + Time + "$"));
        wire.Send("ER|unsupported|no\n");
        Assert.That(wire.ReceiveLine(), Does.Match(@"^PUT\|b\.png\|digest=sha256\|" + Time + "$"));
        wire.Send("ER|unsupported|no\n");
        wire.AnswerExactly("PUT|a.png|digest=sha256\n", "ER|unsupported|no\n");
        foreach (string name in (string[])["b.png", "a.png"])
        {
            wire.AnswerExactly($"PUT|{name}\n", "OK\n");
            ReceiveBlock(wire, name);
        }

        client.MustExit(0, "a.png: 9 bytes", "b.png: 10 bytes");
        Assert.That(client.Errors, Does.Contain("not verified").And.Not.Contain("unsupported"));
    }

    [Test, Clause("AHEAD-3", "CLI-7")]
    public void Client_sends_digests_to_a_server_that_knows_no_other_option()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "b.png");
        wire.Answer("PUT|a.png|digest=sha256|ahead\n", "ER|unsupported|no\n");
        wire.Answer("PUT|b.png|digest=sha256\n", "ER|unsupported|no\n");
        foreach (string name in (string[])["a.png", "b.png"])
        {
            wire.AnswerExactly($"PUT|{name}|digest=sha256\n", "OK\n");
            ReceiveBlock(wire, name, digest: true);
        }

        client.MustExit(0);
        Assert.That(client.Errors, Does.Not.Contain("not verified"));
    }

    [Test, Clause("AHEAD-3")]
    public void Client_waits_for_the_go_ahead_of_a_large_file()
    {
        GiveFour();
        Give("large.png", Notation.Bytes((256 << 10) + 1));
        Give("small.png", Notation.Bytes(256 << 10));
        var client = Run("PUT", "a.png", "b.png large.png small.png c.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png");
        wire.Send("OK\nOK\n");
        wire.Answer("PUT|large.png\n", "ER|exists|it is here\n");         // before its block
        ExpectAhead(wire, "small.png", "c.png");
        wire.Send("OK\nOK\nOK\nOK\n");
        wire.ExpectEnd();
        client.MustExit(1, "large.png: exists", "5 files: 4 done");
    }

    [Test, Clause("AHEAD-3", "CLI-5")]
    public void Client_reports_refusals_in_the_middle_for_the_right_file()
    {
        GiveFour();
        Give("e.png", Notation.Bytes(20));
        var client = Run("PUT", "a.png", "b.png c.png d.png e.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png", "e.png");
        wire.Send("OK\nER|exists|it is here\nOK\nOK\nOK\nER|tired|a little\nOK\nOK\n");
        wire.ExpectEnd();
        client.MustExit(1, "b.png: exists: it is here", "d.png: tired: a little", "c.png: 11 bytes in",
            "e.png: 20 bytes in", "5 files: 3 done, 2 failed");
    }

    [Test, Clause("AHEAD-3", "CLI-1")]
    public void Client_repeats_unanswered_requests_on_another_connection([Values] bool inWords)
    {
        GiveFour();
        Give("e.png", Notation.Bytes(20));
        var client = Run("PUT", "a.png", "b.png c.png d.png e.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png", "e.png");
        wire.Send("OK\nOK\n");                                          // b.png
        if (inWords)
        {
            wire.Send("ER|stopping|good night\n");             // to c.png
        }

        wire.Finish();

        wire = Accept();
        wire.Answer("PUT|d.png|ahead\n", "OK\n");         // this may be another server, so no block comes yet
        ReceiveBlock(wire, "d.png", "ER|exists|it is here\n");
        ExpectAhead(wire, "e.png");
        wire.Send("OK\nOK\n");
        wire.ExpectEnd();
        client.MustExit(3);
        string lost = inWords ? "c.png: stopping: good night" : "c.png: the server closed the connection";
        Assert.That(client.Errors, Does.Contain(lost).And.Contain("d.png: exists: perhaps stored by the attempt"));
        Assert.That(client.Errors, Does.Contain("5 files: 3 done, 2 failed"));
    }

    [Test, Clause("AHEAD-3", "CLI-7")]
    public void Client_assumes_nothing_about_the_next_connection()
    {
        GiveFour();
        var client = Run("PUT", "a.png", "b.png c.png d.png --no-digest");
        var wire = AcceptFirst("a.png");
        ExpectAhead(wire, "b.png", "c.png", "d.png");
        wire.Finish();
        wire = Accept();                                                // an older server may have taken its place
        wire.Answer("PUT|c.png|ahead\n", "ER|unsupported|no\n");
        foreach (string name in (string[])["d.png", "c.png"])           // without a byte of a block between them
        {
            wire.Answer($"PUT|{name}\n", "OK\n");
            ReceiveBlock(wire, name);
        }

        wire.ExpectEnd();
        client.MustExit(3, "4 files: 3 done, 1 failed");
    }

    [Test, Clause("AHEAD-3")]
    public void Client_leaves_at_most_128_requests_unanswered()
    {
        string[] names = [.. Enumerable.Range(0, 300).Select(i => $"{i:D3}.png")];
        foreach (string name in names)
        {
            Give(name, Notation.Bytes(100));
        }

        var client = Run("PUT", "000.png", $"{string.Join(' ', names[1..])} --no-digest");
        var wire = AcceptFirst("000.png");
        ExpectAhead(wire, names[1..129]);
        wire.HalfClose();
        wire.ExpectEnd();                                               // nothing comes after the 128th
        wire = Accept();          // here the client repeats all but the first of them
        wire.Answer("PUT|002.png|ahead\n", "OK\n");
        ReceiveBlock(wire, "002.png");
        int read = 3;
        int answered = 3;
        while (answered < 300)
        {
            for (; read < 300 && read - answered < 33; read++)
            {
                ExpectAhead(wire, names[read]);
            }

            wire.Send("OK\nOK\n");
            answered++;
        }

        wire.ExpectEnd();
        client.MustExit(3, "300 files: 299 done, 1 failed; 29.9 kB");
    }

    [Test, Clause("AHEAD-3", "CLI-5")]
    public void Client_skips_only_the_file_that_disappears_during_a_batch()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "b.png c.png --no-digest");
        wire.ExpectRequest("PUT|a.png|ahead\n");
        File.Delete(PathOf("b.png"));
        wire.Send("OK\n");
        ReceiveBlock(wire, "a.png");
        ExpectAhead(wire, "c.png");                                     // there is no request for the missing file
        wire.Send("OK\nOK\n");
        wire.ExpectEnd();
        client.MustExit(1, "b.png: ", "3 files: 2 done, 1 failed");
    }

    [Test, Clause("AHEAD-3", "CLI-5")]
    public void Client_sends_a_file_as_it_is_when_its_turn_comes()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "b.png c.png --no-digest");
        wire.ExpectRequest("PUT|a.png|ahead\n");
        Give("b.png", Notation.Bytes(3 << 20));                         // larger than any file that is sent ahead
        wire.Send("OK\n");
        ReceiveBlock(wire, "a.png");
        string request = wire.ReceiveLine("PUT|b.png\\n");
        Assert.That(request.Split("|modified")[0], Is.EqualTo("PUT|b.png").Or.EqualTo("PUT|b.png|ahead"));
        wire.Send("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(Notation.Bytes(3 << 20)));
        wire.Send("OK\n");
        ExpectAhead(wire, "c.png");
        wire.Send("OK\nOK\n");
        client.MustExit(0);
    }

    [Test, Clause("AHEAD-3")]
    public void Client_waits_for_the_go_ahead_of_a_single_file()
    {
        GiveFour();
        var (client, wire) = Connected("PUT", "a.png", "--no-digest");
        wire.Answer("PUT|a.png\n", "ER|exists|it is here\n");
        wire.ExpectEnd();
        client.MustExit(1);
        Assert.That(client.Errors, Does.Not.Contain("files:"), "a summary of one");
    }
}
