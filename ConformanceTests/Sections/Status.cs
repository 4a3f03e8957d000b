namespace ConformanceTests.Sections;

/// <summary>STATUS: the clients of a server, as it sees them.</summary>
public sealed class Statuses : ServerFixture
{
    [Test, Clause("STATUS-1", "STATUS-2")]
    public void Server_shows_one_line_for_each_connection_the_oldest_first()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(100));
        var first = Connect(server);
        first.Get("cat.png");                           // 12 bytes up, 3 + 8 + 100 down
        first.Dispose();
        var second = Connect(server);
        second.List();
        var third = Connect(server);
        third.Send("NONSENSE\nSTATUS\n");
        third.ExpectError("unsupported");
        string[][] lines = [];
        int asked = 0;
        Eventually(() =>                                // the server notices a moment later that the first has left
        {
            if (asked++ > 0)
            {
                third.Send("STATUS\n");
            }

            byte[] table = third.ReceiveAnswer();
            lines = Fields(table);
            Demand(lines.Length == 3, "three lines, one for each connection",
                $"{lines.Length}:\n{Encoding.UTF8.GetString(table)}");
            return lines[0][1] != "-";
        }, "expected  the time of its closing in the line of a connection that was closed\n"
            + "received  -, again and again");
        void Field(int line, int field, string expected) => Demand(lines[line][field] == expected,
            $"{expected} in field {field + 1} of line {line + 1}", string.Join('|', lines[line]));

        Field(0, 3, "1");
        Field(0, 4, "12");
        Field(0, 5, "111");
        Field(1, 1, "-");
        Field(1, 2, $"{second.Socket.LocalEndPoint}");
        Field(2, 3, $"{1 + asked}");
        Field(2, 4, $"{9 + 7 * asked}");
    }

    [Test, Clause("STATUS-1")]
    public void Server_counts_more_than_256_requests_and_65_536_bytes()
    {
        const int Count = 6000;
        const string Request = "GET|cat.exe\n";
        var wire = Connect(Start());
        int sent = 0;
        for (int i = 0; i < Count; i += 100)
        {
            wire.Send(string.Concat(Enumerable.Repeat(Request, 100)));
            Repeat(100, () => sent += wire.ReceiveLine().Length + 1);
        }

        string came = string.Join('|', Ask(wire)[0].Skip(3));
        string due = $"{Count + 1}|{Count * Request.Length + "STATUS\n".Length}|{sent}";
        Demand(came == due, $"{due} for requests, bytes received and bytes sent", came);
    }

    [Test, Clause("STATUS-1")]
    public void Server_counts_refused_requests()
    {
        var server = Start();
        string[] refused = ["LIST\r\n", "|\n", "PUT|a.png|x|x\n"];
        foreach (string request in refused)
        {
            var wire = Connect(server);
            wire.List();
            wire.Send(request);
            wire.ExpectError("bad-request", closes: true);
            wire.Dispose();
        }

        var cut = Connect(server);
        cut.Send("LIST");                               // without its LF
        cut.HalfClose();
        cut.ExpectError("bad-request", closes: true);
        var last = Connect(server);
        string[] lines = Encoding.UTF8.GetString(last.AskForBlock("STATUS")).Split('\n');
        string[] expected = [.. refused.Select(request => $"2|{5 + request.Length}"), "1|4"];
        for (int i = 0; i < expected.Length; i++)
        {
            Demand(string.Join('|', lines[i].Split('|').Skip(3).Take(2)) == expected[i],
                $"{expected[i]} for requests and bytes received, the refused line counted like any other", lines[i]);
        }
    }

    [Test, Slow, Clause("STATUS-1", "LIMIT-1", "LIMIT-2")]
    public void Server_does_not_count_a_timeout_as_a_request()
    {
        var server = Start(with: "idle=1");
        ProtocolConnection idle = Connect(server);
        ProtocolConnection half = Connect(server);
        half.Send("LIST\nLIS");
        half.ReceiveAnswer();
        idle.Socket.Poll(RunSettings.Milliseconds(14_000) * 1000, SelectMode.SelectRead);
        idle.ExpectError("timeout", closes: true);
        half.Socket.Poll(RunSettings.Milliseconds(22_000) * 1000, SelectMode.SelectRead);
        half.ExpectError("timeout", closes: true);
        var lines = Ask(Connect(server)).ToDictionary(fields => fields[2], fields => $"{fields[3]}|{fields[4]}");
        string[] came = [lines[$"{idle.Socket.LocalEndPoint}"], lines[$"{half.Socket.LocalEndPoint}"]];
        Same(["0|0", "1|8"], came, "requests and bytes received, of a client that was idle and of half a line");
    }

    [Test, Clause("STATUS-1")]
    public void Server_shows_the_last_1000_connections()
    {
        var server = Start();
        PassBy(server, Limits.HistoryLines + 5);
        var wire = Connect(server);
        var lines = Ask(wire);
        Counts(Limits.HistoryLines, lines.Length, "lines in the block");
        Demand(lines[^1][2] == $"{wire.Socket.LocalEndPoint}",
            "the connection that was accepted last in the last line, also when older lines were dropped",
            string.Join('|', lines[^1]));
        Same(lines.Select(fields => fields[0]).Order(StringComparer.Ordinal), lines.Select(fields => fields[0]),
            "the times of accept, from the oldest to the newest");
    }

    private static string[][] Ask(ProtocolConnection wire) => Fields(wire.AskForBlock("STATUS"));

    private static string[][] Fields(byte[] table) =>
    [
        .. Encoding.UTF8.GetString(table).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split('|')),
    ];

    [Test, Clause("STATUS-1")]
    public void Server_forgets_the_oldest_connections_even_if_they_are_open()
    {
        var server = Start();
        var open = Enumerable.Range(0, 3).Select(_ => Connect(server)).ToArray();
        ExpectServed(open);
        PassBy(server, Limits.HistoryLines + 5);
        var shown = Ask(Connect(server)).Select(fields => fields[2]).ToHashSet();
        Demand(!open.Any(wire => shown.Contains($"{wire.Socket.LocalEndPoint}")),
            "the last 1,000 connections, and none from before them, be it open or not",
            "one that was accepted before them");
    }

    [Test, Clause("STATUS-1", "CLOSE-1")]
    public void Server_shows_a_draining_connection_as_open_and_counts_discarded_bytes()
    {
        var server = Start();
        ProtocolConnection drained = Connect(server);
        ProtocolConnection asks = Connect(server);
        asks.List();
        drained.ExpectRefusal("LIST\r", "bad-request");
        var clock = Stopwatch.StartNew();
        drained.Send(new string('x', 5000));
        string[] line = [];
        for (bool counts = false; !counts && clock.ElapsedMilliseconds < 1000;)
        {
            line = Ask(asks)[0];
            counts = line[4] == "5006";
            Demand(line[1] == "-" || clock.ElapsedMilliseconds > 1000, "- for the end of a connection that is drained",
                string.Join('|', line));
        }

        if (line[4] != "5006" && clock.ElapsedMilliseconds > 1500)
        {
            Skip.Because(MachinePaused);                // its 2 s may be over
        }

        Demand(line[4] == "5006",
            "5006 bytes received: a line of 6, and 5,000 that were dropped", string.Join('|', line));
    }

    [Test, Slow, Clause("STATUS-1")]
    public void Server_shows_connections_in_the_order_in_which_it_accepted_them()
    {
        var server = Start();
        ProtocolConnection silent = Connect(server);
        ProtocolConnection speaks = Connect(server);
        var before = DateTime.UtcNow.AddSeconds(-2);
        speaks.List();
        silent.RestsFor(6000);
        silent.List();
        var lines = Ask(speaks);
        Demand(lines.Length == 2 && lines[0][2] == $"{silent.Socket.LocalEndPoint}",
            "the one that was accepted first in the first line", string.Join('|', lines[0]));
        var accepted = DateTime.Parse(lines[0][0], null, DateTimeStyles.AdjustToUniversal);
        Demand(accepted - before < TimeSpan.FromSeconds(4.5), "the time at which it was accepted, not of its request",
            $"{(accepted - before).TotalSeconds - 2:0.#} s after it had connected");
    }

    // Neither the order in which they end nor the moment of the request changes the order or the times.
    [Test, Clause("STATUS-1")]
    public void Server_shows_closed_connections_in_accept_order_and_with_the_time_of_their_end()
    {
        var server = Start();
        var wires = Enumerable.Range(0, 4).Select(_ => Connect(server)).ToArray();
        string[] addresses = [.. wires.Select(wire => $"{wire.Socket.LocalEndPoint}")];
        ExpectServed(wires);
        wires[2].Dispose();
        wires[1].Reset();
        string[][] lines = [];
        Eventually(() =>
        {
            lines = Ask(wires[3]);
            return lines.Length == 4 && lines[1][1] != "-" && lines[2][1] != "-";
        }, "expected  the times at which two connections were closed\nreceived  -, again and again");
        var seen = DateTime.UtcNow;
        Demand(lines.Select(fields => fields[2]).SequenceEqual(addresses), string.Join(", ", addresses),
            string.Join(", ", lines.Select(fields => fields[2])));
        wires[3].RestsFor(2500);                        // the time of the request would be another one now
        var later = Ask(wires[3]);
        for (int i = 1; i <= 2; i++)
        {
            Demand(later[i][1] == lines[i][1], $"{lines[i][1]} as the time of its end, as before", later[i][1]);
            var closed = DateTime.Parse(later[i][1], null, DateTimeStyles.AdjustToUniversal);
            Demand(closed <= seen && closed >= seen.AddSeconds(-10), $"a time shortly before {seen:HH:mm:ss}Z",
                later[i][1]);
        }

        Demand(later[0][1] == "-" && later[3][1] == "-", "- for connections that are open",
            $"{later[0][1]}, {later[3][1]}");
    }

    [Test, Clause("STATUS-1", "GET-1")]
    public void Server_does_not_count_bytes_that_it_has_not_sent_yet()
    {
        const int Large = 64 << 20;
        var server = Start();
        server.Has("big.png", Notation.Bytes(Large));
        var unread = ConnectSlow(server);
        unread.Ask("GET|big.png");
        unread.Receive(8);
        ProtocolConnection asks = Connect(server);
        long sent = 0;

        // A server may count a moment after it has sent.
        Eventually(() => (sent = Ask(asks).Max(fields => long.Parse(fields[5]))) > 10,
            () => $"expected  at least the 11 bytes that the client has read\nreceived  {sent:N0} bytes sent");
        Demand(sent < Large, $"less than {Large:N0}, since the client reads no more", $"{sent:N0} bytes sent");
    }

    // A request counts from the moment its answer begins, and bytes as they come and go.
    [Test, Clause("STATUS-1", "PUT-2")]
    public void Server_counts_requests_and_bytes_of_running_transfers()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(100));
        ProtocolConnection upload = Connect(server);
        ProtocolConnection several = Connect(server);
        ProtocolConnection asks = Connect(server);
        upload.BeginPut("dog.png", 100, Notation.Bytes(50));
        several.Send("GET|cat.png\nGET|dog.exe\nLIS");
        several.ReceiveAnswer();
        int error = several.ReceiveLine().Length + 1;
        string[] due =
        [
            $"1|{12 + 8 + 50}|3",                       // the line, the length, half of the file; the go-ahead
            $"2|{12 + 12 + 3}|{3 + 8 + 100 + error}",   // and half a line, which is not a request yet
        ];
        string[] came = [];
        Eventually(() =>
        {
            came = [.. Ask(asks).Take(2).Select(fields => string.Join('|', fields.Skip(3)))];
            return came.SequenceEqual(due);
        }, () => $"expected  {string.Join(" and ", due)} for requests, bytes received and bytes sent\n"
            + $"received  {string.Join(" and ", came)}");
        upload.Send(Notation.Bytes(100).AsSpan(50));
        upload.Expect("OK\n");
        string end = "";
        Eventually(() => (end = string.Join('|', Ask(asks)[0].Skip(3))) == $"1|{12 + 8 + 100}|6",
            () => $"expected  1|{12 + 8 + 100}|6 after the upload: a block is not a request\nreceived  {end}");
    }
}
