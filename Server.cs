// ImageTransfer, the server half: it keeps a folder of pictures and lets clients list it, fetch from it and add to it.
//
// The program in three sentences.  One thread asks the kernel which sockets are ready, gives each of those clients a
// bounded share of work, and asks again.  Each client is a Connection, a state machine whose state says what it waits
// for.  A picture that arrives is written under a hidden name and gets its own name last, so it is whole or not there.
//
// "§" means a section of Protocol.md, which says what may be on the wire; read that first.  Then this file from top to
// bottom: the command line · Options · Protocol · Server · Connection · Folder · Log.  Client.cs is the other half.

using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;
using Microsoft.Win32.SafeHandles;
using static Protocol;

const string Usage = """
    ImageTransfer moves pictures between machines.

      imagetransfer server [PORT] [OPTION...]                   serve a folder
      imagetransfer client HOST [PORT] [COMMAND [FILE...]]      list, fetch and add pictures; a prompt without COMMAND

    `imagetransfer server --help` and `imagetransfer client --help` say more; --version says which version this is.
    """;

// The first word picks the half of the program to run.
try
{
    return args switch
    {
        ["server", .. var rest]      => Server.Run(rest),
        ["client", .. var rest]      => Client.Run(rest),
        ["--help" or "-h" or "help"] => Options.Print(Usage),
        ["--version"]                => Options.Print($"imagetransfer {Options.Version}"),
        []                           => throw new Complaint("say which half, server or client; --help shows how"),
        [var word, ..]               => throw new Complaint($"there is no '{Show(word)}'{Options.Meant(word,
            ["server", "client", "--help", "--version"])}; --help shows what there is"),
    };
}
catch (Complaint complaint)
{
    Console.Error.WriteLine($"imagetransfer: {complaint.Message}");
    return complaint.ExitCode;
}

// What a person at a terminal has to be told, in one line, before the program ends.
sealed class Complaint(string text, int exitCode = 2) : Exception(text) { public int ExitCode => exitCode; }

// What was typed after "server" or "client".  The help text is the table of options: what is not in it does not exist,
// and a word one blank behind an option's name says that it takes a value.
sealed class Options
{
    readonly Dictionary<string, string> given = [];
    public readonly List<string> Words = [];

    public Options(string[] args, string help)
    {
        var takesValue = help.Split('\n').Where(line => line.StartsWith("  --"))
            .Select(line => line.Trim().Split(' ')).ToDictionary(words => words[0], words => words[1] != "");

        for (int i = 0; i < args.Length; i++)
        {
            if (args[i] == "--") { Words.AddRange(args[(i + 1)..]); break; }
            if (args[i] is not ['-', _, ..]) { Words.Add(args[i]); continue; }

            var parts = args[i].Split('=', 2);
            string name = parts[0] == "-h" ? "--help" : parts[0];
            if (!takesValue.TryGetValue(name, out bool takes))
                throw new Complaint($"there is no option {Show(name)}{Meant(name, takesValue.Keys)}; see --help");
            if (!takes && parts.Length == 2) throw new Complaint($"{name} takes no value");
            if (takes && parts.Length == 1 && ++i == args.Length) throw new Complaint($"{name} needs a value after it");
            string value = !takes ? "" : parts.Length == 2 ? parts[1] : args[i];
            if (takes && value == "") throw new Complaint($"{name} needs a value that is not empty");
            if (!given.TryAdd(name, value)) throw new Complaint($"{name} is given twice");
        }
    }

    public static string? Version => typeof(Options).Assembly.GetName().Version?.ToString(3);

    public bool Has(string name) => given.ContainsKey(name);
    public string Text(string name, string otherwise) => given.GetValueOrDefault(name, otherwise);

    // Digits, then K, M or G where it is a size.
    public long Number(string name, long otherwise, long most, bool isSize = false)
    {
        if (!given.TryGetValue(name, out var text)) return otherwise;
        int shift = isSize && text is [.., var unit] ? 10 * ("KMG".IndexOf(char.ToUpperInvariant(unit)) + 1) : 0;
        if (shift > 0) text = text[..^1];
        if (TryNumber(text, out long number) && number >= 1 && number <= most >> shift) return number << shift;
        string unitToo = isSize ? ", K, M or G behind it if you like" : "";
        throw new Complaint($"{name} takes a whole number from 1 to {most}{unitToo}, not '{Show(given[name])}'");
    }

    public string[] Types() => Text("--types", DefaultTypes).ToLowerInvariant().Split(',') is var types
        && types.All(type => type is not "" && type.All(char.IsAsciiLetterOrDigit)) ? types
        : throw new Complaint($"--types takes endings like {DefaultTypes}, or any, not '{Show(Text("--types", ""))}'");

    public static int PortFrom(string text, int least) =>
        TryNumber(text, out long port) && port >= least && port <= 65535 ? (int)port
        : throw new Complaint($"a port is a number from {least} to 65535, not '{Show(text)}'");

    // Digits alone: left to itself, .NET takes " +1 " for a number.
    static bool TryNumber(string text, out long number) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);

    public static int Print(string text)
    {
        Console.Out.WriteLine(text);
        return 0;
    }

    // " (did you mean …?)" for the known word that is fewest edits away, if it is near at all.
    public static string Meant(string word, IEnumerable<string> known) =>
        known.Select(candidate => (candidate, distance: Edits(word, candidate))).MinBy(pair => pair.distance)
            is var (nearest, edits) && edits <= Math.Max(2, nearest.Length / 3) ? $" (did you mean {nearest}?)" : "";

    static int Edits(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (int i = 1; i <= a.Length; i++)
        {
            (int diagonal, row[0]) = (row[0], i);
            for (int j = 1; j <= b.Length; j++)
            {
                int changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, changed));
            }
        }
        return row[^1];
    }
}

// ---- Protocol: what both halves agree on, and nothing that either of them does with it ----------------------------

