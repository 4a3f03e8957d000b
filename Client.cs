// ImageTransfer, the client half, and before it what both halves agree on.
//
// A client does one thing after another: it asks, waits for the answer, and goes on.  So every call may block, and the
// protocol reads here as it is spoken.  What is never assumed is that one receive brings one reply: TCP carries octets,
// not messages.
//
// "§" means a section of Protocol.md, which says what may be on the wire; read that first.  Then this file from top to
// bottom: Protocol · Files · Conversation · Client (one GET, then many, PUT, listings, the prompt) · Progress.
// Server.cs comes last; what Options and Complaint are stands at its end.

using System.Buffers;
using System.Buffers.Binary;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

// ---- Protocol: lines, names and numbers on the wire, and nothing that anybody does with them ------------------------
// §6  The table of errors, row for row.  Where several fit, the upper row is the answer (§5.3 has its own order).
sealed record Error(string Code, string Text, bool Closes = false) {
    public static readonly Error
        BadRequest  = new("bad-request", "a request is VERB|field|... in UTF-8, up to 1,024 octets, then LF", true),
        Unsupported = new("unsupported", "this server does not know that verb or option"),
        BadName     = new("bad-name", "1 to 255 octets, visible, without | / \\ : * ? \" < >, not hidden, no device"),
        BadType     = new("bad-type", "the content is no picture's, by its first octets"),
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
    public static readonly Error[] Table = [BadRequest, Unsupported, BadName, BadType, NotFound, Exists, BadOffset,
        Empty, Denied, TooLarge, Corrupt, Storage, Busy, Timeout, Stopping, Internal];
    public int Row => Array.FindIndex(Table, row => row.Code == Code);
    public string Cause { get; init; } = "";            // for a log; never on the wire
    public Error Because(Exception e) => this with { Cause = $": {Protocol.Show(e.Message)}" };
}

// §4.2  The requests of this version; Refused is all the rest that may come in a request's place.
abstract record Request;
sealed record ListRequest : Request;
sealed record StatusRequest : Request;
sealed record GetRequest(string Name, ulong Offset = 0, bool Digest = false) : Request;
sealed record PutRequest(string Name, bool Digest = false, bool Ahead = false) : Request;
sealed record Refused(Error Error) : Request;

static class Protocol {
    /// <summary>§3  The TCP port unless another is agreed on.</summary>
    public const int Port = 7005;
    /// <summary>§4.1  The longest line either way, in octets, its LF included.</summary>
    public const int MaxLine = 1024;
    /// <summary>§4.4  A block's length, in octets: an unsigned 64-bit number, most significant octet first.</summary>
    public const int LengthSize = 8;
    /// <summary>§4.4  A block's digest, in octets: SHA-256, raw.</summary>
    public const int DigestSize = 32;
    /// <summary>§14  The first octet of a client that speaks TLS, and of the answer to one that should.</summary>
    public const byte TlsHandshake = 0x16, TlsAlert = 0x15;
    /// <summary>§4.5  The longest name, in octets of UTF-8.</summary>
    public const int MaxName = 255;
    /// <summary>§4.5  The endings a server takes unless told otherwise, in lower case, commas between.</summary>
    public const string DefaultTypes = "jpg,jpeg,png";
    /// <summary>§4.6  So many first octets of a file show its type.</summary>
    public const int SignatureSize = 12;
    static readonly UTF8Encoding Utf8Text = new(encoderShouldEmitUTF8Identifier: false);
    /// <summary>§4.2  The grammar, one arm per rule, for a line without its LF.  Total: there is a Request for whatever
    /// a client may send.</summary>
    public static Request ParseRequest(ReadOnlySpan<byte> line) {
        if (line is [TlsHandshake, ..]) return new Refused(Error.BadRequest with { Cause = ": this is TLS; no --key" });
        if (line is [] or [.., (byte)'\r'] || !Utf8.IsValid(line)) return new Refused(Error.BadRequest);
        return Utf8Text.GetString(line).Split('|') switch {
            ["", ..] or ["GET"] or ["PUT"]     => new Refused(Error.BadRequest),
            ["LIST", .. var options]           => WithOptions(new ListRequest(), options),
            ["STATUS", .. var options]         => WithOptions(new StatusRequest(), options),
            ["GET", var name, .. var options]  => WithOptions(new GetRequest(name), options),
            ["PUT", var name, .. var options]  => WithOptions(new PutRequest(name), options),
            _                                  => new Refused(Error.Unsupported),
        };
    }

    // §4.2  Options stand in any order, each at most once.
    static Request WithOptions(Request request, string[] options) {
        var parts = options.Select(option => option.Split('=', 2)).ToArray();
        bool isOffset(string[] option) => request is GetRequest && option[0] == "offset";
        bool isNumber(string[] option) => option is [_, { Length: > 0 and <= 20 } text] && text.All(char.IsAsciiDigit);
        if (parts.DistinctBy(option => option[0]).Count() < parts.Length
            || parts.Any(option => isOffset(option) && !isNumber(option))) return new Refused(Error.BadRequest);
        foreach (var option in parts)
            request = (request, option) switch {
                (GetRequest get, ["digest", "sha256"]) => get with { Digest = true },
                (PutRequest put, ["digest", "sha256"]) => put with { Digest = true },
                (PutRequest put, ["ahead"])            => put with { Ahead = true },
                (GetRequest get, ["offset", var text]) =>       // what 64 bits do not hold is beyond any file's end
                    get with { Offset = ulong.TryParse(text, out var offset) ? offset : ulong.MaxValue },
                _                                      => new Refused(Error.Unsupported),
            };
        return request;
    }

