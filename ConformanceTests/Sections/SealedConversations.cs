namespace ConformanceTests.Sections;

/// <summary>
/// SEAL: the same conversations inside TLS, and what TLS must not change about closing and about the promises.
/// </summary>
public sealed class SealedConversations : SealedFixture
{
    // ---- the same as in the open ----

    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in ProtocolSpecification.Transcripts
        where !transcript.ClientOnly && !transcript.Ids.Any(id => id.StartsWith("STATUS"))
        from delivery in Enum.GetValues<Delivery>()
        select new TestCaseData(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause("SEAL-7")]
    public void Server_plays_the_transcript_inside_TLS(Transcript transcript, Delivery delivery)
    {
        foreach (string id in transcript.Ids)
        {
            Needs(id);
        }

        TranscriptPlayer.AgainstServer(transcript, Server, delivery, () =>
        {
            var wire = Enter(delivery: delivery);
            wire.MayBeCut = transcript.Ids.Contains("CLOSE-5");         // then a block was cut short (SEAL-6)
            return wire;
        });
    }

    [Test, Clause("SEAL-7", "BLOCK-1")]
    public void Server_stores_and_returns_large_files_inside_TLS()
    {
        var wire = Enter();
        foreach (int size in (int[])[(1 << 14) - 1, 1 << 14, (1 << 14) + 1, 6 << 20])
        {
            var picture = Notation.Bytes(size);
            wire.Put($"{size}.png", picture);
            Same(picture, File.ReadAllBytes(Server.PathOf($"{size}.png")), $"{size}.png as it was stored");
            Same(picture, wire.Get($"{size}.png"), $"what GET of {size}.png brought");
        }
    }

    [Test, Clause("SEAL-7", "P6")]
    public void Server_answers_others_while_sealed_clients_stall()
    {
        Server.Has("big.png", Notation.Bytes(32 << 20));
        var stalled = Enumerable.Range(0, 6).Select(_ => Enter()).ToArray();
        foreach (var wire in stalled)
        {
            wire.Send("GET|big.png\nGET|big.png\n");
        }

        foreach (var wire in stalled)
        {
            wire.Expect("OK\n");
        }

        var uploader = Enter();
        uploader.Ask("PUT|up.png");
        byte[] record = uploader.Tls.Record(Tls.Data, [.. Notation.U64(100), .. Notation.Bytes(100)]);
        uploader.Tls.Write(record.AsSpan(..^1));        // all of it but the last byte of its record
        var probe = Enter();
        Repeat(20, () => ListHas(probe, 1));
        Counts(32 << 20, stalled[0].ReceiveBlock().Length, "bytes in the block");
        uploader.Tls.Write(record.AsSpan(^1..));
        uploader.Expect("OK\n");
    }

    // Records without data, which are cheap to send. Ten answers to another client, while the server reads one flood of
    // several, show that it does not read a flood to its end first; how fast this machine is does not matter.
    [Test, Slow, Clause("SEAL-7", "P6")]
    public void Server_answers_others_during_a_flood_of_empty_records(
        [Values("key updates", "key updates that want one back", "empty records")] string what)
    {
        const int Enough = 10;
        SealedConnection other = Enter();
        other.List();
        long before = Memory();
        int most = 0;
        for (int i = 0; i < 5 && most < Enough; i++)
        {
            using SealedConnection flooding = Enter();
            most = Math.Max(most, AnswersDuring(flooding, Flood(flooding, what), other) ?? Enough);
        }

        Demand(most >= Enough, $"answers to another client while {what} come on one connection",
            $"{most} in the best of five floods: one connection keeps the others waiting");
        if (before > 0)
        {
            UsesLittleMemory(Memory() - before, 40 << 20, "what these connections need");
        }
    }

    private static byte[] Flood(SealedConnection wire, string what)
    {
        var flood = new MemoryStream();
        while (flood.Length < 4 << 20)
        {
            flood.Write(what == "empty records"
                ? wire.Tls.Record(Tls.Data, [])
                : wire.Tls.KeyUpdateRecord(asks: what != "key updates"));
        }

        flood.Write(wire.Tls.Record(Tls.Data, "LIST\n"u8));
        return flood.ToArray();
    }