// §6  The table of errors, row for row.  Where several fit, the upper row is the answer.
sealed record Error(string Code, string Text, bool Closes = false)
{
    public static readonly Error
        BadRequest  = new("bad-request", "a request is VERB|field|... in UTF-8, up to 1,024 octets, then LF", true),
        Unsupported = new("unsupported", "this server does not know that verb or option"),
        BadName     = new("bad-name", "1 to 255 octets, visible, without | / \\ : * ? \" < >, not hidden, no device"),
        BadType     = new("bad-type", "not one of the types taken here, by its ending or by its first octets"),
        NotFound    = new("not-found", "no file of that name"),
        Exists      = new("exists", "that name is taken; nothing is ever overwritten"),
        BadOffset   = new("bad-offset", "the offset is beyond the end of the file"),
        Empty       = new("empty", "a picture has at least one octet"),
        Denied      = new("denied", "this server takes no uploads"),
        TooLarge    = new("too-large", "the block is longer than this server takes", true),
        Corrupt     = new("corrupt", "the digest does not match what arrived; nothing was stored"),
        Storage     = new("storage", "the server cannot read or write its folder just now; nothing was stored"),
        Busy        = new("busy", "too many clients; try again later", true),
        Timeout     = new("timeout", "nothing, or too little, came in time", true),
        Stopping    = new("stopping", "the server is shutting down", true),
        Internal    = new("internal", "something unforeseen; the server's log has it", true);

    // A client needs only to know which of them end the conversation.
    public static readonly string[] Closing =
        [.. new[] { BadRequest, TooLarge, Busy, Timeout, Stopping, Internal }.Select(error => error.Code)];
}

// §4.2  The requests a server of this version can tell apart; Refused is all the rest.
abstract record Request;
sealed record List : Request;
sealed record Status : Request;
sealed record Get(string Name, ulong Offset = 0, bool Digest = false) : Request;
sealed record Put(string Name, bool Digest = false) : Request;
sealed record Refused(Error Error) : Request;

static class Protocol
{
    /// <summary>§3  The TCP port unless another is agreed on.</summary>
    public const int Port = 7005;

    /// <summary>§4.1  The longest line either way, in octets, its LF included.</summary>
    public const int MaxLine = 1024;

    /// <summary>§4.4  A block's length, in octets: an unsigned 64-bit number, most significant octet first.</summary>
    public const int LengthSize = 8;

    /// <summary>§4.4  A block's digest, in octets: SHA-256, raw.</summary>
    public const int DigestSize = 32;

    /// <summary>§4.5  The longest name, in octets of UTF-8.</summary>
    public const int MaxName = 255;

    /// <summary>§4.5  The endings a server takes unless told otherwise, in lower case, commas between.</summary>
    public const string DefaultTypes = "jpg,jpeg,png";

    /// <summary>§4.6  So many first octets of a file show its type.</summary>
    public const int SignatureSize = 12;

    static readonly UTF8Encoding Utf8Text = new(encoderShouldEmitUTF8Identifier: false);

    /// <summary>§4.1  Takes one line, without its LF, off the front of the input.  False: no LF yet.</summary>
    public static bool TryTakeLine(ref ReadOnlySpan<byte> input, out ReadOnlySpan<byte> line)
    {
        int end = input.IndexOf((byte)'\n');
        line = end < 0 ? default : input[..end];
        if (end >= 0) input = input[(end + 1)..];
        return end >= 0;
    }

    /// <summary>§4.2  The grammar, one arm per rule, for a line without its LF.  Total: there is a Request for whatever
    /// a client may send.</summary>
    public static Request ParseRequest(ReadOnlySpan<byte> line)
    {
        if (line is [] or [.., (byte)'\r'] || !Utf8.IsValid(line)) return new Refused(Error.BadRequest);
        return Utf8Text.GetString(line).Split('|') switch
        {
            ["", ..] or ["GET"] or ["PUT"]     => new Refused(Error.BadRequest),
            ["LIST", .. var options]           => WithOptions(new List(), options),
            ["STATUS", .. var options]         => WithOptions(new Status(), options),
            ["GET", var name, .. var options]  => WithOptions(new Get(name), options),
            ["PUT", var name, .. var options]  => WithOptions(new Put(name), options),
            _                                  => new Refused(Error.Unsupported),
        };
    }

    // An offset that 64 bits do not hold is beyond the end of any file.
    const ulong Beyond = ulong.MaxValue;

    // §4.2  Options stand in any order, each at most once.
    static Request WithOptions(Request request, string[] options)
    {
        var parts = options.Select(option => option.Split('=', 2)).ToArray();
        bool isOffset(string[] option) => request is Get && option[0] == "offset";
        bool isNumber(string[] option) => option is [_, { Length: > 0 and <= 20 } text] && text.All(char.IsAsciiDigit);

        if (parts.DistinctBy(option => option[0]).Count() < parts.Length
            || parts.Any(option => isOffset(option) && !isNumber(option))) return new Refused(Error.BadRequest);

        foreach (var option in parts)
            request = (request, option) switch
            {
                (Get get, ["digest", "sha256"]) => get with { Digest = true },
                (Put put, ["digest", "sha256"]) => put with { Digest = true },
                (Get get, ["offset", var text]) => get with { Offset = ulong.TryParse(text, out var n) ? n : Beyond },
                _                               => new Refused(Error.Unsupported),
            };
        return request;
    }

    /// <summary>§4.2  The line, LF included, that ParseRequest takes for this request.</summary>
    public static byte[] Line(Request request) => Utf8Text.GetBytes(request switch
    {
        Get get => $"GET|{get.Name}{(get.Offset > 0 ? $"|offset={get.Offset}" : "")}{DigestOption(get.Digest)}\n",
        Put put => $"PUT|{put.Name}{DigestOption(put.Digest)}\n",
        Status  => "STATUS\n",
        _       => "LIST\n",
    });

    static string DigestOption(bool wanted) => wanted ? "|digest=sha256" : "";

    /// <summary>§4.3  The reply line, LF included: OK for null, else ER with the error's code and text.</summary>
    public static byte[] Line(Error? error) =>
        Utf8Text.GetBytes(error is null ? "OK\n" : $"ER|{error.Code}|{error.Text}\n");

    /// <summary>§4.3  Reads a reply line without its LF.  True: error is null for OK, else what was refused; a code
    /// this version does not know is an error that goes on.  False: it is no reply at all.</summary>
    public static bool TryParseReply(ReadOnlySpan<byte> line, out Error? error)
    {
        error = null;
        if (!Utf8.IsValid(line)) return false;
        var fields = Utf8Text.GetString(line).Split('|', 3);
        if (fields is ["ER", { Length: > 0 } code, var text] && code.All(c => c is '-' or >= 'a' and <= 'z'))
            error = new Error(code, text, Error.Closing.Contains(code));
        return fields is ["OK"] || error is not null;
    }

    /// <summary>§4.4  The eight octets of a block's length, and back.</summary>
    public static byte[] Length(ulong length)
    {
        var octets = new byte[LengthSize];
        BinaryPrimitives.WriteUInt64BigEndian(octets, length);
        return octets;
    }

    public static ulong Length(ReadOnlySpan<byte> octets) => BinaryPrimitives.ReadUInt64BigEndian(octets);