    /// <summary>§4.2  The line, LF included, that ParseRequest takes for this request.</summary>
    public static byte[] RequestLine(Request request) => Utf8Text.GetBytes(request switch {
        GetRequest get => $"GET|{get.Name}{OffsetOption(get.Offset)}{DigestOption(get.Digest)}\n",
        PutRequest put => $"PUT|{put.Name}{DigestOption(put.Digest)}{(put.Ahead ? "|ahead" : "")}\n",
        StatusRequest  => "STATUS\n",
        _              => "LIST\n",
    });
    static string OffsetOption(ulong offset) => offset > 0 ? $"|offset={offset}" : "";
    static string DigestOption(bool wanted) => wanted ? "|digest=sha256" : "";
    /// <summary>§4.3  The reply line, LF included: OK for null, else ER, code and text; a long text is cut.</summary>
    public static byte[] ReplyLine(Error? error) => Utf8Text.GetBytes(error is null ? "OK\n"
        : $"ER|{error.Code}|{error.Text[..Math.Min(error.Text.Length, 900)]}\n");
    /// <summary>§4.3  Reads a reply line without its LF.  True: error is null for OK, else what was refused; a code
    /// this version does not know is an error that goes on.  False: it is no reply at all.</summary>
    public static bool TryParseReply(ReadOnlySpan<byte> line, out Error? error) {
        error = null;
        if (!Utf8.IsValid(line)) return false;
        var fields = Utf8Text.GetString(line).Split('|', 3);
        if (fields is ["ER", { Length: > 0 } code, var text] && code.All(c => c is '-' or >= 'a' and <= 'z'))
            error = new Error(code, text, Error.Table.Any(row => row.Code == code && row.Closes));
        return fields is ["OK"] || error is not null;
    }

    /// <summary>§4.4  The eight octets of a block's length.</summary>
    public static byte[] LengthOctets(ulong length) {
        var octets = new byte[LengthSize];
        BinaryPrimitives.WriteUInt64BigEndian(octets, length);
        return octets;
    }

    /// <summary>§4.4  The length that eight octets say, from 0 to 2^64-1.</summary>
    public static ulong ParseLength(ReadOnlySpan<byte> octets) => BinaryPrimitives.ReadUInt64BigEndian(octets);
    /// <summary>§4.5  The name rule, one for requests, listings and saved files.  Null, or bad-name or bad-type.
    /// The types are endings in lower case; "any" among them stands for all.</summary>
    public static Error? CheckName(string name, string[] types) {
        Span<byte> octets = stackalloc byte[MaxName];   // too small for a longer name; a lone surrogate has no octets
        bool fits = Utf8.FromUtf16(name, octets, out _, out _, replaceInvalidSequences: false) is OperationStatus.Done;
        if (!fits || name is "" or ['.' or ' ', ..] or [.., '.' or ' '] || name.AsSpan().ContainsAny("|/\\:*?\"<>")
            || name.AsSpan().ContainsAnyExceptInRange(' ', '~') && !name.EnumerateRunes().All(IsVisible)
            || IsDevice(name)) return Error.BadName;
        foreach (string type in types)                  // A to Z alone fold: for .NET the Kelvin sign is a k, too
            if (type == "any" || name.LastIndexOf('.') is >= 0 and var dot
                && Ascii.EqualsIgnoreCase(name.AsSpan(dot + 1), type)) return null;
        return Error.BadType with { Text = $"the name's ending is not taken here; {string.Join(", ", types)} are" };
    }

    static bool IsVisible(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or
        UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
    // Opening one of these on Windows opens a device, whatever the folder and whatever follows the first dot.
    static readonly string[] devices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "COM0", "LPT0"];
    static bool IsDevice(string name) {
        var stem = name.AsSpan(0, name.IndexOf('.') is >= 0 and var dot ? dot : name.Length).TrimEnd(' ');
        if (stem.Length is < 3 or > 7) return false;
        string kind = stem is [_, _, _, var digit] && "0123456789¹²³".Contains(digit) ? $"{stem[..3]}0" : $"{stem}";
        return devices.Any(device => Ascii.EqualsIgnoreCase(device, kind));
    }

