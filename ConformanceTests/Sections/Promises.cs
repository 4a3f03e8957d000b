namespace ConformanceTests.Sections;

/// <summary>P: what a server promises, tested from outside.</summary>
public sealed class Promises : ServerFixture
{
    [Test, Clause("P1", "P10")]
    public void Server_shows_an_upload_only_when_it_is_complete()
    {
        ProtocolConnection slow = Connect();
        ProtocolConnection other = Connect();
        var picture = Notation.Bytes(1000);
        slow.BeginPut("cat.png", 1000, picture[..1]);
        for (int i = 1; i < 1000; i += 111)
        {
            ListIs(other);
            other.ExpectRefusal("GET|cat.png", "not-found");
            Server.MustLack("cat.png");
            slow.Send(picture.AsSpan(i, 111));
        }

        slow.Expect("OK\n");
        Same(picture, other.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("P1", "P5", "P13")]
    public void Server_killed_inside_an_upload_shows_nothing_and_cleans_up_at_its_next_start()
    {
        string folder = NewFolder();
        var server = Start(folder: folder);
        ProtocolConnection whole = Connect(server);
        ProtocolConnection cut = Connect(server);
        whole.Put("whole.png", Notation.Bytes(5000));
        cut.BeginPut("cut.png", 2 << 20, Notation.Bytes((2 << 20) - 1));
        Connect(server).List();                         // by now the server has written them
        server.Program.SignalAndWait("KILL");

        var next = Start(folder: folder);
        ListIs(Connect(next), "whole.png");
        Same(Notation.Bytes(5000), next.Stored("whole.png"), "whole.png as it was stored");
        var left = Directory.GetFileSystemEntries(folder).Select(path => Path.GetFileName(path));
        Demand(left.SequenceEqual(["whole.png"]), "whole.png alone in the folder, once the next server runs",
            $"{string.Join(", ", left.Order())}: a server removes the files of killed ones when it starts",
            breaks: "P13");
    }

    private static readonly string[] _moments =
        ["after the go-ahead", "after the length", "after one byte", "before the last byte", "before the digest"];

    [Test, Clause("P1", "P13")]
    public void Server_killed_inside_a_small_upload_leaves_no_file_under_the_name(
        [ValueSource(nameof(_moments))] string moment)
    {
        bool hasDigest = moment == "before the digest";
        Needs("DIGEST-2", when: hasDigest);
        byte[] block = [.. Notation.U64(100), .. Notation.Bytes(100)];
        int sent = moment switch
        {
            "after the go-ahead" => 0,
            "after the length" => 8,
            "after one byte" => 9,
            "before the last byte" => block.Length - 1,
            _ => block.Length,
        };
        string folder = NewFolder();
        var server = Start(folder: folder);
        var upload = Connect(server);
        upload.Send(hasDigest ? "PUT|cut.png|digest=sha256\n" : "PUT|cut.png\n");
        upload.Expect("OK\n");
        upload.Send(block.AsSpan(0, sent));
        ListIs(Connect(server));
        Demand(!server.Shows("cut.png"), $"no cut.png {moment}", "it is there");
        server.Program.SignalAndWait("KILL");
        Demand(!server.Shows("cut.png"), $"no cut.png when the server was killed {moment}", "it is there");
        ListIs(Connect(Start(folder: folder)));
        Demand(Directory.GetFileSystemEntries(folder) is [], "an empty folder, once the next server runs",
            "something stays in it", breaks: "P13");
    }

    [Test, Clause("P2")]
    public void Server_accepts_exactly_one_of_concurrent_uploads_of_a_name([Values(1, 2)] int servers)
    {
        string folder = NewFolder();
        var running = Enumerable.Range(0, servers).Select(_ => Start(folder: folder)).ToArray();
        var wires = Enumerable.Range(0, 8).Select(i => Connect(running[i % servers])).ToArray();
        for (int round = 0; round < (RunSettings.Current.OnWindows ? 25 : 120); round++)
        {
            var pictures = wires.Select((_, i) => (byte[])[.. Notation.Bytes(64), (byte)i]).ToArray();
            foreach (var wire in wires)
            {
                wire.Send($"PUT|{round}.png\n");
            }

            foreach (var wire in wires)
            {
                wire.Expect("OK\n");
            }

            for (int i = 0; i < wires.Length; i++)
            {
                wires[i].Send([.. Notation.U64(65), .. pictures[i]]);
            }

            var answers = wires.Select(wire => wire.ReceiveLine()).ToArray();
            OneWins(answers);
            byte[] stored = LocalFiles.Read(Path.Combine(folder, $"{round}.png"));
            Same(pictures[Array.IndexOf(answers, "OK")], stored, "the file as it was stored");
        }
    }

    [Test, Clause("P3")]
    public void Server_shows_an_uploaded_file_to_everyone_after_OK()
    {
        ProtocolConnection one = Connect();
        ProtocolConnection other = Connect();
        for (int i = 0; i < 50; i++)
        {
            one.Put($"{i:D2}.png", Notation.Bytes(10 + i));
            Same(Notation.Bytes(10 + i), Server.Stored($"{i:D2}.png"), $"{i:D2}.png as it was stored");
            ListHas(other, i + 1);
            Counts(10 + i, other.Get($"{i:D2}.png").Length, $"bytes in what GET of {i:D2}.png brought");
        }
    }

    [Test, Clause("P4", "DIGEST-2")]
    public void Server_answers_corrupt_if_one_bit_is_wrong()
    {
        var wire = Connect();
        var picture = Notation.Bytes(1000);
        var digest = SHA256.HashData(picture);
        foreach (int at in (int[])[8, 500, 999, 1000, 1031])
        {
            byte[] sent = [.. picture, .. digest];
            sent[at] ^= 1;
            wire.BeginPut("cat.png|digest=sha256", 1000, sent);
            wire.Trace.Note($"(in byte {at} after the length, bit 0 is flipped: {sent[at]:X2}, not {sent[at] ^ 1:X2})");
            wire.ExpectError("corrupt");
            Server.MustLack("cat.png");
        }
    }

    [Test, Clause("P6")]
    public void Server_answers_others_while_uploads_stall()
    {
        var stalled = Enumerable.Range(0, 10).Select(_ => Connect()).ToArray();
        for (int i = 0; i < stalled.Length; i++)
        {
            stalled[i].BeginPut($"{i}.png", 1 << 20, Notation.Bytes(1 << 19));
        }

        var wire = Connect();
        Repeat(20, () => ListIs(wire));
        wire.Put("mine.png", Notation.Bytes(100_000));
    }

    [Test, Clause("P6", "DIGEST-2")]
    public void Server_stores_other_uploads_while_one_stalls([Values("", "|digest=sha256")] string option)
    {
        Needs("DIGEST-2", when: option != "");
        ProtocolConnection rests = Connect();
        ProtocolConnection other = Connect();
        var picture = Notation.Bytes(100_000);
        byte[] block = [.. Notation.U64(100_000), .. picture];
        if (option != "")
        {
            block = [.. block, .. SHA256.HashData(picture)];
        }

        rests.Ask($"PUT|cat.png{option}");
        rests.Send(block.AsSpan(0, 50_000));
        other.Ask($"PUT|dog.png{option}");
        other.Send(block);
        other.Expect("OK\n");
        rests.Send(block.AsSpan(50_000));
        rests.Expect("OK\n");
    }

    [Test, Clause("P6", "STATUS-1")]
    public void Server_answers_others_while_a_client_does_not_read_its_STATUS_replies()
    {
        var server = Start();
        PassBy(server, 1000);
        ProtocolConnection greedy = ConnectSlow(server);
        ProtocolConnection other = Connect(server);
        greedy.Send(string.Concat(Enumerable.Repeat("STATUS\n", 300)));         // 18 MB of answers
        greedy.Expect("OK\n");
        greedy.RestsFor(1000);                          // by now the server waits for this client
        Repeat(20, () => other.List());
        Repeat(20, () => Connect(server).List());
    }

    [Test, Clause("P6", "P7")]
    public void Server_answers_others_while_clients_do_not_read()
    {
        Server.Has("big.png", Notation.Bytes(32 << 20));
        var stalled = Enumerable.Range(0, 10).Select(_ => ConnectSlow()).ToArray();
        foreach (var wire in stalled)
        {
            wire.Send("GET|big.png\nGET|big.png\n");
        }

        foreach (var wire in stalled)
        {
            wire.Expect("OK\n");
        }

        var probe = Connect();
        Repeat(20, () => ListHas(probe, 1));
        Counts(32 << 20, stalled[0].ReceiveBlock().Length,
            "bytes in the block");       // and it continues when it is read
    }

    [Test, Slow, Clause("P6")]
    public void Server_answers_small_requests_during_a_large_download()
    {
        // It is enough if three small requests are answered during one of ten large downloads: the others may be too
        // quick on this machine.
        const int Large = 128 << 20;
        Server.Has("big.png", [1]);
        LocalFiles.SetLength(Server.PathOf("big.png"), Large);
        ProtocolConnection bulk = Connect();
        ProtocolConnection small = Connect();
        int most = 0;
        for (int i = 0; i < 10 && most < 3; i++)
        {
            bulk.Ask("GET|big.png");
            bulk.ExpectBytes(Notation.U64(Large));
            var reading = Task.Run(() => bulk.Skip(Large));
            int served = 0;
            for (small.List(); !reading.IsCompleted; small.List())
            {
                served++;
            }

            reading.GetAwaiter().GetResult();
            most = Math.Max(most, served);
        }

        Demand(most >= 3, $"answers to other clients while {Large} bytes are on their way to one",
            $"{most} while they were, in the best of ten downloads: one large answer keeps the others waiting");
    }

    [Test, Clause("P11")]
    public void Server_survives_garbage()
    {
        var random = new Random(RunSettings.Current.Seed);
        Server.Has("cat.png", Notation.Bytes(9));
        string[] lines = ["LIST\n", "GET|cat.png|digest=sha256|offset=3\n", "PUT|dog.png\n", "STATUS\n", "\r\n"];
        byte[][] seeds = [.. lines.Select(Encoding.UTF8.GetBytes), Notation.U64(5), Notation.Bytes(30)];
        byte[] Seed() => seeds[random.Next(seeds.Length)];

        for (int i = 0; i < 300; i++)
        {
            using var wire = Server.Connect();
            var bytes = Enumerable.Range(0, random.Next(1, 6)).SelectMany(_ => Seed()).ToArray();
            for (int flips = random.Next(0, 4); flips > 0; flips--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            wire.Socket.Send(bytes, 0, bytes.Length, SocketFlags.None, out _);
            if (i % 3 == 0)
            {
                wire.HalfClose();
            }
            else if (i % 3 == 1)
            {
                wire.Reset();
            }
        }

        Eventually(() =>
        {
            // Clients that have left may still be drained: then the server is busy, or resets the connection.
            using var wire = Server.Connect();
            wire.Send("GET|cat.png\n");
            try
            {
                if (wire.ReceiveLine() == "OK")
                {
                    return wire.ReceiveBlock().AsSpan().SequenceEqual(Notation.Bytes(9));
                }
            }
            catch (Violation) { }

            return false;
        }, "expected  cat.png, after all the garbage\nreceived  busy, or nothing, again and again");
    }

    [Test, Clause("P11", "P1")]
    public void Server_survives_a_reset_at_every_step()
    {
        Server.Has("big.png", Notation.Bytes(4 << 20));
        (string, byte[])[] stages =
        [
            ("", []),
            ("LIS", []),
            ("LIST\n", []),
            ("GET|big.png\n", []),
            ("PUT|a.png\n", []),
            ("PUT|a.png\n", [0, 0, 0]),
            ("PUT|a.png\n", Notation.U64(100)),
            ("PUT|a.png\n", [.. Notation.U64(100), .. Notation.Bytes(99)]),
            ("PUT|a.png|digest=sha256\n", [.. Notation.U64(9), .. Notation.Bytes(9), 1, 2, 3]),
            ("LIST\r\n", [1, 2, 3]),
        ];
        bool knowsDigest = Extensions.Missing("DIGEST-2") is null;
        foreach (var (before, after) in stages.Where(stage => knowsDigest || !stage.Item1.Contains("digest")))
        {
            for (int i = 0; i < 5; i++)
            {
                var wire = Connect();
                if (before != "")
                {
                    wire.Send(before);
                }

                if (after.Length > 0)
                {
                    wire.Expect(before.Contains('\r') ? "ER|" : "OK\n");
                    wire.Send(after);
                }

                wire.Reset();
            }
        }

        var good = Connect();
        ListHas(good, 1);
        ExpectNothingHidden("after the uploaders have reset their connections", breaks: "CLOSE-5");
    }
}
