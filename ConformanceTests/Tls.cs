// TLS 1.3 (RFC 8446), written out: one suite, one group, one signature, one certificate.  A library would do for those
// who behave.  It does not let one show a certificate whose key one has not got, send a handshake without its end, cut
// a record in two or flip a bit of it; and what it is to prove to hold a key can be read here.
//
// Numbers in brackets are sections of that RFC.

using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

// What a side shows, and what it signs with: for an honest one they belong together.
public sealed record Identity(byte[] Certificate, ECDsa Key)
{
    private const string Subject = "CN=imagetransfer";

    // As §14 says a key file's certificate is.
    public static Identity New(string subject = Subject)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest(subject, key, HashAlgorithmName.SHA256)
            .CreateSelfSigned(DateTimeOffset.UnixEpoch, new DateTimeOffset(9999, 12, 31, 23, 59, 59, TimeSpan.Zero));
        return new Identity(certificate.RawData, key);
    }

    // Another object for the same key, for another thread.
    public static Identity Copy(Identity one)
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

// One side of a connection inside TLS.  Nothing in it waits for anything but the socket.
public sealed class Tls(Socket socket, Side self)
{
    // [5.1] what a record holds · [6] the one alert that is no complaint · [4] the messages of a handshake
    public const byte ChangeCipherSpec = 20;
    public const byte Alert = 21;
    public const byte Handshake = 22;
    public const byte Data = 23;
    public const byte CloseNotify = 0;
    private const byte ClientHello = 1;
    private const byte ServerHello = 2;
    private const byte Ticket = 4;
    private const byte Extensions = 8;
    private const byte Certificate = 11;
    private const byte CertificateRequest = 13;
    private const byte CertificateVerify = 15;
    private const byte Finished = 20;
    private const byte KeyUpdate = 24;
    private const byte MessageHash = 254;
    private const int Header = 5;
    private const int MostInRecord = 1 << 14;
    private const int Tag = 16;
    private const int Size = 32;

    // [B] the numbers of what this file can do, and of the extensions that say so
    private static readonly byte[] _suite = [0x13, 0x01];
    private static readonly byte[] _group = [0, 23];
    private static readonly byte[] _signature = [4, 3];
    private static readonly byte[] _version = [3, 4];
    private const ushort Groups = 10;
    private const ushort Signatures = 13;
    private const ushort Versions = 43;
    private const ushort KeyShare = 51;

    // In how many octets at a time it is handed to TCP; 0: whole.
    public int Piece { get; init; }

    // All that it has sent, for those who say it once more; and the alert that ended the other side's sending.
    public readonly MemoryStream Sent = new();

    public byte? Heard { get; private set; }

    public byte[] PeersCertificate { get; private set; } = [];

    // ---- records ----

    private Keys? _sending;
    private Keys? _receiving;                   // null: in the clear
    private readonly byte[] _raw = new byte[Header + MostInRecord + 256];
    private int _count;
    private ReadOnlyMemory<byte> _data;                  // received and not taken yet

    // The octets of a record, which are then to be sent, in this order and whole.
    public byte[] Record(byte type, ReadOnlySpan<byte> octets) =>
        _sending?.Seal(type, octets) ?? [type, 3, 3, .. U16(octets.Length), .. octets];

    public void Write(ReadOnlySpan<byte> octets)
    {
        lock (Sent)
        {
            Sent.Write(octets);
        }

        int size = Piece > 0 ? Piece : octets.Length;
        for (int at = 0; at < octets.Length; at += size)
        {
            socket.Send(octets[at..Math.Min(at + size, octets.Length)]);
        }
    }

    public void Send(ReadOnlySpan<byte> octets)
    {
        for (int at = 0; at < octets.Length; at += MostInRecord)
        {
            Write(Record(Data, octets[at..Math.Min(at + MostInRecord, octets.Length)]));
        }
    }

    // [4.6.3] From here on this side uses other keys; and asks the other side to, or not.
    public byte[] KeyUpdateRecord(bool asks)
    {
        byte[] record = Record(Handshake, Message(KeyUpdate, [(byte)(asks ? 1 : 0)]));
        _sending = _sending!.Next();
        return record;
    }

    public void SendCloseNotify() => Write(Record(Alert, [1, CloseNotify]));