    /// <summary>§4.6  Whether a file of this name may begin so (with SignatureSize octets, or all it has): a picture as
    /// any picture does, since many are saved under another's ending.  Other types are not looked at.</summary>
    public static bool HasSignature(string name, ReadOnlySpan<byte> first) =>
        Path.GetExtension(name).ToLowerInvariant() switch {
        ".jpg" or ".jpeg" or ".png" or ".gif" or ".webp" or ".bmp" or ".tif" or ".tiff" or ".heic" or ".avif" =>
            first.StartsWith((ReadOnlySpan<byte>)[0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])    // PNG
            || first.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF])                               // JPEG
            || first.StartsWith("GIF87a"u8) || first.StartsWith("GIF89a"u8) || first.StartsWith("BM"u8)
            || first.StartsWith("II*\0"u8) || first.StartsWith("MM\0*"u8)                             // TIFF
            || first.Length >= 8 && first[4..].StartsWith("ftyp"u8)                                   // HEIC, AVIF
            || first.Length >= 12 && first.StartsWith("RIFF"u8) && first[8..].StartsWith("WEBP"u8),
        ".pdf" => first.StartsWith("%PDF-"u8),
        _      => true,
    };

    /// <summary>§2  Octets in the notation of transcripts: text as it is, the rest escaped, so that nothing a peer
    /// sends can forge a line of a log or move a terminal's cursor.</summary>
    public static string Show(ReadOnlySpan<byte> octets) {
        var shown = new StringBuilder();
        while (octets.Length > 0) {
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
    public static string Show(DateTime moment) => moment.ToString("s", CultureInfo.InvariantCulture) + "Z";
}

// ---- Files: what both halves ask of a file system -------------------------------------------------------------------
static class Files {
    // What disks do to programs; the last two are a file beyond the system's limit, and the length of a planted pipe.
    public static bool IsTrouble(Exception e) => e is IOException or UnauthorizedAccessException
        or ArgumentOutOfRangeException or NotSupportedException;
    // Any entry takes its name, also one that is never listed: a folder, a link to nowhere, an empty file.
    public static bool IsTaken(string path) => new FileInfo(path).Attributes != (FileAttributes)(-1);
    // A file under a hidden name, held by a lock that ends with this process.  Between its opening and its locking
    // another process may have taken the name away: a sweep of leftovers, or a client that has just published what it
    // held there under another name.  So what counts is what the name stands for when the lock is there.
    public static SafeFileHandle OpenHidden(Func<string> name, FileMode mode, FileShare share) {
        for (int tries = 3; ; tries--) {
            SafeFileHandle? handle = null;
            try {
                string path = name();
                handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, share);
                var named = new FileInfo(path);
                if (named.Exists && (mode is FileMode.CreateNew || named.Length == RandomAccess.GetLength(handle)
                    && named.LastWriteTimeUtc == File.GetLastWriteTimeUtc(handle))) return handle;
                throw new IOException("somebody else has removed the hidden file");
            } catch (Exception e) when (IsTrouble(e)) { handle?.Dispose(); if (tries == 1) throw; }
        }
    }

    // Room for octets that are needed for a while: few of them in memory, many in a file that has no name (on Windows:
    // none that outlives this process), or in memory all the same where no file can be made.
    public static Stream Scratch(ulong length) {
        if (length <= 16 << 10) return new MemoryStream();
        try {
            string path = Path.Combine(Path.GetTempPath(), $".imagetransfer-{Random.Shared.NextInt64():x16}");
            var file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.Delete, 1 << 16);
            File.Delete(path);
            return file;
        } catch (Exception e) when (IsTrouble(e)) { return new MemoryStream(); }
    }

    // Gives a hidden file its name, in one step that never overwrites.  False: the name is taken.  On Windows that is a
    // rename; elsewhere .NET's looks first (two that race both win), so it is a hard link; the hidden name goes later.
    public static bool Publish(string hidden, string name) {
        if (OperatingSystem.IsWindows())
            try { File.Move(hidden, name); return true; }
            catch (IOException) when (IsTaken(name)) { return false; }
        if (link(hidden, name) == 0) return true;
        if (Marshal.GetLastPInvokeError() is 17) return false;                                          // EEXIST
        throw new IOException($"cannot link: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [DllImport("libc", SetLastError = true)] static extern int link(string existing, string name);
}

// ---- Key: the secret that two machines share, and what TLS is told because of it ------------------------------------
// §14  Each side shows the certificate of the key, and lets in who shows the same public key: TLS proves that he holds
// the private half.  For whom, by whom and until when a certificate was made proves nothing, and is not looked at.
sealed class Key(X509Certificate2 certificate) {
    readonly SslStreamCertificateContext own = SslStreamCertificateContext.Create(      // Windows wants the detour
        X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pfx), null), null, offline: true);
    public bool DidNotFit { get; private set; }
    bool Fits(object sender, X509Certificate? shown, X509Chain? chain, SslPolicyErrors errors) => !(DidNotFit =
        shown is not X509Certificate2 other || !PublicKeyOf(other).SequenceEqual(PublicKeyOf(certificate)));
    static byte[] PublicKeyOf(X509Certificate2 shown) => shown.PublicKey.ExportSubjectPublicKeyInfo();
    public SslServerAuthenticationOptions ForServer => new() {
        ServerCertificateContext = own, ClientCertificateRequired = true, RemoteCertificateValidationCallback = Fits,
        EnabledSslProtocols = SslProtocols.Tls13, AllowTlsResume = false, CertificateChainPolicy = Alone };
    public SslClientAuthenticationOptions ForClient => new() {
        ClientCertificateContext = own, TargetHost = "", RemoteCertificateValidationCallback = Fits,
        EnabledSslProtocols = SslProtocols.Tls13, AllowTlsResume = false, CertificateChainPolicy = Alone };
    static X509ChainPolicy Alone => new() { TrustMode = X509ChainTrustMode.CustomRootTrust,  // or .NET fetches
        RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
    // Null: there is no --key.  A server makes a file that is missing.
    public static Key? From(Options options, bool mayMake) {
        if (!options.Has("--key")) return null;
        string path = options.Text("--key", ""), shown = Show(path);
        try {
            if (mayMake && !Files.IsTaken(path)) Make(path);
            if (new FileInfo(path).Length == 0) throw NoKey;        // a pipe looks so, too, and would never be opened
            using var file = File.OpenHandle(path);
            if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(file) & (UnixFileMode)0b000_111_111) != 0)
                throw new Complaint($"others can read {shown}; chmod 600 it", exitCode: 1);
            var octets = new byte[8 << 10];
            string text = Encoding.ASCII.GetString(octets, 0, RandomAccess.Read(file, octets, 0));
            using var key = ECDsa.Create();
            key.ImportFromPem(text);
            if (key.ExportParameters(false).Curve.Oid?.Value != ECCurve.NamedCurves.nistP256.Oid.Value) throw NoKey;
            return new Key(text.Contains("CERTIFICATE") ? X509Certificate2.CreateFromPem(text, text) : Certify(key));
        } catch (Exception e) when (Files.IsTrouble(e) || e is CryptographicException or ArgumentException) {
            throw new Complaint($"cannot use the key {shown}: {(Files.IsTrouble(e) ? e : NoKey).Message}", exitCode: 1);
        }
    }

    static ArgumentException NoKey => new("there is no P-256 key in it; a server makes one where there is no file");
    static X509Certificate2 Certify(ECDsa key) => new CertificateRequest("CN=imagetransfer", key,
        HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.MaxValue);
    // Under its name it is whole, whoever else makes it at the same time.
    static void Make(string path) {
        string hidden = $"{path}.{Random.Shared.NextInt64():x16}";
        var mine = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) mine.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        try {
            using (var file = new StreamWriter(hidden, mine))
                file.Write($"{key.ExportPkcs8PrivateKeyPem()}\n{Certify(key).ExportCertificatePem()}\n");
            if (Files.Publish(hidden, path))
                Console.Error.WriteLine($"made the key {Show(path)}: copy it to the other machine, and to nobody else");
        } finally { File.Delete(hidden); }
    }
}

