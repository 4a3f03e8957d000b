// §14 from the client's side, with the suite as its server, honest and otherwise; then key files, and what the
// reference says about them.

using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

public sealed class SealedClients : ClientConformance
{
    private static readonly Identity _ours = SealedConformance.Ours;
    private static readonly Identity _stranger = Identity.New();

    private string PathOf(string name) => Path.Combine(Folder, name);

    private Program Start(string command, string? file = null, string? key = null) =>
        Own(Player.StartClient(Folder, Port, command, file, key: key ?? SealedConformance.KeyFile));

    // The client's connection, before anything is said on it.
    private SealedWire Answer()
    {
        var socket = Own(Player.Accept(Listener, Delivery.Whole)).Socket;
        return Own(new SealedWire(socket, Side.Server, new Tls(socket, Side.Server)));
    }

    private SealedWire LetIn()
    {
        var wire = Answer();
        wire.Tls.AsServer(_ours);
        using var shown = X509CertificateLoader.LoadCertificate(wire.Tls.PeersCertificate);
        Assert.That(shown.PublicKey.ExportSubjectPublicKeyInfo(), Is.EqualTo(_ours.PublicKey), "the client's key");
        return wire;
    }

    // Whichever options the client asks for, but the digest: the suite is a server without them.
    private static bool Takes(Wire wire, string request)
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

    private static byte[] Block(byte[] octets, bool digest) =>
        [.. Notation.U64((ulong)octets.Length), .. octets, .. digest ? SHA256.HashData(octets) : []];

