// One end of a conversation: sends exactly what it is told to, in the delivery it is told to, and takes exactly the
// octets it expects.  What one receive happened to return is never looked at.

using System.Buffers.Binary;
using System.Globalization;

public enum Delivery { Whole, OctetByOctet, ThreeOctets }

public class Wire : IDisposable
{
    readonly Socket socket;
    readonly Side self;
    readonly Delivery delivery;
    readonly byte[] buffer = new byte[1 << 16];
    int start, count;
    readonly Trace trace = new();
    long arrived, sentOctets;
    int repliesTaken;

    public Wire(Socket socket, Side self, Delivery delivery = Delivery.Whole)
    {
        (this.socket, this.self, this.delivery) = (socket, self, delivery);
        socket.NoDelay = true;                          // or Nagle's algorithm joins what was sent octet by octet
        socket.SendTimeout = socket.ReceiveTimeout = Settings.Patience;
        Watch.Current?.Add(this);
    }

    // How long one waits for what never comes.
    public int Patience { get; init; } = Settings.Patience;

    public Socket Socket => socket;
    public Delivery Delivery => delivery;
    public Trace Trace => trace;

    public void ToldToStop(string signal)
    {
        Asked.ToldToStop = true;
        trace.Happens($"(the server is sent SIG{signal})");
    }
    public Asked Asked { get; } = new();
    public bool SendingFailed { get; private set; }

    // ---- sending ----

