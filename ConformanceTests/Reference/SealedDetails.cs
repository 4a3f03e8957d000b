using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Reference;

/// <summary>Details of this server's TLS that Protocol.md leaves open.</summary>
public sealed class SealedDetails : SealedFixture
{
    [Test, Clause("SEAL-2"), Reference]
    public void Subjects_and_dates_are_not_looked_at()
    {
        using var old = new CertificateRequest("CN=long ago", Ours.Key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
        var wire = Dial();
        wire.Tls.AsClient(new KeyAndCertificate(old.RawData, Ours.Key));
        wire.List();
    }

    [Test, Clause("P7"), Reference]
    public void Key_updates_without_data_end_the_connection()
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

    [Test, Clause("SEAL-4", "P6"), Reference]
    public void It_rests_in_every_state()
    {
        var server = Start(with: "max-clients=20", key: KeyFile);
        server.Has("big.png", Notation.Bytes(32 << 20));
        SealedConnection idle = Enter(server);
        SealedConnection half = Enter(server);
        SealedConnection upload = Enter(server);
        SealedConnection stalled = Enter(server);
        SealedConnection ended = Enter(server);
        SealedConnection closing = Enter(server);
        SealedConnection record = Enter(server);
        idle.List();
        half.Send("LIS");
        upload.Ask("PUT|cat.png");
        upload.Send(Notation.U64(1000));
        stalled.Send("GET|big.png\nGET|big.png\n");
        ended.Send("GET|big.png\n");
        ended.Tls.SendCloseNotify();
        closing.Send("LIST\r\n");
        record.Tls.Write(record.Tls.Record(Tls.Data, "LIST\n"u8).AsSpan(..^1));
        var shaking = Enumerable.Range(0, 4).Select(step => HalfMade(step, server)).ToArray();
        idle.List();
        Thread.Sleep(300);
        var before = server.Program.CpuTime;
        Thread.Sleep(2000);
        Assert.That((server.Program.CpuTime - before).TotalMilliseconds, Is.LessThan(400));
        foreach (var wire in shaking)
        {
            wire.Dispose();
        }
    }
}
