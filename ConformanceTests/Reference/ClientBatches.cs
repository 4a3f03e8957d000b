namespace ConformanceTests.Reference;

/// <summary>This client with several files, and with listings.</summary>
[Reference]
public sealed class ClientBatches : ClientFixture
{
    [Test, Clause("CLI-7", "CONF-1")]
    public void Client_asks_a_server_without_optional_features_again_and_says_not_verified()
    {
        Give("dog.png", Notation.Bytes(9));
        var (client, wire) = Connected("GET", "cat.png");
        wire.AnswerExactly("GET|cat.png|digest=sha256|modified\n", "ER|unsupported|no\n");
        wire.AnswerExactly("GET|cat.png|digest=sha256\n", "ER|unsupported|no\n");
        wire.AnswerExactly("GET|cat.png\n", [.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        client.MustExit(0, "not verified");

        (client, wire) = Connected("PUT", "dog.png");
        Assert.That(wire.ReceiveLine(), Does.StartWith("PUT|dog.png|digest=sha256|modified="));
        wire.Send("ER|unsupported|no\n");
        wire.AnswerExactly("PUT|dog.png|digest=sha256\n", "ER|unsupported|no\n");
        wire.AnswerExactly("PUT|dog.png\n", "OK\n");
        wire.ExpectBytes([.. Notation.U64(9), .. Notation.Bytes(9)]);
        wire.Send("OK\n");
        client.MustExit(0, "not verified");
    }

    [Test, Clause("CLI-3", "CLI-5")]
    public void Client_continues_a_batch_after_refusals_and_reconnects_after_a_closing_code()
    {
        var (client, wire) = Connected("GET", "a.png", "b.png c.png --no-digest");
        wire.Answer("GET|a.png\nGET|b.png\nGET|c.png\n", "ER|tired|a little\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        wire.Send("ER|timeout|too late\n");
        wire.Dispose();
        client.MustExit(3);
        Assert.That(Files(), Is.EqualTo(new[] { "b.png" }));

        (client, wire) = Connected("GET", "d.png", "e.png --no-digest");
        wire.Answer("GET|d.png\nGET|e.png\n", "ER|internal|oops\n");
        wire.Dispose();
        wire = Accept();
        wire.Answer("GET|e.png\n", [.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8)]);
        client.MustExit(1);
        Assert.That(Files(), Does.Contain("e.png"));
    }

    [Test, Clause("CLI-1", "CLI-3")]
    public void Client_does_not_resend_a_block_as_another_file_after_unsupported()
    {
        // This server is odd: it refuses an option after it has accepted it, and the block.
        byte[] one = Notation.Bytes(9);
        byte[] two = Notation.Bytes(12);
        Give("a.png", one);
        Give("b.png", two);
        var (client, wire) = Connected("PUT", "a.png", "b.png");
        wire.Answer("PUT|a.png|digest=sha256|ahead\n", "OK\n");
        wire.ExpectBytes(Block(one, digest: true));
        wire.Send("ER|unsupported|on second thoughts\n");
        wire.ExpectRequest("PUT|b.png|digest=sha256|ahead\n");
        wire.ExpectBytes(Block(two, digest: true));
        wire.Send("OK\nOK\n");
        client.MustExit(1);
    }

    private static readonly (string Verb, string Name, string Says)[] _cannotWork =
    [
        ("PUT", "missing.png", "no such file"),
        ("PUT", "text.png", "bad-type"),
        ("PUT", "empty.png", "empty"),
        ("PUT", "folder.png", "folder"),
        ("PUT", "pipe.png", "a pipe or a device"),
        ("PUT", "note.txt", "bad-type"),
        ("GET", "there.png", "here already"),
        ("GET", "../x.png", "bad-name"),
        ("GET", "con.png", "bad-name"),
        ("GET", "x.exe", "bad-type"),
    ];

    [Test, Clause("CLI-5")]
    public void Client_refuses_impossible_commands_without_connecting()
    {
        StopListening();                                // the message would name a connection that is refused
        Give("text.png", "no picture"u8.ToArray());
        Give("note.txt", "no picture"u8.ToArray());
        Give("empty.png", []);
        Give("there.png", Notation.Bytes(9));
        Directory.CreateDirectory(PathOf("folder.png"));
        Tool.Run("mkfifo", PathOf("pipe.png"));
        foreach (var (verb, name, says) in _cannotWork)
        {
            var client = Run(verb, name);
            Assert.That(client.WaitForExit(), Is.EqualTo(1), $"{verb} {name}");
            Assert.That(client.Errors, Does.Contain(says).And.Not.Contain("connect"), $"{verb} {name}");
        }
    }

    [Test, Clause("CLI-2", "LIMIT-3")]
    public void Client_receives_the_whole_listing_before_its_output_is_read()
    {
        // A user who pages through a listing takes minutes; the server does not wait that long.
        string[] lines = [.. Enumerable.Range(0, 60_000).Select(i => $"{i:D5}{new string('x', 200)}.png|1|{Date}")];
        var client = Own(ProgramFixture.Begin(Folder, $"client 127.0.0.1 {Port} LIST", drain: false));
        var wire = Accept();
        wire.Expect("LIST\n");
        byte[] listing = Encoding.UTF8.GetBytes(string.Concat(lines.Select(line => line + "\n")));
        wire.Send([.. "OK\n"u8, .. Notation.U64((ulong)listing.Length), .. listing]);
        Assert.That(wire.SendingFailed, Is.False, "the client does not receive lines that the user has not read yet");
        wire.Dispose();
        client.Drain();
        Assert.That(client.WaitForExit(RunSettings.Milliseconds(60_000)), Is.Zero, client.Said());
        Assert.That(client.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).SequenceEqual(lines));
    }

    private const string Date = "2026-01-31T23:59:59Z";
}
