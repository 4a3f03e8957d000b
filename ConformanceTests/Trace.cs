// What went over one connection, in order, and what one test has to do with: its connections, its programs.

// One side's octets up to the next line end, or an event.  Of long ones only the ends are kept.
public sealed record Utterance(
    Side? Side, long Offset, long Length, byte[] First, byte[] Last, long[] Cuts, string Event)
{
    public string Show(int most)
    {
        // Of what is no text its ends are enough.
        if (First.Count(octet => octet is >= 32 and < 127 or 10) < First.Length / 2) most = Math.Min(most, 36);
        if (Length <= most) return Notation.Show(First);
        int first = Math.Min(most * 2 / 3, First.Length), last = most / 3;
        byte[] ends = Last.Length >= last ? Last : [.. First, .. Last];
        return $"{Notation.Show(First.AsSpan(0, first))} …({Length - first - last:N0} more)… "
            + Notation.Show(ends.AsSpan()[^Math.Min(last, ends.Length)..]);
    }
}

// A connection as a failure shows it.  Unread: what came from there last, and is what was expected up to Same.
public sealed record Talk(Utterance[] Lines, bool FailedHere, Side Peer, byte[] Unread, int Same)
{
    const int Ends = 15;                                // lines at the start and at the end of a long one

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
                // Into which pieces the network cut what came is another matter each time.
                bool cut = line.Cuts.Length > 0 && side != Peer;
                string pieces = cut ? $"      [in {line.Cuts.Length + 1:N0} pieces]" : "";
                text.Append($"  {line.Offset,6}  {(side == Side.Client ? 'C' : 'S')}: {line.Show(100)}{pieces}\n");
            }
            else text.Append($"          {line.Event}\n");
        }
        return text.Length == 0 ? "          (nothing)\n" : text.ToString();
    }
}

public sealed class Trace
{
    const int Head = 600, Tail = 200, MostCuts = 2000;
    readonly List<Entry> entries = [];
    readonly long[] offsets = [0, 0];
    readonly List<long>[] cuts = [[], []];

    sealed class Entry
    {
        public Side? Side;
        public string Event = "";
        public long Offset, Length;
        public byte Latest;
        public readonly List<byte> First = [];
        public byte[] Last = [];

        public void Add(ReadOnlySpan<byte> octets)
        {
            int kept = Math.Min(Head - First.Count, octets.Length);
            First.AddRange(octets[..kept]);
            byte[] rest = [.. Last, .. octets[kept..][Math.Max(0, octets.Length - kept - Tail)..]];
            Last = rest.Length > Tail ? rest[^Tail..] : rest;
            Length += octets.Length;
            Latest = octets[^1];
        }
    }

    public void Add(Side side, ReadOnlySpan<byte> octets)
    {
        if (octets.IsEmpty) return;
        lock (entries)
        {
            bool goesOn = entries.Count > 0 && entries[^1].Side == side && entries[^1].Latest != '\n';
            if (!goesOn) entries.Add(new Entry { Side = side, Offset = offsets[(int)side] });
            entries[^1].Add(octets);
            offsets[(int)side] += octets.Length;
        }
    }

    // One send, or one receive, ended at this many octets.
    public void Cut(Side side, long at)
    {
        lock (entries) if (cuts[(int)side].Count < MostCuts) cuts[(int)side].Add(at);
    }

    public void Happens(string what)
    {
        lock (entries) entries.Add(new Entry { Event = what });
    }

    // What a reader took by mistake, given back: it is the last.
    public void TakeBack(int octets)
    {
        lock (entries)
        {
            var last = entries[^1];
            last.Length -= octets;
            last.First.RemoveRange((int)last.Length, octets);
            offsets[(int)last.Side!] -= octets;
            if (last.Length == 0) entries.RemoveAt(entries.Count - 1);
        }
    }

    public Utterance[] Lines
    {
        get { lock (entries) return [.. entries.Select(Shown)]; }
    }

    Utterance Shown(Entry entry)
    {
        long end = entry.Offset + entry.Length;
        long[] inside = entry.Side is { } side
            ? [.. cuts[(int)side].Where(at => at > entry.Offset && at < end).Select(at => at - entry.Offset)]
            : [];
        return new Utterance(
            entry.Side, entry.Offset, entry.Length, [.. entry.First], entry.Last, inside, entry.Event);
    }
}

// Everything that the test that runs now has connected and started.
public sealed class Watch : IDisposable
{
    static readonly AsyncLocal<Watch?> current = new();
    readonly Watch? outer = current.Value;
    readonly List<Wire> wires = [];
    readonly List<(Program Program, int Output, int Errors)> programs = [];
    readonly List<Violation> violations = [];
    public readonly Clause[] Clauses;
    public readonly string Test;

    public Watch(Clause[] clauses, string test)
    {
        (Clauses, Test) = (clauses, test);
        current.Value = this;
    }

    public void Dispose() => current.Value = outer;

    public static Watch? Current => current.Value;
    public Wire[] Wires { get { lock (wires) return [.. wires]; } }
    public Violation[] Violations { get { lock (violations) return [.. violations]; } }
    public string? Command { get; set; }                // what a client was last started for
    public string RunAs { get; set; } = "";             // the same with its files
    public int? ClientExit { get; set; }

    public void Add(Wire wire) { lock (wires) wires.Add(wire); }
    public void Add(Violation violation) { lock (violations) violations.Add(violation); }

    // From here on what it says is said during this test.
    public void Add(Program program)
    {
        lock (programs)
            if (!programs.Any(entry => entry.Program == program))
                programs.Add((program, program.Output.Length, program.Errors.Length));
    }

    // The last program, if all that the test has started have ended.
    public Program? Ended
    {
        get
        {
            lock (programs)
                return programs.All(entry => entry.Program.HasEnded) ? programs.LastOrDefault().Program : null;
        }
    }

    string? saidInTime;

    // What is said from here on is said of what the test does to the program when it ends.
    public void Ends()
    {
        for (int i = 0; i < 5 && Said() == ""; i++) Thread.Sleep(10);           // it may be on its way
        if (Said() != "") Thread.Sleep(20);
        saidInTime ??= Said();
    }

    public string Said()
    {
        if (saidInTime is not null) return saidInTime;
        lock (programs)
            return string.Concat(programs.Select(entry =>
                entry.Program.Output[entry.Output..] + entry.Program.Errors[entry.Errors..]));
    }

    public string? Who { get { lock (programs) return programs.Count > 0 ? programs[^1].Program.Name : null; } }
}
