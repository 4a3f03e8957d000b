using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Sections;

/// <summary>STATUS: the clients of a server, as it sees them.</summary>
public sealed class Statuses : ServerFixture
{
    [Test, Clause("STATUS-1", "STATUS-2")]
    public void One_line_for_each_connection_oldest_first()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(100));
        var first = Connect(server);
        first.Get("cat.png");                           // 12 octets up, 3 + 8 + 100 down
        first.Dispose();
        var second = Connect(server);
        second.Send("LIST\n");
        second.Expect("OK\n");
        second.ReceiveBlock();
        var third = Connect(server);
        third.Send("NONSENSE\nSTATUS\n");
        third.ExpectError("unsupported");
        string[][] lines = [];
        int asked = 0;
        Eventually(() =>                                // the end of the first is seen when it is seen
        {
            if (asked++ > 0)
            {
                third.Send("STATUS\n");
            }

            third.Expect("OK\n");
            string table = Encoding.UTF8.GetString(third.ReceiveBlock());
            lines = [.. table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('|'))];
            Demand(lines.Length == 3, "three lines, one for each connection", $"{lines.Length}:\n{table}");
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
    public void Refused_requests_are_counted_too()
    {
        var server = Start();
        string[] refused = ["LIST\r\n", "|\n", "PUT|a.png|x|x\n"];
        foreach (string request in refused)
        {
            var wire = Connect(server);
            wire.Send("LIST\n");
            wire.Expect("OK\n");
            wire.ReceiveBlock();
            wire.Send(request);
            wire.ExpectError("bad-request", closes: true);
            wire.Dispose();
        }

        var cut = Connect(server);
        cut.Send("LIST");                               // without its LF
        cut.HalfClose();
        cut.ExpectError("bad-request", closes: true);
        var last = Connect(server);
        last.Send("STATUS\n");
        last.Expect("OK\n");
        string[] lines = Encoding.UTF8.GetString(last.ReceiveBlock()).Split('\n');
        string[] expected = [.. refused.Select(request => $"2|{5 + request.Length}"), "1|4"];
        for (int i = 0; i < expected.Length; i++)
        {
            Demand(string.Join('|', lines[i].Split('|').Skip(3).Take(2)) == expected[i],
                $"{expected[i]} for requests and octets received, the refused line counted like any other", lines[i]);
        }
    }

    [Test, Clause("STATUS-1")]
    public void The_last_thousand_connections()
    {
        var server = Start();
        PassBy(server, 1005);
        var wire = Connect(server);
        wire.Send("STATUS\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().Count(octet => octet == '\n'), Is.EqualTo(1000));
    }

    private string[][] Ask(ProtocolConnection wire)
    {
        wire.Send("STATUS\n");
        wire.Expect("OK\n");
        string table = Encoding.UTF8.GetString(wire.ReceiveBlock());
        return [.. table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('|'))];
    }

    [Test, Clause("STATUS-1")]
    public void The_oldest_are_forgotten_also_those_that_are_open()
    {
        var server = Start();
        var open = Enumerable.Range(0, 3).Select(_ => Connect(server)).ToArray();
        foreach (var wire in open)
        {
            wire.List();
        }

        PassBy(server, 1005);
        var shown = Ask(Connect(server)).Select(fields => fields[2]).ToHashSet();
        Demand(!open.Any(wire => shown.Contains($"{wire.Socket.LocalEndPoint}")),
            "the last 1,000 connections, and none from before them, be it open or not",
            "one that was accepted before them");
    }

    [Test, Clause("STATUS-1", "CLOSE-1")]
    public void One_that_is_being_drained_is_not_closed_and_what_is_dropped_counts()
    {
        var server = Start();
        ProtocolConnection drained = Connect(server);
        ProtocolConnection asks = Connect(server);
        asks.List();
        drained.Send("LIST\r\n");
        drained.ExpectError("bad-request");
        var clock = System.Diagnostics.Stopwatch.StartNew();
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
            "5006 octets taken: a line of 6, and 5,000 that were dropped", string.Join('|', line));
    }

    [Test, Clause("STATUS-1")]
    public void They_stand_as_they_were_accepted_whoever_spoke_first()
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
        var accepted = DateTime.Parse(lines[0][0], null, System.Globalization.DateTimeStyles.AdjustToUniversal);
        Demand(accepted - before < TimeSpan.FromSeconds(4.5), "the time at which it was accepted, not of its request",
            $"{(accepted - before).TotalSeconds - 2:0.#} s after it had connected");
    }
}
