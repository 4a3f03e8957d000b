// §14: the same conversation inside TLS.  Who is let in, who is not, and what TLS must not spoil of §8 and §10.
// The suite's own side of it is in Tls.cs.

using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

// Servers that hold the suite's key.
public abstract class SealedConformance : ServerConformance
{
    public static readonly Identity Ours = Identity.New();
    private static readonly Lazy<string> _keyFile =
        new(() => Ours.WriteTo(Path.Combine(Plug.NewFolder("key"), "pictures.key")));

    public static string KeyFile => _keyFile.Value;

    private static readonly ConcurrentBag<RunningServer> _idle = [];

    protected override ConcurrentBag<RunningServer> Idle => _idle;

    protected override RunningServer Launch() => new(key: KeyFile);

    public static void Forget()
    {
        if (_keyFile.IsValueCreated)
        {
            Directory.Delete(Path.GetDirectoryName(KeyFile)!, true);
        }
    }

    // A connection on which nothing has been said yet.
    protected SealedWire Dial(RunningServer? server = null, Delivery delivery = Delivery.Whole)
    {
        int piece = delivery switch { Delivery.OctetByOctet => 1, Delivery.ThreeOctets => 3, _ => 0 };
        var socket = (server ?? Server).Connect().Socket;
        return Own(new SealedWire(socket, Side.Client, new Tls(socket, Side.Client) { Piece = piece }, delivery));
    }

    // One that is let in.
    protected SealedWire Enter(RunningServer? server = null, Delivery delivery = Delivery.Whole)
    {
        var wire = Dial(server, delivery);
        wire.Tls.AsClient(Ours);
        return wire;
    }

    protected void StillServes(RunningServer? server = null)
    {
        using var good = Enter(server);
        good.List();
    }

    // Resident octets of the server's process; 0 where the system does not tell.
    protected long Memory()
    {
        string statm = $"/proc/{Server.Program.Id}/statm";
        return File.Exists(statm) ? long.Parse(File.ReadAllText(statm).Split(' ')[1]) * 4096 : 0;
    }

    // Handshakes, alerts, then the end: and not one octet of the conversation.
    protected static void ExpectNothing(SealedWire wire)
    {
        while (true)
        {
            var record = wire.Tls.NextRecord(out var error);
            if (error is SocketError.TimedOut or SocketError.WouldBlock)
            {
                throw new Violation("expected  the end of the connection\nreceived  nothing; it stays open");
            }

            if (error != SocketError.Success)
            {
                throw new Violation($"expected  the end of the connection\nreceived  {error}, which eats alerts");
            }

            if (record is not var (type, octets))
            {
                return;
            }

            if (type == Tls.Data)
            {
                throw new Violation("expected  not one octet of the conversation\n"
                    + $"received  {Notation.Show(octets)}");
            }
        }
    }
}

public sealed class SealedConversations : SealedConformance
{
    // ---- the same as in the open ----

    private static IEnumerable<TestCaseData> Cases() =>
        from transcript in Spec.Transcripts
        where !transcript.ClientOnly && !transcript.Ids.Any(id => id.StartsWith("STATUS"))
        from delivery in Enum.GetValues<Delivery>()
        select new TestCaseData(transcript, delivery);

    [TestCaseSource(nameof(Cases)), Clause("SEAL-7")]
    public void Sealed(Transcript transcript, Delivery delivery)
    {
        string? missing = transcript.Ids.Select(Offers.Missing).FirstOrDefault(why => why is not null);
        if (missing is not null)
        {
            Assert.Ignore(missing);
        }

        Player.AgainstServer(transcript, Server, delivery, () =>
        {
            var wire = Enter(delivery: delivery);
            wire.MayBeCut = transcript.Ids.Contains("CLOSE-2");         // then nothing is said at the end, or not all
            return wire;
        });
    }

    [Test, Clause("SEAL-7", "BLOCK-1")]
    public void Large_files_go_up_and_come_back_unchanged()
    {
        var wire = Enter();
        foreach (int size in (int[])[(1 << 14) - 1, 1 << 14, (1 << 14) + 1, 6 << 20])
        {
            var picture = Notation.Bytes(size);
            wire.Put($"{size}.png", picture);
            Assert.That(File.ReadAllBytes(Server.PathOf($"{size}.png")).AsSpan().SequenceEqual(picture), "stored");
            Assert.That(wire.Get($"{size}.png").AsSpan().SequenceEqual(picture), "what came back");
        }
    }