    /// <summary>§4.5  The name rule, one for requests, listings and saved files.  Null, or bad-name or bad-type.
    /// The types are endings in lower case; "any" among them stands for all.</summary>
    public static Error? CheckName(string name, string[] types)
    {
        Span<byte> octets = stackalloc byte[MaxName];   // too small for a longer name; a lone surrogate has no octets
        bool fits = Utf8.FromUtf16(name, octets, out _, out _, replaceInvalidSequences: false) is OperationStatus.Done;
        if (!fits || name is "" or ['.' or ' ', ..] or [.., '.' or ' '] || name.AsSpan().ContainsAny("|/\\:*?\"<>")
            || !name.EnumerateRunes().All(IsVisible) || IsDevice(name)) return Error.BadName;

        return types.Contains("any") || types.Contains(Ending(name)) ? null : Error.BadType;
    }

    static string Ending(string name) =>
        name.LastIndexOf('.') is >= 0 and var dot ? name[(dot + 1)..].ToLowerInvariant() : "";

    static bool IsVisible(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or
        UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);

    // Opening one of these on Windows opens a device, whatever the folder and whatever follows the first dot.
    static bool IsDevice(string name) => name.Split('.')[0].TrimEnd(' ').ToUpperInvariant() is var stem
        && (stem is "CON" or "PRN" or "AUX" or "NUL" or "CONIN$" or "CONOUT$"
            || stem is [_, _, _, var digit] && stem[..3] is "COM" or "LPT" && "0123456789¹²³".Contains(stem[3]));

    /// <summary>§4.6  Whether a file of this name may begin so (with SignatureSize octets, or with the whole file).
    /// True for every type whose signature is not in the table.</summary>
    public static bool HasSignature(string name, ReadOnlySpan<byte> first) => Ending(name) switch
    {
        "png"           => first.StartsWith((ReadOnlySpan<byte>)[0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]),
        "jpg" or "jpeg" => first.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]),
        "gif"           => first.StartsWith("GIF87a"u8) || first.StartsWith("GIF89a"u8),
        "webp"          => first.StartsWith("RIFF"u8) && first.Length >= 12 && first[8..].StartsWith("WEBP"u8),
        "pdf"           => first.StartsWith("%PDF-"u8),
        "bmp"           => first.StartsWith("BM"u8),
        _               => true,
    };

    /// <summary>§2  Octets in the notation of transcripts: text as it is, the rest escaped, so that nothing a peer
    /// sends can forge a line of a log or move a terminal's cursor.</summary>
    public static string Show(ReadOnlySpan<byte> octets)
    {
        var shown = new StringBuilder();
        while (octets.Length > 0)
        {
            var status = Rune.DecodeFromUtf8(octets, out var rune, out int used);
            bool isText = status is OperationStatus.Done && IsVisible(rune);
            if (isText) shown.Append(rune.Value is '\\' or '<' ? "\\" : "").Append(rune);
            else foreach (byte octet in octets[..used])
                shown.Append((char)octet switch { '\n' => "\\n", '\r' => "\\r", '\t' => "\\t", _ => $"\\x{octet:X2}" });
            octets = octets[used..];
        }
        return shown.ToString();
    }

    public static string Show(string text) => Show(Utf8Text.GetBytes(text));

    /// <summary>§5.1  A moment in UTC, to the second.</summary>
    public static string Show(DateTime moment) =>
        moment.ToUniversalTime().ToString("s", CultureInfo.InvariantCulture) + "Z";
}

// ---- Server: the loop.  It alone waits, and it alone accepts and forgets connections --------------------------------

sealed class Server
{
    const string Help = """
        usage: imagetransfer server [PORT] [OPTION...]

        Serves the pictures of one folder until Ctrl-C. PORT is 7005 unless given; 0 takes any free one.

          --dir DIR           the folder; made if it is missing (images)
          --listen ADDRESS    127.0.0.1 is this machine alone; 0.0.0.0 or :: is the network (127.0.0.1)
          --types LIST        endings of the files to serve and take, or any (jpg,jpeg,png)
          --max-clients N     more clients than this are told to come back later (100)
          --max-size BYTES    the largest upload; K, M or G may follow the number (1G)
          --idle SECONDS      a client that asks for nothing for so long is let go (300)
          --sync              flush each upload to the disk before saying OK: it survives a power cut
          --read-only         take no uploads
          --trace             show every conversation on stderr, as Protocol.md writes it
          --quiet             no log
          --help              this text
        """;

    // §7  Times are milliseconds, amounts are octets.
    public const int LineTime = 10_000, BlockTime = 20_000, BlockStep = 80 << 10;
    public const int FarewellTime = 2_000, FarewellOctets = 1 << 20;
    const int StopTime = 10_000, MaxHistory = 1000, MaxFarewells = 256;

    // One client's share of a turn, and what a request costs of it: large enough that asking a thousand idle sockets
    // costs little beside the work done, small enough that a hundred busy clients take turns many times a second.
    public const int Share = 1 << 20, RequestCost = 16 << 10;
    const int AcceptsPerTurn = 16, LongestWait = 250, PauseAfterFailedAccept = 100, SpareDescriptors = 16;
    const int LookAtAllEvery = 2, FewEnough = 64;

    public readonly Folder Folder;
    public readonly Log Log;
    public readonly bool Traces, ReadOnly;
    public readonly long MaxSize, IdleTime;
    public readonly Queue<Visit> History = new();               // §5.4
    public readonly byte[] Buffer = new byte[Share];            // the only one: nothing rests in it between two clients
    public long Now = Environment.TickCount64;                  // read once a turn
    public bool Stopping { get; private set; }

    readonly Socket listener;
    readonly int maxClients;
    readonly Dictionary<Socket, Connection> connections = [], active = [];  // active: served since the last look at all
    readonly List<Socket> readable = [], writable = [], unfinished = [];
    readonly List<SafeFileHandle> spares = [];
    long lookAtAll, acceptAgain, stopBy;
    int lastNumber;
    volatile bool signalled;
    long signalledAt;

    public static int Run(string[] args)
    {
        var options = new Options(args, Help);
        return options.Has("--help") ? Options.Print(Help) : new Server(options).Serve();
    }

