using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Harness.Wire;

/// <summary>The certificate that a side presents, and the key with which it signs. A test may use a pair that does not
/// match.</summary>
public sealed record KeyAndCertificate(byte[] Certificate, ECDsa Key)
{
    private const string Subject = "CN=imagetransfer";

    /// <summary>Makes a key and a certificate as in §21.</summary>
    public static KeyAndCertificate New(string subject = Subject)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, new DateTimeOffset(9999, 12, 31, 23, 59, 59, TimeSpan.Zero));
        return new KeyAndCertificate(certificate.RawData, key);
    }

    /// <summary>Makes another object for the same key, for another thread.</summary>
    public static KeyAndCertificate Copy(KeyAndCertificate one)
    {
        var key = ECDsa.Create();
        key.ImportPkcs8PrivateKey(one.Key.ExportPkcs8PrivateKey(), out _);
        return one with { Key = key };
    }

    public byte[] PublicKey => Key.ExportSubjectPublicKeyInfo();

    public string Pem => $"{Key.ExportPkcs8PrivateKeyPem()}\n{PemEncoding.WriteString("CERTIFICATE", Certificate)}\n";

    public string WriteTo(string path)
    {
        File.WriteAllText(path, Pem);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        return path;
    }
}
