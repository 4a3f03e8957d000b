namespace ConformanceTests.Sections;

/// <summary>CLI: listings of a client, and servers that refuse them.</summary>
public sealed class ClientList : ClientFixture
{
    [Test, Clause("CLI-5", "LIST-1")]
    public void Client_fails_if_the_connection_ends_inside_a_listing([Values(0, 4, 8, 9, 38, 39, 69)] int bytes)
    {
        var (client, wire, _) = Begin("LIST");
        wire.Send("OK\n");
        byte[] line = [.. "cat.png|8|2026-01-31T23:59:59Z\n"u8];
        byte[] block = [.. Notation.U64(62), .. line, .. line];
        wire.Send(block.AsSpan(0, bytes));
        wire.HalfClose();
        client.MustFail();
    }

    // As a signed number such a length is negative, and its low 32 or 63 bits may be the length of the line.
    [Test, Clause("BLOCK-2", "LIST-1", "CLI-5")]
    public void Client_fails_if_a_listing_ends_long_before_its_length(
        [Values(1UL << 63, ulong.MaxValue, (1UL << 63) + 30, (1UL << 32) + 30)] ulong length)
    {
        var (client, wire, _) = Begin("LIST");
        wire.Send([.. "OK\n"u8, .. Notation.U64(length), .. "cat.png|8|2026-01-31T23:59:59Z\n"u8]);
        wire.HalfClose();
        client.MustFail();
    }

    [Test, Clause("CLI-3", "CLI-13")]
    public void Client_gives_up_if_the_plain_request_is_unsupported_too()
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
        catch (Violation) { }                           // the client has closed the connection

        Demand(asked < 20, "an end, when even the plain request is unsupported", $"{asked} requests on one connection");
        wire.Dispose();
        StopListening();
        client.MustFail();
    }

    [Test, Clause("CLI-5", "CLI-3")]
    public void Client_fails_at_once_if_LIST_is_refused(
        [Values("storage", "tired", "unsupported")] string code)
    {
        var (client, wire, _) = Begin("LIST");
        wire.Send($"ER|{code}|not now\n");              // and the connection stays open
        client.MustFail();
    }

    // For these codes the client must not ask again, whatever the text says.
    [Test, Clause("CLI-3", "CLI-5")]
    public void Client_acts_on_the_code_whatever_the_text_says(
        [Values("LIST", "GET", "PUT")] string verb,
        [Values("ER|not-found|unsupported", "ER|tired|OK", "ER|storage|ER|unsupported|x", "ER|exists|not-found",
            "ER|denied|this is unsupported here, ask without options", "ER|x-new-code|")] string reply)
    {
        if (verb == "PUT")
        {
            Give("cat.png", Notation.Bytes(9));
        }

        var (client, wire, _) = Begin(verb);
        wire.Send(reply + "\n");
        wire.ExpectEnd();                               // no further request, and no block
        int exit = client.WaitForExit();
        Demand(exit != 0, $"exit code other than 0 after {reply}", "exit code 0");
        Demand(!Listener.Poll(0, SelectMode.SelectRead), "no second connection", "one");
    }

    // Control characters break REPLY-2, but the code counts. With the last text, the line is as long as it may be.
    private static readonly string[] _texts =
    [
        "", "OK", "not-found", "ER|not-found|x", "\u001b]0;gotcha\u0007",
        new string('x', Limits.LineBytes - "ER|unsupported|\n".Length),
    ];

    [TestCaseSource(nameof(_texts)), Clause("CLI-13", "CLI-3")]
    public void Client_asks_again_after_unsupported_whatever_the_text_says(string text)
    {
        var (client, wire) = Connected("GET", "cat.png");
        string line = wire.ReceiveLine("GET|cat.png\\n");
        for (int options = 4; options > 0 && line != "GET|cat.png"; options--)
        {
            wire.Send($"ER|unsupported|{text}\n");
            line = wire.ReceiveLine("GET|cat.png\\n");
        }

        Demand(line == "GET|cat.png", "GET|cat.png\\n, without options, in the end", $"{line}\\n");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(8))]);
        client.MustSucceed();
    }

    // Only for a client that accepts several names. The last one succeeds, which does not make good for the others.
    [Test, Clause("CLI-5", "CLI-3")]
    public void Client_fails_if_the_first_of_several_downloads_fails()
    {
        var client = Run("GET", "0.png", "1.png 2.png");
        Skip.IfNotOffered(!Connects(client), "the client takes one name");

        var wire = Accept();
        var answered = new HashSet<string>();
        string? line = wire.ReceiveLine("GET|…\\n");
        for (int requests = 0; requests < 20 && line is not null; requests++)
        {
            string[] fields = line.Split('|');
            if (fields.Length > 2)
            {
                wire.Send("ER|unsupported|this server knows no options\n");
            }
            else if (answered.Add(fields[1]) && answered.Count == 1)
            {
                wire.Send("ER|not-found|not this one\n");
            }
            else
            {
                wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(9))]);
            }

            line = NextRequest(client, ref wire);
        }

        Skip.IfNotOffered(answered.Count < 3, "the client takes one name");
        client.MustFail();
    }

    // Only for a client that accepts several files.
    [Test, Clause("CLI-3", "PUT-2")]
    public void Client_continues_with_the_next_file_after_an_unknown_code([Values("tired", "x-new-code")] string code)
    {
        foreach (string name in (string[])["0.png", "1.png", "2.png"])
        {
            Give(name, Notation.Bytes(9));
        }

        var client = Run("PUT", "0.png", "1.png 2.png");
        Skip.IfNotOffered(!Connects(client), "the client takes one file");

        // The files may come in any order. The client may repeat a request with an unknown option later.
        var wire = Accept();
        var answered = new List<string>();
        string? line = wire.ReceiveLine("PUT|…\\n");
        for (int requests = 0; answered.Count < 3 && requests < 20 && line is not null; requests++)
        {
            string[] fields = line.Split('|');
            bool digest = fields is [_, _, "digest=sha256"];
            if (fields.Length > 2 && !digest)
            {
                wire.Send("ER|unsupported|this server knows only digest\n");
                line = NextRequest(client, ref wire);   // on this connection or on a new one
                continue;
            }

            answered.Add(fields[1]);
            if (answered.Count == 1)
            {
                wire.Send($"ER|{code}|not this one\n");
            }
            else
            {
                wire.Send("OK\n");
                wire.ExpectBytes(Block(Notation.Bytes(9), digest));
                wire.Send("OK\n");
            }

            line = answered.Count < 3 ? wire.ReceiveLine("PUT|…\\n") : null;       // on the same connection
        }

        Skip.IfNotOffered(answered is [], "the client does not ask again without options");
        Demand(answered.Distinct().Count() == 3, "a PUT of each of the three files", string.Join(", ", answered));
        wire.ExpectEnd();
        client.MustFail();
    }

    [Test, Clause("CLI-2")]
    public void Client_gives_up_on_a_reply_line_without_an_end()
    {
        var (client, wire, _) = Begin("LIST");
        wire.Send(new string('O', 3000));
        client.MustFail();
    }

    [Test, Clause("CLI-2")]
    public void Client_fails_if_the_last_line_of_a_listing_has_no_LF()
    {
        var (client, wire, _) = Begin("LIST");
        wire.Send([.. "OK\n"u8, .. Notation.U64(20), .. "a.png|1|2026-01-31T23:59:59Z\n"u8]);
        wire.HalfClose();
        client.MustFail();
    }
}