    Server(Options options)
    {
        if (options.Words.Count > 1) throw new Complaint($"one PORT is enough; what is '{Show(options.Words[1])}'?");
        int port = options.Words is [var word] ? Options.PortFrom(word, least: 0) : Port;
        string listen = options.Text("--listen", "127.0.0.1");
        if (!IPAddress.TryParse(listen, out var address))
            throw new Complaint($"--listen takes an address, such as 127.0.0.1, 0.0.0.0 or ::, not '{Show(listen)}'");

        maxClients = (int)options.Number("--max-clients", 100, 1_000_000);
        MaxSize = options.Number("--max-size", 1L << 30, long.MaxValue, isSize: true);
        IdleTime = options.Number("--idle", 300, 1_000_000_000) * 1000;
        (ReadOnly, Traces) = (options.Has("--read-only"), options.Has("--trace"));
        Folder = new Folder(options.Text("--dir", "images"), options.Types(), options.Has("--sync"), ReadOnly);
        Log = new Log(options.Has("--quiet"));
        listener = Listen(new IPEndPoint(address, port));
    }

    static Socket Listen(IPEndPoint endpoint)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
        try
        {
            if (OperatingSystem.IsWindows()) socket.ExclusiveAddressUse = true;
            if (endpoint.Address.Equals(IPAddress.IPv6Any)) socket.DualMode = true;
            socket.Bind(endpoint);
            socket.Listen(512);
            return socket;
        }
        catch (SocketException e)
        {
            throw new Complaint(e.SocketErrorCode switch
            {
                SocketError.AddressAlreadyInUse => $"port {endpoint.Port} is in use; choose another or free it",
                SocketError.AccessDenied        => $"port {endpoint.Port} is not for you; choose one from 1024 up",
                SocketError.AddressNotAvailable => $"{endpoint.Address} is no address of this machine",
                _                               => $"cannot listen on {endpoint}: {e.Message}",
            }, exitCode: 1);
        }
    }

    int Serve()
    {
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);

        // What .NET loads on first use needs a descriptor then, and there may be none left: load it while there are.
        foreach (var library in typeof(Server).Assembly.GetReferencedAssemblies()) Assembly.Load(library);
        SHA256.HashData([]);

        Console.Out.WriteLine($"listening on {listener.LocalEndPoint}, folder {Show(Folder.Root)}");
        if (Folder.Warning is { } warning) Log.Write($"warning: {warning}");
        while (!Stopping || connections.Count > 0) Turn();
        Log.Write("stopped");
        Log.Drain();
        return 0;
    }

    void OnSignal(PosixSignalContext signal)            // on a thread of its own: it may set a flag, no more
    {
        if (signalled && Environment.TickCount64 - signalledAt > 100) Environment.Exit(1);    // some send two at a time
        if (!signalled) signalledAt = Environment.TickCount64;
        signal.Cancel = signalled = true;
    }

    // One turn: ask the kernel who is ready, serve each of them a bounded share, drop the finished.
    // Select is the only place this program waits for a client, so no client can hold up another.
    //
    // Asking after a thousand sockets takes ten times as long as answering one of them.  So where there are many, those
    // that were active just now are asked after alone for two milliseconds, and then all of them again.
    void Turn()
    {
        if (signalled && !Stopping) Stop();
        readable.Clear();
        writable.Clear();
        unfinished.Clear();
        if (!Stopping && Now >= acceptAgain) readable.Add(listener);

        bool all = connections.Count <= FewEnough || active.Count == 0 || Now >= lookAtAll;
        long wait = all ? LongestWait : LookAtAllEvery;         // also the longest that a signal goes unnoticed
        foreach (var (socket, connection) in all ? connections : active)
        {
            if (Now >= connection.Deadline) Guard(connection, connection.Expire);
            if (Stopping && Now >= stopBy) connection.Abandon(Error.Stopping, hard: Now >= stopBy + FarewellTime);

            if (connection.IsFinished) Forget(socket, connection);      // a dictionary permits Remove while enumerated
            else if (connection.HasMore) unfinished.Add(socket);
            else if (connection.WantsToSend) writable.Add(socket);
            else readable.Add(socket);
            long left = Math.Max(connection.Deadline - Now, 1);
            wait = connection.HasMore || connection.IsFinished ? 0 : Math.Min(wait, left);
        }

        if (readable.Count + writable.Count == 0) Thread.Sleep((int)wait);  // Select takes no empty lists
        else Socket.Select(readable, writable, null, (int)wait * 1000); // trims both lists to those that are ready

        Now = Environment.TickCount64;
        if (all)
        {
            active.Clear();
            lookAtAll = Now + LookAtAllEvery;
        }
        foreach (var socket in readable)
            if (socket == listener) Accept();
            else Serve(socket, connections[socket]);
        foreach (var socket in writable) Serve(socket, connections[socket]);
        foreach (var socket in unfinished) Serve(socket, connections[socket]);
    }

    void Serve(Socket socket, Connection connection)
    {
        active[socket] = connection;
        Guard(connection, connection.Run);
    }

    void Guard(Connection connection, Action step)
    {
        try { step(); }
        catch (Exception e)                             // a defect of ours: it costs this client, no other
        {
            Log.Write($"#{connection.Number} internal error: {Show(e.ToString())}");
            connection.Abandon(Error.Internal, hard: connection.IsLeaving);
        }
    }

    void Accept()
    {
        try
        {
            while (spares.Count < SpareDescriptors) spares.Add(File.OpenHandle(Environment.ProcessPath!));
            for (int i = 0; i < AcceptsPerTurn && listener.Poll(0, SelectMode.SelectRead); i++)
                Admit(listener.Accept());
        }
        catch (Exception e)                             // out of descriptors: the listener stays readable; do not spin
        {
            Log.Write($"cannot accept just now: {e.Message}");
            spares.ForEach(spare => spare.Dispose());   // for files of running requests, and .NET's thread for a signal
            spares.Clear();
            acceptAgain = Now + PauseAfterFailedAccept;
        }
    }

    void Admit(Socket socket)
    {
        Connection connection;
        try
        {
            (socket.Blocking, socket.NoDelay) = (false, true);  // no delay: a send is a whole answer or much of one
            connection = new Connection(this, socket, ++lastNumber);
        }
        catch (SocketException) { socket.Dispose(); return; }           // gone again before we got to it

        int leaving = connections.Values.Count(other => other.IsLeaving);
        connections.Add(socket, connection);
        if (connections.Count - leaving > maxClients) connection.Abandon(Error.Busy, hard: leaving >= MaxFarewells);
        else History.Enqueue(connection.Visit);
        if (History.Count > MaxHistory) History.Dequeue();
        Serve(socket, connection);
    }

    void Forget(Socket socket, Connection connection)
    {
        connections.Remove(socket);
        active.Remove(socket);
        connection.Dispose();
    }

    // §8  No new clients, no new requests; what is under way has ten seconds.
    void Stop()
    {
        Stopping = true;
        stopBy = Now + StopTime;
        listener.Dispose();
        Log.Write($"stopping, {connections.Count} connected");
        foreach (var connection in connections.Values)
            if (connection.IsBetweenRequests) connection.Refuse(Error.Stopping);
    }
}

