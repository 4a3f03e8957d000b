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

    // A connection before its handshake.
    protected SealedConnection Dial(RunningServer? server = null, Delivery delivery = Delivery.Whole)
    {
        int piece = delivery switch { Delivery.ByteByByte => 1, Delivery.ThreeBytes => 3, _ => 0 };
        var socket = (server ?? Server).Connect().Socket;
        return Own(new SealedConnection(socket, Side.Client, new Tls(socket, Side.Client) { Piece = piece }, delivery));
    }

    // A connection whose handshake has succeeded.
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

    // Resident bytes of the server's process; 0 where the system does not tell.
    protected long Memory()
    {
        string statm = $"/proc/{Server.Program.Id}/statm";
        return File.Exists(statm) ? long.Parse(File.ReadAllText(statm).Split(' ')[1]) * 4096 : 0;
    }

    // Handshakes, alerts, then the end: and not one byte of the conversation.
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

    // ---- half of a handshake ----

    // The steps at which a client may stop: before its first byte, inside its hello, after it, inside its proof.
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
