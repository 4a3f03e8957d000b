using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Folders of a hundred thousand pictures, and system calls that strace makes slow.</summary>
[Torture]
public sealed class LargeFolders : TortureFixture
{
    [Test, Clause("P6", "P7", "CLOSE-4")]
    public void Server_with_100000_files_answers_others_while_ten_clients_list_them()
    {
        int files = Times(100_000);
        string folder = Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(),
            $"imagetransfer-test-{Path.GetRandomFileName()}");
        Directory.CreateDirectory(folder);
        try
        {
            Parallel.For(0, files, i => File.WriteAllBytes(Path.Combine(folder, $"p{i:D7}.png"), [1]));
            var clock = Stopwatch.StartNew();
            var server = Start(folder: folder);
            double start = clock.Elapsed.TotalSeconds;
            server.Has("cat.png", Notation.Bytes(1000));
            using ProtocolConnection probe = server.Connect();
            using ProtocolConnection uploader = server.Connect();
            long before = Resident(server);
            long most = 0;
            int listings = 0;

            // Each client asks again until the server stops.
            var listing = Enumerable.Range(0, 10).Select(_ => Task.Factory.StartNew(() =>
            {
                using var socket = Dial(server.Port);
                var sink = new byte[1 << 20];
                try
                {
                    while (TakeListing(socket, sink))
                    {
                        Interlocked.Increment(ref listings);
                    }
                }
                catch (SocketException) { }
            }, TaskCreationOptions.LongRunning)).ToArray();
            Eventually(() => Volatile.Read(ref listings) >= 10, "the listings are not answered");

            double Get()
            {
                Thread.Sleep(5);
                most = Math.Max(most, Resident(server));
                return Milliseconds(() => probe.Get("cat.png"));
            }

            double worst = Enumerable.Range(0, 400).Max(_ => Get());
            double put = Enumerable.Range(0, 20).Max(i =>
                Milliseconds(() => uploader.Put($"z{i}.png", Notation.Bytes(1000))));

            clock.Restart();
            server.Program.Signal("TERM");
            Assert.That(server.Program.WaitForExit(RunSettings.Milliseconds(30_000)), Is.Zero);
            double end = clock.Elapsed.TotalSeconds;
            Assert.That(Task.WaitAll(listing, RunSettings.Patience), "a lister hangs");

            string figures = $"{files:N0} files, started in {start:0.0} s; 10 list all the time, {listings} listings: "
                + $"GET at worst {worst:0.0} ms, PUT {put:0.0} ms, {Mebi(most - before)} MiB more; "
                + $"told to stop, it ends after {end:0.0} s";
            Say("P6 P7", figures);
            MustBeBelow(RunSettings.Milliseconds(3_000) / 1000.0, start, figures);
            MustBeBelow(RunSettings.Milliseconds(100), worst, figures);
            MustBeBelow(RunSettings.Milliseconds(1000), put, figures);
            Assert.That(most - before, Is.LessThan(96 << 20), figures);
            Assert.That(end, Is.LessThan(13.5), figures);
            Assert.That(Hidden(folder), Is.Empty);
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }

    // Returns false if the server stops or the connection has ended.
    private static bool TakeListing(Socket socket, byte[] sink)
    {
        socket.Send("LIST\n"u8);
        var head = sink.AsSpan(0, 3 + 8);
        int have = 0;
        while (have < head.Length)
        {
            int count = socket.Receive(head[have..]);
            if (count == 0)
            {
                return false;
            }

            have += count;
            if (head[0] != 'O')
            {
                return false;
            }
        }

        long left = (long)System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(head[3..]);
        while (left > 0)
        {
            int count = socket.Receive(sink, (int)Math.Min(left, sink.Length), SocketFlags.None);
            if (count == 0)
            {
                return false;
            }

            left -= count;
        }

        return true;
    }

    // ---- deadlines ----

