using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

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
            Assert.That(File.GetUnixFileMode(path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        }

        string pem = File.ReadAllText(path);
        Assert.That(pem.Length, Is.LessThanOrEqualTo(Limits.KeyFileBytes));
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
            wire.Tls.AsClient(new KeyAndCertificate(certificate.RawData, key));
            wire.List();
        }

        server.Dispose();
        var next = Start(key: path);
        Assert.That(File.ReadAllText(path), Is.EqualTo(pem));
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
        if (OperatingSystem.IsWindows() || RunSettings.OnWindows)
        {
            Skip.Because("needs the rights of Unix");
            return;
        }

        var (_, text, mode) = _unfit.Single(row => row.What == what);
        string path = Path.Combine(NewFolder("key"), "unfit.key");
        File.WriteAllText(path, text());
        File.SetUnixFileMode(path, (UnixFileMode)Convert.ToInt32(mode, 8));
        bool isServing = true;
        try
        {
            Start(key: path);
        }
        catch (Violation)
        {
            isServing = false;                          // it has ended, as it should
        }

        Demand(!isServing, $"the end of a server that is given {what}", "it listens");
    }
}
