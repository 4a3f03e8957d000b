// ImageTransfer, the client half: it asks, waits for the answer, and goes on.
//
// One conversation at a time means that every call may block, so the protocol reads here as it is spoken: write a
// request, read a reply, copy a block.  That contrast with Server.cs is the lesson.  What does not change: TCP carries
// octets, not messages, so nothing below assumes that one receive brings one reply.  (GET and PUT ask a little ahead of
// the answers; for the plain shape of a conversation, begin with Print.)
//
// Read top to bottom: the commands · the prompt · GET · PUT · the connection · Progress.

using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using static Protocol;

sealed class Client : IDisposable
{
    const string Help = """
        usage: imagetransfer client HOST [PORT] [COMMAND [FILE...]] [OPTION...]

        Without COMMAND there is a prompt that takes the same ones. PORT is 7005 unless given.

          LIST                what the server has
          GET NAME...         fetch pictures             (also: download)
          PUT FILE...         add pictures               (also: upload, send)
          STATUS              who has been connected

          --output PATH       GET into this folder, or, for a single NAME, to this file
          --resume            GET: go on with a download that was cut short
          --no-digest         do not compare SHA-256 digests
          --types LIST        endings to send and fetch, or any (jpg,jpeg,png)
          --trace             show the conversation on stderr, as Protocol.md writes it
          --quiet             say nothing but what went wrong
          --help              this text

        Exit code: 0 done, 1 something was refused or failed, 2 the command line makes no sense.
        """;

    const string PromptHelp =
        "LIST · GET NAME... · PUT FILE... · STATUS · exit · a name alone fetches it · quotes go around spaces";

    const int GiveUpAfter = 60_000;         // milliseconds without an octet
    const string GaveUp = "not an octet for 60 s; given up";
    const string NobodyListens = "nobody listens there; is the server running?";
    const int RequestsAhead = 64;           // their lines fit any kernel's buffers, so never do both sides wait to send

    readonly string host;
    readonly int port;
    readonly string[] types;
    readonly string? output;
    readonly bool resume, quiet, traces;
    readonly Progress progress;
    bool digest;                            // until a server says that it knows no such option
    bool failed;

    public static int Run(string[] args)
    {
        var options = new Options(args, Help);
        if (options.Has("--help")) return Options.Print(Help);
        if (options.Words is not [var host, .. var words]) throw new Complaint("say which HOST; --help shows how");
        int port = Port;
        if (words is [[>= '0' and <= '9', ..] number, .. var others])
            (port, words) = (Options.PortFrom(number, least: 1), others);

        using var client = new Client(options, host, port);
        if (words is [var word, .. var files])
        {
            string verb = VerbOf(word) ?? throw NoCommand(word);
            if (verb != "GET" && options.Has("--output")) throw new Complaint("--output goes with GET");
            if (verb != "GET" && options.Has("--resume")) throw new Complaint("--resume goes with GET");
            client.Execute(verb, [.. files]);
        }
        else client.Prompt();
        return client.failed ? 1 : 0;
    }

    Client(Options options, string host, int port)
    {
        (this.host, this.port, types) = (host, port, options.Types());
        (quiet, traces) = (options.Has("--quiet"), options.Has("--trace"));
        (resume, digest) = (options.Has("--resume"), !options.Has("--no-digest"));
        output = options.Has("--output") ? options.Text("--output", "") : null;
        progress = new Progress(!quiet && !Console.IsErrorRedirected);
        if (resume && !digest) throw new Complaint("--resume needs the digest to see whether the pieces fit");
    }

    // ---- the commands ----

    static string? VerbOf(string word) => word.ToUpperInvariant() switch
    {
        "LIST"                      => "LIST",
        "STATUS"                    => "STATUS",
        "GET" or "DOWNLOAD"         => "GET",
        "PUT" or "UPLOAD" or "SEND" => "PUT",
        _                           => null,
    };

    static Complaint NoCommand(string word) => new($"there is no command {Show(word)}"
        + Options.Meant(word.ToUpperInvariant(), ["LIST", "GET", "PUT", "STATUS", "HELP", "EXIT"]) + "; help lists them");

    void Execute(string verb, string[] files)
    {
        if (verb is "LIST" or "STATUS" && files is not []) throw new Complaint($"{verb} takes no file name");
        if (verb is "GET" or "PUT" && files is []) throw new Complaint($"{verb} which file?");
        switch (verb)
        {
            case "LIST":   Print(new List(), [-15, 20, 0], "the folder is empty"); break;
            case "STATUS": Print(new Status(), [20, 20, 21, -5, -12, -12], "nobody has been connected"); break;
            case "GET":    GetAll(files); break;
            case "PUT":    PutAll(files); break;
        }
    }

