namespace ConformanceTests.Harness.Grading;

/// <summary>On Ctrl-C or SIGTERM, ends what the suite has started, and then the suite.</summary>
internal sealed class Interruption : IDisposable
{
    private const int ExitCode = 130;                   // as a shell reports Ctrl-C
    private static readonly PosixSignal[] _signals = [PosixSignal.SIGINT, PosixSignal.SIGTERM];
    private static readonly List<Action> _stops = [];
    private static PosixSignalRegistration[]? _registrations;
    private readonly Action _stop;

    /// <summary>Registers an action that a signal calls.</summary>
    /// <param name="stop">Ends what was started.</param>
    public Interruption(Action stop)
    {
        _stop = stop;
        lock (_stops)
        {
            _stops.Add(stop);
            _registrations ??= [.. _signals.Where(IsNotIgnored).Select(EndAt)];
        }
    }

    public void Dispose()
    {
        lock (_stops)
        {
            _stops.Remove(_stop);
        }
    }

    private static bool IsNotIgnored(PosixSignal signal) =>
        signal != PosixSignal.SIGINT || !IgnoredSignals.Has(signal);

    private static PosixSignalRegistration EndAt(PosixSignal signal) => PosixSignalRegistration.Create(signal, End);

    private static void End(PosixSignalContext context)
    {
        context.Cancel = true;
        lock (_stops)
        {
            foreach (Action stop in _stops)
            {
                stop();
            }
        }

        Environment.Exit(ExitCode);
    }
}
