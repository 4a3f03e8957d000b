using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Sections;

/// <summary>SEAL: a client, with the suite as its server, an honest one or not.</summary>
public sealed class SealedClients : ClientFixture
{
    private static readonly KeyAndCertificate _ours = SealedFixture.Ours;
    private static readonly KeyAndCertificate _stranger = KeyAndCertificate.New();

    private ChildProgram Start(string command, string? file = null, string? key = null) =>
        Own(TranscriptPlayer.StartClient(Folder, Port, command, file, key: key ?? SealedFixture.KeyFile));

    // Accepts the client's connection, before its handshake.
    private SealedConnection Answer()
    {
        var socket = Own(TranscriptPlayer.Accept(Listener, Delivery.Whole, Scope)).Socket;
        return Own(new SealedConnection(socket, Side.Server, new Tls(socket, Side.Server)));
    }

    private SealedConnection AcceptSealed()
    {
        var wire = Answer();
        wire.Tls.AsServer(_ours);
        using var shown = X509CertificateLoader.LoadCertificate(wire.Tls.PeersCertificate);
        Same(_ours.PublicKey, shown.PublicKey.ExportSubjectPublicKeyInfo(), "the public key that it shows");
        return wire;
    }

    // Starts the client, and receives its request inside TLS.
    private (ChildProgram Client, SealedConnection Wire, bool Digest) BeginSealed(string verb)
    {
        var client = Start(verb, verb == "LIST" ? null : "cat.png");
        var wire = AcceptSealed();
        if (verb == "LIST")
        {
            wire.Expect("LIST\n");
            return (client, wire, false);
        }

        return (client, wire, TakesWithoutOptions(wire, $"{verb}|cat.png"));
    }

    // Receives the request, and refuses all options except the digest. Returns whether the client asks for a digest.
    private static bool TakesWithoutOptions(ProtocolConnection wire, string request)
    {
        while (true)
        {
            string line = wire.ReceiveLine(request + "\\n");
            if (line == request || line == request + "|digest=sha256")
            {
                return line != request;
            }

            if (!line.StartsWith(request + "|"))
            {
                throw wire.Wrong(request + "\\n", null, line);
            }

            wire.Send("ER|unsupported|this server does not know that\n");
        }
    }

    // The client sends close_notify when it leaves; the FIN after it is the end of its process.
    private static void ExpectLeaving(ProtocolConnection wire, ChildProgram client)
    {
        wire.ExpectEnd();
        wire.Dispose();
        client.MustSucceed();
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void Client_prints_a_sealed_listing()
    {
        var (client, wire, _) = BeginSealed("LIST");
        byte[] lines = "cat.png|9|2026-01-31T23:59:59Z\n"u8.ToArray();
        wire.Send([.. "OK\n"u8, .. Block(lines, digest: false)]);
        ExpectLeaving(wire, client);
        Demand(client.Output.Contains("cat.png"), "cat.png in what the client prints", client.Output);
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void Client_downloads_a_sealed_file([Values(9, 1 << 14, 300_000)] int size)
    {
        var (client, wire, digest) = BeginSealed("GET");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(size), digest)]);
        ExpectLeaving(wire, client);
        Same(Notation.Bytes(size), LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }

