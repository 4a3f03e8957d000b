// One end of a conversation: sends exactly what it is told to, in the delivery it is told to, and takes exactly the
// octets it expects.  What one receive happened to return is never looked at.

using System.Buffers.Binary;
using System.Globalization;

public enum Delivery { Whole, OctetByOctet, ThreeOctets }

public class Wire : IDisposable
{
    private readonly Socket _socket;
    private readonly Side _self;
    private readonly Delivery _delivery;
    private readonly byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _count;
    private readonly Trace _trace = new();
    private long _arrived;
    private long _sentOctets;
    private int _repliesTaken;

    public Wire(Socket socket, Side self, Delivery delivery = Delivery.Whole)
    {
        _socket = socket;
        _self = self;
        _delivery = delivery;
        socket.NoDelay = true;                          // or Nagle's algorithm joins what was sent octet by octet
        socket.SendTimeout = socket.ReceiveTimeout = Settings.Patience;
        Watch.Current?.Add(this);
    }

    // How long one waits for what never comes.
    public int Patience { get; init; } = Settings.Patience;

    public Socket Socket => _socket;

    public Delivery Delivery => _delivery;

    public Trace Trace => _trace;

    public void ToldToStop(string signal)
    {
        Asked.ToldToStop = true;
        _trace.Happens($"(the server is sent SIG{signal})");
    }

    public Asked Asked { get; } = new();

    public bool SendingFailed { get; private set; }

    // ---- sending ----

    public void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    public void Send(ReadOnlySpan<byte> octets)
    {
        _trace.Add(_self, octets);
        Asked.Sends(octets);
        int size = _delivery switch { Delivery.OctetByOctet => 1, Delivery.ThreeOctets => 3, _ => octets.Length };
        try
        {
            for (int sent = 0; sent < octets.Length;)
            {
                // Of long payloads only the ends.
                bool middle = octets.Length > 512 && sent >= 64 && sent < octets.Length - 8;
                int piece = middle ? octets.Length - 8 - sent : Math.Min(size, octets.Length - sent);
                SendPiece(octets.Slice(sent, piece));
                sent += piece;
                _trace.Cut(_self, _sentOctets += piece);
            }
        }
        catch (SocketException e)
        {
            _trace.Happens(e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock
                ? $"({Name(Other)} takes nothing more for {Seconds(Patience)})"
                : $"({Name(_self)} cannot send: {Name(Other)} has closed the connection)");
            SendingFailed = true;
        }
    }

    public void HalfClose()
    {
        _trace.Happens($"{Name(_self)} ends its sending (half-close)");
        Asked.HalfClosed = HasEnded = true;
        try
        {
            EndSending();
        }
        catch (SocketException) { }                     // reset by the peer: what it said can still be read
    }

    public void Reset()
    {
        _trace.Happens($"{Name(_self)} resets the connection");
        _socket.LingerState = new LingerOption(true, 0);
        Dispose();
    }

    public void Dispose()
    {
        HasEnded = true;
        _socket.Dispose();
    }

    public bool HasEnded { get; private set; }          // our side of it

    // Time that belongs to the conversation.
    public void RestsFor(int milliseconds)
    {
        _trace.Happens($"({Name(_self)} sends nothing and takes nothing for {Seconds(milliseconds)})");
        Thread.Sleep(milliseconds);
    }

    private static string Name(Side side) => side == Side.Client ? "the client" : "the server";

    private static string Seconds(double milliseconds) => $"{milliseconds / 1000:0.#} s";

    // What is below: the socket, or TLS in it (Tls.cs).
    protected virtual void SendPiece(ReadOnlySpan<byte> piece) => _socket.Send(piece);

    protected virtual void EndSending() => _socket.Shutdown(SocketShutdown.Send);

    protected virtual int ReceiveSome(byte[] into, int at, int most, out SocketError error) =>
        _socket.Receive(into, at, most, SocketFlags.None, out error);

    // ---- receiving ----

