namespace ConformanceTests.Harness.Programs;

/// <summary>
/// A run under nohup ignores SIGHUP, one in the background of a shell ignores SIGINT, and programs inherit that.
/// The tests need programs that do not ignore these signals, whatever the suite itself was told.
/// </summary>
internal static class IgnoredSignals
{
    private const nint Default = 0;                     // SIG_DFL
    private static readonly PosixSignal[] _signals = [PosixSignal.SIGHUP, PosixSignal.SIGINT];
    private static readonly Lazy<PosixSignalRegistration[]> _kept = new(Restore);
    private static readonly Lazy<ulong> _ignored = new(ReadIgnored);

    /// <summary>Sees to it that programs which are started from now on do not ignore them.</summary>
    public static void DoNotInherit() => _ = _kept.Value;

    /// <summary>Whether the suite was started so that it ignores a signal.</summary>
    public static bool Has(PosixSignal signal) => (_ignored.Value & (1ul << (Number(signal) - 1))) != 0;

    private static PosixSignalRegistration[] Restore()
    {
        // A program inherits that a signal is ignored. It does not inherit a handler, so this one does nothing.
        var kept = new List<PosixSignalRegistration>();
        foreach (var signal in _signals.Where(Has))
        {
            _ = SetHandler(Number(signal), Default);
            kept.Add(PosixSignalRegistration.Create(signal, context => context.Cancel = true));
        }

        return [.. kept];
    }

    private static ulong ReadIgnored()
    {
        const string Status = "/proc/self/status";
        if (!File.Exists(Status))
        {
            return 0;
        }

        var ignored = Regex.Match(File.ReadAllText(Status), @"^SigIgn:\s*([0-9a-f]+)", RegexOptions.Multiline);
        return ignored.Success ? Convert.ToUInt64(ignored.Groups[1].Value, 16) : 0;
    }

    private static int Number(PosixSignal signal) => signal switch
    {
        PosixSignal.SIGHUP => 1,
        PosixSignal.SIGINT => 2,
        _ => throw new ArgumentOutOfRangeException(nameof(signal)),
    };

    [DllImport("libc", EntryPoint = "signal")]
    private static extern nint SetHandler(int number, nint handler);
}
