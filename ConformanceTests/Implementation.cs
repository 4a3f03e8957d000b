// The plug: starts any server or client from a command template, in a folder of its own, and ends it.
// The reference goes through the very same plug.

using System.Diagnostics;
using System.Text.RegularExpressions;

public sealed class Program : IDisposable
{
    private readonly Process _process;
    private readonly List<string> _output = [];
    private readonly List<string> _errors = [];
    private readonly ManualResetEventSlim _outputEnded = new();
    private readonly ManualResetEventSlim _errorsEnded = new();
    public readonly string Name;

    public Program(string name, string[] command, string folder, string? input = null, bool drain = true)
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
        if (Settings.IsReference)
        {
            start.Environment["DOTNET_GCHeapHardLimit"] = "0x4000000";    // 64 MiB will do
        }

        start.Environment["DOTNET_TieredPGO"] = "0";
        start.Environment["LC_ALL"] = "C.UTF-8";
        start.Environment["TZ"] = "Asia/Kathmandu";     // where local time is never UTC, be it by a whole hour
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
        lock (_running)
        {
            _running.Add(this);
        }

        Watch.Current?.Add(this);
    }

    // From now on what it says is read; before, it waits as soon as its pipes are full.
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
        int patience = milliseconds ?? Settings.Patience * 2;
        if (!_process.WaitForExit(patience))
        {
            throw new Violation(Wording.Hangs(Name, patience));
        }

        _outputEnded.Wait(Settings.Patience);
        _errorsEnded.Wait(Settings.Patience);
        // A crash is no refusal, whatever the exit code: nobody decided anything.
        if (Name == "client" && !_told && Wording.Crash(Output + Errors, _process.ExitCode) is { } crash)
        {
            throw new Violation(Wording.Crashed(crash));
        }

        if (Name == "client" && Watch.Current is { } watch)
        {
            watch.ClientExit = _process.ExitCode;
        }

        return _process.ExitCode;
    }

    private bool _told;                              // to end, by a test

    // A shell that starts a job in the background turns SIGINT off for it, and for all that it starts.
    private static readonly Lazy<bool> _ignoresInterrupts = new(() =>
    {
        if (!File.Exists("/proc/self/status"))
        {
            return false;
        }

        var start = new ProcessStartInfo("cat", ["/proc/self/status"]) { RedirectStandardOutput = true };
        using var cat = Process.Start(start)!;
        var ignored = Regex.Match(cat.StandardOutput.ReadToEnd(), @"SigIgn:\s*([0-9a-f]+)");
        return ignored.Success && (Convert.ToUInt64(ignored.Groups[1].Value, 16) & 2) != 0;
    });

    public void Signal(string name)
    {
        if (name == "INT" && _ignoresInterrupts.Value)
        {
            NotLookedAt.Skip("needs SIGINT, which is turned off in a job that a shell runs in the background");
        }

        _told = true;
        using var kill = Process.Start(new ProcessStartInfo("kill", [$"-{name}", $"{_process.Id}"]))!;
        kill.WaitForExit();
        if (Name != "server" || name is not ("INT" or "TERM"))
        {
            return;
        }

        foreach (var wire in Watch.Current?.Wires ?? [])
        {
            wire.ToldToStop(name);
        }
    }

    // As a server is told to stop, and a person would stop one.
    public void TellToStop(string signal = "TERM")
    {
        if (Settings.OnWindows)
        {
            NotLookedAt.Skip("needs signals, which Windows has not");
        }

        Signal(signal);
    }

    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit(Settings.Patience);
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

    private static readonly HashSet<Program> _running = [];

    public static void KillAll()
    {
        Program[] left;
        lock (_running)
        {
            left = [.. _running];
        }

        foreach (var program in left)
        {
            program.Dispose();
        }
    }
}

public static class Plug
{
    public static string Dll => Settings.Program;

    public static string ServerTemplate =>
        Settings.Server != "" ? Settings.Server : ReferenceServer(Dll);

    public static string ClientTemplate =>
        Settings.Client != "" ? Settings.Client : ReferenceClient(Dll);

    public static string ReferenceServer(string dll) => $"dotnet {dll} server {{port}} --dir {{dir}} "
        + "--max-clients={max-clients} --max-size={max-size} --idle={idle} --types={types} {read-only} --key={key}";

    public static string ReferenceClient(string dll) =>
        $"dotnet {dll} client {{host}} {{port}} {{command}} {{file}} {{resume}} --key={{key}}";