    [Test, Clause("SEAL-7", "CONN-2")]
    public void A_thousand_requests_before_the_first_answer_is_read()
    {
        for (int i = 0; i < 20; i++)
        {
            Server.Has($"{i}.png", Notation.Bytes(300));
        }

        var wire = Enter();
        var sending = Task.Run(() => wire.Send(string.Concat(Enumerable.Repeat("LIST\n", 1000))));
        for (int i = 0; i < 1000; i++)
        {
            wire.Expect("OK\n");
            Assert.That(wire.ReceiveBlock(), Has.Length.EqualTo(10 * 31 + 10 * 32));
        }

        Assert.That(sending.Wait(Settings.Patience));
    }

    [Test, Clause("SEAL-7", "P6")]
    public void Fifty_clients_at_once()
    {
        ServesFiftyAtOnce(() => Enter());
    }

    [Test, Clause("SEAL-7", "P6")]
    public void Readers_that_do_not_read_and_a_stalled_uploader_hold_up_nobody()
    {
        Server.Has("big.png", Notation.Bytes(32 << 20));
        var stalled = Enumerable.Range(0, 6).Select(_ => Enter()).ToArray();
        foreach (var wire in stalled)
        {
            wire.Send("GET|big.png\nGET|big.png\n");
        }

        foreach (var wire in stalled)
        {
            wire.Expect("OK\n");
        }

        var uploader = Enter();
        uploader.Send("PUT|up.png\n");
        uploader.Expect("OK\n");
        byte[] record = uploader.Tls.Record(Tls.Data, [.. Notation.U64(100), .. Notation.Bytes(100)]);
        uploader.Tls.Write(record.AsSpan(..^1));        // all of it but the last octet of its record
        var probe = Enter();
        for (int i = 0; i < 20; i++)
        {
            Assert.That(probe.List(), Has.Length.EqualTo(1));
        }

        Assert.That(stalled[0].ReceiveBlock(), Has.Length.EqualTo(32 << 20));
        uploader.Tls.Write(record.AsSpan(^1..));
        uploader.Expect("OK\n");
    }

    // What costs a client nothing to say, and brings no octet of a conversation.
    [Test, Clause("SEAL-7", "P6")]
    public void A_flood_of_records_that_say_nothing_holds_up_nobody(
        [Values("key updates", "key updates that want one back", "empty records")] string what)
    {
        SealedWire flooding = Enter();
        SealedWire other = Enter();
        var flood = new MemoryStream();
        long before = Memory();
        while (flood.Length < 4 << 20)
        {
            flood.Write(what == "empty records"
                ? flooding.Tls.Record(Tls.Data, [])
                : flooding.Tls.KeyUpdateRecord(asks: what != "key updates"));
        }

        var sending = Task.Run(() =>
        {
            try
            {
                flooding.Tls.Write(flood.ToArray());
            }
            catch (SocketException) { }                 // it was ended, which is well, too
        });
        double worst = 0;
        var (all, one) = (Stopwatch.StartNew(), new Stopwatch());
        do
        {
            one.Restart();
            other.List();
            worst = Math.Max(worst, one.Elapsed.TotalMilliseconds);
        }
        while (!sending.IsCompleted);
        double share = Math.Max(all.Elapsed.TotalMilliseconds / 2, Settings.Milliseconds(2500));
        Assert.That(worst, Is.LessThan(share), "milliseconds that another client waited, of those that it all took");
        if (before > 0)
        {
            Assert.That(Memory() - before, Is.LessThan(40 << 20), "resident octets");
        }
    }

    [Test, Clause("SEAL-7", "CONN-3")]
    public void Keys_may_change_while_it_goes_on([Values] bool asks)
    {
        Server.Has("cat.png", Notation.Bytes(100_000));
        var wire = Enter();
        for (int i = 0; i < 5; i++)
        {
            wire.Tls.Write(wire.Tls.KeyUpdateRecord(asks));
            Assert.That(wire.Get("cat.png"), Has.Length.EqualTo(100_000));
        }
    }

    // ---- the end (SEAL-6, SEAL-7) ----

