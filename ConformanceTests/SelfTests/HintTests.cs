namespace ConformanceTests.SelfTests;

/// <summary>Each hint fits what a program with that mistake does, and nothing that only looks like it.</summary>
[Reference]
public sealed partial class HintTests
{
    private static Failure Failed(
        Action<ProtocolConnection> conversation, byte[]?[] answers, params string[] clauses) =>
        FailedIn(Delivery.Whole, conversation, answers, clauses);

    // The peer sends the answers at once. A null ends the connection; without one, the peer is silent after them.
    private static Failure FailedIn(Delivery delivery,
        Action<ProtocolConnection> conversation, byte[]?[] answers, params string[] clauses)
    {
        using var pair = new Pair(Side.Client, delivery);
        new TestScope(clauses, "a test").Add(pair.Wire);
        foreach (var answer in answers)
        {
            if (answer is null)
            {
                pair.Peer.Dispose();
                break;
            }
            else
            {
                pair.Peer.Send(answer);
            }
        }

        return FailureOf(() => conversation(pair.Wire), clauses);
    }

    private static Failure FailureOf(Action conversation, params string[] clauses) =>
        Explanation.Of(Assert.Catch<Violation>(() => conversation())!, clauses);

    [Test]
    public void An_answer_that_waits_for_the_end()
    {
        using var pair = new Pair(Side.Client);
        var server = Task.Run(() =>
        {
            while (pair.Peer.Receive(new byte[100]) > 0)
            {
            }

            pair.Peer.Send(_ok);
        });
        new TestScope([], "one connection").Add(pair.Wire);
        var failure = FailureOf(() => Ask(pair.Wire));
        Assert.That(failure.HintName, Is.EqualTo("answers after the end"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had ended its sending: OK\\n"));
        Assert.That(server.Wait(RunSettings.Patience));
    }

    [Test]
    public void A_silent_connection_that_holds_up_another()
    {
        using Pair silent = new(Side.Client);
        using Pair asks = new(Side.Client);
        var scope = new TestScope([], "two connections");
        scope.Add(silent.Wire);
        scope.Add(asks.Wire);
        var server = Task.Run(() =>
        {
            while (silent.Peer.Receive(new byte[100]) > 0)
            {
            }

            asks.Peer.Send(_ok);
        });
        var failure = FailureOf(() => Ask(asks.Wire));
        Assert.That(failure.HintName, Is.EqualTo("held up by another"));
        Assert.That(failure.Received, Does.EndWith("s; then, when the test had closed its other connections: OK\\n"));
        Assert.That(server.Wait(RunSettings.Patience));
    }

    [Test]
    public void A_reset_is_told_by_the_sentence_about_closing()
    {
        using var pair = new Pair(Side.Client);
        pair.Wire.Send("LIST\r\nmore");
        pair.Peer.Receive(new byte[2]);
        pair.Peer.Close();                              // with bytes unread
        var failure = FailureOf(() => pair.Wire.ExpectError("bad-request", closes: true));
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("reset", "CLOSE-1")), failure.Text());
    }

    [TestCase(false)]
    [TestCase(true)]
    public void The_first_byte_of_TLS_is_not_taken_for_a_line(bool isAnswered)
    {
        Action<ProtocolConnection> conversation = wire =>
        {
            wire.Send([0x16]);
            wire.ExpectError("bad-request", closes: true);
        };
        byte[][] answers = isAnswered ? [Text("ER|unsupported|x\n")] : [];
        var failure = Failed(conversation, answers, "LINE-4");
        Assert.That(failure.HintName, Is.EqualTo("first byte of TLS"));
        Assert.That(failure.Hint, isAnswered ? Does.EndWith("looked at?") : Does.EndWith("an LF has come?"));
    }

    [Test]
    public void A_connection_that_stays_open_without_an_error_is_not_called_refused()
    {
        var failure = Failed(SendsSlowly, []);
        Assert.That(failure.Hint, Does.StartWith("the connection stays open, and"));
    }

    [Test]
    public void A_temporary_that_another_server_removed()
    {
        var failure = Failed(Upload(_small, Stored), [_ok, Text("ER|storage|gone\n")], "P13");
        Assert.That(failure.HintName, Is.EqualTo("a living temporary was removed"));
    }

    [Test]
    public void A_name_that_a_cut_upload_has_taken()
    {
        var failure = Failed(GoAhead, [Text("ER|exists|here\n")], "P11", "P1");
        Assert.That(failure.HintName, Is.EqualTo("taken by an upload that was cut"));
    }

