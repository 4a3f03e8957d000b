using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Tests of a client: the suite is the server, and answers as the test wants.</summary>
public abstract class ClientFixture : Fixture
{
    protected Socket Listener = null!;
    protected int Port;
    private string? _folder;

    protected string Folder => _folder ??= NewFolder("client");

    [SetUp]
    public void Listen()
    {
        Listener = Own(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        Listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        Listener.Listen(8);
        Port = ((IPEndPoint)Listener.LocalEndPoint!).Port;
    }

    // Starts the client as a person would, in its folder.
    protected ChildProgram Run(
        string command, string? file = null, string options = "", string? input = null, string with = "") =>
        Own(TranscriptPlayer.StartClient(Folder, Port, command, file, options, input, with));

    protected ProtocolConnection Accept(Delivery delivery = Delivery.Whole) =>
        Own(TranscriptPlayer.Accept(Listener, delivery, Scope));

    /// <summary>Starts the client, and accepts its connection.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire) Connected(
        string command, string? file = null, string options = "", string? input = null, string with = "") =>
        (Run(command, file, options, input, with), Accept());

    /// <summary>Starts the client, and receives its request. Digest says whether it asks for one.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire, bool Digest) Begin(string verb, string file = "cat.png")
    {
        var (client, wire) = Connected(verb, verb == "LIST" ? null : file);
        if (verb == "LIST")
        {
            wire.Expect("LIST\n");
            return (client, wire, false);
        }

        return (client, wire, Takes(wire, $"{verb}|{Path.GetFileName(file)}"));
    }

    /// <summary>The same for the upload of a file with this content.</summary>
    protected (ChildProgram Client, ProtocolConnection Wire, bool Digest) BeginPut(
        byte[] content, string file = "cat.png")
    {
        Give(file, content);
        return Begin("PUT", file);
    }

    /// <summary>Waits until the client has connected or ended, and says whether it has connected.</summary>
    protected bool Connects(ChildProgram client)
    {
        bool Comes(int microseconds) => Listener.Poll(microseconds, SelectMode.SelectRead);

        Eventually(() => client.HasEnded || Comes(20_000), "the client neither connects nor ends");
        return Comes(0);
    }

    protected string PathOf(string name) => Path.Combine(Folder, name);

    /// <summary>No file of this name in the client's folder.</summary>
    protected void FolderMustLack(string name) => ProgramChecks.MustLack(Folder, name, Side.Client);

    protected void Give(string name, byte[] content) => File.WriteAllBytes(PathOf(name), content);

    protected string[] Files() => [.. Directory.GetFileSystemEntries(Folder).Select(path => Path.GetFileName(path))];

    // The request line, with or without options. A digest that it asks for is then part of the answer. `ahead` and
    // `modified` are tested elsewhere: here the server does not know them.
    protected static bool Takes(ProtocolConnection wire, string request)
    {
        string line = wire.ReceiveLine(request + "\\n");
        for (int refusals = 0; refusals < 2 && HasOptionThatIsNotKnown(line); refusals++)
        {
            wire.Send("ER|unsupported|this server does not know ahead and modified\n");
            line = wire.ReceiveLine(request + "\\n");
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

    // What becomes of cat.png while a client runs, as Linux reports it: also what exists only for a moment.
    protected void ExpectNeverThere(FolderWatch watch, string why)
    {
        var done = watch.DoneTo("cat.png");
        Demand(done is [], $"no cat.png at any moment, {why}", $"it was {string.Join(", then ", done.Take(6))}");
    }

    // A block, with the digest after it if that is part of the answer.
    protected static byte[] Block(byte[] bytes, bool digest = false) =>
        [.. Notation.U64((ulong)bytes.Length), .. bytes, .. digest ? SHA256.HashData(bytes) : []];
}
