namespace ConformanceTests.Sections;

/// <summary>CLOSE: how a connection ends without losing the last reply.</summary>
public sealed class Closing : ServerFixture
{
    [Test, Clause("CLOSE-1", "PUT-5")]
    public void Server_sends_too_large_so_that_it_arrives_during_the_upload()
    {
        foreach (string option in Extensions.Missing("AHEAD-1") is null ? (string[])["", "|ahead"] : [""])
        {
            for (int i = 0; i < 5; i++)
            {
                var wire = Connect();
                wire.Ask($"PUT|cat.png{option}");
                var clock = Stopwatch.StartNew();
                wire.Send(Notation.U64(ulong.MaxValue));
                wire.Socket.Send(new byte[512 << 10]);  // on their way while the refusal comes back
                wire.ExpectError("too-large", closes: true);
                ExpectItReadsOn(wire, clock);
            }
        }
    }

    [Test, Clause("CLOSE-1")]
    public void Server_keeps_reading_after_a_closing_reply(
        [Values("LIST\r\n", "GET\n", "PUT|cat.png\n")] string request)
    {
        for (int i = 0; i < 5; i++)
        {
            var wire = Connect();
            wire.List();
            var clock = Stopwatch.StartNew();
            wire.Send(request);
            if (request.StartsWith("PUT"))
            {
                wire.Expect("OK\n");
                wire.Send(Notation.U64(ulong.MaxValue));
            }

            wire.ExpectError(request.StartsWith("PUT") ? "too-large" : "bad-request", closes: true);
            ExpectItReadsOn(wire, clock);
        }
    }

    private ProtocolConnection Dismissed()
    {
        var wire = Connect();
        wire.ExpectRefusal("LIST\r", "bad-request");
        return wire;
    }

    [Test, Clause("CLOSE-1")]
    public void Server_closes_2_s_after_a_closing_reply()
    {
        var wire = Dismissed();
        int most = RunSettings.Milliseconds(12_000);
        for (var clock = Stopwatch.StartNew(); !wire.SendingFailed && clock.ElapsedMilliseconds < most;)
        {
            wire.Send("x");
            Thread.Sleep(100);                          // a byte every 100 ms
        }

        Demand(wire.SendingFailed, "the connection closed 2 s after the server's FIN, although the client still sends",
            $"it still accepts bytes after {most / 1000} s: the limit is for the whole wait, not for each receive");
    }

    [Test, Clause("CLOSE-1")]
    public void Server_discards_at_most_1_MiB_after_a_closing_reply()
    {
        const int Most = 64 << 20;                      // kernels on both sides hold a few MiB more
        var wire = Dismissed();
        var piece = new byte[1 << 20];
        int sent = 0;
        try
        {
            while (sent < Most)
            {
                sent += wire.Socket.Send(piece);
            }
        }
        catch (SocketException)
        {
            return;                                     // the server has closed it, as it should
        }

        Demand(false, "the connection closed when 1 MiB has been dropped, although the client still sends",
            $"{sent >> 20} MiB were accepted");
    }

    [Test, Clause("CLOSE-5", "P1")]
    public void Server_stores_nothing_if_the_client_leaves_inside_an_upload()
    {
        byte[] all = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int cut = 0; cut < all.Length; cut++)
        {
            var wire = Connect();
            wire.Ask("PUT|cat.png");
            wire.Send(all.AsSpan(0, cut));
            wire.Finish();
            Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
                $"expected  an empty folder after an upload that was cut after {cut} of {all.Length} bytes\n"
                + "received  something stays in it");
        }

        Connect().Put("cat.png", Notation.Bytes(20));
    }

    [Test, Clause("CLOSE-5", "DIGEST-2", "P4")]
    public void Server_stores_nothing_if_the_client_leaves_inside_the_digest([Values(0, 1, 31)] int bytes)
    {
        var wire = Connect();
        wire.Ask("PUT|cat.png|digest=sha256");
        var digest = SHA256.HashData(Notation.Bytes(20));
        wire.Send([.. Notation.U64(20), .. Notation.Bytes(20), .. digest[..bytes]]);
        wire.Finish();
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
            $"expected  an empty folder after an upload that was cut after {bytes} bytes of its digest\n"
            + "received  something stays in it");
    }

    [Test, Clause("CLOSE-3")]
    public void Server_sends_nothing_before_the_first_request()
    {
        var silent = Connect();
        Repeat(10, () => Connect().List());  // by now the server would have sent it
        Demand(silent.Socket.Available == 0, "nothing before a request", "bytes that belong to no request");
        silent.Finish();
    }

    // The FIN arrives right behind the last byte of the block: the block is complete, and has to be answered.
    [Test, Clause("CONN-4", "PUT-2")]
    public void Server_answers_an_upload_whose_last_byte_is_followed_by_a_FIN(
        [Values("", "|digest=sha256")] string option)
    {
        Needs("DIGEST-2", when: option != "");
        var picture = Notation.Bytes(100);
        byte[] digest = option == "" ? [] : SHA256.HashData(picture);
        for (int i = 0; i < 20; i++)
        {
            using var wire = Server.Connect();
            wire.Ask($"PUT|{i}.png{option}");
            wire.Send([.. Notation.U64(100), .. picture, .. digest]);
            wire.HalfClose();
            wire.Expect("OK\n");
            wire.ExpectEnd();
            Same(picture, Server.Stored($"{i}.png"), $"{i}.png as it was stored");
        }
    }

    [Test, Clause("CLOSE-5", "CONN-4")]
    public void Server_sends_all_earlier_answers_if_the_client_ends_its_sending_after_a_PUT()
    {
        var big = Notation.Bytes(16 << 20);
        Server.Has("big.png", big);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\nGET|dog.png\nGET|cow.png\nPUT|cat.png\n");
        wire.HalfClose();
        Same(big, wire.ReceiveAnswer(), "the block");
        wire.ExpectError("not-found");
        wire.ExpectError("not-found");
        wire.Expect("OK\n");
        wire.ExpectEnd();
    }
}
