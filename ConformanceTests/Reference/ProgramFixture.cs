namespace ConformanceTests.Reference;

/// <summary>What a run of the program has printed, and its exit code.</summary>
public sealed record Ran(int Exit, string Output, string Errors)
{
    public string[] ErrorLines => Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public override string ToString() => $"exit {Exit}\n{Output}{Errors}";
}

/// <summary>Tests that start this program as a person would, and look at what it prints.</summary>
[Reference]
public abstract class ProgramFixture : ServerFixture
{
    // Shell commands that start the program with a standard stream that is closed or full.
    protected const string ClosedErrors = "sh -c 'exec \"$@\" 2>&-' sh";
    protected const string FullErrors = "sh -c 'exec \"$@\" 2>/dev/full' sh";
    protected const string ClosedOutput = "sh -c 'exec \"$@\" >&-' sh";
    protected const string FullOutput = "sh -c 'exec \"$@\" >/dev/full' sh";

    /// <summary>Runs the program until it ends.</summary>
    /// <param name="folder">The current folder of the program.</param>
    /// <param name="words">The command line after "imagetransfer", as a shell would split it.</param>
    /// <param name="input">What is typed at the prompt, or null.</param>
    /// <param name="launcher">The beginning of a command line that starts the program, such as env A=B, or "".</param>
    public static Ran Execute(string folder, string words, string? input = null, string launcher = "")
    {
        using ChildProgram program = Begin(folder, words, input, launcher);
        int exit = program.WaitForExit(RunSettings.Milliseconds(60_000));   // some move large files
        return new Ran(exit, program.Output, program.Errors);
    }

    /// <summary>Starts the program, and does not wait until it ends.</summary>
    public static ChildProgram Begin(
        string folder, string words, string? input = null, string launcher = "", bool drain = true)
    {
        string[] command =
        [
            .. CommandTemplates.Words(launcher), .. CommandTemplates.Reference, .. CommandTemplates.Words(words),
        ];
        return new ChildProgram(words.StartsWith("server") ? "server" : "client", command, folder, input, drain);
    }

    /// <summary>Runs the client with this test's server.</summary>
    protected Ran Client(string folder, string words, string? input = null, string launcher = "") =>
        Execute(folder, $"client 127.0.0.1 {Server.Port} {words}", input, launcher);

    /// <summary>Runs the program on a terminal of this width. Its output is what the terminal received.</summary>
    protected static Ran OnTerminal(string folder, int columns, string words, string input = "")
    {
        Skip.If(!OperatingSystem.IsLinux() || !File.Exists("/usr/bin/script"),
            "needs Linux and script, which makes a terminal");

        string[] program = [.. CommandTemplates.Reference, .. CommandTemplates.Words(words)];
        string quoted = string.Join(' ', program.Select(word => $"'{word}'"));
        string[] command = ["script", "-qec", $"stty cols {columns} -echo; {quoted}", "/dev/null"];
        using var terminal = new ChildProgram("terminal", command, folder, input);
        int exit = terminal.WaitForExit();

        // .NET itself sends these bytes first, to ask the terminal for other codes of the arrow keys.
        return new Ran(exit, terminal.Output.Replace("\u001b[?1h\u001b=", ""), terminal.Errors);
    }

    /// <summary>Listens on a port of its own, and lets this method talk to the first client.</summary>
    /// <returns>The port.</returns>
    protected int ServeOne(Action<Socket> conversation)
    {
        var listener = Own(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        listener.ReceiveBufferSize = 1 << 16;
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        _ = Task.Run(() =>
        {
            using Socket socket = listener.Accept();
            conversation(socket);
        });
        return ((IPEndPoint)listener.LocalEndPoint!).Port;
    }

    protected static void Give(string folder, string name, int size = 9)
    {
        string path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, Notation.Bytes(size));
    }

    /// <summary>Creates these pictures of nine bytes in the folder.</summary>
    protected static void GiveAll(string folder, params string[] names)
    {
        foreach (string name in names)
        {
            Give(folder, name);
        }
    }

    protected static string[] Names(string folder) =>
        [.. Directory.GetFileSystemEntries(folder).Select(path => Path.GetFileName(path)).Order()];

    /// <summary>The mode rwx------: only the owner may use the folder.</summary>
    public const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    public static void SetMode(string path, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, mode);
        }
    }

    protected static void RequireLinux() => Skip.If(!OperatingSystem.IsLinux(), "needs Linux");
}