// §5.4  What STATUS tells of one connection.
sealed class Visit(string address)
{
    readonly DateTime connected = DateTime.UtcNow;
    public DateTime? Disconnected;
    public long Requests, Received, Sent;

    public override string ToString() =>
        $"{Show(connected)}|{(Disconnected is { } end ? Show(end) : "-")}|{address}|{Requests}|{Received}|{Sent}\n";
}

// ---- Connection: one conversation.  The state alone decides what Select watches; handlers only set a state --------

sealed class Connection : IDisposable
{
    enum State
    {
        Line,       // collecting a request line, up to its LF
        Hashing,    // GET from an offset: the part before it is read for the digest, not sent
        Sending,    // a reply, and the block behind it, is on its way out
        Length,     // PUT: the eight octets that say how long the block is
        Signature,  // PUT: the first octets, which must be those of the type
        Body,       // PUT: octets into a temporary file
        Swallow,    // PUT refused: octets are read and dropped, so that the next request is found
        Digest,     // PUT: the client's digest of the block
        Farewell,   // write side shut; discarding input until the client's FIN, so that no reset eats our last reply
        Finished,   // for the loop to close and forget
    }

    public readonly int Number;
    public readonly Visit Visit;
    public long Deadline { get; private set; }
    public bool HasMore { get; private set; }                   // it had more to do than its share of the last turn
    public bool WantsToSend => state is State.Sending;
    public bool IsFinished => state is State.Finished;
    public bool IsBetweenRequests => state is State.Line;
    public bool IsLeaving => closing || state is State.Farewell or State.Finished;

    readonly Server server;
    readonly Socket socket;
    State state;
    long share;                             // octets this turn may still move
    long moved;                             // octets moved since Deadline was set
    bool closing;                           // the reply being sent is the last one

    // Received and not used yet: as much as one line may be.  The rest stays with the kernel, and so with the client.
    readonly byte[] input = new byte[MaxLine];
    int inputStart, inputCount;
    bool lineBegun;

    // What is being sent: head, then file[position..end], then perhaps a digest; and what comes after it.
    byte[] head = [];
    int headSent;
    SafeFileHandle? file;
    long position, end, hashed;
    bool owesDigest;
    State next;

    // The request being answered, and what its PUT has come to so far.
    string verb = "-", name = "";
    string? outcome;                        // for the log, once the reply is out
    long started, octets, left;
    Upload? upload;
    (Error Error, Exception? Cause)? refusal;                   // the answer that waits for the end of the block
    bool expectsDigest;
    IncrementalHash? hash;

    public Connection(Server server, Socket socket, int number)
    {
        (this.server, this.socket, Number) = (server, socket, number);
        var address = (IPEndPoint)socket.RemoteEndPoint!;
        if (address.Address.IsIPv4MappedToIPv6) address.Address = address.Address.MapToIPv4();
        Visit = new Visit($"{address}");
        server.Log.Write($"#{number} connected from {address}");
        Await(State.Line);
    }

    // ---- what the loop calls ----

    // Goes on with the conversation until it has to wait for its socket, or has used up its share of the turn.
    public void Run()
    {
        for (share = Server.Share; share > 0 && Advance();) { }
        HasMore = (share <= 0 || state is State.Hashing) && !IsFinished;
    }

    bool Advance() => state switch              // false: it has to wait
    {
        State.Line                  => TakeLine(),
        State.Hashing               => HashSkipped(),
        State.Sending               => Send(),
        State.Length                => TakeLength(),
        State.Signature             => TakeSignature(),
        State.Body or State.Swallow => TakeBody(),
        State.Digest                => TakeDigest(),
        State.Farewell              => Discard(),
        _                           => false,
    };

    // §7  A deadline has passed.  A block that moves fast enough gets another.
    public void Expire()
    {
        if (state is State.Sending) Send();             // Select waits for much free room; here a little counts
        if (Environment.TickCount64 < Deadline || IsFinished) return;       // that was the rest of it
        if (state is not (State.Line or State.Farewell) && moved >= Server.BlockStep) SetDeadline(Server.BlockTime);
        else Abandon(Error.Timeout, hard: state is State.Farewell);
    }

    // Ends it, with a word unless that would be taken for a piece of the file being sent.
    public void Abandon(Error why, bool hard)
    {
        HasMore = false;
        if (hard || state is State.Sending or State.Hashing) Finish("cut");
        else if (!IsLeaving) Refuse(why);
    }

    void Finish(string how)
    {
        if (verb != "-" && !IsLeaving) LogRequest(how);
        state = State.Finished;
    }

    public void Dispose()
    {
        EndRequest();
        socket.Dispose();
        Visit.Disconnected = DateTime.UtcNow;
        Trace("S: <close>");
        string figures = $"requests {Visit.Requests}, octets in {Visit.Received}, out {Visit.Sent}";
        server.Log.Write($"#{Number} disconnected: {figures}");
    }

    // ---- §4.2  requests ----

    bool TakeLine()
    {
        if (server.Stopping) { Refuse(Error.Stopping); return true; }
        var rest = Input;
        if (TryTakeLine(ref rest, out var line))
        {
            UseInput(line.Length + 1);
            Begin(line, ParseRequest(line));
            return true;
        }
        if (inputCount == MaxLine) { Begin(Input, new Refused(Error.BadRequest)); return true; }
        if (inputCount > 0 && !lineBegun)               // §7  from the first octet on; later ones change nothing
        {
            lineBegun = true;
            SetDeadline(Server.LineTime);
        }
        return FillInput();
    }

    void Begin(ReadOnlySpan<byte> line, Request request)
    {
        Trace($"C: {Show(line)}{(line.Length < MaxLine ? "\\n" : "")}");
        Visit.Requests++;
        share -= Server.RequestCost;
        (verb, name) = request switch
        {
            Get get => ("GET", get.Name),
            Put put => ("PUT", put.Name),
            Refused => ("?", Encoding.UTF8.GetString(line[..Math.Min(line.Length, 100)])),
            _       => (request.GetType().Name.ToUpperInvariant(), ""),
        };
        try { Answer(request); }
        catch (Exception e) when (Folder.IsTrouble(e)) { Refuse(Error.Storage, e); }
    }

