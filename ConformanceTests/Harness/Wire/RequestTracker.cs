namespace ConformanceTests.Harness.Wire;

/// <summary>What the client's side of a connection has asked for, as far as a hint needs it.</summary>
public sealed class RequestTracker
{
    // A test may send from one thread and receive on another.
    private readonly Lock _lock = new();
    private readonly List<byte> _partial = [];                   // a request without its end
    private List<byte> _block = [];                              // the start of what followed the last request
    private long _blockBytes = -1;

    public string LastRequest { get; private set; } = "";      // the last request line

    public int UnansweredRequests { get; private set; }           // so many requests without an answer between them

    public bool HalfClosed { get; set; }

    public bool ToldToStop { get; set; }                // the server was, by a signal

    public int Blocks { get; private set; }

    public long BytesReceived { get; private set; }             // bytes that have come back

    public bool WithDigest { get; private set; }        // asked for with any request

    private bool _hasReceivedSince = true;

    public bool PiecesSplitMessages { get; private set; }    // a piece ended inside a request, or held more than it

    public string LastLineSent { get; private set; } = "";      // the last line sent, be it a request or not

    /// <summary>What has been asked so far, which later requests do not change.</summary>
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
        int requests = 0;
        int used = 0;
        for (var rest = all.AsSpan(); rest.IndexOf((byte)'\n') is >= 0 and var end; rest = rest[(end + 1)..])
        {
            if (!IsRequest(rest[..end]))
            {
                break;
            }

            LastRequest = Encoding.UTF8.GetString(rest[..end]);
            requests++;
            _blockBytes = -1;
            used += end + 1;
            WithDigest |= LastRequest.Contains("|digest=");
            _block.Clear();
            var next = rest[(end + 1)..];
            bool another = next.IndexOf((byte)'\n') is >= 0 and var until && IsRequest(next[..until]);
            if (LastRequest.StartsWith("PUT|") && !another)
            {
                break;             // what follows is its block
            }
        }

        if (requests > 0)
        {
            UnansweredRequests = _hasReceivedSince ? requests : UnansweredRequests + requests;
            _hasReceivedSince = false;
        }

        var left = all.AsSpan(used);
        PiecesSplitMessages |= requests > 0 && !left.IsEmpty;
        if (left.IsEmpty || !LastRequest.StartsWith("PUT|"))
        {
            return;
        }

        if (_blockBytes < 0)
        {
            _blockBytes = 0;
            Blocks++;
        }

        _blockBytes += left.Length;
        if (_block.Count < 8)
        {
            _block.AddRange(left[..Math.Min(left.Length, 8 - _block.Count)]);
        }
    }

    // Before a block is due: what may become a request.
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

    // How much of the block is still to come; null where there is none.
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
