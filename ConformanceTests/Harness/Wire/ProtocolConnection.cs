namespace ConformanceTests.Harness.Wire;

/// <summary>
/// One end of a connection. It sends exactly the given bytes, in the given pieces, and receives
/// exactly the bytes that it expects. How many bytes one receive returned does not matter.
/// </summary>
public partial class ProtocolConnection : IDisposable
{
    private readonly Socket _socket;
    private readonly Side _self;
    private readonly Delivery _delivery;
    private readonly byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _count;
    private readonly Recording _trace = new();
    private long _arrived;
    private long _bytesSent;
    private int _repliesTaken;

    public ProtocolConnection(Socket socket, Side self, Delivery delivery = Delivery.Whole)
    {
        _socket = socket;
        _self = self;
        _delivery = delivery;
        socket.NoDelay = true;                          // otherwise Nagle's algorithm joins single bytes
        socket.SendTimeout = socket.ReceiveTimeout = RunSettings.Patience;
    }

    /// <summary>How many milliseconds to wait for something before that is a failure.</summary>
    public int Patience { get; init; } = RunSettings.Patience;

    public Socket Socket => _socket;

    public Delivery Delivery => _delivery;

    public Recording Trace => _trace;

    public void ToldToStop(string signal)
    {
        Asked.ToldToStop = true;
        _trace.Note($"(the server is sent SIG{signal})");
    }

    public RequestTracker Asked { get; } = new();

    public bool SendingFailed { get; private set; }

    // ---- sending ----

    public void Send(string text) => Send(Encoding.UTF8.GetBytes(text));

    public void Send(ReadOnlySpan<byte> bytes)
    {
        _trace.Add(_self, bytes);
        Asked.AddSent(bytes);
        int size = _delivery switch { Delivery.ByteByByte => 1, Delivery.ThreeBytes => 3, _ => bytes.Length };
        try
        {
            for (int sent = 0; sent < bytes.Length;)
            {
                // Only the start and the end of long data are sent in pieces.
                bool middle = bytes.Length > 512 && sent >= 64 && sent < bytes.Length - 8;
                int piece = middle ? bytes.Length - 8 - sent : Math.Min(size, bytes.Length - sent);
                SendPiece(bytes.Slice(sent, piece));
                sent += piece;
                _trace.MarkPieceEnd(_self, _bytesSent += piece);
            }
        }
        catch (SocketException e)
        {
            _trace.Note(e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock
                ? $"({Name(Other)} takes nothing more for {Seconds(Patience)})"
                : $"({Name(_self)} cannot send: {Name(Other)} has closed the connection)");
            SendingFailed = true;
        }
    }

    public void HalfClose()
    {
        _trace.Note($"{Name(_self)} ends its sending (half-close)");
        Asked.HalfClosed = HasEnded = true;
        try
        {
            EndSending();
        }
        catch (SocketException) { }                     // after a reset, what the peer has sent can still be read
    }

    public void Reset()
    {
        _trace.Note($"{Name(_self)} resets the connection");
        _socket.LingerState = new LingerOption(true, 0);
        Dispose();
    }

    public void Dispose()
    {
        HasEnded = true;
        _socket.Dispose();
    }

    /// <summary>Leaves, with a reset or with a FIN.</summary>
    public void Leave(bool reset)
    {
        if (reset)
        {
            Reset();
        }
        else
        {
            Dispose();
        }
    }

    /// <summary>Ends the sending, with a reset or with a FIN.</summary>
    public void End(bool reset)
    {
        if (reset)
        {
            Reset();
        }
        else
        {
            HalfClose();
        }
    }

    /// <summary>Whether the suite's side has ended.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>Neither sends nor receives for a while, as part of the conversation.</summary>
    public void RestsFor(int milliseconds)
    {
        _trace.Note($"({Name(_self)} sends nothing and takes nothing for {Seconds(milliseconds)})");
        Thread.Sleep(milliseconds);
    }

    private static string Name(Side side) => side == Side.Client ? "the client" : "the server";

    private static string Seconds(double milliseconds) => $"{milliseconds / 1000:0.#} s";

    // The transport: the socket, or TLS on it (Tls.cs).
    protected virtual void SendPiece(ReadOnlySpan<byte> piece) => _socket.Send(piece);

