using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Reference;

/// <summary>Details of this server's TLS that Protocol.md leaves open.</summary>
public sealed class SealedDetails : SealedFixture
{
    [Test, Clause("SEAL-2"), Reference]
    public void Server_ignores_subject_and_dates_of_certificates()
    {
        using var old = new CertificateRequest("CN=long ago", Ours.Key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
        var wire = Dial();
        wire.Tls.AsClient(new KeyAndCertificate(old.RawData, Ours.Key));
        wire.List();
    }

    [Test, Clause("P7"), Reference]
    public void Server_ends_a_connection_with_key_updates_and_no_data()
    {
        // OpenSSL keeps an answer to each of them in memory until the server sends something.
        SealedConnection wire = Enter();
        wire.List();
        Eventually(() =>
        {
            try
            {
                Repeat(100, () => wire.Tls.Write(wire.Tls.KeyUpdateRecord(asks: true)));
                return false;
            }
            catch (SocketException)
            {
                return true;
            }
        }, "any number of key updates is accepted");
        StillServes();
    }
}
