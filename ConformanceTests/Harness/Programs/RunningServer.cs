namespace ConformanceTests.Harness.Programs;

/// <summary>A server that runs, with its folder and port.</summary>
public sealed class RunningServer : IDisposable
{
    public readonly string Folder;
    public readonly int Port;
    public readonly ChildProgram Program;

    /// <summary>The test that uses it now.</summary>
    public TestScope? Scope { get; set; }
    private readonly string? _ownFolder;
    private Socket? _first;         // the connection that showed that the server listens; a test gets it first

    public RunningServer(
        string options = "", string? folder = null, int? port = null, bool drain = true, string launcher = "",
        string with = "", string? key = null)
    {
        var values = CommandTemplates.Values(CommandTemplates.ServerTemplate, key is null ? with : $"{with} key={key}");
        _ownFolder = folder is null ? TestFolders.New("server") : null;
        Folder = folder ?? _ownFolder!;
        for (bool again = port is null; ; again = false)
        {
            Port = port ?? CommandTemplates.FreePort();
            string[] command =
            [
                .. CommandTemplates.Words(launcher),
                .. CommandTemplates.Words(
                    CommandTemplates.ServerTemplate, [("port", $"{Port}"), ("dir", Folder), .. values]),
                .. CommandTemplates.Words(options),
            ];
            Program = new ChildProgram("server", command, RunSettings.Current.WorkingFolder, drain: drain);
            try
            {
                if (Listens(command, isOldPort: port is not null, mayEnd: again))
                {
                    break;
                }
            }
            catch
            {
                Dispose();
                throw;
            }

            Program.Dispose();                          // the port may belong to another server
        }

        if (key is not null || with.Contains("idle="))
        {
            EndFirstConnection();
        }
    }

    // With a key its handshake would be late, and with a short idle time it would end during a test. When the server
    // has closed it, it does not count as a client any more.
    private void EndFirstConnection()
    {
        using var socket = Interlocked.Exchange(ref _first, null)!;
        socket.ReceiveTimeout = RunSettings.Patience;
        try
        {
            socket.Shutdown(SocketShutdown.Send);
            while (socket.Receive(new byte[100]) > 0)
            {
            }
        }
        catch (SocketException) { }                     // a reset is an end, too; other tests check how a server ends
    }

    // Waits until the server listens. Returns false if it has ended instead, and mayEnd is true.
    private bool Listens(string[] command, bool isOldPort, bool mayEnd)
    {
        Violation Wrong(string what) => !isOldPort
            ? new Violation($"{what}\n  {string.Join(' ', command)}\n{Program.Said()}")
            : new FailedCheck(new Failure(
                $"a server that listens on 127.0.0.1:{Port}, where another one has just ended", what)
            {
                HintName = "port of the one before",
                Hint = "connections of the previous server are still in TIME-WAIT, and until they end, the port counts "
                    + "as taken: set SO_REUSEADDR before bind (§12).",
            });

        int patience = RunSettings.Milliseconds(20_000);
        var clock = Stopwatch.StartNew();
        while (true)
        {
            _first = TryConnect();
            if (_first is not null && !Program.HasEnded)
            {
                return true;
            }

            CloseUnusedConnection();                    // if the server has ended, another one has accepted this
            if (Program.HasEnded && mayEnd)
            {
                return false;
            }

            if (Program.HasEnded)
            {
                Program.WaitForExit();
                throw Wrong($"The server ended before it listened on 127.0.0.1:{Port}.");
            }

            if (clock.ElapsedMilliseconds > patience)
            {
                Program.Kill();
                throw Wrong($"The server does not listen on 127.0.0.1:{Port} within {patience / 1000} s.");
            }

            Thread.Sleep(20);
        }
    }

    private Socket? TryConnect(bool slow = false) => TryConnect(slow, out _);

    private Socket? TryConnect(bool slow, out string why)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        if (slow)
        {
            socket.ReceiveBufferSize = 1 << 16;
        }

        try
        {
            socket.Connect(IPAddress.Loopback, Port);
            why = "";
            return socket;
        }
        catch (SocketException e)
        {
            socket.Dispose();
            why = e.Message;
            return null;
        }
    }

    // With `slow`, the kernel keeps only a little of what comes until the test reads it. Otherwise it may keep 32 MiB.
    public ProtocolConnection Connect(Delivery delivery = Delivery.Whole, bool slow = false)
    {
        if (slow)
        {
            Interlocked.Exchange(ref _first, null)?.Dispose();          // a server may serve one client at a time
        }

        string why = "";
        var socket = (slow ? null : Interlocked.Exchange(ref _first, null)) ?? TryConnect(slow, out why)
            ?? throw new FailedCheck(new Failure(
                "the server to accept a connection", $"it accepts none any more: {why}"));
        return OfTheTest(new ProtocolConnection(socket, Side.Client, delivery));
    }

    // Returns null if no server listens there.
    public ProtocolConnection? TryToConnect() =>
        TryConnect() is { } socket ? OfTheTest(new ProtocolConnection(socket, Side.Client)) : null;

    private ProtocolConnection OfTheTest(ProtocolConnection connection)
    {
        Scope?.Add(connection);
        return connection;
    }

    /// <summary>Closes the connection that showed that the server listens, if no test uses it.</summary>
    /// <returns>Whether there was one.</returns>
    public bool CloseUnusedConnection()
    {
        using var unused = Interlocked.Exchange(ref _first, null);
        return unused is not null;
    }

    // The content of a stored file, read without a lock, as other programs read it.
    public byte[] Stored(string name) => LocalFiles.Read(PathOf(name));

    public string PathOf(string name) => Path.Combine(Folder, name);

    public void Has(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    public bool Shows(string name) => File.Exists(PathOf(name));

    public string[] Hidden() =>
        [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))
            .Where(name => name.StartsWith('.'))];

    /// <summary>Removes everything from the folder, for the next test.</summary>
    public void Empty()
    {
        CloseUnusedConnection();
        foreach (string entry in Directory.GetFileSystemEntries(Folder))
        {
            if (Directory.Exists(entry) && new DirectoryInfo(entry).LinkTarget is null)
            {
                TestFolders.Delete(entry);
            }
            else
            {
                File.Delete(entry);
            }
        }
    }

    public void Dispose()
    {
        CloseUnusedConnection();
        Program.Dispose();
        if (_ownFolder is not null)
        {
            TestFolders.Delete(_ownFolder);
        }
    }
}