    [Test, Clause("SEAL-7", "CONN-4")]
    public void After_close_notify_all_that_was_asked_is_answered()
    {
        var big = Notation.Bytes(6 << 20);
        Server.Has("big.png", big);
        var wire = Enter();
        wire.Send("GET|big.png\nLIST\n");
        wire.Tls.SendCloseNotify();                     // and no FIN: that is TCP's, and may come later or not at all
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(big));
        wire.Expect("OK\n");
        wire.ReceiveBlock();
        wire.ExpectEnd();
    }

    [Test, Clause("SEAL-6", "CLOSE-2")]
    public void Half_a_line_is_refused_at_close_notify_and_not_answered_at_a_bare_FIN()
    {
        foreach (string half in (string[])["L", "LIST", "PUT|cat.png|digest=sha256"])
        {
            var said = Enter();
            said.Send(half);
            said.HalfClose();
            said.ExpectError("bad-request", closes: true);

            var cut = Enter();
            cut.Send(half);
            cut.Socket.Shutdown(SocketShutdown.Send);
            cut.MayBeCut = true;
            cut.ExpectEnd();
        }

        Assert.That(Enter().List(), Is.Empty);
    }

    [Test, Clause("SEAL-7", "CLOSE-1")]
    public void Octets_behind_a_request_that_closes_do_not_eat_the_reply()
    {
        for (int i = 0; i < 30; i++)
        {
            var wire = Enter();
            wire.Send("LIST\r\n" + new string('x', 5000));
            wire.ExpectError("bad-request", closes: true);
        }
    }

    [Test, Clause("SEAL-7", "CLOSE-1")]
    public void A_last_reply_behind_a_large_block_arrives()
    {
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        SealedWire wire = Enter();
        SealedWire other = Enter();
        wire.Send("GET|big.png\nLIST\r\n" + new string('x', 50_000));
        for (int i = 0; i < 5; i++)
        {
            other.List();
        }

        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture));
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("SEAL-7", "CLOSE-1")]
    public void From_its_end_on_the_server_deciphers_nothing()
    {
        var wire = Enter();
        wire.Send("LIST\r\n");
        wire.ExpectError("bad-request");
        wire.Tls.Write(new byte[20_000]);               // no record at all
        wire.ExpectEnd();
        StillServes();                                  // by now the server has seen it
        wire.Tls.Write(new byte[20_000]);
        StillServes();
        wire.Tls.Write(new byte[1]);                    // a reset would show here
        wire.Socket.Shutdown(SocketShutdown.Send);
        Assert.That(wire.Socket.Receive(new byte[1]), Is.Zero);         // and no reset
    }

    [Test, Clause("SEAL-7", "PUT-5", "CLOSE-1")]
    public void A_reply_survives_the_upload_that_it_refuses()
    {
        var wire = Enter();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(ulong.MaxValue), .. new byte[512 << 10]]);
        wire.ExpectError("too-large", closes: true);
    }

    // ---- cut ----

    private SealedWire Uploading(string name = "cat.png", string options = "")
    {
        var wire = Enter();
        wire.MayBeCut = true;
        wire.Send($"PUT|{name}{options}\n");
        wire.Expect("OK\n");
        return wire;
    }

    private void AssertNothingIsStored(string when) =>
        Assert.That(Directory.GetFileSystemEntries(Server.Folder), Is.Empty, when);

    [Test, Clause("SEAL-6", "P1")]
    public void An_upload_cut_at_every_octet_of_its_record_leaves_nothing([Values] bool resets)
    {
        byte[] block = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int cut = 0, length = 1; cut < length; cut++)
        {
            using var wire = Uploading();
            byte[] record = wire.Tls.Record(Tls.Data, block);
            length = record.Length;
            wire.Tls.Write(record.AsSpan(0, cut));
            if (resets)
            {
                wire.Reset();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                wire.ExpectEnd();
            }

            if (resets)
            {
                ExpectNothingHidden("when the upload has been reset");
            }

            AssertNothingIsStored($"after {cut} of the record's {length} octets");
        }

        Enter().Put("cat.png", Notation.Bytes(20));
    }

    [Test, Clause("SEAL-6", "CLOSE-2", "P1")]
    public void An_upload_cut_between_two_records_leaves_nothing([Values] bool saysSo)
    {
        byte[] picture = Notation.Bytes(20);
        byte[] all = [.. Notation.U64(20), .. picture, .. SHA256.HashData(picture)];
        bool digest = Offers.Missing("DIGEST-1") is null;
        if (!digest)
        {
            all = all[..^32];
        }

        for (int cut = 0; cut < all.Length; cut++)
        {
            using var wire = Uploading(options: digest ? "|digest=sha256" : "");
            for (int i = 0; i < cut; i++)
            {
                wire.Send(all.AsSpan(i, 1));          // an octet a record
            }

            if (saysSo)
            {
                wire.HalfClose();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
            }

            wire.ExpectEnd();
            AssertNothingIsStored($"after {cut} of {all.Length} octets");
        }
    }

    [Test, Clause("SEAL-6", "P1", "P4")]
    public void Where_a_bit_is_flipped_on_the_way_nothing_more_is_done()
    {
        byte[] block = [.. Notation.U64(20), .. Notation.Bytes(20)];
        for (int at = 0, length = 1; at < length; at++)
        {
            using var wire = Uploading();
            byte[] record = wire.Tls.Record(Tls.Data, block);
            byte[] next = wire.Tls.Record(Tls.Data, "LIST\n"u8);
            length = record.Length;
            record[at] ^= 1;
            wire.Tls.Write([.. record, .. next]);
            wire.Socket.Shutdown(SocketShutdown.Send);
            ExpectNothing(wire);
            AssertNothingIsStored($"octet {at} of the record's {length} is wrong");
        }

        StillServes();
    }

    [Test, Clause("SEAL-6", "P1")]
    public void Records_twice_left_out_or_in_another_order_are_none([Values(0, 1, 2)] int how)
    {
        using var wire = Uploading();
        byte[] first = wire.Tls.Record(Tls.Data, Notation.U64(20));
        byte[] second = wire.Tls.Record(Tls.Data, Notation.Bytes(20));
        byte[] third = wire.Tls.Record(Tls.Data, "LIST\n"u8);
        wire.Tls.Write((byte[])(how switch
        {
            0 => [.. first, .. first, .. second, .. third],
            1 => [.. first, .. third],
            _ => [.. second, .. first, .. third],
        }));
        wire.Socket.Shutdown(SocketShutdown.Send);
        ExpectNothing(wire);
        AssertNothingIsStored("records that are not those that were sent");
        StillServes();
    }

    [Test, Clause("SEAL-6", "CONN-3")]
    public void A_record_that_has_not_come_whole_is_no_end()
    {
        var wire = Enter();
        byte[] record = wire.Tls.Record(Tls.Data, "LIST\n"u8);
        for (int i = 0; i < record.Length; i++)
        {
            wire.Tls.Write(record.AsSpan(i, 1));
            if (i % 5 == 0)
            {
                StillServes();              // by now the server has seen it
            }
        }

        wire.Expect("OK\n");
        wire.ReceiveBlock();
    }
}

