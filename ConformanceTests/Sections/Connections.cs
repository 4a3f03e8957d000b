namespace ConformanceTests.Sections;

/// <summary>CONN: connections, and messages in any pieces.</summary>
[RunOrder(3)]
public sealed class Connections : ServerFixture
{
    private static readonly byte[] _cat = Notation.Bytes(300);

    [Test, Clause("P6", "CONN-1")]
    public void Server_answers_whichever_connection_sends_first()
    {
        // A server that handles one connection after the other would answer the first accepted first:
        // so the last one sends first.
        var wires = Enumerable.Range(0, 5).Select(_ => Connect()).ToArray();
        foreach (var wire in wires.Reverse())
        {
            ListIs(wire);
        }
    }

    [Test, Clause("CONN-1", "GET-1")]
    public void Server_answers_a_hundred_requests_on_one_connection()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        Repeat(100, () => Same(_cat, wire.Get("cat.png"), "what GET of cat.png brought"));
    }

    [Test, Clause("CONN-1", "ERR-2", NotBefore = Stages.Requests)]
    public void Server_answers_three_thousand_requests_on_one_connection()
    {
        var wire = Connect();
        Repeat(30, () =>
        {
            wire.Send(string.Concat(Enumerable.Repeat("GET|cat.exe\n", 100)));
            Repeat(100, () => wire.ExpectError("bad-type"));
        });
        wire.List();
    }

    [Test, Clause("CONN-2", "GET-1")]
    public void Server_answers_ten_pipelined_requests_without_further_input()
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        wire.Send(string.Concat(Enumerable.Repeat("GET|cat.png\n", 10)));
        for (int i = 0; i < 10; i++)
        {
            wire.Expect("OK\n");
            wire.ExpectBytes([.. Notation.U64(300), .. _cat]);
        }
    }

    [Test, Clause("CONN-3", "PUT-2", NotBefore = Stages.ManyClients)]
    public void Server_accepts_a_message_split_at_any_byte() => CutAnywhere("", []);

    [Test, Clause("DIGEST-2", "CONN-3")]
    public void Server_accepts_a_digest_split_at_any_byte() =>
        CutAnywhere("|digest=sha256", SHA256.HashData(Notation.Bytes(9)));

    // Request, block and the next request, cut in two at every byte.
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
            wire.ExpectBytes(Notation.U64(31));
            wire.Expect("猫.png|9|");
            wire.Dispose();
        }
    }

    [Test, Clause("P6", "CONN-4")]
    public void Server_continues_when_clients_connect_and_leave()
    {
        var stays = Connect();
        Repeat(50, () => Connect().Dispose());
        ListIs(stays);
    }

    [Test, Clause("CONN-4", "GET-1")]
    public void Server_sends_a_large_file_completely_after_a_half_close([Values(0, 1500)] int rest)
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

        Same(big, wire.ReceiveAnswer(), "the block");
        wire.ExpectEnd();
    }
}
