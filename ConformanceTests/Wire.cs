// One end of a conversation: sends exactly what it is told to, in the delivery it is told to, and takes exactly the
// octets it expects.  What one receive happened to return is never looked at.

using System.Buffers.Binary;
using System.Globalization;

public enum Delivery { Whole, OctetByOctet, ThreeOctets }

// The implementation did not say or do what the specification wants.
public sealed class Violation(string text) : Exception(text);

public class Wire : IDisposable
{
    readonly Socket socket;
    readonly Side self;
    readonly Delivery delivery;
    readonly byte[] buffer = new byte[1 << 16];
    int start, count;
    readonly List<(Side Side, byte[] Octets)> said = [];
    readonly List<string> events = [];
    int linesSent, repliesTaken;

    public Wire(Socket socket, Side self, Delivery delivery = Delivery.Whole)
    {
        (this.socket, this.self, this.delivery) = (socket, self, delivery);
        socket.NoDelay = true;                          // or Nagle's algorithm joins what was sent octet by octet
        socket.SendTimeout = socket.ReceiveTimeout = Settings.Patience;
    }

    public Socket Socket => socket;
    public bool SendingFailed { get; private set; }

    // ---- sending ----

    public void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    public void Send(ReadOnlySpan<byte> octets)
    {
        said.Add((self, octets.ToArray()));
        linesSent += octets.Count((byte)'\n');
        int size = delivery switch { Delivery.OctetByOctet => 1, Delivery.ThreeOctets => 3, _ => octets.Length };
        try
        {
            for (int sent = 0; sent < octets.Length;)
            {
                // Of long payloads only the ends.
                bool middle = octets.Length > 512 && sent >= 64 && sent < octets.Length - 8;
                int piece = middle ? octets.Length - 8 - sent : Math.Min(size, octets.Length - sent);
                SendPiece(octets.Slice(sent, piece));
                sent += piece;
            }
        }
        catch (SocketException e)
        {
            events.Add($"(sending failed: {e.SocketErrorCode})");
            SendingFailed = true;
        }
    }

    public void HalfClose()
    {
        events.Add("half-close");
        try { EndSending(); }
        catch (SocketException) { }                     // reset by the peer: what it said can still be read
    }

    public void Reset()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    public void Dispose() => socket.Dispose();

    // What is below: the socket, or TLS in it (Tls.cs).
    protected virtual void SendPiece(ReadOnlySpan<byte> piece) => socket.Send(piece);
    protected virtual void EndSending() => socket.Shutdown(SocketShutdown.Send);
    protected virtual int ReceiveSome(byte[] into, int at, int most, out SocketError error) =>
        socket.Receive(into, at, most, SocketFlags.None, out error);

    // ---- receiving ----

    // More octets into the buffer: false at the end of the stream.  A reset is an end, too.
    bool Fill(int timeout)
    {
        if (start > 0) { buffer.AsSpan(start, count).CopyTo(buffer); start = 0; }
        socket.ReceiveTimeout = timeout;
        int received = ReceiveSome(buffer, count, buffer.Length - count, out var error);
        if (error is SocketError.TimedOut or SocketError.WouldBlock) throw new TimeoutException();
        if (error != SocketError.Success) events.Add($"({error})");
        reset |= error == SocketError.ConnectionReset;
        count += received;
        return received > 0;
    }

    // Whether something has come that nobody has asked for yet.
    public bool HasMore => count > 0 || socket.Poll(0, SelectMode.SelectRead);

    // The same, where what has come may be TLS's own affair.
    public bool HasOctets
    {
        get
        {
            try { return count > 0 || !Fill(50) || count > 0; }
            catch (TimeoutException) { return false; }
        }
    }

    byte[] Take(int size)
    {
        var octets = buffer.AsSpan(start, size).ToArray();
        start += size;
        count -= size;
        said.Add((Other, octets));
        return octets;
    }

    Side Other => self == Side.Client ? Side.Server : Side.Client;

    public byte[] Receive(int size, string what = "")
    {
        var all = new byte[size];
        for (int have = 0; have < size;)
        {
            if (count == 0 && !Ensure(() => count > 0))
                throw Wrong(what == "" ? $"{size} octets" : what, null, $"the end after {have} of {size} octets");
            int piece = Math.Min(size - have, count);
            Take(piece).CopyTo(all, have);
            have += piece;
        }
        return all;
    }

