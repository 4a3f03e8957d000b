using static ConformanceTests.Torture.TortureFixture;
using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>
/// Handshakes and records that are almost right, and clients that stop half way, while a client with the key is
/// served.
/// </summary>
[Torture]
public sealed class SealedFuzzing : SealedFixture
{
    private static readonly byte[] _picture = Notation.Bytes(2_000);

    private sealed class Target : FuzzingTarget
    {
        public Target(SealedFuzzing test)
            : base(test.NewFolder("log"),
                launcher => test.Start("--max-clients 2000", key: KeyFile, launcher: launcher))
        {
            Server.Has("cat.png", _picture);
            Repeat(300, () => AskWell(Ours));
            Measure();
            Worst = 0;
        }

        /// <summary>The longest that a correct client has waited, with its handshake, in milliseconds.</summary>
        public double Worst { get; private set; }

        public Tls Dial(out Socket socket) => new(socket = TortureFixture.Dial(Server.Port), Side.Client);

        public void AskWell(KeyAndCertificate me) => Worst = Math.Max(Worst, Milliseconds(() =>
        {
            var tls = Dial(out var socket);
            using var wire = new SealedConnection(socket, Side.Client, tls);
            tls.AsClient(me);
            if (!wire.Get("cat.png").AsSpan().SequenceEqual(_picture))
            {
                throw new Violation("GET brought other bytes than those of cat.png");
            }
        }));

        // Checks that the stored files are complete, removes them, and returns how many there were.
        public int Sweep()
        {
            var stored = Directory.GetFiles(Server.Folder, "up*.png");
            foreach (string path in stored)
            {
                Assert.That(File.ReadAllBytes(path).AsSpan().SequenceEqual(_picture), $"{path} is not what was sent");
                File.Delete(path);
            }

            return stored.Length;
        }

        public string AsBefore()
        {
            string figures = CheckAsBefore(["cat.png"], "   at ", "Unhandled", "internal");
            double rest = Processor(Server);            // .NET may still be compiling, so this looks several times
            for (int looks = 3; rest >= 5 && looks > 0; looks--)
            {
                rest = Processor(Server);
            }

            MustBeBelow(5, rest, "% of a processor with nothing to do");
            return $"a correct client waits {Worst:0} ms at worst; {figures}, {rest:0.0} % CPU";
        }
    }

    // ---- handshakes and records that are almost right ----

    // What is wrong with an otherwise correct client.
    private enum Spoilt { Hello, Proof, Records, Kinds }

    [Test, Clause("SEAL-4", "SEAL-6", "P11")]
    public void Server_survives_changed_handshakes_and_records()
    {
        var target = new Target(this);
        byte[] recorded;
        using (var good = Enter(target.Server))
        {
            good.Put("up.png", _picture);
            recorded = good.Tls.Sent.ToArray();
        }

        target.Sweep();
        int inputs = Times(20_000);
        int judged = 0;
        int stored = 0;
        int[] counts = new int[4];
        var clock = Stopwatch.StartNew();
        var identities = Enumerable.Range(0, 4).Select(_ => KeyAndCertificate.Copy(Ours)).ToArray();
        for (int first = 0; first < inputs; first += 1000)
        {
            var silent = new ConcurrentBag<Socket>();
            Together(4, thread =>
            {
                for (int i = first + thread; i < Math.Min(first + 1000, inputs); i += 4)
                {
                    var random = new Random(Mixed(i, 7));
                    var how = (Spoilt)(random.Next(10) switch { < 4 => 0, < 7 => 1, < 9 => 2, _ => 3 });
                    try
                    {
                        if (Try(target, identities[thread], recorded, how, random, i, silent))
                        {
                            Interlocked.Increment(ref judged);
                        }
                    }
                    catch (Violation e)
                    {
                        throw new Violation($"input {i}, {how}: {e.Message}");
                    }

                    Interlocked.Increment(ref counts[(int)how]);
                }
            });
            target.AskWell(Ours);
            DisposeAll(silent);

            stored += target.Sweep();
            if (first == 0)
            {
                target.MeasureMemory();
            }
        }

        double seconds = clock.Elapsed.TotalSeconds;
        Eventually(() => Hidden(target.Server.Folder).Length == 0, "temporary files were not removed");
        stored += target.Sweep();
        Say("P11 SEAL", $"{inputs:N0} spoilt on the way in {seconds:0} s "
            + $"({counts[0]:N0} hellos, {counts[1]:N0} proofs, {counts[2]:N0} uploads, "
            + $"{counts[3]:N0} kinds of record), {judged:N0} ends judged, {stored:N0} uploads complete nevertheless; "
            + target.AsBefore());
    }

