using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>What all torture tests of a server use. They need Linux.</summary>
public abstract class TortureFixture : ServerFixture
{
    public static int Mixed(int a, int b) => unchecked(RunSettings.Current.Seed * 1_000_003 + a * 7_919 + b);

    // Returns the content of the file with this name. The last number in the name is the length.
    protected static byte[] Picture(string name)
    {
        var bytes = new byte[int.Parse(Path.GetFileNameWithoutExtension(name).Split('-')[^1])];
        new Random(BitConverter.ToInt32(SHA256.HashData(Encoding.UTF8.GetBytes(name)))).NextBytes(bytes);
        Notation.Bytes(8).CopyTo(bytes, 0);
        return bytes;
    }

    protected static bool Intact(string folder, string name) =>
        File.ReadAllBytes(Path.Combine(folder, name)).AsSpan().SequenceEqual(Picture(name));

    public static string[] Hidden(string folder) =>
        [.. Directory.GetFileSystemEntries(folder, ".*").Select(path => Path.GetFileName(path))];

    protected static IEnumerable<string> Visible(string folder) =>
        Directory.GetFiles(folder).Where(file => Path.GetFileName(file)[0] != '.');

    // Uploads a file, and returns the last reply: the server may refuse it at once or at the end.
    protected static string Put(
        ProtocolConnection wire, string name, byte[] content, bool digest, Action? beforeTheLastByte = null)
    {
        wire.Send($"PUT|{name}{(digest ? "|digest=sha256" : "")}\n");
        if (wire.ReceiveLine() is var refused && refused != "OK")
        {
            return refused;
        }

        byte[] block = [.. Notation.U64((ulong)content.Length), .. content, .. digest ? SHA256.HashData(content) : []];
        wire.Send(block.AsSpan(..^1));
        beforeTheLastByte?.Invoke();
        wire.Send(block.AsSpan(^1..));
        return wire.ReceiveLine();
    }

    public static Socket Dial(int port, int receiveBuffer = 0)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.SendTimeout = socket.ReceiveTimeout = RunSettings.Patience * 2;
        if (receiveBuffer > 0)
        {
            socket.ReceiveBufferSize = receiveBuffer;
        }

        try
        {
            socket.Connect(IPAddress.Loopback, port);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }

        return socket;
    }

    // Runs the body in several threads at the same time.
    public static void Together(int threads, Action<int> body)
    {
        Task StartOne(int i) => Task.Factory.StartNew(() => body(i), TaskCreationOptions.LongRunning);

        var tasks = Enumerable.Range(0, threads).Select(StartOne).ToArray();
        if (!Task.WaitAll(tasks, RunSettings.Milliseconds(300_000)))
        {
            throw new Violation("one of the threads hangs");
        }
    }

    public static void DisposeAll(ConcurrentBag<Socket> sockets)
    {
        while (sockets.TryTake(out var socket))
        {
            socket.Dispose();
        }
    }

    public static double Milliseconds(Action action)
    {
        var clock = Stopwatch.StartNew();
        action();
        return clock.Elapsed.TotalMilliseconds;
    }

    /// <summary>How many sockets and files of its folder the server has open: what a connection could leave behind.
    /// .NET itself opens others at any time, such as assemblies.</summary>
    public static int Descriptors(RunningServer server) =>
        OpenFiles(server.Program.Id).Count(path => path.StartsWith("socket:") || path.StartsWith(server.Folder));

    /// <summary>What the descriptors of a process lead to; nothing if the process has ended.</summary>
    public static IEnumerable<string> OpenFiles(int process)
    {
        try
        {
            return [.. Directory.GetFiles($"/proc/{process}/fd").Select(link => new FileInfo(link).LinkTarget ?? "")];
        }
        catch (IOException)
        {
            return [];
        }
    }

    public static string Mebi(long bytes) => $"{Math.Max(bytes, 0) / 1048576.0:0.0}";

    public static long Resident(RunningServer server) =>
        long.Parse(File.ReadAllText($"/proc/{server.Program.Id}/statm").Split(' ')[1]) * Environment.SystemPageSize;

    // Measures for two seconds, in per cent, how much of one processor the server uses. It waits a moment before that,
    // because .NET compiles methods again that were called often.
    public static double Processor(RunningServer server)
    {
        Thread.Sleep(500);
        var before = server.Program.CpuTime;
        Thread.Sleep(2000);
        return (server.Program.CpuTime - before).TotalMilliseconds / 20;
    }

    public static int Execute(string program, params string[] words)
    {
        using var process = Process.Start("sh", ["-c", "exec \"$@\" 2>/dev/null", "sh", program, .. words]);
        return process.WaitForExit(10_000) ? process.ExitCode : -1;
    }
}
