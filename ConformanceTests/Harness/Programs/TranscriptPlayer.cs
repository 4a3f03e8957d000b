namespace ConformanceTests.Harness.Programs;

/// <summary>Plays a transcript over real sockets, as the client of a server or as the server of a client.</summary>
public static class TranscriptPlayer
{
    public static void AgainstServer(
        Transcript transcript, RunningServer server, Delivery delivery, Func<ProtocolConnection>? connect = null)
    {
        foreach (var (name, content) in HeldBefore(transcript, Side.Server))
        {
            server.Has(name, content);
        }

        bool IsHeld((string Name, byte[] Content) file) =>
            new FileInfo(server.PathOf(file.Name)).Length == file.Content.Length;

        if (!HeldBefore(transcript, Side.Server).All(IsHeld))
        {
            throw NotLookedAt.Because("needs a folder that tells upper from lower case");
        }

        try
        {
            using var wire = connect?.Invoke() ?? server.Connect(delivery);
            bool hasEnded = false;
            byte[] asked = [];
            foreach (var step in transcript.Steps)
            {
                switch (step)
                {
                    case SendStep { Side: Side.Client } sends:
                        asked = Joined(sends);
                        wire.Send(asked);
                        break;
                    case SendStep when WindowsLimits.Folded(transcript, asked) is { } answer:
                        wire.Expect(answer);
                        break;
                    case SendStep sends:
                        wire.Expect(sends.Pieces);
                        break;
                    case EventStep { Side: Side.Client }:
                        wire.HalfClose();
                        break;
                    case EventStep:
                        wire.ExpectEnd();
                        hasEnded = true;
                        break;
                }
            }

            if (!hasEnded)                                  // nothing more may come after the client has ended
            {
                wire.Finish();
            }

            Check(transcript.After, Side.Server, server.Folder);
        }
        catch (Violation violation)
        {
            throw Located(violation, transcript, delivery);
        }
    }

    public static void AgainstClient(
        Transcript transcript, Socket listener, string folder, Delivery delivery, TestScope? scope)
    {
        foreach (var (name, content) in HeldBefore(transcript, Side.Client))
        {
            File.WriteAllBytes(Path.Combine(folder, name), content);
        }

        string[] words = transcript.Command!.Split(' ');
        using var client = StartClient(folder, PortOf(listener), words[0], words.ElementAtOrDefault(1));
        scope?.Add(client);
        var wire = Accept(listener, delivery, scope);
        try
        {
            foreach (var step in transcript.Steps)
            {
                switch (step)
                {
                    case SendStep { Side: Side.Server } sends:
                        wire.Send(Joined(sends));
                        break;
                    case SendStep { Pieces: [KnownBytes(var line)] } when line is [.., 10]:
                        ExpectRequest(ref wire, listener, line, scope);
                        break;
                    case SendStep sends:
                        wire.Expect(sends.Pieces);
                        break;
                    case EventStep { Side: Side.Server, Event: "half-close" }:
                        wire.HalfClose();
                        break;
                    case EventStep { Side: Side.Server }:
                        wire.HalfClose();
                        wire.Dispose();
                        break;
                    case EventStep:
                        wire.ExpectEnd();
                        break;
                }
            }

            wire.Dispose();
            int exit = client.WaitForExit();
            if (transcript.Exit is { } wanted && (wanted == 0) != (exit == 0))
            {
                throw new FailedCheck(Wording.Exit(wanted == 0, exit, transcript.Name, wire.Talk));
            }

            Check(transcript.After, Side.Client, folder);
        }
        catch (Violation violation)
        {
            throw Located(violation, transcript, delivery);
        }
        finally
        {
            wire.Dispose();
        }
    }

    // The files in the folder of one side when the conversation begins.
    private static IEnumerable<(string Name, byte[] Content)> HeldBefore(Transcript transcript, Side side) =>
        from file in transcript.Before
        where file.Side == side && file.Content is not null
        select (file.Name, file.Content!);

    private static FailedCheck Located(Violation violation, Transcript transcript, Delivery delivery)
    {
        var failure = Explanation.Of(violation, transcript.Ids);
        failure = delivery == Delivery.Whole ? failure : Hints.InPieces(failure);
        return new FailedCheck(failure with { Where = Where(transcript, delivery) });
    }

    // A client may use options that the transcript does not have. Then the suite is a server without these options
    // (CONF-1), and the client asks again, on this connection or on a new one (CLI-13).
    public static void ExpectRequest(ref ProtocolConnection wire, Socket listener, byte[] line, TestScope? scope)
    {
        string expected = Encoding.UTF8.GetString(line[..^1]);
        string received = wire.ReceiveLine(expected + "\\n");
        for (int options = 3; options > 0 && AsksForMore(received, expected); options--)
        {
            const string Why = "this server has no extensions";
            received = RefuseOptions(ref wire, listener, (received, expected), Why, scope);
        }

        if (received == expected)
        {
            return;
        }

        if (AsksForMore(expected, received))
        {
            throw NotLookedAt.NotOffered("the client does not ask for it");
        }

        throw wire.WrongLine(null, expected, received);
    }