// ---- Conversation: a connection to a server, with the words that a client says and hears on it ----------------------
sealed class Conversation(string host, int port, Key? key, bool traces) : IDisposable {
    const int Patience = 60_000;                // §9  Milliseconds without an octet
    Socket? socket;
    Stream stream = Stream.Null;
    readonly byte[] outgoing = GC.AllocateUninitializedArray<byte>(1 << 20);
    int waiting;                                // said and not sent yet: outgoing[..waiting]
    readonly byte[] incoming = GC.AllocateUninitializedArray<byte>(1 << 20);
    int start, count;                           // arrived and not taken yet: incoming[start..][..count]
    bool hasHeard;                              // anything at all on this connection
    public bool TakesAhead;                     // §5.3  the server has shown on this connection that it does
    public string Name => $"{host}:{port}";
    public bool IsOpen => socket is not null;
    // A server that spoke unasked has ended the conversation: §8.
    public void Open() {
        if (socket is not null && HasAnswered) Close();
        if (socket is not null) return;
        try {
            socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.SendTimeout = socket.ReceiveTimeout = Patience;
            socket.Connect(host, port);         // every address that the name has, in turn
            stream = new NetworkStream(socket);
            if (key is not null) ((SslStream)(stream = new SslStream(stream))).AuthenticateAsClient(key.ForClient);
        } catch (Exception e) when (Files.IsTrouble(e)
            || e is SocketException or ArgumentException or AuthenticationException or CryptographicException) {
            Close();
            throw new Complaint($"cannot connect to {Show(host)}, port {port}: " + e switch {
                SocketException { SocketErrorCode: SocketError.ConnectionRefused } =>
                    "nobody listens there; is the server running?",
                AuthenticationException when key!.DidNotFit => "the key does not fit",
                AuthenticationException { InnerException: null } =>
                    "this server has no key; leave --key away (unless somebody in between only says so)",
                _ => Reason(e),
            }, exitCode: 1);
        }
    }

    public void Close() {
        socket?.Dispose();
        (socket, waiting, start, count, hasHeard, TakesAhead) = (null, 0, 0, 0, false, false);
    }

    // The connection is closed by the process as it ends: to do it here would cost 2 ms more.
    public void Dispose() {
        if (!IsOpen) return;
        Trace('C', "<close>");
        if (stream is SslStream tls) Task.WaitAny([tls.ShutdownAsync()], millisecondsTimeout: 1000);
    }

    // Something is there to be heard: an answer, or the end.  (TLS brings octets of its own before the first answer.)
    bool HasAnswered => count > 0 || (key is null || hasHeard) && socket!.Poll(0, SelectMode.SelectRead);
    // §9  A server that has to read what it will not send (a digest, with an offset) is given time for it.
    public void Allow(long octets) =>
        stream.ReadTimeout = (int)Math.Min(Patience * (1 + octets / (100 << 20)), int.MaxValue);
    public static IOException Broken(string how) => new($"that is no server of this protocol: {how}");
    public static string Reason(Exception e) => e.InnerException switch {
        null => e.Message,
        SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.WouldBlock }
            => "not an octet for 60 s; given up",
        SocketException => "the connection broke",
        _ => "TLS has ended: the key does not fit, or somebody has changed what was sent",
    };

    public void Trace(char side, string text) { if (traces) Console.Error.WriteLine($"{side}: {text}"); }

    // ---- what a client says: it waits in `outgoing` until that is full or is sent ----
    public void Say(Request request) => Say(RequestLine(request), Show(RequestLine(request)));
    public void SayDigest(byte[] digest) => Say(digest, $"<hex:{Convert.ToHexString(digest)}>");
    public void Say(byte[] octets, string shown) {
        Trace('C', shown);
        if (octets.Length > outgoing.Length - waiting) Send();
        octets.CopyTo(outgoing, waiting);
        waiting += octets.Length;
    }

    // §4.4  False: the server had something to say before the block was complete, and that is heard first.
    public bool SayBlock(SafeFileHandle file, string name, bool digest, Progress progress) {
        using var hash = digest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
        long position = 0, end = RandomAccess.GetLength(file);
        Say(LengthOctets((ulong)end), $"<u64:{end}>");
        for (progress.Begin(name, 0, end); position < end; progress.Position = position) {
            if (waiting == outgoing.Length && (HasAnswered || !Send())) return false;
            var some = outgoing.AsSpan(waiting, (int)Math.Min(outgoing.Length - waiting, end - position));
            some = some[..RandomAccess.Read(file, some, position)];
            if (some.IsEmpty) throw new IOException("the file became shorter while it was being sent");
            hash?.AppendData(some);
            (waiting, position) = (waiting + some.Length, position + some.Length);
        }
        Trace('C', $"<file:{name}>");
        if (hash is not null) SayDigest(hash.GetHashAndReset());
        return true;
    }

    // §9  A sending that fails is no answer yet: the server may have said why before it closed; that is heard next.
    public bool Send() {
        try { stream.Write(outgoing, 0, waiting); return true; }        // blocking: it returns when all has been sent
        catch (IOException) {
            try { socket!.Shutdown(SocketShutdown.Send); } catch (SocketException) { }      // nothing more, with a gap
            return false;
        } finally { waiting = 0; }
    }

    // ---- what a client hears: it comes in whatever pieces, and is taken as the lines and blocks that were sent ----
    // One receive, which waits if it has to, and brings an octet at least.
    void Receive() {
        incoming.AsSpan(start, count).CopyTo(incoming);
        start = 0;
        int received = stream.Read(incoming, count, incoming.Length - count);
        if (received == 0) throw new IOException("the server closed the connection before the end of its answer");
        (count, hasHeard) = (count + received, true);
    }

    // The next octets, one at least and `most` at most; they are valid until more is heard.
    public ReadOnlySpan<byte> HearSome(long most) {
        if (count == 0) Receive();
        int taken = (int)Math.Min(most, count);
        (start, count) = (start + taken, count - taken);
        return incoming.AsSpan(start - taken, taken);
    }

    ReadOnlySpan<byte> HearExactly(int size) { while (count < size) Receive(); return HearSome(size); }
    public ReadOnlySpan<byte> HearLine() {
        int end;
        while ((end = incoming.AsSpan(start, Math.Min(count, MaxLine)).IndexOf((byte)'\n')) < 0)
            if (count < MaxLine) Receive();
            else throw Broken("its line does not end");
        Trace('S', Show(incoming.AsSpan(start, end + 1)));
        return HearSome(end + 1)[..end];
    }

    public Error? HearReply() {
        var line = HearLine();
        if (line is [TlsAlert, ..]) throw new Complaint("this server wants --key", exitCode: 1);
        return TryParseReply(line, out var error) ? error
            : throw Broken($"it answered {Show(line[..Math.Min(line.Length, 60)])}");
    }

    public ulong HearLength() {
        ulong length = ParseLength(HearExactly(LengthSize));
        Trace('S', $"<u64:{length}>");
        return length;
    }

    public ReadOnlySpan<byte> HearDigest() {
        var digest = HearExactly(DigestSize);
        Trace('S', $"<hex:{Convert.ToHexString(digest)}>");
        return digest;
    }
}