    // Null: the connection has ended, or `error` says what else.  What was received of a record is kept.
    public (byte Type, byte[] Octets)? NextRecord(out SocketError error)
    {
        while (true)
        {
            int length = Header + (_count < Header ? 0 : BinaryPrimitives.ReadUInt16BigEndian(_raw.AsSpan(3)));
            if (length > _raw.Length || _count > 1 && _raw[1] != 3)
            {
                throw new Violation($"expected  a record of TLS\nreceived  {Notation.Show(_raw.AsSpan(0, _count))}");
            }

            if (_count < Header || _count < length)
            {
                int received = socket.Receive(_raw, _count, _raw.Length - _count, SocketFlags.None, out error);
                if (error != SocketError.Success || received == 0)
                {
                    return null;
                }

                _count += received;
                continue;
            }

            byte[] header = _raw[..Header];
            byte[] body = _raw[Header..length];
            _raw.AsSpan(length, _count - length).CopyTo(_raw);
            _count -= length;
            error = SocketError.Success;
            if (header[0] == ChangeCipherSpec)
            {
                continue;                // [D.4] says nothing
            }

            return _receiving is null || header[0] != Data ? (header[0], body) : _receiving.Open(header, body);
        }
    }

    // Octets of the conversation.  0: there will be no more; `Heard` is CloseNotify if the other side has said so.
    public int Receive(Span<byte> into, out SocketError error)
    {
        error = SocketError.Success;
        while (_data.IsEmpty)
        {
            if (Heard is not null && self == Side.Server)
            {
                return 0;
            }

            if (NextRecord(out error) is not var (type, octets))
            {
                return 0;
            }

            if (Heard is not null)
            {
                throw new Violation("expected  nothing behind an alert but the FIN\n"
                + $"received  a record of type {type}, {octets.Length} octets");
            }

            if (type == Alert && octets is [_, var what])
            {
                Heard = what;
            }
            else if (type == Data)
            {
                _data = octets;
            }
            else if (type == Handshake && octets is [KeyUpdate, 0, 0, 1, _])
            {
                _receiving = _receiving!.Next();
            }
            else if (type != Handshake || octets is not [Ticket, ..])
            {
                throw new Violation($"expected  octets of the conversation\nreceived  a record of type {type}");
            }
        }

        int taken = Math.Min(_data.Length, into.Length);
        _data.Span[..taken].CopyTo(into);
        _data = _data[taken..];
        return taken;
    }

    // ---- the handshake [4], in the steps in which the two sides take turns ----

    private IncrementalHash _transcript = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly ECDiffieHellman _ours = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
    private readonly List<byte> _messages = [];                                  // received and not taken yet
    private byte[] _handshake = [];
    private byte[] _master = [];
    private byte[] _clientSecret = [];
    private byte[] _serverSecret = [];

    public void AsClient(Identity? me)
    {
        SendHello();
        HearServer();
        SendProof(me);
    }

    public void SendHello() => Say(ClientHello, HelloBody());

    // A ClientHello's record, for those who send it where it does not belong.
    public static byte[] HelloRecord()
    {
        using var none = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        return new Tls(none, Side.Client).HelloAsRecord();
    }

    private byte[] HelloAsRecord() => Record(Handshake, Message(ClientHello, HelloBody()));

    private byte[] HelloBody() =>
    [
        3, 3, .. RandomNumberGenerator.GetBytes(32), 0, .. Long(_suite), 1, 0,
        .. Long([
            .. Extension(Versions, [2, .. _version]),
            .. Extension(Groups, Long(_group)),
            .. Extension(Signatures, Long(_signature)),
            .. Extension(KeyShare, Long([.. _group, .. Long(Point())])),
        ]),
    ];

    // Everything from its hello to its Finished: it is asked for a certificate, shows its own, and proves to hold its
    // key.  From here on both directions are sealed; who the client is, the server does not know yet.
    public void HearServer()
    {
        var hello = Hear(ServerHello).AsSpan();
        var extensions = hello[(2 + 32 + 1 + hello[34] + 2 + 1 + 2)..];
        TakeHandshakeKeys(Find(extensions, KeyShare)[4..]);
        Hear(Extensions);
        if (Hear(CertificateRequest) is not [0, ..])
        {
            throw new Violation("expected  a CertificateRequest without context\nreceived  one with it");
        }

        TakeCertificate(Hear(Certificate));
        TakeProof("server");
        TakeFinished(_serverSecret);
        _master = Hkdf(Derive(_handshake, "derived", SHA256.HashData([])), new byte[Size]);
        var (client, server) = (Derive(_master, "c ap traffic", Said), Derive(_master, "s ap traffic", Said));
        _next = new Keys(client);
        _receiving = new Keys(server);
    }

