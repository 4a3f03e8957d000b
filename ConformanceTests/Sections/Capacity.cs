namespace ConformanceTests.Sections;

/// <summary>P9: the limit of clients.</summary>
public sealed class Capacity : ServerFixture
{
    // Starts a server with a limit of 3 if the template has a place for it, otherwise with the limit of §7.
    private RunningServer StartWithFew(out int limit)
    {
        bool canBeTold = CommandTemplates.ServerTemplate.Contains("{max-clients}");
        limit = canBeTold ? 3 : Limits.Clients;
        return Start(with: canBeTold ? $"max-clients={limit}" : "");
    }

    private ProtocolConnection[] Fill(RunningServer server, int limit)
    {
        var wires = new ProtocolConnection[limit];
        for (int i = 0; i < limit; i++)
        {
            wires[i] = Connect(server);
            wires[i].Send("LIST\n");
            string answer = wires[i].ReceiveLine();
            Demand(answer == "OK", $"OK for client {i + 1} of {limit}, since {limit} clients are allowed", answer);
            wires[i].ReceiveBlock();
        }

        return wires;
    }

    private static bool IsServed(RunningServer server)
    {
        using var wire = server.Connect();
        wire.Send("LIST\n");
        return wire.ReceiveLine() == "OK";
    }

    // A connection that is being closed ends after 2 s in any case, so this gives up before that. A server that does
    // not count such connections serves the first or the second attempt, even on a busy machine.
    private static bool IsServedSoon(RunningServer server)
    {
        var clock = Stopwatch.StartNew();
        for (int tries = 0; tries < 4 || clock.ElapsedMilliseconds < 1300; tries++)
        {
            if (IsServed(server))
            {
                return true;
            }

            Thread.Sleep(10);
        }

        return false;
    }

    [Test, Clause("P9", "CLOSE-1")]
    public void Server_answers_busy_to_client_number_101()
    {
        var server = Start();                           // with the limit of Protocol.md
        var wires = Fill(server, Limits.Clients);
        for (int i = 0; i < 3; i++)
        {
            var one = Connect(server);
            one.ExpectRefusal("LIST", "busy", closes: true);
        }

        ExpectServed(wires);
    }

    [Test, Clause("CLOSE-1", "P9")]
    public void Server_answers_busy_to_a_client_that_has_sent_requests()
    {
        var server = StartWithFew(out int limit);
        var running = Fill(server, limit);
        for (int i = 0; i < 20; i++)
        {
            var clock = Stopwatch.StartNew();
            var wire = Connect(server);
            wire.Send("LIST\nLIST\nLIST\n" + new string('x', i * 1000));
            wire.ExpectError("busy", closes: true);
            ExpectItReadsOn(wire, clock);
            wire.Dispose();
        }

        ExpectServed(running);
    }

    public enum Leaving
    {
        Closes, Resets, ResetsInsideAnUpload, ClosesInsideAnUpload, ClosesInsideALine, ResetsInsideADownload
    }

    [Test, Clause("P9")]
    public void Server_frees_the_place_of_a_client_that_has_left([Values] Leaving how)
    {
        var server = StartWithFew(out int limit);
        server.Has("big.png", Notation.Bytes(16 << 20));
        var wires = Fill(server, limit);
        for (int round = 0; round < 3; round++)
        {
            var last = wires[^1];
            last.Put($"good-{round}.png", Notation.Bytes(100));
            last.Get($"good-{round}.png");
            if (how is Leaving.ResetsInsideAnUpload or Leaving.ClosesInsideAnUpload)
            {
                last.BeginPut($"{round}.png", 100, Notation.Bytes(50));
            }

            if (how is Leaving.ClosesInsideALine)
            {
                last.Send("LIS");
            }

            if (how is Leaving.ResetsInsideADownload)
            {
                last.Ask("GET|big.png");
            }

            if (how is Leaving.Closes or Leaving.ClosesInsideALine or Leaving.ClosesInsideAnUpload)
            {
                last.Dispose();
            }
            else
            {
                last.Reset();
            }

            ProtocolConnection? next = null;
            Eventually(() =>
            {
                next = Connect(server);
                next.Send("LIST\n");
                if (next.ReceiveLine() != "OK")
                {
                    return false;
                }

                next.ReceiveBlock();
                return true;
            }, $"expected  a place for the next client, since one of {limit} has left\n"
                + "received  busy, again and again");
            wires[^1] = next!;
        }

        var above = Connect(server);
        above.ExpectRefusal("LIST", "busy", closes: true);
        ExpectServed(wires);
    }

    [Test, Clause("P9", "CLOSE-1")]
    public void Server_does_not_count_a_closing_connection_as_a_client()
    {
        var server = StartWithFew(out int limit);
        var wires = Fill(server, limit);
        wires[0].ExpectRefusal("LIST\r", "bad-request", closes: true);      // the client does not close yet
        Demand(IsServedSoon(server),
            "a place for the next client, since one has received its closing reply (CLOSE-1)",
            "busy: a connection that is being closed is counted");
    }

