using System.Security.Cryptography.X509Certificates;
using static ConformanceTests.Reference.ProgramFixture;

namespace ConformanceTests.Reference;

/// <summary>Key files that cannot be used, and what the program says about them.</summary>
[Reference]
public sealed class KeyFileErrors : SealedFixture
{
    [Test, Clause("SEAL-1")]
    public void Server_and_client_accept_a_key_file_without_a_certificate()
    {
        string path = Path.Combine(NewFolder("key"), "openssl.key");
        File.WriteAllText(path, Ours.Key.ExportPkcs8PrivateKeyPem() + "\n");
        SetMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var server = Start(key: path);
        Enter(server).List();
        Assert.That(Client(server, path, "LIST").Exit, Is.Zero);
    }

    [Test, Clause("SEAL-1")]
    public void Server_accepts_a_key_file_that_cannot_be_written()
    {
        string path = Ours.WriteTo(Path.Combine(NewFolder("key"), "mine.key"));
        SetMode(path, UnixFileMode.UserRead);
        Enter(Start(key: path)).List();
    }

    private Ran Client(RunningServer server, string? key, string words) => Execute(
        NewFolder(), $"client 127.0.0.1 {server.Port} {words}{(key is null ? "" : $" --key {key}")}");

    [Test, Clause("SEAL-5")]
    public void Client_says_why_the_keys_do_not_match()
    {
        string other = KeyAndCertificate.New().WriteTo(Path.Combine(NewFolder("key"), "other.key"));
        var plain = Start();
        foreach (var (server, key, says) in ((RunningServer, string?, string)[])
            [
                (Server, other, "the server has another key than this --key"),
                (Server, null, "this server requires --key"),
                (plain, KeyFile, "this server does not use a key, or is not an ImageTransfer server"),
            ])
        {
            // A client that waits for a deadline of the server is late each time. On a busy machine one run may be.
            double soonest = double.MaxValue;
            foreach (string words in (string[])["LIST", "GET cat.png", "STATUS"])
            {
                var clock = Stopwatch.StartNew();
                var (exit, output, errors) = Client(server, key, words);
                soonest = Math.Min(soonest, clock.Elapsed.TotalMilliseconds);
                Assert.That((exit, output), Is.EqualTo((1, "")), errors);
                Assert.That(errors, Does.StartWith("imagetransfer: ").And.Contain(says), words);
                Assert.That(errors.Split('\n'), Has.Length.EqualTo(2), words);
            }

            Assert.That(soonest, Is.LessThan(RunSettings.Milliseconds(9_000)), $"{says}, and late");
        }
    }