    // §5.1, §5.4  Lines as they came, or columns for a person: negative widths align to the right, the name goes last.
    void Print(Request request, int[] widths, string ifNone)
    {
        try
        {
            Connect();
            WriteLine(Line(request));
            Flush();
            if (ReadReply() is { } error)
            {
                Fail(request is List ? "LIST" : "STATUS", error);
                if (error.Closes) Drop();
                return;
            }
            ulong left = ReadLength();
            if (left == 0) Say(ifNone);
            while (left > 0)
            {
                var line = ReadLine();
                if ((ulong)line.Length + 1 > left) throw Broken("a line runs beyond its block");
                left -= (ulong)line.Length + 1;
                Trace('S', $"{Show(line)}\\n");
                string[] fields = Show(line).Split('|');
                bool columns = !Console.IsOutputRedirected && fields.Length == widths.Length;
                if (columns && request is List) fields = [WithCommas(fields[1]), fields[2], fields[0]];
                if (columns) fields = [.. fields.Zip(widths, Padded)];
                Console.Out.WriteLine(string.Join(columns ? "  " : "|", fields));
            }
        }
        catch (IOException e)
        {
            Drop();
            Fail(request is List ? "LIST" : "STATUS", e.Message);
        }
    }

    static string WithCommas(string number) => ulong.TryParse(number, out ulong n) ? $"{n:N0}" : number;
    static string Padded(string field, int width) => width < 0 ? field.PadLeft(-width) : field.PadRight(width);

    void Prompt()
    {
        Connect();
        Say($"connected to {host}, port {port}; help lists the commands, exit leaves");
        while (true)
        {
            if (!Console.IsInputRedirected) Console.Error.Write("imagetransfer> ");
            if (Console.In.ReadLine() is not { } line) return;
            try
            {
                switch (Split(line))
                {
                    case []: break;
                    case [var word] when word.ToLowerInvariant() is "exit" or "quit": return;
                    case [var word] when word.ToLowerInvariant() is "help": Console.Out.WriteLine(PromptHelp); break;
                    case [var word, .. var files] when VerbOf(word) is { } verb: Execute(verb, files); break;
                    case [var word] when !word.Contains('.') && !types.Contains("any"): throw NoCommand(word);
                    default: GetAll([line.Trim()]); break;
                }
            }
            catch (Complaint complaint) { Fail("imagetransfer", complaint.Message); }
        }
    }

    // Words as a shell would cut them: at spaces, but not between quotes.
    static string[] Split(string line)
    {
        var words = new List<string>();
        StringBuilder? word = null;
        char quote = '\0';
        foreach (char c in line)
            if (quote == '\0' && c is '"' or '\'') (quote, word) = (c, word ?? new StringBuilder());
            else if (c == quote) quote = '\0';
            else if (quote != '\0' || c is not (' ' or '\t')) (word ??= new StringBuilder()).Append(c);
            else if (word is not null) { words.Add(word.ToString()); word = null; }
        if (quote != '\0') throw new Complaint("a quote is not closed");
        if (word is not null) words.Add(word.ToString());
        return [.. words];
    }

    // ---- GET ----

    sealed record Download(string Name, string Target, string Temporary)
    {
        public Get Request = new("");
        public bool HasOptions => Request != new Get(Name);
    }

