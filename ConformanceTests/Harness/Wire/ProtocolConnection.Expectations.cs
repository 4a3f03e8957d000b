namespace ConformanceTests.Harness.Wire;

/// <summary>What is expected to come, and the failure if something else does.</summary>
public partial class ProtocolConnection
{
    public void Expect(params Piece[] pieces)
    {
        foreach (var piece in pieces)
        {
            switch (piece)
            {
                case KnownBytes(var value):
                    ExpectBytes(value);
                    break;
                case AnyBytes(var size):
                    Receive(size);
                    break;
                case Placeholder("line"):
                    ReceiveLine();
                    break;
                case Placeholder("time"):
                    ReceiveTime();
                    break;
                case Placeholder("digits"):
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

    public void Expect(string text)
    {
        ExpectBytes(Encoding.UTF8.GetBytes(text));
        _repliesTaken++;
    }

    public void ExpectBytes(byte[] expected)
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

    /// <summary>Expects an ER line with this code, and any text.</summary>
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

        _repliesTaken++;
        if (!closes)
        {
            return;
        }

        ExpectEnd();
        if (_reset)
        {
            throw Wrong("the end of the connection", null,
                "a reset: the server closed while bytes from the client were unread, which can destroy its reply (§7)");
        }
    }

    /// <summary>Returns the failure for a line that was not expected.</summary>
    /// <param name="what">What was expected, in words, if these say more than the line.</param>
    /// <param name="expected">The expected line, without its LF.</param>
    /// <param name="received">The line that <see cref="ReceiveLine"/> has just returned.</param>
    public MismatchViolation WrongLine(string? what, string expected, string received)
    {
        GiveBack(received + "\n");
        return Wrong(what, Encoding.UTF8.GetBytes(expected + "\n"), null);
    }

    private void GiveBack(string line)
    {
        int size = Encoding.UTF8.GetByteCount(line);
        _start -= size;
        _count += size;
        _trace.Undo(size);
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

    /// <summary>Ends the sending, and expects the end of the connection.</summary>
    public void Finish()
    {
        HalfClose();
        ExpectEnd();
    }

    // Receives everything up to the end of the connection. With orSilence, it returns if nothing more comes.
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

    /// <summary>What a failure says that was expected where the length of a block cannot be one.</summary>
    public const string PossibleLength = "a length below 256 MiB, since no file here is larger";

    /// <summary>Receives a block without a digest, such as a listing.</summary>
    public byte[] ReceiveBlock()
    {
        ulong length = BinaryPrimitives.ReadUInt64BigEndian(Receive(8, "the eight bytes of a length"));
        if (length > 1 << 28)
        {
            throw Wrong(PossibleLength, null, $"{length}");
        }

        return Receive((int)length);
    }

    // ---- the steps of most tests: a request, and the answer that it must have ----

    /// <summary>Sends a request line, and expects OK.</summary>
    public void Ask(string request)
    {
        Send(request + "\n");
        Expect("OK\n");
    }

    /// <summary>Sends a request line, and returns the block after the OK.</summary>
    public byte[] AskForBlock(string request)
    {
        Send(request + "\n");
        return ReceiveAnswer();
    }

    /// <summary>Returns the block of an answer that is OK.</summary>
    public byte[] ReceiveAnswer()
    {
        Expect("OK\n");
        return ReceiveBlock();
    }

    /// <summary>Sends a request line, and expects an error.</summary>
    public void ExpectRefusal(string request, string code, bool closes = false)
    {
        Send(request + "\n");
        ExpectError(code, closes);
    }

    /// <summary>Sends a block that must be refused.</summary>
    public void ExpectRefusal(ReadOnlySpan<byte> block, string code, bool closes = false)
    {
        Send(block);
        ExpectError(code, closes);
    }

    /// <summary>
    /// Asks for a listing, and returns its lines. Answers to earlier requests would come first, so after this, the
    /// server has read everything that was sent before.
    /// </summary>
    public string[] List() =>
        Encoding.UTF8.GetString(AskForBlock("LIST")).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public byte[] Get(string name) => AskForBlock($"GET|{name}");

    /// <summary>Uploads a file, which must be stored.</summary>
    public void Put(string name, byte[] content)
    {
        BeginPut(name, content.Length, content);
        Expect("OK\n");
    }

    /// <summary>Begins an upload: the request, the go-ahead, the length, and the first bytes.</summary>
    /// <param name="name">The name of the file, and options after it.</param>
    /// <param name="length">The length that is announced.</param>
    /// <param name="first">What is sent at once, with the length.</param>
    public void BeginPut(string name, long length, ReadOnlySpan<byte> first)
    {
        Ask($"PUT|{name}");
        Send([.. Notation.U64((ulong)length), .. first]);
    }

    // ---- failures: what was expected and what came; Diagnosis explains them ----

    public MismatchViolation Wrong(string? what, byte[]? expected, string? instead, int at = 0)
    {
        if (!_waited)
        {
            TakeWhatIsThere();
        }

        FailedHere = true;
        _unread = _buffer.AsSpan(_start, _count).ToArray();
        _agreed = expected.AsSpan(expected is null ? 0 : at).CommonPrefixLength(_unread);
        return new MismatchViolation(new Mismatch
        {
            Self = _self,
            Delivery = _delivery,
            What = what,
            Expected = expected,
            At = at,
            Received = _unread,
            Instead = instead,
            Waited = _waited,
            Patience = Patience,
            GivenUp = _givenUp,
            Reset = _reset,
            LateAnswer = _lateAnswer,
            RepliesAccepted = _repliesTaken,
            Asked = Asked.Copy(),
            Connection = Talk,
        });
    }

    public bool FailedHere { get; private set; }

    private byte[] _unread = [];
    private int _agreed;

    public RecordedConnection Talk => new(_trace.Lines, FailedHere, Other, _unread, _agreed);

    private void TakeWhatIsThere()
    {
        try
        {
            _socket.ReceiveTimeout = 100;
            while (_count < 64 && Fill(100))
            {
            }
        }
        catch (Exception e) when (e is TimeoutException or SocketException or ObjectDisposedException) { }
    }

    public string SoFar() => Talk.Text();
}
