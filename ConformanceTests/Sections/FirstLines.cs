namespace ConformanceTests.Sections;

/// <summary>
/// CONN: a connection, a line and one reply line. The lines are not requests that anyone knows, so a server passes
/// before it knows any: it may answer each with ER|unsupported|.
/// </summary>
[RunOrder(2)]
public sealed class FirstLines : ServerFixture
{
    // Expects OK, or an ER with a code and a text.
    private static void ExpectReply(ProtocolConnection wire)
    {
        string line = wire.ReceiveLine("ER|unsupported|…\\n");
        bool isError = line.Split('|', 3) is ["ER", [_, ..], _];
        Demand(isError || line == "OK", "one reply line, such as ER|unsupported|…\\n", $"{line}\\n");
    }

    private static string Line(int i) => $"HELLO {i}\n";

    [Test, Clause("CONN-1")]
    public void Server_answers_a_line_with_one_reply_line([Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        wire.Send("HELLO\n");
        ExpectReply(wire);
        wire.Finish();
    }

    [Test, Clause("CONN-1")]
    public void Server_answers_a_hundred_lines_on_one_connection()
    {
        var wire = Connect();
        for (int i = 0; i < 100; i++)
        {
            wire.Send(Line(i));
            ExpectReply(wire);
        }

        wire.Finish();
    }

    [Test, Clause("CONN-1")]
    public void Server_accepts_the_next_connection_after_one_has_ended([Values] bool asks)
    {
        for (int i = 0; i < 10; i++)
        {
            using var passing = Connect();
            if (asks)
            {
                passing.Send(Line(i));
                ExpectReply(passing);
            }
        }

        using var wire = Connect();
        wire.Send("HELLO\n");
        ExpectReply(wire);
    }

    [Test, Clause("CONN-2")]
    public void Server_answers_each_of_ten_lines_that_arrive_together() => SendTen(Delivery.Whole);

    [Test, Clause("CONN-3")]
    public void Server_answers_lines_however_they_are_split(
        [Values(Delivery.ByteByByte, Delivery.ThreeBytes)] Delivery delivery) => SendTen(delivery);

    private void SendTen(Delivery delivery)
    {
        var wire = Connect(delivery);
        wire.Send(string.Concat(Enumerable.Range(0, 10).Select(Line)));
        Repeat(10, () => ExpectReply(wire));
        wire.Finish();
    }

    [Test, Clause("CONN-4")]
    public void Server_answers_after_a_half_close_and_then_closes([Values(1, 3)] int lines)
    {
        var wire = Connect();
        wire.Send(string.Concat(Enumerable.Range(0, lines).Select(Line)));
        wire.HalfClose();
        Repeat(lines, () => ExpectReply(wire));
        wire.ExpectEnd();
    }
}
