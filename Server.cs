// ImageTransfer, the server half: it keeps a folder of pictures and lets clients list it, fetch from it and add to it.
//
// The program in three sentences.  One thread asks the kernel which sockets are ready, lets each of those conversations
// go on for a bounded share of work, and asks again.  A conversation is written as it is spoken: take a request, answer
// it, again; its `await` is where the loop waits for it.  A picture that arrives is written under a hidden name and
// gets its own name last, so it is whole or not there.
//
// "§" means a section of Protocol.md.  Read that first, then Client.cs, where what both halves agree on stands; then
// this file from top to bottom: Server (the loop) · Connection · Wire · Folder · Log · the command line.

using System.Collections.Concurrent;
using System.Runtime.CompilerServices;

// ---- Server: the loop.  It alone waits, and it alone accepts and forgets connections --------------------------------
sealed class Server {
    // §7  Times are milliseconds, amounts are octets.
    public const int LineTime = 10_000, BlockTime = 20_000, BlockStep = 80 << 10;
    public const int FarewellTime = 2_000, FarewellOctets = 1 << 20, HandshakeOctets = 8 << 10;
    const int StopTime = 10_000, PauseAfterFailedAccept = 100, MaxHistory = 1000, MaxFarewells = 256;
    // A turn's work is bounded: so many octets are shared by those who are ready, and each gets enough of them to be
    // worth the asking.  What a request costs beside its octets counts as if it were some.
    const int TurnOctets = 4 << 20, LeastShare = 128 << 10, LargestShare = 1 << 20;
    public const int RequestCost = 16 << 10;
    const int AcceptsPerTurn = 16, LongestWait = 250, SpareDescriptors = 16;
    const int MostClients = 65_000, MostSockets = 65_500;       // Select takes 65,536, with those that are leaving
    public readonly Folder Folder;
    public readonly Log Log;
    public readonly bool Traces;
    public readonly long MaxSize, IdleTime;
    public readonly Queue<Visit> History = new();               // §5.4
    public bool Stopping { get; private set; }
    // One for all conversations.  What is in it is valid until the next await: then it is somebody else's turn.
    public readonly byte[] Buffer = new byte[LargestShare];
    public readonly Key? Key;
    readonly Socket listener;
    readonly int maxClients;
    public readonly int LoopThread = Environment.CurrentManagedThreadId;
    readonly Dictionary<Socket, Connection> connections = [];
    readonly List<Socket> readable = [], writable = [], due = [], spares = [];
    long now, acceptAgain, stopBy, signalledAt;
    volatile bool signalled;
    int Serve() {
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        // What .NET loads on first use needs a descriptor then, and there may be none left: load it while there are.
        foreach (var library in GetType().Assembly.GetReferencedAssemblies()) System.Reflection.Assembly.Load(library);
        SHA256.HashData([]);
        Console.Out.WriteLine($"listening on {listener.LocalEndPoint}, folder {Show(Folder.Root)}");
        foreach (string warning in Folder.Warnings) Log.Write($"warning: {warning}");
        while (!Stopping || connections.Count > 0) Turn();
        Log.Write("stopped");
        Log.Drain();
        return 0;
    }

    // One turn: ask the kernel who is ready, let each of them go on, forget the finished.  Select is the only place in
    // this program that waits for a client, so no client can hold up another.
    void Turn() {
        int wait = Deal(WhomToAskAfter());
        if (readable.Count + writable.Count > 0) Socket.Select(readable, writable, null, wait * 1000);
        else Thread.Sleep(wait);                                        // Select takes no empty lists
        now = Environment.TickCount64;
        if (readable.Remove(listener)) Accept();
        Socket[] ready = [.. readable, .. writable, .. due];            // Select left in the lists those who are ready
        int share = Math.Clamp(TurnOctets / Math.Max(ready.Length, 1), LeastShare, LargestShare);
        var strangers = Key is null ? [] : ready.Where(socket => connections[socket].IsStranger).ToArray();
        foreach (var socket in strangers is [] ? ready : ready.Except(strangers)) GoOn(connections[socket], share);
        Random.Shared.Shuffle(strangers);       // one a turn, by chance: it may ask for arithmetic of 100 ms (§14)
        foreach (var socket in strangers.Take(1)) GoOn(connections[socket], share);
        Folder.ListOn();
        if (signalled) Stop();
    }

    // Who waits for octets, who for room to send, who for nothing but a turn (or for an end, at its deadline); and how
    // long nobody needs to be looked at, in milliseconds: also the longest that a signal goes unnoticed.
    int Deal(Dictionary<Socket, Connection> asked) {
        foreach (var list in (List<Socket>[])[readable, writable, due]) list.Clear();
        if (!Stopping && now >= acceptAgain && connections.Count < MostSockets) readable.Add(listener);
        long wait = asked == connections ? LongestWait : LookAtAllEvery;
        foreach (var (socket, connection) in asked) {
            if (connection.IsDue(now)) due.Add(socket);
            else if (connection.WantsRoom) writable.Add(socket);
            else readable.Add(socket);
            wait = Math.Min(wait, connection.Deadline - now);
        }
        return due.Count > 0 || Folder.IsListing ? 0 : (int)Math.Max(wait, 1);
    }

    void GoOn(Connection connection, int share) {
        recent[connection.Socket] = connection;
        connection.GoOn(share);
        if (!connection.IsFinished) return;
        connections.Remove(connection.Socket);
        recent.Remove(connection.Socket);
    }

    // ---- what makes a thousand idle clients cheap ----
    // Asking after a thousand sockets takes ten times as long as answering one of them.  So where there are many, those
    // that went on just now are asked after alone for two milliseconds, and then all of them again.
    const int LookAtAllEvery = 2, FewEnough = 64;
    readonly Dictionary<Socket, Connection> recent = [];
    long lookAtAll;
    Dictionary<Socket, Connection> WhomToAskAfter() {
        if (connections.Count > FewEnough && recent.Count > 0 && now < lookAtAll) return recent;
        recent.Clear();
        lookAtAll = now + LookAtAllEvery;
        return connections;
    }

