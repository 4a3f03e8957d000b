using System.Security.Cryptography.X509Certificates;

namespace ConformanceTests.Harness.Wire;

/// <summary>The handshake: messages, proofs and keys.</summary>
public sealed partial class Tls
{
    // ---- the handshake [4], step by step ----

    private IncrementalHash _transcript = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly ECDiffieHellman _ours = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);
    private readonly List<byte> _messages = [];         // received and not read yet
    private byte[] _handshake = [];
    private byte[] _master = [];
    private byte[] _clientSecret = [];
    private byte[] _serverSecret = [];

    public void AsClient(KeyAndCertificate? me)
    {
        ExchangeHellos();
        SendProof(me);
    }

    /// <summary>Sends the ClientHello, and receives everything up to the server's Finished.</summary>
    public void ExchangeHellos()
    {
        SendHello();
        ReadServerMessages();
    }

    public void SendHello() => SendMessage(ClientHello, HelloBody());

    // The record of a ClientHello, for tests that send it at a wrong moment.
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

    // Receives everything from the server's hello to its Finished: the server asks for a certificate, presents its own,
    // and proves that it has the key. After this, both directions are encrypted. The client has not proved itself yet.
    public void ReadServerMessages()
    {
        var hello = ReceiveMessage(ServerHello).AsSpan();
        var extensions = hello[(2 + 32 + 1 + hello[34] + 2 + 1 + 2)..];
        TakeHandshakeKeys(Find(extensions, KeyShare)[4..]);
        ReceiveMessage(Extensions);
        if (ReceiveMessage(CertificateRequest) is not [0, ..])
        {
            throw new Violation("expected  a CertificateRequest without context\nreceived  one with it");
        }

        TakeCertificate(ReceiveMessage(Certificate));
        TakeProof("server");
        TakeFinished(_serverSecret);
        _master = Hkdf(Derive(_handshake, "derived", SHA256.HashData([])), new byte[Size]);
        var client = Derive(_master, "c ap traffic", TranscriptHash);
        var server = Derive(_master, "s ap traffic", TranscriptHash);
        _next = new Keys(client);
        _receiving = new Keys(server);
    }

    private Keys? _next;

    // Sends the client's certificate, the proof that it has the key, and Finished. With null, it has no certificate.
    public void SendProof(KeyAndCertificate? me)
    {
        foreach (byte[] message in Proof(me))
        {
            Write(Record(Handshake, message));
        }

        _sending = _next;
    }

    // Sends the same, with data of the conversation right after it, in one piece.
    public void SendProofWithData(KeyAndCertificate me, ReadOnlySpan<byte> data)
    {
        List<byte> all = [.. Proof(me).SelectMany(message => Record(Handshake, message))];
        _sending = _next;
        for (int at = 0; at < data.Length; at += MostInRecord)
        {
            all.AddRange(Record(Data, data[at..Math.Min(at + MostInRecord, data.Length)]));
        }

        Write(all.ToArray());
    }

    // Returns the messages, so that a test can change one before it is encrypted.
    public IEnumerable<byte[]> Proof(KeyAndCertificate? me)
    {
        string who = self == Side.Client ? "client" : "server";
        byte[] secret = self == Side.Client ? _clientSecret : _serverSecret;
        yield return AddToTranscript(Message(Certificate, me is null ? [0, 0, 0, 0]
            : [0, .. Longer([.. Longer(me.Certificate), 0, 0])]));
        if (me is not null)
        {
            yield return AddToTranscript(Message(CertificateVerify, [.. _signature, .. Long(me.Key.SignData(Signed(who),
                HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))]));
        }

        byte[] finished = HMACSHA256.HashData(Expand(secret, "finished", [], Size), TranscriptHash);
        yield return AddToTranscript(Message(Finished, finished));
    }

    // The server's side. If the client offers a key of another group, the server asks for one of this group [4.1.4].
    public void AsServer(KeyAndCertificate me)
    {
        byte[] hello = ReceiveMessage(ClientHello);
        if (TheirShare(hello).Length == 0)
        {
            byte[] first = TranscriptHash;
            _transcript = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            AddToTranscript(Message(MessageHash, first));
            SendMessage(ServerHello, ServerHelloBody(hello, SHA256.HashData("HelloRetryRequest"u8), _group));
            hello = ReceiveMessage(ClientHello);
        }

        byte[] share = [.. _group, .. Long(Point())];
        SendMessage(ServerHello, ServerHelloBody(hello, RandomNumberGenerator.GetBytes(32), share));
        TakeHandshakeKeys(TheirShare(hello));
        SendMessage(Extensions, [0, 0]);
        SendMessage(CertificateRequest, [0, .. Long(Extension(Signatures, Long(_signature)))]);
        foreach (byte[] message in Proof(me))
        {
            Write(Record(Handshake, message));
        }

        _master = Hkdf(Derive(_handshake, "derived", SHA256.HashData([])), new byte[Size]);
        var client = Derive(_master, "c ap traffic", TranscriptHash);
        _sending = new Keys(Derive(_master, "s ap traffic", TranscriptHash));
        TakeCertificate(ReceiveMessage(Certificate));
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

    // Returns the point that a ClientHello offers in this group, or nothing.
    private static ReadOnlySpan<byte> TheirShare(ReadOnlySpan<byte> hello)
    {
        hello = hello[(35 + hello[34])..];                              // after version, random and session
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

    private byte[] TranscriptHash => _transcript.GetCurrentHash();

    private byte[] AddToTranscript(byte[] message)
    {
        _transcript.AppendData(message);
        return message;
    }

    // Receives the next message, which has to be of this type, and returns its body.
    private byte[] ReceiveMessage(byte type)
    {
        int Length() => _messages.Count < 4 ? 4 : 4 + (_messages[1] << 16 | _messages[2] << 8 | _messages[3]);

        while (_messages.Count < Length())
        {
            switch (NextRecord(out var error))
            {
                case (Handshake, var bytes):
                    _messages.AddRange(bytes);
                    break;
                case (Alert, [_, var what]):
                    AlertReceived = what;
                    throw new Violation($"expected  the handshake to continue\n"
                                        + $"received  the alert {what}");
                case var record:
                    throw new Violation("expected  the handshake to continue\nreceived  "
                    + (record is var (other, _) ? $"a record of type {other}" : $"the end ({error})"));
            }
        }

        byte[] message = [.. _messages.Take(Length())];
        _messages.RemoveRange(0, message.Length);
        if (message[0] != type)
        {
            throw new Violation($"expected  the message {type} of a handshake\nreceived  the message {message[0]}");
        }

        _before = TranscriptHash;
        AddToTranscript(message);
        return message[4..];
    }

    private byte[] _before = [];                         // the transcript up to the last message that was received

    private void TakeCertificate(byte[] body)
    {
        int length = body[1] << 16 | body[2] << 8 | body[3];
        PeersCertificate = length == 0 ? [] : body[7..(7 + (body[4] << 16 | body[5] << 8 | body[6]))];
    }

    // [4.4.3] A side that can sign what both have sent in this handshake has the key.
    private void TakeProof(string who)
    {
        byte[] body = ReceiveMessage(CertificateVerify);
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

    private byte[] Signed(string who) => SignedWith(who, TranscriptHash);

    private static byte[] SignedWith(string who, byte[] said)
    {
        string text = $"{new string(' ', 64)}TLS 1.3, {who} CertificateVerify\0";
        return [.. Encoding.ASCII.GetBytes(text), .. said];
    }

    private void TakeFinished(byte[] secret)
    {
        byte[] body = ReceiveMessage(Finished);
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
            (Derive(_handshake, "c hs traffic", TranscriptHash), Derive(_handshake, "s hs traffic", TranscriptHash));
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

    private static byte[] Extension(ushort type, byte[] bytes) => [.. U16(type), .. Long(bytes)];

    // Returns the bytes of one extension of a hello.
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