    protected virtual void EndSending() => _socket.Shutdown(SocketShutdown.Send);

    protected virtual int ReceiveSome(byte[] into, int at, int most, out SocketError error) =>
        _socket.Receive(into, at, most, SocketFlags.None, out error);

    // ---- receiving ----

    // Receives more bytes into the buffer. Returns false at the end of the stream; a reset is an end, too.
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
            _trace.Note($"({Name(Other)} has reset the connection)");
        }
        else if (error != SocketError.Success)
        {
            _trace.Note("(the connection is lost)");
        }

        _reset |= error == SocketError.ConnectionReset;
        IsAtItsEnd |= received == 0;
        _count += received;
        if (received > 0)
        {
            _trace.MarkPieceEnd(Other, _arrived += received);
        }

        return received > 0;
    }

    /// <summary>Whether the other side has ended.</summary>
    public bool IsAtItsEnd { get; private set; }

    /// <summary>Whether something has come that the test has not read yet.</summary>
    public bool HasMore => _count > 0 || _socket.Poll(0, SelectMode.SelectRead);

    /// <summary>The same inside TLS, where messages of TLS itself do not count.</summary>
    public bool HasBytes
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
        var bytes = _buffer.AsSpan(_start, size).ToArray();
        _start += size;
        _count -= size;
        _trace.Add(Other, bytes);
        Asked.AddReceived(bytes);
        return bytes;
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
                throw Wrong(what == "" ? $"{size:N0} bytes" : what, null,
                    $"{came} after {have:N0} of {size:N0} bytes");
            }

            int piece = Math.Min(size - have, _count);
            Take(piece).CopyTo(all, have);
            have += piece;
        }

        return all;
    }

    /// <summary>Receives this many bytes and discards them, because they may not fit into memory.</summary>
    public void Skip(long size)
    {
        for (long left = size; left > 0;)
        {
            if (_count == 0 && !Ensure(() => _count > 0))
            {
                throw Wrong($"{size} more bytes", null, $"the end after {size - left} of them");
            }

            int piece = (int)Math.Min(left, _count);
            _start += piece;
            _count -= piece;
            left -= piece;
        }
    }

    /// <summary>Receives a line, and returns it without its LF.</summary>
    public string ReceiveLine(string expected = "a line")
    {
        int End() => _buffer.AsSpan(_start, _count).IndexOf((byte)'\n');

        if (!Ensure(() => End() >= 0 || _count > 1024))
        {
            throw Wrong(expected, null, _count == 0 && !_waited && !_reset ? "the end of the connection" : null);
        }

        if (End() is < 0 or >= 1024)
        {
            throw Wrong(expected, null, "1,024 bytes without a line end");
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

    // Nothing came in time. The watcher tries to find out why.
    private bool TimedOut()
    {
        _trace.Note($"(nothing for {Seconds(Patience)})");
        GiveUp();
        if (_count == 0 && _self == Side.Client && Watcher is { } watcher)
        {
            _lateAnswer = watcher.TryToGetAnAnswer(this);
        }

        return false;
    }

    // The test gives up. It is the cause of errors that the program reports after this.
    private void GiveUp()
    {
        _waited = true;
        _givenUp = Watcher?.HasCrashed != true;
    }

    /// <summary>Tries to find out why nothing comes.</summary>
    public ISilenceWatcher? Watcher { get; set; }

    public Side Self => _self;

    /// <summary>Whether something still comes within so many milliseconds.</summary>
    public bool Comes(int within)
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

    /// <summary>Ends the sending to see whether that brings the answer.</summary>
    /// <returns>False if the connection was closed in the meantime.</returns>
    public bool TryToEndSending()
    {
        try
        {
            EndSending();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private bool _waited;
    private bool _givenUp;
    private bool _reset;
    private LateAnswer _lateAnswer;
}

/// <summary>Tries to find out why nothing comes on a connection.</summary>
public interface ISilenceWatcher
{
    /// <summary>Whether the output of the program shows a crash by now.</summary>
    public bool HasCrashed { get; }

    /// <summary>Removes possible reasons, one after the other, until the answer comes.</summary>
    public LateAnswer TryToGetAnAnswer(ProtocolConnection silent);
}

/// <summary>In which pieces bytes are sent.</summary>
public enum Delivery { Whole, ByteByByte, ThreeBytes }