    // ---- coming and going ----
    int lastNumber;
    void Accept() {
        try {
            while (spares.Count < SpareDescriptors)
                spares.Add(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            for (int i = 0; i < AcceptsPerTurn && listener.Poll(0, SelectMode.SelectRead); i++)
                try { Admit(listener.Accept()); }       // or it has been reset before: that costs nobody a pause
                catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset
                    or SocketError.ConnectionAborted or SocketError.NotConnected or SocketError.WouldBlock) { }
        } catch (Exception e) {                         // out of descriptors: the listener stays readable; do not spin
            Log.Write($"cannot accept just now: {e.Message}");
            spares.ForEach(spare => spare.Dispose());   // for files of running requests, and .NET's thread for a signal
            spares.Clear();
            acceptAgain = now + PauseAfterFailedAccept;
        }
    }

    void Admit(Socket socket) {
        Connection connection;
        try { connection = new Connection(this, socket, ++lastNumber); }
        catch (Exception e) when (e is SocketException or IOException) { socket.Dispose(); return; }   // gone again
        int leaving = connections.Values.Count(other => other.IsLeaving);
        bool tooMany = connections.Count - leaving >= maxClients;
        if (!tooMany) History.Enqueue(connection.Visit);
        if (History.Count > MaxHistory) History.Dequeue();
        if (tooMany && leaving >= MaxFarewells) { connection.Dispose(); return; }
        connections.Add(socket, connection);
        connection.Begin(tooMany ? Error.Busy : null);
    }

    void OnSignal(PosixSignalContext signal) {          // on a thread of its own: it may set a flag, no more
        if (signalled && Environment.TickCount64 - signalledAt > 100) Environment.Exit(1);    // some send two at a time
        if (!signalled) signalledAt = Environment.TickCount64;
        signal.Cancel = signalled = true;
    }

    // §8  No new clients, no new requests; what is under way has ten seconds, and those who were told so two more.
    void Stop() {
        if (!Stopping) {
            (Stopping, stopBy) = (true, now + StopTime);
            listener.Dispose();
            Log.Write($"stopping, {connections.Count} connected");
            End(connection => connection.IsBetweenRequests, Error.Stopping);
        }
        if (now >= stopBy) End(connection => !connection.IsLeaving, Error.Stopping);
        if (now >= stopBy + FarewellTime) End(_ => true, null);
    }

    void End(Func<Connection, bool> which, Error? lastWord) {
        foreach (var connection in connections.Values.Where(which).ToArray()) {
            connection.End(new Ending("cut", lastWord));
            GoOn(connection, LeastShare);
        }
    }