    private Keys? _next;

    // The client's certificate, the proof that it holds its key, and Finished.  Null: no certificate.
    public void SendProof(Identity? me)
    {
        foreach (byte[] message in Proof(me))
        {
            Write(Record(Handshake, message));
        }

        _sending = _next;
    }

    // The messages themselves, so that somebody can spoil one before it is sealed.
    public IEnumerable<byte[]> Proof(Identity? me)
    {
        string who = self == Side.Client ? "client" : "server";
        byte[] secret = self == Side.Client ? _clientSecret : _serverSecret;
        yield return Heed(Message(Certificate, me is null ? [0, 0, 0, 0]
            : [0, .. Longer([.. Longer(me.Certificate), 0, 0])]));
        if (me is not null)
        {
            yield return Heed(Message(CertificateVerify, [.. _signature, .. Long(me.Key.SignData(Signed(who),
                HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))]));
        }

        yield return Heed(Message(Finished, HMACSHA256.HashData(Expand(secret, "finished", [], Size), Said)));
    }

    // The other side of it.  A client that offers a key of another group first is asked for one of ours [4.1.4].
    public void AsServer(Identity me)
    {
        byte[] hello = Hear(ClientHello);
        if (TheirShare(hello).Length == 0)
        {
            byte[] first = Said;
            _transcript = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            Heed(Message(MessageHash, first));
            Say(ServerHello, ServerHelloBody(hello, SHA256.HashData("HelloRetryRequest"u8), _group));
            hello = Hear(ClientHello);
        }

        byte[] share = [.. _group, .. Long(Point())];
        Say(ServerHello, ServerHelloBody(hello, RandomNumberGenerator.GetBytes(32), share));
        TakeHandshakeKeys(TheirShare(hello));
        Say(Extensions, [0, 0]);
        Say(CertificateRequest, [0, .. Long(Extension(Signatures, Long(_signature)))]);
        foreach (byte[] message in Proof(me))
        {
            Write(Record(Handshake, message));
        }

        _master = Hkdf(Derive(_handshake, "derived", SHA256.HashData([])), new byte[Size]);
        var client = Derive(_master, "c ap traffic", Said);
        _sending = new Keys(Derive(_master, "s ap traffic", Said));
        TakeCertificate(Hear(Certificate));
        if (PeersCertificate.Length > 0)
        {
            TakeProof("client");
        }

        TakeFinished(_clientSecret);
        _receiving = new Keys(client);
    }

    private static byte[] ServerHelloBody(byte[] hello, byte[] random, byte[] share) =>
    [
        3, 3, .. random, .. hello[34..(35 + hello[34])], .. _suite, 0,
        .. Long([.. Extension(Versions, _version), .. Extension(KeyShare, share)]),
    ];

    // The point that a ClientHello offers in our group; empty: none.
    private static ReadOnlySpan<byte> TheirShare(ReadOnlySpan<byte> hello)
    {
        hello = hello[(35 + hello[34])..];                              // behind version, random and session
        hello = hello[(2 + BinaryPrimitives.ReadUInt16BigEndian(hello))..];
        hello = hello[(1 + hello[0] + 2)..];
        for (var shares = Find(hello, KeyShare)[2..]; shares.Length > 0;)
        {
            int length = BinaryPrimitives.ReadUInt16BigEndian(shares[2..]);
            if (shares.StartsWith(_group))
            {
                return shares.Slice(4, length);
            }

            shares = shares[(4 + length)..];
        }

        return [];
    }

    // ---- what a handshake is made of ----

    private byte[] Said => _transcript.GetCurrentHash();

    private byte[] Heed(byte[] message)
    {
        _transcript.AppendData(message);
        return message;
    }

    private static byte[] Message(byte type, byte[] body) => [type, .. Longer(body)];

