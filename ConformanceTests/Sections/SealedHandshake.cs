using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Sections;

/// <summary>SEAL: which clients a server accepts, and which it does not.</summary>
public sealed class SealedHandshake : SealedFixture
{
    // ---- which clients are accepted ----

    private static readonly KeyAndCertificate _stranger = KeyAndCertificate.New("CN=another");

    private static readonly (string Name, Func<KeyAndCertificate?> Shown)[] _strangers =
    [
        ("no certificate", () => null),
        ("another key", () => _stranger),
        ("another key under the same subject", () => KeyAndCertificate.New()),
        ("the certificate without its key", () => new KeyAndCertificate(Ours.Certificate, _stranger.Key)),
        ("a certificate of the public key, made without its key", () => new KeyAndCertificate(Forged(), _stranger.Key)),
    ];

    // Returns a certificate of our public key that was made with another key.
    private static byte[] Forged()
    {
        var name = new X500DistinguishedName("CN=imagetransfer");
        var request = new CertificateRequest(name, PublicKey.CreateFromSubjectPublicKeyInfo(Ours.PublicKey, out _),
            HashAlgorithmName.SHA256);
        using var certificate = request.Create(name, X509SignatureGenerator.CreateForECDsa(_stranger.Key),
            DateTimeOffset.UnixEpoch, DateTimeOffset.UtcNow.AddYears(1), [1]);
        return certificate.RawData;
    }

    private static IEnumerable<string> Strangers() => _strangers.Select(row => row.Name);

    [TestCaseSource(nameof(Strangers)), Clause("SEAL-2", "SEAL-4")]
    public void Server_rejects_a_client_with(string who)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        for (int round = 0; round < 3; round++)
        {
            var wire = Dial();
            wire.Tls.ExchangeHellos();
            wire.Tls.SendProof(_strangers.Single(row => row.Name == who).Shown());
            wire.Send("LIST\nGET|cat.png\nPUT|dog.png\n");
            ExpectNothing(wire);
        }

        Server.MustLack("dog.png");
        StillServes();
    }

    [Test, Clause("SEAL-2")]
    public void Server_presents_its_certificate_and_proves_that_it_has_the_key()
    {
        using var shown = X509CertificateLoader.LoadCertificate(Enter().Tls.PeersCertificate);
        Same(Ours.PublicKey, shown.PublicKey.ExportSubjectPublicKeyInfo(), "the public key that it shows");
    }

    [Test, Clause("SEAL-3")]
    public void Server_rejects_an_older_TLS()
    {
        var wire = Dial();
        using var tls = new SslStream(new NetworkStream(wire.Socket), true, (_, _, _, _) => true);
        using var mine = X509Certificate2.CreateFromPem(Ours.Pem, Ours.Pem);
#pragma warning disable SYSLIB0039, CA5397              // the test needs an old version
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "",
            ClientCertificates = [mine],
            EnabledSslProtocols = SslProtocols.Tls12,
        };