    // So many octets, whichever.  They are not kept: they may be more than fit.
    public void Skip(long size)
    {
        for (long left = size; left > 0;)
        {
            if (count == 0 && !Ensure(() => count > 0))
                throw Wrong($"{size} more octets", null, $"the end after {size - left} of them");
            int piece = (int)Math.Min(left, count);
            (start, count, left) = (start + piece, count - piece, left - piece);
        }
    }

    // One line without its LF.
    public string ReceiveLine(string expected = "a line")
    {
        int end() => buffer.AsSpan(start, count).IndexOf((byte)'\n');
        if (!Ensure(() => end() >= 0 || count > 1024))
            throw Wrong(expected, null, count == 0 ? "the end of the connection" : null);
        if (end() is < 0 or >= 1024) throw Wrong(expected, null, "1,024 octets without a line end");
        return Encoding.UTF8.GetString(Take(end() + 1)[..^1]);
    }

    bool Ensure(Func<bool> enough)
    {
        try
        {
            while (!enough())
                if (!Fill(Settings.Patience)) return false;
            return true;
        }
        catch (TimeoutException) { return TimedOut(); }
    }

    // Nothing came.  Does it come once we end our side?
    // That tells a server that reads until the end from one that hangs.
    bool TimedOut()
    {
        events.Add($"(nothing for {Settings.Patience / 1000.0:0.#} s)");
        waited = true;
        if (count == 0 && self == Side.Client)
            try
            {
                EndSending();
                answersAfterEnd = Fill(Settings.Patience / 2) && count > 0;
            }
            catch (Exception e) when (e is TimeoutException or SocketException) { }
        return false;
    }

    bool waited, reset, answersAfterEnd;

    public void Expect(params Piece[] pieces)
    {
        foreach (var piece in pieces)
            switch (piece)
            {
                case Octets(var value): ExpectOctets(value); break;
                case AnyOctets(var size): Receive(size); break;
                case Shape("line"): ReceiveLine(); break;
                case Shape("time"): ReceiveTime(); break;
                case Shape("digits"): ReceiveDigits(); break;
            }
        repliesTaken++;
    }

    void ReceiveTime()
    {
        const string What = "a time such as 2026-01-31T23:59:59Z", Format = "yyyy-MM-dd'T'HH:mm:ss'Z'";
        string time = Encoding.ASCII.GetString(Receive(20, What));
        if (!DateTime.TryParseExact(time, Format, null, DateTimeStyles.None, out _)) throw Wrong(What, null, time);
    }

    void ReceiveDigits()
    {
        int end() => buffer.AsSpan(start, count).IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        if (!Ensure(() => end() >= 0)) throw Wrong("digits", null, "the end");
        if (end() is 0 or > 20)
            throw Wrong("1 to 20 digits", null, Notation.Show(buffer.AsSpan(start, Math.Min(count, 20))));
        Take(end());
    }

    public void Expect(string text) => ExpectOctets(Encoding.UTF8.GetBytes(text));

    public void ExpectOctets(byte[] expected)
    {
        for (int at = 0; at < expected.Length;)
        {
            if (!Ensure(() => count > 0)) throw Wrong(null, expected, null, at);
            int piece = Math.Min(count, expected.Length - at);
            if (!buffer.AsSpan(start, piece).SequenceEqual(expected.AsSpan(at, piece)))
                throw Wrong(null, expected, null, at);
            Take(piece);
            at += piece;
        }
    }

    // An ER with this code; its text is anybody's.
    public void ExpectError(string code, bool closes = false)
    {
        string line = ReceiveLine($"ER|{code}|…\\n");
        if (!line.StartsWith($"ER|{code}|"))
        {
            Unread(line + "\n");
            throw Wrong(null, Encoding.UTF8.GetBytes($"ER|{code}|"), null);
        }
        if (line.Any(char.IsControl))
            throw Wrong("a text without control characters", null, Notation.Show(Encoding.UTF8.GetBytes(line)));
        if (!closes) return;
        ExpectEnd();
        if (reset)
            throw Wrong("the end of the connection", null,
                "a reset: the server closed with octets of ours unread, which can destroy its reply (§8)");
    }

    void Unread(string line)
    {
        int size = Encoding.UTF8.GetByteCount(line);
        start -= size;
        count += size;
        said.RemoveAt(said.Count - 1);
    }

    public void ExpectEnd()
    {
        bool more;
        try { more = count > 0 || Fill(Settings.Patience); }
        catch (TimeoutException)
        {
            waited = true;
            throw Wrong("the connection to be closed", null, "it stays open");
        }
        if (more)
            throw Wrong("the connection to be closed, with nothing more on it", null,
                Notation.Show(buffer.AsSpan(start, count)));
    }