// ---- Client: the commands -------------------------------------------------------------------------------------------
sealed class Client {
    readonly Conversation server;
    readonly Progress progress;
    readonly string[] types;
    readonly string? output;
    readonly bool resume, quiet, onlyNew;
    bool digest, ahead = true;              // until a server says that it knows no such option
    int done, passedOver, failures;         // files
    long moved;                             // octets of those done
    // A file on its way, either way; its size is 0 where only the server knows it.
    abstract record Transfer(string Name, long Size) { public readonly Stopwatch Clock = new(); }

    // ---- §5.2  GET ----
    sealed record Download(string Name, long Size, string Target, string Temporary) : Transfer(Name, Size) {
        public GetRequest Request = new(Name);
        public long Kept;                   // octets that an earlier try has left here, and
        public IncrementalHash? Hash;       // the digest so far
        // The lock keeps out a second client that fetches the same file.  (Windows removes no file that others hold.)
        public SafeFileHandle Open(FileMode mode) => Files.OpenHidden(() => Temporary, mode,
            OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None);
    }

    void AskToGet(Download file) =>
        server.Say(file.Request = new GetRequest(file.Name, digest ? (ulong)file.Kept : 0, digest));
    bool TakeFile(Download file) {
        if (file.Request.Offset > 0) server.Allow(file.Kept);
        var error = server.HearReply();
        if (file.Request.Offset > 0) server.Allow(0);
        if (error is null) { Fetch(file); return true; }
        if (error.Code is "unsupported" or "bad-offset" && file.Request.Offset > 0) {
            File.Delete(file.Temporary);    // it has become shorter, or offsets are unknown there: from the start
            file.Kept = 0;
        } else if (error.Code == "unsupported" && file.Request.Digest) digest = false;
        else { Fail(file.Name, error); return true; }
        return false;
    }

