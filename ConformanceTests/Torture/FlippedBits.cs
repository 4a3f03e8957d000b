using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>A network that flips bits.</summary>
[Torture]
public sealed class FlippedBits : TortureFixture
{
    [Test]
    public void Server_and_client_store_no_file_with_a_flipped_bit()
    {
        var server = Start("--max-clients 1000");
        var picture = Notation.Bytes(20_000);
        server.Has("cat.png", picture);
        int runs = Times(160);
        int flipped = 0;
        int failed = 0;
        Together(4, thread =>
        {
            for (int i = thread; i < runs; i += 4)
            {
                var random = new Random(Mixed(i, 1));
                bool puts = i / 4 % 2 == 0;
                bool up = i / 8 % 2 == 0;
                int traffic = puts == up ? picture.Length + 43 : puts ? 6 : 26;
                int at = random.Next(random.Next(2) == 0 ? Math.Min(traffic, 64) : traffic);
                string folder = NewFolder("client");
                string name = puts ? $"{i}.png" : "cat.png";
                string path = Path.Combine(folder, name);
                string verb = puts ? "PUT" : "GET";
                if (puts)
                {
                    File.WriteAllBytes(path, picture);
                }

                using var proxy = new Flipper(server.Port, up, at, random.Next(8));
                using var client = TranscriptPlayer.StartClient(folder, proxy.Port, verb, name);
                int exit = client.WaitForExit(RunSettings.Milliseconds(90_000));
                string what = $"{verb}, byte {at} {(up ? "up" : "down")} is wrong, exit {exit}\n{client.Said()}";
                foreach (string file in Visible(puts ? server.Folder : folder))
                {
                    Assert.That(File.ReadAllBytes(file).AsSpan().SequenceEqual(picture), $"{file}: {what}");
                }

                bool misnamed = puts && up && at < $"PUT|{name}".Length;    // the digest does not cover the name
                if (exit == 0 && !misnamed)
                {
                    Assert.That(File.Exists(puts ? server.PathOf(name) : path), what);
                }

                if (proxy.HasFlipped)
                {
                    Interlocked.Increment(ref flipped);
                }

                if (exit != 0)
                {
                    Interlocked.Increment(ref failed);
                }
            }
        });
        Assert.That(flipped, Is.GreaterThan(runs * 3 / 4));
        Say("P4", $"{runs} clients, {flipped} with a flipped bit: "
            + $"{failed} say so, {runs - failed} exit with 0, no wrong file");
    }

    // A proxy that flips one bit. It closes the connections if client and server wait for each other.
    private sealed class Flipper : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        public volatile bool HasFlipped;

        public Flipper(int port, bool up, int at, int bit)
        {
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _listener.Listen(8);
            Task.Run(() =>
            {
                while (true)
                {
                    Socket client = _listener.Accept();
                    Socket server = Dial(port);     // Dispose ends this loop
                    Task.Run(() => Pump(client, server, up));
                    Task.Run(() => Pump(server, client, !up));
                }
            });

            void Pump(Socket from, Socket to, bool flips)
            {
                var buffer = new byte[1 << 16];
                try
                {
                    while (from.Poll(RunSettings.Milliseconds(1_500) * 1000, SelectMode.SelectRead))
                    {
                        int count = from.Receive(buffer);
                        if (count == 0)
                        {
                            to.Shutdown(SocketShutdown.Send);
                            return;
                        }

                        if (flips)
                        {
                            if (at >= 0 && at < count)
                            {
                                buffer[at] ^= (byte)(1 << bit);
                                HasFlipped = true;
                            }

                            at -= count;
                        }

                        to.Send(buffer.AsSpan(0, count));
                    }
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException) { }

                from.Dispose();
                to.Dispose();
            }
        }

        public int Port => ((IPEndPoint)_listener.LocalEndPoint!).Port;

        public void Dispose() => _listener.Dispose();
    }
}
