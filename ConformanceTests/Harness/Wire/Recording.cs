namespace ConformanceTests.Harness.Wire;

/// <summary>
/// What one side sent up to the next LF, or an event such as a FIN. Only the start and the end of long data are kept.
/// </summary>
public sealed record RecordedLine(
    Side? Side, long Offset, long Length, byte[] First, byte[] Last, long[] Cuts, string Event)
{
    public string Show(int most)
    {
        // Of binary data, the ends are enough.
        if (First.Count(value => value is >= 32 and < 127 or 10) < First.Length / 2)
        {
            most = Math.Min(most, 36);
        }

        if (Length <= most)
        {
            return Notation.Show(First);
        }

        int first = Math.Min(most * 2 / 3, First.Length);
        int last = most / 3;
        byte[] ends = Last.Length >= last ? Last : [.. First, .. Last];
        return $"{Notation.Show(First.AsSpan(0, first))} …({Length - first - last:N0} more)… "
            + Notation.Show(ends.AsSpan()[^Math.Min(last, ends.Length)..]);
    }
}

/// <summary>A connection as a failure shows it.</summary>
/// <param name="Lines">What was sent, in order.</param>
/// <param name="FailedHere">Whether the check that failed was on this connection.</param>
/// <param name="OtherSide">The side that the suite does not play.</param>
/// <param name="UnexpectedBytes">What came from there last.</param>
/// <param name="MatchingBytes">How many of these bytes are as expected.</param>
public sealed record RecordedConnection(
    RecordedLine[] Lines, bool FailedHere, Side OtherSide, byte[] UnexpectedBytes, int MatchingBytes)
{
    private const int Ends = 15;                                // lines at the start and at the end of a long one

    public string Text()
    {
        var text = new StringBuilder();
        for (int i = 0; i < Lines.Length; i++)
        {
            var line = Lines[i];
            if (Lines.Length > 2 * Ends && i == Ends)
            {
                text.Append($"          ({Lines.Length - 2 * Ends:N0} lines more)\n");
                i = Lines.Length - Ends - 1;
            }
            else if (line.Side is { } side)
            {
                // The pieces in which data arrives differ each time, so only those that the suite sent are shown.
                bool cut = line.Cuts.Length > 0 && side != OtherSide;
                string pieces = cut ? $"      [in {line.Cuts.Length + 1:N0} pieces]" : "";
                text.Append($"  {line.Offset,6}  {(side == Side.Client ? 'C' : 'S')}: {line.Show(100)}{pieces}\n");
            }
            else
            {
                text.Append($"          {line.Event}\n");
            }
        }

        return text.Length == 0 ? "          (nothing)\n" : text.ToString();
    }
}

/// <summary>Records what was sent on one connection, in order.</summary>
public sealed class Recording
{
    private const int Head = 600;
    private const int Tail = 200;
    private const int MostCuts = 2000;
    private readonly List<Entry> _entries = [];
    private readonly long[] _offsets = [0, 0];
    private readonly List<long>[] _cuts = [[], []];

    private sealed class Entry
    {
        public Side? Side;
        public string Event = "";
        public long Offset;
        public long Length;
        public byte Latest;
        public readonly List<byte> First = [];
        public byte[] Last = [];

        public void Add(ReadOnlySpan<byte> bytes)
        {
            int kept = Math.Min(Head - First.Count, bytes.Length);
            First.AddRange(bytes[..kept]);
            byte[] rest = [.. Last, .. bytes[kept..][Math.Max(0, bytes.Length - kept - Tail)..]];
            Last = rest.Length > Tail ? rest[^Tail..] : rest;
            Length += bytes.Length;
            Latest = bytes[^1];
        }
    }

    public void Add(Side side, ReadOnlySpan<byte> bytes)
    {
        if (bytes.IsEmpty)
        {
            return;
        }

        lock (_entries)
        {
            bool goesOn = _entries.Count > 0 && _entries[^1].Side == side && _entries[^1].Latest != '\n';
            if (!goesOn)
            {
                _entries.Add(new Entry { Side = side, Offset = _offsets[(int)side] });
            }

            _entries[^1].Add(bytes);
            _offsets[(int)side] += bytes.Length;
        }
    }

    /// <summary>Notes that one send, or one receive, ended after this many bytes.</summary>
    public void MarkPieceEnd(Side side, long at)
    {
        lock (_entries)
        {
            if (_cuts[(int)side].Count < MostCuts)
            {
                _cuts[(int)side].Add(at);
            }
        }
    }

    public void Note(string what)
    {
        lock (_entries)
        {
            _entries.Add(new Entry { Event = what });
        }
    }

    /// <summary>Removes the last bytes, which the test has put back.</summary>
    public void Undo(int bytes)
    {
        lock (_entries)
        {
            var last = _entries[^1];
            last.Length -= bytes;
            last.Last = last.Last[..^Math.Min(bytes, last.Last.Length)];
            int first = (int)Math.Min(last.First.Count, last.Length);
            last.First.RemoveRange(first, last.First.Count - first);
            _offsets[(int)last.Side!] -= bytes;
            if (last.Length == 0)
            {
                _entries.RemoveAt(_entries.Count - 1);
            }
        }
    }

    public RecordedLine[] Lines
    {
        get
        {
            lock (_entries)
            {
                return [.. _entries.Select(Shown)];
            }
        }
    }

    private RecordedLine Shown(Entry entry)
    {
        long end = entry.Offset + entry.Length;
        long[] inside = entry.Side is { } side
            ? [.. _cuts[(int)side].Where(at => at > entry.Offset && at < end).Select(at => at - entry.Offset)]
            : [];
        return new RecordedLine(
            entry.Side, entry.Offset, entry.Length, [.. entry.First], entry.Last, inside, entry.Event);
    }
}
