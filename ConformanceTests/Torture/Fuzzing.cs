using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Conversations that are cut, changed or random.</summary>
[Torture]
public sealed class Fuzzing : TortureFixture
{
    // What the client of a transcript sends, piece by piece, and the files in the server's folder before.
    private static readonly (byte[][] Pieces, byte[] Bytes, FileState[] Before)[] _conversations = [..
        from transcript in ProtocolSpecification.Transcripts
        where !transcript.ClientOnly
        let said = transcript.Steps.OfType<SendStep>().Where(says => says.Side == Side.Client)
            .Select(says => says.Pieces.OfType<KnownBytes>().SelectMany(piece => piece.Value).ToArray()).ToArray()
        let before = transcript.Before.Where(file => file.Side == Side.Server).ToArray()
        select (said, said.SelectMany(bytes => bytes).ToArray(), before)];

    private sealed class Target : FuzzingTarget
    {
        private readonly HashSet<string> _belongs;

        public Target(Fuzzing test, string? folder = null)
            : base(test.NewFolder("log"), launcher => test.Start("--max-clients 1000", folder, launcher: launcher))
        {
            _belongs = [.. Directory.GetFileSystemEntries(Server.Folder)];
            for (int i = 0; i < 2000; i++)
            {
                Exchange(_conversations[i % _conversations.Length].Bytes);
            }

            Recover([]);
            Measure();
        }

        // Checks that a correct client is answered, and gives the folder its old content and these files.
        public void Recover(FileState[] files)
        {
            using var wire = Server.Connect();
            var listed = wire.List().Select(line => line.Split('|')[0]);
            Assert.That(listed.Intersect(HostileFolder.Names), Is.Empty, "files that are not pictures are listed");
            foreach (string path in Directory.GetFiles(Server.Folder))
            {
                if (!_belongs.Contains(path) && Path.GetFileName(path)[0] != '.')
                {
                    File.Delete(path);
                }
            }

            foreach (var file in files)
            {
                Server.Has(file.Name, file.Content!);
            }
        }

        public string AsBefore()
        {
            Recover([]);
            var names = _belongs.Select(path => Path.GetFileName(path));
            return CheckAsBefore(names, "Exception", "   at ", "Unhandled", "internal");
        }

        // Sends the bytes and a FIN, and checks what the server sends until the end.
        public void Exchange(ReadOnlySpan<byte> bytes)
        {
            using var socket = Dial(Server.Port);
            var answer = new byte[1 << 14];
            int count = 0;
            string? wrong = null;
            try
            {
                socket.Send(bytes);
                socket.Shutdown(SocketShutdown.Send);
                int Kept() => Math.Min(count, answer.Length - 1024);

                while (socket.Receive(answer.AsSpan(Kept())) is > 0 and var received)
                {
                    count += received;
                }

                wrong = Judged(answer.AsSpan(0, Kept()), bytes.Length > 0);
            }
            catch (SocketException e)
            {
                wrong = $"{e.SocketErrorCode} after {count} bytes";
            }

            if (wrong is null)
            {
                return;
            }

            throw new Violation(
                $"expected  an answer and the end\nreceived  {wrong}\nsent      {Notation.Show(bytes, 2000)}");
        }

        private static readonly string[] _closing = ["bad-request", "too-large"];
        private static readonly string[] _goingOn =
            ["unsupported", "bad-name", "bad-type", "not-found", "exists", "bad-offset", "empty", "corrupt", "storage"];

        // Checks the errors up to the first OK, after which a block may come. Nothing may follow an error that closes.
        // Returns null if the answer is correct.
        private static string? Judged(ReadOnlySpan<byte> answer, bool expected)
        {
            if (expected && answer.Length == 0)
            {
                return "no answer";
            }

            for (var rest = answer; rest.Length > 0 && !rest.StartsWith("OK\n"u8) && !rest.StartsWith("OK|"u8);)
            {
                int end = rest.IndexOf((byte)'\n');
                if (end < 0 && answer.Length > 14_000)
                {
                    return null;
                }

                string line = Encoding.UTF8.GetString(rest[..Math.Max(end, 0)]);
                rest = rest[(end + 1)..];
                string code = line.Split('|', 3) is ["ER", var middle, _] ? middle : "";
                bool fits = _goingOn.Contains(code) || _closing.Contains(code) && rest.Length == 0;
                if (!fits || line.Any(char.IsControl))
                {
                    return Notation.Show(answer, 500);
                }
            }

            return null;
        }

        // Sends the bytes. Then it resets the connection, or adds it to those that stay open without another byte.
        public void Leave(byte[] bytes, bool resets, ConcurrentBag<Socket> silent)
        {
            var socket = Dial(Server.Port);
            socket.Send(bytes, 0, bytes.Length, SocketFlags.None, out _);
            socket.Poll(1000, SelectMode.SelectError);          // the server has a millisecond to read them
            socket.LingerState = new LingerOption(resets, 0);
            if (resets)
            {
                socket.Dispose();
            }
            else
            {
                silent.Add(socket);
            }
        }
    }

