using System.Security.Cryptography.X509Certificates;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Sections;

/// <summary>SEAL-1: the key file of a server.</summary>
public sealed class KeyFiles : SealedFixture
{
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
}