    void Answer(Request request)
    {
        switch (request)
        {
            case Refused refused: Refuse(refused.Error); break;
            case List:            ReplyWith(server.Folder.List()); break;
            case Status:          ReplyWith(string.Concat(server.History)); break;
            case Get get:         Answer(get); break;
            case Put put:         Answer(put); break;
        }
    }

    // §5.1, §5.4  A block made of lines.
    void ReplyWith(string lines)
    {
        share = 0;                                      // the dearest requests there are: one a turn
        var text = Encoding.UTF8.GetBytes(lines);
        octets = text.Length;
        Reply("ok", [.. Line(error: null), .. Length((ulong)octets), .. text]);
    }

    void Answer(Get get)                                // §5.2
    {
        var error = CheckName(get.Name, server.Folder.Types);
        if (error is null && !server.Folder.TryOpen(get.Name, out file, out end)) error = Error.NotFound;
        if (error is null && get.Offset > (ulong)end) error = Error.BadOffset;
        if (error is not null) { Refuse(error); return; }

        position = (long)get.Offset;
        octets = end - position;
        UseDigest(owesDigest = get.Digest);
        Reply("ok", [.. Line(error: null), .. Length((ulong)octets)]);
        if (owesDigest && position > 0) state = State.Hashing;
    }

    void Answer(Put put)                                // §5.3
    {
        string path = server.Folder.In(put.Name);
        var error = CheckName(put.Name, server.Folder.Types)
            ?? (Folder.IsTaken(path) ? Error.Exists : server.ReadOnly ? Error.Denied : null);
        if (error is not null) { Refuse(error); return; }

        upload = server.Folder.Receive(path);
        UseDigest(expectsDigest = put.Digest);
        Reply(null, Line(error: null), State.Length);   // the go-ahead
    }

    // ---- §4.3, §4.4  replies, and the blocks behind them ----

    void Reply(string? outcome, byte[] octets, State next = State.Line)
    {
        byte[] held = head[headSent..];                 // see Store
        (this.outcome, head, headSent, this.next) = (outcome, [.. held, .. octets], 0, next);
        Await(State.Sending);
        if (!server.Traces) return;
        int line = octets.AsSpan().IndexOf((byte)'\n') + 1, text = Math.Min(line + LengthSize, octets.Length);
        Trace($"S: {Show(octets.AsSpan(0, line))}");
        if (text > line) Trace($"S: <u64:{Length(octets.AsSpan(line))}>");
        foreach (string shown in Show(octets.AsSpan(text)).Split("\\n").SkipLast(1)) Trace($"S: {shown}\\n");
    }

    public void Refuse(Error error, Exception? cause = null)
    {
        EndRequest();
        closing = error.Closes;
        Reply(cause is null ? error.Code : $"{error.Code}: {Show(cause.Message)}", Line(error));
    }

    // Composes what is due next in the shared buffer and offers it to the kernel.  What that does not take is read
    // again from the file next time: cheaper than a buffer for every client, and it never grows.
    bool Send()
    {
        var buffer = server.Buffer.AsSpan();
        int fromHead = Math.Min(head.Length - headSent, buffer.Length), fromFile = 0;
        head.AsSpan(headSent, fromHead).CopyTo(buffer);
        if (position < end && fromHead < buffer.Length)
        {
            var room = buffer[fromHead..(int)Math.Min(buffer.Length, fromHead + end - position)];
            fromFile = ReadFile(room, position);
            if (fromFile == 0) { Leave("cut: the file has become shorter"); return false; }
        }

        int sent = socket.Send(buffer[..(fromHead + fromFile)], SocketFlags.None, out var error);
        if (error is not (SocketError.Success or SocketError.WouldBlock)) { Finish("reset"); return false; }
        Visit.Sent += sent;
        moved += sent;
        share -= sent;
        headSent += Math.Min(sent, fromHead);
        position += Math.Max(sent - fromHead, 0);

        if (sent < fromHead && head.Length - headSent > MaxLine) SpoolHead();
        if (headSent < head.Length || position < end) return sent == fromHead + fromFile;
        if (owesDigest) (head, headSent, owesDigest) = (hash!.GetHashAndReset(), 0, false);
        else EndReply();
        return true;
    }

    // Reads at an offset, and hashes what has not been hashed yet.  0: the file has become shorter.
    int ReadFile(Span<byte> into, long at)
    {
        int count = RandomAccess.Read(file!, into, at);
        if (owesDigest && at + count > hashed)
        {
            hash!.AppendData(into[(int)(hashed - at)..count]);
            hashed = at + count;
        }
        return count;
    }

    bool HashSkipped()
    {
        int count = ReadFile(server.Buffer.AsSpan(0, (int)Math.Min(server.Buffer.Length, position - hashed)), hashed);
        if (count == 0) { Refuse(Error.Storage); return true; }         // nothing is sent yet
        share -= count;
        SetDeadline(Server.BlockTime);                  // our time, not the client's
        if (hashed == position) state = State.Sending;
        return true;
    }

    // A long listing that this client is slow to take must not stay in memory: the rest of it becomes a file.
    void SpoolHead()
    {
        file = Folder.Spool(head.AsSpan(headSent));
        (position, end, head, headSent) = (0, head.Length - headSent, [], 0);
    }

    void EndReply()
    {
        if (verb is "GET" && file is not null)
        {
            Trace($"S: {(octets == end ? $"<file:{name}>" : $"<any:{octets}>")}");
            if (head.Length == DigestSize) Trace($"S: <hex:{Convert.ToHexString(head)}>");
        }
        if (outcome is not null) LogRequest(outcome);
        if (next is State.Line) EndRequest();
        if (closing) Leave(null);
        else Await(next);
    }

    // ---- §5.3  PUT, after the go-ahead ----

    bool TakeLength()
    {
        if (inputCount < LengthSize) return FillInput();
        ulong length = Length(Input);
        UseInput(LengthSize);
        Trace($"C: <u64:{length}>");
        if (length > (ulong)server.MaxSize) { Refuse(Error.TooLarge); return true; }    // compared before any cast

        octets = left = (long)length;
        state = State.Signature;
        if (length == 0) { RefuseLater(Error.Empty); EndBlock(); }
        return true;
    }

    bool TakeSignature()
    {
        int size = (int)Math.Min(SignatureSize, left);
        if (inputCount < size) return FillInput();
        state = State.Body;
        if (!HasSignature(name, Input[..size])) RefuseLater(Error.BadType);
        return true;
    }