public sealed class SealedDoor : SealedConformance
{
    // ---- who is let in, and who is not ----

    private static readonly Identity _stranger = Identity.New("CN=somebody");

    private static readonly (string Name, Func<Identity?> Shown)[] _strangers =
    [
        ("no certificate", () => null),
        ("another key", () => _stranger),
        ("another key under the same subject", () => Identity.New()),
        ("the certificate without its key", () => new Identity(Ours.Certificate, _stranger.Key)),
        ("a certificate of the public key, made without its key", () => new Identity(Forged(), _stranger.Key)),
    ];

    // Our public key, certified by a stranger.
    private static byte[] Forged()
    {
        var name = new X500DistinguishedName("CN=imagetransfer");
        var request = new CertificateRequest(name, PublicKey.CreateFromSubjectPublicKeyInfo(Ours.PublicKey, out _),
            HashAlgorithmName.SHA256);
        using var certificate = request.Create(name, X509SignatureGenerator.CreateForECDsa(_stranger.Key),
            DateTimeOffset.UnixEpoch, DateTimeOffset.UtcNow.AddYears(1), [1]);
        return certificate.RawData;
    }

    private static IEnumerable<string> Strangers() => _strangers.Select(row => row.Name);

    [TestCaseSource(nameof(Strangers)), Clause("SEAL-2", "SEAL-4")]
    public void Is_refused(string who)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        for (int round = 0; round < 3; round++)
        {
            var wire = Dial();
            wire.Tls.SendHello();
            wire.Tls.HearServer();
            wire.Tls.SendProof(_strangers.Single(row => row.Name == who).Shown());
            wire.Send("LIST\nGET|cat.png\nPUT|dog.png\n");
            ExpectNothing(wire);
        }