    [Test]
    public void A_name_that_a_running_upload_has_taken()
    {
        var failure = Failed(GoAhead, [Text("ER|exists|here\n")], "PUT-6");
        Assert.That((failure.HintName, failure.Sentence), Is.EqualTo(("name taken too early", "PUT-4")));
    }

    [Test]
    public void A_deadline_that_nobody_keeps()
    {
        var failure = Failed(wire =>
        {
            Ask(wire);
            wire.ReceiveRest();
        }, [_ok], "LIMIT-4");
        Assert.That(failure.HintName, Is.EqualTo("deadline ignored"));
    }

    [Test]
    public void A_client_that_waits_for_more_than_there_is()
    {
        using var pair = new Pair(Side.Server);
        pair.Wire.Send("OK\n");
        var failure = FailureOf(pair.Wire.ExpectEnd);
        Assert.That(failure.HintName, Is.EqualTo("client hangs"));
        pair.Peer.Send(Joined(_small));
        failure = FailureOf(pair.Wire.ExpectEnd);
        Assert.That(failure.HintName, Is.EqualTo("client says more"));
    }

    [TestCase("CLI-9", "client waits without a limit")]
    [TestCase("CLI-2", "client reads a line without a limit")]
    public void A_client_that_does_not_give_up(string clause, string hint)
    {
        using var pair = new Pair(Side.Server);
        Assert.That(FailureOf(pair.Wire.ExpectEnd, clause).HintName, Is.EqualTo(hint));
    }

    [TestCase("GET|cat.png\r\n", "CR LF")]
    [TestCase("GET|CAT.PNG\n", "name case folded")]
    [TestCase("GET|dog.png\n", "")]
    public void A_request_that_is_another(string request, string hint)
    {
        using var pair = new Pair(Side.Server);
        pair.Peer.Send(Text(request));
        var failure = FailureOf(() =>
        {
            string line = pair.Wire.ReceiveLine();
            throw pair.Wire.WrongLine(null, "GET|cat.png", line);
        });
        Assert.That(failure.HintName, Is.EqualTo(hint), failure.Text());
    }

    // ---- pieces ----

    [Test]
    public void Pieces_are_blamed_only_where_the_whole_passed([Values] bool wholePassed)
    {
        var failure = FailedIn(Delivery.ByteByByte, Ask, [Text("ER|unsupported|G\n")]);
        var pieces = new Verdict(3, "GET-1", "a, ByteByByte", "failed", "")
        { Failure = failure, Delivery = Delivery.ByteByByte };
        var whole = new Verdict(3, "GET-1", "a, Whole", wholePassed ? "passed" : "failed", "")
        { Failure = wholePassed ? null : failure with { InPieces = null }, Delivery = Delivery.Whole };
        var settled = RunReport.Settled([whole, pieces]).Single(verdict => verdict.Test == pieces.Test);
        Assert.That(settled.Failure!.HintName, Is.EqualTo(wholePassed ? "one receive is one message" : "refused"));
        Assert.That(settled.Clause, Is.EqualTo(wholePassed ? "CONN-3" : "GET-1"));
    }

    // The client passes what the server fails, and the other way round.
    [Test]
    public void Pieces_are_blamed_for_the_same_program_only()
    {
        var failure = FailedIn(Delivery.ByteByByte, Ask, [Text("ER|unsupported|G\n")]);
        Verdict Of(string fixture, Delivery delivery, bool passed) =>
            new(3, "GET-1", $"a, {delivery}", passed ? "passed" : "failed", "")
            { Fixture = fixture, Delivery = delivery, Failure = passed ? null : failure };

        var settled = RunReport.Settled(
        [
            Of("Transcripts", Delivery.Whole, passed: false), Of("Transcripts", Delivery.ByteByByte, passed: false),
            Of("ClientTranscripts", Delivery.Whole, passed: true),
        ]);
        var hints = settled.Where(verdict => verdict.Failure is not null).Select(verdict => verdict.Failure!.HintName);
        Assert.That(hints, Is.All.EqualTo("refused"));
    }

    [Test]
    public void Every_hint_is_tested()
    {
        string[] elsewhere =
        [
            "held up by another", "answers after the end", "reset", "a living temporary was removed",
            "client hangs", "client says more", "one receive is one message", "taken by an upload that was cut",
            "name taken too early", "first byte of TLS",
            "deadline ignored", "client waits without a limit", "client reads a line without a limit",
        ];
        Assert.That(Hints.Names.Except(_table.Select(row => row.Hint)), Is.EquivalentTo(elsewhere));
    }
}