    // What a test may want, and a template may say how to have.  The last ones are told by being there:
    // `{read-only}` stands for the word `--read-only`.
    private static readonly string[] _optional =
        ["max-clients", "max-size", "idle", "types", "key", "read-only", "resume"];

    private static bool IsFlag(string name) => name is "read-only" or "resume";

    // "max-clients=2 read-only", as the values of those placeholders; all the others have none.
    public static (string Name, string? Value)[] Values(string template, string with)
    {
        var given = with.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(one => one.Split('='))
            .ToDictionary(one => one[0], one => one is [_, var value] ? value : $"--{one[0]}");
        foreach (string name in given.Keys)
        {
            if (!template.Contains($"{{{name}}}"))
            {
                NotLookedAt.Skip($"needs {{{name}}}");
            }
        }

        return [.. _optional.Select(name => (name, given.GetValueOrDefault(name)))];
    }

    // Words as a shell would cut them; a word that names a file here is made absolute, since the program runs
    // elsewhere.  A word that holds a placeholder without a value is left out; where it is nothing but that, so is
    // the option in front of it: `--limit {max-clients}` goes as a whole.
    public static string[] Words(string template, params (string Name, string? Value)[] values)
    {
        var words = new List<string>();
        foreach (Match match in Regex.Matches(template, "\"([^\"]*)\"|'([^']*)'|(\\S+)"))
        {
            string word = match.Groups.Values.Skip(1).First(group => group.Success).Value;
            var missing = values.Where(value => value.Value is null && word.Contains($"{{{value.Name}}}"));
            if (missing.FirstOrDefault().Name is { } none)
            {
                bool isItsValue = word == $"{{{none}}}" && !IsFlag(none) && words is [.., ['-', ..]];
                if (isItsValue)
                {
                    words.RemoveAt(words.Count - 1);
                }

                continue;
            }

            foreach (var (name, value) in values)
            {
                word = word.Replace($"{{{name}}}", value);
            }

            string here = Path.Combine(Settings.Here, word);
            bool mayBeAFile = word.Contains('/')
                ? !Path.IsPathRooted(word)
                : words.Count > 0 && !word.StartsWith('{');
            words.Add(mayBeAFile && File.Exists(here) ? Path.GetFullPath(here) : word);
        }

        return [.. words];
    }

    // Ports below the range that outgoing connections are given, so that no other test's connection is in the way;
    // and 500 of them for this run alone, so that no other run's server is: whoever has the first of them has them all.
    private const int FirstPort = 20_000;
    private const int PortsEach = 500;
    private const int Runs = 22;
    private static readonly Socket? _guard = Enumerable.Range(0, Runs).OrderBy(_ => Random.Shared.Next())
        .Select(run => TryToHold(FirstPort + run * PortsEach)).FirstOrDefault(held => held is not null);
    private static readonly int _firstPort = (_guard?.LocalEndPoint as IPEndPoint)?.Port ?? FirstPort;
    private static int _portsTaken;

    private static Socket? TryToHold(int port)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Bind(new IPEndPoint(IPAddress.Loopback, port));
            socket.Listen(1);                           // .NET sets SO_REUSEADDR: two may bind, and one of them listen
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    public static int FreePort()
    {
        while (true)
        {
            int port = _firstPort + 1 + Interlocked.Increment(ref _portsTaken) % (PortsEach - 1);
            using var probe = TryToHold(port);
            if (probe is not null)
            {
                return port;
            }
        }
    }

    public static string NewFolder(string kind) =>
        Directory.CreateTempSubdirectory($"imagetransfer-test-{kind}-").FullName;
}

// A server that runs, with its folder and port.
public sealed class RunningServer : IDisposable
{
    public readonly string Folder;
    public readonly int Port;
    public readonly Program Program;
    private readonly string? _ownFolder;
    private Socket? _first;         // the connection that showed that it listens: the first one asked for

    public RunningServer(
        string options = "", string? folder = null, int? port = null, bool drain = true, string launcher = "",
        string with = "", string? key = null)
    {
        var values = Plug.Values(Plug.ServerTemplate, key is null ? with : $"{with} key={key}");
        _ownFolder = folder is null ? Plug.NewFolder("server") : null;
        Folder = folder ?? _ownFolder!;
        for (bool again = port is null; ; again = false)
        {
            Port = port ?? Plug.FreePort();
            string[] command =
            [
                .. Plug.Words(launcher),
                .. Plug.Words(Plug.ServerTemplate, [("port", $"{Port}"), ("dir", Folder), .. values]),
                .. Plug.Words(options),
            ];
            Program = new Program("server", command, Settings.Here, drain: drain);
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

            Program.Dispose();                          // the port may have been somebody else's
        }

        if (key is not null)
        {
            LetGoOfTheFirst();
        }
    }

