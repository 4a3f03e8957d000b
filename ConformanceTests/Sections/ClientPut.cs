namespace ConformanceTests.Sections;

/// <summary>CLI: uploads of a client.</summary>
public sealed class ClientPut : ClientFixture
{
    // Receives the block and answers OK. The client must end the connection, and exit with 0.
    private static void Store(ChildProgram client, ProtocolConnection wire, byte[] block)
    {
        wire.ExpectBytes(block);
        wire.Send("OK\n");
        wire.ExpectEnd();
        client.MustSucceed();
    }

    [Test, Clause("CLI-5", "PUT-2")]
    public void Client_fails_if_an_upload_gets_no_last_reply([Values(0, 1, 2, 3)] int stage)
    {
        var (client, wire, digest) = BeginPut(Notation.Bytes(5000));
        if (stage > 0)
        {
            wire.Send("OK\n");
        }

        if (stage > 1)
        {
            wire.Receive(8 + 5000 + (digest ? 32 : 0));
        }

        wire.End(reset: stage > 2);

        client.MustFail();
    }

    // The client may also refuse without a connection, or open the file when it has its go-ahead.
    [Test, Clause("CLI-5")]
    public void Client_fails_if_the_file_to_upload_does_not_exist()
    {
        var client = Run("PUT", "cat.png");
        if (Connects(client))
        {
            var wire = Accept();
            for (int requests = 0; requests < 20 && NextRequest(client, ref wire) is { } line; requests++)
            {
                wire.Send(line == "PUT|cat.png" ? "OK\n" : "ER|unsupported|this server has no options\n");
            }
        }

        client.MustFail();
    }

    [Test, Clause("CLI-8", "CLI-5")]
    public void Client_fails_if_OK_arrives_before_all_bytes_were_sent([Values] bool withGoAhead)
    {
        Give("big.png", Notation.Bytes(40 << 20));
        Listener.ReceiveBufferSize = 1 << 16;
        var (client, wire, _) = Begin("PUT", "big.png");
        wire.Send(withGoAhead ? "OK\nOK\n" : "OK\n");
        if (!withGoAhead)
        {
            wire.Receive(8);
            wire.Send("OK\n");
        }

        // The client cannot have sent all bytes, since the test does not read them.
        wire.RestsFor(500);
        if (!withGoAhead)
        {
            wire.HalfClose();
        }

        wire.ReceiveRest(orSilence: true);
        wire.Dispose();
        client.MustFail();
    }

    private static readonly int[] _sizes = [8, 9, 1024, 65_535, 65_536, 65_537, 131_072, 1 << 20, (48 << 20) + 1];

