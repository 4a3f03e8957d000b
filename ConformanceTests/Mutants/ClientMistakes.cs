
namespace ConformanceTests.Mutants;

/// <summary>The mistakes that are put into Client.cs, grouped by the member that they are in.</summary>
internal static class ClientMistakes
{
    public static readonly Mutant[] All =
    [
        new("a line may be longer", "LINE-2", "Protocol.MaxLine",
            "public const int MaxLine = 1024;",
            "public const int MaxLine = 2048;"),
        new("a line may be one octet shorter only", "LINE-2", "Protocol.MaxLine",
            "public const int MaxLine = 1024;",
            "public const int MaxLine = 1023;"),

        new("names may be one octet longer", "NAME-1", "Protocol.MaxName",
            "public const int MaxName = 255;",
            "public const int MaxName = 256;"),

        new("LF found before the text is read: CR forgiven", "LINE-3", "Protocol.ParseRequest",
            "if (line is [] or [.., (byte)'\\r'] || ",
            "if (line is [] || "),
        new("any octets taken for UTF-8", "LINE-3", "Protocol.ParseRequest",
            "[.., (byte)'\\r'] || !Utf8.IsValid(line)) return new Refused",
            "[.., (byte)'\\r']) return new Refused"),
        new("verbs in any case", "REQ-1", "Protocol.ParseRequest",
            "return Utf8Text.GetString(line).Split('|') switch",
            "return Utf8Text.GetString(line).ToUpperInvariant().Replace(\".PNG\", \".png\").Replace(\"CAT\", "
            + "\"cat\").Split('|') switch"),
        new("garbage ends the server", "P11", "Protocol.ParseRequest",
            "if (line is [] or [.., (byte)'\\r'] || !Utf8.IsValid(line)) return",
            "if (!Utf8.IsValid(line)) Environment.Exit(3); if (line is [] or [.., (byte)'\\r']) return"),

        new("unknown options are ignored", "REQ-1", "Protocol.WithOptions",
            "foreach (var option in parts)",
            "foreach (var option in parts.Where(part => part[0] is \"digest\" or \"offset\"))"),
        new("an option may come twice", "REQ-2", "Protocol.WithOptions",
            "if (parts.DistinctBy(option => option[0]).Count() < parts.Length",
            "if (false"),
        new("ahead goes with the digest alone", "AHEAD-1", "Protocol.WithOptions",
            "(PutRequest put, [\"ahead\"])",
            "(PutRequest { Digest: true } put, [\"ahead\"])"),

        new("CR LF behind OK", "REPLY-1", "Protocol.ReplyLine",
            "error is null ? \"OK\\n\"",
            "error is null ? \"OK\\r\\n\""),
        new("LF missing behind OK", "REPLY-1", "Protocol.ReplyLine",
            "error is null ? \"OK\\n\"",
            "error is null ? \"OK\""),

        new("client takes a refusal without a text for one", "CLI-2", "Protocol.TryParseReply",
            "if (fields is [\"ER\", { Length: > 0 } code, var text] && ",
            "if (fields is [\"ER\", { Length: > 0 } code, ..] && fields[^1] is var text && "),

        new("length reversed", "BLOCK-1", "Protocol.LengthOctets",
            "BinaryPrimitives.WriteUInt64BigEndian(octets, length);",
            "BinaryPrimitives.WriteUInt64LittleEndian(octets, length);"),

        new("names may begin with a point", "NAME-1", "Protocol.CheckName",
            "name is \"\" or ['.' or ' ', ..]",
            "name is \"\" or [' ', ..]"),
        new("names may hold a backslash", "NAME-1", "Protocol.CheckName",
            "ContainsAny(\"|/\\\\:*?\\\"<>\")",
            "ContainsAny(\"|/:*?\\\"<>\")"),
        new("device names are names", "NAME-2", "Protocol.CheckName",
            "|| IsDevice(name)) return Error.BadName;",
            ") return Error.BadName;"),
        new("any ending", "NAME-3", "Protocol.CheckName",
            "if (type == \"any\" ||",
            "if (true ||"),
        new("names in ASCII", "NAME-4", "Protocol.CheckName",
            "&& !name.EnumerateRunes().All(IsVisible)",
            ""),

        new("names may hold control characters", "NAME-1", "Protocol.IsVisible",
            "is not (UnicodeCategory.Control or",
            "is not ("),

        new("a picture has the first octets of its own ending", "TYPE-1", "Protocol.HasSignature",
            "|| first.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF])",
            "|| !name.EndsWith(\".png\") && first.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF])"),
        new("a type that was added is not looked at", "TYPE-2", "Protocol.HasSignature",
            "first.StartsWith(\"%PDF-\"u8)",
            "true", AsReference: true),

        new("a link to nowhere is a free name", "PUT-4", "Files.IsTaken",
            "new FileInfo(path).Attributes != (FileAttributes)(-1)",
            "File.Exists(path)"),

        new("what is stored is its owner's alone", "PUT-8", "Files.OpenHidden",
            "handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, share);",
            "handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, share); "
            + "if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(path, (UnixFileMode)384);"),

        new("accepts any certificate", "SEAL-2", "Key.Fits",
            "shown is not X509Certificate2 other || !PublicKeyOf(other).SequenceEqual(PublicKeyOf(certificate)));",
            "shown is null);"),
        new("accepts no certificate", "SEAL-2", "Key.Fits",
            "shown is not X509Certificate2 other || !PublicKeyOf(other).SequenceEqual(PublicKeyOf(certificate)));",
            "shown is X509Certificate2 other && !PublicKeyOf(other).SequenceEqual(PublicKeyOf(certificate)));"),
        new("compares subjects", "SEAL-2", "Key.Fits",
            "shown is not X509Certificate2 other || !PublicKeyOf(other).SequenceEqual(PublicKeyOf(certificate)));",
            "shown?.Subject != \"CN=imagetransfer\");"),

        new("TLS 1.2 will do", "SEAL-3", "Key.ForServer",
            "ClientCertificateRequired = true, RemoteCertificateValidationCallback = Fits,\n"
            + "        EnabledSslProtocols = SslProtocols.Tls13,",
            "ClientCertificateRequired = true, RemoteCertificateValidationCallback = Fits,"
            + "EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,"),

        new("client lets in any server", "SEAL-2", "Key.ForClient",
            "TargetHost = \"\", RemoteCertificateValidationCallback = Fits,",
            "TargetHost = \"\", RemoteCertificateValidationCallback = (_, _, _, _) => true,"),

        new("makes no key", "SEAL-1", "Key.From",
            "if (mayMake && !Files.IsTaken(path)) Make(path);",
            ""),

        new("a key for everybody to read", "SEAL-1", "Key.Make",
            "mine.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;",
            "mine.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead;"),

        new("client waits for ever", "CLI-9", "Conversation.Patience",
            "const int Patience = 60_000;",
            "const int Patience = 600_000;"),

        new("client falls back to plain", "SEAL-5", "Conversation.Open",
            "((SslStream)(stream = new SslStream(stream))).AuthenticateAsClient(key.ForClient);",
            "try { ((SslStream)(stream = new SslStream(stream))).AuthenticateAsClient(key.ForClient); } "
            + "catch (Exception) { socket.Dispose(); socket = new Socket(SocketType.Stream, ProtocolType.Tcp); "
            + "socket.Connect(host, port); stream = new NetworkStream(socket); }"),

        new("client believes the next connection what the last one showed", "AHEAD-3", "Conversation.Close",
            "(socket, waiting, start, count, hasHeard, TakesAhead) = (null, 0, 0, 0, false, false);",
            "(socket, waiting, start, count, hasHeard) = (null, 0, 0, 0, false);", AsReference: true),

        new("client leaves without close_notify", "SEAL-6", "Conversation.Dispose",
            "if (stream is SslStream tls) Task.WaitAny([tls.ShutdownAsync()], millisecondsTimeout: 1000);",
            ""),

        new("client sends before the go-ahead", "CLI-1", "Conversation.Say",
            "Say(RequestLine(request), Show(RequestLine(request)));",
            "Say([.. RequestLine(request), .. request is PutRequest ? LengthOctets(5000) : []], "
            + "Show(RequestLine(request)));"),

        new("client takes anything for a reply", "CLI-2", "Conversation.HearReply",
            "return TryParseReply(line, out var error) ?",
            "return TryParseReply(line, out var error) || error is null ?"),

        new("client goes on without a digest", "CLI-10", "Client.AskToGet",
            "digest ? (ulong)file.Kept : 0, digest)",
            "digest ? (ulong)file.Kept : 0, digest && file.Kept == 0)"),

        new("client takes an unknown code for success", "CLI-3", "Client.TakeFile",
            "{ Fail(file.Name, error); return true; }",
            "{ if (error.Code != \"tired\") Fail(file.Name, error); return true; }"),
        new("client asks no second time", "CLI-7", "Client.TakeFile",
            "else if (error.Code == \"unsupported\" && file.Request.Digest) digest = false;",
            ""),
        new("client asks again for the offset that was refused", "CLI-10", "Client.TakeFile",
            "            file.Kept = 0;\n",
            "\n"),

        new("client keeps a file cut short", "CLI-4", "Client.Fetch",
            "var some = server.HearSome(end - position);",
            "ReadOnlySpan<byte> some; try { some = server.HearSome(end - position); } catch (IOException) { "
            + "Save(file.Temporary, file.Target); return; }"),
        new("client compares half of a digest", "CLI-7", "Client.Fetch",
            "intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset());",
            "intact = server.HearDigest()[..16].SequenceEqual(hash.GetHashAndReset()[..16]);"),
        new("client does not compare digests", "CLI-7", "Client.Fetch",
            "intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset());",
            "server.HearDigest();"),
        new("client compares when the file has its name", "P4", "Client.Fetch",
            "intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset());",
            "{ Save(file.Temporary, file.Target); intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset()); "
            + "if (!intact) File.Delete(file.Target); }"),
        new("client copies to the name", "CLI-4", "Client.Fetch",
            "bool saved = intact && Save(file.Temporary, file.Target);",
            "bool saved = intact; var all = new byte[end]; RandomAccess.Read(handle, all, 0); "
            + "if (saved) File.WriteAllBytes(file.Target, all);"),
        new("client believes what it resumes", "CLI-10", "Client.Fetch",
            "intact = server.HearDigest().SequenceEqual(hash.GetHashAndReset());",
            "server.HearDigest();"),
        new("client reserves what it is told", "CLI-11", "Client.Fetch",
            "= ((long)offset, (long)(offset + length), true);",
            "= ((long)offset, (long)(offset + length), true); var memory = new byte[end];"),

        new("client overwrites", "CLI-6", "Client.Save",
            "try { return Files.Publish(temporary, target); }",
            "try { File.Move(temporary, target, true); return true; }"),

        new("client saves under the name at once", "CLI-4", "Client.Prepare",
            "Path.Combine(folder, $\".imagetransfer-{id}.down\")",
            "target"),

        new("client leaves hundreds unanswered", "AHEAD-3", "Client.RequestsAhead",
            "const int RequestsAhead = 128;",
            "const int RequestsAhead = 1280;", AsReference: true),

        new("client sends large files ahead", "AHEAD-3", "Client.Sending.MayRunAhead",
            "IsOfMany && Size <= 256 << 10",
            "IsOfMany && Size <= 256 << 20", AsReference: true),

        new("client runs ahead unasked", "AHEAD-3", "Client.AskToPut",
            "if (server.TakesAhead && file.MayRunAhead)",
            "if (file.MayRunAhead)"),

        new("client shows no listing", "CLI-5", "Client.ShowLines",
            "Console.Out.WriteLine(Console.IsOutputRedirected ? line : show(line.Split('|')));",
            "_ = show;"),
        new("client shows what it is sent", "CLI-11", "Client.ShowLines",
            "Lines(request, verb).Select(Show)",
            "Lines(request, verb)"),

        new("client exits with 0 whatever happens", "CLI-5", "Client.Run",
            "client.failures > 0 ? 1 : 0",
            "0"),
        new("client makes a key", "SEAL-1", "Client.Run",
            "Key.From(options, mayMake: false)",
            "Key.From(options, mayMake: true)"),
    ];
}
