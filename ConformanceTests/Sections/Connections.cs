using System.Security.Cryptography;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;

namespace ConformanceTests.Sections;

/// <summary>CONN: connections, and messages in any pieces.</summary>
[RunOrder(3)]
public sealed class Connections : ServerFixture
{
    private static readonly byte[] _cat = Notation.Bytes(300);

    [Test, Clause("P6", "CONN-1")]
    public void Connections_are_served_in_whatever_order_they_speak()
    {
        // A server that handles one connection after the other would answer the first accepted first:
        // so the last speaks first.
        var wires = Enumerable.Range(0, 5).Select(_ => Connect()).ToArray();
        foreach (var wire in wires.Reverse())
        {
            Assert.That(wire.List(), Is.Empty);
        }
    }

    [Test, Clause("CONN-1")]
    public void A_hundred_requests_on_one_connection()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        for (int i = 0; i < 100; i++)
        {
            Assert.That(wire.Get("cat.png"), Is.EqualTo(_cat));
        }
    }

    [Test, Clause("CONN-2")]
    public void Ten_requests_in_one_send_are_answered_without_further_input()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        wire.Send(string.Concat(Enumerable.Repeat("GET|cat.png\n", 10)));
        for (int i = 0; i < 10; i++)
        {
            wire.Expect("OK\n");
            wire.ExpectOctets([.. Notation.U64(300), .. _cat]);
        }
    }

    [Test, Clause("CONN-2")]
    public void A_thousand_requests_before_the_first_answer_is_read()
    {
        for (int i = 0; i < 20; i++)
        {
            Server.Has($"{i}.png", _cat);
        }

        var wire = Connect();
        string requests = string.Concat(Enumerable.Repeat("LIST\n", 1000));
        var sending = Task.Run(() => wire.Send(requests));
        for (int i = 0; i < 1000; i++)
        {
            wire.Expect("OK\n");
            Assert.That(wire.ReceiveBlock(), Has.Length.EqualTo(10 * 31 + 10 * 32));
        }

        Assert.That(sending.Wait(RunSettings.Patience));
    }

    [Test, Clause("CONN-3")]
    public void A_message_may_end_anywhere_in_a_piece() => CutAnywhere("", []);

    [Test, Clause("DIGEST-2", "CONN-3")]
    public void A_digest_may_end_anywhere_in_a_piece() =>
        CutAnywhere("|digest=sha256", SHA256.HashData(Notation.Bytes(9)));

    // Request, block and the next request, cut in two at every octet.
    private void CutAnywhere(string option, byte[] digest)
    {
        byte[] request = Encoding.UTF8.GetBytes($"PUT|猫.png{option}\n");
        byte[] all = [.. request, .. Notation.U64(9), .. Notation.Bytes(9), .. digest, .. "LIST\n"u8];
        for (int cut = 1; cut < all.Length; cut++)
        {
            Server.Empty();
            var wire = Connect();
            wire.Send(all.AsSpan(0, cut));
            Connect().List();                           // by now the server has seen the first piece
            wire.Send(all.AsSpan(cut));
            wire.Expect("OK\nOK\nOK\n");
            wire.ExpectOctets(Notation.U64(31));
            wire.Expect("猫.png|9|");
            wire.Dispose();
        }
    }

    [Test, Clause("P6", "CONN-4")]
    public void Connecting_and_leaving_disturbs_nobody()
    {
        var stays = Connect();
        for (int i = 0; i < 50; i++)
        {
            Connect().Dispose();
        }

        Assert.That(stays.List(), Is.Empty);
    }

    [Test, Clause("CONN-4")]
    public void A_large_file_arrives_whole_after_a_half_close([Values(0, 1500)] int rest)
    {
        var big = Notation.Bytes(16 << 20);
        Server.Has("big.png", big);
        var wire = ConnectSlow();
        wire.Send("GET|big.png\n");
        wire.HalfClose();
        if (rest > 0)
        {
            wire.RestsFor(rest);              // more than the kernels hold: the server has to wait for it
        }

        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(big));
        wire.ExpectEnd();
    }
}
