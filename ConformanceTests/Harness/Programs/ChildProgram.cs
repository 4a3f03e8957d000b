namespace ConformanceTests.Harness.Programs;

/// <summary>
/// A server or a client that the suite has started. The suite collects its output, and ends it after the test.
/// </summary>
public sealed class ChildProgram : IDisposable
{
    private readonly Process _process;
    private readonly List<string> _output = [];
    private readonly List<string> _errors = [];
    private readonly ManualResetEventSlim _outputEnded = new();
    private readonly ManualResetEventSlim _errorsEnded = new();
    public readonly string Name;

    public ChildProgram(string name, string[] command, string folder, string? input = null, bool drain = true)
    {
        Name = name;
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        // Otherwise a .NET program that is killed leaves three files for its debugger in the temporary folder.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        if (RunSettings.Current.IsReference)
        {
            start.Environment["DOTNET_GCHeapHardLimit"] = "0x4000000";    // 64 MiB is enough
        }

        start.Environment["DOTNET_TieredPGO"] = "0";
        start.Environment["LC_ALL"] = "C.UTF-8";
        start.Environment["TZ"] = "Asia/Kathmandu";     // there, local time differs from UTC by 5 h 45 min
        IgnoredSignals.DoNotInherit();
        try
        {
            _process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new Violation($"The {name} cannot be started: {e.Message}\n  {string.Join(' ', command)}");
        }

        if (drain)
        {
            Drain();
        }

        if (input is not null)
        {
            _process.StandardInput.Write(input);
        }

        _process.StandardInput.Close();
        bool isOver;
        lock (_running)
        {
            isOver = _isOver;
            _running.Add(this);
        }

        if (isOver)
        {
            Dispose();
            throw new Violation("the run was interrupted");
        }
    }

    // Reads the output from now on; before, the program waits as soon as its pipes are full.
    public void Drain()
    {
        _process.OutputDataReceived += (_, line) => Collect(line.Data, _output, _outputEnded);
        _process.ErrorDataReceived += (_, line) => Collect(line.Data, _errors, _errorsEnded);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    private static void Collect(string? line, List<string> lines, ManualResetEventSlim ended)
    {
        if (line is null)
        {
            ended.Set();
        }
        else
        {
            lock (lines)
            {
                lines.Add(line);
            }
        }
    }

    public int Id => _process.Id;

    /// <summary>The test that it runs for, and whose connections are its.</summary>
    public TestScope? Scope { get; set; }

    /// <summary>What a client was started for: LIST, GET or PUT.</summary>
    public string? Command { get; init; }

    /// <summary>The same with its files.</summary>
    public string RunAs { get; init; } = "";

    /// <summary>The exit code, once a test has waited for it.</summary>
    public int? ExitCode { get; private set; }

    public bool HasEnded => _disposed || _process.HasExited;

    private bool _disposed;

    public TimeSpan CpuTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    public string Output
    {
        get
        {
            lock (_output)
            {
                return string.Concat(_output.Select(line => line + "\n"));
            }
        }
    }

    public string Errors
    {
        get
        {
            lock (_errors)
            {
                return string.Concat(_errors.Select(line => line + "\n"));
            }
        }
    }

    public int WaitForExit(int? milliseconds = null)
    {
        int patience = milliseconds ?? RunSettings.Patience * 2;
        if (!_process.WaitForExit(patience))
        {
            throw new FailedCheck(Wording.Hangs(
                Name, patience, Scope?.Connections.LastOrDefault()?.Talk,
                serverHasClosed: Scope?.Connections.All(connection => connection.HasEnded) == true));
        }

        _outputEnded.Wait(RunSettings.Patience);
        _errorsEnded.Wait(RunSettings.Patience);
        // A crash does not count as a refusal, even with an exit code other than 0.
        if (Name == "client" && !_told && Wording.Crash(Output + Errors, _process.ExitCode) is { } crash)
        {
            throw new FailedCheck(Wording.Crashed(crash, Scope?.Connections.LastOrDefault()?.Talk));
        }

        ExitCode = _process.ExitCode;
        return _process.ExitCode;
    }

    private bool _told;                                 // a test has sent it a signal

    public void Signal(string name)
    {
        _told = true;
        if (!_process.HasExited)                        // otherwise another process may have its number now
        {
            Tool.RunQuietly("kill", $"-{name}", $"{_process.Id}");
        }

        if (Name != "server" || name is not ("INT" or "TERM" or "HUP"))
        {
            return;
        }

        foreach (var connection in Scope?.Connections ?? [])
        {
            connection.ToldToStop(name);
        }
    }

    /// <summary>Sends a signal that ends the program, and waits for the end.</summary>
    public void SignalAndWait(string name)
    {
        Signal(name);
        WaitForExit();
    }

    /// <summary>Stops a server with a signal.</summary>
    public void TellToStop(string signal = "TERM")
    {
        if (RunSettings.Current.OnWindows)
        {
            throw NotLookedAt.Because("needs signals, which Windows does not have");
        }

        Signal(signal);
    }

    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit(RunSettings.Patience);
        }
        catch (InvalidOperationException) { }           // it has ended already
    }

    public string Said()
    {
        var lines = $"{Output}{Errors}".Split('\n', StringSplitOptions.RemoveEmptyEntries).TakeLast(15);
        return string.Concat(lines.Select(line => $"[your {Name}] {line}\n")).TrimEnd();
    }

    public void Dispose()
    {
        lock (_running)
        {
            _running.Remove(this);
        }

        Kill();
        _disposed = true;
        _process.Dispose();
    }

    private static readonly HashSet<ChildProgram> _running = [];

    private static bool _isOver;

    /// <summary>Ends all programs.</summary>
    /// <param name="forGood">Whether to start no program afterwards.</param>
    public static void KillAll(bool forGood = false)
    {
        ChildProgram[] left;
        lock (_running)
        {
            _isOver |= forGood;
            left = [.. _running];
        }

        foreach (var program in left)
        {
            program.Dispose();
        }
    }
}