    [TestCaseSource(nameof(_sizes)), Clause("PUT-2", "BLOCK-1", "CLI-5")]
    public void Client_uploads_files_of_any_size_completely(int size)
    {
        var picture = Notation.Bytes(size);
        Give("cat.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;           // one send does not accept all of it
        var (client, wire, digest) = Begin("PUT");
        wire.Send("OK\n");
        if (size > 40 << 20)
        {
            wire.RestsFor(1500);
        }

        Store(client, wire, Block(picture, digest));
    }

    // A client may have read the whole file before it shrinks, and send all of it.
    [Test, Clause("BLOCK-1", "CLI-5", NotBefore = Stages.ManyClients)]
    public void Client_ends_the_connection_if_the_file_shrinks_during_the_upload()
    {
        var picture = Notation.Bytes(30 << 20);
        Give("big.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;
        var (client, wire, digest) = Begin("PUT", "big.png");
        wire.Send("OK\n");
        wire.ExpectBytes(Block(picture, false)[..1000]);
        LocalFiles.SetLength(PathOf("big.png"), (30 << 20) - 1000);
        var rest = wire.ReceiveRest(orSilence: true).AsSpan();
        bool hasClosed = wire.IsAtItsEnd;
        int due = picture.Length + 8 - 1000;
        Demand(rest.Length < due + (digest ? 32 : 0) || rest[..due].SequenceEqual(picture.AsSpan(992)),
            "the end of the connection inside the block: its last bytes are gone", "as many bytes, and others");
        Demand(hasClosed || rest.Length >= due,
            $"the end of the connection, since {due - rest.Length} bytes of the block cannot be sent any more",
            "nothing: the connection stays open", breaks: "BLOCK-1");
        wire.HalfClose();
        wire.Dispose();
        client.MustFail();
    }

    [Test, Clause("BLOCK-1", "PUT-2", NotBefore = Stages.ManyClients)]
    public void Client_sends_the_announced_length_if_the_file_grows_during_the_upload()
    {
        var picture = Notation.Bytes(30 << 20);
        Give("big.png", picture);
        Listener.ReceiveBufferSize = 1 << 16;
        var (client, wire, digest) = Begin("PUT", "big.png");
        wire.Send("OK\n");
        byte[] block = Block(picture, digest);
        wire.ExpectBytes(block[..1000]);
        LocalFiles.Append(PathOf("big.png"), new byte[1 << 20]);

        try
        {
            wire.ExpectBytes(block[1000..]);
        }
        catch (Violation) when (wire.IsAtItsEnd)        // the client has noticed it and closed
        {
            client.MustFail();
            return;
        }

        wire.Send("OK\n");
        wire.ExpectEnd();
        client.WaitForExit();
    }

    // One receive is not one message. The next piece comes later, so a client that takes the bytes of one receive for
    // the message has too few of them.
    [Test, Clause("CONN-3", "CLI-5")]
    public void Client_accepts_messages_in_pieces([Values("LIST", "GET", "PUT")] string verb)
    {
        void Send(ProtocolConnection wire, byte[] bytes, params int[] cuts)
        {
            int at = 0;
            foreach (int cut in cuts)
            {
                wire.Send(bytes.AsSpan(at, cut - at));
                wire.RestsFor(150);
                at = cut;
            }

            wire.Send(bytes.AsSpan(at));
        }

        byte[] picture = Notation.Bytes(1000);
        byte[] line = [.. "cat.png|9|2026-01-31T23:59:59Z\n"u8];
        if (verb == "PUT")
        {
            Give("dog.png", picture);
        }

        var (client, wire) = Connected(verb, verb == "LIST" ? null : verb == "GET" ? "cat.png" : "dog.png");
        if (verb == "LIST")
        {
            wire.Expect("LIST\n");
            Send(wire, [.. "OK\n"u8, .. Block(line, digest: false)], 1, 2, 7, 11, 20, 41);
        }
        else if (verb == "GET")
        {
            bool digest = Takes(ref wire, "GET|cat.png");
            int[] cuts = digest ? [1, 3, 7, 13, 500, 1010, 1020] : [1, 3, 7, 13, 500, 1010];
            Send(wire, [.. "OK\n"u8, .. Block(picture, digest)], cuts);
        }
        else
        {
            bool digest = Takes(ref wire, "PUT|dog.png");
            Send(wire, [.. "OK\n"u8], 1, 2);
            wire.ExpectBytes(Block(picture, digest));
            Send(wire, [.. "OK\n"u8], 1, 2);
        }

        int exit = client.WaitForExit();
        if (exit != 0)
        {
            throw new FailedCheck(Wording.Exit(true, exit, Scope?.Test ?? "", wire.Talk) with
            {
                HintName = "one receive is one message",
                Sentence = "CONN-3",
                Hint = "the replies came in pieces. One receive is not one message: collect bytes until the LF, or "
                    + "until the counted bytes are there.",
            });
        }

        if (verb == "GET")
        {
            Same(picture, LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
        }

        if (verb == "LIST")
        {
            Demand((client.Output + client.Errors).Contains("cat.png"), "cat.png in what the client prints",
                "it is not");
        }
    }

    private static readonly string[] _lastReplies =
    [
        "ER|exists|it is here\n", "ER|storage|the disk is full\n", "ER|tired|a new code\n", "OK?\n", "HELLO\n",
        "OK\r\n", "OK", "O",
    ];

    [TestCaseSource(nameof(_lastReplies)), Clause("CLI-5", "PUT-2")]
    public void Client_fails_if_the_upload_is_refused_after_its_block(string reply)
    {
        var (client, wire, digest) = BeginPut(Notation.Bytes(5000));
        wire.Send("OK\n");
        wire.Receive(8 + 5000 + (digest ? 32 : 0));
        wire.Send(reply);
        wire.HalfClose();
        client.MustFail();
    }

    // The client may also refuse its file before it connects.
    [Test, Clause("CLI-5", "PUT-9")]
    public void Client_fails_if_its_file_is_empty()
    {
        Give("cat.png", []);
        var client = Run("PUT", "cat.png");
        if (Connects(client))
        {
            var wire = Accept();
            try
            {
                bool digest = Takes(ref wire, "PUT|cat.png");
                wire.Send("OK\n");
                wire.ExpectBytes(Block([], digest));
                wire.Send("ER|empty|a picture has bytes\n");
            }
            catch (Violation) { }                       // the client closed without a request, or without a block

            wire.HalfClose();
        }

        client.MustFail();
    }

    [Test, Clause("CLI-5", "CLOSE-3")]
    public void Client_fails_when_it_receives_busy_before_its_request([Values("LIST", "GET", "PUT")] string verb)
    {
        Give("dog.png", Notation.Bytes(5000));
        var (client, wire) = Connected(verb, verb == "LIST" ? null : verb == "GET" ? "cat.png" : "dog.png");
        wire.Send("ER|busy|come back later\n");
        wire.HalfClose();
        client.MustFail();
        string said = Encoding.Latin1.GetString(wire.ReceiveRest());
        Demand(said.Count(c => c == '\n') <= 1 && said.Length < 100,
            "a request at most, and no block", $"{said.Length} bytes");
        FolderMustLack("cat.png");
    }

    [Test, Clause("CLI-1", "PUT-3")]
    public void Client_sends_no_block_before_the_go_ahead_or_after_a_refusal(
        [Values("exists", "bad-name", "denied", "storage", "tired", "too-large", "busy", "internal")] string code)
    {
        var (client, wire, _) = BeginPut(Notation.Bytes(5000));
        wire.Send($"ER|{code}|not now\n");
        wire.ExpectEnd();                               // not a byte more
        client.MustFail();
    }

    [Test, Clause("CLI-12")]
    public void Client_uploads_under_the_last_component_of_the_path(
        [Values("holiday", "holiday/2026/may")] string folder)
    {
        Directory.CreateDirectory(PathOf(folder));
        Give($"{folder}/cat.png", Notation.Bytes(9));
        var (client, wire) = Connected("PUT", Path.Combine(folder, "cat.png"));
        bool digest = Takes(ref wire, "PUT|cat.png");
        wire.Send("OK\n");
        Store(client, wire, Block(Notation.Bytes(9), digest));
    }

    [Test, Clause("CLI-3", "PUT-2", "CLI-5")]
    public void Client_fails_if_the_reply_after_its_block_is_an_error(
        [Values("ER|exists|OK", "ER|storage|", "ER|bad-type|it is stored", "ER|tired|OK", "ER|x-new-code|done")]
        string reply)
    {
        var (client, wire, digest) = BeginPut(Notation.Bytes(9));
        wire.Send("OK\n");
        wire.ExpectBytes(Block(Notation.Bytes(9), digest));
        wire.Send(reply + "\n");
        wire.ExpectEnd();
        client.MustFail();
    }

    [Test, Clause("CLI-7", "DIGEST-2")]
    public void Client_fails_if_the_server_answers_corrupt()
    {
        var (client, wire, digest) = BeginPut(Notation.Bytes(9));
        wire.Send("OK\n");
        wire.Receive(8 + 9 + (digest ? 32 : 0));
        wire.Send("ER|corrupt|something happened on the way\n");
        client.MustFail();
    }

    [Test, Clause("CLI-8")]
    public void Client_reads_the_reply_that_interrupts_its_upload()
    {
        var (client, wire, _) = BeginPut(Notation.Bytes(40 << 20), "big.png");
        wire.Send("OK\n");
        wire.Receive(8);
        wire.Send("ER|too-large|that is too much for this one\n");
        wire.HalfClose();
        wire.Dispose();                                 // with bytes unread: a reset, which the client has to survive
        client.MustFail();
        string said = client.Output + client.Errors;
        Demand(said.Contains("too-large") || said.Contains("too much"),
            "in what the client writes, the code or the text of the last line: "
                + "ER|too-large|that is too much for this one",
            said == "" ? "nothing" : said);
    }
}