    [Test, Clause("P9", "CLOSE-1")]
    public void Server_does_not_count_a_rejected_connection_as_a_client()
    {
        var server = StartWithFew(out int limit);
        var wires = Fill(server, limit);
        for (int i = 0; i < 5; i++)
        {
            var rejected = Connect(server);
            rejected.ExpectRefusal("LIST", "busy", closes: true);       // the client does not close yet
        }

        wires[0].HalfClose();
        wires[0].ExpectEnd();
        Demand(IsServedSoon(server),
            $"a place for the next client, since one of {limit} has left; a client that got busy has none",
            "busy: rejected clients are counted while they are being closed");
    }

    // The server may wait 2 s for the end of each client that it rejects (CLOSE-1). If it waited for one after the
    // other, the last of these would get no answer while this test waits for it.
    [Test, Clause("P6", "P9")]
    public void Server_answers_busy_at_once_while_other_rejected_clients_stay()
    {
        const int WaitForEach = 2000;
        var server = StartWithFew(out int limit);
        var wires = Fill(server, limit);
        int count = RunSettings.Patience / WaitForEach + 3;
        var rejected = Enumerable.Range(0, count).Select(_ => Connect(server)).ToArray();
        rejected[^1].ExpectError("busy", closes: true);
        ExpectServed(wires);
    }

    [Test, Clause("P9", "P6")]
    public void Server_continues_transfers_while_it_rejects_clients()
    {
        var server = StartWithFew(out int limit);
        var picture = Notation.Bytes(24 << 20);
        server.Has("big.png", picture);
        var wires = Fill(server, limit);
        wires[0].Ask("GET|big.png");
        wires[1].BeginPut("cat.png", 1000, Notation.Bytes(500));
        for (int i = 0; i < 150; i++)
        {
            using var wire = server.Connect();
            if (i % 3 == 0)
            {
                continue;                   // the client leaves at once
            }

            wire.Send("LIST\n");
            if (i % 3 == 1)
            {
                wire.Reset();
            }
            else
            {
                wire.ExpectError("busy", closes: true);
            }

            wires[2].List();           // by now it has closed the others: it may drain few at a time (CLOSE-1)
        }

        wires[1].Send(Notation.Bytes(1000).AsSpan(500));
        wires[1].Expect("OK\n");
        Same(picture, wires[0].ReceiveBlock(), "the block of big.png");
        wires[2].List();
    }

    private static void ExpectDescriptors(RunningServer server, int before, string after) =>
        Eventually(() => ProcessFigures.Descriptors(server.Program.Id) < before + 60,
            $"expected  about as many open descriptors after {after} as after 20, which were {before}\n"
            + "received  very many more: close each connection and each file, however its request ends");

    [Test, Clause("P9")]
    public void Server_closes_its_files_and_sockets()
    {
        var server = Start();
        var stays = Connect(server);
        server.Has("cat.png", Notation.Bytes(100));
        server.Has("big.png", Notation.Bytes(16 << 20));
        int before = 0;
        for (int i = 0; i < 260; i++)
        {
            if (i == 20)
            {
                before = ProcessFigures.Descriptors(server.Program.Id);  // by now it has opened what it always needs
            }

            using var wire = server.Connect();
            wire.Get("cat.png");
            wire.Put($"{i}.png", Notation.Bytes(100));
            using var leaves = server.Connect(slow: true);
            leaves.Ask("GET|big.png");
            leaves.Leave(reset: i % 2 == 0);            // inside the download
            wire.Ask($"PUT|x{i}.png");
            if (i % 3 == 0)
            {
                wire.Reset();               // inside the upload
            }
            else
            {
                wire.ExpectRefusal([.. Notation.U64(4), .. "text"u8], "bad-type");
                if (i % 3 == 1)
                {
                    continue;
                }

                wire.ExpectRefusal("LIST\r", "bad-request", closes: true);
            }
        }

        ExpectDescriptors(server, before, "260 connections");
        stays.List();
    }