#pragma warning restore
        Assert.That(() => tls.AuthenticateAsClient(options),
            Throws.InstanceOf<AuthenticationException>().Or.InstanceOf<IOException>());
        StillServes();
    }

    [Test, Clause("SEAL-3")]
    public void Server_ends_the_connection_at_a_second_ClientHello([Values("in the clear", "sealed")] string how)
    {
        for (int round = 0; round < 3; round++)
        {
            var wire = Enter();
            wire.List();
            byte[] hello = Tls.HelloRecord();
            byte[] record = how == "sealed" ? wire.Tls.Record(Tls.Handshake, hello.AsSpan(5)) : hello;

            // In one piece: a LIST that arrives after the server has closed would be answered with a reset.
            wire.Tls.Write([.. record, .. wire.Tls.Record(Tls.Data, "LIST\n"u8)]);
            ExpectNothing(wire);
        }

        StillServes();
    }

    [Test, Clause("SEAL-2", "SEAL-4")]
    public void Server_rejects_a_replayed_handshake()
    {
        var good = Enter();
        good.Put("cat.png", Notation.Bytes(20));
        byte[] recorded = good.Tls.Sent.ToArray();
        good.Dispose();
        Server.Empty();
        for (int round = 0; round < 3; round++)
        {
            var again = Dial();
            again.Tls.Write(recorded);
            byte[] answer = Raw(again);
            Demand(answer is [] or [Tls.Handshake or Tls.Alert, ..], "a record of TLS, or nothing",
                Notation.Show(answer));
            Same([], Directory.GetFileSystemEntries(Server.Folder), "what is in the server's folder");
        }

        StillServes();
    }

    // Receives all bytes until the end, and does not decrypt them.
    private static byte[] Raw(SealedConnection wire)
    {
        var all = new MemoryStream();
        var some = new byte[4096];
        while (true)
        {
            int count = wire.Socket.Receive(some, 0, some.Length, SocketFlags.None, out var error);
            if (error is SocketError.TimedOut or SocketError.WouldBlock)
            {
                throw new Violation("expected  the end of the connection\nreceived  nothing; it stays open");
            }

            if (error != SocketError.Success)
            {
                throw new Violation($"expected  the end of the connection\nreceived  {error}, after "
                    + Notation.Show(all.ToArray()));
            }

            if (count == 0)
            {
                return all.ToArray();
            }

            all.Write(some, 0, count);
        }
    }

    // ---- clients without TLS ----

    private static readonly string[] _plain =
    [
        "LIST\n", "GET|cat.png|digest=sha256\n", "PUT|dog.png\n", "STATUS\n", "LIST\nLIST\nLIST\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\0\0\0\0\0\0\0", "\u0015\u0003\u0003\0\u0002\u0002\n",
    ];

    [TestCaseSource(nameof(_plain)), Clause("SEAL-5")]
    public void Server_answers_plain_text_with_the_alert_and_nothing_else(string said)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Dial();
        wire.Tls.Write(Encoding.Latin1.GetBytes(said));
        Same(Convert.FromHexString("1503030002020A"), Raw(wire), "the alert");
        Server.MustLack("dog.png");
        StillServes();
    }

    [Test, Clause("SEAL-5", "CLOSE-1")]
    public void Server_sends_the_alert_so_that_it_arrives_after_100_kB_of_plain_text()
    {
        for (int i = 0; i < 20; i++)
        {
            var wire = Dial();
            wire.Tls.Write([.. "PUT|dog.png\n"u8, .. Notation.U64(100_000), .. Notation.Bytes(100_000)]);
            Same(Convert.FromHexString("1503030002020A"), Raw(wire), "the alert");
        }

        StillServes();
    }

    [Test, Clause("SEAL-4", "P6")]
    public void Server_serves_others_beside_ninety_unfinished_handshakes()
    {
        StillServes();
        var half = Enumerable.Range(0, 90).Select(i => HalfMade(i % 4)).ToArray();
        var clock = Stopwatch.StartNew();
        Repeat(10, () => StillServes());
        var wire = Enter();
        wire.Put("cat.png", Notation.Bytes(100_000));
        Counts(100_000, wire.Get("cat.png").Length, "bytes in what GET of cat.png brought");
        Demand(clock.ElapsedMilliseconds < RunSettings.Milliseconds(8_000),
            "answers that do not wait for half-made handshakes", $"answers after {clock.Elapsed.TotalSeconds:0.0} s");
        foreach (var one in half)
        {
            one.Dispose();
        }

        wire.List();
    }

    [Test, Clause("SEAL-4", "P11")]
    public void Server_survives_a_handshake_cut_at_any_byte()
    {
        byte[] hello = Tls.HelloRecord();
        for (int cut = 0; cut <= hello.Length; cut += 3)
        {
            var wire = Dial();
            wire.Tls.Write(hello.AsSpan(0, cut));
            if (cut % 2 == 0)
            {
                wire.Reset();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                Raw(wire);
            }
        }

        for (int cut = 1, length = 2; cut < length; cut += 23)
        {
            var wire = Dial();
            wire.Tls.ExchangeHellos();
            byte[] proof = [.. wire.Tls.Proof(Ours).SelectMany(message => wire.Tls.Record(Tls.Handshake, message))];
            length = proof.Length;
            wire.Tls.Write(proof.AsSpan(0, cut));
            if (cut % 2 == 0)
            {
                wire.Reset();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                ExpectNothing(wire);
            }
        }

        StillServes();
    }

    [Test, Clause("SEAL-2", "SEAL-4")]
    public void Server_rejects_a_proof_with_a_flipped_bit()
    {
        for (int message = 0; message < 3; message++)
        {
            foreach (int at in (int[])[0, 2, 4, 9, 30, -1])
            {
                var wire = Dial();
                wire.Tls.ExchangeHellos();
                var proof = wire.Tls.Proof(Ours).ToArray();
                proof[message][at < 0 ? ^1 : at] ^= 1;          // before it is encrypted, so the record is valid
                foreach (byte[] each in proof)
                {
                    wire.Tls.Write(wire.Tls.Record(Tls.Handshake, each));
                }

                wire.Socket.Shutdown(SocketShutdown.Send);
                ExpectNothing(wire);
            }
        }

        StillServes();
    }

    // The client sends more bytes than a handshake may have (§9.1), in the same piece as its Finished.
    [Test, Clause("SEAL-9", "SEAL-4")]
    public void Server_does_not_count_data_after_Finished_as_a_part_of_the_handshake([Values(1, 2, 12)] int times)
    {
        var picture = Notation.Bytes(Limits.HandshakeBytes * times);
        byte[] upload = [.. "PUT|cat.png\n"u8, .. Notation.U64((ulong)picture.Length), .. picture, .. "LIST\n"u8];
        var wire = Dial();
        wire.Tls.ExchangeHellos();
        wire.Tls.SendProofWithData(Ours, upload);
        wire.Expect("OK\nOK\nOK\n");
        wire.ReceiveBlock();
        Same(picture, Server.Stored("cat.png"), "cat.png as it was stored");
    }

    // ---- handshakes and the limit of clients ----

    [Test, Clause("SEAL-4", "P9")]
    public void Server_sends_busy_inside_TLS_and_only_to_clients_with_the_key()
    {
        var server = Start(with: "max-clients=2", key: KeyFile);
        SealedConnection[] running = [Enter(server), Enter(server)];
        ExpectServed(running);
        for (int i = 0; i < 5; i++)
        {
            var outside = Dial(server);
            outside.Tls.ExchangeHellos();
            outside.Tls.SendProof(_stranger);
            ExpectNothing(outside);
            var inside = Enter(server);
            inside.Send("LIST\nLIST\n");
            inside.ExpectError("busy", closes: true);
            inside.Dispose();
        }

        ExpectServed(running);
        running[0].Dispose();
        Eventually(() =>
        {
            using var wire = Enter(server);
            wire.Send("LIST\n");
            return wire.ReceiveLine() == "OK";
        }, "no place becomes free");
    }

    // ---- memory ----

    [Test, Clause("SEAL-7", "P7")]
    public void Server_needs_little_memory_for_ninety_sealed_clients()
    {
        Server.Has("big.png", Notation.Bytes(16 << 20));
        StillServes();
        long before = Memory();
        var wires = Enumerable.Range(0, 90).Select(_ => Enter()).ToArray();
        ExpectServed(wires);
        foreach (var wire in wires.Take(30))
        {
            wire.Send("GET|big.png\nGET|big.png\n");
        }

        foreach (var wire in wires.Take(30))
        {
            wire.Expect("OK\n");
        }

        foreach (var wire in wires.Skip(30).Take(30))
        {
            wire.BeginPut($"{Array.IndexOf(wires, wire)}.png", 1 << 20, Notation.Bytes(100_000));
        }

        wires[^1].List();
        Skip.If(before == 0, "needs Linux, which tells how much memory a process has");

        if (RunSettings.Current.IsReference)
        {
            UsesLittleMemory(Memory(), 100 << 20, "a server with these connections");
        }
        else
        {
            UsesLittleMemory(Memory() - before, 40 << 20, "what these connections need");
        }
    }
}