    // Whatever comes until the end; or, where what came is to be judged first, until nothing more comes.
    public byte[] ReceiveRest(bool orSilence = false)
    {
        var all = new MemoryStream();
        try
        {
            do { all.Write(buffer, start, count); start = count = 0; }
            while (Fill(Settings.Patience));
        }
        catch (TimeoutException)
        {
            if (!orSilence) throw Wrong("the end of the connection", null, $"{all.Length} octets, and it stays open");
        }
        return all.ToArray();
    }

    // A whole listing, or any other block without a digest.
    public byte[] ReceiveBlock()
    {
        ulong length = BinaryPrimitives.ReadUInt64BigEndian(Receive(8, "the eight octets of a length"));
        if (length > 1 << 28) throw Wrong("a length that is not absurd", null, $"{length}");
        return Receive((int)length);
    }

    // The barrier: whatever was said before must have brought no answer, or this one is not the first thing to come.
    public string[] List()
    {
        Send("LIST\n");
        Expect("OK\n");
        return Encoding.UTF8.GetString(ReceiveBlock()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    public byte[] Get(string name)
    {
        Send($"GET|{name}\n");
        Expect("OK\n");
        return ReceiveBlock();
    }

    public void Put(string name, byte[] content)
    {
        Send($"PUT|{name}\n");
        Expect("OK\n");
        Send([.. Notation.U64((ulong)content.Length), .. content]);
        Expect("OK\n");
    }

    // ---- the failure, as somebody will read it who has to find the mistake ----

    public Violation Wrong(string? what, byte[]? expected, string? instead, int at = 0)
    {
        if (!waited) TakeWhatIsThere();
        var received = buffer.AsSpan(start, count).ToArray();
        byte[] tail = expected?[at..] ?? [];
        int same = tail.AsSpan().CommonPrefixLength(received);
        string prefix = at > 24 ? "…" : Notation.Show(expected.AsSpan(0, expected is null ? 0 : at));

        string end = waited ? "  (nothing more)" : "  (the end of the connection)";
        string came = received.Length == 0 ? end : Notation.Show(received, 80);

        var text = new StringBuilder();
        text.AppendLine($"expected  {what ?? prefix + Notation.Show(tail, 80)}");
        text.AppendLine($"received  {instead ?? prefix + came}");
        if (expected is not null && instead is null && received.Length > 0)
        {
            int column = prefix.Length + Notation.Show(tail.AsSpan(0, same), int.MaxValue).Length;
            text.AppendLine($"          {new string(' ', column)}^");
        }
        if (expected is { Length: 8 } && expected[..4].All(octet => octet == 0))
        {
            ulong length = BinaryPrimitives.ReadUInt64BigEndian(expected);
            text.AppendLine($"          (expected is the length <u64:{length}>)");
        }
        var evidence = new Evidence(
            self, expected, at, received, waited, answersAfterEnd,
            linesSent, repliesTaken, delivery, SaidBy(Other), what);
        if (Hints.For(evidence) is { } hint) text.AppendLine($"hint      {hint}");
        text.AppendLine("so far");
        text.Append(SoFar());
        return new Violation(text.ToString().TrimEnd());
    }

    void TakeWhatIsThere()
    {
        try
        {
            socket.ReceiveTimeout = 100;
            if (count < 64) Fill(100);
        }
        catch (Exception e) when (e is TimeoutException or SocketException or ObjectDisposedException) { }
    }

    byte[] SaidBy(Side side) => [.. said.Where(entry => entry.Side == side).SelectMany(entry => entry.Octets)];

    public string SoFar()
    {
        var text = new StringBuilder();
        int[] offsets = [0, 0];
        foreach (var group in Joined())
        {
            ref int offset = ref offsets[(int)group.Side];
            char speaker = group.Side == Side.Client ? 'C' : 'S';
            text.AppendLine($"  {offset,6}  {speaker}: {Notation.Show(group.Octets, 100)}");
            offset += group.Octets.Length;
        }
        foreach (string line in events) text.AppendLine($"          {line}");
        return text.Length == 0 ? "          (nothing)\n" : text.ToString();
    }

    List<(Side Side, byte[] Octets)> Joined()
    {
        var joined = new List<(Side Side, byte[] Octets)>();
        foreach (var (side, octets) in said)
        {
            bool goesOn = joined.Count > 0 && joined[^1].Side == side && joined[^1].Octets is not [.., 10];
            if (goesOn) joined[^1] = (side, [.. joined[^1].Octets, .. octets]);
            else joined.Add((side, octets));
        }
        return joined;
    }
}
