using System.Runtime.InteropServices;

namespace ConformanceTests.Harness.Grading;

/// <summary>Ends the suite when Ctrl-C or a SIGTERM comes, after what it has started is ended.</summary>
internal sealed class Interruption : IDisposable
{
    private const int ExitCode = 130;                   // as a shell reports Ctrl-C
    private readonly PosixSignalRegistration[] _registrations;

    /// <summary>Waits for the signals.</summary>
    /// <param name="stop">Ends what was started.</param>
    public Interruption(Action stop)
    {
        void End(PosixSignalContext context)
        {
            context.Cancel = true;
            stop();
            Environment.Exit(ExitCode);
        }

        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGINT, End),
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, End),
        ];
    }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
        {
            registration.Dispose();
        }
    }
}
