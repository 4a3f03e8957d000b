// One mistake a row: its name, the sentence that has to catch it, the file, what stands there, what is put in its place.

public static class MutantList
{
    const string S = "Server.cs", C = "Client.cs";

    public static readonly Mutant[] All =
    [
        // framing
        new("length reversed", "BLOCK-1", S, "BinaryPrimitives.WriteUInt64BigEndian(octets, length);", "BinaryPrimitives.WriteUInt64LittleEndian(octets, length);"),
        new("length of four octets", "BLOCK-1", S, "Reply(\"ok\", [.. Line(error: null), .. Length((ulong)octets)]);", "Reply(\"ok\", [.. Line(error: null), .. Length((ulong)octets)[4..]]);"),
        new("length one too large", "BLOCK-1", S, "octets = end - position;", "octets = end - position + 1;"),
        new("CR LF behind OK", "REPLY-1", S, "error is null ? \"OK\\n\" :", "error is null ? \"OK\\r\\n\" :"),
        new("LF missing behind OK", "REPLY-1", S, "error is null ? \"OK\\n\" :", "error is null ? \"OK\" :"),
        new("a line end behind the block", "GET-1", S, "if (owesDigest) (head, headSent, owesDigest)", "if (verb == \"GET\" && file is not null && !owesDigest) socket.Send(\"\\n\"u8); if (owesDigest) (head, headSent, owesDigest)"),
        new("input thrown away after each request", "CONN-2", S, "UseInput(line.Length + 1);", "UseInput(inputCount);"),
        new("one receive is one request", "CONN-3", S, "if (inputCount > 0 && !lineBegun)", "if (inputCount > 0) { Refuse(Error.BadRequest); return true; } if (false)"),
        new("octets behind a block dropped", "CONN-3", S, "buffer.Slice((int)left, inputCount).CopyTo(input);", "inputCount = 0;"),
        new("LF found before the text is read: CR forgiven", "LINE-3", S, "if (line is [] or [.., (byte)'\\r'] || ", "if (line is [] || "),
        new("any octets taken for UTF-8", "LINE-3", S, "[.., (byte)'\\r'] || !Utf8.IsValid(line)) return new Refused", "[.., (byte)'\\r']) return new Refused"),
        new("a line may be longer", "LINE-2", S, "public const int MaxLine = 1024;", "public const int MaxLine = 2048;"),
        new("a line may be one octet shorter only", "LINE-2", S, "public const int MaxLine = 1024;", "public const int MaxLine = 1023;"),
        new("a line is ended by CR, too", "LINE-1", S, "int end = input.IndexOf((byte)'\\n');", "int end = input.IndexOfAny((byte)'\\n', (byte)0x8C);"),

        // TCP
        new("what a send did not take is lost", "GET-1", S, "position += Math.Max(sent - fromHead, 0);", "position += fromFile;"),
        new("closes after each request", "CONN-1", S, "if (closing) Leave(null);", "if (closing || next is State.Line) Leave(null);"),
        new("half-close is taken for the end", "CONN-4", S, "if (error is SocketError.Success) Trace(\"C: <fin>\");", "if (error is SocketError.Success) inputCount = 1;"),
        new("closes without waiting for the client", "CLOSE-1", S, "Await(State.Farewell);", "Finish(\"\");"),
        new("never closes", "ERR-2", S, "closing = error.Closes;", "closing = false;"),
        new("closes after every error", "REQ-1", S, "closing = error.Closes;", "closing = true;"),
        new("a greeting nobody asked for", "CLOSE-3", S, "else History.Enqueue(connection.Visit);", "else { History.Enqueue(connection.Visit); socket.Send(\"OK\\n\"u8); }"),
        new("waits for the first client's request", "P6", S, "(socket.Blocking, socket.NoDelay) = (false, true);", "(socket.Blocking, socket.NoDelay) = (true, true);"),
        new("a cut line is just closed", "CLOSE-2", S, "state is State.Line && inputCount > 0) Refuse(Error.BadRequest);", "state is State.Digest && inputCount > 9999) Refuse(Error.BadRequest);"),
        new("every octet of a line buys time", "LIMIT-1", S, "if (inputCount > 0 && !lineBegun)", "if (inputCount > 0)"),
        new("idle for ever", "LIMIT-2", S, "State.Line     => server.IdleTime,", "State.Line     => server.IdleTime * 1000,"),
        new("every octet of a block buys time", "LIMIT-3", S, "moved >= Server.BlockStep)", "moved > 0)"),
        new("deadlines only where nobody dribbles", "P8", S, "moved >= Server.BlockStep)", "moved > 0)"),
        new("no limit to clients", "P9", S, "if (connections.Count - leaving > maxClients)", "if (connections.Count - leaving > maxClients + 100_000)"),
        new("told to stop it goes on serving", "CLOSE-4", S, "if (server.Stopping) { Refuse(Error.Stopping); return true; }", ""),
        new("told to stop it drops everything", "P12", S, "stopBy = Now + StopTime;", "stopBy = Now - 2000;"),

        // requests
        new("verbs in any case", "REQ-1", S, "return Utf8Text.GetString(line).Split('|') switch", "return Utf8Text.GetString(line).ToUpperInvariant().Replace(\".PNG\", \".png\").Replace(\"CAT\", \"cat\").Split('|') switch"),
        new("unknown options are ignored", "REQ-1", S, "_                               => new Refused(Error.Unsupported),", "_                               => request,"),
        new("an option may come twice", "REQ-2", S, "if (parts.DistinctBy(option => option[0]).Count() < parts.Length", "if (false"),
        new("refusals repeat what was asked", "REPLY-2", S, "Reply(cause is null ? error.Code : $\"{error.Code}: {Show(cause.Message)}\", Line(error));", "Reply(error.Code, Line(error with { Text = name }));"),
        new("the wrong row of the table", "ERR-1", S, "(Folder.IsTaken(path) ? Error.Exists : server.ReadOnly ? Error.Denied : null);", "(server.ReadOnly ? Error.Denied : Folder.IsTaken(path) ? Error.Exists : null);"),

        // names and types
        new("names may begin with a point", "NAME-1", S, "name is \"\" or ['.' or ' ', ..]", "name is \"\" or [' ', ..]"),
        new("names may hold a backslash", "NAME-1", S, "ContainsAny(\"|/\\\\:*?\\\"<>\")", "ContainsAny(\"|/:*?\\\"<>\")"),
        new("names may hold control characters", "NAME-1", S, "is not (UnicodeCategory.Control or", "is not ("),
        new("names may be one octet longer", "NAME-1", S, "public const int MaxName = 255;", "public const int MaxName = 256;"),
        new("device names are names", "NAME-2", S, "|| IsDevice(name)) return Error.BadName;", ") return Error.BadName;"),
        new("any ending", "NAME-3", S, "types.Contains(\"any\") || types.Contains(Ending(name)) ? null : Error.BadType", "null"),
        new("names in small letters", "NAME-4", S, "public string In(string name) => Path.Combine(Root, name);", "public string In(string name) => Path.Combine(Root, name.ToLowerInvariant());"),
        new("names in ASCII", "NAME-4", S, "!name.EnumerateRunes().All(IsVisible)", "!name.All(char.IsAscii) || !name.EnumerateRunes().All(IsVisible)"),
        new("first octets are believed", "TYPE-1", S, "if (!HasSignature(name, Input[..size])) RefuseLater(Error.BadType);", ""),
        new("a type that was added is not looked at", "TYPE-2", S, "\"gif\"           => first.StartsWith(\"GIF87a\"u8) || first.StartsWith(\"GIF89a\"u8),", ""),

        // LIST, GET
        new("the listing is not sorted", "LIST-1", S, "=> a.Octets.AsSpan().SequenceCompareTo(b.Octets))", "=> 0)"),
        new("sorted as UTF-16", "LIST-1", S, "=> a.Octets.AsSpan().SequenceCompareTo(b.Octets))", "=> string.CompareOrdinal(a.File.Name, b.File.Name))"),
        new("an empty folder is an error", "LIST-2", S, "share = 0;", "share = 0; if (lines == \"\") { Refuse(Error.NotFound); return; }"),
        new("links, folders and pipes are pictures", "GET-2", S, "(file.Attributes & (FileAttributes.Directory | FileAttributes.ReparsePoint)) == 0", "true"),
        new("empty files are listed", "P10", S, "file.Exists && file.Length > 0", "file.Exists && file.Length >= 0"),
        new("text mode: LF becomes CR LF", "PUT-2", S, "RandomAccess.Write(handle, octets, length);", "if (octets.Length > 3) { var copy = octets.ToArray(); copy[^2] ^= 1; octets = copy; } RandomAccess.Write(handle, octets, length);"),
        new("a file cut short is padded", "GET-3", S, "int count = RandomAccess.Read(file!, into, at);", "int count = Math.Max(RandomAccess.Read(file!, into, at), 1);"),
        new("the digest of what is sent, not of the file", "DIGEST-1", S, "if (owesDigest && position > 0) state = State.Hashing;", "hashed = position;"),
        new("offset counts from 1", "OFFSET-1", S, "position = (long)get.Offset;", "position = Math.Max((long)get.Offset - 1, 0);"),
        new("an offset beyond the end is the end", "OFFSET-2", S, "if (error is null && get.Offset > (ulong)end) error = Error.BadOffset;", "if (error is null && get.Offset > (ulong)end) get = get with { Offset = (ulong)end };"),

        // PUT
        new("no go-ahead", "PUT-1", S, "Reply(null, Line(error: null), State.Length);", "Await(State.Length);"),
        new("octets that came early are dropped", "PUT-3", S, "Reply(null, Line(error: null), State.Length);", "inputCount = 0; Reply(null, Line(error: null), State.Length);"),
        new("a link to nowhere is a free name", "PUT-4", S, "new FileInfo(path).Attributes != (FileAttributes)(-1)", "File.Exists(path)"),
        new("the limit is compared after a cast", "BLOCK-2", S, "if (length > (ulong)server.MaxSize)", "if ((long)length > server.MaxSize)"),
        new("no limit to lengths", "PUT-5", S, "if (length > (ulong)server.MaxSize)", "if (length > long.MaxValue)"),
        new("an empty block is a picture", "PUT-5", S, "if (length == 0) { RefuseLater(Error.Empty); EndBlock(); }", "if (length == 0) EndBlock();"),
        new("a refused block is not swallowed", "PUT-6", S, "state = State.Swallow;", "{ state = State.Swallow; left = 0; }"),
        new("read-only in name only", "PUT-7", S, ": server.ReadOnly ? Error.Denied : null);", ": null);"),
        new("a digest is read and not compared", "DIGEST-2", S, "if (refusal is null && !Input[..DigestSize].SequenceEqual(hash!.GetHashAndReset())) RefuseLater(Error.Corrupt);", ""),
        new("an empty block has no digest", "BLOCK-3", S, "if (expectsDigest) state = State.Digest;", "if (expectsDigest && octets > 0) state = State.Digest;"),
        new("corrupt is noticed after the file is there", "P4", S, "if (expectsDigest) state = State.Digest;", "if (expectsDigest) { upload?.Publish(); state = State.Digest; }"),
        new("STATUS forgets nobody", "STATUS-1", S, "if (History.Count > MaxHistory) History.Dequeue();", ""),
        new("STATUS shows those turned away", "STATUS-2", S, "else History.Enqueue(connection.Visit);", "History.Enqueue(connection.Visit);"),

        // promises
        new("an upload grows under its own name", "P1", S, "File.OpenHandle(temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.DeleteOnClose);", "File.OpenHandle(final, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.DeleteOnClose);"),
        new("a later upload replaces an earlier one", "P2", S, "if (!Link(temporary, final)) return false;", "File.Copy(temporary, final, true);"),
        new("OK before the file is there", "P3", S, "if (!Link(temporary, final)) return false;", "string from = temporary + \"x\"; Link(temporary, from); Task.Delay(300).ContinueWith(_ => { File.Move(from, final); });"),
        new("stored in memory", "P5", S, "if (!Link(temporary, final)) return false;", "Task.Delay(2000).ContinueWith(_ => Link(temporary, final)); return !File.Exists(final);"),
        new("four megabytes for each client", "P7", S, "readonly byte[] input = new byte[MaxLine];", "readonly byte[] input = new byte[MaxLine], more = new byte[4 << 20];"),
        new("garbage ends the server", "P11", S, "if (line is [] or [.., (byte)'\\r'] || !Utf8.IsValid(line)) return", "if (!Utf8.IsValid(line)) Environment.Exit(3); if (line is [] or [.., (byte)'\\r']) return"),
        new("what the dead left stays", "P12", S, "Sweep();", ""),

        // the client
        new("client sends before the go-ahead", "CLI-1", C, "WriteLine(request(next));", "WriteLine(request(next)); Write(Length(5000));"),
        new("client takes anything for a reply", "CLI-2", C, "if (TryParseReply(line, out var error)) return error;", "if (TryParseReply(line, out var error) || error is null) return error;"),
        new("client takes an unknown code for success", "CLI-3", C, "else Fail(file.Name, error);", "else if (error.Code != \"tired\") Fail(file.Name, error);"),
        new("client keeps a file cut short", "CLI-4", C, "if (received == 0) throw new IOException(", "if (received == 0 && !Directory.Exists(\"/nowhere\")) { count = 1; return; } if (received == 0) throw new IOException("),
        new("client saves under the name at once", "CLI-4", C, "Path.Combine(folder, $\".imagetransfer-{id}.down\")", "target"),
        new("client exits with 0 whatever happens", "CLI-5", C, "return client.failed ? 1 : 0;", "return 0;"),
        new("client overwrites", "CLI-6", C, "try { return Upload.Link(temporary, target); }", "try { File.Move(temporary, target, true); return true; }"),
        new("client does not compare digests", "CLI-7", C, "intact = ReadDigest().SequenceEqual(hash.GetHashAndReset());", "ReadDigest();"),
        new("client asks no second time", "CLI-7", C, "else if (error.Code == \"unsupported\" && digest) { digest = false; next--; }", ""),
        new("client waits for ever", "CLI-9", C, "const int GiveUpAfter = 60_000;", "const int GiveUpAfter = 600_000;"),
        new("client believes what it resumes", "CLI-10", C, "intact = ReadDigest().SequenceEqual(hash.GetHashAndReset());", "ReadDigest();"),
        new("client reserves what it is told", "CLI-11", C, "bool intact = true;", "bool intact = true; var memory = new byte[end];"),
        new("client shows what it is sent", "CLI-11", C, "string[] fields = Show(line).Split('|');", "string[] fields = Encoding.UTF8.GetString(line).Split('|');"),
    ];

    // What is required and cannot be broken by one line of this program in a way that a test could see.
    public static readonly (string Id, string Reason)[] ShownByNoMutant =
    [
        ("CONF-1", "this server leaves no extension out; REQ-1 shows what it says to what it does not know"),
        ("GET-4", "needs a user who may not read everything; the tests may run as one who may"),
    ];
}