    public void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    public void Send(ReadOnlySpan<byte> octets)
    {
        trace.Add(self, octets);
        Asked.Sends(octets);
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
                trace.Cut(self, sentOctets += piece);
            }
        }
        catch (SocketException e)
        {
            trace.Happens(e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock
                ? $"({Name(Other)} takes nothing more for {Seconds(Patience)})"
                : $"({Name(self)} cannot send: {Name(Other)} has closed the connection)");
            SendingFailed = true;
        }
    }

    public void HalfClose()
    {
        trace.Happens($"{Name(self)} ends its sending (half-close)");
        Asked.HalfClosed = HasEnded = true;
        try { EndSending(); }
        catch (SocketException) { }                     // reset by the peer: what it said can still be read
    }

    public void Reset()
    {
        trace.Happens($"{Name(self)} resets the connection");
        socket.LingerState = new LingerOption(true, 0);
        Dispose();
    }

    public void Dispose()
    {
        HasEnded = true;
        socket.Dispose();
    }

    public bool HasEnded { get; private set; }          // our side of it

    // Time that belongs to the conversation.
    public void RestsFor(int milliseconds)
    {
        trace.Happens($"({Name(self)} sends nothing and takes nothing for {Seconds(milliseconds)})");
        Thread.Sleep(milliseconds);
    }

    static string Name(Side side) => side == Side.Client ? "the client" : "the server";
    static string Seconds(double milliseconds) => $"{milliseconds / 1000:0.#} s";

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
        if (error == SocketError.ConnectionReset) trace.Happens($"({Name(Other)} has reset the connection)");
        else if (error != SocketError.Success) trace.Happens("(the connection is lost)");
        reset |= error == SocketError.ConnectionReset;
        IsAtItsEnd |= received == 0;
        count += received;
        if (received > 0) trace.Cut(Other, arrived += received);
        return received > 0;
    }

    public bool IsAtItsEnd { get; private set; }        // the other side of it

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
        trace.Add(Other, octets);
        Asked.Hears(octets);
        return octets;
    }

    Side Other => self == Side.Client ? Side.Server : Side.Client;

    public byte[] Receive(int size, string what = "")
    {
        var all = new byte[size];
        for (int have = 0; have < size;)
        {
            if (count == 0 && !Ensure(() => count > 0))
                throw Wrong(what == "" ? $"{size:N0} octets" : what, null,
                    $"{(waited ? "nothing more" : reset ? "a reset" : "the end")} after {have:N0} of {size:N0} octets");
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
            throw Wrong(expected, null, count == 0 && !waited && !reset ? "the end of the connection" : null);
        if (end() is < 0 or >= 1024) throw Wrong(expected, null, "1,024 octets without a line end");
        return Encoding.UTF8.GetString(Take(end() + 1)[..^1]);
    }

    bool Ensure(Func<bool> enough)
    {
        try
        {
            while (!enough())
                if (!Fill(Patience)) return false;
            return true;
        }
        catch (TimeoutException) { return TimedOut(); }
    }

    // Nothing came.  Does it come once the others have gone, or once we end our side?
    // That tells a server that serves one after the other, and one that reads until the end, from one that hangs.
    bool TimedOut()
    {
        trace.Happens($"(nothing for {Seconds(Patience)})");
        GiveUp();
        if (count > 0 || self == Side.Server) return false;
        foreach (var other in Watch.Current?.Wires ?? [])
            if (other != this && other.self == self)
                try { other.socket.Shutdown(SocketShutdown.Both); others++; }
                catch (Exception e) when (e is SocketException or ObjectDisposedException) { }
        answersAfterOthers = others > 0 && Comes(Soon);
        if (answersAfterOthers) trace.Happens("(the test closed its other connections, and the answer came)");
        else try
        {
            EndSending();
            answersAfterEnd = Comes(2 * Soon);
            if (answersAfterEnd) trace.Happens("(the test ended its sending, and the answer came)");
        }
        catch (SocketException) { }                     // it was closed meanwhile
        return false;
    }

    // From here on an error of the program is what we do to it, not what it did.
    void GiveUp()
    {
        waited = true;
        givenUp = Wording.Crash(Watch.Current?.Said() ?? "", 0) is null;
    }

    bool Comes(int within)
    {
        try { return Fill(within) && count > 0; }
        catch (TimeoutException) { return false; }
    }

    static readonly int Soon = Settings.Milliseconds(1500);
    int others;
    bool waited, givenUp, reset, answersAfterEnd, answersAfterOthers;

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
            GiveBack(line + "\n");
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

    void GiveBack(string line)
    {
        int size = Encoding.UTF8.GetByteCount(line);
        start -= size;
        count += size;
        trace.TakeBack(size);
    }

    public void ExpectEnd()
    {
        bool more;
        try { more = count > 0 || Fill(Patience); }
        catch (TimeoutException)
        {
            GiveUp();
            throw Wrong("the connection to be closed", null, $"it stays open, for {Seconds(Patience)}");
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
            do { all.Write(buffer, start, count); trace.Add(Other, buffer.AsSpan(start, count)); start = count = 0; }
            while (Fill(Patience));
        }
        catch (TimeoutException)
        {
            if (orSilence) return all.ToArray();
            GiveUp();
            throw Wrong("the connection to be closed", null, $"it stays open, with nothing on it for "
                + Seconds(Patience));
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

        string end = waited ? $"  (nothing more, for {Seconds(Patience)})"
            : reset ? "  (a reset)"
            : "  (the end of the connection)";
        string came = received.Length == 0 ? end : Notation.Show(received, 80);
        bool isLate = (answersAfterOthers || answersAfterEnd) && same == Math.Min(tail.Length, received.Length);
        if (isLate)
        {
            string when = answersAfterOthers ? "the test had closed its other connections"
                : "the test had ended its sending";
            instead ??= $"nothing for {Seconds(Patience)}; then, when {when}: {prefix}{came}";
        }
        var notes = new List<string>();
        if (expected is { Length: 8 } && expected[..4].All(octet => octet == 0))
        {
            byte[] seen = [.. expected[..at], .. received];
            string number(byte[] octets) => $"<u64:{BinaryPrimitives.ReadUInt64BigEndian(octets)}>";
            string came64 = seen.Length < 8 ? "" : $"; received is {number(seen)}";
            notes.Add($"(expected is the length {number(expected)}{came64})");
        }

        // Of several replies, the one that is another.
        int reply = expected.AsSpan(0, expected is null ? 0 : at + same).LastIndexOf("\n"u8) + 1;
        if (!expected.AsSpan(reply).StartsWith("OK"u8) && !expected.AsSpan(reply).StartsWith("ER|"u8)) reply = 0;
        var evidence = new Evidence
        {
            Self = self, What = what, Delivery = delivery,
            Expected = expected?[reply..], At = Math.Max(at - reply, 0), Received = received[Math.Max(reply - at, 0)..],
            Waited = waited, Reset = reset, Taken = repliesTaken, Asked = Asked,
            AnswersAfterEnd = answersAfterEnd, AnswersAfterOthers = answersAfterOthers,
            Clauses = [.. Watch.Current?.Clauses.Select(clause => clause.Id) ?? []],
        };
        FailedHere = true;
        (unread, agreed) = (received, same);
        var failure = new Failure(what ?? prefix + Notation.Show(tail, 80), (instead ?? prefix + came).Trim())
        {
            Notes = [.. notes], GivenUp = givenUp,
            Caret = expected is not null && instead is null && received.Length > 0
                ? prefix.Length + Notation.Show(tail.AsSpan(0, same), int.MaxValue).Length
                : null,
            Talks = [Talk],
        };
        return new Violation(Hints.Applied(failure, evidence));
    }

    public bool FailedHere { get; private set; }
    byte[] unread = [];
    int agreed;
    public Talk Talk => new(trace.Lines, FailedHere, Other, unread, agreed);

    void TakeWhatIsThere()
    {
        try
        {
            socket.ReceiveTimeout = 100;
            if (count < 64) Fill(100);
        }
        catch (Exception e) when (e is TimeoutException or SocketException or ObjectDisposedException) { }
    }

    public string SoFar() => Talk.Text();
}

// What the client's side of a connection has asked for, as far as a hint needs it.  A server's wire has none.
public sealed class Asked
{
    readonly List<byte> partial = [];                   // a request without its end
    readonly List<byte> block = [];                     // the start of what followed the last request
    long blockOctets = -1;

    public string Last { get; private set; } = "";      // the last request line
    public int Together { get; private set; }           // so many requests without an answer between them
    public bool HalfClosed { get; set; }
    public bool ToldToStop { get; set; }                // the server was, by a signal
    public int Blocks { get; private set; }
    public long Heard { get; private set; }             // octets that have come back
    public bool WithDigest { get; private set; }        // asked for with any request
    bool heardSince = true;

    public bool Uneven { get; private set; }            // a piece ended inside a request, or held more than it

    public string Line { get; private set; } = "";      // the last line sent, be it a request or not

    public void Sends(ReadOnlySpan<byte> octets)
    {
        if (!InsideBlock && octets.IndexOf((byte)'\n') is >= 0 and var lf)
            Line = Encoding.UTF8.GetString([.. partial, .. octets[..lf]]);
        if (IsVerbOrStart(octets) && !octets.Contains((byte)'\n')) { partial.AddRange(octets); return; }
        Uneven = partial.Count > 0;
        byte[] all = [.. partial, .. octets];
        partial.Clear();
        int requests = 0, used = 0;
        for (var rest = all.AsSpan(); rest.IndexOf((byte)'\n') is >= 0 and var end; rest = rest[(end + 1)..])
        {
            if (!IsRequest(rest[..end])) break;
            (Last, requests, blockOctets) = (Encoding.UTF8.GetString(rest[..end]), requests + 1, -1);
            used += end + 1;
            WithDigest |= Last.Contains("|digest=");
            block.Clear();
            var next = rest[(end + 1)..];
            bool another = next.IndexOf((byte)'\n') is >= 0 and var until && IsRequest(next[..until]);
            if (Last.StartsWith("PUT|") && !another) break;             // what follows is its block
        }
        if (requests > 0) (Together, heardSince) = (heardSince ? requests : Together + requests, false);
        var left = all.AsSpan(used);
        Uneven |= requests > 0 && !left.IsEmpty;
        if (left.IsEmpty || !Last.StartsWith("PUT|")) return;
        if (blockOctets < 0) (blockOctets, Blocks) = (0, Blocks + 1);
        blockOctets += left.Length;
        if (block.Count < 8) block.AddRange(left[..Math.Min(left.Length, 8 - block.Count)]);
    }

    // Before a block is due: what may become a request.
    bool IsVerbOrStart(ReadOnlySpan<byte> octets) =>
        partial.Count > 0
        || !octets.IsEmpty && octets[0] is >= (byte)'A' and <= (byte)'Z'
            && (!Last.StartsWith("PUT|") || !InsideBlock && blockOctets >= 0);

    public void Hears(ReadOnlySpan<byte> octets) => (Heard, heardSince) = (Heard + octets.Length, true);

    static bool IsRequest(ReadOnlySpan<byte> line)
    {
        int verb = line.IndexOfAnyExceptInRange((byte)'A', (byte)'Z') is >= 0 and var end ? end : line.Length;
        return verb is >= 3 and <= 8 && (verb == line.Length || line[verb] == '|');
    }

    // How much of the block is still to come; null where there is none.
    public decimal? BlockLeft
    {
        get
        {
            if (blockOctets < 0) return null;
            if (block.Count < 8) return 8 - block.Count;
            ulong length = BinaryPrimitives.ReadUInt64BigEndian(block.ToArray());
            return 8m + length + (Last.Contains("|digest=") ? 32 : 0) - blockOctets;
        }
    }

    public bool InsideBlock => BlockLeft is > 0;
    public bool BlockComplete => BlockLeft is <= 0;
}