    // Returns true if the answer was checked.
    private static bool Try(Target target, KeyAndCertificate me, byte[] recorded, Spoilt how, Random random, int number,
        ConcurrentBag<Socket> silent)
    {
        var tls = target.Dial(out var socket);
        bool mayAnswer = how is Spoilt.Records or Spoilt.Kinds;
        try
        {
            switch (how)
            {
                case Spoilt.Hello:
                    tls.Write(Mutated(random.Next(3) == 0 ? recorded : Tls.HelloRecord(), random));
                    break;
                case Spoilt.Proof:
                    tls.ExchangeHellos();
                    byte[][] proof = [.. tls.Proof(me)];
                    int spoilt = random.Next(proof.Length);
                    byte[] before = proof[spoilt];
                    proof[spoilt] = Mutated(before, random);
                    if (proof[spoilt].AsSpan().SequenceEqual(before))
                    {
                        proof[spoilt] = [];
                    }

                    foreach (byte[] message in proof)
                    {
                        tls.Write(tls.Record(Tls.Handshake, Cut(message)));
                    }

                    break;
                case Spoilt.Records:
                    tls.AsClient(me);
                    byte[] request = tls.Record(Tls.Data, Encoding.ASCII.GetBytes($"PUT|up{number}.png\n"));
                    byte[] block = tls.Record(Tls.Data, [.. Notation.U64((ulong)_picture.Length), .. _picture]);
                    tls.Write(Mutated([.. request, .. block], random));
                    break;
                default:
                    tls.AsClient(me);
                    for (int records = random.Next(1, 5); records > 0; records--)
                    {
                        var bytes = new byte[random.Next(1 << random.Next(1, 13))];
                        random.NextBytes(bytes);
                        byte type = (byte)(random.Next(3) == 0 ? random.Next(256) : random.Next(20, 25));
                        if (type == Tls.Data)
                        {
                            bytes = "LIST\n"u8.ToArray();
                        }

                        tls.Write(tls.Record(type, bytes));
                    }
                    break;
            }
        }
        catch (SocketException) { }             // the server has closed it, as it should

        switch (random.Next(3))
        {
            case 0:
                silent.Add(socket);
                return false;
            case 1:
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
                return false;
        }

        using (socket)
        {
            try
            {
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (SocketException)
            {
                return false;
            }

            if (how == Spoilt.Hello)
            {
                JudgeRaw(socket);
            }
            else
            {
                Judge(tls, mayAnswer);
            }
        }

        return true;
    }

    private static byte[] Cut(byte[] bytes) => bytes[..Math.Min(bytes.Length, 1 << 14)];

    // Bytes changed, removed, inserted, or repeated.
    private static byte[] Mutated(byte[] bytes, Random random)
    {
        for (int times = random.Next(1, 4); times > 0; times--)
        {
            int at = random.Next(bytes.Length + 1);
            int end = Math.Min(at + random.Next(1, 40), bytes.Length);
            var raw = new byte[random.Next(1, 1 << random.Next(1, 9))];
            random.NextBytes(raw);
            bytes = random.Next(6) switch
            {
                0 => [.. bytes[..at], .. bytes[end..]],
                1 => [.. bytes[..end], .. bytes[at..]],
                2 => [.. bytes[..at], .. raw, .. bytes[at..]],
                3 => bytes[..at],
                4 => [.. bytes[..at], .. bytes[at..end].Select(value => (byte)(value ^ (1 << random.Next(8)))),
                    .. bytes[end..]],
                _ => [.. bytes[..at], .. bytes[at..end].Select(_ => (byte)random.Next(256)), .. bytes[end..]],
            };
        }

        return bytes;
    }

    private static void Judge(Tls tls, bool mayAnswer)
    {
        while (tls.NextRecord(out var error) is var (type, bytes))
        {
            bool isAnswer = type == Tls.Data;
            if (isAnswer && !mayAnswer)
            {
                throw new Violation($"an answer: {Notation.Show(bytes)}");
            }

            if (error != SocketError.Success)
            {
                return;
            }
        }
    }

    // Expects records of TLS, or nothing, and the end: a FIN, or a reset if the server left bytes unread.
    private static void JudgeRaw(Socket socket)
    {
        var bytes = new byte[1 << 14];
        int count = 0;
        while (true)
        {
            int received = socket.Receive(bytes, count, bytes.Length - count, SocketFlags.None, out var error);
            if (error is SocketError.TimedOut or SocketError.WouldBlock)
            {
                throw new Violation("the server does not end the connection");
            }

            if (received == 0 || error != SocketError.Success)
            {
                break;
            }

            count += received;
        }

        for (int at = 0; at + 5 <= count; at += 5 + (bytes[at + 3] << 8 | bytes[at + 4]))
        {
            if (bytes[at] is < 20 or > 23)
            {
                throw new Violation($"not a record of TLS: {Notation.Show(bytes.AsSpan(0, count))}");
            }
        }
    }

    // ---- handshakes that stop half way ----

    [Test, Clause("SEAL-4", "P6", "P7", "P8")]
    public void Server_ends_five_hundred_handshakes_that_stop_half_way()
    {
        var target = new Target(this);
        int count = Times(500);
        var random = new Random(RunSettings.Current.Seed);
        byte[] hello = Tls.HelloRecord();
        var half = new List<(Socket Socket, Stopwatch Since)>();
        for (int i = 0; i < count; i++)
        {
            var tls = target.Dial(out var socket);
            Own(socket);
            half.Add((socket, Stopwatch.StartNew()));
            if (i % 2 == 0)
            {
                tls.Write(hello.AsSpan(0, random.Next(hello.Length + 1)));
            }
            else
            {
                tls.ExchangeHellos();
                byte[] proof = [.. tls.Proof(Ours).SelectMany(message => tls.Record(Tls.Handshake, message))];
                tls.Write(proof.AsSpan(0, random.Next(proof.Length)));
            }
        }

        long most = 0;
        var took = new List<double>();
        for (var clock = Stopwatch.StartNew(); half.Count > 0; Thread.Sleep(20))
        {
            target.AskWell(Ours);
            most = Math.Max(most, Resident(target.Server));
            if (clock.ElapsedMilliseconds > RunSettings.Milliseconds(30_000))
            {
                Assert.Fail($"the server has not ended {half.Count} handshakes");
            }

            foreach (var one in half.ToArray())
            {
                if (one.Socket.Poll(0, SelectMode.SelectRead) && HasEnded(one.Socket))
                {
                    took.Add(one.Since.Elapsed.TotalSeconds);
                    one.Socket.Dispose();
                    half.Remove(one);
                }
            }
        }

        double late = RunSettings.Milliseconds(3_000) / 1000.0;
        Assert.That(took, Is.All.InRange(9.5, 10 + late));
        Assert.That(most, Is.LessThan(100 << 20), "resident bytes");
        Say("P8 SEAL", $"{count} that stop inside a handshake are ended after {took.Min():0.0} to {took.Max():0.0} s, "
            + $"{Mebi(most)} MiB at most; {target.AsBefore()}");
    }

    // Receives what is there, such as hellos and alerts. Returns true at the end of the connection.
    private static bool HasEnded(Socket socket)
    {
        var some = new byte[4096];
        int received = socket.Receive(some, 0, some.Length, SocketFlags.None, out var error);
        return received == 0 || error != SocketError.Success;
    }

    // ---- clients without the key ----

    [Test, Clause("SEAL-2", "SEAL-4", "P6")]
    public void Server_answers_clients_with_the_key_while_others_try_to_get_in()
    {
        var target = new Target(this);
        var stranger = KeyAndCertificate.New();
        int knocks = 0;
        bool enough = false;
        var knocking = Task.Run(() => Together(3, _ =>
        {
            var me = new KeyAndCertificate(Ours.Certificate, KeyAndCertificate.Copy(stranger).Key);
            while (!Volatile.Read(ref enough))
            {
                var tls = target.Dial(out var socket);
                using (socket)
                {
                    tls.ExchangeHellos();
                    tls.SendProof(me);
                    socket.Shutdown(SocketShutdown.Send);
                    Judge(tls, mayAnswer: false);
                }

                Interlocked.Increment(ref knocks);
            }
        }));
        using var inside = Enter(target.Server);
        var clock = Stopwatch.StartNew();
        var waits = new List<double>();
        while (clock.ElapsedMilliseconds < Math.Max(1000, Times(5000)) && !knocking.IsCompleted)
        {
            waits.Add(Milliseconds(() => inside.Get("cat.png")));
            target.AskWell(Ours);
        }

        double rate = knocks / clock.Elapsed.TotalSeconds;
        Volatile.Write(ref enough, true);
        Assert.That(knocking.Wait(60_000), "the strangers hang");
        waits.Sort();
        double p99 = waits[waits.Count * 99 / 100];
        MustBeBelow(RunSettings.Milliseconds(500), p99, "a GET's p99 in ms");
        inside.Dispose();
        Say("P6 SEAL", $"{rate:N0} strangers a second: GET inside takes {waits[waits.Count / 2]:0.0} ms, "
            + $"p99 {p99:0.0} ms; {target.AsBefore()}");
    }
}