    // The block, into the hidden file; when the digest fits, the file gets its name.
    void Fetch(Download file) {
        ulong offset = file.Request.Offset, length = server.HearLength();
        if (length > long.MaxValue - offset) throw Conversation.Broken("no file is that long");
        if (length == 0 && offset == 0) throw Conversation.Broken("it sent a file of no octets");
        var (position, end, intact) = ((long)offset, (long)(offset + length), true);
        using var hash = !file.Request.Digest ? null
            : offset > 0 ? file.Hash : IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var handle = file.Open(FileMode.OpenOrCreate);
        if (RandomAccess.GetLength(handle) < position) throw new IOException("what was kept here has changed");
        RandomAccess.SetLength(handle, position);
        file.Clock.Restart();
        try {
            for (progress.Begin(file.Name, position, end); position < end; progress.Position = position) {
                var some = server.HearSome(end - position);
                RandomAccess.Write(handle, some, position);
                hash?.AppendData(some);
                position += some.Length;
            }
            server.Trace('S', offset == 0 ? $"<file:{file.Name}>" : $"<any:{length}>");
            if (hash is not null) intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset());
        } catch (Exception e) when (Files.IsTrouble(e)) {
            if (position == 0) File.Delete(file.Temporary);
            string kept = position == 0 ? "" : $"; {position:N0} octets are kept, and --resume goes on from there";
            throw new IOException(Conversation.Reason(e) + kept);
        }
        bool saved = intact && Save(file.Temporary, file.Target);
        File.Delete(file.Temporary);        // the hidden name goes first, then, with the handle, the lock
        if (!intact) Fail(file.Name, "the digest does not match what arrived; it is thrown away");
        else if (!saved) Fail(file.Name, "that name has appeared here meanwhile; nothing is ever overwritten");
        else Done(file, (long)length, isVerified: hash is not null);
    }

    // Publishes as the server does.  Where there are no hard links (a memory stick, say) the name is reserved by an
    // empty file first: that never overwrites either, but a crash in between leaves the empty file behind.
    static bool Save(string temporary, string target) {
        try { return Files.Publish(temporary, target); }
        catch (IOException) when (File.Exists(temporary)) {
            try { File.OpenHandle(target, FileMode.CreateNew, FileAccess.Write).Dispose(); }
            catch (IOException) when (Files.IsTaken(target)) { return false; }
            try { File.Move(temporary, target, overwrite: true); return true; }
            catch { File.Delete(target); throw; }
        }
    }

    void Prepare(string name, long size, bool intoFolder, List<Download> files) {
        if (CheckName(name, types) is { } error) { Fail(name, error); return; }
        string target = Path.GetFullPath(intoFolder ? Path.Combine(output ?? "", name) : output!);
        string folder = Path.GetDirectoryName(target)!, source = $"{server.Name}|{name}";
        string id = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(source)))[..16];
        var file = new Download(name, size, target, Path.Combine(folder, $".imagetransfer-{id}.down"));
        bool isTaken = Files.IsTaken(target);
        if (!Directory.Exists(folder)) Fail(name, $"there is no folder {Show(folder)} to put it in");
        else if (isTaken && onlyNew) passedOver++;
        else if (isTaken) Fail(name, "that name is here already; nothing is ever overwritten");
        else { if (resume && File.Exists(file.Temporary)) ReadKept(file); files.Add(file); }
    }

    // What an earlier try has left is read before anything is asked: the server would not wait for it later.
    void ReadKept(Download file) {
        file.Hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var handle = file.Open(FileMode.Open);
        var some = new byte[1 << 20];
        progress.BeginBatch(1, 0);
        progress.Begin(file.Name, 0, RandomAccess.GetLength(handle));
        for (int count; (count = RandomAccess.Read(handle, some, file.Kept)) > 0; progress.Position = file.Kept) {
            file.Hash.AppendData(some, 0, count);
            file.Kept += count;
        }
    }

    // ---- many files: asked ahead of the answers, so that small ones do not pay a round trip each ----
    const int RequestsAhead = 128;          // so many lines fit any kernel's buffers: never do both sides wait to send
    void AskForAll<T>(List<T> files, Func<T, T, bool> mayFollow, Action<T> ask, Func<T, bool> take) where T : Transfer {
        var again = new List<T>();
        progress.BeginBatch(files.Count, files.Any(file => file.Size == 0) ? 0 : files.Sum(file => file.Size));
        for (int next = 0, asked = 0; next < files.Count; next++) {
            if (asked == next) { server.Open(); ask(files[asked++]); }
            if (asked - next <= RequestsAhead * 7 / 8)  // not one by one: fewer, larger sends
                while (asked < files.Count && asked - next < RequestsAhead && mayFollow(files[asked - 1], files[asked]))
                    ask(files[asked++]);
            server.Send();
            Guarded(files[next].Name, () => { if (!take(files[next])) again.Add(files[next]); });
            if (!server.IsOpen) asked = next + 1;       // what was asked and not answered is asked again
        }
        if (again is not []) AskForAll(again, mayFollow, ask, take);     // in other words
    }

    void GetAll(string[] words) {
        var names = words.SelectMany(word => !HasWildcard(word) ? [KeyValuePair.Create(word, 0L)]
            : Found(word, Listing().Where(listed => Fits(word, listed.Key)))).ToArray();
        bool intoFolder = output is null || Directory.Exists(output);
        if (!intoFolder && names.Length > 1)
            throw new Complaint($"--output {Show(output!)} is no folder, and there are several files for it");
        var files = new List<Download>();
        foreach (var (name, size) in names) Guarded(name, () => Prepare(name, size, intoFolder, files));
        AskForAll(files, (_, _) => true, AskToGet, TakeFile);
    }

    // ---- §5.3  PUT: small files run ahead where the server takes that; large ones ask first ----
    sealed record Sending(string Name, long Size, string Path, bool IsOfMany) : Transfer(Name, Size) {
        public bool MayRunAhead => IsOfMany && Size <= 256 << 10;
        public PutRequest Request = new("");
        public bool IsSent, WasSent;        // the block is behind the request · was so in a try that got no answer
    }

    void AskToPut(Sending file) {
        (file.WasSent, file.IsSent) = (file.WasSent || file.IsSent, false);
        file.Clock.Restart();
        byte[] content = [];
        try { if (server.TakesAhead && file.MayRunAhead) content = File.ReadAllBytes(file.Path); }
        catch (Exception e) when (Files.IsTrouble(e)) { }       // it will show again, when it is this file's turn
        if (content.Length > file.Size) content = [];           // it is growing, so it is asked for first
        server.Say(file.Request = new PutRequest(file.Name, digest, ahead && file.MayRunAhead));
        if (content is []) return;
        server.Say(LengthOctets((ulong)content.Length), $"<u64:{content.Length}>");
        server.Say(content, $"<file:{file.Name}>");
        if (digest) server.SayDigest(SHA256.HashData(content));
        file.IsSent = true;
    }

    bool TakeOutcome(Sending file) {
        var error = server.HearReply();                         // the go-ahead
        bool isUnknown = error?.Code == "unsupported" && !file.IsSent;
        if (isUnknown && file.Request.Ahead) { ahead = false; return false; }
        if (isUnknown && file.Request.Digest) { digest = false; return false; }
        server.TakesAhead |= error is null && file.Request.Ahead;
        if (error is not null && file.IsSent) server.Close();   // it takes the block for requests
        if (error is null) {
            bool isWhole = file.IsSent || SayBlock(file);
            error = server.HearReply();
            if (!isWhole) server.Close();
            if (!isWhole && error is null) throw Conversation.Broken("it said OK before it had the file");
        }
        if (error is null) Done(file, file.Size, isVerified: file.Request.Digest);
        else if (error.Code == "exists" && onlyNew) passedOver++;
        else if (error.Code == "exists" && file.WasSent) Fail(file.Name, "exists: perhaps stored by the try before");
        else Fail(file.Name, error);
        return true;
    }

    bool SayBlock(Sending file) {
        using var handle = File.OpenHandle(file.Path, options: FileOptions.SequentialScan);
        return server.SayBlock(handle, file.Name, file.Request.Digest, progress) && server.Send();
    }

    void PutAll(string[] words) {
        var paths = new List<string>();
        foreach (string word in words) Guarded(word, () => paths.AddRange(Paths(word)));
        var there = onlyNew ? Listing() : [];
        var files = new List<Sending>();
        foreach (string path in paths)
            if (there.ContainsKey(Path.GetFileName(path))) passedOver++;
            else Guarded(path, () => Prepare(path, isOfMany: paths.Count > 1, files));
        AskForAll(files, (last, file) => last.IsSent && file.MayRunAhead, AskToPut, TakeOutcome);
    }

    void Prepare(string path, bool isOfMany, List<Sending> files) {
        var file = new FileInfo(path is "" ? "." : path);
        if (!file.Exists) Fail(path, "there is no such file here");
        else if (CheckName(file.Name, types) is { } error) Fail(path, error);
        else if (file.Length == 0) Fail(path, Error.Empty);     // before it is opened: a pipe looks like that, too
        else {
            Span<byte> first = stackalloc byte[SignatureSize];
            using var handle = File.OpenHandle(path);
            if (!HasSignature(file.Name, first[..RandomAccess.Read(handle, first, 0)])) Fail(path, Error.BadType);
            else files.Add(new Sending(file.Name, file.Length, path, isOfMany));
        }
    }

    // ---- what people type: patterns and folders, also where no shell has seen to them ----
    static bool HasWildcard(string word) => word.AsSpan().IndexOfAny('*', '?') >= 0;        // no name can hold one
    static bool Fits(string pattern, string name) =>
        FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: OperatingSystem.IsWindows());
    IEnumerable<T> Found<T>(string word, IEnumerable<T> found) {
        var all = found.ToArray();
        if (all is []) Fail(word, "there is no picture that fits");
        return all;
    }

    // A folder stands for the pictures directly in it, a pattern for the pictures that fit it.
    IEnumerable<string> Paths(string word) {
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        string path = word == "~" || word.StartsWith("~/") ? home + word[1..] : word;
        bool isFolder = Directory.Exists(path);
        var (folder, pattern) = isFolder ? (path, "*") : (Path.GetDirectoryName(path), Path.GetFileName(path));
        if (!HasWildcard(pattern)) return [path];
        var files = new DirectoryInfo(string.IsNullOrEmpty(folder) ? "." : folder);
        return Found(word, !files.Exists ? [] : files.EnumerateFiles().Select(file => file.Name)
            .Where(name => Fits(pattern, name) && CheckName(name, types) is null).Order(StringComparer.Ordinal)
            .Select(name => Path.Combine(folder ?? "", name)));
    }

    // Names and sizes, as the server lists them: only those that one can ask for.
    Dictionary<string, long> Listing() {
        var listing = new Dictionary<string, long>();
        Guarded("LIST", () => {
            foreach (string line in Lines(new ListRequest(), "LIST"))
                if (line.Split('|') is [var name, var size, _] && CheckName(name, types) is null)
                    listing[name] = long.TryParse(size, out long octets) ? octets : 0;
        });
        return listing;
    }

    // ---- §5.1, §5.4  LIST and STATUS ----
    // The whole block first, then its lines: whoever takes his time to page through them keeps no server waiting.
    IEnumerable<string> Lines(Request request, string verb) {
        server.Open();
        server.Say(request);
        server.Send();
        if (server.HearReply() is { } error) { Fail(verb, error); yield break; }
        ulong length = server.HearLength();
        using var block = Files.Scratch(length);
        for (ulong taken = 0; taken < length;) {
            var line = server.HearLine();
            taken += (ulong)line.Length + 1;
            if (taken > length) throw Conversation.Broken("a line runs beyond its block");
            block.Write([.. line, (byte)'\n']);
        }
        block.Position = 0;
        for (var lines = new StreamReader(block); lines.ReadLine() is { } line;) yield return line;
    }

    void ShowLines(Request request, string verb, string ifNone, Func<string[], string> show) => Guarded(verb, () => {
        int count = 0, before = failures;
        foreach (string line in Lines(request, verb).Select(Show)) {
            Console.Out.WriteLine(Console.IsOutputRedirected ? line : show(line.Split('|')));
            count++;
        }
        if (count == 0 && failures == before) Say(ifNone);
    });
    static string ListColumns(string[] fields) =>
        fields is not [var name, var size, var time] || !ulong.TryParse(size, out ulong octets)
            ? string.Join('|', fields) : $"{octets,15:N0}  {time,-20}  {name}";
    static string StatusColumns(string[] fields) =>
        fields is not [var from, var to, var address, var requests, var received, var sent] ? string.Join('|', fields)
        : $"{from,-20}  {to.Split('T')[^1],9}  {requests,6}  {received,10}  {sent,10}  {address}";

    // ---- the command line and the prompt: the same words ----
    const string Help = """
        usage: imagetransfer client HOST [PORT] [COMMAND [FILE...]] [OPTION...]

        Without COMMAND there is a prompt that takes the same ones. PORT is 7005 unless given.

          LIST                what the server has
          GET NAME...         fetch pictures; '*.png' is all that fit      (also: download)
          PUT FILE...         add pictures, or those of a folder           (also: upload, send)
          STATUS              who has been connected

          --output PATH       GET into this folder, or, for a single NAME, to this file
          --resume            GET: go on with a download that was cut short
          --new               GET, PUT: pass over what is there already
          --key FILE          the server's key: prove to have it, and encrypt
          --no-digest         do not compare SHA-256 digests
          --types LIST        endings to send and fetch, or any (jpg,jpeg,png)
          --trace             show the conversation on stderr, as Protocol.md writes it
          --quiet             say nothing but what went wrong
          --help              this text

        Exit code: 0 done, 1 something was refused or failed, 2 the command line makes no sense.
        """;

    const string PromptHelp =
        "LIST · GET NAME... · PUT FILE... · STATUS · exit · a name alone fetches it · quotes go around spaces";
    public static int Run(string[] args) {
        var options = new Options(args, Help);
        if (options.Has("--help")) return Options.Print(Help);
        if (options.Words is not [not "" and var host, .. var words])
            throw new Complaint("say which HOST; --help shows how");
        int port = Port;
        if (words is [[>= '0' and <= '9', ..] number, .. var others])
            (port, words) = (Options.PortFrom(number, least: 1), others);
        using var server = new Conversation(host, port, Key.From(options, mayMake: false), options.Has("--trace"));
        var client = new Client(options, server);
        if (words is not [var word, .. var files]) client.Prompt($"connected to {Show(host)}, port {port}");
        else {
            string verb = VerbOf(word) ?? throw NoCommand(word);
            foreach (string option in (string[])["--output", "--resume", "--new"])
                if (verb != "GET" && options.Has(option) && (verb, option) is not ("PUT", "--new"))
                    throw new Complaint($"{option} goes with GET{(option == "--new" ? " and PUT" : "")}");
            client.Execute(verb, [.. files]);
        }
        return client.failures > 0 ? 1 : 0;
    }

    Client(Options options, Conversation server) {
        (this.server, types, quiet) = (server, options.Types(), options.Has("--quiet"));
        (resume, onlyNew, digest) = (options.Has("--resume"), options.Has("--new"), !options.Has("--no-digest"));
        output = options.Has("--output") ? options.Text("--output", "") : null;
        progress = new Progress(!quiet && !Console.IsErrorRedirected);
        if (resume && !digest) throw new Complaint("--resume needs the digest to see whether the pieces fit");
    }

    static string? VerbOf(string word) => word.ToUpperInvariant() switch {
        "DOWNLOAD"         => "GET",
        "UPLOAD" or "SEND" => "PUT",
        var verb           => verb is "LIST" or "GET" or "PUT" or "STATUS" ? verb : null,
    };
    static Complaint NoCommand(string word) => new($"there is no command {Show(word)}; help lists them");
    void Execute(string verb, string[] files) {
        if (verb is "LIST" or "STATUS" && files is not []) throw new Complaint($"{verb} takes no file name");
        if (verb is "GET" or "PUT" && files is []) throw new Complaint($"{verb} which file?");
        (done, passedOver, moved) = (0, 0, 0);
        var (before, clock) = (failures, Stopwatch.StartNew());
        switch (verb) {
            case "GET": GetAll(files); break;
            case "PUT": PutAll(files); break;
            case "LIST": ShowLines(new ListRequest(), verb, "the folder is empty", ListColumns); break;
            default: ShowLines(new StatusRequest(), verb, "nobody has been connected", StatusColumns); break;
        }
        progress.EndBatch();
        int all = done + passedOver + failures - before;
        if (verb is "GET" or "PUT" && (all > 1 || passedOver > 0))
            Say($"{all:N0} file{(all == 1 ? "" : "s")}: {done:N0} done, {passedOver:N0} passed over, "
                + $"{failures - before:N0} failed; {moved:N0} octets in {clock.Elapsed.TotalSeconds:0.00} s");
    }

    void Prompt(string greeting) {
        if (OperatingSystem.IsWindows())
            Console.InputEncoding = Console.IsInputRedirected ? Encoding.UTF8 : Encoding.Unicode;
        server.Open();
        Say($"{greeting}; help lists the commands, exit leaves");
        while (true) {
            if (!Console.IsInputRedirected) Console.Error.Write("imagetransfer> ");
            if (Console.In.ReadLine() is not { } line) return;
            try {
                switch (Words(line)) {
                    case []: break;
                    case [var word] when word.ToLowerInvariant() is "exit" or "quit": return;
                    case [var word] when word.ToLowerInvariant() is "help": Console.Out.WriteLine(PromptHelp); break;
                    case [var word, .. var files] when VerbOf(word) is { } verb: Execute(verb, files); break;
                    case [var name] when CheckName(name, types) is null: Execute("GET", [name]); break;
                    case [var word, ..] when CheckName(line.Trim(), types) is not null: throw NoCommand(word);
                    default: Execute("GET", [line.Trim()]); break;
                }
            } catch (Complaint complaint) { Fail("imagetransfer", complaint.Message); }
        }
    }

    // Words as a shell would cut them: at spaces, but not between quotes.
    static string[] Words(string line) {
        const string Word = """(?:"(?<part>[^"]*)"|'(?<part>[^']*)'|(?<part>[^\s"']))+""";
        if (Regex.Replace(line, Word, "").Trim() != "") throw new Complaint("a quote is not closed");
        return [.. Regex.Matches(line, Word).Select(word => string.Concat(word.Groups["part"].Captures))];
    }

    // ---- talk: all of it on stderr, since stdout is for what was asked for ----
    // What goes wrong on the way costs one file and the connection; the next file opens another.
    void Guarded(string what, Action step) {
        try { step(); }
        catch (Exception e) when (Files.IsTrouble(e)) { server.Close(); Fail(what, Conversation.Reason(e)); }
    }

    void Say(string text) {
        if (quiet) return;
        progress.Hide();
        Console.Error.WriteLine(text);
    }

    void Fail(string what, string why) {
        progress.Hide();
        Console.Error.WriteLine($"{Show(what)}: {why}");
        failures++;
    }

    void Done(Transfer file, long octets, bool isVerified) {
        done++;
        moved += octets;
        progress.EndFile(octets);
        Say($"{file.Name}: {octets:N0} octets in {file.Clock.Elapsed.TotalSeconds:0.00} s, "
            + (isVerified ? "verified" : "not verified"));
    }

    // For people: of the text, only what could harm a terminal stays escaped.
    void Fail(string what, Error error) {
        Fail(what, $"{error.Code}: {Show(error.Text).Replace(@"\<", "<").Replace(@"\\", @"\")}");
        if (error.Closes) server.Close();
    }
}