    /// <summary>
    /// Answers `unsupported` to a request with options, and receives the next one, on this connection or on a new one.
    /// </summary>
    /// <returns>The line, without its LF.</returns>
    /// <exception cref="FailedCheck">The client gives up, which is allowed (CLI-13 is a SHOULD).</exception>
    public static string RefuseOptions(
        ref ProtocolConnection wire, Socket listener, (string Received, string Expected) request, string text,
        TestScope? scope)
    {
        wire.Send($"ER|unsupported|{text}\n");
        try
        {
            return wire.ReceiveLine(request.Expected + "\\n");
        }
        catch (Violation)
        {
            wire.Dispose();
        }

        if (!Comes(listener, scope))
        {
            throw GivesUp(request.Received, request.Expected, wire.Talk);
        }

        wire = new ProtocolConnection(listener.Accept(), Side.Server, wire.Delivery);
        scope?.Add(wire);
        return wire.ReceiveLine(request.Expected + "\\n");
    }

    private static FailedCheck GivesUp(string received, string expected, RecordedConnection talk) =>
        new(new Failure($"{expected}\\n, after `unsupported` was the answer to {received}\\n",
            "no other request, and no other connection")
        {
            HintName = "gives up at unsupported",
            Sentence = "CLI-13",
            IsAdvice = true,
            Talks = [talk],
            Hint = "a server may know no options (CONF-1). Ask again without them, or your client cannot use "
                + "such a server at all.",
        });

    // Whether the first is the same request as the second, with more options, in any order.
    private static bool AsksForMore(string received, string expected)
    {
        string[] more = received.Split('|');
        string[] fewer = expected.Split('|');
        return more.Length > fewer.Length && more[0] == fewer[0] && !fewer.Except(more).Any();
    }

    /// <summary>Returns how the report shows the command line of a client.</summary>
    internal static string RunAs(string command, string? file, string options) =>
        $"client … {command} {file} {options}".TrimEnd() + (options is [not '-', ..]
            ? "\n(several files in one start are optional, §8: a client that takes only one fails before it connects)"
            : "");

    /// <summary>Returns a socket that listens for the client.</summary>
    public static Socket Listen()
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(8);
        return listener;
    }

    /// <summary>Says whether a program accepts a connection on this port of the machine.</summary>
    public static bool Answers(int port)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    public static int PortOf(Socket listener) => ((IPEndPoint)listener.LocalEndPoint!).Port;

    public static ChildProgram StartClient(
        string folder, int port, string command, string? file = null, string options = "", string? input = null,
        string with = "", string? key = null, string? outputTo = null)
    {
        (string, string?)[] values =
        [
            .. CommandTemplates.Values(CommandTemplates.ClientTemplate, key is null ? with : $"{with} key={key}"),
            ("host", "127.0.0.1"),
            ("port", $"{port}"),
            ("command", command == "" ? null : command),
            ("file", file),
        ];
        string[] words =
        [
            .. outputTo is null ? (string[])[] : ["sh", "-c", $"exec \"$@\" > {outputTo}", "sh"],
            .. CommandTemplates.Words(CommandTemplates.ClientTemplate, values), .. CommandTemplates.Words(options),
        ];
        return new ChildProgram("client", words, folder, input)
        {
            Command = command,
            RunAs = RunAs(command, file, options),
        };
    }

    // Waits until the client connects. Returns false if it ends before that, or if the time is up.
    private static bool Comes(Socket listener, TestScope? scope)
    {
        bool Comes(int microseconds) => listener.Poll(microseconds, SelectMode.SelectRead);

        for (var clock = Stopwatch.StartNew(); clock.ElapsedMilliseconds < RunSettings.Patience * 3;)
        {
            if (Comes(20_000))
            {
                return true;
            }
            else if (scope?.LastIfAllEnded is not null)
            {
                return Comes(0);
            }
        }

        return false;
    }

    public static ProtocolConnection Accept(Socket listener, Delivery delivery, TestScope? scope)
    {
        if (Comes(listener, scope))
        {
            var connection = new ProtocolConnection(listener.Accept(), Side.Server, delivery);
            scope?.Add(connection);
            return connection;
        }

        string exit = scope?.LastIfAllEnded is { } client
            ? $": it has ended, with exit code {client.WaitForExit()}" : "";
        throw new FailedCheck(new Failure("a connection from the client", $"none{exit}"));
    }

    private static byte[] Joined(SendStep step) => [.. step.Pieces.SelectMany(piece => piece switch
    {
        KnownBytes(var value) => value,
        AnyBytes(var count) => new byte[count],
        Placeholder("line") => Encoding.UTF8.GetBytes("in the words of this server\n"),
        Placeholder("time") => Encoding.UTF8.GetBytes("2026-01-31T23:59:59Z"),
        _ => "7"u8.ToArray(),
    })];

    private static void Check(FileState[] files, Side side, string folder)
    {
        string owner = side.ToString().ToLowerInvariant();
        foreach (var file in files.Where(file => file.Side == side))
        {
            string path = Path.Combine(folder, file.Name);
            if (file.Content is null && File.Exists(path))
            {
                throw new FailedCheck(Wording.Shows(side, file.Name, new FileInfo(path).Length));
            }

            if (file.Content is null)
            {
                continue;
            }

            if (!File.Exists(path))
            {
                throw new FailedCheck(new Failure($"the {owner} has {file.Name}", "it is not there"));
            }

            var (wanted, there) = (file.Content, LocalFiles.Read(path));
            if (!there.AsSpan().SequenceEqual(wanted))
            {
                throw new FailedCheck(Wording.OtherBytes(file.Name, wanted, there));
            }
        }
    }

    private static string Where(Transcript transcript, Delivery delivery)
    {
        if (transcript.Name == "")
        {
            return "";
        }

        string how = delivery switch
        {
            Delivery.ByteByByte => "byte by byte",
            Delivery.ThreeBytes => "three bytes at a time",
            _ => "whole",
        };
        return $"transcript {transcript.Name} (Protocol.md:{transcript.Line}), {how}";
    }
}