    [Test]
    public void Server_survives_every_conversation_cut_at_every_byte()
    {
        var target = new Target(this);
        var silent = new ConcurrentBag<Socket>();
        int cuts = 0;
        foreach (var (_, bytes, before) in _conversations)
        {
            for (int length = 0; length <= bytes.Length; length++)
            {
                for (int how = 0; how < 3; how++, cuts++)
                {
                    target.Recover(before);
                    if (how == 0)
                    {
                        target.Exchange(bytes.AsSpan(0, length));
                    }
                    else
                    {
                        target.Leave(bytes[..length], how == 1, silent);
                    }
                }
            }

            DisposeAll(silent);
        }

        Say("P10 P11", $"{_conversations.Length} transcripts cut at every byte by FIN, reset or silence, "
            + $"{cuts:N0} connections; {target.AsBefore()}");
    }

    [Test]
    public void Server_survives_every_other_value_of_every_byte_of_every_header()
    {
        var target = new Target(this);
        var headers = new HashSet<string>();
        int connections = 0;
        foreach (var (pieces, bytes, before) in _conversations)
        {
            for (int i = 0, start = 0; i < pieces.Length; start += pieces[i++].Length)
            {
                bool isHeader = pieces[i] is [.., 10] or { Length: 8 };
                if (!isHeader || !headers.Add(Encoding.Latin1.GetString(pieces[i])))
                {
                    continue;
                }

                for (int at = start; at < start + pieces[i].Length; at++)
                {
                    target.Recover(before);
                    Together(4, thread =>
                    {
                        for (int value = thread; value < 256; value += 4)
                        {
                            byte[] changed = [.. bytes[..at], (byte)value, .. bytes[(at + 1)..]];
                            if (value == bytes[at] || new Random(Mixed(at, value)).NextDouble() >= Rounds)
                            {
                                continue;
                            }

                            target.Exchange(changed);
                            Interlocked.Increment(ref connections);
                        }
                    });
                }
            }
        }

        Say("P10 P11", $"{headers.Count} requests and lengths, each byte replaced by all others, "
            + $"{connections:N0} connections; {target.AsBefore()}");
    }

    [Test]
    public void Server_survives_random_bytes_in_a_hostile_folder()
    {
        string folder = NewFolder();
        string outside = NewFolder();
        HostileFolder.Fill(folder, outside);
        // The server would remove this file, since it looks like that of a dead server.
        File.Delete(Path.Combine(folder, ".imagetransfer-0123456789abcdef.up"));
        var target = new Target(this, folder);
        string[] look = HostileFolder.Look(folder, outside);
        string[] requests =
        [
            .. HostileFolder.Names.Select(name => $"GET|{name}\nPUT|{name}\n"),
            "GET|../outside.png\nPUT|folder.png/inside.png\n",
            "GET|fine.png|digest=sha256|offset=3\nGET|.hidden.png\n",
            "GET|link-folder.png/outside.png\nLIST\nSTATUS\n",
        ];
        byte[][] valid =
        [
            .. _conversations.Select(conversation => conversation.Bytes),
            .. requests.Select(Encoding.UTF8.GetBytes),
        ];
        int inputs = Times(20_000);
        int judged = 0;
        for (int first = 0; first < inputs; first += 1000)
        {
            var silent = new ConcurrentBag<Socket>();
            Together(4, thread =>
            {
                for (int i = first + thread; i < Math.Min(first + 1000, inputs); i += 4)
                {
                    var random = new Random(Mixed(i, 0));
                    byte[] input = Mutated(valid, random);
                    if (random.Next(4) < 2)
                    {
                        target.Leave(input, random.Next(2) == 0, silent);
                    }
                    else
                    {
                        target.Exchange(input);
                        Interlocked.Increment(ref judged);
                    }
                }
            });
            target.Recover([]);
            DisposeAll(silent);
        }

        string after = target.AsBefore();
        Assert.That(HostileFolder.Look(folder, outside), Is.EqualTo(look));
        Assert.That(File.ReadAllBytes(Path.Combine(outside, "outside.png")), Is.EqualTo(Notation.Bytes(9)));
        Say("P10 P11", $"{inputs:N0} random inputs, {judged:N0} answers judged, "
            + $"a folder of links and pipes stays as it is; {after}");
    }

    private static byte[] Mutated(byte[][] valid, Random random)
    {
        byte[] bytes = valid[random.Next(valid.Length)];
        for (int times = random.Next(1, 5); times > 0; times--)
        {
            int at = random.Next(bytes.Length + 1);
            int end = random.Next(at, bytes.Length + 1);
            byte[] other = valid[random.Next(valid.Length)];
            byte[] raw = new byte[random.Next(1 << random.Next(13))];
            random.NextBytes(raw);
            byte[] After(int count) => bytes[Math.Min(at + count, bytes.Length)..];

            bytes = random.Next(6) switch
            {
                0 => [.. bytes[..at], .. bytes[end..]],                                       // a part is left out
                1 => [.. bytes[..end], .. bytes[at..]],                                       // a part comes twice
                2 => [.. bytes[..at], .. other[random.Next(other.Length)..]],                  // the end of another one
                3 => [.. bytes[..at], (byte)random.Next(256), .. After(1)],
                4 => [.. bytes[..at], .. Notation.U64((1UL << random.Next(64)) - 1), .. After(8)],
                _ => [.. bytes[..at], .. raw, .. bytes[at..]],
            };
        }

        return bytes;
    }
}