    // ---- the start ----
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
          --key FILE          let in only who has this file, and encrypt; made if it is missing
          --trace             show every conversation on stderr, as Protocol.md writes it
          --quiet             no log
          --help              this text
        """;

    public static int Run(string[] args) => new Options(args, Help) is var options && options.Has("--help")
        ? Options.Print(Help) : new Server(options).Serve();

    Server(Options options) {
        if (options.Words.Count > 1) throw new Complaint($"one PORT is enough; what is '{Show(options.Words[1])}'?");
        int port = options.Words is [var word] ? Options.PortFrom(word, least: 0) : Port;
        string listen = options.Text("--listen", "127.0.0.1");
        if (!IPAddress.TryParse(listen, out var address))
            throw new Complaint($"--listen takes an address, such as 127.0.0.1, 0.0.0.0 or ::, not '{Show(listen)}'");
        maxClients = (int)options.Number("--max-clients", 100, MostClients);
        MaxSize = options.Number("--max-size", 1L << 30, long.MaxValue, isSize: true);
        IdleTime = options.Number("--idle", 300, 1_000_000_000) * 1000;
        Traces = options.Has("--trace");
        Folder = new Folder(options.Text("--dir", "images"), options.Types(), options.Has("--sync"),
            options.Has("--read-only"));
        Log = new Log(options.Has("--quiet"));
        Key = Key.From(options, mayMake: true);
        listener = Listen(new IPEndPoint(address, port));
        if (Key is null && !IPAddress.IsLoopback(address))
            Folder.Warnings.Add("without --key, everybody who reaches this port can look, fetch and add");
    }

    static Socket Listen(IPEndPoint endpoint) {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
        try {
            if (OperatingSystem.IsWindows()) socket.ExclusiveAddressUse = true;
            if (endpoint.Address.Equals(IPAddress.IPv6Any)) socket.DualMode = true;
            socket.Bind(endpoint);
            socket.Listen(512);
            return socket;
        } catch (SocketException e) {
            throw new Complaint(e.SocketErrorCode switch {
                SocketError.AddressAlreadyInUse => $"port {endpoint.Port} is in use; choose another or free it",
                SocketError.AccessDenied        => $"port {endpoint.Port} is not for you; choose one from 1024 up",
                SocketError.AddressNotAvailable => $"{endpoint.Address} is no address of this machine",
                _                               => $"cannot listen on {endpoint}: {e.Message}",
            }, exitCode: 1);
        }
    }
}

// §5.4  What STATUS tells of one connection.
sealed class Visit(string address) {
    public readonly string Address = address;
    readonly DateTime connected = DateTime.UtcNow;
    public DateTime? Disconnected;
    public long Requests, Received, Sent;
    public override string ToString() =>
        $"{Show(connected)}|{(Disconnected is { } end ? Show(end) : "-")}|{Address}|{Requests}|{Received}|{Sent}\n";
}

// ---- Connection: one conversation, as it is spoken ------------------------------------------------------------------
// Thrown where a conversation waits, this ends it: a deadline, a stop, a reset, a block or a file that is cut short.
// The last word is the reply that is due then, if there is one.
sealed class Ending(string how, Error? lastWord = null) : Exception(how) { public Error? LastWord => lastWord; }

enum Wait { Octets, Room, Turn }        // octets to receive · room to send · only its share of the next turn
// What it says is held until it waits; what it takes is in its input; in a turn it moves no more than its allowance;
// its deadline is fixed for a line, and put off for a block that keeps the pace.
sealed class Connection : INotifyCompletion, IDisposable {
    public readonly Socket Socket;
    public readonly Visit Visit;
    public bool IsBetweenRequests { get; private set; }
    public bool IsLeaving { get; private set; }
    public bool IsStranger => !wire.IsOpen;             // it has not shown yet that it has the key
    public bool IsFinished => conversation.IsCompleted;
    readonly Server server;
    readonly int number;
    readonly Wire wire;
    Task conversation = Task.CompletedTask;
    string what = "-";                          // for the log: the request that is being answered,
    long blockLength, begun;                    // how many octets its block has, and since when
    public Connection(Server server, Socket socket, int number) {
        (this.server, Socket, this.number) = (server, socket, number);
        (socket.Blocking, socket.NoDelay) = (true, true);       // no delay: a send is a whole answer or much of one
        wire = server.Key is { } key ? new SealedWire(this, key, new(this)) : new Wire(this);
        socket.Blocking = false;
        var remote = (IPEndPoint)socket.RemoteEndPoint!;
        var address = remote.Address.IsIPv4MappedToIPv6 ? remote.Address.MapToIPv4()
            : new IPAddress(remote.Address.GetAddressBytes());          // without its scope, a matter of this machine
        Visit = new Visit($"{new IPEndPoint(address, remote.Port)}");
        server.Log.Write($"#{number} connected from {Visit.Address}");
    }

    // The whole of it; a client that is turned away is given its last word at once.
    public void Begin(Error? lastWord) => conversation = Converse(lastWord);
    async Task Converse(Error? lastWord) {
        bool leaves = IsLeaving = lastWord is not null;
        try {
            await Until(Wait.Turn);
            SetDeadline(Server.LineTime);
            IsBetweenRequests = true;
            await wire.Open();
            if (leaves) LogRequest(lastWord!.Code);
            while (!leaves && await TakeRequest() is { } request) {
                var error = await Answered(request);
                if (error is not null || request is PutRequest) await Say(error);
                LogRequest(error is null ? request is PutRequest ? "stored" : "ok" : error.Code + error.Cause);
                leaves = error is { Closes: true };
            }
            if (!leaves) await wire.End();
        } catch (Exception e) {                         // an end; or a defect of ours, which costs this client alone
            LogRequest(e);
            lastWord = e is Ending ending ? ending.LastWord : Error.Internal;
            leaves = lastWord is not null;
        }
        try { if (leaves) await Leave(lastWord); } catch (Exception e) { LogRequest(e); }
        Dispose();
    }

    // §4.2  Null: the client has ended its sending, between two requests.
    async ValueTask<Request?> TakeRequest() {
        (what, blockLength) = ("-", 0);
        if (Allowance <= 0) await Until(Wait.Turn);
        if (LineEnd < 0) await Flush();
        if (server.Stopping) throw new Ending("stopping", Error.Stopping);
        SetDeadline(server.IdleTime);
        bool hasBegun = false, goesOn = IsBetweenRequests = true;
        while (goesOn && LineEnd < 0 && inputCount < MaxLine && Input is not [TlsHandshake, ..]) {
            if (inputCount > 0 && !hasBegun) SetDeadline(Server.LineTime);      // §7  later octets buy no time
            hasBegun = inputCount > 0;
            goesOn = await FillInput();
        }
        IsBetweenRequests = false;
        if (inputCount == 0) return null;
        bool isWhole = LineEnd >= 0;                            // or too long, or cut short by the client's end
        var line = isWhole ? Input[..LineEnd] : Input;
        var request = isWhole || line is [TlsHandshake, ..] ? ParseRequest(line) : new Refused(Error.BadRequest);
        string shown = Show(line);
        Trace($"C: {shown}{(isWhole ? "\\n" : "")}");
        what = request is Refused ? $"? {shown[..Math.Min(shown.Length, 100)]}"
            : string.Join(' ', shown.Split('|').Take(2));
        UseInput(isWhole ? line.Length + 1 : line.Length);
        (blockLength, begun) = (0, Environment.TickCount64);
        Allowance -= Server.RequestCost;
        Visit.Requests++;
        SetPace();
        return request;
    }

    async ValueTask<Error?> Answered(Request request) {
        try {
            return request switch {
                GetRequest get  => await Answer(get),
                PutRequest put  => await Answer(put),
                ListRequest     => await AnswerList(),
                StatusRequest   => await AnswerStatus(),
                _               => ((Refused)request).Error,
            };
        } catch (Exception e) when (Files.IsTrouble(e)) { return Error.Storage.Because(e); }
    }

    // §5.1
    async ValueTask<Error?> AnswerList() {
        await Flush();                                          // what was said before does not wait for it
        using var listing = server.Folder.AskForListing();
        while (!listing.IsReady) await Until(Wait.Turn);
        return await SayLines(listing.Lines);
    }

    // §5.4
    async ValueTask<Error?> AnswerStatus() {
        await Flush();                                          // what was said before counts as sent
        using var lines = Files.Scratch((ulong)server.History.Count << 7);
        foreach (var visit in server.History) lines.Write(Encoding.UTF8.GetBytes($"{visit}"));
        return await SayLines(lines);
    }

    async ValueTask<Error?> SayLines(Stream lines) {
        await SayBlock((into, at) => { lines.Position = at; return lines.Read(into); }, 0, lines.Length, hash: null);
        lines.Position = 0;
        for (var text = new StreamReader(lines); server.Traces && text.ReadLine() is { } line;) Trace($"S: {line}\\n");
        return null;
    }

    // §5.2
    async ValueTask<Error?> Answer(GetRequest get) {
        if (CheckName(get.Name, server.Folder.Types) is { } error) return error;
        using var file = server.Folder.Open(get.Name);
        if (file is null) return Error.NotFound;
        long end = RandomAccess.GetLength(file), position = (long)Math.Min(get.Offset, long.MaxValue);
        if (RandomAccess.Read(file, server.Buffer.AsSpan(0, 1), 0) == 0) return Error.NotFound;    // emptied just now
        if (position > end) return Error.BadOffset;
        using var hash = get.Digest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        if (hash is not null) await HashUpTo(position, file, hash);
        await SayBlock((into, at) => RandomAccess.Read(file, into, at), position, end, hash);
        Trace($"S: {(position == 0 ? $"<file:{get.Name}>" : $"<any:{end - position}>")}");
        if (hash?.GetHashAndReset() is { } digest) await Say(digest, $"<hex:{Convert.ToHexString(digest)}>");
        return null;
    }

    // The digest is that of the whole file, so what is not sent is read, too: before anything is said.
    async ValueTask HashUpTo(long end, SafeFileHandle file, IncrementalHash hash) {
        for (long position = 0; position < end;) {
            await Flush();
            await Until(Wait.Turn);
            var some = server.Buffer.AsSpan(0, (int)Math.Min(server.Buffer.Length, end - position));
            some = some[..RandomAccess.Read(file, some, position)];
            if (some.IsEmpty) throw new IOException("the file has become shorter");
            hash.AppendData(some);
            position += some.Length;
        }
    }

    // §5.3
    async ValueTask<Error?> Answer(PutRequest put) {
        using var upload = server.Folder.BeginUpload(put.Name, out var refusal);    // gone at the end, published or not
        if (refusal is not null && !put.Ahead) return refusal;
        using var hash = put.Digest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        await Say(error: null);                                         // the go-ahead
        ulong length = ParseLength(await Take(LengthSize));
        Trace($"C: <u64:{length}>");
        if (length > (ulong)server.MaxSize) return Error.TooLarge;      // compared before any cast
        blockLength = (long)length;
        var first = await Take((int)Math.Min(SignatureSize, blockLength), isPeek: true);
        if (length == 0) Refuse(Error.Empty);
        else if (!HasSignature(put.Name, first)) Refuse(Error.BadType);
        for (long toCome = blockLength; toCome > 0;) {
            var some = await TakeSome(toCome);
            toCome -= some.Length;
            hash?.AppendData(some.Span);
            if (refusal is null) Refuse(upload!.TryWrite(some.Span));
        }
        if (length > 0) Trace($"C: {(refusal is null ? $"<file:{put.Name}>" : $"<any:{length}>")}");
        if (hash is not null) {
            var digest = await Take(DigestSize);
            Trace($"C: <hex:{Convert.ToHexString(digest)}>");
            if (!digest.SequenceEqual(hash.GetHashAndReset())) Refuse(Error.Corrupt);
        }
        return refusal ?? upload!.TryPublish();
        // The block is read to its end all the same.  The first reason counts, or ahead the uppermost row of §6.
        void Refuse(Error? error) {
            if (error is not null) upload?.Dispose();
            if (refusal is null || put.Ahead && error?.Row < refusal.Row) refusal = error;
        }
    }

    // §8  The last word, and then the client's end is waited for, so that no reset eats it.
    async ValueTask Leave(Error? lastWord) {
        (IsLeaving, IsBetweenRequests) = (true, false);
        if (lastWord is not null && wire.IsOpen) await Say(lastWord);
        await Flush();
        await wire.End();
        SetDeadline(Server.FarewellTime);
        for (int most = Server.FarewellOctets, count; most > 0; most -= count)
            if ((count = await Receive(server.Buffer.AsMemory(0, Math.Min(most, server.Buffer.Length)))) == 0) return;
    }

    public void Dispose() {
        wire.Dispose();
        Visit.Disconnected = DateTime.UtcNow;
        Trace("S: <close>");
        server.Log.Write($"#{number} disconnected: requests {Visit.Requests}, "
            + $"octets in {Visit.Received}, out {Visit.Sent}");
    }

    // ---- octets in ----
    // Received and not used yet: as much as one line may be.  The rest stays with the kernel, and so with the client.
    readonly byte[] input = new byte[MaxLine];
    int inputStart, inputCount;
    ReadOnlySpan<byte> Input => input.AsSpan(inputStart, inputCount);
    int LineEnd => Input.IndexOf((byte)'\n');           // §4.1  found before the text is read; below 0: not here yet
    void UseInput(int count) => (inputStart, inputCount) = (inputStart + count, inputCount - count);
    // More octets into the input, one at least.  False: the client has ended its sending.
    async ValueTask<bool> FillInput() {
        Input.CopyTo(input);                            // once per receive, not once per line
        inputStart = 0;
        int count = await Receive(input.AsMemory(inputCount));
        inputCount += count;
        return count > 0;
    }

    // Exactly so many octets.
    async ValueTask<byte[]> Take(int size, bool isPeek = false) {
        while (inputCount < size) if (!await FillInput()) throw new Ending("cut");
        var octets = Input[..size].ToArray();
        if (!isPeek) UseInput(size);
        return octets;
    }

    // The next octets of a block, one at least and `most` at most; what follows the block may come along.
    async ValueTask<ReadOnlyMemory<byte>> TakeSome(long most) {
        if (inputCount > 0) return await Take((int)Math.Min(inputCount, most));
        var buffer = server.Buffer;
        int count = await Receive(buffer.AsMemory(0, (int)Math.Min(buffer.Length, most + MaxLine)));
        if (count == 0) throw new Ending("cut");
        (inputStart, inputCount) = (0, (int)Math.Max(count - most, 0));
        buffer.AsSpan(count - inputCount, inputCount).CopyTo(input);
        return buffer.AsMemory(0, count - inputCount);
    }

    // What has come, one octet at least; 0: the client has ended its sending.  Whoever waits to hear has said his all.
    async ValueTask<int> Receive(Memory<byte> into) {
        await Flush();
        int count = await wire.ReadAsync(into);
        if (count == 0) Trace("C: <fin>");
        (moved, Visit.Received) = (moved + count, Visit.Received + count);
        return count;
    }

    // ---- octets out ----
    // Said and not sent yet: small words that leave together, before the next block or the next wait.
    readonly byte[] held = new byte[MaxLine];
    int heldCount;
    async ValueTask Say(byte[] octets, string shown) {
        Trace($"S: {shown}");
        if (heldCount + octets.Length > held.Length) await Flush();
        if (heldCount == 0) SetPace();
        octets.CopyTo(held, heldCount);
        heldCount += octets.Length;
    }

    ValueTask Say(Error? error) => Say(ReplyLine(error), Show(ReplyLine(error)));
    ValueTask Flush() => heldCount == 0 ? default : Send((_, _) => 0, 0, 0, hash: null);
    // §4.4  OK and a block, and from there on nothing but the block: another word would be taken for a part of it.
    async ValueTask SayBlock(Func<Span<byte>, long, int> read, long position, long end, IncrementalHash? hash) {
        blockLength = end - position;
        await Say(error: null);
        await Say(LengthOctets((ulong)blockLength), $"<u64:{blockLength}>");
        try { await Send(read, position, end, hash); }
        catch (Exception e) when (e is not Ending) { throw new Ending($"cut: {Show(e.Message)}"); }
    }

    // What is held, and octets of a file behind it, are composed in the shared buffer and offered to the kernel.  What
    // that does not take is read again next time: cheaper than a buffer for every client, and it never grows.
    async ValueTask Send(Func<Span<byte>, long, int> read, long position, long end, IncrementalHash? hash) {
        for (long hashed = position; heldCount > 0 || position < end;) {
            if (Allowance <= 0) await Until(Wait.Room);
            int all = heldCount + Compose(), sent = await wire.Send(server.Buffer.AsMemory(0, all));
            Visit.Sent += sent;
            (moved, Allowance) = (moved + sent, Allowance - sent);
            position += Math.Max(sent - heldCount, 0);
            int gone = Math.Min(sent, heldCount);
            heldCount -= gone;
            held.AsSpan(gone, heldCount).CopyTo(held);
            if (sent < all) await Until(Wait.Room);
            int Compose() {
                var buffer = server.Buffer.AsSpan();
                held.AsSpan(0, heldCount).CopyTo(buffer);
                int room = Math.Min(buffer.Length, wire.Most) - heldCount;
                var some = buffer.Slice(heldCount, (int)Math.Min(end - position, Math.Min(Allowance, room)));
                some = some[..read(some, position)];
                if (some.IsEmpty && position < end) throw new IOException("the file has become shorter");
                if (position + some.Length > hashed) hash?.AppendData(some[(int)(hashed - position)..]);
                hashed = Math.Max(hashed, position + some.Length);
                return some.Length;
            }
        }
    }

    // ---- waiting: `await Until(…)` is the only await that really waits; all the others lead to it ----
    Wait wait;
    Action? goOn;
    Ending? ending;
    public long Allowance;                      // octets that it may still move in this turn
    long moved;                                 // octets moved since the deadline was set
    bool isPaced;                               // enough of them earn another deadline
    public long Deadline { get; private set; }
    public bool WantsRoom => wait is Wait.Room;
    public bool IsDue(long now) => wait is Wait.Turn || Allowance <= 0 || now >= Deadline;
    // §7  Nobody begins to wait behind his deadline.  Time that we need for ourselves is not the client's.
    public Connection Until(Wait reason) {
        wait = reason;
        if (wait is Wait.Turn) SetPace();
        if (Environment.TickCount64 < Deadline) return this;
        if (!isPaced || moved < Server.BlockStep) throw Audible(new Ending("timeout", Error.Timeout));
        SetPace();
        return this;
    }

    // A word that follows half of another, or of a block, would be taken for the rest of it.
    Ending Audible(Ending why) => wait is Wait.Room ? new Ending(why.Message) : why;
    public void End(Ending why) => ending = why;        // from outside; it is thrown where the conversation waits
    public void GoOn(long share) { Allowance = share; goOn!(); }        // back when it waits again, or is over

    // What the compiler makes of `await` calls these four.  `next` is the rest of the method.
    public Connection GetAwaiter() => this;
    public bool IsCompleted => false;
    public void OnCompleted(Action next) => goOn = next;
    public void GetResult() {
        if (Environment.CurrentManagedThreadId != server.LoopThread) Environment.FailFast("not the loop's thread");
        if (ending is not { } why) return;
        ending = null;
        throw Audible(why);
    }

    // From this very moment: the disk may have taken long since the turn began, and that is not the client's time.
    void SetDeadline(long milliseconds) => (Deadline, isPaced) = (Environment.TickCount64 + milliseconds, false);
    void SetPace() { SetDeadline(Server.BlockTime); (isPaced, moved) = (true, 0); }
    void Trace(string text) { if (server.Traces) server.Log.Add($"#{number} {text}"); }
    void LogRequest(Exception e) {                      // a client that is simply gone is no news
        if (e is not Ending) LogRequest($"internal: {Show(e.ToString())}");
        else if (!IsLeaving && (what != "-" || e is Ending { LastWord: not null })) LogRequest(e.Message);
    }

    void LogRequest(string how) =>                      // "-" is a last word that no request asked for
        server.Log.Write($"#{number} {what}, {blockLength} octets, "
            + $"{(what == "-" ? 0 : Environment.TickCount64 - begun)} ms, {how}");
}

// ---- Wire: what a conversation's octets go through: the socket as it is, or TLS inside it ---------------------------
class Wire(Connection connection, int weight = 1) : NetworkStream(connection.Socket, ownsSocket: true) {
    public virtual int Most => int.MaxValue;            // octets to be sent at once
    public virtual bool IsOpen => true;
    public virtual ValueTask Open() => default;
    protected bool IsStranger => connection.IsStranger;
    // What has come, one octet at least; 0: nothing more will.
    public override async ValueTask<int> ReadAsync(Memory<byte> into, CancellationToken _ = default) {
        for (; ; await connection.Until(Wait.Octets)) {
            if (into.IsEmpty) return 0;                 // TLS asks so whether there is something
            if (connection.Allowance <= 0) continue;
            int count = Socket.Receive(into.Span[..(int)Math.Min(into.Length, connection.Allowance)], 0, out var error);
            if (error is SocketError.WouldBlock) continue;
            if (error is not SocketError.Success) throw new Ending("reset");
            connection.Allowance -= count * weight;
            return count;
        }
    }

    // Takes what there is room for.  Where that is not all, whoever sends waits for room, and comes again.
    public virtual ValueTask<int> Send(ReadOnlyMemory<byte> octets) {
        int count = Socket.Send(octets.Span, SocketFlags.None, out var error);
        if (error is not (SocketError.Success or SocketError.WouldBlock)) throw new Ending("reset");
        return new(count);
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> octets, CancellationToken _ = default) {
        while (!(octets = octets[await Send(octets)..]).IsEmpty) await connection.Until(Wait.Room);
    }

    public virtual ValueTask End() {
        try { Socket.Shutdown(SocketShutdown.Send); return default; }
        catch (SocketException) { throw new Ending("reset"); }
    }
}

// §14  What waits is the wire below TLS, and that waits as the conversation does: so TLS, too, runs on the loop.
sealed class SealedWire(Connection connection, Key key, SealedWire.Below below) : Wire(connection) {
    readonly SslStream tls = new(below);
    bool hasEnded;                              // what still comes is not deciphered any more
    public override int Most => 16 << 10;       // of that much TLS makes a copy before it waits
    public override bool IsOpen => tls.IsAuthenticated;
    public override async ValueTask Open() {
        try { await tls.AuthenticateAsServerAsync(key.ForServer); }
        catch (Exception e) { throw Cause(e, "not let in", Error.BadRequest); }
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> into, CancellationToken _ = default) {
        try { return await (hasEnded ? below : (Stream)tls).ReadAsync(into); }
        catch (Exception e) { throw Cause(e, "cut"); }
    }

    public override async ValueTask<int> Send(ReadOnlyMemory<byte> octets) {
        try { await tls.WriteAsync(octets); }
        catch (Exception e) { throw Cause(e, "reset"); }
        return octets.Length;
    }

    // What is no TLS gets an alert, "unexpected message": its last octet ends a line, for who expects one.
    public override async ValueTask End() {
        hasEnded = true;
        if (IsOpen) await tls.ShutdownAsync();
        else if (below.IsTls is false) await below.WriteAsync((byte[])[TlsAlert, 3, 3, 0, 2, 2, (byte)'\n']);
        await below.End();
    }

    // What is no TLS does not come up to it, nor does a FIN without TLS's own end.
    public sealed class Below(Connection connection) : Wire(connection, weight: 8) {     // TLS costs more than a copy
        public bool? IsTls;                     // by its first octet
        int came;
        public override async ValueTask<int> ReadAsync(Memory<byte> into, CancellationToken _ = default) {
            int count = await base.ReadAsync(into);
            if (count == 0 && !into.IsEmpty) throw new Ending("cut: a FIN, and no end of TLS");
            if ((came += count) > Server.HandshakeOctets && IsStranger && IsTls is true) throw new Ending("too long");
            if (IsTls is null && count > 0 && (IsTls = into.Span[0] is TlsHandshake) is false)
                throw new Ending("not let in: this is no TLS", Error.BadRequest);
            return count;
        }
    }

    // An end of ours comes out of TLS as it is, or inside another exception.
    static Ending Cause(Exception e, string how, Error? lastWord = null) => e as Ending ?? e.InnerException as Ending
        ?? new Ending($"{how}: {Show((e.InnerException ?? e).Message)}", lastWord);
    protected override void Dispose(bool disposing) { if (disposing) tls.Dispose(); base.Dispose(disposing); }
}

// ---- Folder: the one folder of pictures, and the rule that a picture in it is whole -------------------------------
sealed class Folder {
    // Left to itself, .NET passes over what is hidden, and shows a folder that may not be read as an empty one.
    public static readonly EnumerationOptions Everything = new() { AttributesToSkip = 0, IgnoreInaccessible = false };
    public readonly string Root;
    public readonly string[] Types;
    public readonly List<string> Warnings = [];
    const string NoLinks = "the file system of this folder has no hard links, so nothing can be stored in it";
    readonly bool sync, readOnly;
    bool hasLinks = true, hasLocks;
    public Folder(string root, string[] types, bool sync, bool readOnly) {
        try {
            (Root, Types, this.sync, this.readOnly) = (Path.GetFullPath(root), types, sync, readOnly);
            Directory.CreateDirectory(Root);
            foreach (var _ in Directory.EnumerateFileSystemEntries(Root, "*", Everything)) break;  // may it be read?
            if (readOnly) return;
            TryUpload();
            foreach (string path in Directory.EnumerateFiles(Root, Upload.Hidden(new string('?', 16)), Everything))
                if (hasLocks) Sweep(path);
        } catch (Exception e) when (Files.IsTrouble(e)) {
            throw new Complaint($"cannot use the folder {Show(Path.GetFullPath(root))}: {e.Message}"
                + (readOnly ? "" : " (--read-only needs no writing)"), exitCode: 1);
        }
    }

    public string PathOf(string name) => Path.Combine(Root, name);      // opened only for names that pass the rule
    // §5.2  Null: nothing that a listing would show.
    public SafeFileHandle? Open(string name) {
        var file = new FileInfo(PathOf(name));
        bool isItsName = Path.GetFileName(file.FullName).Equals(name, StringComparison.OrdinalIgnoreCase);
        return isItsName && IsPicture(file.Attributes, file.Exists ? file.Length : 0)
            ? File.OpenHandle(file.FullName, share: FileShare.ReadWrite | FileShare.Delete) : null;
    }

    // P10  .NET shows a pipe or a device as an empty file; opening one could wait for ever.
    public static bool IsPicture(FileAttributes attributes, long length) =>
        length > 0 && (attributes & (FileAttributes.Directory | FileAttributes.ReparsePoint)) == 0;
    // §5.3  Null, and why not.
    public Upload? BeginUpload(string name, out Error? refusal) {
        refusal = CheckName(name, Types);
        try {
            refusal ??= Files.IsTaken(PathOf(name)) ? Error.Exists : readOnly ? Error.Denied : null;
            if (!hasLinks) throw new IOException(NoLinks);
            return refusal is null ? new Upload(Root, PathOf(name), sync) : null;
        } catch (Exception e) when (Files.IsTrouble(e)) {
            refusal ??= Error.Storage.Because(e);
            return null;
        }
    }

    // P12  Temporaries of dead servers: a living one holds a lock on each of its own, which makes this open fail.
    // Opening for writing too never waits, whatever has been planted under such a name.  True: it was, and is gone.
    static bool Sweep(string path) {
        try {
            using var dead = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None,
                FileOptions.DeleteOnClose);
            return true;
        } catch (Exception e) when (Files.IsTrouble(e)) { return false; }
    }

    // What this folder cannot do is said at the start, and not found out by the first upload.
    void TryUpload() {
        string name = PathOf(Upload.Hidden($"{Random.Shared.NextInt64():x16}"));
        using var probe = new Upload(Root, name, sync: false);
        hasLinks = probe.TryPublish() is null;
        hasLocks = !Sweep(probe.Temporary);
        if (hasLinks) File.Delete(name); else Warnings.Add(NoLinks);
        if (!hasLocks) Warnings.Add("this folder has no locks, so what dead servers have left in it is not removed");
    }

    // ---- §5.1  listings: one at a time, for all who asked before it was begun ----
    Listing? asked, made;               // the next one · the one that is being made
    IEnumerator<bool>? making;
    public bool IsListing => made is not null || asked is not null;
    public Listing AskForListing() => (asked ??= new Listing(Root, Types)).Share();
    // One slice of a turn.  Whatever goes wrong costs those who asked, and no other.
    public void ListOn() {
        if (made is null && asked is { } next) (made, asked, making) = (next, null, next.Make());
        if (made is null) return;
        long until = Stopwatch.GetTimestamp() + Stopwatch.Frequency / 1000;
        try {
            while (made.IsWanted && making!.MoveNext())
                if (Stopwatch.GetTimestamp() >= until) return;
            making!.Dispose();
        } catch (Exception e) { made.Trouble = e; }
        (made.IsReady, made, making) = (true, null, null);
    }
}

// §5.1  One listing, made a slice a turn, so that no folder is too large for the others to wait for.
sealed class Listing(string root, string[] types) : IDisposable {
    public bool IsReady;
    public Exception? Trouble;
    Stream? lines;
    int sharers;
    public bool IsWanted => sharers > 0;
    public Listing Share() { sharers++; return this; }
    public void Dispose() { if (--sharers == 0) lines?.Dispose(); }
    public Stream Lines => Trouble is null ? lines! : throw new IOException(Trouble.Message);
    // A line, formatted already: a piece of a chunk, of which the name comes first.
    readonly record struct Line(byte[] Chunk, int Start, short NameLength, short Length) {
        public ReadOnlySpan<byte> Name => Chunk.AsSpan(Start, NameLength);
        public ReadOnlySpan<byte> Octets => Chunk.AsSpan(Start, Length);
    }

    byte[] chunk = [];
    int used;
    // Into a heap, and out of it again in order.  After each step it may have to wait for its next slice.
    public IEnumerator<bool> Make() {
        var heap = new PriorityQueue<byte, Line>(Comparer<Line>.Create((a, b) => a.Name.SequenceCompareTo(b.Name)));
        long length = 0;
        foreach (var line in new FileSystemEnumerable<Line>(root, LineOf, Folder.Everything)) {
            if (line.Length > 0) heap.Enqueue(0, line);
            length += line.Length;
            yield return true;
        }
        lines = Files.Scratch((ulong)length);
        for (Line last = default; heap.TryDequeue(out _, out var line); last = line) {
            if (!line.Name.SequenceEqual(last.Name)) lines.Write(line.Octets);  // a name with U+FFFD and its doubles
            yield return true;
        }
    }

    // The default line, of no octets, stands for what is no picture.
    Line LineOf(ref FileSystemEntry entry) {
        string name = entry.FileName.ToString();
        if (CheckName(name, types) is not null || !Folder.IsPicture(entry.Attributes, entry.Length)) return default;
        if (chunk.Length - used < MaxLine)
            (chunk, used) = (GC.AllocateUninitializedArray<byte>(Math.Clamp(chunk.Length * 4, 4096, 1 << 20)), 0);
        Utf8.TryWrite(chunk.AsSpan(used), $"{name}|{entry.Length}|{Show(Modified(ref entry))}\n", out int length);
        used += length;
        return new Line(chunk, used - length, (short)Encoding.UTF8.GetByteCount(name), (short)length);
    }

    // A date that .NET cannot hold is shown as the last it can.
    static DateTime Modified(ref FileSystemEntry entry) {
        try { return entry.LastWriteTimeUtc.UtcDateTime; }
        catch (ArgumentOutOfRangeException) { return new DateTime(DateTime.MaxValue.Ticks, DateTimeKind.Utc); }
    }
}

// One file on its way in: written under a hidden name, then given its own.  Disposing of it removes the hidden name and
// only then lets go of its lock, so that no sweep ever takes it for a dead one.
sealed class Upload : IDisposable {
    readonly SafeFileHandle handle;
    readonly string final;
    readonly bool sync;
    public string Temporary = "";
    long length;
    public static string Hidden(string id) => $".imagetransfer-{id}.up";
    public Upload(string folder, string final, bool sync) {
        (this.final, this.sync) = (final, sync);
        handle = Files.OpenHidden(() => Temporary = Path.Combine(folder, Hidden($"{Random.Shared.NextInt64():x16}")),
            FileMode.CreateNew, FileShare.Read | FileShare.Delete);
    }

    // Null, or `storage`.
    public Error? TryWrite(ReadOnlySpan<byte> octets) {
        try { RandomAccess.Write(handle, octets, length); }
        catch (Exception e) when (Files.IsTrouble(e)) { return Error.Storage.Because(e); }
        length += octets.Length;
        return null;
    }

    // P1, P2, P5  Null, `exists` or `storage`.
    public Error? TryPublish() {
        try {
            if (sync) Flush(handle);
            if (!Files.Publish(Temporary, final)) return Error.Exists;
            try { if (sync) FlushName(Path.GetDirectoryName(final)!); }
            catch (IOException) { File.Delete(final); throw; }          // it will be refused, so it must not be there
            return null;
        } catch (Exception e) when (Files.IsTrouble(e)) { return Error.Storage.Because(e); }
    }

    public void Dispose() {
        try { File.Delete(Temporary); } catch (Exception e) when (Files.IsTrouble(e)) { }   // the next start sweeps it
        handle.Dispose();
    }

    // .NET flushes, and does not say if that fails.  Windows flushes a name with its file.
    void Flush(SafeFileHandle what) {
        if (!OperatingSystem.IsWindows() && (what.IsInvalid || fsync(what) != 0)) throw new IOException("cannot flush");
        if (!OperatingSystem.IsLinux()) RandomAccess.FlushToDisk(handle);       // a Mac's disk wants to be told, too
    }

    void FlushName(string folder) {
        using var names = OperatingSystem.IsWindows() ? null : new SafeFileHandle(open(folder, 0), ownsHandle: true);
        Flush(names ?? handle);
    }

    [DllImport("libc")] static extern int open(string path, int flags);
    [DllImport("libc")] static extern int fsync(SafeFileHandle what);
}

// ---- Log: one line an event, by a thread of its own, since a terminal or pipe that nobody reads blocks its writer -
sealed class Log {
    readonly BlockingCollection<string> lines = new(boundedCapacity: 1000);
    readonly TextWriter stderr = Console.Error;         // opened now: later there may be no descriptor for it
    readonly bool quiet;
    readonly Thread writer;
    int dropped;
    public Log(bool quiet) {
        this.quiet = quiet;
        (writer = new Thread(WriteOut) { IsBackground = true }).Start();
    }

    public void Write(string what) { if (!quiet) Add($"{Show(DateTime.UtcNow)} {what}"); }
    public void Add(string line) { if (!lines.TryAdd(line)) Interlocked.Increment(ref dropped); }
    void WriteOut() {
        foreach (string line in lines.GetConsumingEnumerable())
            try {
                stderr.WriteLine(line);
                if (Interlocked.Exchange(ref dropped, 0) is > 0 and var count) stderr.WriteLine($"({count} left out)");
            } catch (IOException) { Interlocked.Increment(ref dropped); }   // a full disk, say, must not end the server
    }

    public void Drain() {                               // bounded: an end must not wait for a reader either
        lines.CompleteAdding();
        writer.Join(500);
    }
}

// ---- The command line ----------------------------------------------------------------------------------------------
// What a person at a terminal has to be told, in one line, before the program ends.
sealed class Complaint(string text, int exitCode = 2) : Exception(text) { public int ExitCode => exitCode; }

// What was typed after "server" or "client".  The help text is the table of options: what is not in it does not exist,
// and a word one blank behind an option's name says that it takes a value.
sealed class Options {
    readonly Dictionary<string, string> given = [];
    public readonly List<string> Words = [];
    public Options(string[] args, string help) {
        var takesValue = help.Split('\n').Where(line => line.StartsWith("  --"))
            .Select(line => line.Trim().Split(' ')).ToDictionary(words => words[0], words => words[1] != "");
        for (int i = 0; i < args.Length; i++) {
            if (args[i] == "--") { Words.AddRange(args[(i + 1)..]); break; }
            if (args[i] is not ['-', _, ..]) { Words.Add(args[i]); continue; }
            var parts = args[i].Split('=', 2);
            string name = parts[0] == "-h" ? "--help" : parts[0];
            if (!takesValue.TryGetValue(name, out bool takes))
                throw new Complaint($"there is no option {Show(name)}; see --help");
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
    public long Number(string name, long otherwise, long most, bool isSize = false) {
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
    public static int Print(string text) { Console.Out.WriteLine(text); return 0; }
}

static class Program {
    const string Usage = """
        ImageTransfer moves pictures between machines.

          imagetransfer server [PORT] [OPTION...]                serve a folder
          imagetransfer client HOST [PORT] [COMMAND [FILE...]]   list, fetch and add pictures; a prompt without COMMAND

        `imagetransfer server --help` and `imagetransfer client --help` say more; --version says which version this is.
        """;

    static int Main(string[] args) {
        if (OperatingSystem.IsWindows()) Console.OutputEncoding = Encoding.UTF8;        // else the console's code page
        try {
            return args switch {
                ["server", .. var rest]      => Server.Run(rest),
                ["client", .. var rest]      => Client.Run(rest),
                ["--help" or "-h" or "help"] => Options.Print(Usage),
                ["--version"]                => Options.Print($"imagetransfer {Options.Version}"),
                [] => throw new Complaint("say which half, server or client; --help shows how"),
                _  => throw new Complaint($"there is no '{Show(args[0])}'; --help shows what there is"),
            };
        } catch (Exception e) when (e is Complaint || Files.IsTrouble(e)) {
            Console.Error.WriteLine($"imagetransfer: {e.Message}");
            return e is Complaint complaint ? complaint.ExitCode : 1;
        }
    }
}
