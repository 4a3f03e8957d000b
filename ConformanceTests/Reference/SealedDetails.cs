using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Reference;

/// <summary>Details of this server's TLS that Protocol.md leaves open.</summary>
[Reference]
public sealed class SealedDetails : SealedFixture
{
    [Test, Clause("SEAL-2")]
    public void Server_ignores_subject_and_dates_of_certificates()
    {
        using var old = new CertificateRequest("CN=long ago", Ours.Key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
        var wire = Dial();
        wire.Tls.AsClient(new KeyAndCertificate(old.RawData, Ours.Key));
        wire.List();
    }

    [Test, Clause("STATUS-1", "SEAL-7")]
    public void Server_does_not_count_bytes_that_it_drops_without_decrypting()
    {
        var server = Start(key: KeyFile);
        SealedConnection other = Enter(server);
        SealedConnection wrong = Enter(server);
        wrong.Send("LIST\r\n");
        wrong.ExpectError("bad-request", closes: true);
        wrong.Send(Notation.Bytes(1000));
        wrong.Dispose();
        string[] Figures() => Encoding.UTF8.GetString(other.AskForBlock("STATUS")).Split('\n')[^2].Split('|');

        Eventually(() => Figures()[1] != "-", "the connection does not end");
        Assert.That(Figures()[4], Is.EqualTo("6"), "the bytes of the request line");
    }

    [Test, Clause("P9", "SEAL-4")]
    public void Server_finds_the_place_of_a_client_that_has_left_among_many_handshakes()
    {
        const int Places = 6;
        var server = Start($"--max-clients {Places}", key: KeyFile);
        server.CloseUnusedConnection();
        var strangers = Enumerable.Range(0, Places).Select(_ => HalfMade(2, server)).ToArray();
        foreach (SealedConnection stranger in strangers)
        {
            stranger.Tls.ReadServerMessages();
        }

        // The server receives all of this when it continues. It handles one handshake in each iteration of its loop.
        server.Program.Signal("STOP");
        foreach (SealedConnection stranger in strangers[1..])
        {
            stranger.Tls.Write([0x17]);
        }

        strangers[0].Dispose();
        SealedConnection next = Dial(server);
        server.Program.Signal("CONT");
        next.Tls.AsClient(Ours);
        next.List();
    }

    [Test, Clause("CLOSE-4", "P12")]
    public void Server_that_is_stopped_ends_the_handshakes_of_clients_for_whom_there_is_no_place()
    {
        var server = Start("--max-clients 1", key: KeyFile);
        server.CloseUnusedConnection();
        Enter(server).List();
        SealedConnection refused = HalfMade(2, server);
        refused.Tls.ReadServerMessages();
        var clock = Stopwatch.StartNew();
        server.Program.Signal("TERM");
        ExpectNothing(refused);
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(RunSettings.Milliseconds(5_000)));
    }

    [Test, Clause("P7")]
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
