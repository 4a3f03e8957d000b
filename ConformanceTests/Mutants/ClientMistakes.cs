namespace ConformanceTests.Mutants;

/// <summary>The mistakes that are put into Client.cs, grouped by the member that they are in.</summary>
internal static class ClientMistakes
{
    public static readonly Mutant[] All =
    [
        new("a line may be longer", "LINE-2", "Protocol.MaxLineBytes",
            "MaxLineBytes = 1024;",
            "MaxLineBytes = 2048;"),
        new("a line may have one byte less", "LINE-2", "Protocol.MaxLineBytes",
            "MaxLineBytes = 1024;",
            "MaxLineBytes = 1023;"),

        new("a name may be one byte longer", "NAME-1", "Protocol.MaxNameBytes",
            "MaxNameBytes = 255;",
            "MaxNameBytes = 256;"),

        new("a CR before the LF is accepted", "LINE-3", "Protocol.ParseRequest",
            "or [.., CarriageReturn]",
            ""),
        new("any bytes are taken for UTF-8", "LINE-3", "Protocol.ParseRequest",
            "|| !Utf8.IsValid(line)",
            ""),
        new("verbs are accepted in any case", "REQ-1", "Protocol.ParseRequest",
            "return Encoding.UTF8.GetString(line).Split('|') switch",
            "return Encoding.UTF8.GetString(line).ToUpperInvariant().Replace(\".PNG\", \".png\").Replace(\"CAT\", "
            + "\"cat\").Split('|') switch"),
        new("a line that is not UTF-8 ends the server", "P11", "Protocol.ParseRequest",
            "if (line is []",
            "if (!Utf8.IsValid(line)) { Environment.Exit(3); } if (line is []"),

        new("unknown options are ignored", "REQ-1", "Protocol.ParseOptions",
            "foreach (string option in options)",
            "foreach (string option in options.Where(name => name.StartsWith(\"digest\") "
            + "|| name.StartsWith(\"offset\")))"),
        new("an option may be given twice", "REQ-2", "Protocol.ParseOptions",
            "names.Distinct().Count() < names.Length ||",
            ""),
        new("an offset that is not a number is past the end", "OFFSET-3", "Protocol.IsMalformedOffset",
            "!digits.All(char.IsAsciiDigit)",
            "false"),

        new("ahead is known only after the digest", "AHEAD-1", "Protocol.AddOption",
            "PutRequest put when option == AheadOption",
            "PutRequest { HasDigest: true } put when option == AheadOption"),
        new("a time that the disk cannot hold is unsupported", "MODIFIED-4", "Protocol.AddOption",
            "TryParseTime(value, out DateTime time)",
            "TryParseTime(value, out DateTime time) && time.Year is > 1970 and < 2038"),
        new("modified in a GET may have a value", "MODIFIED-3", "Protocol.AddOption",
            "GetRequest get when option == ModifiedOption",
            "GetRequest get when option.StartsWith(ModifiedOption)"),

        new("an offset has 32 bits", "OFFSET-1", "Protocol.ParseOffset",
            "? offset :",
            "? offset & uint.MaxValue :"),

        new("a time may have any form", "MODIFIED-3", "Protocol.TryParseTime",
            "DateTime.TryParseExact(text, \"yyyy-MM-dd'T'HH:mm:ss'Z'\",",
            "DateTime.TryParse(text,"),

        new("CR LF after OK", "REPLY-1", "Protocol.FormatReply",
            "$\"OK{FormatModified(reply)}\\n\"",
            "$\"OK{FormatModified(reply)}\\r\\n\""),
        new("no LF after OK", "REPLY-1", "Protocol.FormatReply",
            "$\"OK{FormatModified(reply)}\\n\"",
            "$\"OK{FormatModified(reply)}\""),

        new("the client accepts an error without a text", "CLI-2", "Protocol.ParseReply",
            "[\"ER\", { Length: > 0 } code, var text] when code.All(IsCodeCharacter) => MakeError(code, text)",
            "[\"ER\", { Length: > 0 } code, .. var text] when code.All(IsCodeCharacter) => "
            + "MakeError(code, string.Concat(text))"),

        new("the length is reversed", "BLOCK-1", "Protocol.EncodeLength",
            "BinaryPrimitives.WriteUInt64BigEndian(bytes, length);",
            "BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);"),

        new("any file extension is accepted", "NAME-3", "Protocol.ValidateName",
            "return HasExtension(name, types) ?",
            "return name != \"\" ?"),

        new("a name may begin with a dot", "NAME-1", "Protocol.FindNameProblem",
            "['.' or ' ', ..]",
            "[' ', ..]"),
        new("a name may be that of a device", "NAME-2", "Protocol.FindNameProblem",
            "return IsWindowsDevice(name) ? NameProblem.WindowsDevice : NameProblem.None;",
            "return NameProblem.None;"),

        new("a name has to be ASCII", "NAME-4", "Protocol.FindForbiddenCharacter",
            "int index = 0;",
            "int index = 0; if (name != \"\") { return name.AsSpan().IndexOfAnyExceptInRange(' ', '~'); }"),

        new("a name may have a backslash", "NAME-1", "Protocol.ForbiddenPunctuation",
            "\"|/\\\\:*?\\\"<>\"",
            "\"|/:*?\\\"<>\""),

        new("a name may have a joiner anywhere", "NAME-1", "Protocol.IsAllowed",
            "return isInside && name[index - 1] != '.' && name[index + 1] != '.';",
            "return true;"),
        new("a name may have no joiner", "NAME-4", "Protocol.IsAllowed",
            "return isInside && name[index - 1] != '.' && name[index + 1] != '.';",
            "return false;"),

        new("a name may have control characters", "NAME-1", "Protocol.IsPrintable",
            "UnicodeCategory.Control or",
            ""),

        new("a JPEG may not be called .png", "TYPE-1", "Protocol.HasSignature",
            "return IsPicture(start);",
            "return IsPicture(start) && !(name.EndsWith(\".png\") && "
            + "start.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF]));"),
        new("any content may be called .pdf", "TYPE-2", "Protocol.HasSignature",
            "start.StartsWith(\"%PDF-\"u8)",
            "true", AsReference: true),
        new("the content of every file has to be a picture or a PDF", "TYPE-3", "Protocol.HasSignature",
            "return !HasExtension(name, [\"pdf\"]) || start.StartsWith(\"%PDF-\"u8);",
            "return start.StartsWith(\"%PDF-\"u8);", AsReference: true),

        new("JPEG XL is not known", "TYPE-1", "Protocol.IsPicture",
            "|| start.StartsWith(\"\\0\\0\\0\\u000CJXL \"u8)",
            ""),

        new("a link that leads nowhere is a free name", "PUT-4", "FileSystem.EntryExists",
            "new FileInfo(path).Attributes != NoEntry",
            "File.Exists(path)"),

        new("any certificate is accepted", "SEAL-2", "KeyFile.HasSameKey",
            "shown is not X509Certificate2 other "
            + "|| !other.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_publicKey)",
            "shown is null"),
        new("a missing certificate is accepted", "SEAL-2", "KeyFile.HasSameKey",
            "shown is not X509Certificate2 other || !",
            "shown is X509Certificate2 other && !"),
        new("the subjects of certificates are compared", "SEAL-2", "KeyFile.HasSameKey",
            "shown is not X509Certificate2 other "
            + "|| !other.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_publicKey)",
            "shown?.Subject != \"CN=imagetransfer\""),

        new("TLS 1.2 is accepted", "SEAL-3", "KeyFile.ServerOptions",
            "EnabledSslProtocols = SslProtocols.Tls13, AllowTlsResume = false, CertificateChainPolicy = NoChain, "
            + "CipherSuitesPolicy = _ciphers,",
            "EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13, AllowTlsResume = false, "
            + "CertificateChainPolicy = NoChain,"),

        new("the client accepts any server", "SEAL-2", "KeyFile.ClientOptions",
            "RemoteCertificateValidationCallback = HasSameKey",
            "RemoteCertificateValidationCallback = (_, _, _, _) => true"),

        new("the server makes no key", "SEAL-1", "KeyFile.Load",
            "createIfMissing && !FileSystem.EntryExists(path)",
            "createIfMissing && path == \"\""),

        new("a new key can be read by others", "SEAL-1", "KeyFile.Create",
            "options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;",
            "options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead;"),

        new("a key that others can read is accepted", "SEAL-8", "KeyFile.ReadText",
            "(File.GetUnixFileMode(file) & OthersMayRead) != 0",
            "path == \"\""),

        new("the client waits for ten minutes", "CLI-9", "ClientTransport.DefaultTimeoutMs",
            "DefaultTimeoutMs = 60_000;",
            "DefaultTimeoutMs = 600_000;"),

        new("the client falls back to a plain connection", "SEAL-10", "ServerConnection.ConnectToAnyAddress",
            "return key is null ? new ClientTransport(socket) : BeginTls(socket, key);",
            "if (key is null) { return new ClientTransport(socket); } try { return BeginTls(socket, key); } "
            + "catch (CommandLineException) { return new ClientTransport(ConnectTo(address)); }"),
        new("the client remembers ahead from an earlier connection", "AHEAD-3", "ServerConnection.ConnectToAnyAddress",
            "SupportsAhead = false;",
            "", AsReference: true),

        new("the client closes without close_notify", "SEAL-6", "ClientTlsTransport.EndPolitely",
            "_tls.ShutdownAsync().Wait();",
            ""),

        new("the client accepts anything as a reply", "CLI-2", "ServerConnection.ReadReply",
            "if (reply is null || HasUnwantedOption(reply, request))",
            "reply ??= Reply.Ok; if (HasUnwantedOption(reply, request))"),

        new("the client accepts a time that it did not ask for", "MODIFIED-6", "ServerConnection.HasUnwantedOption",
            "return reply.Modified is not null && request is not GetRequest { WantsModified: true };",
            "return false;"),

        new("the client sends before the go-ahead", "PUT-3", "Client.SendPut",
            "_server.SendRequest(file.Request);",
            "_server.SendRequest(file.Request); _server.SendLength(5000);"),

        new("the client takes an unknown code after its block for success", "CLI-3", "Client.HandleReply",
            "if (reply.IsOk)",
            "if (reply.IsOk || reply.Code == \"x-new-code\")"),

        new("the client sends a block after a refusal", "CLI-1", "Client.Put",
            "if (!goAhead.IsOk) {",
            "if (!goAhead.IsOk) { SendBlockUnlessSent(file);"),

        new("the client resumes without a digest", "CLI-10", "Client.AddOptions",
            "WantsDigest = _useDigest,",
            "WantsDigest = _useDigest && file.KeptLength == 0,"),

        new("the client takes an unknown code for success", "CLI-3", "Client.HandleRefusal",
            "_report.Fail(file.Name, reply);",
            "if (reply.Code != \"tired\") { _report.Fail(file.Name, reply); }"),
        new("the client asks again if the text says unsupported", "CLI-3", "Client.HandleRefusal",
            "bool isUnsupported = reply.Code == Reply.Unsupported.Code; if (file.Request.Offset > 0",
            "bool isUnsupported = (reply.Code + reply.Text).Contains(\"unsupported\"); if (file.Request.Offset > 0"),
        new("the client does not ask again without the digest", "CLI-13", "Client.HandleRefusal",
            "if (isUnsupported && file.Request.WantsDigest)",
            "if (false)"),
        new("the client asks again for an offset that was refused", "CLI-10", "Client.HandleRefusal",
            "StartOver(file);",
            ""),

        new("the client keeps a file cut short", "CLI-4", "Client.ReceiveBlock",
            "ReadOnlySpan<byte> bytes = _server.ReadSome(file.BytesLeft);",
            "ReadOnlySpan<byte> bytes; try { bytes = _server.ReadSome(file.BytesLeft); } "
            + "catch (ConnectionLostException) { PublishAndRemove(file); Environment.Exit(0); throw; }"),
        new("the client reserves as much memory as the length says", "BLOCK-4", "Client.ReceiveBlock",
            "ulong length = file.BytesLeft;",
            "ulong length = file.BytesLeft; var memory = new byte[length];"),

        new("the client compares half of the digest", "CLI-7", "Client.ReadAndCompareDigest",
            "return digest.SequenceEqual(file.Hash.GetHashAndReset());",
            "return digest[..16].SequenceEqual(file.Hash.GetHashAndReset()[..16]);"),
        new("the client does not compare digests", "CLI-7", "Client.ReadAndCompareDigest",
            "return digest.SequenceEqual(file.Hash.GetHashAndReset());",
            "return true;"),
        new("the client does not compare the digest of a resumed file", "CLI-10", "Client.ReadAndCompareDigest",
            "return digest.SequenceEqual(file.Hash.GetHashAndReset());",
            "return file.Request.Offset > 0 || digest.SequenceEqual(file.Hash.GetHashAndReset());"),

        new("the client reads a length of 32 bits", "BLOCK-2", "Client.Get",
            "file.BytesLeft = _server.ReadLength();",
            "file.BytesLeft = _server.ReadLength() & uint.MaxValue;"),
        new("the client reads the length of a listing as a signed number", "BLOCK-2", "Client.ReadLines",
            "while ((ulong)block.Length < length)",
            "while (block.Length < (long)length)"),

        new("the client compares the digest when the file has its name", "P4", "Client.Get",
            "return ReadAndCompareDigest(file) ? Save(file, temporary, reply) : Discard(file);",
            "Save(file, temporary, reply); if (!ReadAndCompareDigest(file)) { File.Delete(file.Target); "
            + "return Discard(file); } return Outcome.Settled;"),

        new("the client writes the file under its name", "CLI-4", "Client.Save",
            "if (PublishUninterrupted(file))",
            "var all = new byte[size]; RandomAccess.Read(temporary, all, 0); File.WriteAllBytes(file.Target, all); "
            + "File.Delete(file.TemporaryPath); if (size > 0)"),
        new("the client sets the time of no file", "MODIFIED-5", "Client.Save",
            "SetModified(file, temporary, reply);",
            ""),

        new("the client overwrites", "CLI-6", "Client.Publish",
            "return FileSystem.LinkWithoutReplacing(temporary, target);",
            "File.Move(temporary, target, overwrite: true); return true;"),

        new("the client saves under another name", "CLI-12", "Client.GetTarget",
            "Path.Combine(_output ?? \"\", name)",
            "Path.Combine(_output ?? \"\", \"new-\" + name)"),

        new("the client saves under the name at once", "CLI-4", "DownloadItem.TemporaryPath",
            "Path.Combine(Path.GetDirectoryName(target) ?? \"\", $\".imagetransfer-{MakeId(target, name)}.down\")",
            "target"),

        new("the client leaves hundreds of uploads unanswered", "AHEAD-5", "Pipeline.MaxOutstanding",
            "MaxOutstanding = 128;",
            "MaxOutstanding = 1280;", AsReference: true),

        new("the client sends ahead without a go-ahead", "AHEAD-3", "Client.CanSendAhead",
            "_useAhead && _server.SupportsAhead",
            "_useAhead"),

        new("the client uploads under the whole path", "CLI-12", "PictureFinder.AddFile",
            "newName ?? Path.GetFileName(path)",
            "newName ?? path.Replace('/', '-')"),

        new("the client shows no listing", "CLI-5", "Client.Show",
            "PrintResults(lines.Select(line => Escape(line)));",
            ";"),
        new("the client prints control characters", "CLI-11", "Client.Show",
            "PrintResults(lines.Select(line => Escape(line)));",
            "PrintResults(lines.Select(line => Encoding.UTF8.GetString(line)));"),

        new("the client always exits with 0", "CLI-5", "Report.ExitCodeSoFar",
            "get {",
            "get { if (_failed >= 0) { return ExitCode.Done; }"),

        new("the client makes a key", "SEAL-1", "Client.Run",
            "createIfMissing: false",
            "createIfMissing: true"),
    ];
}