    bool TakeBody()
    {
        var buffer = server.Buffer.AsSpan();
        int count = (int)Math.Min(inputCount, left);
        Input[..count].CopyTo(buffer);
        UseInput(count);
        if (count < left) count += Receive(buffer[count..(int)Math.Min(buffer.Length, left + MaxLine)]);
        if (count == 0 || IsFinished) return false;

        if (count > left)                               // what is behind the block came along; it fits the line buffer
        {
            (inputStart, inputCount) = (0, count - (int)left);
            buffer.Slice((int)left, inputCount).CopyTo(input);
            count = (int)left;
        }
        left -= count;
        if (state is State.Body)
        {
            if (expectsDigest) hash!.AppendData(buffer[..count]);
            try { upload!.Write(buffer[..count]); }
            catch (Exception e) when (Folder.IsTrouble(e)) { RefuseLater(Error.Storage, e); }
        }
        if (left == 0) EndBlock();
        return true;
    }

    void EndBlock()
    {
        if (octets > 0) Trace($"C: {(refusal is null ? $"<file:{name}>" : $"<any:{octets}>")}");
        if (expectsDigest) state = State.Digest;
        else Store();
    }

    bool TakeDigest()
    {
        if (inputCount < DigestSize) return FillInput();
        Trace($"C: <hex:{Convert.ToHexString(Input[..DigestSize])}>");
        if (refusal is null && !Input[..DigestSize].SequenceEqual(hash!.GetHashAndReset())) RefuseLater(Error.Corrupt);
        UseInput(DigestSize);
        Store();
        return true;
    }

    void Store()
    {
        try { if (refusal is null && !upload!.Publish()) RefuseLater(Error.Exists); }
        catch (Exception e) when (Folder.IsTrouble(e)) { RefuseLater(Error.Storage, e); }
        if (refusal is var (error, cause)) { Refuse(error, cause); return; }
        EndRequest();
        Reply("stored", Line(error: null));
        bool announced = Input.StartsWith("PUT|"u8) && Input.Contains((byte)'\n');
        if (announced) EndReply();                      // not sent yet: it leaves together with the next go-ahead
    }

    // The block goes on coming; it is dropped, and answered at its end.
    void RefuseLater(Error error, Exception? cause = null)
    {
        refusal = (error, cause);
        upload?.Dispose();
        state = State.Swallow;
    }

    // ---- §8  closing ----

    void Leave(string? how)
    {
        if (how is not null) LogRequest(how);
        try { socket.Shutdown(SocketShutdown.Send); } catch (SocketException) { Finish("reset"); return; }
        Await(State.Farewell);
        left = Server.FarewellOctets;
    }

    bool Discard()
    {
        int count = Receive(server.Buffer);
        if ((left -= count) <= 0) Finish("cut");
        return count > 0;
    }

    // ---- octets in ----

    ReadOnlySpan<byte> Input => input.AsSpan(inputStart, inputCount);

    void UseInput(int count) => (inputStart, inputCount) = (inputStart + count, inputCount - count);

    bool FillInput()
    {
        Input.CopyTo(input);                            // once per receive, not once per line
        inputStart = 0;
        int count = Receive(input.AsSpan(inputCount));
        inputCount += count;
        return count > 0 || state is State.Sending;
    }

    // How many octets came; 0 means wait, or that no more will come and the state says so.
    int Receive(Span<byte> into)
    {
        int count = socket.Receive(into, SocketFlags.None, out var error);
        Visit.Received += count;
        moved += count;
        share -= count;
        if (error is SocketError.WouldBlock || count > 0) return count;

        if (error is SocketError.Success) Trace("C: <fin>");
        if (error is SocketError.Success && state is State.Line && inputCount > 0) Refuse(Error.BadRequest);
        else Finish(error is SocketError.Success ? "cut" : "reset");
        return 0;
    }

    // ---- small things ----

    void Await(State what)
    {
        state = what;
        if (what is State.Line) (verb, name, octets, lineBegun, started) = ("-", "", 0, false, server.Now);
        SetDeadline(what switch
        {
            State.Line     => server.IdleTime,
            State.Farewell => Server.FarewellTime,
            _              => Server.BlockTime,
        });
    }

    // From this very moment: the disk may have taken long since the turn began, and that is not the client's time.
    void SetDeadline(long milliseconds) => (Deadline, moved) = (Environment.TickCount64 + milliseconds, 0);

    void UseDigest(bool wanted)
    {
        hash = wanted ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        hashed = 0;
    }

    // Lets go of all that belongs to one request; what was being uploaded disappears.
    void EndRequest()
    {
        upload?.Dispose();
        file?.Dispose();
        hash?.Dispose();
        (upload, file, hash, refusal) = (null, null, null, null);
        (owesDigest, expectsDigest, position, end) = (false, false, 0, 0);
    }

    void Trace(string text)
    {
        if (server.Traces) server.Log.Add($"#{Number} {text}");
    }

    void LogRequest(string how)                 // "-" is a farewell that no request asked for
    {
        string what = name == "" ? verb : $"{verb} {Show(name)}";
        server.Log.Write($"#{Number} {what}, {octets} octets, {server.Now - started} ms, {how}");
    }
}

// ---- Folder: the one folder of pictures, and the rule that a picture in it is whole -------------------------------

sealed class Folder
{
    const string NoLinks = "the file system of this folder has no hard links, so nothing can be stored in it";
    static readonly EnumerationOptions everything = new() { AttributesToSkip = 0 };

    public readonly string Root;
    public readonly string[] Types;
    public readonly string? Warning;
    readonly bool sync;

    public Folder(string root, string[] types, bool sync, bool readOnly)
    {
        (Root, Types, this.sync) = (Path.GetFullPath(root), types, sync);
        try
        {
            Directory.CreateDirectory(Root);
            List();
            if (readOnly) return;
            Sweep();
            if (!CanPublish()) Warning = NoLinks;
        }
        catch (Exception e) when (IsTrouble(e))
        {
            throw new Complaint($"cannot use the folder {Show(Root)}: {e.Message}"
                + (readOnly ? "" : " (--read-only needs no writing)"), exitCode: 1);
        }
    }

    // What disks do to programs.  A file beyond the system's limit is an ArgumentOutOfRangeException in .NET.
    public static bool IsTrouble(Exception e) =>
        e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException;

    // §5.1  One line a file, sorted by the octets of the names.
    public string List() => string.Concat(new DirectoryInfo(Root).EnumerateFiles("*", everything).Where(IsServed)
        .Select(file => (Octets: Encoding.UTF8.GetBytes(file.Name), File: file))
        .Order(Comparer<(byte[] Octets, FileInfo File)>.Create((a, b) => a.Octets.AsSpan().SequenceCompareTo(b.Octets)))
        .Select(pair => $"{pair.File.Name}|{pair.File.Length}|{Show(pair.File.LastWriteTimeUtc)}\n"));