    [Test, Clause("P9", "ERR-2")]
    public void Server_closes_its_files_after_refused_requests()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(100));
        var wire = Connect(server);
        string[] requests =
        [
            "GET|dog.png", "GET|cat.exe", "PUT|cat.png", "PUT|../x.png", "FOO", "GET|cat.png|offset=999",
            "GET|cat.png|offset=100", "GET|cat.png|digest=sha256", "LIST", "STATUS",
        ];
        int before = 0;
        for (int i = 0; i < 120; i++)
        {
            if (i == 20)
            {
                before = ProcessFigures.Descriptors(server.Program.Id);
            }

            foreach (string request in requests)
            {
                wire.Send(request + "\n");
                if (wire.ReceiveLine() != "OK")
                {
                    continue;
                }

                wire.ReceiveBlock();
                if (request.Contains("|digest="))
                {
                    wire.Receive(32);
                }
            }

            wire.BeginPut("dog.png", 4, "text"u8);
            wire.ExpectError("bad-type");
            wire.Ask("PUT|dog.png");
            wire.ExpectRefusal(Notation.U64(0), "empty");
            wire.Send("PUT|dog.png|digest=sha256\n");
            if (wire.ReceiveLine() == "OK")
            {
                wire.ExpectRefusal([.. Notation.U64(9), .. Notation.Bytes(9), .. new byte[32]], "corrupt");
            }
        }

        ExpectDescriptors(server, before, "120 rounds of refusals");
    }

    [Test, Clause("P9", "P11")]
    public void Server_continues_without_free_descriptors_and_serves_waiting_clients_later()
    {
        Skip.If(!OperatingSystem.IsLinux() || RunSettings.Current.OnWindows,
            "needs Linux, which gives a running process another limit of descriptors");
        const int Few = 8;
        const int Many = 30;
        var server = Start();
        var stays = Connect(server);
        stays.Put("cat.png", Notation.Bytes(100));
        stays.Get("cat.png");                           // what it opens on first use is open by now
        int open = ProcessFigures.Descriptors(server.Program.Id);
        if (prlimit(server.Program.Id, NumberOfFiles, [(ulong)(open + Few), 1 << 20], null) != 0
            && prlimit(server.Program.Id, NumberOfFiles, [(ulong)(open + Few), (ulong)(open + Few)], null) != 0)
        {
            Skip.Because("needs a server whose limit of descriptors the suite may set");
        }

        var wires = Enumerable.Range(0, Many).Select(_ => Connect(server)).ToArray();
        foreach (var wire in wires)
        {
            wire.Send("GET|cat.exe\n");
        }

        // This takes some seconds, because a server must not give up accepting.
        for (var clock = Stopwatch.StartNew(); clock.ElapsedMilliseconds < 4000; Thread.Sleep(100))
        {
            ExpectAnswersWithFewDescriptors(stays);
        }

        foreach (var wire in wires)                     // when an accepted client leaves, the next is accepted
        {
            wire.ExpectError("bad-type");
            wire.Dispose();
        }

        // The server notices a moment later that they have left.
        Eventually(() => SendsAndStores(stays),
            "expected  OK to GET and PUT, now that the others have left and there are descriptors again\n"
            + "received  ER, again and again");
        Connect(server).List();
    }

    private static void ExpectAnswersWithFewDescriptors(ProtocolConnection wire)
    {
        wire.ExpectRefusal("GET|cat.exe", "bad-type");          // this answer needs no descriptor
        wire.Send("GET|cat.png\n");                             // this one needs a descriptor
        string answer = wire.ReceiveLine();
        Demand(answer == "OK" || answer.StartsWith("ER|storage|"),
            "ER|storage|… where no descriptor is left to open the file with, or OK if one is", answer);
        if (answer == "OK")
        {
            wire.ReceiveBlock();
        }

        wire.Send("LIST\n");
        answer = wire.ReceiveLine();
        bool isWhole = answer == "OK" && Encoding.UTF8.GetString(wire.ReceiveBlock()).Contains("cat.png|100|");
        Demand(isWhole || answer.StartsWith("ER|storage|"),
            "ER|storage|… where no descriptor is left to read the folder with, or the whole listing",
            answer == "OK" ? "a listing without cat.png, which is there" : answer);
        wire.Send("PUT|bird.png\n");
        answer = wire.ReceiveLine();
        if (answer == "OK")
        {
            wire.Send([.. Notation.U64(9), .. "no bird!\n"u8]);
            answer = wire.ReceiveLine();
        }

        Demand(answer.StartsWith("ER|storage|") || answer.StartsWith("ER|bad-type|"),
            "ER|storage|… where no descriptor is left to make the file with, or bad-type for what is in it", answer);
    }

    private static bool SendsAndStores(ProtocolConnection wire)
    {
        wire.Send("GET|cat.png\n");
        if (wire.ReceiveLine() != "OK")
        {
            return false;
        }

        wire.ReceiveBlock();
        wire.Send("PUT|dog.png\n");
        if (wire.ReceiveLine() != "OK")
        {
            return false;
        }

        wire.Send([.. Notation.U64(9), .. Notation.Bytes(9)]);
        return wire.ReceiveLine() == "OK";
    }

    private const int NumberOfFiles = 7;                        // RLIMIT_NOFILE

    [DllImport("libc")]
    private static extern int prlimit(int process, int what, ulong[] limits, ulong[]? before);

    [Test, Clause("STATUS-3", "P9")]
    public void Server_does_not_show_rejected_connections_in_STATUS()
    {
        var server = StartWithFew(out int limit);
        var wires = Fill(server, limit);
        for (int i = 0; i < 3; i++)
        {
            var rejected = Connect(server);
            rejected.ExpectRefusal("LIST", "busy", closes: true);
        }

        int lines = wires[0].AskForBlock("STATUS").Count(value => value == '\n');
        Demand(lines == limit, $"{limit} lines, one for each client", $"{lines}: three of them were rejected");
    }
}
