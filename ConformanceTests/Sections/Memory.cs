namespace ConformanceTests.Sections;

/// <summary>
/// P7: the memory that clients cost: the private memory of a process and its children, as Linux counts it.
/// </summary>
public sealed class Memory : ServerFixture
{
    private const long MiB = 1 << 20;
    private const long Large = 500 * MiB;
    private const long Most = 300 * MiB;

    private static long Of(RunningServer server) => ProcessFigures.Sum(server.Program.Id, "RssAnon", "RssShmem");

    private static void Check(long grown, string whatFor) =>
        Demand(grown < Most, $"less than {Most / MiB} MiB more in memory for {whatFor}",
            $"{grown / MiB} MiB more: read a piece, write it, forget it");

    // Sends all of it. Returns false if the connection is closed.
    private static bool Send(ProtocolConnection wire, byte[] bytes)
    {
        try
        {
            for (int at = 0; at < bytes.Length;)
            {
                at += wire.Socket.Send(bytes, at, bytes.Length - at, 0);
            }

            return true;
        }
        catch (SocketException)
        {
            return false;                               // the caller reads what the server sent instead
        }
    }

    [Test, Slow, Clause("P7")]
    public void Server_does_not_keep_a_large_upload_in_memory([Values("", "|digest=sha256")] string option)
    {
        Needs("DIGEST-2", when: option != "");
        var server = Start();
        var wire = Connect(server);
        wire.Put("first.png", Notation.Bytes(1 << 20));
        long before = Of(server);
        long most = 0;
        wire.Ask($"PUT|big.png{option}");
        wire.Send(Notation.U64((ulong)Large));
        byte[] piece = Notation.Bytes((int)(4 * MiB));
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (long sent = 0; sent < Large && Send(wire, piece); sent += piece.Length)
        {
            if (option != "")
            {
                hash.AppendData(piece);
            }

            most = Math.Max(most, Of(server));
        }

        if (option != "")
        {
            wire.Send(hash.GetHashAndReset());
        }

        Check(most - before, $"an upload of {Large / MiB} MiB");
        wire.Socket.Poll(RunSettings.Milliseconds(60_000) * 1000, SelectMode.SelectRead);  // the disk may take long
        wire.Expect("OK\n");
        Check(Math.Max(most, Of(server)) - before, $"an upload of {Large / MiB} MiB");
        long there = new FileInfo(server.PathOf("big.png")).Length;
        Demand(there == Large, $"{Large} bytes in big.png", $"{there}");
    }

    [Test, Slow, Clause("P7", "GET-1")]
    public void Server_does_not_keep_a_large_download_in_memory()
    {
        var server = Start();
        server.Has("big.png", Notation.Bytes(8));
        Connect(server).Get("big.png");
        LocalFiles.SetLength(server.PathOf("big.png"), Large);
        long before = Of(server);
        long most = 0;
        var wire = Connect(server);
        wire.Ask("GET|big.png");
        wire.ExpectBytes(Notation.U64((ulong)Large));
        for (long left = Large; left > 0; left -= 20 * MiB)
        {
            most = Math.Max(most, Of(server));
            wire.Skip(20 * MiB);
        }

        Check(most - before, $"a download of {Large / MiB} MiB");
        wire.List();
    }

    [Test, Clause("BLOCK-4", "P7")]
    public void Server_reserves_no_memory_for_announced_lengths(
        [Values((1 << 30) - 1, 256 << 20, 64 << 20)] int length)
    {
        var server = Start();
        var other = Connect(server);
        other.List();
        var wires = Enumerable.Range(0, 40).Select(_ => Connect(server)).ToArray();
        ExpectServed(wires);        // by now the memory that each client always needs is in use
        long before = ProcessFigures.Sum(server.Program.Id, "VmData");
        for (int i = 0; i < wires.Length; i++)
        {
            wires[i].BeginPut($"{i}.png", length, Notation.Bytes(10));
        }

        Repeat(3, () => other.List());
        long grown = (ProcessFigures.Sum(server.Program.Id, "VmData") - before) / MiB;
        Demand(grown < wires.Length * (length / MiB) / 2,
            $"no memory for {wires.Length} lengths of {length / MiB} MiB with 10 bytes after each",
            $"{grown} MiB were reserved: the length is only a claim");
        foreach (var wire in wires)
        {
            wire.Reset();
        }

        other.List();
    }

    [Test, Clause("P7", "P6")]
    public void Server_stops_reading_requests_while_replies_are_unread(
        [Values("LIST", "GET|dog.png")] string request)
    {
        // Answers fill what the kernels hold; from then on a server has to leave the requests where they are, and what
        // the client sends is no longer accepted. What is accepted is kept in memory.
        const int Most = 48;                            // MiB; kernels hold some, and so many answers are many requests
        var server = Start();
        for (int i = 0; i < 300; i++)
        {
            server.Has($"{new string('x', 200)}{i}.png", [1]);
        }

        ProtocolConnection greedy = ConnectSlow(server);
        ProtocolConnection probe = Connect(server);
        probe.List();
        long before = Of(server);
        long taken = 0;
        byte[] requests = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat($"{request}\n", 100_000)));
        greedy.Socket.Blocking = false;
        var clock = Stopwatch.StartNew();
        while (taken < Most * MiB && clock.ElapsedMilliseconds < RunSettings.Milliseconds(45_000)
            && greedy.Socket.Poll(3_000_000, SelectMode.SelectWrite))
        {
            taken += greedy.Socket.Send(requests, 0, requests.Length, SocketFlags.None, out var error);
            if (error is not (SocketError.Success or SocketError.WouldBlock))
            {
                break;                                  // the server may also close the connection
            }
        }

        Demand(taken < Most * MiB, "requests left unread while the answers to earlier ones are not read",
            $"{taken / MiB} MiB of requests accepted, not one answer read: they or their answers are in memory");
        Check(Of(server) - before, "requests whose answers are not read");
        probe.List();
    }
}
