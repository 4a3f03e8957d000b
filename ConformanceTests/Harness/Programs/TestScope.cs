namespace ConformanceTests.Harness.Programs;

/// <summary>The connections and programs of one test: what is shown if it fails.</summary>
public sealed class TestScope : ISilenceWatcher
{
    private readonly List<ProtocolConnection> _connections = [];
    private readonly List<RunningServer> _servers = [];
    private readonly List<(ChildProgram Program, int Output, int Errors)> _programs = [];
    private string? _frozen;

    /// <param name="clauses">The ids of the clauses that the test is about.</param>
    /// <param name="test">Its name.</param>
    public TestScope(string[] clauses, string test)
    {
        Clauses = clauses;
        Test = test;
    }

    public string[] Clauses { get; }

    public string Test { get; }

    /// <summary>What the test has thrown.</summary>
    public Exception? Thrown { get; set; }

    public ProtocolConnection[] Connections
    {
        get
        {
            lock (_connections)
            {
                return [.. _connections];
            }
        }
    }

    private (ChildProgram Program, int Output, int Errors)[] Programs
    {
        get
        {
            lock (_programs)
            {
                return [.. _programs];
            }
        }
    }

    // Only clients have a command.
    private ChildProgram? Client =>
        Programs.Select(entry => entry.Program).LastOrDefault(program => program.Command is not null);

    public string? Command => Client?.Command;

    public string RunAs => Client?.RunAs ?? "";

    public int? ClientExit => Programs.Where(entry => entry.Program.Name == "client")
        .Select(entry => entry.Program.ExitCode).LastOrDefault(code => code is not null);

    public string? ProgramName => Programs is [.., var last] ? last.Program.Name : null;

    /// <summary>The last program, if all that the test has started have ended.</summary>
    public ChildProgram? LastIfAllEnded
    {
        get
        {
            var programs = Programs;
            return programs.All(entry => entry.Program.HasEnded) ? programs.LastOrDefault().Program : null;
        }
    }

    public void Add(ProtocolConnection connection)
    {
        connection.Watcher = this;
        lock (_connections)
        {
            if (!_connections.Contains(connection))
            {
                _connections.Add(connection);
            }
        }
    }

    /// <param name="program">The program.</param>
    /// <param name="isNew">
    /// Whether the program was started for this test. Otherwise, only its output from here on counts.
    /// </param>
    public void Add(ChildProgram program, bool isNew = true)
    {
        program.Scope = this;
        lock (_programs)
        {
            if (!_programs.Any(entry => entry.Program == program))
            {
                _programs.Add((program, isNew ? 0 : program.Output.Length, isNew ? 0 : program.Errors.Length));
            }
        }
    }

    public void Add(RunningServer server, bool isNew = true)
    {
        server.Scope = this;
        lock (_servers)
        {
            _servers.Add(server);
        }

        Add(server.Program, isNew);
    }

    /// <summary>Output from here on does not count: it comes from the end of the test.</summary>
    public void FreezeOutput()
    {
        for (int i = 0; i < 5 && ProgramOutput() == ""; i++)
        {
            Thread.Sleep(10);           // the output may still be on its way
        }

        if (ProgramOutput() != "")
        {
            Thread.Sleep(20);
        }

        _frozen ??= ProgramOutput();
    }

    public string ProgramOutput() => _frozen ?? string.Concat(Programs.Select(entry =>
        entry.Program.Output[entry.Output..] + entry.Program.Errors[entry.Errors..]));

    // ---- when nothing comes ----

    public bool HasCrashed => Wording.Crash(ProgramOutput(), 0) is not null;

    // Closes the other connections, and then ends its own sending, to see whether the answer comes. This distinguishes
    // a server that serves one client at a time, one that reads until the end, and one that hangs.
    public LateAnswer TryToGetAnAnswer(ProtocolConnection silent)
    {
        int soon = RunSettings.Milliseconds(1500);
        if (CloseOthers(silent) && silent.Comes(soon))
        {
            silent.Trace.Note("(the test closed its other connections, and the answer came)");
            return LateAnswer.WithoutOtherConnections;
        }

        if (silent.TryToEndSending() && silent.Comes(2 * soon))
        {
            silent.Trace.Note("(the test ended its sending, and the answer came)");
            return LateAnswer.AfterTheEnd;
        }

        return LateAnswer.None;
    }

    private bool CloseOthers(ProtocolConnection silent)
    {
        bool any = false;
        foreach (var other in Connections.Where(other => other.Socket != silent.Socket && other.Self == silent.Self))
        {
            try
            {
                other.Socket.Shutdown(SocketShutdown.Both);
                any = true;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException) { }
        }

        // The connection that showed that the server listens counts, too.
        lock (_servers)
        {
            foreach (var server in _servers)
            {
                any |= server.CloseUnusedConnection();
            }
        }

        return any;
    }
}
