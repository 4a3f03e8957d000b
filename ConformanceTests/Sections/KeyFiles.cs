using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Sections;

/// <summary>SEAL-1: the key file of a server.</summary>
public sealed class KeyFiles : SealedFixture
{
    [Test, Clause("SEAL-1")]
    public void Server_creates_a_missing_key_file_for_its_owner_only_and_keeps_an_existing_one()
    {
        string folder = NewFolder("key");
        string path = Path.Combine(folder, "new.key");
        var server = Start(key: path);
        Eventually(() => File.Exists(path), "there is no key file");
        if (!OperatingSystem.IsWindows())
        {
            var mode = File.GetUnixFileMode(path);
            Demand(mode == (UnixFileMode.UserRead | UnixFileMode.UserWrite), "a key file for its owner alone",
                $"{mode}");
        }

        string pem = File.ReadAllText(path);
        Demand(pem.Length <= Limits.KeyFileBytes, $"a key file of {Limits.KeyFileBytes:N0} bytes at most",
            $"{pem.Length:N0}");
        int keyAt = pem.IndexOf("-----BEGIN PRIVATE KEY-----", StringComparison.Ordinal);
        Demand(keyAt >= 0, "a private key in PEM", "none");
        Demand(pem.IndexOf("-----BEGIN CERTIFICATE-----", StringComparison.Ordinal) > keyAt,
            "a certificate after the private key", "none there");
        using var certificate = X509Certificate2.CreateFromPem(pem, pem);
        using var key = certificate.GetECDsaPrivateKey()!;
        string? curve = key.ExportParameters(false).Curve.Oid.Value;
        Demand(curve == "1.2.840.10045.3.1.7", "a key on the curve P-256", $"{curve}");
        Demand(certificate.Subject == "CN=imagetransfer", "the subject CN=imagetransfer", certificate.Subject);
        Demand(certificate.Issuer == "CN=imagetransfer", "the issuer CN=imagetransfer", certificate.Issuer);
        Counts(0, certificate.Extensions.Count, "extensions in the certificate");
        Demand(certificate.NotBefore.ToUniversalTime().Year == 1970, "a certificate that is valid from 1970",
            $"{certificate.NotBefore}");
        Demand(certificate.NotAfter.ToUniversalTime().Year == 9999, "a certificate that is valid until 9999",
            $"{certificate.NotAfter}");
        using (var wire = Dial(server))
        {
            wire.Tls.AsClient(new KeyAndCertificate(certificate.RawData, key));
            wire.List();
        }

        server.Dispose();
        var next = Start(key: path);
        Demand(File.ReadAllText(path) == pem, "the key file that is there, unchanged", "another one");
        using var again = Dial(next);
        again.Tls.AsClient(new KeyAndCertificate(certificate.RawData, key));
        again.List();
    }

    private static readonly (string What, Func<string> Text, string Mode)[] _unfit =
    [
        ("a key that others can read",        () => Ours.Pem, "644"),
        ("a key that the group can write",    () => Ours.Pem, "620"),
        ("a key on another curve",            () => OtherKey(ECCurve.NamedCurves.nistP384), "600"),
        ("an RSA key",                        () => RSA.Create(2048).ExportPkcs8PrivateKeyPem(), "600"),
        ("text without a key",                () => "no key\n", "600"),
        ("an empty file",                     () => "", "600"),
        ("a certificate without its key",     () => Ours.Pem[Ours.Pem.IndexOf("-----BEGIN CERTIFICATE")..], "600"),
    ];

    private static string OtherKey(ECCurve curve)
    {
        using var key = ECDsa.Create(curve);
        return key.ExportPkcs8PrivateKeyPem();
    }

    private static IEnumerable<string> Unfit() => _unfit.Select(row => row.What);

    [TestCaseSource(nameof(Unfit)), Clause("SEAL-8")]
    public void Server_refuses_a_key_file_that_is(string what)
    {
        Skip.If(OperatingSystem.IsWindows() || RunSettings.Current.OnWindows, "needs the rights of Unix");

        var (_, text, mode) = _unfit.Single(row => row.What == what);
        string path = Path.Combine(NewFolder("key"), "unfit.key");
        File.WriteAllText(path, text());
        Tool.Run("chmod", mode, path);
        bool isServing = true;
        try
        {
            Start(key: path);
        }
        catch (Violation)
        {
            isServing = false;                          // the server has ended, as it should
        }

        Demand(!isServing, $"the end of a server that is given {what}", "it listens");
    }
}
