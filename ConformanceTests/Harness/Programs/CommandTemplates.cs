namespace ConformanceTests.Harness.Programs;

/// <summary>
/// The command lines that start the server and the client under test, with placeholders such as {port}. The
/// program of this repository is started in the same way as any other.
/// </summary>
public static class CommandTemplates
{
    /// <summary>The file of the program of this repository.</summary>
    public static string ReferenceFile => RunSettings.Current.ReferenceFile;

    /// <summary>The command that starts the program of this repository, without its words.</summary>
    public static string[] Reference => ReferenceFile.EndsWith(".dll") ? ["dotnet", ReferenceFile] : [ReferenceFile];

    public static string ServerTemplate =>
        RunSettings.Current.Server != "" ? RunSettings.Current.Server : ReferenceServer(string.Join(' ', Reference));

    public static string ClientTemplate =>
        RunSettings.Current.Client != "" ? RunSettings.Current.Client : ReferenceClient(string.Join(' ', Reference));

    public static string ReferenceServer(string program) => $"{program} server {{port}} --dir {{dir}} "
        + "--max-clients={max-clients} --max-size={max-size} --idle={idle} --types={types} {read-only} --key={key}";

    public static string ReferenceClient(string program) =>
        $"{program} client {{host}} {{port}} {{command}} {{file}} {{resume}} --key={{key}}";

    // The placeholders that a template may have. The last two are flags: the suite replaces `{read-only}` with the word
    // `--read-only`.
    private static readonly string[] _optional =
        ["max-clients", "max-size", "idle", "types", "key", "read-only", "resume"];

    /// <summary>The files that the commands name.</summary>
    public static IEnumerable<string> Files() => Words($"{ServerTemplate} {ClientTemplate}").Where(File.Exists);

    /// <summary>Returns what is wrong with the placeholders of SERVER or CLIENT, or null.</summary>
    public static string? FindMistake()
    {
        string[] forServer = [.. _optional.Except(["resume"])];
        return FindMistake("SERVER", RunSettings.Current.Server, ["port", "dir"], forServer)
            ?? FindMistake("CLIENT", RunSettings.Current.Client, ["port", "command", "file"],
                ["host", "resume", "key"]);
    }

    private static string? FindMistake(string setting, string template, string[] required, string[] optional)
    {
        if (template == "")
        {
            return null;
        }

        string[] found = [.. Regex.Matches(template, @"\{([A-Za-z-]+)\}").Select(match => match.Groups[1].Value)];
        string[] unknown = [.. found.Except(required).Except(optional)];
        string[] missing = [.. required.Except(found)];
        string all = string.Join(' ', required.Concat(optional).Select(name => $"{{{name}}}"));
        return unknown.Length > 0 ? $"{setting} has an unknown placeholder, {{{unknown[0]}}}. There are: {all}"
            : missing.Length > 0 ? $"{setting} needs the placeholder {{{missing[0]}}}. There are: {all}"
            : null;
    }

    private static bool IsFlag(string name) => name is "read-only" or "resume";

    /// <summary>Returns a value for each optional placeholder, or null.</summary>
    /// <param name="template">The command.</param>
    /// <param name="with">The values, such as "max-clients=2 read-only".</param>
    public static (string Name, string? Value)[] Values(string template, string with)
    {
        var given = with.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(one => one.Split('='))
            .ToDictionary(one => one[0], one => one is [_, var value] ? value : $"--{one[0]}");
        foreach (string name in given.Keys)
        {
            if (!template.Contains($"{{{name}}}"))
            {
                throw NotLookedAt.Because($"needs {{{name}}}");
            }
        }

        return [.. _optional.Select(name => (name, given.GetValueOrDefault(name)))];
    }

    // Cuts a command into words, as a shell would. A word that names a file becomes its full path, because the program
    // runs in another folder. A word whose placeholder has no value is left out; if the word is only the placeholder,
    // so is the option before it: of `--limit {max-clients}` nothing remains.
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

            string here = Path.Combine(RunSettings.Current.WorkingFolder, word);
            bool mayBeAFile = word.Contains('/')
                ? !Path.IsPathRooted(word)
                : words.Count > 0 && !word.StartsWith('{');
            words.Add(mayBeAFile && File.Exists(here) ? Path.GetFullPath(here) : word);
        }

        return [.. words];
    }

    // These ports are below the range from which the system takes the ports of outgoing connections. Each run has 500
    // of them for itself: it listens on the first one, so another run that starts in the meantime takes other ones.
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
            // .NET sets SO_REUSEADDR, so two sockets can be bound to one port. Only one of them can listen.
            socket.Listen(1);
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
}