    // Its handshake would be late.  Once the server has closed it, it takes no place any more.
    private void LetGoOfTheFirst()
    {
        using var socket = Interlocked.Exchange(ref _first, null)!;
        socket.ReceiveTimeout = Settings.Patience;
        try
        {
            socket.Shutdown(SocketShutdown.Send);
            while (socket.Receive(new byte[100]) > 0)
            {
            }
        }
        catch (SocketException) { }                     // it has let go by a reset, or its own test will show that not
    }

    // Waits until it does.  False: it has ended, where it may.
    private bool Listens(string[] command, bool isOldPort, bool mayEnd)
    {
        Violation Wrong(string what) => !isOldPort ? new($"{what}\n  {string.Join(' ', command)}\n{Program.Said()}")
            : new(new Failure($"a server that listens on 127.0.0.1:{Port}, where another one has just ended", what)
            {
                HintName = "port of the one before",
                Hint = "connections of the one before are not quite over (TIME-WAIT), and the port counts as taken "
                    + "until they are: set SO_REUSEADDR before bind (§12).",
            });

        int patience = Settings.Milliseconds(20_000);
        var clock = Stopwatch.StartNew();
        while (true)
        {
            _first = TryConnect();
            if (_first is not null && !Program.HasEnded)
            {
                return true;
            }

            Interlocked.Exchange(ref _first, null)?.Dispose();           // somebody else's server
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

    private Socket? TryConnect(bool slow = false)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        if (slow)
        {
            socket.ReceiveBufferSize = 1 << 16;
        }

        try
        {
            socket.Connect(IPAddress.Loopback, Port);
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    // Slow: this side's kernel takes little before somebody asks for it.  Else it may be 32 MiB.
    public Wire Connect(Delivery delivery = Delivery.Whole, bool slow = false)
    {
        var socket = (slow ? null : Interlocked.Exchange(ref _first, null)) ?? TryConnect(slow)
            ?? throw new Violation(new Failure("the server to accept a connection", "it does not, any more"));
        Watch.Current?.Add(Program);
        return new Wire(socket, Side.Client, delivery);
    }

    // Null: nobody listens there.
    public Wire? TryToConnect() => TryConnect() is { } socket ? new Wire(socket, Side.Client) : null;

    // What was stored, read as any other program would that stands in nobody's way: without a lock.
    public byte[] Stored(string name) => Disk.Read(PathOf(name));

    public string PathOf(string name) => Path.Combine(Folder, name);

    public void Has(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    public bool Shows(string name) => File.Exists(PathOf(name));

    public string[] Hidden() =>
        [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))
            .Where(name => name.StartsWith('.'))];

    // As new, for the next test.
    public void Empty()
    {
        Interlocked.Exchange(ref _first, null)?.Dispose();
        foreach (string entry in Directory.GetFileSystemEntries(Folder))
        {
            if (Directory.Exists(entry) && new DirectoryInfo(entry).LinkTarget is null)
            {
                Directory.Delete(entry, true);
            }
            else
            {
                File.Delete(entry);
            }
        }
    }

    public void Dispose()
    {
        Interlocked.Exchange(ref _first, null)?.Dispose();
        Program.Dispose();
        if (_ownFolder is not null)
        {
            try
            {
                Directory.Delete(_ownFolder, true);
            }
            catch (DirectoryNotFoundException) { }
        }
    }
}

public static class Disk
{
    // As nearly every program opens a file: without a lock, and not hindered by one.  .NET would ask for it, if the
    // project did not tell it otherwise (System.IO.DisableFileLocking).
    public static FileStream Open(string path, FileAccess access = FileAccess.Read) =>
        new(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete);

    public static byte[] Read(string path)
    {
        using var file = Open(path);
        var octets = new MemoryStream();
        file.CopyTo(octets);
        return octets.ToArray();
    }

    // By whatever means, and without a lock.
    public static void SetLength(string path, long length)
    {
        using var file = Open(path, FileAccess.Write);
        file.SetLength(length);
    }
}

// What a run cannot see of this implementation, and what it would need.  The report ends with it.
public static class NotLookedAt
{
    private const string Mark = "not looked at: ";

    [System.Diagnostics.CodeAnalysis.DoesNotReturn]
    public static void Skip(string why)
    {
        Assert.Ignore(Mark + why);
        throw new InvalidOperationException();          // Ignore has thrown
    }

    public static string Why(string message) => message.StartsWith(Mark) ? message[Mark.Length..] : message;
}