        Assert.That(Server.Shows("dog.png"), Is.False);
        StillServes();
    }

    [Test, Clause("SEAL-2")]
    public void The_server_shows_its_own_certificate_and_proves_to_hold_its_key()
    {
        using var shown = X509CertificateLoader.LoadCertificate(Enter().Tls.PeersCertificate);
        Assert.That(shown.PublicKey.ExportSubjectPublicKeyInfo(), Is.EqualTo(Ours.PublicKey));
    }

    [Test, Clause("SEAL-2"), Reference]
    public void Subjects_and_dates_are_not_looked_at()
    {
        using var old = new CertificateRequest("CN=long ago", Ours.Key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
        var wire = Dial();
        wire.Tls.AsClient(new Identity(old.RawData, Ours.Key));
        wire.List();
    }

    [Test, Clause("SEAL-3")]
    public void Less_than_TLS_1_3_is_refused()
    {
        var wire = Dial();
        using var tls = new SslStream(new NetworkStream(wire.Socket), true, (_, _, _, _) => true);
        using var mine = X509Certificate2.CreateFromPem(Ours.Pem, Ours.Pem);
#pragma warning disable SYSLIB0039, CA5397              // that they are old is what this is about
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = "",
            ClientCertificates = [mine],
            EnabledSslProtocols = SslProtocols.Tls12,
        };
#pragma warning restore
        Assert.That(() => tls.AuthenticateAsClient(options),
            Throws.InstanceOf<AuthenticationException>().Or.InstanceOf<IOException>());
        StillServes();
    }

    [Test, Clause("SEAL-3")]
    public void There_is_no_renegotiation([Values("in the clear", "sealed")] string how)
    {
        for (int round = 0; round < 3; round++)
        {
            var wire = Enter();
            wire.List();
            byte[] hello = Tls.HelloRecord();
            wire.Tls.Write(how == "sealed" ? wire.Tls.Record(Tls.Handshake, hello.AsSpan(5)) : hello);
            wire.Send("LIST\n");
            ExpectNothing(wire);
        }

        StillServes();
    }

    [Test, Clause("SEAL-2", "SEAL-4")]
    public void A_handshake_said_once_more_by_somebody_else_opens_nothing()
    {
        var good = Enter();
        good.Put("cat.png", Notation.Bytes(20));
        byte[] recorded = good.Tls.Sent.ToArray();
        good.Dispose();
        Server.Empty();
        for (int round = 0; round < 3; round++)
        {
            var again = Dial();
            again.Tls.Write(recorded);
            byte[] answer = Raw(again);
            Assert.That(answer, Is.Empty.Or.Matches<byte[]>(octets => octets[0] is Tls.Handshake or Tls.Alert));
            Assert.That(Directory.GetFileSystemEntries(Server.Folder), Is.Empty);
        }

        StillServes();
    }

    // What comes until the end, as it is on the wire.
    private static byte[] Raw(SealedWire wire)
    {
        var all = new MemoryStream();
        var some = new byte[4096];
        while (true)
        {
            int count = wire.Socket.Receive(some, 0, some.Length, SocketFlags.None, out var error);
            if (error is SocketError.TimedOut or SocketError.WouldBlock)
            {
                throw new Violation("expected  the end of the connection\nreceived  nothing; it stays open");
            }

            if (error != SocketError.Success)
            {
                throw new Violation($"expected  the end of the connection\nreceived  {error}, after "
                    + Notation.Show(all.ToArray()));
            }

            if (count == 0)
            {
                return all.ToArray();
            }

            all.Write(some, 0, count);
        }
    }

    // ---- who does not speak TLS at all ----

    private static readonly string[] _plain =
    [
        "LIST\n", "GET|cat.png|digest=sha256\n", "PUT|dog.png\n", "STATUS\n", "LIST\nLIST\nLIST\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
        "\0\0\0\0\0\0\0\0", "\u0015\u0003\u0003\0\u0002\u0002\n",
    ];

    [TestCaseSource(nameof(_plain)), Clause("SEAL-5")]
    public void Plain_text_gets_the_alert_and_nothing_else(string said)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Dial();
        wire.Tls.Write(Encoding.Latin1.GetBytes(said));
        Assert.That(Convert.ToHexString(Raw(wire)), Is.EqualTo("1503030002020A"));
        Assert.That(Server.Shows("dog.png"), Is.False);
        StillServes();
    }

    [Test, Clause("SEAL-5", "CLOSE-1")]
    public void Nor_do_many_octets_of_plain_text_eat_the_alert()
    {
        for (int i = 0; i < 20; i++)
        {
            var wire = Dial();
            wire.Tls.Write([.. "PUT|dog.png\n"u8, .. Notation.U64(100_000), .. Notation.Bytes(100_000)]);
            Assert.That(Convert.ToHexString(Raw(wire)), Is.EqualTo("1503030002020A"));
        }

        StillServes();
    }

    // ---- half of a handshake ----

    // The steps at which a client may stop: before its first octet, inside its hello, behind it, inside its proof.
    private SealedWire HalfMade(int step, RunningServer? server = null)
    {
        var wire = Dial(server);
        if (step == 0)
        {
            return wire;
        }

        if (step == 1)
        {
            wire.Tls.Write(Tls.HelloRecord().AsSpan(0, 50));
        }
        else
        {
            wire.Tls.SendHello();
        }

        if (step == 3)
        {
            wire.Tls.HearServer();
            byte[] certificate = wire.Tls.Proof(Ours).First();
            wire.Tls.Write(wire.Tls.Record(Tls.Handshake, certificate));
        }

        return wire;
    }

    [Test, Clause("SEAL-4", "P6")]
    public void Ninety_half_made_handshakes_hold_up_nobody()
    {
        StillServes();
        var half = Enumerable.Range(0, 90).Select(i => HalfMade(i % 4)).ToArray();
        var clock = Stopwatch.StartNew();
        for (int i = 0; i < 10; i++)
        {
            StillServes();
        }

        var wire = Enter();
        wire.Put("cat.png", Notation.Bytes(100_000));
        Assert.That(wire.Get("cat.png"), Has.Length.EqualTo(100_000));
        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(Settings.Milliseconds(8_000)), "they were waited for");
        foreach (var one in half)
        {
            one.Dispose();
        }

        wire.List();
    }

    [Test, Clause("SEAL-4", "LIMIT-1", "P8")]
    public void A_handshake_has_ten_seconds_in_all()
    {
        var steps = Enumerable.Range(0, 4).Select(step => HalfMade(step)).ToList();
        var dribbled = Dial();
        byte[] hello = Tls.HelloRecord();
        var clock = Stopwatch.StartNew();
        for (int at = 0; clock.Elapsed < TimeSpan.FromSeconds(40); at++)
        {
            dribbled.Tls.Write(hello.AsSpan(Math.Min(at, hello.Length - 2), 1));            // an octet every 200 ms
            if (dribbled.Socket.Poll(200_000, SelectMode.SelectRead))
            {
                break;
            }
        }

        double slack = Settings.Milliseconds(10_000) / 1000.0;
        Assert.That(clock.Elapsed.TotalSeconds, Is.InRange(8.5, 12 + slack), "an octet every 200 ms");
        ExpectNothing(dribbled);
        foreach (var (wire, step) in steps.Select((wire, step) => (wire, step)))
        {
            if (step == 2)
            {
                wire.Tls.HearServer();
            }

            ExpectNothing(wire);
            Assert.That(clock.Elapsed.TotalSeconds, Is.LessThan(14 + slack), $"step {step}");
        }

        StillServes();
    }

    [Test, Clause("SEAL-4", "P11")]
    public void A_handshake_cut_anywhere_costs_nobody_anything()
    {
        byte[] hello = Tls.HelloRecord();
        for (int cut = 0; cut <= hello.Length; cut += 3)
        {
            var wire = Dial();
            wire.Tls.Write(hello.AsSpan(0, cut));
            if (cut % 2 == 0)
            {
                wire.Reset();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                Raw(wire);
            }
        }

        for (int cut = 1, length = 2; cut < length; cut += 23)
        {
            var wire = Dial();
            wire.Tls.SendHello();
            wire.Tls.HearServer();
            byte[] proof = [.. wire.Tls.Proof(Ours).SelectMany(message => wire.Tls.Record(Tls.Handshake, message))];
            length = proof.Length;
            wire.Tls.Write(proof.AsSpan(0, cut));
            if (cut % 2 == 0)
            {
                wire.Reset();
            }
            else
            {
                wire.Socket.Shutdown(SocketShutdown.Send);
                ExpectNothing(wire);
            }
        }

        StillServes();
    }

    [Test, Clause("SEAL-2", "SEAL-4")]
    public void A_bit_flipped_in_the_proof_opens_nothing()
    {
        for (int message = 0; message < 3; message++)
        {
            foreach (int at in (int[])[0, 2, 4, 9, 30, -1])
            {
                var wire = Dial();
                wire.Tls.SendHello();
                wire.Tls.HearServer();
                var proof = wire.Tls.Proof(Ours).ToArray();
                proof[message][at < 0 ? ^1 : at] ^= 1;                  // and sealed then: the record is a good one
                foreach (byte[] each in proof)
                {
                    wire.Tls.Write(wire.Tls.Record(Tls.Handshake, each));
                }

                wire.Socket.Shutdown(SocketShutdown.Send);
                ExpectNothing(wire);
            }
        }

        StillServes();
    }

    // ---- what a handshake counts as ----

    [Test, Clause("SEAL-4", "P9")]
    public void Busy_is_said_inside_and_only_to_who_has_the_key()
    {
        var server = Start(with: "max-clients=2", key: KeyFile);
        SealedWire[] running = [Enter(server), Enter(server)];
        foreach (var wire in running)
        {
            wire.List();
        }

        for (int i = 0; i < 5; i++)
        {
            var outside = Dial(server);
            outside.Tls.SendHello();
            outside.Tls.HearServer();
            outside.Tls.SendProof(_stranger);
            ExpectNothing(outside);
            var inside = Enter(server);
            inside.Send("LIST\nLIST\n");
            inside.ExpectError("busy", closes: true);
            inside.Dispose();
        }

        foreach (var wire in running)
        {
            wire.List();
        }

        running[0].Dispose();
        Eventually(() =>
        {
            using var wire = Enter(server);
            wire.Send("LIST\n");
            return wire.ReceiveLine() == "OK";
        }, "no place becomes free");
    }

    [Test, Clause("SEAL-4", "CLOSE-4", "P12")]
    public void Told_to_stop_it_ends_handshakes_at_once_and_transfers_as_in_the_open()
    {
        var server = Start(key: KeyFile);
        var picture = Notation.Bytes(8 << 20);
        server.Has("cat.png", picture);
        SealedWire idle = Enter(server);
        SealedWire half = Enter(server);
        SealedWire upload = Enter(server);
        SealedWire download = Enter(server);
        idle.List();
        half.List();
        half.Send("LIS");
        upload.Send("PUT|dog.png\n");
        upload.Expect("OK\n");
        upload.Send([.. Notation.U64(30), .. Notation.Bytes(10)]);
        download.Send("GET|cat.png\nLIST\n");
        download.Expect("OK\n");
        var shaking = Enumerable.Range(0, 4).Select(step => HalfMade(step, server)).ToArray();
        shaking[2].Tls.HearServer();
        idle.List();
        var clock = Stopwatch.StartNew();
        server.Program.Signal("TERM");
        foreach (var wire in shaking)
        {
            ExpectNothing(wire);
        }

        Assert.That(clock.ElapsedMilliseconds, Is.LessThan(Settings.Milliseconds(3_000)), "handshakes went on");
        idle.ExpectError("stopping", closes: true);
        half.ExpectError("stopping", closes: true);
        upload.Send(Notation.Bytes(30).AsSpan(10));
        upload.Expect("OK\n");
        upload.ExpectError("stopping", closes: true);
        Assert.That(download.ReceiveBlock().AsSpan().SequenceEqual(picture));
        download.ExpectError("stopping", closes: true);
        foreach (var wire in (SealedWire[])[idle, half, upload, download, .. shaking])
        {
            wire.Dispose();
        }

        Assert.That(server.Program.WaitForExit(Settings.Milliseconds(15_000)), Is.Zero);
        var left = Directory.GetFileSystemEntries(server.Folder).Select(Path.GetFileName);
        Assert.That(left, Is.EquivalentTo(new[] { "cat.png", "dog.png" }));
    }

    [Test, Clause("SEAL-7", "CLOSE-4", "P12")]
    public void Idle_it_ends_at_once_and_says_so_inside([Values("INT", "TERM")] string signal)
    {
        var server = Start(key: KeyFile);
        var wire = Enter(server);
        wire.List();
        server.Program.Signal(signal);
        wire.ExpectError("stopping", closes: true);
        wire.Dispose();
        Assert.That(server.Program.WaitForExit(), Is.Zero);
    }

    [Test, Clause("SEAL-7", "LIMIT-2")]
    public void An_idle_client_is_told_inside()
    {
        var server = Start(with: "idle=1", key: KeyFile);
        Enter(server).ExpectError("timeout", closes: true);
    }

    [Test, Clause("SEAL-7", "LIMIT-1", "LIMIT-3", "P8")]
    public void What_dribbles_inside_is_cut_as_in_the_open()
    {
        SealedWire line = Enter();
        SealedWire block = Enter();
        SealedWire record = Enter();
        block.Send("PUT|cat.png\n");
        block.Expect("OK\n");
        block.Send([.. Notation.U64(1 << 20), .. Notation.Bytes(1000)]);
        byte[] half = record.Tls.Record(Tls.Data, "LIST\n"u8);
        var (clock, ended) = (Stopwatch.StartNew(), new double[3]);
        SealedWire[] all = [line, block, record];
        for (int turn = 0; clock.Elapsed < TimeSpan.FromSeconds(60) && (ended[0] == 0 || ended[1] == 0); turn++)
        {
            for (int i = 0; i < all.Length; i++)
            {
                if (ended[i] == 0 && all[i].Socket.Poll(0, SelectMode.SelectRead) && HasNews(all[i]))
                {
                    ended[i] = clock.Elapsed.TotalSeconds;
                }
            }

            if (ended[0] == 0)
            {
                line.Send("X");
            }

            if (ended[1] == 0)
            {
                block.Send("XXXX");
            }

            if (turn < half.Length / 2)
            {
                record.Tls.Write(half.AsSpan(turn, 1));
            }

            Thread.Sleep(100);
        }

        double slack = Settings.Milliseconds(10_000) / 1000.0;
        Assert.That(ended[0], Is.InRange(9, 12 + slack), "the line");
        Assert.That(ended[1], Is.InRange(18, 42 + slack), "the block");
        line.ExpectError("timeout", closes: true);
        block.ExpectError("timeout", closes: true);
        Assert.That(Server.Shows("cat.png"), Is.False);
    }

    // TLS brings octets of its own, tickets, when a handshake is over.
    private static bool HasNews(SealedWire wire)
    {
        wire.Socket.ReceiveTimeout = 50;
        try
        {
            return wire.HasOctets;
        }
        finally
        {
            wire.Socket.ReceiveTimeout = Settings.Patience;
        }
    }

    // ---- memory, and rest ----

    [Test, Clause("SEAL-7", "P7")]
    public void Ninety_sealed_clients_cost_little()
    {
        Server.Has("big.png", Notation.Bytes(16 << 20));
        StillServes();
        long before = Memory();
        var wires = Enumerable.Range(0, 90).Select(_ => Enter()).ToArray();
        foreach (var wire in wires)
        {
            wire.List();
        }

        foreach (var wire in wires.Take(30))
        {
            wire.Send("GET|big.png\nGET|big.png\n");
        }

        foreach (var wire in wires.Take(30))
        {
            wire.Expect("OK\n");
        }

        foreach (var wire in wires.Skip(30).Take(30))
        {
            wire.Send($"PUT|{Array.IndexOf(wires, wire)}.png\n");
            wire.Expect("OK\n");
            wire.Send([.. Notation.U64(1 << 20), .. Notation.Bytes(100_000)]);
        }

        wires[^1].List();
        if (before == 0)
        {
            return;
        }

        if (Settings.IsReference)
        {
            Assert.That(Memory(), Is.LessThan(100 << 20), "resident octets");
        }
        else
        {
            Assert.That(Memory() - before, Is.LessThan(40 << 20), "resident octets more");
        }
    }

    [Test, Clause("SEAL-4", "P6"), Reference]
    public void It_rests_in_every_state()
    {
        var server = Start(with: "max-clients=20", key: KeyFile);
        server.Has("big.png", Notation.Bytes(32 << 20));
        SealedWire idle = Enter(server);
        SealedWire half = Enter(server);
        SealedWire upload = Enter(server);
        SealedWire stalled = Enter(server);
        SealedWire ended = Enter(server);
        SealedWire closing = Enter(server);
        SealedWire record = Enter(server);
        idle.List();
        half.Send("LIS");
        upload.Send("PUT|cat.png\n");
        upload.Expect("OK\n");
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