    // Returns how many listings the other client gets before the server has read the flood, which ends with a request.
    // Returns null if the server ends the flooding connection, which is fine, too.
    private static int? AnswersDuring(SealedConnection flooding, byte[] flood, SealedConnection other)
    {
        const int First = 64 << 10;
        bool hasEnded = false;
        flooding.Tls.Write(flood.AsSpan(0, First));     // the server has something to read before the other asks
        var sending = Task.Run(() =>
        {
            try
            {
                flooding.Tls.Write(flood.AsSpan(First));
                flooding.ReceiveAnswer();
            }
            catch (Exception e) when (e is SocketException or Violation)
            {
                hasEnded = true;
            }
        });
        int answers = 0;
        for (; !sending.IsCompleted; answers++)
        {
            other.List();
        }

        return hasEnded ? null : answers;
    }

    [Test, Clause("SEAL-7", "CONN-3")]
    public void Server_accepts_a_KeyUpdate([Values] bool asks)
    {
        Server.Has("cat.png", Notation.Bytes(100_000));
        var wire = Enter();
        for (int i = 0; i < 5; i++)
        {
            wire.Tls.Write(wire.Tls.KeyUpdateRecord(asks));
            Counts(100_000, wire.Get("cat.png").Length, "bytes in what GET of cat.png brought");
        }
    }

    // ---- the end of the connection (SEAL-6, SEAL-7) ----

    [Test, Clause("SEAL-7", "CONN-4")]
    public void Server_answers_all_requests_after_close_notify()
    {
        var big = Notation.Bytes(6 << 20);
        Server.Has("big.png", big);
        var wire = Enter();
        wire.Send("GET|big.png\nLIST\n");
        wire.Tls.SendCloseNotify();                     // without a FIN, which may come later or never
        Same(big, wire.ReceiveAnswer(), "the block");
        wire.ReceiveAnswer();
        wire.ExpectEnd();
    }

    [Test, Clause("SEAL-11", "SEAL-6", "CLOSE-2")]
    public void Server_refuses_half_a_line_at_close_notify_and_does_not_answer_it_at_a_FIN_alone()
    {
        foreach (string half in (string[])["L", "LIST", "PUT|cat.png|digest=sha256"])
        {
            var said = Enter();
            said.Send(half);
            said.HalfClose();
            said.ExpectError("bad-request", closes: true);

            var cut = Enter();
            cut.Send(half);
            cut.Socket.Shutdown(SocketShutdown.Send);
            cut.MayBeCut = true;
            cut.ExpectEnd();
        }

        ListIs(Enter());
    }

    [Test, Clause("SEAL-7", "CLOSE-1")]
    public void Server_decrypts_nothing_after_its_closing_reply()
    {
        var wire = Enter();
        wire.ExpectRefusal("LIST\r", "bad-request");
        wire.Tls.Write(new byte[20_000]);               // not a record of TLS
        wire.ExpectEnd();
        StillServes();                                  // by now the server has seen it
        wire.Tls.Write(new byte[20_000]);
        StillServes();
        wire.Tls.Write(new byte[1]);                    // a reset would show here
        wire.Socket.Shutdown(SocketShutdown.Send);
        Counts(0, wire.Socket.Receive(new byte[1]), "bytes before the FIN");         // and no reset
    }

    [Test, Clause("SEAL-7", "PUT-5", "CLOSE-1")]
    public void Server_sends_a_sealed_too_large_so_that_it_arrives_during_the_upload()
    {
        var wire = Enter();
        wire.Ask("PUT|cat.png");
        wire.ExpectRefusal([.. Notation.U64(ulong.MaxValue), .. new byte[512 << 10]], "too-large", closes: true);
    }

    // ---- interrupted uploads ----

    private SealedConnection Uploading(string name = "cat.png", string options = "")
    {
        var wire = Enter();
        wire.MayBeCut = true;
        wire.Ask($"PUT|{name}{options}");
        return wire;
    }