    // P10  What there is to list and fetch.  .NET shows a pipe or a device as an empty file; opening it could block.
    bool IsServed(FileInfo file) => CheckName(file.Name, Types) is null && file.Exists && file.Length > 0
        && (file.Attributes & (FileAttributes.Directory | FileAttributes.ReparsePoint)) == 0
        && (!file.Name.Contains('\uFFFD') || File.Exists(file.FullName));  // octets that are no UTF-8 have no name here

    public bool TryOpen(string name, out SafeFileHandle? handle, out long length)
    {
        (handle, length) = (null, 0);
        string path = In(name);
        if (!IsServed(new FileInfo(path))) return false;
        handle = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
        length = RandomAccess.GetLength(handle);
        return true;
    }

    public string In(string name) => Path.Combine(Root, name);      // opened only for names that pass the rule

    // Any entry takes its name, also one that is never listed: a folder, a link to nowhere, an empty file.
    public static bool IsTaken(string path) => new FileInfo(path).Attributes != (FileAttributes)(-1);

    public Upload Receive(string path) =>
        Warning is null ? new Upload(Temporary(Root), path, sync) : throw new IOException(Warning);

    static string Temporary(string folder) =>
        Path.Combine(folder, $".imagetransfer-{Random.Shared.NextInt64():x16}.up");

    // P12  Temporaries of dead servers: a living one holds a lock on each of its own, which makes this open fail.
    // Opening for writing too never waits, whatever has been planted under such a name.
    void Sweep()
    {
        foreach (var file in new DirectoryInfo(Root).EnumerateFiles(".imagetransfer-????????????????.up", everything))
            try { Exclusive(file.FullName, FileMode.Open).Dispose(); }
            catch (Exception e) when (IsTrouble(e)) { }                 // alive, or not ours
    }

    bool CanPublish()
    {
        string published = Temporary(Root);
        using var probe = new Upload(Temporary(Root), published, sync: false);
        try { probe.Publish(); }
        catch (IOException) { return false; }
        File.Delete(published);
        return true;
    }

    public static SafeFileHandle Spool(ReadOnlySpan<byte> octets)
    {
        string path = Temporary(Path.GetTempPath());
        var handle = Exclusive(path, FileMode.CreateNew);
        RandomAccess.Write(handle, octets, 0);
        if (!OperatingSystem.IsWindows()) File.Delete(path);    // open, it lives on without a name, and ends with us
        return handle;
    }

    static SafeFileHandle Exclusive(string path, FileMode mode) =>
        File.OpenHandle(path, mode, FileAccess.ReadWrite, FileShare.None, FileOptions.DeleteOnClose);
}

// One file on its way in: written under a hidden name, then given its own.  Disposing of it removes the hidden name and
// only then lets go of its lock (DeleteOnClose has that order), so that no sweep ever takes it for a dead one.
sealed class Upload(string temporary, string final, bool sync) : IDisposable
{
    readonly SafeFileHandle handle =
        File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.DeleteOnClose);
    long length;

    public void Write(ReadOnlySpan<byte> octets)
    {
        RandomAccess.Write(handle, octets, length);
        length += octets.Length;
    }

    // P1, P2, P5  False: the name was taken meanwhile.
    public bool Publish()
    {
        if (sync) RandomAccess.FlushToDisk(handle);
        if (!Link(temporary, final)) return false;
        try { if (sync) FlushFolder(Path.GetDirectoryName(final)!); }
        catch (IOException) { File.Delete(final); throw; }              // it will be refused, so it must not be there
        return true;
    }

    public void Dispose() => handle.Dispose();

    // A second name for the file, made only if nothing has that name: one step, atomic, that never overwrites.
    // (File.Move without overwriting looks first and renames then; two that race both win.)
    public static bool Link(string existing, string name)
    {
        bool made = OperatingSystem.IsWindows() ? CreateHardLinkW(name, existing, 0) : link(existing, name) == 0;
        if (!made && Marshal.GetLastPInvokeError() is not (17 or 183))          // EEXIST, ERROR_ALREADY_EXISTS
            throw new IOException($"cannot link: {Marshal.GetLastPInvokeErrorMessage()}");
        return made;
    }

    static void FlushFolder(string folder)
    {
        if (OperatingSystem.IsWindows()) return;        // NTFS keeps its own journal of names
        int descriptor = open(folder, 0);
        bool flushed = descriptor >= 0 && fsync(descriptor) == 0;
        if (descriptor >= 0) close(descriptor);
        if (!flushed) throw new IOException("cannot flush the folder");
    }

    [DllImport("libc", SetLastError = true)] static extern int link(string existing, string name);
    [DllImport("libc", SetLastError = true)] static extern int open(string path, int flags);
    [DllImport("libc", SetLastError = true)] static extern int fsync(int descriptor);
    [DllImport("libc")] static extern int close(int descriptor);
    [DllImport("kernel32", CharSet = CharSet.Unicode, SetLastError = true)]
    static extern bool CreateHardLinkW(string name, string existing, nint reserved);
}

// ---- Log: one line an event, by a thread of its own, since a terminal or pipe that nobody reads blocks its writer -

sealed class Log
{
    readonly BlockingCollection<string> lines = new(boundedCapacity: 1000);
    readonly TextWriter stderr = Console.Error;         // opened now: later there may be no descriptor for it
    readonly bool quiet;
    readonly Thread writer;
    int dropped;

    public Log(bool quiet)
    {
        this.quiet = quiet;
        writer = new Thread(WriteOut) { IsBackground = true };
        writer.Start();
    }

    public void Write(string what)
    {
        if (!quiet) Add($"{Show(DateTime.UtcNow)} {what}");
    }

    public void Add(string line)
    {
        if (!lines.TryAdd(line)) Interlocked.Increment(ref dropped);
    }

    void WriteOut()
    {
        foreach (var line in lines.GetConsumingEnumerable())
        {
            try
            {
                stderr.WriteLine(line);
                int count = Interlocked.Exchange(ref dropped, 0);
                if (count > 0) stderr.WriteLine($"({count} lines left out)");
            }
            catch (IOException) { Interlocked.Increment(ref dropped); }  // a full disk, say: it must not end the server
        }
    }

    public void Drain()                                 // bounded: an end must not wait for a reader either
    {
        lines.CompleteAdding();
        writer.Join(500);
    }
}