    [Test, Clause("SEAL-2", "P4")]
    public void Client_and_server_transfer_sealed_files_up_and_down()
    {
        string folder = NewFolder();
        for (int i = 0; i < 60; i++)
        {
            File.WriteAllBytes(Path.Combine(folder, $"{i}.png"), [.. Notation.Bytes(100 + i * 3700), (byte)i]);
        }

        Assert.That(Client(Server, KeyFile, $"PUT {folder}").Exit, Is.Zero);
        Assert.That(Client(Server, KeyFile, "GET '*.png' --quiet"), Is.EqualTo(new Ran(0, "", "")));
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
        using var ours = KeyAndCertificate.Copy(Ours).Key;
        string certificate = PemEncoding.WriteString("CERTIFICATE", Ours.Certificate);
        string mine = ours.ExportPkcs8PrivateKeyPem();
        var strong = new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1000);
        return
        [
            ("empty", ""),
            ("garbage", "this is no key\n"),
            ("zeros", new string('\0', 8_000)),
            ("RSA", rsa.ExportPkcs8PrivateKeyPem()),
            ("P-384", p384.ExportPkcs8PrivateKeyPem()),
            ("a curve spelled out", SpelledOut()),
            ("encrypted", ours.ExportEncryptedPkcs8PrivateKeyPem("secret", strong)),
            ("a certificate alone", certificate),
            ("a public key", ours.ExportSubjectPublicKeyInfoPem()),
            ("half a key", mine[..100]),
            ("another key's certificate", KeyAndCertificate.New().Key.ExportPkcs8PrivateKeyPem() + "\n" + certificate),
            ("a broken certificate", mine + "\n" + certificate[..200] + "\n-----END CERTIFICATE-----\n"),
            ("a certificate cut short", mine + "\n" + certificate[..200]),
        ];
    }

    // The usual P-256, but with its parameters written out instead of its name.
    private static string SpelledOut()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var same = ECDsa.Create(key.ExportExplicitParameters(true));
        return same.ExportPkcs8PrivateKeyPem();
    }

    // Starts the server or the client: it must exit with one of these codes, after one line on stderr.
    private static void MustRefuse(string folder, string half, string path, string says, int[] exits)
    {
        Directory.CreateDirectory(Path.Combine(folder, "images"));
        string words = half == "server" ? "server 0 --dir images" : "client 127.0.0.1 1 LIST";
        Ran ran = Execute(folder, $"{words} --key \"{path}\"");
        string what = $"{half} --key {path}: {ran}";
        Assert.That(exits, Does.Contain(ran.Exit), what);
        Assert.That(ran.Output, Is.Empty, what);
        Assert.That(ran.Errors.Split('\n'), Has.Length.EqualTo(2), what);
        Assert.That(ran.Errors, Does.StartWith("imagetransfer: ").And.Contain(says), what);
        Assert.That(ran.Errors.Any(c => char.IsControl(c) && c != '\n'), Is.False, what);
    }

    [Test, Clause("SEAL-1")]
    public void Server_and_client_refuse_a_file_without_a_key_in_one_line()
    {
        string folder = NewFolder();
        foreach (var (name, text) in NoKeys())
        {
            string path = Path.Combine(folder, name);
            File.WriteAllText(path, text);
            SetMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            foreach (string half in (string[])["server", "client"])
            {
                MustRefuse(folder, half, path, "there is no P-256 key in it", [1]);
            }

            Assert.That(File.ReadAllText(path), Is.EqualTo(text), $"{name}: it was overwritten");
        }
    }

    [Test, Clause("SEAL-1")]
    public void Server_and_client_refuse_a_key_file_of_more_than_8_KiB()
    {
        string folder = NewFolder();
        string path = Ours.WriteTo(Path.Combine(folder, "large.key"));
        string key = File.ReadAllText(path);
        foreach (string half in (string[])["server", "client"])
        {
            File.WriteAllText(path, key.PadRight(8 * 1024 + 1, '\n'));
            MustRefuse(folder, half, path, "it is larger than 8 KiB", [1]);
        }

        File.WriteAllText(path, key.PadRight(8 * 1024, '\n'));
        Enter(Start(key: path)).List();
    }

    [Test, Clause("SEAL-1")]
    public void Server_and_client_refuse_an_unusable_key_file_in_one_line()
    {
        string folder = NewFolder();
        string open = Ours.WriteTo(Path.Combine(folder, "open.key"));
        foreach (var mode in (UnixFileMode[])[UnixFileMode.GroupRead, UnixFileMode.OtherRead, UnixFileMode.GroupWrite])
        {
            foreach (string half in (string[])["server", "client"])
            {
                SetMode(open, UnixFileMode.UserRead | UnixFileMode.UserWrite | mode);
                MustRefuse(folder, half, open, $"other users can read the key file '{open}'; chmod 600 it", [1]);
            }
        }

        MustRefuse(folder, "client", Path.Combine(folder, "missing.key"), "missing.key", [1]);
        Assert.That(File.Exists(Path.Combine(folder, "missing.key")), Is.False);
        string inNoFolder = Path.Combine(folder, "nowhere", "a.key");
        string isAFolder = Path.Combine(folder, "images.key");
        Directory.CreateDirectory(isAFolder);
        string dangling = Path.Combine(folder, "link.key");
        string pipe = Path.Combine(folder, "pipe.key");
        File.CreateSymbolicLink(dangling, Path.Combine(folder, "nothing"));
        Tool.Run("mkfifo", "-m", "600", pipe);
        foreach (string half in (string[])["server", "client"])
        {
            foreach (string path in (string[])[inNoFolder, isAFolder, dangling, pipe, "/dev/null", "/dev/zero"])
            {
                MustRefuse(folder, half, path, "", [1, 2]);
            }
        }

        MustRefuse(folder, "server", "/proc/new.key", "", [1, 2]);                   // where no file can be created
        MustRefuse(folder, "server", "", "--key needs a value", [2]);
        Assert.That(Directory.Exists(Path.Combine(folder, "nowhere")), Is.False);
    }

    [Test, Clause("SEAL-1")]
    public void Server_says_that_it_created_a_key_file_and_shows_no_secret()
    {
        string path = Path.Combine(NewFolder("key"), "new.key");
        var server = Start("--trace", key: path);
        using var certificate = X509Certificate2.CreateFromPem(File.ReadAllText(path), File.ReadAllText(path));
        using (var wire = Dial(server))
        {
            wire.Tls.AsClient(new KeyAndCertificate(certificate.RawData, certificate.GetECDsaPrivateKey()!));
            wire.List();
        }

        server.Program.Signal("TERM");
        server.Program.MustExit(0);
        string secret = string.Concat(File.ReadAllLines(path)[1..3]);
        string said = server.Program.Output + server.Program.Errors;
        Assert.That(said, Does.Contain($"created the key file '{path}': copy it to the other machine"));
        Assert.That(said, Does.Not.Contain(secret[..40]).And.Not.Contain("PRIVATE KEY"));
    }

    [Test, Clause("SEAL-4")]
    public void Server_without_a_key_warns_if_it_listens_on_the_network()
    {
        const string Warning = "warning: without --key, anyone who can reach this port can list, download and upload";
        foreach (var (options, key, warns) in ((string, string?, bool)[])
            [("", null, false), ("--listen 0.0.0.0", null, true), ("--listen 0.0.0.0", KeyFile, false)])
        {
            using var server = new RunningServer(options, key: key);
            using (var wire = key is null ? server.Connect() : Enter(server))
            {
                wire.List();
            }

            server.Program.Signal("TERM");
            server.Program.MustExit(0);
            Assert.That(server.Program.Errors.Split(Warning), Has.Length.EqualTo(warns ? 2 : 1), options);
        }
    }
}
