namespace ConformanceTests.Mutants;

/// <summary>The mistakes that are put into Server.cs, grouped by the member that they are in.</summary>
internal static class ServerMistakes
{
    public static readonly Mutant[] All =
    [
        new("a stopped server ends with another exit code", "P12", "Server.Run",
            "server._log.Info(\"stopped\");",
            "Environment.Exit(143);"),

        new("a stopped server ends before its transfers", "P12", "Server.Serve",
            "while (!_isStopping || _connections.Count > 0)",
            "while (!_isStopping)"),

        new("out of descriptors the server ends", "P9", "Server.AcceptClients",
            "catch (SocketException e)",
            "catch (SocketException e) when (e is null)"),

        new("the server sends a greeting", "CLOSE-3", "Server.AcceptClient",
            "_history.Add(connection.Record);",
            "_history.Add(connection.Record); socket.Send(\"OK\\n\"u8);"),
        new("after busy the connection is closed at once", "CLOSE-1", "Server.AcceptClient",
            "if (_ending.IsFull)",
            "if (socket.Send(FormatReply(Reply.Busy)) > 0)"),
        new("busy is not sent", "P9", "Server.AcceptClient",
            "if (_ending.IsFull)",
            "if (true)"),
        new("STATUS shows rejected clients", "STATUS-3", "Server.AcceptClient",
            "bool hasRoom = TryFindRoom();",
            "bool hasRoom = TryFindRoom(); if (!hasRoom) { _history.Add(connection.Record); }"),

        new("no limit to clients", "P9", "Server.TryFindRoom",
            "return CountClients() < _settings.MaxClients;",
            "return CountClients() < _settings.MaxClients + 100_000;"),
        new("one client less than the limit", "P9", "Server.TryFindRoom",
            "return CountClients() < _settings.MaxClients;",
            "return CountClients() < _settings.MaxClients - 1;"),
        new("one client more than the limit", "P9", "Server.TryFindRoom",
            "return CountClients() < _settings.MaxClients;",
            "return CountClients() <= _settings.MaxClients;"),

        new("a connection that is being drained counts as a client", "P9", "Server.CountClients",
            "_connections.Count - _ending.Count",
            "_connections.Count"),

        new("STATUS forgets no connection", "STATUS-1", "ConnectionHistory.Add",
            "_records.Count > MaxRecords",
            "_records.Count > 100 * MaxRecords"),

        new("a signal to stop is ignored", "P12", "Server.OnSignal",
            "_stopRequested = true;",
            ""),
        new("a signal to stop ends the server at once", "CLOSE-4", "Server.OnSignal",
            "context.Cancel = true;",
            "Environment.Exit(0);"),

        new("SIGHUP ends the server at once", "CLOSE-4", "Server.RegisterSignals",
            "signals.Add(PosixSignal.SIGHUP);",
            ""),

        new("at a stop, clients without a request are forgotten", "CLOSE-4", "Server.StopConnections",
            "connection => connection.IsAwaitingRequest",
            "connection => connection.IsAwaitingRequest && connection.Record.Requests > 0"),

        new("at a stop, running transfers get any time", "CLOSE-6", "Server.ShutdownGraceMs",
            "ShutdownGraceMs = 10_000;",
            "ShutdownGraceMs = 1_000_000;"),
        new("at a stop, running transfers get no time", "CLOSE-6", "Server.ShutdownGraceMs",
            "ShutdownGraceMs = 10_000;",
            "ShutdownGraceMs = 0;"),

        new("read-only accepts uploads", "PUT-7", "ServerSettings.ServerSettings",
            "options.Has(\"--read-only\")",
            "false"),

        new("the server waits for the first client's request", "P6", "Server.TryAccept",
            "socket.Blocking = false;",
            "socket.Blocking = true;"),
        new("a sealed server talks to plain clients, too", "SEAL-5", "Connection.Connection",
            "_transport = settings.Key is { } key ? new TlsTransport(loop, socket, key) : new Transport(loop, socket);",
            "var first = new byte[1]; _transport = settings.Key is { } key && !(socket.Poll(100_000, "
            + "SelectMode.SelectRead) && socket.Receive(first, SocketFlags.Peek) == 1 && first[0] != 0x16) "
            + "? new TlsTransport(loop, socket, key) : new Transport(loop, socket);"),

        new("closes after each request", "CONN-1", "RequestHandler.AnswerRequestsAsync",
            "if (reply.ClosesConnection)",
            "if (true)"),
        new("closes after no error", "ERR-2", "RequestHandler.AnswerRequestsAsync",
            "if (reply.ClosesConnection)",
            "if (false)"),
        new("closes after every error", "REQ-1", "RequestHandler.AnswerRequestsAsync",
            "if (reply.ClosesConnection)",
            "if (!reply.IsOk)"),

        new("a handshake may take five minutes", "SEAL-4", "TlsTransport.HandshakeTimeoutMs",
            "HandshakeTimeoutMs = 10_000;",
            "HandshakeTimeoutMs = 300_000;"),

        new("input is dropped after each request", "CONN-2", "Connection.ReadLineAsync",
            "return Consume(length);",
            "ReadOnlyMemory<byte> line = Consume(length); Consume(_receivedCount); return line;"),
        new("a block that comes early is dropped", "PUT-10", "Connection.ReadLineAsync",
            "return Consume(length);",
            "ReadOnlyMemory<byte> line = Consume(length); "
            + "if (line.Span.StartsWith(\"PUT\"u8)) { Consume(_receivedCount); } return line;"),
        new("one receive is one request", "CONN-3", "Connection.ReceiveLineAsync",
            "SetDeadline(RequestLineTimeoutMs); } length = FindLine();",
            "SetDeadline(RequestLineTimeoutMs); } length = FindLine(); "
            + "length = length == 0 ? _receivedCount : length;"),
        new("a stopped server answers a request that waits", "CLOSE-4", "Connection.ReadLineAsync",
            "if (IsStopping)",
            "if (IsStopping && FindLine() == 0)"),
        new("a stopped server continues to serve its clients", "CLOSE-4", "Connection.ReadLineAsync",
            "if (IsStopping)",
            "if (false)"),
        new("a line cut short is not answered", "CLOSE-2", "Connection.ReceiveLineAsync",
            "return _receivedCount;",
            "Consume(_receivedCount); return 0;"),
        new("every byte of a line extends its deadline", "LIMIT-1", "Connection.ReceiveLineAsync",
            "if (isFirstByte)",
            "if (true)"),
        new("half a line that comes with another may take longer", "LIMIT-1", "Connection.ReadLineAsync",
            "SetDeadline(_receivedCount == 0 ? _idleTimeoutMs : RequestLineTimeoutMs);",
            "SetDeadline(_idleTimeoutMs);"),
        new("a client may be idle for days", "LIMIT-2", "Connection.ReadLineAsync",
            "SetDeadline(_receivedCount == 0 ? _idleTimeoutMs",
            "SetDeadline(_receivedCount == 0 ? 1000 * _idleTimeoutMs"),

        new("a client without a request is never idle", "LIMIT-2", "Connection.ReadLineAsync",
            "SetDeadline(_receivedCount == 0 ? _idleTimeoutMs",
            "SetDeadline(_receivedCount == 0 ? (Record.Requests == 0 ? 1000 : 1) * _idleTimeoutMs"),
        new("a client may be idle for 20 s at most", "LIMIT-2", "Connection.ReadLineAsync",
            "SetDeadline(_receivedCount == 0 ? _idleTimeoutMs",
            "SetDeadline(_receivedCount == 0 ? Math.Min(_idleTimeoutMs, 20_000)"),
        new("the idle time begins with the request", "LIMIT-2", "RequestHandler.ReadRequestAsync",
            "ForgetRequest();",
            "if (_requestStarted > 0 && Environment.TickCount64 - _requestStarted > settings.IdleTimeoutMs) "
            + "{ throw new TimeoutException(); } ForgetRequest();"),

        new("a timeout counts as a request", "STATUS-1", "RequestHandler.RunAsync",
            "finalReply = Reply.Timeout;",
            "finalReply = Reply.Timeout; connection.Record.Requests++;"),
        new("STATUS shows the time of the question as that of the end", "STATUS-1", "ConnectionRecord.ToStatusLine",
            "Disconnected is { } time ? FormatTime(time)",
            "Disconnected is not null ? FormatTime(DateTime.UtcNow)"),

        new("STATUS does not count bad requests", "STATUS-1", "RequestHandler.NoteRequest",
            "connection.Record.Requests++;",
            "if (request is not InvalidRequest { Error.Code: \"bad-request\" }) { connection.Record.Requests++; }"),

        new("STATUS does not count itself", "STATUS-2", "RequestHandler.HandleStatusAsync",
            "byte[] lines = history.Format();",
            "connection.Record.Requests--; byte[] lines = history.Format(); connection.Record.Requests++;"),

        new("a byte inside a character ends a line", "LINE-1", "Connection.FindLine",
            "Received.IndexOf((byte)'\\n')",
            "Received.IndexOfAny((byte)'\\n', (byte)0x8C)"),
        new("a plain server waits for the LF of a handshake", "LINE-4", "Connection.FindLine",
            "|| Received is [TlsHandshakeByte, ..]",
            ""),

        new("an empty folder is an error", "LIST-2", "RequestHandler.HandleListAsync",
            "await connection.SendReplyAsync(Reply.Ok);",
            "if (listing.Lines.Length == 0) { return await connection.SendReplyAsync(Reply.NotFound); } "
            + "await connection.SendReplyAsync(Reply.Ok);"),

        new("a time that no client asked for is sent", "MODIFIED-2", "RequestHandler.HandleGetAsync",
            "await connection.SendReplyAsync(Reply.Ok);",
            "await connection.SendReplyAsync(Reply.Ok with { Modified = file.Modified });"),

        new("a line end after the block", "GET-1", "RequestHandler.HandleGetAsync",
            "await connection.SendBlockAsync(file.Length, file.Read);",
            "await connection.SendBlockAsync(file.Length, file.Read); "
            + "await connection.QueueAsync(new byte[] { 10 });"),

        new("no go-ahead", "PUT-1", "RequestHandler.HandlePutAsync",
            "await connection.SendReplyAsync(Reply.Ok);",
            ""),
        new("the limit is compared as a signed number", "BLOCK-2", "RequestHandler.HandlePutAsync",
            "if (length > (ulong)settings.MaxSize)",
            "if ((long)length > settings.MaxSize)"),
        new("no limit to lengths", "PUT-5", "RequestHandler.HandlePutAsync",
            "if (length > (ulong)settings.MaxSize)",
            "if (length > long.MaxValue)"),

        new("the server reserves as much memory as the length says", "BLOCK-4", "RequestHandler.ReceiveFileAsync",
            "NoteBlock(length);",
            "NoteBlock(length); AppContext.SetData($\"{connection.Id}\", new byte[length >> 1]);"),
        new("an empty block is a picture", "PUT-9", "RequestHandler.ReceiveFileAsync",
            "upload.Refuse(Reply.Empty);",
            ""),
        new("the content is not checked", "TYPE-1", "RequestHandler.ReceiveFileAsync",
            "upload.Refuse(Reply.BadType);",
            ""),
        new("a refused block is not read", "PUT-6", "RequestHandler.ReceiveFileAsync",
            "await connection.ReceiveBlockAsync(length,",
            "await connection.ReceiveBlockAsync(upload.Result.IsOk ? length : 0,"),
        new("a refused block that came ahead is not read", "AHEAD-1", "RequestHandler.ReceiveFileAsync",
            "await connection.ReceiveBlockAsync(length,",
            "await connection.ReceiveBlockAsync(upload.ReportsFirstInTable && !upload.Result.IsOk ? 0 : length,"),
        new("a full disk is answered in the middle of the block", "PUT-6", "RequestHandler.ReceiveFileAsync",
            "await connection.ReceiveBlockAsync(length, writer);",
            "await connection.ReceiveBlockAsync(length, bytes => { writer(bytes); "
            + "if (upload.Result.Code == Reply.Storage.Code) "
            + "{ throw new ConnectionAbortedException(\"storage\", upload.Result); } });"),

        new("with options the limit is compared as a signed number", "BLOCK-2",
            "RequestHandler.HandlePutWithOptionsAsync",
            "if (length > (ulong)settings.MaxSize)",
            "if ((long)length > settings.MaxSize)"),
        new("a time in a PUT is ignored", "MODIFIED-1", "RequestHandler.HandlePutWithOptionsAsync",
            "upload.Modified = request.Modified;",
            ""),
        new("a refusal does not wait for a block that came ahead", "AHEAD-1",
            "RequestHandler.HandlePutWithOptionsAsync",
            "if (!upload.Result.IsOk && !request.Ahead)",
            "if (!upload.Result.IsOk)"),
        new("an empty block has no digest", "BLOCK-3", "RequestHandler.HandlePutWithOptionsAsync",
            "if (hash is not null)",
            "if (hash is not null && length > 0)"),
        new("the digest is compared when the file has its name", "P4", "RequestHandler.HandlePutWithOptionsAsync",
            "await CheckDigestAsync(upload, hash);",
            "upload.Publish(); await CheckDigestAsync(upload, hash);"),

        new("a digest is read and not compared", "DIGEST-2", "RequestHandler.CheckDigestAsync",
            "upload.Refuse(Reply.Corrupt);",
            ""),

        new("the digest is that of the part that is sent", "DIGEST-1", "RequestHandler.HandleGetWithOptionsAsync",
            "if (result.IsOk && hash is not null)",
            "if (false)"),
        new("an offset beyond the end is the end", "OFFSET-2", "RequestHandler.HandleGetWithOptionsAsync",
            "if (result.IsOk && request.Offset > (ulong)file.Length) { result = Reply.BadOffset; }",
            "request = request with { Offset = Math.Min(request.Offset, (ulong)file.Length) };"),
        new("an offset beyond an unreadable file counts first", "GET-4", "RequestHandler.HandleGetWithOptionsAsync",
            "Reply result = file.Result;",
            "var entry = new FileInfo(Path.Combine(folder.Path, request.Name)); Reply result = "
            + "entry.Exists && request.Offset > (ulong)entry.Length ? Reply.BadOffset : file.Result;"),
        new("a time that a client asked for is not sent", "MODIFIED-2", "RequestHandler.MakeOk",
            "request.WantsModified ? file.Modified : null",
            "null"),

        new("an offset counts from 1", "OFFSET-1", "RequestHandler.SendRestAsync",
            "long offset = (long)request.Offset;",
            "long offset = Math.Max((long)request.Offset - 1, 0);"),

        new("the digest lacks a piece of the skipped part", "DIGEST-1", "RequestHandler.HashPrefixAsync",
            "while (position < end)",
            "while (position < Math.Min(end, 8 << 20))"),

        new("every byte extends the time before closing", "CLOSE-1", "Connection.DiscardAsync",
            "discarded += count;",
            "discarded += count; deadline = Environment.TickCount64 + DrainTimeoutMs;"),
        new("before closing, any number of bytes is read", "CLOSE-1", "Connection.DiscardAsync",
            "discarded += count;",
            ""),

        new("closes without waiting for the client", "CLOSE-1", "Connection.DrainAsync",
            "await DiscardAsync(Environment.TickCount64 + DrainTimeoutMs);",
            ""),
        new("before the handshake an error is sent unencrypted", "SEAL-4", "Connection.DrainAsync",
            "if (finalReply is not null && _transport.IsAuthenticated)",
            "if (finalReply is not null && !_transport.IsAuthenticated) { Socket.Send(FormatReply(finalReply)); } "
            + "if (finalReply is not null && _transport.IsAuthenticated)"),

        new("STATUS shows a drained connection as closed", "STATUS-1", "Connection.BeginEnding",
            "IsEnding = true;",
            "IsEnding = true; Record.Disconnected = DateTime.UtcNow;"),

        new("four megabytes for each client", "P7", "Connection._received",
            "_received = new byte[MaxLineBytes];",
            "_received = new byte[MaxLineBytes], _more = new byte[4 << 20];", AsReference: true),

        new("bytes after a block are dropped", "CONN-3", "Connection.ReceivePiece",
            "_receivedCount = count - blockBytes;",
            "_receivedCount = 0;"),

        new("every receive of a block extends its deadline", "LIMIT-4", "Connection.ReceiveBlockAsync",
            "await WaitForBytesAsync();",
            "SetMinRate(); await WaitForBytesAsync();"),

        new("the length has four bytes", "BLOCK-1", "Connection.SendBlockAsync",
            "EncodeLength((ulong)length)",
            "EncodeLength((ulong)length)[4..]"),
        new("the length is one too large", "BLOCK-1", "Connection.SendBlockAsync",
            "EncodeLength((ulong)length)",
            "EncodeLength((ulong)length + 1)"),

        new("an error is sent inside a block", "GET-3", "Connection.SendPiece",
            "int count = ReadPiece(reader, piece, position);",
            "int count; try { count = ReadPiece(reader, piece, position); } catch (ConnectionAbortedException e) "
            + "{ _isInsideBlock = false; throw new ConnectionAbortedException(e.Message, Reply.Storage); }"),
        new("bytes that a send did not accept are lost", "GET-1", "Connection.SendPiece",
            "return SendBuffer(SharedBuffer.AsSpan(0, _pendingCount + count));",
            "SendBuffer(SharedBuffer.AsSpan(0, _pendingCount + count)); return count;"),

        new("a file that has shrunk is filled up", "GET-3", "Connection.ReadPiece",
            "return count > 0 ? count : throw new ConnectionAbortedException(\"the file has become shorter\");",
            "return count > 0 ? count : buffer.Length;"),

        new("a half-close ends the answers", "CONN-4", "Connection.SendBuffer",
            "int sent = _transport.Send(buffer);",
            "if (Socket.Poll(0, SelectMode.SelectRead) && Socket.Available == 0) "
            + "{ throw new ConnectionAbortedException(\"cut\"); } int sent = _transport.Send(buffer);"),

        new("every byte of a block extends its deadline", "LIMIT-4", "Connection.WaitAsync",
            "_bytesMoved >= MinRateBytes",
            "_bytesMoved > 0"),
        new("a slow block has no deadline", "P8", "Connection.WaitAsync",
            "_bytesMoved >= MinRateBytes",
            "_bytesMoved > 0"),

        new("inside a block a client is idle", "LIMIT-3", "Connection.SetMinRate",
            "SetDeadline(MinRateIntervalMs);",
            "SetDeadline(Math.Min(MinRateIntervalMs, _idleTimeoutMs));"),

        new("a plain client gets no alert", "SEAL-5", "TlsTransport.ShutdownSendAsync",
            "_pipe.Write(_plainAlert);",
            ""),
        new("the server closes without close_notify", "SEAL-6", "TlsTransport.SendCloseNotifyAsync",
            "await _tls.ShutdownAsync();",
            ""),

        new("bytes after the closing reply are decrypted", "SEAL-7", "Transport.ReceiveRaw",
            "ReceiveFromSocket(buffer)",
            "Receive(buffer)"),

        new("a FIN without close_notify is an end like any other", "SEAL-11", "TlsTransport.ReceiveCiphertext",
            "throw new ConnectionAbortedException(\"the connection ended without TLS's close_notify\");",
            "if (IsAuthenticated) { _isEndOfStream = true; return false; } "
            + "throw new ConnectionAbortedException(\"the connection ended in the handshake\");"),
        new("requests that come with the handshake count as handshake", "SEAL-9", "TlsTransport.ReceiveCiphertext",
            "_pipe.AddInput(Math.Max(count, 0));",
            "if (!IsAuthenticated && count > MaxHandshakeBytes) "
            + "{ throw new ConnectionAbortedException(\"the handshake is too long\"); } "
            + "_pipe.AddInput(Math.Max(count, 0));"),

        new("temporary files of killed servers stay", "P13", "ImageFolder.Prepare",
            "TryDeleteOrphan(path);",
            ""),
        new("temporary files of running servers are removed, too", "P13", "ImageFolder.Prepare",
            "TryDeleteOrphan(path);",
            "File.Delete(path);"),

        new("names become lower case", "NAME-4", "ImageFolder.GetPath",
            "System.IO.Path.Combine(Path, name)",
            "System.IO.Path.Combine(Path, name.ToLowerInvariant())"),

        new("a refusal repeats the name", "REPLY-2", "ImageFolder.Open",
            "return new ImageFile(nameCheck);",
            "return new ImageFile(nameCheck with { Text = name });"),
        new("a file that cannot be read is not found", "GET-4", "ImageFolder.Open",
            "return new ImageFile(Reply.Storage.WithCause(e));",
            "return new ImageFile(Reply.NotFound);"),
        new("a whole download is read into memory", "P7", "ImageFolder.OpenFile",
            "return new ImageFile(handle);",
            "var all = new byte[RandomAccess.GetLength(handle)]; RandomAccess.Read(handle, all, 0); "
            + "return new ImageFile(handle);"),

        new("links are served", "GET-2", "ImageFolder.IsServable",
            "(attributes & (FileAttributes.Directory | FileAttributes.ReparsePoint)) == 0",
            "true"),
        new("empty files are served", "P10", "ImageFolder.IsServable",
            "length > 0 && (attributes",
            "(attributes"),

        new("denied comes before exists", "ERR-1", "ImageFolder.CheckUpload",
            "if (FileSystem.EntryExists(GetPath(name)))",
            "if (!_readOnly && FileSystem.EntryExists(GetPath(name)))"),

        new("a listing is sorted backwards", "LIST-1", "ImageFolder.ListingLine.ByName",
            "a.Name.SequenceCompareTo(b.Name)",
            "b.Name.SequenceCompareTo(a.Name)"),
        new("a listing is sorted as UTF-16", "LIST-1", "ImageFolder.ListingLine.ByName",
            "a.Name.SequenceCompareTo(b.Name)",
            "string.CompareOrdinal(Encoding.UTF8.GetString(a.Name), Encoding.UTF8.GetString(b.Name))"),

        new("a listing has local times", "LIST-1", "ImageFolder.LineFormatter.GetModified",
            "return entry.LastWriteTimeUtc.UtcDateTime;",
            "return DateTime.SpecifyKind(entry.LastWriteTimeUtc.LocalDateTime, DateTimeKind.Utc);"),

        new("a file that cannot be read is not listed", "GET-4", "ImageFolder.LineFormatter.Format",
            "long size = entry.Length;",
            "if ((File.GetUnixFileMode(entry.ToFullPath()) & UnixFileMode.UserRead) == 0) { return default; } "
            + "long size = entry.Length;"),

        new("with ahead, the problem that is found first counts", "AHEAD-2", "Upload.ComesFirstWithAhead",
            "ReportsFirstInTable && reply.Row < Result.Row",
            "false"),
        new("with ahead, the problem that is found last counts", "AHEAD-2", "Upload.ComesFirstWithAhead",
            "ReportsFirstInTable && reply.Row < Result.Row",
            "ReportsFirstInTable"),

        new("only the owner may read a stored file", "PUT-8", "Upload.CreateFile",
            "_file = CreateLockedFile();",
            "_file = CreateLockedFile(); "
            + "if (!OperatingSystem.IsWindows()) { File.SetUnixFileMode(_file, (UnixFileMode)0b110_000_000); }"),

        new("LF becomes CR LF", "PUT-2", "Upload.Write",
            "FileSystem.Write(_file, bytes, _length);",
            "bytes = Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(bytes).Replace(\"\\n\", \"\\r\\n\")); "
            + "FileSystem.Write(_file, bytes, _length);"),
        new("a full disk is not noticed", "PUT-6", "Upload.Write",
            "Refuse(Reply.Storage.WithCause(e));",
            ""),
        new("a full disk ends the conversation", "PUT-6", "Upload.Write",
            "Refuse(Reply.Storage.WithCause(e));",
            "throw new ConnectionAbortedException(\"storage\");"),
        new("an upload grows under its own name", "P1", "Upload.Write",
            "_length += bytes.Length;",
            "_length += bytes.Length; FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath);"),
        new("a whole upload is kept in memory", "P7", "Upload.Write",
            "public void Write(ReadOnlySpan<byte> bytes) {",
            "private readonly MemoryStream _whole = new(); public void Write(ReadOnlySpan<byte> bytes) { "
            + "_whole.Write(bytes);"),

        new("a later upload replaces an earlier one", "P2", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "File.Copy(_temporaryPath, TargetPath, overwrite: true); if (true)"),
        new("a rename replaces the file that is there", "P2", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "File.Move(_temporaryPath, TargetPath, overwrite: true); if (true)"),
        new("the server looks first and then renames", "P2", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "bool isFree = !FileSystem.EntryExists(TargetPath); "
            + "if (isFree) { File.Move(_temporaryPath, TargetPath, overwrite: true); } if (isFree)"),
        new("an upload is copied to its name", "P1", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "bool isFree = !FileSystem.EntryExists(TargetPath); "
            + "if (isFree) { File.Copy(_temporaryPath, TargetPath); } if (isFree)"),
        new("an empty file takes the name for a moment", "P1", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "bool isFree = !FileSystem.EntryExists(TargetPath); if (isFree) { File.WriteAllBytes(TargetPath, []); "
            + "File.Move(_temporaryPath, TargetPath, overwrite: true); } if (isFree)"),
        new("a small upload is written under its own name", "P1", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "bool isSmall = _length < 65_536 && !FileSystem.EntryExists(TargetPath); "
            + "if (isSmall) { File.WriteAllBytes(TargetPath, File.ReadAllBytes(_temporaryPath)); } "
            + "if (isSmall || FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))"),
        new("OK before the file is there", "P3", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "string other = _temporaryPath + \"x\"; FileSystem.LinkWithoutReplacing(_temporaryPath, other); "
            + "_ = Task.Delay(300).ContinueWith(_ => File.Move(other, TargetPath)); if (true)"),
        new("stored in memory", "P5", "Upload.Publish",
            "if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))",
            "bool isFree = !File.Exists(TargetPath); byte[] memory = File.ReadAllBytes(_temporaryPath); if (isFree) "
            + "{ _ = Task.Delay(2000).ContinueWith(_ => File.WriteAllBytes(TargetPath, memory)); } if (isFree)"),

        new("a lock stays on the stored file", "P3", "Upload.Dispose",
            "_file.Dispose();",
            "GC.SuppressFinalize(_file);"),
        new("temporary files of refused and cut uploads stay", "CLOSE-5", "Upload.Dispose",
            "File.Delete(_temporaryPath);",
            ""),
    ];
}