    private void MustStoreNothing(string when) =>
        Same([], Directory.GetFileSystemEntries(Server.Folder), $"what is in the server's folder {when}");

    [Test, Clause("SEAL-11", "P1")]
    public void Server_stores_nothing_if_the_record_is_cut_at_any_byte([Values] bool resets)
    {
        byte[] block = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int cut = 0, length = 1; cut < length; cut++)
        {
            using var wire = Uploading();
            byte[] record = wire.Tls.Record(Tls.Data, block);
            length = record.Length;
            wire.Tls.Write(record.AsSpan(0, cut));
            if (resets)
            {
                wire.Reset();
                ExpectNothingHidden("when the upload has been reset", breaks: "CLOSE-5");
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                wire.ExpectEnd();
            }

            MustStoreNothing($"after {cut} of the record's {length} bytes");
        }

        Enter().Put("cat.png", Notation.Bytes(20));
    }

    [Test, Clause("SEAL-11", "SEAL-6", "CLOSE-5", "P1")]
    public void Server_stores_nothing_if_an_upload_is_cut_between_two_records([Values] bool saysSo)
    {
        byte[] picture = Notation.Bytes(20);
        byte[] all = [.. Notation.U64(20), .. picture, .. SHA256.HashData(picture)];
        bool digest = Extensions.Missing("DIGEST-1") is null;
        if (!digest)
        {
            all = all[..^32];
        }

        for (int cut = 0; cut < all.Length; cut++)
        {
            using var wire = Uploading(options: digest ? "|digest=sha256" : "");
            for (int i = 0; i < cut; i++)
            {
                wire.Send(all.AsSpan(i, 1));          // one byte in each record
            }

            if (saysSo)
            {
                wire.HalfClose();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
            }

            wire.ExpectEnd();
            MustStoreNothing($"after {cut} of {all.Length} bytes");
        }
    }

    [Test, Clause("SEAL-11", "P1")]
    public void Server_does_nothing_more_after_a_flipped_bit()
    {
        byte[] block = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int at = 0, length = 1; at < length; at++)
        {
            using var wire = Uploading();
            byte[] record = wire.Tls.Record(Tls.Data, block);
            byte[] next = wire.Tls.Record(Tls.Data, "LIST\n"u8);
            length = record.Length;
            record[at] ^= 1;
            wire.Tls.Write([.. record, .. next]);
            wire.Socket.Shutdown(SocketShutdown.Send);
            ExpectNothing(wire);
            MustStoreNothing($"if bit 0 of byte {at} of the record's {length} bytes is flipped");
        }

        StillServes();
    }

    [Test, Clause("SEAL-11", "P1")]
    public void Server_ends_the_connection_after_repeated_missing_or_reordered_records([Values(0, 1, 2)] int how)
    {
        using var wire = Uploading();
        byte[] first = wire.Tls.Record(Tls.Data, Notation.U64(20));
        byte[] second = wire.Tls.Record(Tls.Data, Notation.Bytes(20));
        byte[] third = wire.Tls.Record(Tls.Data, "LIST\n"u8);
        wire.Tls.Write((byte[])(how switch
        {
            0 => [.. first, .. first, .. second, .. third],
            1 => [.. first, .. third],
            _ => [.. second, .. first, .. third],
        }));
        wire.Socket.Shutdown(SocketShutdown.Send);
        ExpectNothing(wire);
        MustStoreNothing("records that are not those that were sent");
        StillServes();
    }

    [Test, Clause("SEAL-6", "CONN-3")]
    public void Server_waits_for_the_rest_of_a_record()
    {
        var wire = Enter();
        byte[] record = wire.Tls.Record(Tls.Data, "LIST\n"u8);
        for (int i = 0; i < record.Length; i++)
        {
            wire.Tls.Write(record.AsSpan(i, 1));
            if (i % 5 == 0)
            {
                StillServes();              // by now the server has seen it
            }
        }

        wire.ReceiveAnswer();
    }
}
