namespace ConformanceTests.Harness.Wire;

/// <summary>
/// One side of a TLS 1.3 connection (RFC 8446), written out: one cipher suite, one group, one signature
/// algorithm, one certificate. A library would do for a program that behaves. Tests need one that can show a
/// certificate without its key, leave out the end of a handshake, cut a record in two or flip one of its bits.
/// Numbers in brackets are sections of the RFC.
/// </summary>
public sealed partial class Tls(Socket socket, Side self)
{
    // [5.1] the types of records, [6] the only alert that is not an error, [4] the messages of a handshake
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

    // [B] the numbers of the algorithms in this file, and of the extensions that name them
    private static readonly byte[] _suite = [0x13, 0x01];
    private static readonly byte[] _group = [0, 23];
    private static readonly byte[] _signature = [4, 3];
    private static readonly byte[] _version = [3, 4];
    private const ushort Groups = 10;
    private const ushort Signatures = 13;
    private const ushort Versions = 43;
    private const ushort KeyShare = 51;

    /// <summary>How many bytes are sent to TCP at a time. 0 means all.</summary>
    public int Piece { get; init; }

    /// <summary>Everything that was sent, for tests that replay it.</summary>
    public readonly MemoryStream Sent = new();

    /// <summary>The alert that ended the other side's sending.</summary>
    public byte? AlertReceived { get; private set; }

    public byte[] PeersCertificate { get; private set; } = [];

    // ---- records ----

    private Keys? _sending;
    private Keys? _receiving;                           // null as long as records are not encrypted
    private readonly byte[] _raw = new byte[Header + MostInRecord + 256];
    private int _count;
    private ReadOnlyMemory<byte> _data;                 // received and not read yet

    // Returns the bytes of a record. Records have to be sent in the order in which they were made.
    public byte[] Record(byte type, ReadOnlySpan<byte> bytes) =>
        _sending?.Seal(type, bytes) ?? [type, 3, 3, .. U16(bytes.Length), .. bytes];

    public void Write(ReadOnlySpan<byte> bytes)
    {
        lock (Sent)
        {
            Sent.Write(bytes);
        }

        int size = Piece > 0 ? Piece : bytes.Length;
        for (int at = 0; at < bytes.Length; at += size)
        {
            socket.Send(bytes[at..Math.Min(at + size, bytes.Length)]);
        }
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        for (int at = 0; at < bytes.Length; at += MostInRecord)
        {
            Write(Record(Data, bytes[at..Math.Min(at + MostInRecord, bytes.Length)]));
        }
    }

    // [4.6.3] After this record, this side uses other keys. It can ask the other side to do so, too.
    public byte[] KeyUpdateRecord(bool asks)
    {
        byte[] record = Record(Handshake, Message(KeyUpdate, [(byte)(asks ? 1 : 0)]));
        _sending = _sending!.Next();
        return record;
    }

    // [4.6.1] A session ticket, which a server may send at any time and a client may ignore.
    public byte[] TicketRecord()
    {
        byte[] lifetimeAndAge = [0, 0, 0x1C, 0x20, 1, 2, 3, 4];
        byte[] nonce = [1, 0];
        byte[] ticket = [0, 4, 5, 6, 7, 8];
        byte[] noExtensions = [0, 0];
        return Record(Handshake, Message(Ticket, [.. lifetimeAndAge, .. nonce, .. ticket, .. noExtensions]));
    }

    public void SendCloseNotify() => Write(Record(Alert, [1, CloseNotify]));

    // Returns null if the connection has ended, or with an `error`. A part of a record that was received is kept.
    public (byte Type, byte[] Bytes)? NextRecord(out SocketError error)
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
                continue;                               // [D.4] it has no meaning
            }

            return _receiving is null || header[0] != Data ? (header[0], body) : _receiving.Open(header, body);
        }
    }

    // Receives bytes of the conversation. Returns 0 at the end; AlertReceived is CloseNotify if that was sent.
    public int Receive(Span<byte> into, out SocketError error)
    {
        error = SocketError.Success;
        while (_data.IsEmpty)
        {
            if (AlertReceived is not null && self == Side.Server)
            {
                return 0;
            }

            if (NextRecord(out error) is not var (type, bytes))
            {
                return 0;
            }

            if (AlertReceived is not null)
            {
                throw new Violation("expected  nothing after an alert but the FIN\n"
                + $"received  a record of type {type}, {bytes.Length} bytes");
            }

            if (type == Alert && bytes is [_, var what])
            {
                AlertReceived = what;
            }
            else if (type == Data)
            {
                _data = bytes;
            }
            else if (type == Handshake && bytes is [KeyUpdate, 0, 0, 1, _])
            {
                _receiving = _receiving!.Next();
            }
            else if (type != Handshake || bytes is not [Ticket, ..])
            {
                throw new Violation($"expected  bytes of the conversation\nreceived  a record of type {type}");
            }
        }

        int taken = Math.Min(_data.Length, into.Length);
        _data.Span[..taken].CopyTo(into);
        _data = _data[taken..];
        return taken;
    }

    private static byte[] Message(byte type, byte[] body) => [type, .. Longer(body)];

    private void SendMessage(byte type, byte[] body) => Write(Record(Handshake, AddToTranscript(Message(type, body))));

    private static byte[] Expand(byte[] secret, string label, byte[] context, int length)
    {
        byte[] name = Encoding.ASCII.GetBytes($"tls13 {label}");
        byte[] info = [.. U16(length), (byte)name.Length, .. name, (byte)context.Length, .. context];
        return HKDF.Expand(HashAlgorithmName.SHA256, secret, length, info);
    }

    // The keys of one direction. Each record has a number, which is not sent and is never used again.
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

        // [5.2] The type of a record is encrypted, too, after its content: from outside, all records look the same.
        public byte[] Seal(byte type, ReadOnlySpan<byte> bytes)
        {
            byte[] inner = [.. bytes, type];
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

            int end = Array.FindLastIndex(inner, value => value != 0);              // zeros may pad it
            return (inner[end], inner[..end]);
        }
    }

    // ---- bytes ----

    private static byte[] U16(int number) => [(byte)(number >> 8), (byte)number];

    private static byte[] Long(byte[] bytes) => [.. U16(bytes.Length), .. bytes];

    private static byte[] Longer(byte[] bytes) => [(byte)(bytes.Length >> 16), .. U16(bytes.Length), .. bytes];
}
