namespace ConformanceTests.Sections;

/// <summary>CLI-5 and CLI-11: what a client prints, and that it says when it has failed.</summary>
public sealed class ClientOutput : ClientFixture
{
    // Names that are easy to cut, to join or to take for each other.
    private static readonly string[] _names =
    [
        "x.y.JPG", "two words.png", "a.png", "A.png", "\u732b.jpg", "Gr\u00fc\u00dfe.png", "one two three.png",
        new string('l', 251) + ".png", "last.png",
    ];

    private static readonly string[] _times = ["2026-01-31T23:59:59Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"];

    private static byte[] Listing(string[] names) => Encoding.UTF8.GetBytes(string.Concat(
        names.Select((name, i) => $"{name}|9|{_times[i % _times.Length]}\n")));

    private void MustPrint(string[] names, Delivery delivery)
    {
        var client = Run("LIST");
        var wire = Accept(delivery);
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Block(Listing(names))]);
        wire.HalfClose();
        client.MustSucceed();
        string said = client.Output + client.Errors;
        string[] missing = [.. names.Where(name => !said.Contains(name))];
        Demand(missing is [], $"the names of all {names.Length} files in what the client prints",
            $"{missing.Length} of them are missing, {missing.LastOrDefault()} is one");
    }

    [Test, Clause("CLI-5", "LIST-1")]
    public void Client_prints_the_names_of_a_listing([Values] Delivery delivery) => MustPrint(_names, delivery);

    // Wherever the client cuts the listing, it cuts some of these characters, which have three bytes.
    [Test, Clause("CLI-5", "LIST-1", "LINE-1")]
    public void Client_prints_the_names_of_a_long_listing() =>
        MustPrint([.. Enumerable.Range(1, 3000).Select(i => $"{new string('\u732b', 80)}-{i}.png")], Delivery.Whole);

    [Test, Clause("CLI-5")]
    public void Client_fails_if_it_cannot_print_the_listing()
    {
        const string Full = "/dev/full";
        Skip.If(RunSettings.Current.OnWindows || !File.Exists(Full), $"needs {Full}");

        var client = Own(TranscriptPlayer.StartClient(Folder, Port, "LIST", outputTo: Full));
        var wire = Accept();
        wire.Expect("LIST\n");
        wire.Send([.. "OK\n"u8, .. Block(Listing(_names))]);
        wire.HalfClose();
        client.MustFail();
    }

    [Test, Clause("CLI-5")]
    public void Client_fails_if_nothing_listens_on_the_port()
    {
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));     // nobody else can have the port
        int port = ((IPEndPoint)silent.LocalEndPoint!).Port;
        Own(TranscriptPlayer.StartClient(Folder, port, "LIST")).MustFail();
    }

    // A digest that nobody compared must not look like one that matched.
    [Test, Clause("CLI-13")]
    public void Client_says_that_a_download_is_not_verified()
    {
        static string Said(ChildProgram client, ProtocolConnection wire, bool digest)
        {
            wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(9), digest)]);
            client.MustSucceed();
            return client.Output + client.Errors;
        }

        var (client, wire, digest) = Begin("GET");
        Skip.IfNotOffered(!digest, "the client does not ask for a digest");
        string verified = Said(client, wire, digest: true);
        File.Delete(PathOf("cat.png"));
        (client, wire) = BeginWithoutOptions("GET");
        Demand(verified != Said(client, wire, digest: false),
            "a word about it, if the server does not know digest and the download is not verified",
            "the same as for a download that is verified");
    }

    // ---- STATUS, which a client need not have ----

    [Test, Clause("CLI-5", "STATUS-1")]
    public void Client_fails_if_STATUS_is_refused()
    {
        var (client, wire) = BeginStatus();
        wire.Send("ER|storage|not now\n");
        client.MustFail();
    }

    [Test, Clause("CLI-5", "GET-3", "STATUS-1")]
    public void Client_fails_if_STATUS_is_cut_short([Values(0, 4, 8, 20)] int bytes)
    {
        var (client, wire) = BeginStatus();
        wire.Send([.. "OK\n"u8, .. Block([.. "127.0.0.1|1|2|3\n127.0.0.1|1|2|3\n"u8]).AsSpan(0, bytes)]);
        wire.HalfClose();
        client.MustFail();
    }

    // ---- control characters from a server ----

    // Most of these begin a command for a terminal. The client may print tabs of its own.
    private const string Commands = "\u001b[2J\u001b]0;gotcha\u0007\u0008\u007f\u001c\u0085\u009b31m";

    // A line that the server sends as a reply, or in a block.
    private static readonly Dictionary<string, (string Verb, bool InBlock, string Line)> _sources = new()
    {
        ["a name"] = ("LIST", true, $"x{Commands}.png|1|2026-01-31T23:59:59Z"),
        ["a line that has no name"] = ("LIST", true, Commands),
        ["STATUS"] = ("STATUS", true, Commands),
        ["an error"] = ("GET", false, $"ER|not-found|{Commands}"),
        ["no reply"] = ("GET", false, Commands),
        ["an error to LIST"] = ("LIST", false, $"ER|storage|{Commands}"),
        ["no reply to LIST"] = ("LIST", false, $"OK{Commands}"),
        ["a code"] = ("GET", false, $"ER|{Commands}|no such picture"),
        ["an error after the block"] = ("PUT", false, $"ER|storage|{Commands}"),
        ["no reply after the block"] = ("PUT", false, Commands),
    };

    private static IEnumerable<string> Sources => _sources.Keys;

    [TestCaseSource(nameof(Sources)), Clause("CLI-11", "NAME-1", "LIST-1")]
    public void Client_escapes_control_characters_from_the_server(string source)
    {
        var (verb, inBlock, line) = _sources[source];
        Give("dog.png", Notation.Bytes(9));
        var (client, wire, digest) = Begin(verb, verb == "PUT" ? "dog.png" : "cat.png");
        byte[] bytes = Encoding.UTF8.GetBytes(line + "\n");
        if (verb == "PUT")
        {
            wire.Send("OK\n");
            wire.ExpectBytes(Block(Notation.Bytes(9), digest));
        }

        byte[] answer = inBlock ? [.. "OK\n"u8, .. Block(bytes)] : bytes;
        int inside = answer.AsSpan().LastIndexOf((byte)0x9B);
        wire.Send(answer.AsSpan(0, inside));
        wire.RestsFor(300);                             // the rest of the character arrives later
        wire.Send(answer.AsSpan(inside));
        wire.HalfClose();
        client.WaitForExit();
        string said = client.Output + client.Errors;
        char[] controls = [.. said.Where(c => char.IsControl(c) && c is not ('\n' or '\t')).Distinct()];
        Demand(controls is [], "no control characters from the server in what the client prints",
            $"{string.Join(", ", controls.Select(c => $"{(int)c:X2}"))} as they came, not escaped, in: {said}");
    }
}