    // More octets into the buffer: false at the end of the stream.  A reset is an end, too.
    private bool Fill(int timeout)
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _count).CopyTo(_buffer);
            _start = 0;
        }

        _socket.ReceiveTimeout = timeout;
        int received = ReceiveSome(_buffer, _count, _buffer.Length - _count, out var error);
        if (error is SocketError.TimedOut or SocketError.WouldBlock)
        {
            throw new TimeoutException();
        }

        if (error == SocketError.ConnectionReset)
        {
            _trace.Happens($"({Name(Other)} has reset the connection)");
        }
        else if (error != SocketError.Success)
        {
            _trace.Happens("(the connection is lost)");
        }

        _reset |= error == SocketError.ConnectionReset;
        IsAtItsEnd |= received == 0;
        _count += received;
        if (received > 0)
        {
            _trace.Cut(Other, _arrived += received);
        }

        return received > 0;
    }

    public bool IsAtItsEnd { get; private set; }        // the other side of it

    // Whether something has come that nobody has asked for yet.
    public bool HasMore => _count > 0 || _socket.Poll(0, SelectMode.SelectRead);

    // The same, where what has come may be TLS's own affair.
    public bool HasOctets
    {
        get
        {
            try
            {
                return _count > 0 || !Fill(50) || _count > 0;
            }
            catch (TimeoutException)
            {
                return false;
            }
        }
    }

    private byte[] Take(int size)
    {
        var octets = _buffer.AsSpan(_start, size).ToArray();
        _start += size;
        _count -= size;
        _trace.Add(Other, octets);
        Asked.Hears(octets);
        return octets;
    }

    private Side Other => _self == Side.Client ? Side.Server : Side.Client;

    public byte[] Receive(int size, string what = "")
    {
        var all = new byte[size];
        for (int have = 0; have < size;)
        {
            if (_count == 0 && !Ensure(() => _count > 0))
            {
                string came = _waited ? "nothing more" : _reset ? "a reset" : "the end";
                throw Wrong(what == "" ? $"{size:N0} octets" : what, null,
                    $"{came} after {have:N0} of {size:N0} octets");
            }

            int piece = Math.Min(size - have, _count);
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
            if (_count == 0 && !Ensure(() => _count > 0))
            {
                throw Wrong($"{size} more octets", null, $"the end after {size - left} of them");
            }

            int piece = (int)Math.Min(left, _count);
            _start += piece;
            _count -= piece;
            left -= piece;
        }
    }

    // One line without its LF.
    public string ReceiveLine(string expected = "a line")
    {
        int End() => _buffer.AsSpan(_start, _count).IndexOf((byte)'\n');

        if (!Ensure(() => End() >= 0 || _count > 1024))
        {
            throw Wrong(expected, null, _count == 0 && !_waited && !_reset ? "the end of the connection" : null);
        }

        if (End() is < 0 or >= 1024)
        {
            throw Wrong(expected, null, "1,024 octets without a line end");
        }

        return Encoding.UTF8.GetString(Take(End() + 1)[..^1]);
    }

    private bool Ensure(Func<bool> enough)
    {
        try
        {
            while (!enough())
            {
                if (!Fill(Patience))
                {
                    return false;
                }
            }

            return true;
        }
        catch (TimeoutException)
        {
            return TimedOut();
        }
    }

    // Nothing came.  Does it come once the others have gone, or once we end our side?
    // That tells a server that serves one after the other, and one that reads until the end, from one that hangs.
    private bool TimedOut()
    {
        _trace.Happens($"(nothing for {Seconds(Patience)})");
        GiveUp();
        if (_count > 0 || _self == Side.Server)
        {
            return false;
        }

        foreach (var other in Watch.Current?.Wires ?? [])
        {
            if (other != this && other._self == _self)
            {
                try
                {
                    other._socket.Shutdown(SocketShutdown.Both);
                    _others++;
                }
                catch (Exception e) when (e is SocketException or ObjectDisposedException) { }
            }
        }

        _answersAfterOthers = _others > 0 && Comes(_soon);
        if (_answersAfterOthers)
        {
            _trace.Happens("(the test closed its other connections, and the answer came)");
        }
        else
        {
            try
            {
                EndSending();
                _answersAfterEnd = Comes(2 * _soon);
                if (_answersAfterEnd)
                {
                    _trace.Happens("(the test ended its sending, and the answer came)");
                }
            }
            catch (SocketException) { }                     // it was closed meanwhile
        }

        return false;
    }

    // From here on an error of the program is what we do to it, not what it did.
    private void GiveUp()
    {
        _waited = true;
        _givenUp = Wording.Crash(Watch.Current?.Said() ?? "", 0) is null;
    }

    private bool Comes(int within)
    {
        try
        {
            return Fill(within) && _count > 0;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }

    private static readonly int _soon = Settings.Milliseconds(1500);
    private int _others;
    private bool _waited;
    private bool _givenUp;
    private bool _reset;
    private bool _answersAfterEnd;
    private bool _answersAfterOthers;

    public void Expect(params Piece[] pieces)
    {
        foreach (var piece in pieces)
        {
            switch (piece)
            {
                case Octets(var value):
                    ExpectOctets(value);
                    break;
                case AnyOctets(var size):
                    Receive(size);
                    break;
                case Shape("line"):
                    ReceiveLine();
                    break;
                case Shape("time"):
                    ReceiveTime();
                    break;
                case Shape("digits"):
                    ReceiveDigits();
                    break;
            }
        }

        _repliesTaken++;
    }

    private void ReceiveTime()
    {
        const string What = "a time such as 2026-01-31T23:59:59Z";
        const string Format = "yyyy-MM-dd'T'HH:mm:ss'Z'";
        string time = Encoding.ASCII.GetString(Receive(20, What));
        if (!DateTime.TryParseExact(time, Format, null, DateTimeStyles.None, out _))
        {
            throw Wrong(What, null, time);
        }
    }

    private void ReceiveDigits()
    {
        int End() => _buffer.AsSpan(_start, _count).IndexOfAnyExceptInRange((byte)'0', (byte)'9');

        if (!Ensure(() => End() >= 0))
        {
            throw Wrong("digits", null, "the end");
        }

        if (End() is 0 or > 20)
        {
            throw Wrong("1 to 20 digits", null, Notation.Show(_buffer.AsSpan(_start, Math.Min(_count, 20))));
        }

        Take(End());
    }

    public void Expect(string text) => ExpectOctets(Encoding.UTF8.GetBytes(text));

    public void ExpectOctets(byte[] expected)
    {
        for (int at = 0; at < expected.Length;)
        {
            if (!Ensure(() => _count > 0))
            {
                throw Wrong(null, expected, null, at);
            }

            int piece = Math.Min(_count, expected.Length - at);
            if (!_buffer.AsSpan(_start, piece).SequenceEqual(expected.AsSpan(at, piece)))
            {
                throw Wrong(null, expected, null, at);
            }

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
        {
            throw Wrong("a text without control characters", null, Notation.Show(Encoding.UTF8.GetBytes(line)));
        }

        if (!closes)
        {
            return;
        }

        ExpectEnd();
        if (_reset)
        {
            throw Wrong("the end of the connection", null,
                "a reset: the server closed with octets of ours unread, which can destroy its reply (§8)");
        }
    }

    private void GiveBack(string line)
    {
        int size = Encoding.UTF8.GetByteCount(line);
        _start -= size;
        _count += size;
        _trace.TakeBack(size);
    }

    public void ExpectEnd()
    {
        bool more;
        try
        {
            more = _count > 0 || Fill(Patience);
        }
        catch (TimeoutException)
        {
            GiveUp();
            throw Wrong("the connection to be closed", null, $"it stays open, for {Seconds(Patience)}");
        }

        if (more)
        {
            throw Wrong("the connection to be closed, with nothing more on it", null,
                Notation.Show(_buffer.AsSpan(_start, _count)));
        }
    }

    // Whatever comes until the end; or, where what came is to be judged first, until nothing more comes.
    public byte[] ReceiveRest(bool orSilence = false)
    {
        var all = new MemoryStream();
        try
        {
            do
            {
                all.Write(_buffer, _start, _count);
                _trace.Add(Other, _buffer.AsSpan(_start, _count));
                _start = _count = 0;
            }
            while (Fill(Patience));
        }
        catch (TimeoutException)
        {
            if (orSilence)
            {
                return all.ToArray();
            }

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
        if (length > 1 << 28)
        {
            throw Wrong("a length that is not absurd", null, $"{length}");
        }

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
        if (!_waited)
        {
            TakeWhatIsThere();
        }

        var received = _buffer.AsSpan(_start, _count).ToArray();
        byte[] tail = expected?[at..] ?? [];
        int same = tail.AsSpan().CommonPrefixLength(received);
        string prefix = at > 24 ? "…" : Notation.Show(expected.AsSpan(0, expected is null ? 0 : at));

        string end = _waited ? $"  (nothing more, for {Seconds(Patience)})"
            : _reset ? "  (a reset)"
            : "  (the end of the connection)";
        string came = received.Length == 0 ? end : Notation.Show(received, 80);
        bool isLate = (_answersAfterOthers || _answersAfterEnd) && same == Math.Min(tail.Length, received.Length);
        if (isLate)
        {
            string when = _answersAfterOthers ? "the test had closed its other connections"
                : "the test had ended its sending";
            instead ??= $"nothing for {Seconds(Patience)}; then, when {when}: {prefix}{came}";
        }

        var notes = new List<string>();
        if (expected is { Length: 8 } && expected[..4].All(octet => octet == 0))
        {
            byte[] seen = [.. expected[..at], .. received];
            string Number(byte[] octets) => $"<u64:{BinaryPrimitives.ReadUInt64BigEndian(octets)}>";

            string came64 = seen.Length < 8 ? "" : $"; received is {Number(seen)}";
            notes.Add($"(expected is the length {Number(expected)}{came64})");
        }

        // Of several replies, the one that is another.
        int reply = expected.AsSpan(0, expected is null ? 0 : at + same).LastIndexOf("\n"u8) + 1;
        if (!expected.AsSpan(reply).StartsWith("OK"u8) && !expected.AsSpan(reply).StartsWith("ER|"u8))
        {
            reply = 0;
        }

        var evidence = new Evidence
        {
            Self = _self,
            What = what,
            Delivery = _delivery,
            Expected = expected?[reply..],
            At = Math.Max(at - reply, 0),
            Received = received[Math.Max(reply - at, 0)..],
            Waited = _waited,
            Reset = _reset,
            Taken = _repliesTaken,
            Asked = Asked,
            AnswersAfterEnd = _answersAfterEnd,
            AnswersAfterOthers = _answersAfterOthers,
            Clauses = [.. Watch.Current?.Clauses.Select(clause => clause.Id) ?? []],
        };
        FailedHere = true;
        _unread = received;
        _agreed = same;
        var failure = new Failure(what ?? prefix + Notation.Show(tail, 80), (instead ?? prefix + came).Trim())
        {
            Notes = [.. notes],
            GivenUp = _givenUp,
            Caret = expected is not null && instead is null && received.Length > 0
                ? prefix.Length + Notation.Show(tail.AsSpan(0, same), int.MaxValue).Length
                : null,
            Talks = [Talk],
        };
        return new Violation(Hints.Applied(failure, evidence));
    }

    public bool FailedHere { get; private set; }

    private byte[] _unread = [];
    private int _agreed;

    public Talk Talk => new(_trace.Lines, FailedHere, Other, _unread, _agreed);

    private void TakeWhatIsThere()
    {
        try
        {
            _socket.ReceiveTimeout = 100;
            if (_count < 64)
            {
                Fill(100);
            }
        }
        catch (Exception e) when (e is TimeoutException or SocketException or ObjectDisposedException) { }
    }

    public string SoFar() => Talk.Text();
}

// What the client's side of a connection has asked for, as far as a hint needs it.  A server's wire has none.
public sealed class Asked
{
    private readonly List<byte> _partial = [];                   // a request without its end
    private readonly List<byte> _block = [];                     // the start of what followed the last request
    private long _blockOctets = -1;

    public string Last { get; private set; } = "";      // the last request line

    public int Together { get; private set; }           // so many requests without an answer between them

    public bool HalfClosed { get; set; }

    public bool ToldToStop { get; set; }                // the server was, by a signal

    public int Blocks { get; private set; }

    public long Heard { get; private set; }             // octets that have come back

    public bool WithDigest { get; private set; }        // asked for with any request

    private bool _heardSince = true;

    public bool Uneven { get; private set; }            // a piece ended inside a request, or held more than it

    public string Line { get; private set; } = "";      // the last line sent, be it a request or not

    public void Sends(ReadOnlySpan<byte> octets)
    {
        if (!InsideBlock && octets.IndexOf((byte)'\n') is >= 0 and var lf)
        {
            Line = Encoding.UTF8.GetString([.. _partial, .. octets[..lf]]);
        }

        if (IsVerbOrStart(octets) && !octets.Contains((byte)'\n'))
        {
            _partial.AddRange(octets);
            return;
        }

        Uneven = _partial.Count > 0;
        byte[] all = [.. _partial, .. octets];
        _partial.Clear();
        int requests = 0;
        int used = 0;
        for (var rest = all.AsSpan(); rest.IndexOf((byte)'\n') is >= 0 and var end; rest = rest[(end + 1)..])
        {
            if (!IsRequest(rest[..end]))
            {
                break;
            }

            Last = Encoding.UTF8.GetString(rest[..end]);
            requests++;
            _blockOctets = -1;
            used += end + 1;
            WithDigest |= Last.Contains("|digest=");
            _block.Clear();
            var next = rest[(end + 1)..];
            bool another = next.IndexOf((byte)'\n') is >= 0 and var until && IsRequest(next[..until]);
            if (Last.StartsWith("PUT|") && !another)
            {
                break;             // what follows is its block
            }
        }

        if (requests > 0)
        {
            Together = _heardSince ? requests : Together + requests;
            _heardSince = false;
        }

        var left = all.AsSpan(used);
        Uneven |= requests > 0 && !left.IsEmpty;
        if (left.IsEmpty || !Last.StartsWith("PUT|"))
        {
            return;
        }

        if (_blockOctets < 0)
        {
            _blockOctets = 0;
            Blocks++;
        }

        _blockOctets += left.Length;
        if (_block.Count < 8)
        {
            _block.AddRange(left[..Math.Min(left.Length, 8 - _block.Count)]);
        }
    }

    // Before a block is due: what may become a request.
    private bool IsVerbOrStart(ReadOnlySpan<byte> octets) =>
        _partial.Count > 0
        || !octets.IsEmpty && octets[0] is >= (byte)'A' and <= (byte)'Z'
            && (!Last.StartsWith("PUT|") || !InsideBlock && _blockOctets >= 0);

    public void Hears(ReadOnlySpan<byte> octets) => (Heard, _heardSince) = (Heard + octets.Length, true);

    private static bool IsRequest(ReadOnlySpan<byte> line)
    {
        int verb = line.IndexOfAnyExceptInRange((byte)'A', (byte)'Z') is >= 0 and var end ? end : line.Length;
        return verb is >= 3 and <= 8 && (verb == line.Length || line[verb] == '|');
    }

    // How much of the block is still to come; null where there is none.
    public decimal? BlockLeft
    {
        get
        {
            if (_blockOctets < 0)
            {
                return null;
            }

            if (_block.Count < 8)
            {
                return 8 - _block.Count;
            }

            ulong length = BinaryPrimitives.ReadUInt64BigEndian(_block.ToArray());
            return 8m + length + (Last.Contains("|digest=") ? 32 : 0) - _blockOctets;
        }
    }

    public bool InsideBlock => BlockLeft is > 0;

    public bool BlockComplete => BlockLeft is <= 0;
}