    private void Say(byte type, byte[] body) => Write(Record(Handshake, Heed(Message(type, body))));

    // The body of the next message, which is to be this one.
    private byte[] Hear(byte type)
    {
        int Length() => _messages.Count < 4 ? 4 : 4 + (_messages[1] << 16 | _messages[2] << 8 | _messages[3]);

        while (_messages.Count < Length())
        {
            switch (NextRecord(out var error))
            {
                case (Handshake, var octets):
                    _messages.AddRange(octets);
                    break;
                case (Alert, [_, var what]):
                    Heard = what;
                    throw new Violation($"expected  a handshake that goes on\n"
                                        + $"received  the alert {what}");
                case var record:
                    throw new Violation("expected  a handshake that goes on\nreceived  "
                    + (record is var (other, _) ? $"a record of type {other}" : $"the end ({error})"));
            }
        }

        byte[] message = [.. _messages.Take(Length())];
        _messages.RemoveRange(0, message.Length);
        if (message[0] != type)
        {
            throw new Violation($"expected  the message {type} of a handshake\nreceived  the message {message[0]}");
        }

        _before = Said;
        Heed(message);
        return message[4..];
    }

    private byte[] _before = [];                         // what was said up to the message that was heard last

    private void TakeCertificate(byte[] body)
    {
        int length = body[1] << 16 | body[2] << 8 | body[3];
        PeersCertificate = length == 0 ? [] : body[7..(7 + (body[4] << 16 | body[5] << 8 | body[6]))];
    }

    // [4.4.3] Whoever signs what both have said just now holds the key.
    private void TakeProof(string who)
    {
        byte[] body = Hear(CertificateVerify);
        using var certificate = X509CertificateLoader.LoadCertificate(PeersCertificate);
        using var key = certificate.GetECDsaPublicKey();
        bool holds = key is not null && body.AsSpan().StartsWith(_signature)
            && key.VerifyData(SignedWith(who, _before), body.AsSpan(4), HashAlgorithmName.SHA256,
                DSASignatureFormat.Rfc3279DerSequence);
        if (!holds)
        {
            throw new Violation($"expected  the {who}'s proof that it holds its key\nreceived  another");
        }
    }

    private byte[] Signed(string who) => SignedWith(who, Said);

    private static byte[] SignedWith(string who, byte[] said)
    {
        string text = $"{new string(' ', 64)}TLS 1.3, {who} CertificateVerify\0";
        return [.. Encoding.ASCII.GetBytes(text), .. said];
    }

    private void TakeFinished(byte[] secret)
    {
        byte[] body = Hear(Finished);
        if (!body.AsSpan().SequenceEqual(HMACSHA256.HashData(Expand(secret, "finished", [], Size), _before)))
        {
            throw new Violation("expected  the Finished of this handshake\nreceived  another");
        }
    }

    // ---- keys [7.1] ----