    void GetAll(string[] names)
    {
        bool intoFolder = output is null || Directory.Exists(output);
        if (!intoFolder && names.Length > 1)
            throw new Complaint($"--output {Show(output!)} is no folder, and there are several files for it");

        var files = new List<Download>();
        foreach (string name in names)
        {
            if (CheckName(name, types) is { } error) { Fail(name, error); continue; }
            string target = Path.GetFullPath(intoFolder ? Path.Combine(output ?? "", name) : output!);
            string folder = Path.GetDirectoryName(target)!, source = $"{host}:{port}|{name}";
            string id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(source)))[..16];
            if (!Directory.Exists(folder)) Fail(name, $"there is no folder {Show(folder)} to put it in");
            else if (Folder.IsTaken(target)) Fail(name, "that name is here already; nothing is ever overwritten");
            else files.Add(new Download(name, target, Path.Combine(folder, $".imagetransfer-{id}.down")));
        }

        // §9  Requests run ahead of their answers, so that small files do not pay a round trip each.
        for (int next = 0, asked = 0; next < files.Count;)
        {
            if (asked == next) Connect();
            if (asked - next <= RequestsAhead / 2)
                for (; asked < files.Count && asked - next < RequestsAhead; asked++)
                    WriteLine(Line(files[asked].Request = Ask(files[asked])));
            Flush();

            var file = files[next++];
            bool again = false, resumed = file.Request.Offset > 0;
            try
            {
                var error = ReadReply();
                if (error is null) Receive(file);
                else if (error.Code == "unsupported" && file.HasOptions) (digest, again) = (false, true);
                else if (error.Code == "bad-offset" && resumed) { File.Delete(file.Temporary); again = true; }
                else Fail(file.Name, error);
                if (again) files.Add(file);
                if (error is { Closes: true }) Drop();
            }
            catch (Exception e) when (Folder.IsTrouble(e))
            {
                Drop();
                Fail(file.Name, e.Message);
            }
            if (socket is null) asked = next;           // what was asked and not answered is asked again
        }
    }

    Get Ask(Download file)
    {
        var kept = new FileInfo(file.Temporary);
        return new Get(file.Name, resume && digest && kept.Exists ? (ulong)kept.Length : 0, digest);
    }

    void Receive(Download file)
    {
        ulong length = ReadLength();
        if (length > long.MaxValue - file.Request.Offset) throw Broken("no file is that long");
        if (length == 0 && file.Request.Offset == 0) throw Broken("it sent a file of no octets");
        long position = (long)file.Request.Offset, end = position + (long)length;

        // Its lock keeps out a second client that fetches the same file.  The hidden name goes first, then the lock.
        using var handle = File.OpenHandle(file.Temporary, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        using var hash = file.Request.Digest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        bool intact = true;
        progress.Begin(file.Name, position, end);
        try
        {
            if (RandomAccess.GetLength(handle) != position) RandomAccess.SetLength(handle, position);
            for (long hashed = 0; hash is not null && hashed < position;)
            {
                // Room to borrow.
                var chunk = outgoing.AsSpan(used, (int)Math.Min(outgoing.Length - used, position - hashed));
                int count = RandomAccess.Read(handle, chunk, hashed);
                hash.AppendData(chunk[..count]);
                hashed += count;
            }
            while (position < end)
            {
                var chunk = Take(end - position);
                RandomAccess.Write(handle, chunk, position);
                hash?.AppendData(chunk);
                progress.Position = position += chunk.Length;
            }
            Trace('S', file.Request.Offset == 0 ? $"<file:{file.Name}>" : $"<any:{length}>");
            if (hash is not null) intact = ReadDigest().SequenceEqual(hash.GetHashAndReset());
        }
        catch (Exception e) when (Folder.IsTrouble(e))
        {
            if (position == 0) File.Delete(file.Temporary);
            string kept = position == 0 ? "" : $"; {position:N0} octets are kept, and --resume goes on from there";
            throw new IOException(e.Message + kept);
        }
        finally { progress.End(); }

        bool saved = intact && Save(file.Temporary, file.Target);
        File.Delete(file.Temporary);
        if (!intact) Fail(file.Name, "the digest does not match what arrived; it is thrown away");
        else if (!saved) Fail(file.Name, "that name has appeared here meanwhile; nothing is ever overwritten");
        else Say($"{file.Name}: {progress.Summary}, {(hash is null ? "not verified" : "verified")}");
    }

    // Publishes as the server does.  Where there are no hard links (a memory stick, say) the name is reserved by an
    // empty file first: that never overwrites either, but a crash in between leaves the empty file behind.
    static bool Save(string temporary, string target)
    {
        try { return Upload.Link(temporary, target); }
        catch (IOException)
        {
            try { File.OpenHandle(target, FileMode.CreateNew, FileAccess.Write).Dispose(); }
            catch (IOException) when (Folder.IsTaken(target)) { return false; }
            File.Move(temporary, target, overwrite: true);
            return true;
        }
    }

    // ---- PUT ----

    void PutAll(string[] paths)
    {
        var files = paths.Where(IsWorthSending).ToArray();
        bool announced = false;                     // the request for files[next] went out behind the block before it
        byte[] request(int i) => i < files.Length ? Line(new Put(Path.GetFileName(files[i]), digest)) : [];
        for (int next = 0; next < files.Length; next++)
        {
            string name = Path.GetFileName(files[next]);
            try
            {
                if (!announced)
                {
                    Connect();
                    WriteLine(request(next));
                    Flush();
                }
                announced = false;
                var error = ReadReply();
                if (error is null)
                {
                    bool whole = announced = SendBlock(files[next], name, behind: request(next + 1));
                    error = ReadReply();
                    if (!whole) Drop();
                    if (!whole && error is null) throw Broken("it said OK before it had the file");
                }
                if (error is null) Say($"{name}: {progress.Summary}, {(digest ? "verified" : "not verified")}");
                else if (error.Code == "unsupported" && digest) { digest = false; next--; }
                else Fail(name, error);
                if (error is { Closes: true }) Drop();
            }
            catch (Exception e) when (Folder.IsTrouble(e))
            {
                Drop();
                Fail(name, e.Message);
            }
            announced &= socket is not null;
        }
    }

    bool IsWorthSending(string path)
    {
        string name = Path.GetFileName(path);
        try
        {
            if (Directory.Exists(path)) Fail(path, "that is a folder; name the files in it");
            else if (CheckName(name, types) is { } error) Fail(path, error);
            else if (new FileInfo(path) is var file && !file.Exists) Fail(path, "there is no such file here");
            else if (file.Length == 0) Fail(path, Error.Empty);      // before it is opened: a pipe looks like that too
            else
            {
                Span<byte> first = stackalloc byte[SignatureSize];
                using var handle = File.OpenHandle(path);
                if (HasSignature(name, first[..RandomAccess.Read(handle, first, 0)])) return true;
                Fail(path, Error.BadType);
            }
        }
        catch (Exception e) when (Folder.IsTrouble(e)) { Fail(path, e.Message); }
        return false;
    }

    // False: the server had something to say before the block was complete, and that is read first.
    bool SendBlock(string path, string name, byte[] behind)
    {
        using var handle = File.OpenHandle(path, options: FileOptions.SequentialScan);
        using var hash = digest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        long position = 0, end = RandomAccess.GetLength(handle);
        Trace('C', $"<u64:{end}>");
        Write(Length((ulong)end));
        progress.Begin(name, position, end);
        try
        {
            while (position < end)
            {
                if (used == outgoing.Length && (socket!.Poll(0, SelectMode.SelectRead) || !Flush())) return false;
                var chunk = outgoing.AsSpan(used, (int)Math.Min(outgoing.Length - used, end - position));
                int count = RandomAccess.Read(handle, chunk, position);
                if (count == 0) throw new IOException("the file became shorter while it was being sent");
                hash?.AppendData(chunk[..count]);
                used += count;
                progress.Position = position += count;
            }
            Trace('C', $"<file:{name}>");
            if (hash?.GetHashAndReset() is { } octets)
            {
                Trace('C', $"<hex:{Convert.ToHexString(octets)}>");
                Write(octets);
            }
            WriteLine(behind);
            return Flush();
        }
        finally { progress.End(); }
    }

    // ---- the connection ----

    Socket? socket;
    readonly byte[] incoming = GC.AllocateUninitializedArray<byte>(1 << 20);
    readonly byte[] outgoing = GC.AllocateUninitializedArray<byte>(1 << 20);
    int start, count;                       // received and not used yet: incoming[start..][..count]
    int used;                               // waiting to be sent: outgoing[..used]

    // Every address the name has is tried in turn.  A connection on which the server spoke unasked has ended: §8.
    void Connect()
    {
        if (socket is not null && (count > 0 || socket.Poll(0, SelectMode.SelectRead))) Drop();
        if (socket is not null) return;

        string why = "the name has no address";
        try
        {
            foreach (var address in IPAddress.TryParse(host, out var literal) ? [literal] : Dns.GetHostAddresses(host))
            {
                socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                socket.SendTimeout = socket.ReceiveTimeout = GiveUpAfter;
                try { socket.Connect(address, port); return; }
                catch (SocketException e)
                {
                    why = e.SocketErrorCode is SocketError.ConnectionRefused ? NobodyListens : e.Message;
                }
                Drop();
            }
        }
        catch (SocketException e) { why = e.Message; }
        throw new Complaint($"cannot connect to {Show(host)}, port {port}: {why}", exitCode: 1);
    }

    void Drop()
    {
        socket?.Dispose();
        socket = null;
        start = count = used = 0;
    }

    public void Dispose()
    {
        if (socket is not null) Trace('C', "<close>");  // by the process as it ends: Dispose would cost 2 ms more
        progress.Dispose();
    }

    void WriteLine(byte[] line)
    {
        if (line is not []) Trace('C', Show(line));
        Write(line);
    }

    void Write(ReadOnlySpan<byte> octets)
    {
        if (octets.Length > outgoing.Length - used) Flush();
        octets.CopyTo(outgoing.AsSpan(used));
        used += octets.Length;
    }

    // §9  A send that fails is no answer yet: the server may have said why before it closed; its reply is read next.
    bool Flush()
    {
        socket!.Send(outgoing.AsSpan(0, used), SocketFlags.None, out var error);   // blocking: returns when all is sent
        used = 0;
        return error is SocketError.Success;
    }

    // One receive: whatever has arrived, an octet at least.
    void Receive()
    {
        incoming.AsSpan(start, count).CopyTo(incoming);
        start = 0;
        int received = socket!.Receive(incoming.AsSpan(count), SocketFlags.None, out var error);
        if (error is SocketError.TimedOut or SocketError.WouldBlock) throw new IOException(GaveUp);
        if (error is not SocketError.Success) throw new IOException("the connection broke");
        if (received == 0) throw new IOException("the server closed the connection before the end of its answer");
        count += received;
    }

    ReadOnlySpan<byte> Take(long most)
    {
        if (count == 0) Receive();
        int taken = (int)Math.Min(most, count);
        start += taken;
        count -= taken;
        return incoming.AsSpan(start - taken, taken);
    }

    ReadOnlySpan<byte> ReceiveExactly(int size)
    {
        while (count < size) Receive();
        return Take(size);
    }

    ReadOnlySpan<byte> ReadLine()
    {
        while (true)
        {
            ReadOnlySpan<byte> rest = incoming.AsSpan(start, count);
            if (TryTakeLine(ref rest, out var line) && line.Length < MaxLine) return Take(line.Length + 1)[..^1];
            if (count >= MaxLine) throw Broken("its line does not end");
            Receive();
        }
    }

    Error? ReadReply()
    {
        var line = ReadLine();
        Trace('S', $"{Show(line)}\\n");
        if (TryParseReply(line, out var error)) return error;
        throw Broken($"it answered {Show(line[..Math.Min(line.Length, 60)])}");
    }

    ulong ReadLength()
    {
        ulong length = Length(ReceiveExactly(LengthSize));
        Trace('S', $"<u64:{length}>");
        return length;
    }

    ReadOnlySpan<byte> ReadDigest()
    {
        var octets = ReceiveExactly(DigestSize);
        Trace('S', $"<hex:{Convert.ToHexString(octets)}>");
        return octets;
    }

    static IOException Broken(string how) => new($"that is no server of this protocol: {how}");

    // ---- talk: all of it on stderr, since stdout is for what was asked for ----

    void Say(string text)
    {
        if (!quiet) Console.Error.WriteLine(text);
    }

    void Trace(char side, string text)
    {
        if (traces) Console.Error.WriteLine($"{side}: {text}");
    }

    void Fail(string what, Error error) => Fail(what, $"{error.Code}: {Plain(error.Text)}");

    // For reading, not for parsing: only what could harm a terminal stays escaped.
    static string Plain(string text) => Show(text).Replace(@"\<", "<").Replace(@"\\", @"\");

    void Fail(string what, string why)
    {
        Console.Error.WriteLine($"{Show(what)}: {why}");
        failed = true;
    }
}

// On a terminal, a line that shows how far a transfer is.  A timer draws it, since the transfer itself may be waiting.
sealed class Progress : IDisposable
{
    const int StalledAfter = 5_000;         // milliseconds

    readonly Timer? timer;
    string name = "";
    long first, end, started, lastMoved, position;
    bool drawn, active;

    public Progress(bool visible)
    {
        if (visible) timer = new Timer(_ => { lock (this) Draw(); }, null, 500, 250);
    }

    public long Position { set { (position, lastMoved) = (value, Environment.TickCount64); } }

    public string Summary => $"{end - first:N0} octets in {(lastMoved - started) / 1000.0:0.00} s";

    public void Begin(string name, long position, long end)
    {
        lock (this)
        {
            (this.name, first, this.end, Position) = (name, position, end, position);
            (started, active) = (lastMoved, true);
        }
    }

    public void End()
    {
        lock (this)
        {
            if (drawn) Console.Error.Write("\r\e[K");
            drawn = active = false;
        }
    }

    void Draw()
    {
        long now = Environment.TickCount64;
        if (!active || now - started < 400) return;
        double rate = (position - first) * 1000.0 / (now - started), done = (double)position / end;
        var left = TimeSpan.FromSeconds(Math.Min(rate > 0 ? (end - position) / rate : 0, 359_999));
        string pace = $"{rate / 1e6:0.0} MB/s  {left:h\\:mm\\:ss} left";
        if (now - lastMoved >= StalledAfter) pace = $"stalled for {(now - lastMoved) / 1000} s";
        string bar = new string('#', (int)(done * 20)).PadRight(20, '-');
        Console.Error.Write($"\r\e[K{(name.Length > 24 ? name[..23] + "…" : name)}  [{bar}] {done,4:0%}  {pace}");
        drawn = true;
    }

    public void Dispose() => timer?.Dispose();
}
