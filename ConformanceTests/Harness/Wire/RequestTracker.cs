namespace ConformanceTests.Harness.Wire;

/// <summary>
/// Finds the requests and blocks in what a client has sent. A hint has to know which request a reply belongs to.
/// </summary>
public sealed class RequestTracker
{
    // A test may send from one thread and receive on another.
    private readonly Lock _lock = new();
    private readonly List<byte> _partial = [];          // a request without its end
    private List<byte> _block = [];                     // the start of what followed the last request
    private long _blockBytes = -1;
    private bool _hasReceivedSince = true;

    public string LastRequest { get; private set; } = "";

    /// <summary>The last line that was sent, even if it is not a request.</summary>
    public string LastLineSent { get; private set; } = "";

    /// <summary>How many requests were sent since the last answer.</summary>
    public int UnansweredRequests { get; private set; }

    public bool HalfClosed { get; set; }

    /// <summary>Whether a signal has told the server to stop.</summary>
    public bool ToldToStop { get; set; }

    /// <summary>How many blocks were sent.</summary>
    public int Blocks { get; private set; }

    public long BytesReceived { get; private set; }

    /// <summary>Whether any request asked for a digest.</summary>
    public bool WithDigest { get; private set; }

    /// <summary>Whether a piece ended inside a request, or held more than one message.</summary>
    public bool PiecesSplitMessages { get; private set; }

    /// <summary>Returns a copy, which later requests do not change.</summary>
    public RequestTracker Copy()
    {
        lock (_lock)
        {
            var copy = (RequestTracker)MemberwiseClone();
            copy._block = [.. _block];
            return copy;
        }
    }

    public void AddSent(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            Add(bytes);
        }
    }

    private void Add(ReadOnlySpan<byte> bytes)
    {
        if (!InsideBlock && bytes.IndexOf((byte)'\n') is >= 0 and var lf)
        {
            LastLineSent = Encoding.UTF8.GetString([.. _partial, .. bytes[..lf]]);
        }

        if (IsVerbOrStart(bytes) && !bytes.Contains((byte)'\n'))
        {
            _partial.AddRange(bytes);
            return;
        }

        PiecesSplitMessages = _partial.Count > 0;
        byte[] all = [.. _partial, .. bytes];
        _partial.Clear();
        int used = AddRequests(all, out int requests);
        if (requests > 0)
        {
            UnansweredRequests = _hasReceivedSince ? requests : UnansweredRequests + requests;
            _hasReceivedSince = false;
        }

        var left = all.AsSpan(used);
        PiecesSplitMessages |= requests > 0 && !left.IsEmpty;
        if (!left.IsEmpty && LastRequest.StartsWith("PUT|"))
        {
            AddToBlock(left);
        }
    }

    // Returns how many bytes the requests have at the start of these bytes. A block may follow.
    private int AddRequests(ReadOnlySpan<byte> bytes, out int requests)
    {
        requests = 0;
        int used = 0;
        while (LineOf(bytes[used..]) is { } end && IsRequest(bytes.Slice(used, end)))
        {
            LastRequest = Encoding.UTF8.GetString(bytes.Slice(used, end));
            requests++;
            _blockBytes = -1;
            _block.Clear();
            WithDigest |= LastRequest.Contains("|digest=");
            used += end + 1;
            bool another = LineOf(bytes[used..]) is { } next && IsRequest(bytes.Slice(used, next));
            if (LastRequest.StartsWith("PUT|") && !another)
            {
                break;                                  // what follows is its block
            }
        }

        return used;
    }

    // The length of the first line without its LF, or null if there is no LF.
    private static int? LineOf(ReadOnlySpan<byte> bytes) => bytes.IndexOf((byte)'\n') is >= 0 and var end ? end : null;

    private void AddToBlock(ReadOnlySpan<byte> bytes)
    {
        if (_blockBytes < 0)
        {
            _blockBytes = 0;
            Blocks++;
        }

        _blockBytes += bytes.Length;
        if (_block.Count < 8)
        {
            _block.AddRange(bytes[..Math.Min(bytes.Length, 8 - _block.Count)]);
        }
    }

    // Whether these bytes may be the start of a request, because no block is due.
    private bool IsVerbOrStart(ReadOnlySpan<byte> bytes) =>
        _partial.Count > 0
        || !bytes.IsEmpty && bytes[0] is >= (byte)'A' and <= (byte)'Z'
            && (!LastRequest.StartsWith("PUT|") || !InsideBlock && _blockBytes >= 0);

    public void AddReceived(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            BytesReceived += bytes.Length;
            _hasReceivedSince = true;
        }
    }

    private static bool IsRequest(ReadOnlySpan<byte> line)
    {
        int verb = line.IndexOfAnyExceptInRange((byte)'A', (byte)'Z') is >= 0 and var end ? end : line.Length;
        return verb is >= 3 and <= 8 && (verb == line.Length || line[verb] == '|');
    }

    /// <summary>How many bytes of the block were not sent yet, or null if no block was begun.</summary>
    public decimal? BlockLeft
    {
        get
        {
            lock (_lock)
            {
                if (_blockBytes < 0)
                {
                    return null;
                }

                if (_block.Count < 8)
                {
                    return 8 - _block.Count;
                }

                ulong length = BinaryPrimitives.ReadUInt64BigEndian(_block.ToArray());
                return 8m + length + (LastRequest.Contains("|digest=") ? 32 : 0) - _blockBytes;
            }
        }
    }

    public bool InsideBlock => BlockLeft is > 0;

    public bool BlockComplete => BlockLeft is <= 0;
}