    private void TakeHandshakeKeys(ReadOnlySpan<byte> point)
    {
        var q = new ECPoint { X = point[1..33].ToArray(), Y = point[33..65].ToArray() };
        using var theirs = ECDiffieHellman.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = q });
        byte[] shared = _ours.DeriveRawSecretAgreement(theirs.PublicKey);
        byte[] early = Hkdf(new byte[Size], new byte[Size]);
        _handshake = Hkdf(Derive(early, "derived", SHA256.HashData([])), shared);
        (_clientSecret, _serverSecret) =
            (Derive(_handshake, "c hs traffic", Said), Derive(_handshake, "s hs traffic", Said));
        var (client, server) = (new Keys(_clientSecret), new Keys(_serverSecret));
        (_sending, _receiving) = self == Side.Client ? (client, server) : (server, client);
    }

    private byte[] Point()
    {
        var q = _ours.ExportParameters(false).Q;
        return [4, .. q.X!, .. q.Y!];
    }

    private static byte[] Hkdf(byte[] salt, byte[] input) => HKDF.Extract(HashAlgorithmName.SHA256, input, salt);

    private static byte[] Derive(byte[] secret, string label, byte[] hash) => Expand(secret, label, hash, Size);

    private static byte[] Expand(byte[] secret, string label, byte[] context, int length)
    {
        byte[] name = Encoding.ASCII.GetBytes($"tls13 {label}");
        byte[] info = [.. U16(length), (byte)name.Length, .. name, (byte)context.Length, .. context];
        return HKDF.Expand(HashAlgorithmName.SHA256, secret, length, info);
    }

    // One direction: each record has a number, which is never sent and never comes again.
    private sealed class Keys(byte[] secret)
    {
        public Keys Next() => new(Expand(secret, "traffic upd", [], Size));

        private readonly AesGcm _cipher = new(Expand(secret, "key", [], 16), Tag);
        private readonly byte[] _iv = Expand(secret, "iv", [], 12);
        private ulong _number;

        private byte[] Nonce()
        {
            byte[] nonce = [.. _iv];
            var last = nonce.AsSpan(4);
            BinaryPrimitives.WriteUInt64BigEndian(last, BinaryPrimitives.ReadUInt64BigEndian(last) ^ _number++);
            return nonce;
        }

        // [5.2] What kind of record it is, is sealed too, behind its octets; from outside all of them look alike.
        public byte[] Seal(byte type, ReadOnlySpan<byte> octets)
        {
            byte[] inner = [.. octets, type];
            byte[] header = [Data, 3, 3, .. U16(inner.Length + Tag)];
            var (hidden, tag) = (new byte[inner.Length], new byte[Tag]);
            _cipher.Encrypt(Nonce(), inner, hidden, tag, header);
            return [.. header, .. hidden, .. tag];
        }

        public (byte, byte[]) Open(byte[] header, byte[] body)
        {
            var inner = new byte[Math.Max(body.Length - Tag, 0)];
            try
            {
                _cipher.Decrypt(Nonce(), body.AsSpan(..inner.Length), body.AsSpan(inner.Length..), inner, header);
            }
            catch (Exception e) when (e is CryptographicException or ArgumentException)
            {
                throw new Violation("expected  a record of this connection\nreceived  one that cannot be opened");
            }

            int end = Array.FindLastIndex(inner, octet => octet != 0);              // zeros may pad it
            return (inner[end], inner[..end]);
        }
    }

    // ---- octets ----

    private static byte[] U16(int number) => [(byte)(number >> 8), (byte)number];

    private static byte[] Long(byte[] octets) => [.. U16(octets.Length), .. octets];

    private static byte[] Longer(byte[] octets) => [(byte)(octets.Length >> 16), .. U16(octets.Length), .. octets];

    private static byte[] Extension(ushort type, byte[] octets) => [.. U16(type), .. Long(octets)];

    // The octets of one of the extensions that a hello ends with.
    private static ReadOnlySpan<byte> Find(ReadOnlySpan<byte> extensions, ushort type)
    {
        while (extensions.Length >= 4)
        {
            int length = BinaryPrimitives.ReadUInt16BigEndian(extensions[2..]);
            if (BinaryPrimitives.ReadUInt16BigEndian(extensions) == type)
            {
                return extensions.Slice(4, length);
            }

            extensions = extensions[(4 + length)..];
        }

        throw new Violation($"expected  the extension {type} in a hello\nreceived  none");
    }
}

// A conversation inside TLS: what Wire does, an octet's way further down.
public sealed class SealedWire : Wire
{
    public readonly Tls Tls;

    // Whether the other side may end without saying so (SEAL-6): where it was treated badly.
    public bool MayBeCut;

    public SealedWire(Socket socket, Side self, Tls tls, Delivery delivery = Delivery.Whole)
        : base(socket, self, delivery) => Tls = tls;

    protected override void SendPiece(ReadOnlySpan<byte> piece) => Tls.Send(piece);

    protected override void EndSending()
    {
        Tls.SendCloseNotify();
        base.EndSending();
    }

    protected override int ReceiveSome(byte[] into, int at, int most, out SocketError error)
    {
        int received = Tls.Receive(into.AsSpan(at, most), out error);
        if (received == 0 && error == SocketError.Success && Tls.Heard != Tls.CloseNotify && !MayBeCut)
        {
            throw new Violation("expected  close_notify before the FIN (SEAL-6)\nreceived  "
                + (Tls.Heard is { } what ? $"the alert {what}" : "the FIN alone") + $"\nso far\n{SoFar()}");
        }

        return received;
    }
}