    [Test, Clause("SEAL-2", "SEAL-6", "CONN-3")]
    public void Client_downloads_a_file_with_one_byte_in_each_record()
    {
        var (client, wire, digest) = BeginSealed("GET");
        foreach (byte value in (byte[])[.. "OK\n"u8, .. Block(Notation.Bytes(40), digest)])
        {
            wire.Send([value]);
        }

        ExpectLeaving(wire, client);
        Same(Notation.Bytes(40), LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void Client_uploads_a_sealed_file([Values(9, 3_000_000)] int size)
    {
        Give("cat.png", Notation.Bytes(size));
        var (client, wire, digest) = BeginSealed("PUT");
        wire.Send("OK\n");
        wire.ExpectBytes(Block(Notation.Bytes(size), digest));
        wire.Send("OK\n");
        ExpectLeaving(wire, client);
    }

    [Test, Clause("SEAL-3")]
    public void Client_does_not_take_a_message_of_TLS_for_a_reply(
        [Values("KeyUpdate", "KeyUpdate that asks for another", "ticket")] string message)
    {
        byte[] picture = Notation.Bytes(16 << 20);
        File.WriteAllBytes(PathOf("cat.png"), picture);
        var client = Start("PUT", "cat.png");
        var wire = AcceptSealed();
        bool digest = TakesWithoutOptions(wire, "PUT|cat.png");
        wire.Send("OK\n");

        // The picture is larger than the buffers of both kernels, so the client is still sending when this arrives.
        wire.Tls.Write(message switch
        {
            "ticket" => wire.Tls.TicketRecord(),
            "KeyUpdate" => wire.Tls.KeyUpdateRecord(asks: false),
            _ => wire.Tls.KeyUpdateRecord(asks: true),
        });
        wire.ExpectBytes(Block(picture, digest));
        wire.Send("OK\n");
        ExpectLeaving(wire, client);
    }

    // ---- servers that it does not trust ----

    private static readonly (string Name, Func<KeyAndCertificate> Shown)[] _strangers =
    [
        ("another key", () => _stranger),
        ("the certificate without its key", () => new KeyAndCertificate(_ours.Certificate, _stranger.Key)),
    ];

    private static IEnumerable<string> Strangers() => _strangers.Select(row => row.Name);

    // Checks that the client sends no byte of a request, sealed or plain, on this connection or on another.
    private void ExpectNothing(SealedConnection wire, ChildProgram client)
    {
        void ExpectNothingFrom(Tls tls)
        {
            while (tls.NextRecord(out var error) is var (type, bytes))
            {
                if (type == Tls.Data)
                {
                    throw new Violation("expected  not one byte of a request\n"
                        + $"received  {Notation.Show(bytes)}");
                }

                if (error != SocketError.Success)
                {
                    break;
                }
            }
        }

        ExpectNothingFrom(wire.Tls);
        wire.Dispose();
        bool ended = false;
        Eventually(() => (ended = client.HasEnded) || Listener.Poll(0, SelectMode.SelectRead), "it still waits");
        while (Listener.Poll(0, SelectMode.SelectRead))                 // the client may try once more
        {
            using var again = Listener.Accept();
            again.ReceiveTimeout = RunSettings.Patience;
            ExpectNothingFrom(new Tls(again, Side.Server));
        }

        client.MustFail();
    }

    [TestCaseSource(nameof(Strangers)), Clause("SEAL-2")]
    public void Client_rejects_a_server_with(string server)
    {
        Give("cat.png", Notation.Bytes(9));
        var client = Start("PUT", "cat.png");
        var wire = Answer();
        try
        {
            wire.Tls.AsServer(_strangers.Single(row => row.Name == server).Shown());
        }
        catch (Violation) { }                           // the client may refuse in any way

        ExpectNothing(wire, client);
    }

    [Test, Clause("SEAL-10")]
    public void Client_with_a_key_sends_no_request_to_a_plain_server([Values] bool speaksFirst)
    {
        var client = Start("GET", "cat.png");
        var wire = Accept();
        if (!speaksFirst)
        {
            byte first = wire.Receive(1)[0];
            Demand(first == 0x16, "\\x16, with which a handshake begins",
                $"{Notation.Show([first])}: it speaks plainly");
        }

        wire.Send("ER|bad-request|what is this?\n");
        wire.HalfClose();
        Demand(!Encoding.Latin1.GetString(wire.ReceiveRest()).Contains("GET|"), "no request in plain text", "one");
        wire.Dispose();
        Eventually(() => client.HasEnded || Listener.Poll(0, SelectMode.SelectRead), "the client still waits");
        while (Listener.Poll(0, SelectMode.SelectRead))         // another connection must begin with TLS as well
        {
            using (var again = Own(TranscriptPlayer.Accept(Listener, Delivery.Whole, Scope)))
            {
                Same([0x16], again.Receive(1), "the first byte of another connection");
            }
        }

        client.MustFail();
    }

    // ---- data that is cut or changed on the way ----

    [Test, Clause("SEAL-11", "CLI-5")]
    public void Client_fails_if_a_sealed_listing_is_cut_with_or_without_close_notify([Values] bool closeNotify)
    {
        var (client, wire, _) = BeginSealed("LIST");
        wire.Send([.. "OK\n"u8, .. Notation.U64(62), .. "cat.png|9|2026-01-31T23:59:59Z\n"u8]);
        if (closeNotify)
        {
            wire.HalfClose();
        }
        else
        {
            wire.Dispose();
        }

        client.MustFail();
    }

    [Test, Clause("SEAL-3")]
    public void Client_rejects_an_older_TLS()
    {
        var client = Start("LIST");
        using var socket = Own(TranscriptPlayer.Accept(Listener, Delivery.Whole, Scope)).Socket;
        using var tls = new System.Net.Security.SslStream(new NetworkStream(socket));
        socket.ReceiveTimeout = RunSettings.Patience;
        using var certificate = X509Certificate2.CreateFromPemFile(SealedFixture.KeyFile);
        using var usable = X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
        string heard = "";
        try
        {
            tls.AuthenticateAsServer(new System.Net.Security.SslServerAuthenticationOptions
            {
                ServerCertificate = usable,
                EnabledSslProtocols = System.Security.Authentication.SslProtocols.Tls12,
                ClientCertificateRequired = true,
                RemoteCertificateValidationCallback = (_, _, _, _) => true,
            });
            var bytes = new byte[100];
            heard = Encoding.UTF8.GetString(bytes, 0, tls.Read(bytes));
        }
        catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException) { }

        Demand(heard == "", "nothing, on a connection that speaks TLS 1.2", heard);
        socket.Dispose();
        StopListening();
        client.MustFail();
    }

    [Test, Clause("SEAL-11", "CLI-4")]
    public void Client_fails_if_a_FIN_comes_inside_a_sealed_file([Values(0, 3, 11, 12, 60)] int bytes)
    {
        var (client, wire, _) = BeginSealed("GET");
        wire.Send(((byte[])[.. "OK\n"u8, .. Block(Notation.Bytes(100), false)]).AsSpan(0, bytes));
        wire.Dispose();
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("SEAL-11", "CLI-4")]
    public void Client_fails_if_a_record_is_cut_short([Values] bool hasDigest)
    {
        var (client, wire, digest) = BeginSealed("GET");
        byte[] record = wire.Tls.Record(Tls.Data, [.. "OK\n"u8, .. Block(Notation.Bytes(100), digest && hasDigest)]);
        wire.Tls.Write(record.AsSpan(..^1));
        wire.Dispose();
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("SEAL-11", "CLI-8")]
    public void Client_fails_if_a_sealed_upload_is_not_answered([Values] bool saysClose)
    {
        Give("cat.png", Notation.Bytes(9));
        var (client, wire, digest) = BeginSealed("PUT");
        wire.Send("OK\n");
        wire.Receive(8 + 9 + (digest ? 32 : 0));
        if (saysClose)
        {
            wire.HalfClose();
        }

        wire.Dispose();
        client.MustFail();
    }

    [Test, Clause("SEAL-11", "CLI-4")]
    public void Client_saves_no_file_if_a_bit_was_flipped([Values(0, 3, 5, 8, 40, 120, -17, -1)] int at)
    {
        var (client, wire, digest) = BeginSealed("GET");
        byte[] record = wire.Tls.Record(Tls.Data, [.. "OK\n"u8, .. Block(Notation.Bytes(200), digest)]);
        record[at < 0 ? record.Length + at : at] ^= 1;
        wire.Tls.Write([.. record, .. wire.Tls.Record(Tls.Data, "OK\n"u8)]);
        wire.Tls.SendCloseNotify();
        wire.Socket.Shutdown(SocketShutdown.Send);
        client.MustFail();
        FolderMustLack("cat.png");
    }

    [Test, Clause("SEAL-8", "CLI-5")]
    public void Client_refuses_a_key_file_that_others_can_read([Values("644", "660")] string mode)
    {
        Skip.If(OperatingSystem.IsWindows() || RunSettings.Current.OnWindows, "needs the rights of Unix");

        string path = PathOf("open.key");
        _ours.WriteTo(path);
        Tool.Run("chmod", mode, path);
        var client = Start("LIST", key: path);
        Eventually(() => client.HasEnded || Listener.Poll(20_000, SelectMode.SelectRead),
            "it neither connects nor ends");
        bool connects = Listener.Poll(0, SelectMode.SelectRead);
        Demand(!connects, $"no connection: the key file has the mode {mode}", "one");
        client.MustFail();
    }

    [Test, Clause("SEAL-1")]
    public void Client_creates_no_key_file()
    {
        string path = PathOf("missing.key");
        var client = Start("LIST", key: path);
        for (var clock = Stopwatch.StartNew();
            !client.HasEnded && clock.ElapsedMilliseconds < 2 * RunSettings.Patience;)
        {
            if (Listener.Poll(20_000, SelectMode.SelectRead))
            {
                Listener.Accept().Dispose();
            }
        }

        client.MustFail();
        Demand(!File.Exists(path), "no key file, since a client makes none", "one");
    }
}