    [Test, Clause("LIMIT-3", "CONN-2", "DIGEST-1")]
    public void Server_sends_the_rest_of_a_block_that_is_read_at_the_deadline([Values] bool digest)
    {
        // What is left of the block when the kernels are full fits in what a reader takes out of them just before the
        // deadline, and yet that is not enough for the kernel to call the socket ready: only trying to send shows it.
        // Many sizes, because at the first deadline the kernel takes some more of it, and how much is unknown.
        const int ReceiveBuffer = 1 << 18;
        const int Taken = 400 << 10;
        const int Head = 3 + 8;
        var rests = Enumerable.Range(0, 20).Select(i => (8 + i * 64) << 10).ToArray();
        var server = Start();
        LocalFiles.SetLength(server.PathOf("huge.png"), 64 << 20);

        var probe = Connect(server);
        long held = 0;
        using (var stalled = Dial(server.Port, ReceiveBuffer))
        {
            stalled.Send("GET|huge.png\n"u8);
            long before;
            do
            {
                before = held;
                Thread.Sleep(300);
                held = SentTo(stalled, probe);
            }
            while (held == 0 || held != before);
        }

        var pictures = rests.Select(rest => Notation.Bytes((int)held - Head + rest)).ToArray();
        for (int i = 0; i < pictures.Length; i++)
        {
            server.Has($"{i}.png", pictures[i]);
        }

        var clock = Stopwatch.StartNew();
        var wires = new List<(ProtocolConnection Wire, byte[] Picture)>();
        foreach (var picture in pictures)
        {
            var wire = Own(new ProtocolConnection(Dial(server.Port, ReceiveBuffer), Side.Client));
            wire.Send($"GET|{wires.Count}.png{(digest ? "|digest=sha256" : "\nLIST")}\n");
            wires.Add((wire, picture));
        }

        // A block that has moved enough in its first 20 s has 20 s more. The digest is due at the end of these.
        int until = digest ? 38_500 : 18_500;
        Thread.Sleep(until - (int)clock.ElapsedMilliseconds);
        int full = wires.Count(one => SentTo(one.Wire.Socket, probe) < one.Picture.Length);
        foreach (var (wire, picture) in wires)
        {
            wire.Expect("OK\n");
            wire.ExpectBytes(Notation.U64((ulong)picture.Length));
            Assert.That(wire.Receive(Taken).AsSpan().SequenceEqual(picture.AsSpan(0, Taken)));
        }

        Thread.Sleep(4_000);
        foreach (var (wire, picture) in wires)
        {
            Assert.That(wire.Receive(picture.Length - Taken).AsSpan().SequenceEqual(picture.AsSpan(Taken)));
            if (digest)
            {
                wire.ExpectBytes(SHA256.HashData(picture));
                wire.Send("LIST\n");
            }

            Assert.That(wire.ReceiveAnswer(), Is.Not.Empty);
        }

        string what = digest ? "and its digest" : "and the answer after it";
        Say("P8", $"{wires.Count} readers slow to the deadline, {full} with a rest to come: all of it, {what}");
    }

    // Returns how many bytes the server has handed to the kernel for this client.
    private static long SentTo(Socket client, ProtocolConnection probe)
    {
        probe.Ask("STATUS");
        string own = $"|{client.LocalEndPoint}|";
        string line = Encoding.UTF8.GetString(probe.ReceiveBlock()).Split('\n').Last(line => line.Contains(own));
        return long.Parse(line.Split('|')[^1]);
    }

    // ---- slow system calls ----

    // Delays each such call of the server from now on. Returns false if the server may not be traced.
    private bool Delay(RunningServer server, string call, int milliseconds, string promises)
    {
        string calls = Path.Combine(NewFolder("calls"), "calls.txt");
        string id = $"{server.Program.Id}";
        string inject = $"inject={call}:delay_enter={RunSettings.Milliseconds(milliseconds)}000";
        try
        {
            string[] command = ["strace", "-f", "-qq", "-o", calls, "-e", $"trace={call}", "-e", inject, "-p", id];
            var strace = Own(new ChildProgram("strace", command, server.Folder));
            bool LooksOn() => !File.ReadAllText($"/proc/{id}/status").Contains("TracerPid:\t0\n");

            Eventually(() => strace.HasEnded || LooksOn(), "strace hangs");
            if (!strace.HasEnded)
            {
                return true;
            }

            Say(promises, "skipped: strace may not look on");
        }
        catch (Violation)
        {
            Say(promises, "skipped: no strace");
        }

        return false;
    }

    [Test, Clause("P12", "P2")]
    public void Server_that_starts_before_a_temporary_file_is_locked_leaves_it_alone()
    {
        const int Long = 3_000;
        string folder = NewFolder();
        var slow = Start(folder: folder);
        using var wire = Connect(slow);
        wire.List();
        if (!Delay(slow, "flock", Long, "P12"))
        {
            return;
        }

        wire.Send("PUT|cat.png\n");
        Eventually(() => Hidden(folder).Length == 1, "the server makes no temporary file");
        var second = Start(folder: folder);                 // it could mistake the file for that of a dead server
        Connect(second).List();
        bool answered = wire.Socket.Poll(RunSettings.Milliseconds(Long * 5) * 1000, SelectMode.SelectRead);
        Assert.That(answered, "the upload is not answered");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(100), .. Notation.Bytes(100)]);
        wire.Expect("OK\n");
        Assert.That(Connect(second).Get("cat.png"), Is.EqualTo(Notation.Bytes(100)));
        Assert.That(Hidden(folder), Is.Empty);
        Say("P12", "a server starts between the making of another's temporary and its lock: the upload is stored");
    }
}
