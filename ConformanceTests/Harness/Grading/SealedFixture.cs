namespace ConformanceTests.Harness.Grading;

/// <summary>Tests of a server that has the suite's key, over TLS.</summary>
public abstract class SealedFixture : ServerFixture
{
    public static readonly KeyAndCertificate Ours = KeyAndCertificate.New();
    private static readonly Lazy<string> _keyFile =
        new(() => Ours.WriteTo(Path.Combine(TestFolders.New("key"), "pictures.key")));

    public static string KeyFile => _keyFile.Value;

    private static readonly ConcurrentBag<RunningServer> _idle = [];

    protected override ConcurrentBag<RunningServer> Idle => _idle;

    protected override RunningServer Launch() => new(key: KeyFile);

    /// <summary>Ends the servers that are shared, and removes their folders and the key file.</summary>
    public static void EndSealedServers()
    {
        End(_idle);
        if (_keyFile.IsValueCreated)
        {
            Directory.Delete(Path.GetDirectoryName(KeyFile)!, true);
        }
    }

    /// <summary>Connects, without the handshake.</summary>
    protected SealedConnection Dial(RunningServer? server = null, Delivery delivery = Delivery.Whole)
    {
        int piece = delivery switch { Delivery.ByteByByte => 1, Delivery.ThreeBytes => 3, _ => 0 };
        var socket = (server ?? Server).Connect().Socket;
        return Own(new SealedConnection(socket, Side.Client, new Tls(socket, Side.Client) { Piece = piece }, delivery));
    }

    /// <summary>Connects, and does the handshake.</summary>
    protected SealedConnection Enter(RunningServer? server = null, Delivery delivery = Delivery.Whole)
    {
        var wire = Dial(server, delivery);
        wire.Tls.AsClient(Ours);
        return wire;
    }

    protected void StillServes(RunningServer? server = null)
    {
        using var good = Enter(server);
        good.List();
    }

    /// <summary>Returns the resident bytes of the server's process, or 0 if the system does not tell.</summary>
    protected long Memory()
    {
        string statm = $"/proc/{Server.Program.Id}/statm";
        return File.Exists(statm) ? long.Parse(File.ReadAllText(statm).Split(' ')[1]) * 4096 : 0;
    }

    /// <summary>Reads until the end, and fails if a byte of the conversation comes.</summary>
    protected static void ExpectNothing(SealedConnection wire)
    {
        while (true)
        {
            var record = wire.Tls.NextRecord(out var error);
            if (error is SocketError.TimedOut or SocketError.WouldBlock)
            {
                throw new Violation("expected  the end of the connection\nreceived  nothing; it stays open");
            }

            if (error != SocketError.Success)
            {
                throw new Violation($"expected  the end of the connection\nreceived  {error}, which eats alerts");
            }

            if (record is not var (type, bytes))
            {
                return;
            }

            if (type == Tls.Data)
            {
                throw new Violation("expected  not one byte of the conversation\n"
                    + $"received  {Notation.Show(bytes)}");
            }
        }
    }

    /// <summary>Begins a handshake, and stops.</summary>
    /// <param name="step">Where: 0 before the first byte, 1 inside the hello, 2 after it, 3 inside the proof.</param>
    /// <param name="server">The server, or null for that of the test.</param>
    protected SealedConnection HalfMade(int step, RunningServer? server = null)
    {
        var wire = Dial(server);
        if (step == 0)
        {
            return wire;
        }

        if (step == 1)
        {
            wire.Tls.Write(Tls.HelloRecord().AsSpan(0, 50));
        }
        else
        {
            wire.Tls.SendHello();
        }

        if (step == 3)
        {
            wire.Tls.ReadServerMessages();
            byte[] certificate = wire.Tls.Proof(Ours).First();
            wire.Tls.Write(wire.Tls.Record(Tls.Handshake, certificate));
        }

        return wire;
    }
}
