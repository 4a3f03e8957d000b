using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Harness.Wire;

// The certificate that a side presents, and the key it signs with. For an honest side they belong together.
public sealed record KeyAndCertificate(byte[] Certificate, ECDsa Key)
{
    private const string Subject = "CN=imagetransfer";

    // As §14 says a key file's certificate is.
    public static KeyAndCertificate New(string subject = Subject)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, new DateTimeOffset(9999, 12, 31, 23, 59, 59, TimeSpan.Zero));
        return new KeyAndCertificate(certificate.RawData, key);
    }

    // Another object for the same key, for another thread.
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
