using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Tests of a client. The suite is the server.</summary>
public abstract class ClientFixture : Fixture
{
    protected Socket Listener = null!;
    protected int Port;
    private string? _folder;

    protected string Folder => _folder ??= NewFolder("client");

    [SetUp]
    public void Listen()
    {
        Listener = Own(TranscriptPlayer.Listen());
        Port = TranscriptPlayer.PortOf(Listener);
    }

    /// <summary>Stops accepting connections, and waits until a new one is refused.</summary>
    protected void StopListening()
    {
        Listener.Dispose();

        // A program that is started at this moment has a copy of the socket until its own code runs.
        Eventually(() => !TranscriptPlayer.Answers(Port), "the port of the test accepts connections after its close");
    }

    /// <summary>Starts the client in its folder.</summary>
    protected ChildProgram Run(
        string command, string? file = null, string options = "", string? input = null, string with = "") =>
        Own(TranscriptPlayer.StartClient(Folder, Port, command, file, options, input, with));

    protected ProtocolConnection Accept(Delivery delivery = Delivery.Whole) =>
        Own(TranscriptPlayer.Accept(Listener, delivery, Scope));

    /// <summary>Starts the client, and accepts its connection.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire) Connected(
        string command, string? file = null, string options = "", string? input = null, string with = "") =>
        (Run(command, file, options, input, with), Accept());

    /// <summary>Starts the client, and receives its request. Digest is true if the client asks for one.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire, bool Digest) Begin(string verb, string file = "cat.png")
    {
        if (verb == "STATUS")
        {
            var (asking, status) = BeginStatus();
            return (asking, status, false);
        }

        var (client, wire) = Connected(verb, verb == "LIST" ? null : file);
        if (verb == "LIST")
        {
            wire.Expect("LIST\n");
            return (client, wire, false);
        }

        bool digest = Takes(ref wire, $"{verb}|{Path.GetFileName(file)}");
        return (client, wire, digest);
    }

    /// <summary>Starts the client for STATUS, and skips the test if the client has no such command.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire) BeginStatus()
    {
        const string Why = "the client has no command STATUS";
        var client = Run("STATUS");
        Skip.IfNotOffered(!Connects(client), Why);

        var wire = Accept();
        Skip.IfNotOffered(NextRequest(client, ref wire) != "STATUS", Why);

        return (client, wire);
    }

    /// <summary>Starts the client to upload a file with this content, and receives its request.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire, bool Digest) BeginPut(
        byte[] content, string file = "cat.png")
    {
        Give(file, content);
        return Begin("PUT", file);
    }

    /// <summary>
    /// Starts the client, and receives its request. Answers `unsupported` until it has no options (CONF-1).
    /// </summary>
    protected (ChildProgram Client, ProtocolConnection Wire) BeginWithoutOptions(string verb, string file = "cat.png")
    {
        var (client, wire) = Connected(verb, file);
        TranscriptPlayer.ExpectRequest(ref wire, Listener, Encoding.UTF8.GetBytes($"{verb}|{file}\n"), Scope);
        return (client, Own(wire));
    }

    /// <summary>Waits until the client has connected or ended, and says whether it has connected.</summary>
    protected bool Connects(ChildProgram client)
    {
        bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

        Eventually(() => client.HasEnded || Comes(20_000), "the client neither connects nor ends");
        return Comes(0);
    }

    /// <summary>
    /// Receives the next request of a client that may ask again, on the same connection or on another one.
    /// </summary>
    /// <returns>The line, or null if the client gives up.</returns>
    protected string? NextRequest(ChildProgram client, ref ProtocolConnection wire)
    {
        try
        {
            return wire.ReceiveLine();
        }
        catch (Violation)
        {
            wire.Dispose();
        }

        if (!Connects(client))
        {
            return null;
        }

        wire = Accept();
        return wire.ReceiveLine();
    }

    protected string PathOf(string name) => Path.Combine(Folder, name);

    /// <summary>Fails if the client's folder has a file of this name.</summary>
    protected void FolderMustLack(string name) => ProgramChecks.MustLack(Folder, name, Side.Client);

    protected void Give(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    protected string[] Files() => [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))];

    /// <summary>
    /// Receives a request line, and answers `unsupported` as long as it has the option `ahead` or `modified`. Then the
    /// client asks again, on this connection or on a new one, or the test ends with advice (CLI-13).
    /// </summary>
    /// <returns>True if the client asks for a digest, which then has to follow the block.</returns>
    protected bool Takes(ref ProtocolConnection wire, string request)
    {
        const string Why = "this server does not know ahead and modified";
        string line = wire.ReceiveLine(request + "\\n");
        for (int refusals = 0; refusals < 2 && HasOptionThatIsNotKnown(line); refusals++)
        {
            line = TranscriptPlayer.RefuseOptions(ref wire, Listener, (line, request), Why, Scope);
            Own(wire);
        }

        if (line == request)
        {
            return false;
        }

        return line == request + "|digest=sha256"
            ? true
            : throw wire.WrongLine($"{request}\\n, with |digest=sha256 or without", request, line);
    }

    private static bool HasOptionThatIsNotKnown(string line) =>
        line.Split('|').Skip(2).Any(option => option.Split('=')[0] is "ahead" or "modified");

    /// <summary>Fails if cat.png has existed, even for a moment, since the watch began.</summary>
    protected void ExpectNeverThere(FolderWatch watch, string why)
    {
        var done = watch.DoneTo("cat.png");
        Demand(done is [], $"no cat.png at any moment, {why}", $"it was {string.Join(", then ", done.Take(6))}");
    }

    /// <summary>Returns a block, with the digest after it if the client asked for one.</summary>
    protected static byte[] Block(byte[] bytes, bool digest = false) =>
        [.. Notation.U64((ulong)bytes.Length), .. bytes, .. digest ? SHA256.HashData(bytes) : []];
}