    // It says close_notify when it leaves; the FIN behind it is the end of its process.
    private static void ExpectLeaving(Wire wire, Program client)
    {
        wire.ExpectEnd();
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Zero, client.Said());
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void A_listing()
    {
        var client = Start("LIST");
        var wire = LetIn();
        wire.Expect("LIST\n");
        byte[] lines = "cat.png|9|2026-01-31T23:59:59Z\n"u8.ToArray();
        wire.Send([.. "OK\n"u8, .. Block(lines, digest: false)]);
        ExpectLeaving(wire, client);
        Assert.That(client.Output, Does.Contain("cat.png"));
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void A_download([Values(9, 1 << 14, 300_000)] int size)
    {
        var client = Start("GET", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "GET|cat.png");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(size), digest)]);
        ExpectLeaving(wire, client);
        Assert.That(File.ReadAllBytes(PathOf("cat.png")).AsSpan().SequenceEqual(Notation.Bytes(size)));
    }

    [Test, Clause("SEAL-2", "SEAL-6", "CONN-3")]
    public void A_download_an_octet_a_record()
    {
        var client = Start("GET", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "GET|cat.png");
        foreach (byte octet in (byte[])[.. "OK\n"u8, .. Block(Notation.Bytes(40), digest)])
        {
            wire.Send([octet]);
        }

        ExpectLeaving(wire, client);
        Assert.That(File.ReadAllBytes(PathOf("cat.png")), Is.EqualTo(Notation.Bytes(40)));
    }

    [Test, Clause("SEAL-2", "SEAL-6")]
    public void An_upload([Values(9, 3_000_000)] int size)
    {
        File.WriteAllBytes(PathOf("cat.png"), Notation.Bytes(size));
        var client = Start("PUT", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        wire.ExpectOctets(Block(Notation.Bytes(size), digest));
        wire.Send("OK\n");
        ExpectLeaving(wire, client);
    }

    // ---- whom it does not speak to ----

    private static readonly (string Name, Func<Identity> Shown)[] _strangers =
    [
        ("another key", () => _stranger),
        ("the certificate without its key", () => new Identity(_ours.Certificate, _stranger.Key)),
    ];

    private static IEnumerable<string> Strangers() => _strangers.Select(row => row.Name);

    // Not one octet of a request comes, sealed or plain, on this connection or on another.
    private void ExpectNothing(SealedWire wire, Program client)
    {
        void ExpectNothingFrom(Tls tls)
        {
            while (tls.NextRecord(out var error) is var (type, octets))
            {
                if (type == Tls.Data)
                {
                    throw new Violation("expected  not one octet of a request\n"
                        + $"received  {Notation.Show(octets)}");
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
        Eventually(() => (ended = client.HasEnded) || Listener.Poll(0, SelectMode.SelectRead), "it goes on waiting");
        while (Listener.Poll(0, SelectMode.SelectRead))                 // it tries once more: the same way, then
        {
            using var again = Listener.Accept();
            again.ReceiveTimeout = Settings.Patience;
            ExpectNothingFrom(new Tls(again, Side.Server));
        }

        Assert.That(client.WaitForExit(), Is.Not.Zero, client.Said());
    }

    [TestCaseSource(nameof(Strangers)), Clause("SEAL-2")]
    public void Does_not_speak_to(string whom)
    {
        File.WriteAllBytes(PathOf("cat.png"), Notation.Bytes(9));
        var client = Start("PUT", "cat.png");
        var wire = Answer();
        try
        {
            wire.Tls.AsServer(_strangers.Single(row => row.Name == whom).Shown());
        }
        catch (Violation) { }                           // however it says no: what counts is what comes

        ExpectNothing(wire, client);
    }

    [Test, Clause("SEAL-5")]
    public void A_plain_server_hears_no_request([Values] bool speaksFirst)
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
        Assert.That(Encoding.Latin1.GetString(wire.ReceiveRest()), Does.Not.Contain("GET|"));
        wire.Dispose();
        Eventually(() => client.HasEnded || Listener.Poll(0, SelectMode.SelectRead), "it goes on waiting");
        while (Listener.Poll(0, SelectMode.SelectRead))                 // no retreat: what it says now is TLS as well
        {
            using (var again = Own(Player.Accept(Listener, Delivery.Whole)))
            {
                Assert.That(again.Receive(1), Is.EqualTo(new byte[] { 0x16 }), "what it says once more");
            }
        }

        Assert.That(client.WaitForExit(), Is.Not.Zero, client.Said());
    }

    // ---- cut and changed on the way ----

    [Test, Clause("SEAL-6", "CLI-5")]
    public void A_listing_that_is_cut_is_a_failure_with_and_without_close_notify([Values] bool closeNotify)
    {
        var client = Start("LIST");
        var wire = LetIn();
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Notation.U64(62), .. "cat.png|9|2026-01-31T23:59:59Z\n"u8]);
        if (closeNotify)
        {
            wire.HalfClose();
        }
        else
        {
            wire.Dispose();
        }

        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("SEAL-3")]
    public void Does_not_speak_an_older_TLS()
    {
        var client = Start("LIST");
        using var socket = Own(Player.Accept(Listener, Delivery.Whole)).Socket;
        using var tls = new System.Net.Security.SslStream(new NetworkStream(socket));
        socket.ReceiveTimeout = Settings.Patience;
        using var certificate = X509Certificate2.CreateFromPemFile(SealedConformance.KeyFile);
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
            var octets = new byte[100];
            heard = Encoding.UTF8.GetString(octets, 0, tls.Read(octets));
        }
        catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException) { }

        Demand(heard == "", "nothing, on a connection that speaks TLS 1.2", heard);
        socket.Dispose();
        Listener.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("SEAL-6", "CLI-4")]
    public void A_bare_FIN_inside_a_file_is_a_failure([Values(0, 3, 11, 12, 60)] int octets)
    {
        var client = Start("GET", "cat.png");
        var wire = LetIn();
        Takes(wire, "GET|cat.png");
        wire.Send(((byte[])[.. "OK\n"u8, .. Block(Notation.Bytes(100), false)]).AsSpan(0, octets));
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("SEAL-6", "CLI-4")]
    public void A_record_cut_short_is_a_failure([Values] bool hasDigest)
    {
        var client = Start("GET", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "GET|cat.png");
        byte[] record = wire.Tls.Record(Tls.Data, [.. "OK\n"u8, .. Block(Notation.Bytes(100), digest && hasDigest)]);
        wire.Tls.Write(record.AsSpan(..^1));
        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("SEAL-6", "CLI-8")]
    public void An_upload_that_nobody_answered_is_not_done([Values] bool saysClose)
    {
        File.WriteAllBytes(PathOf("cat.png"), Notation.Bytes(9));
        var client = Start("PUT", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "PUT|cat.png");
        wire.Send("OK\n");
        wire.Receive(8 + 9 + (digest ? 32 : 0));
        if (saysClose)
        {
            wire.HalfClose();
        }

        wire.Dispose();
        Assert.That(client.WaitForExit(), Is.Not.Zero);
    }

    [Test, Clause("SEAL-6", "CLI-4")]
    public void A_flipped_bit_never_becomes_a_file([Values(0, 3, 5, 8, 40, 120, -17, -1)] int at)
    {
        var client = Start("GET", "cat.png");
        var wire = LetIn();
        bool digest = Takes(wire, "GET|cat.png");
        byte[] record = wire.Tls.Record(Tls.Data, [.. "OK\n"u8, .. Block(Notation.Bytes(200), digest)]);
        record[at < 0 ? record.Length + at : at] ^= 1;
        wire.Tls.Write([.. record, .. wire.Tls.Record(Tls.Data, "OK\n"u8)]);
        wire.Tls.SendCloseNotify();
        wire.Socket.Shutdown(SocketShutdown.Send);
        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }

    [Test, Clause("SEAL-1")]
    public void A_client_makes_no_key_file()
    {
        string path = PathOf("missing.key");
        var client = Start("LIST", key: path);
        for (var clock = System.Diagnostics.Stopwatch.StartNew();
            !client.HasEnded && clock.ElapsedMilliseconds < 2 * Settings.Patience;)
        {
            if (Listener.Poll(20_000, SelectMode.SelectRead))
            {
                Listener.Accept().Dispose();
            }
        }

        Assert.That(client.WaitForExit(), Is.Not.Zero);
        Assert.That(File.Exists(path), Is.False);
    }
}

