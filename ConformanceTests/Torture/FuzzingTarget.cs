namespace ConformanceTests.Torture;

/// <summary>
/// A server whose log goes into a file, and the resources that it used before a test. Afterwards it must use no more.
/// </summary>
public abstract class FuzzingTarget
{
    private readonly string _log;
    private int _descriptors;
    private long _resident;

    /// <param name="folder">A folder for the log.</param>
    /// <param name="start">Starts the server with this launcher.</param>
    protected FuzzingTarget(string folder, Func<string, RunningServer> start)
    {
        _log = Path.Combine(folder, "stderr");
        Server = start($"sh -c 'exec \"$@\" 2>{_log}' sh");
    }

    public RunningServer Server { get; }

    /// <summary>Checks the resources, the folder and the log, and returns figures for the report.</summary>
    /// <param name="names">The names of the entries that the folder must have.</param>
    /// <param name="mishaps">Words that the log must not have.</param>
    protected string CheckAsBefore(IEnumerable<string> names, params string[] mishaps)
    {
        string[] Entries() => [.. Directory.GetFileSystemEntries(Server.Folder).Select(Path.GetFileName)!];

        bool IsClean() =>
            TortureFixture.Descriptors(Server) <= _descriptors && Entries().Order().SequenceEqual(names.Order());

        for (var clock = Stopwatch.StartNew(); !IsClean() && clock.ElapsedMilliseconds < RunSettings.Patience;)
        {
            Thread.Sleep(20);
        }

        Assert.That(Entries(), Is.EquivalentTo(names));
        Assert.That(TortureFixture.Descriptors(Server), Is.LessThanOrEqualTo(_descriptors), "descriptors");
        long grown = TortureFixture.Resident(Server) - _resident;
        Assert.That(grown, Is.LessThan(40 << 20), "resident bytes");
        string[] lines = File.ReadAllLines(_log);
        Assert.That(lines.Where(line => mishaps.Any(line.Contains)).Take(5), Is.Empty);
        var gaps = lines.Where(line => line.EndsWith("faster than they were read)"));
        Assert.That(gaps, Is.Empty, "lines are missing from the log");
        return $"descriptors and files as before, {TortureFixture.Mebi(grown)} MiB more, "
            + $"no error in {lines.Length:N0} lines of log";
    }

    /// <summary>Remembers how many descriptors and how much memory the server uses now.</summary>
    protected void Measure()
    {
        _descriptors = TortureFixture.Descriptors(Server);
        MeasureMemory();
    }

    /// <summary>Remembers how much memory the server uses now. For a test that makes the server run code which
    /// <see cref="Measure"/> has not seen: .NET compiles it, and keeps the result.</summary>
    public void MeasureMemory() => _resident = TortureFixture.Resident(Server);
}