// ---- Progress -------------------------------------------------------------------------------------------------------
// On a terminal, a line that shows how far a batch of files is.  A timer draws it, since the transfer may be waiting.
sealed class Progress {
    readonly Timer? timer;
    string name = "";
    int files, finished;
    long total, before, first, end, position;           // octets: of the batch, of the files before, and of this one
    long started, lastMoved;
    bool drawn, active;
    public Progress(bool visible) { if (visible) timer = new Timer(_ => { lock (this) Draw(); }, null, 500, 250); }
    public long Position { set { (position, lastMoved) = (value, Environment.TickCount64); } }
    public void BeginBatch(int files, long total) {
        lock (this) (this.files, this.total, active, finished, before, first, end, Position, started) =
            (files, total, true, 0, 0, 0, 0, 0, Environment.TickCount64);
    }

    public void Begin(string name, long position, long end) {
        lock (this) (this.name, first, this.end, Position) = (name, position, end, position);
    }

    public void EndFile(long octets) {
        lock (this) (before, first, finished, Position) = (before + octets, position, finished + 1, position);
    }

    public void EndBatch() { lock (this) { Hide(); active = false; } }
    public void Hide() { lock (this) { if (drawn) Console.Error.Write($"\r{"",79}\r"); drawn = false; } }
    void Draw() {
        long now = Environment.TickCount64, moved = before + position - first;
        if (!active || now - started < 400) return;
        double rate = moved * 1000.0 / (now - started), toGo = files == 1 ? end - position : total - moved;
        var left = TimeSpan.FromSeconds(Math.Clamp(toGo / Math.Max(rate, 1), 0, 359_999));
        string pace = now - lastMoved >= 5_000 ? $"stalled for {(now - lastMoved) / 1000} s"
            : $"{rate / 1e6:0.0} MB/s" + (files > 1 && total == 0 || moved == 0 ? "" : $", {left:h\\:mm\\:ss} left");
        string far = files == 1 ? $"{(name.Length > 24 ? name[..23] + "…" : name)}, {Amount(position)} of {Amount(end)}"
            : $"{finished:N0} of {files:N0}, {Amount(moved)}" + (total > 0 ? $" of {Amount(total)}" : "");
        Console.Error.Write($"\r{far + ", " + pace,-79}");       // blanks: not every console knows an escape
        drawn = true;
    }

    static string Amount(long octets) => octets >= 1e9 ? $"{octets / 1e9:0.0} GB" : $"{octets / 1e6:0.0} MB";
}