// The key file, as a server makes it and takes it.
public sealed class KeyFiles : SealedConformance
{
    private static void SetMode(string path, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, mode);
        }
    }

    [Test, Clause("SEAL-1")]
    public void A_server_makes_the_file_that_is_missing_for_its_owner_alone_and_keeps_one_that_is_there()
    {
        string folder = NewFolder("key");
        string path = Path.Combine(folder, "new.key");
        var server = Start(key: path);
        Eventually(() => File.Exists(path), "there is no key file");
        if (!OperatingSystem.IsWindows())
        {
            Assert.That(File.GetUnixFileMode(path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }

        string pem = File.ReadAllText(path);
        Assert.That(pem.Length, Is.LessThanOrEqualTo(8 << 10));
        Assert.That(pem.IndexOf("-----BEGIN PRIVATE KEY-----"), Is.GreaterThanOrEqualTo(0));
        Assert.That(pem.IndexOf("-----BEGIN CERTIFICATE-----"), Is.GreaterThan(pem.IndexOf("PRIVATE KEY")));
        using var certificate = X509Certificate2.CreateFromPem(pem, pem);
        using var key = certificate.GetECDsaPrivateKey()!;
        Assert.That(key.ExportParameters(false).Curve.Oid.Value, Is.EqualTo("1.2.840.10045.3.1.7"), "P-256");
        Assert.That(certificate.Subject, Is.EqualTo("CN=imagetransfer"));
        Assert.That(certificate.Issuer, Is.EqualTo("CN=imagetransfer"));
        Assert.That(certificate.Extensions, Is.Empty);
        Assert.That(certificate.NotBefore.ToUniversalTime().Year, Is.EqualTo(1970));
        Assert.That(certificate.NotAfter.ToUniversalTime().Year, Is.EqualTo(9999));
        using (var wire = Dial(server))
        {
            wire.Tls.AsClient(new Identity(certificate.RawData, key));
            wire.List();
        }

        server.Dispose();
        var next = Start(key: path);
        Assert.That(File.ReadAllText(path), Is.EqualTo(pem));
        using var again = Dial(next);
        again.Tls.AsClient(new Identity(certificate.RawData, key));
        again.List();
    }

    [Test, Clause("SEAL-1"), Reference]
    public void A_key_alone_will_do_as_openssl_writes_it()
    {
        string path = Path.Combine(NewFolder("key"), "openssl.key");
        File.WriteAllText(path, Ours.Key.ExportPkcs8PrivateKeyPem() + "\n");
        SetMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var server = Start(key: path);
        Enter(server).List();
        Assert.That(Client(server, path, "LIST").Exit, Is.Zero);
    }

    [Test, Clause("SEAL-1"), Reference]
    public void A_file_that_may_be_read_and_not_written_will_do()
    {
        string path = Ours.WriteTo(Path.Combine(NewFolder("key"), "mine.key"));
        SetMode(path, UnixFileMode.UserRead);
        Enter(Start(key: path)).List();
    }

    // ---- what the reference says ----

    private (int Exit, string Output, string Errors) Client(RunningServer server, string? key, string words)
    {
        string command = $"dotnet {Plug.Dll} client 127.0.0.1 {server.Port} {words}";
        using var client = new Program("client",
            [.. Plug.Words(command), .. key is null ? [] : (string[])["--key", key]], NewFolder());
        return (client.WaitForExit(), client.Output, client.Errors);
    }

    [Test, Clause("SEAL-5"), Reference]
    public void Those_who_do_not_fit_are_told_why()
    {
        string other = Identity.New().WriteTo(Path.Combine(NewFolder("key"), "other.key"));
        var plain = Start();
        foreach (var (server, key, says) in ((RunningServer, string?, string)[])
            [
                (Server, other, "the key does not fit"),
                (Server, null, "this server wants --key"),
                (plain, KeyFile, "this server has no key; leave --key away"),
            ])
        {
            foreach (string words in (string[])["LIST", "GET cat.png", "STATUS"])
            {
                var clock = System.Diagnostics.Stopwatch.StartNew();
                var (exit, output, errors) = Client(server, key, words);
                Assert.That((exit, output), Is.EqualTo((1, "")), errors);
                Assert.That(errors, Does.StartWith("imagetransfer: ").And.Contain(says), words);
                Assert.That(errors.Split('\n'), Has.Length.EqualTo(2), words);
                long late = Settings.Milliseconds(9_000);
                Assert.That(clock.ElapsedMilliseconds, Is.LessThan(late), $"{says} to {words}, and late");
            }
        }
    }

    [Test, Clause("SEAL-2", "P4"), Reference]
    public void Sealed_files_go_up_and_down()
    {
        string folder = NewFolder();
        for (int i = 0; i < 60; i++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"{i}.png"), [.. Notation.Bytes(100 + i * 3700), (byte)i]);
        }

        Assert.That(Client(Server, KeyFile, $"PUT {folder}").Exit, Is.Zero);
        Assert.That(Client(Server, KeyFile, "GET '*.png' --quiet"), Is.EqualTo((0, "", "")));
        foreach (string path in Directory.GetFiles(folder))
        {
            Assert.That(File.ReadAllBytes(Server.PathOf(Path.GetFileName(path)))
                .AsSpan().SequenceEqual(File.ReadAllBytes(path)));
        }
    }

    private static (string Name, string? Text)[] NoKeys()
    {
        using var rsa = RSA.Create(2048);
        using var p384 = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        using var ours = Identity.Copy(Ours).Key;
        string certificate = PemEncoding.WriteString("CERTIFICATE", Ours.Certificate);
        string mine = ours.ExportPkcs8PrivateKeyPem();
        var strong = new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1000);
        return
        [
            ("empty", ""),
            ("garbage", "this is no key\n"),
            ("zeros", new string('\0', 20_000)),
            ("RSA", rsa.ExportPkcs8PrivateKeyPem()),
            ("P-384", p384.ExportPkcs8PrivateKeyPem()),
            ("a curve spelled out", SpelledOut()),
            ("encrypted", ours.ExportEncryptedPkcs8PrivateKeyPem("secret", strong)),
            ("a certificate alone", certificate),
            ("a public key", ours.ExportSubjectPublicKeyInfoPem()),
            ("half a key", mine[..100]),
            ("another key's certificate", Identity.New().Key.ExportPkcs8PrivateKeyPem() + "\n" + certificate),
            ("a broken certificate", mine + "\n" + certificate[..200] + "\n-----END CERTIFICATE-----\n"),
            ("a certificate cut short", mine + "\n" + certificate[..200]),
        ];
    }

    // P-256 as ever, but its parameters are written out and it is not named.
    private static string SpelledOut()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var same = ECDsa.Create(key.ExportExplicitParameters(true));
        return same.ExportPkcs8PrivateKeyPem();
    }

    // Either half: one line on stderr, nothing else, and its exit code.
    private static void AssertRefused(string folder, string half, string path, string says, int[] exits)
    {
        string words = half == "server" ? "server 0 --dir images" : "client 127.0.0.1 1 LIST";
        using var program = new Program(half, [.. Plug.Words($"dotnet {Plug.Dll} {words}"), "--key", path], folder);
        int exit = program.WaitForExit();
        string what = $"{half} --key {path}: exit {exit}\n{program.Said()}";
        Assert.That(exits, Does.Contain(exit), what);
        Assert.That(program.Output, Is.Empty, what);
        Assert.That(program.Errors.Split('\n'), Has.Length.EqualTo(2), what);
        Assert.That(program.Errors, Does.StartWith("imagetransfer: ").And.Contain(says), what);
        Assert.That(program.Errors.Any(c => char.IsControl(c) && c != '\n'), Is.False, what);
    }

    [Test, Clause("SEAL-1"), Reference]
    public void What_holds_no_key_is_refused_in_one_line()
    {
        string folder = NewFolder();
        foreach (var (name, text) in NoKeys())
        {
            string path = Path.Combine(folder, name);
            File.WriteAllText(path, text);
            SetMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            foreach (string half in (string[])["server", "client"])
            {
                AssertRefused(folder, half, path, "there is no P-256 key in it", [1]);
            }

            Assert.That(File.ReadAllText(path), Is.EqualTo(text), $"{name}: it was overwritten");
        }
    }

    [Test, Clause("SEAL-1"), Reference]
    public void What_cannot_be_used_is_refused_in_one_line()
    {
        string folder = NewFolder();
        string open = Ours.WriteTo(Path.Combine(folder, "open.key"));
        foreach (var mode in (UnixFileMode[])[UnixFileMode.GroupRead, UnixFileMode.OtherRead, UnixFileMode.GroupWrite])
        {
            foreach (string half in (string[])["server", "client"])
            {
                SetMode(open, UnixFileMode.UserRead | UnixFileMode.UserWrite | mode);
                AssertRefused(folder, half, open, $"others can read {open}; chmod 600 it", [1]);
            }
        }

        AssertRefused(folder, "client", Path.Combine(folder, "missing.key"), "missing.key", [1]);
        Assert.That(File.Exists(Path.Combine(folder, "missing.key")), Is.False);
        string inNoFolder = Path.Combine(folder, "nowhere", "a.key");
        string isAFolder = Path.Combine(folder, "images.key");
        Directory.CreateDirectory(isAFolder);
        string dangling = Path.Combine(folder, "link.key");
        string pipe = Path.Combine(folder, "pipe.key");
        File.CreateSymbolicLink(dangling, Path.Combine(folder, "nothing"));
        using (var mkfifo = System.Diagnostics.Process.Start("mkfifo", ["-m", "600", pipe]))
        {
            mkfifo.WaitForExit();
        }

        foreach (string half in (string[])["server", "client"])
        {
            foreach (string path in (string[])[inNoFolder, isAFolder, dangling, pipe, "/dev/null", "/dev/zero"])
            {
                AssertRefused(folder, half, path, "", [1, 2]);
            }
        }

        AssertRefused(folder, "server", "/proc/new.key", "", [1, 2]);                   // where nobody can make a file
        AssertRefused(folder, "server", "", "--key needs a value", [2]);
        Assert.That(Directory.Exists(Path.Combine(folder, "nowhere")), Is.False);
    }

    [Test, Clause("SEAL-1"), Reference]
    public void It_says_that_it_made_a_key_and_shows_no_secret()
    {
        string path = Path.Combine(NewFolder("key"), "new.key");
        var server = Start("--trace", key: path);
        using var certificate = X509Certificate2.CreateFromPem(File.ReadAllText(path), File.ReadAllText(path));
        using (var wire = Dial(server))
        {
            wire.Tls.AsClient(new Identity(certificate.RawData, certificate.GetECDsaPrivateKey()!));
            wire.List();
        }

        server.Program.Signal("TERM");
        Assert.That(server.Program.WaitForExit(), Is.Zero);
        string secret = string.Concat(File.ReadAllLines(path)[1..3]);
        string said = server.Program.Output + server.Program.Errors;
        Assert.That(said, Does.Contain($"made the key {path}: copy it to the other machine"));
        Assert.That(said, Does.Not.Contain(secret[..40]).And.Not.Contain("PRIVATE KEY"));
    }

    [Test, Clause("SEAL-4"), Reference]
    public void Without_a_key_everybody_is_warned_of_who_listens_beyond_this_machine()
    {
        const string Warning = "without --key, everybody who reaches this port can look, fetch and add";
        foreach (var (options, key, warns) in ((string, string?, bool)[])
            [("", null, false), ("--listen 0.0.0.0", null, true), ("--listen 0.0.0.0", KeyFile, false)])
        {
            using var server = new RunningServer(options, key: key);
            using (var wire = key is null ? server.Connect() : Enter(server))
            {
                wire.List();
            }

            server.Program.Signal("TERM");
            Assert.That(server.Program.WaitForExit(), Is.Zero);
            Assert.That(server.Program.Errors.Split(Warning), Has.Length.EqualTo(warns ? 2 : 1), options);
        }
    }
}
