// The ImageTransfer server: one thread serves a folder of pictures to many clients.
//
// Read Client.cs first; lessons 1 to 4 and the definitions that both programs share are there. This file goes on:
//
//     Lesson 5   EventLoop              select: which sockets are ready, and which conversations are late
//     Lesson 6   Connection             a non-blocking socket: read a line, read exactly n bytes, send all bytes
//     Lesson 7   ImageFolder, Upload    a file appears complete or not at all, and is never replaced
//     Lesson 8   RequestHandler         LIST, GET and PUT, one method each
//     Lesson 9   Server                 accept clients, limit their number, stop; it ties the other classes together
//
// After lesson 9 you have read a whole server. The appendices that follow make it fair and fast for thousands of
// clients and large folders, and add the optional features of the protocol. TLS comes last.
//
// Client.cs says at its top how the two programs report problems.

using System;
using System.Buffers;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.Enumeration;
using System.Linq;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Security;
using System.Net.Sockets;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using static ImageTransfer.CommandText;
using static ImageTransfer.Protocol;

namespace ImageTransfer;

// =====================================================================================================================
// Lesson 5: the event loop
//
// What it teaches: how one thread talks to many clients. A blocking server waits for one client while the others wait
// for it. This one asks the kernel which sockets are ready, and lets each of those conversations go on until it would
// have to wait. `select` is the only call in this program that waits for a client.
//
// A conversation is an async method. `await` does not block the thread. If what it awaits is complete already, it just
// goes on. Otherwise it leaves the method, and the event loop resumes the method at this point later:
//
//     a conversation                            the event loop (RunOnce, again and again)
//
//     await loop.WhenReadableAsync(socket) ──►  remembers the wait: which socket, ready for what, until when
//          (suspended)                          asks the kernel about the sockets of all waits: select
//     goes on after its await              ◄──  completes the wait of a socket that is ready
//     reads, answers, reads again …
//     await loop.WhenReadableAsync(socket) ──►  control is back in the loop, which resumes the next conversation
//
// It is the same idea as Python's asyncio: RunOnce is the loop, a conversation is a coroutine, a Task is a future.
// Where is the timer? It is here, too: every wait has a deadline, `select` sleeps no longer than until the nearest
// one, and a wait that is late ends with a TimeoutException at its await. No client has a timer of its own.
//
// Protocol.md: P6 (no client delays another), P8 (deadlines).
//
// Unlike in asyncio, completing a wait does not put its conversation into a queue: SetResult and SetException call it,
// here and now, and return when the conversation awaits again or has ended.
//
// Left open here for the appendices. In the core:
//     SelectPollSet               returns all waits
//     LongestWaitMs               is 250 ms, an upper limit; Poll takes the nearest deadline into account
//     InFairOrder                 returns the waits as they come; HasTimeFor is true, and HasWaitedForOthers is false
//     BeginSlice, EndSlice        do nothing, and so does NoteWait
//
// See it:  make test STAGE=1                   many connections at once, in any order
//
// You can stop here: the loop knows nothing of pictures or of our protocol, and you could write another server with it.
// =====================================================================================================================

/// <summary>Runs any number of conversations on one thread.</summary>
/// <remarks>Because all of them run on the thread that calls <see cref="RunOnce"/>, there is nothing to lock.</remarks>
internal sealed partial class EventLoop
{
    /// <summary>A deadline that never comes.</summary>
    public const long Never = long.MaxValue;

    /// <summary>The longest time that the loop sleeps. A signal to stop is noticed after this time at the
    /// latest.</summary>
    private const int MaxSelectTimeoutMs = 250;

    private readonly int _threadId = Environment.CurrentManagedThreadId;
    private readonly Dictionary<object, Wait> _waits = [];
    private readonly List<Socket> _readable = [];
    private readonly List<Socket> _writable = [];
    private readonly List<Wait> _ready = [];

    private enum WaitReason
    {
        Readable,
        Writable,
        NextIteration,

        /// <summary>Another conversation has to finish something first, such as a listing.</summary>
        Signal,
    }

    /// <summary>One suspended conversation.</summary>
    /// <param name="owner">Who waits: a socket, or any other object for a conversation that has none.</param>
    /// <param name="reason">What it waits for.</param>
    /// <param name="deadline">Until when, in milliseconds of <see cref="Environment.TickCount64"/>.</param>
    private sealed partial class Wait(object owner, WaitReason reason, long deadline)
    {
        public object Owner { get; } = owner;

        public WaitReason Reason { get; set; } = reason;

        public long Deadline { get; } = deadline;

        /// <summary>Its task is what the conversation awaits. Completing it runs the conversation, here and
        /// now.</summary>
        public TaskCompletionSource Completion { get; } = new();
    }

    /// <summary>Completes when the socket has bytes to read, or when the peer has closed the connection.</summary>
    /// <param name="socket">A non-blocking socket. It can have one wait at a time.</param>
    /// <param name="deadline">When to give up, in milliseconds of <see cref="Environment.TickCount64"/>.</param>
    /// <exception cref="TimeoutException">The deadline has passed.</exception>
    public Task WhenReadableAsync(Socket socket, long deadline) => AddWait(socket, WaitReason.Readable, deadline);

    /// <summary>Completes when the kernel has room for more bytes to send.</summary>
    /// <inheritdoc cref="WhenReadableAsync"/>
    public Task WhenWritableAsync(Socket socket, long deadline) => AddWait(socket, WaitReason.Writable, deadline);

    /// <summary>Completes in the next iteration, after the other conversations have had their share of this
    /// one.</summary>
    /// <param name="owner">The socket of the conversation, or another object that stands for it.</param>
    public Task NextIterationAsync(object owner) => AddWait(owner, WaitReason.NextIteration, Never);

    /// <summary>Ends a conversation from outside: its await throws this exception.</summary>
    public void Abort(object owner, Exception reason)
    {
        if (_waits.Remove(owner, out Wait? wait))
        {
            wait.Completion.SetException(reason);
        }
    }

    /// <summary>One iteration: waits until a socket is ready or a deadline has passed, resumes the conversations that
    /// are ready, and ends those that are late.</summary>
    /// <param name="maxWaitMs">The longest time to sleep. With 0 it only handles what is ready already; the appendix
    /// about capacity does that.</param>
    public void RunOnce(int maxWaitMs = MaxSelectTimeoutMs)
    {
        List<Wait> polled = SelectPollSet(isFullScan: maxWaitMs == 0);
        long beforeSelect = Environment.TickCount64;
        Poll(polled, beforeSelect, Math.Min(maxWaitMs, LongestWaitMs(polled)));
        ResumeReady();
        EndOverdue(polled, beforeSelect);
    }

    private Task AddWait(object owner, WaitReason reason, long deadline)
    {
        if (Environment.CurrentManagedThreadId != _threadId)
        {
            throw new InvalidOperationException("a conversation has left the thread of the event loop");
        }

        // The time may have passed while the server was doing something else.
        if (deadline <= Environment.TickCount64)
        {
            return Task.FromException(new TimeoutException("the deadline has passed"));
        }

        var wait = new Wait(owner, reason, deadline);
        _waits.Add(owner, wait);
        NoteWait(wait);
        return wait.Completion.Task;
    }

    // Asks the kernel which of these sockets are ready, and collects their waits in _ready.
    private void Poll(List<Wait> waits, long now, int maxWaitMs)
    {
        long timeout = maxWaitMs;
        _readable.Clear();
        _writable.Clear();
        _ready.Clear();
        foreach (Wait wait in waits)
        {
            timeout = Math.Min(timeout, Math.Max(wait.Deadline - now, 0));
            switch (wait.Reason)
            {
                case WaitReason.Readable:
                    _readable.Add((Socket)wait.Owner);
                    break;
                case WaitReason.Writable:
                    _writable.Add((Socket)wait.Owner);
                    break;
                case WaitReason.NextIteration:
                    _ready.Add(wait);
                    timeout = 0;
                    break;
                case WaitReason.Signal:
                    // Nothing to ask the kernel: the other conversation completes this wait.
                    break;
            }
        }

        Select((int)timeout);
    }

    private void Select(int timeoutMs)
    {
        if (_readable.Count + _writable.Count == 0)
        {
            // Socket.Select does not accept empty lists.
            Thread.Sleep(timeoutMs);
            return;
        }

        // Socket.Select removes from the lists the sockets that are not ready.
        Socket.Select(_readable, _writable, null, microSeconds: timeoutMs * 1000);
        foreach (Socket socket in _readable.Concat(_writable))
        {
            _ready.Add(_waits[socket]);
        }
    }

    private void ResumeReady()
    {
        foreach (Wait wait in InFairOrder(_ready))
        {
            // What does not fit into the time of this iteration stays ready, and goes on in the next one.
            if (HasTimeFor(wait) && IsStillWaiting(wait))
            {
                Resume(wait);
            }
        }
    }

    private void Resume(Wait wait)
    {
        BeginSlice();

        // Before the conversation goes on: its next await adds a wait for the same socket.
        _waits.Remove(wait.Owner);

        // This runs the conversation until its next await.
        wait.Completion.SetResult();
        EndSlice(wait);
    }

    // Ends the waits that were late before select was called, and that select has not found ready. A wait that has
    // become late since then ends in the next iteration: its bytes may have arrived while other conversations were
    // running.
    private void EndOverdue(List<Wait> polled, long beforeSelect)
    {
        foreach (Wait wait in polled)
        {
            // A conversation that is ready, but has not had its turn yet, is not late. The server made it wait, not its
            // client.
            if (wait.Deadline <= beforeSelect && !HasWaitedForOthers(wait) && IsStillWaiting(wait))
            {
                _waits.Remove(wait.Owner);
                wait.Completion.SetException(new TimeoutException("the deadline has passed"));
            }
        }
    }

    // False if the wait has ended since select was called: it was resumed, or another conversation has aborted it.
    private bool IsStillWaiting(Wait wait) => _waits.TryGetValue(wait.Owner, out Wait? current) && current == wait;
}

// =====================================================================================================================
// Lesson 6: one connection
//
// What it teaches: buffered input and output on a non-blocking socket. TCP carries a stream of bytes. One receive may
// bring half a line, or three lines and the beginning of a block, and one send may accept 3,000 of 65,536 bytes. The
// class hides that: its callers read whole lines and send whole replies.
//
// What happens when half a line arrives, and then nothing:
//
//     "GET|ca" arrives        ReadLineAsync finds no LF, keeps the 6 bytes, and awaits more until a deadline:
//                             10 s after the first byte
//     "t.png\n" arrives       ReadLineAsync finds the LF, returns the line, and keeps what came after it
//     nothing arrives         the event loop ends the wait with a TimeoutException; RequestHandler.RunAsync catches
//                             it, sends ER|timeout, and closes the connection
//
// Words and fields of this lesson:
//
//     FIN                     what a side sends to say "I will send no more". The other side then receives 0 bytes, and
//                             can still send
//     reset                   the end of the connection at once; what the other side has not read yet may be lost. The
//                             kernel sends one when a socket is closed that has unread bytes
//     a connection is ending  its last reply is decided, or it gets none: only its end is left
//     to drain a connection   one way to end it: send the last reply, then a FIN; then read and drop what the client
//                             still sends, for at most 2 s and 1 MiB; then close. A socket that is closed at once may
//                             send a reset, which can destroy the reply
//     _received               bytes that have arrived and are not used yet; at most 1,024, the longest line. These
//                             may be several short lines
//     _pending                replies that are not sent yet; they go out together, before the next wait for the client
//     SharedBuffer            a piece of a block, on its way between a file and a socket
//     CannotReply             a part of a message is not sent yet, so an error line would be taken for the rest of it
//     minimum rate            the deadline of blocks and replies: in each 20 s, at least 80 KiB have to move (LIMIT-3)
//
// The file is the send buffer of a block. If the kernel accepts 3,000 of 65,536 bytes, the position in the file moves
// on by 3,000, and the next piece is read from there. We try again at once, and wait only if the kernel accepts
// nothing.
//
// Left open here for the appendices. In the core:
//     IsSliceOver                 is false; if it is true, this conversation has used its share of the time, and yields
//     HasUnsentBytes              is false: only TLS keeps bytes back
//     Forget                      tells the loop that the socket is closed, so that nothing waits for it
//     Record, Trace               count and print, and change nothing
//
// Protocol.md: CONN-2 to CONN-4 (pipelining, a stream has no messages), LINE-1, LINE-2 (lines), BLOCK-1, BLOCK-2
// (blocks), LIMIT-1 to LIMIT-4 (deadlines), CLOSE-1 (closing without losing the last reply), P7 (memory).
//
// See it:  imagetransfer server --trace        prints every line and block of every connection
//
// You can stop here: the next lesson is about files.
// =====================================================================================================================

/// <summary>Ends one connection. It is thrown out of an await of that connection's conversation.</summary>
/// <param name="reason">For the log.</param>
/// <param name="finalReply">The reply to send before the connection is closed, or null to close it without one.</param>
internal sealed class ConnectionAbortedException(string reason, Reply? finalReply = null) : Exception(reason)
{
    public Reply? FinalReply { get; } = finalReply;
}

/// <summary>Receives part of a block. The bytes are valid only during the call.</summary>
internal delegate void BlockWriter(ReadOnlySpan<byte> bytes);

/// <summary>Copies the bytes of a block from this position on into a buffer, as many as fit.</summary>
/// <returns>The number of bytes; 0 if the source has become too short.</returns>
internal delegate int BlockReader(Span<byte> buffer, long position);

/// <summary>How many connections of this server are ending at the moment.</summary>
internal sealed class EndingConnections
{
    /// <summary>Further connections are closed without draining (CLOSE-1).</summary>
    public const int Max = 256;

    public int Count { get; set; }

    public bool IsFull => Count >= Max;
}

/// <summary>One client: reads and sends lines and blocks, with the deadlines of Protocol.md.</summary>
internal sealed partial class Connection : IDisposable
{
    private const int RequestLineTimeoutMs = 10_000;
    private const int MinRateIntervalMs = 20_000;
    private const int MinRateBytes = 80 * 1024;
    private const int DrainTimeoutMs = 2_000;
    private const int MaxDrainBytes = 1024 * 1024;
    private const int SharedBufferSize = 1024 * 1024;

    /// <summary>One buffer for all connections: memory does not grow with their number (P7). Only synchronous code may
    /// use it. During an await, another connection overwrites it.</summary>
    public static readonly byte[] SharedBuffer = new byte[SharedBufferSize];

    private readonly EventLoop _loop;
    private readonly Transport _transport;
    private readonly long _idleTimeoutMs;        // 300 s, unless the command line says something else
    private readonly EndingConnections _ending;

    // Received and not yet used. When it is full, we stop receiving; the rest waits in the kernel's buffer, and when
    // that is full, too, the client has to wait.
    private readonly byte[] _received = new byte[MaxLineBytes];
    private int _receivedStart;
    private int _receivedCount;

    // Replies that are not sent yet. They go out together before the next wait for the client, which saves system
    // calls.
    private readonly byte[] _pending = new byte[MaxLineBytes];
    private int _pendingCount;

    // Until when the present wait may last, in milliseconds of Environment.TickCount64.
    private long _deadline;

    // Whether the deadline is the end of an interval of the minimum rate, and how many bytes have moved in this
    // interval, in both directions. An interval begins when a request line was read, when a reply has to be sent, and
    // when the interval before it is over.
    private bool _isMinRate;
    private long _bytesMoved;

    // Whether the interval is over, and the caller has been asked to try once more to move bytes.
    private bool _isIntervalOver;

    // Whether the length of a block is sent, and not yet all of its bytes.
    private bool _isInsideBlock;

    // Whether a reply may have been sent in part.
    private bool _isInsideReply;

    public Connection(EventLoop loop, Socket socket, int id, ServerSettings settings, Log log,
        EndingConnections ending)
    {
        _loop = loop;
        _ending = ending;
        _idleTimeoutMs = settings.IdleTimeoutMs;
        Socket = socket;
        Id = id;
        Trace = new TraceWriter(settings.Trace ? log : null, id);
        Record = new ConnectionRecord(socket);
        _transport = settings.Key is { } key ? new TlsTransport(loop, socket, key) : new Transport(loop, socket);
    }

    public Socket Socket { get; }

    /// <summary>The number of this connection in the log, counted from 1.</summary>
    public int Id { get; }

    /// <summary>What STATUS shows of this connection (an optional feature).</summary>
    public ConnectionRecord Record { get; }

    public TraceWriter Trace { get; }

    /// <summary>Whether the connection waits for a request: idle, in the middle of a request line, or before that, in
    /// its TLS handshake.</summary>
    public bool IsAwaitingRequest { get; private set; }

    /// <summary>Whether only the end of the connection is left: its last reply is decided, or it gets none.</summary>
    public bool IsEnding { get; private set; }

    /// <summary>Whether this connection may be drained. It has to be closed at once if too many are ending
    /// already.</summary>
    public bool MayDrain { get; private set; }

    /// <summary>Whether the server is stopping, so that no further request is answered.</summary>
    public bool IsStopping { get; private set; }

    private ReadOnlySpan<byte> Received => _received.AsSpan(_receivedStart, _receivedCount);

    private bool CannotReply => _isInsideBlock || _isInsideReply;

    // ---- receiving ----

    /// <summary>Lets the client prove that it has the key, if the server has one.</summary>
    /// <exception cref="ConnectionAbortedException">The client has another key, or none.</exception>
    public async Task HandshakeAsync()
    {
        IsAwaitingRequest = true;
        await _transport.HandshakeAsync();
        IsAwaitingRequest = false;
    }

    /// <summary>Reads a request line, with its LF.</summary>
    /// <returns>Empty: the client has ended its sending between two requests. With an LF at its end: a request line.
    /// Anything else is not a request: it is too long, or TLS, or cut off by the end of the stream. The bytes are valid
    /// until the next read.</returns>
    /// <exception cref="TimeoutException">The client was idle for too long, or the line took longer than 10 s, or the
    /// client did not read the replies before it.</exception>
    /// <exception cref="ConnectionAbortedException">The client has reset the connection, or the server is stopping.
    /// </exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReadLineAsync()
    {
        if (FindLine() == 0)
        {
            // The client may be waiting for our replies before it sends more. WaitForBytesAsync would send them, too,
            // but then under the deadline of an idle client, 300 s. So they are sent now.
            await FlushAsync();
        }

        if (IsStopping)
        {
            throw new ConnectionAbortedException(Reply.Stopping.Code, Reply.Stopping);
        }

        IsAwaitingRequest = true;
        SetDeadline(_receivedCount == 0 ? _idleTimeoutMs : RequestLineTimeoutMs);
        int length = await ReceiveLineAsync();
        IsAwaitingRequest = false;

        // From here on, the deadline is that of the answer.
        SetMinRate();
        return Consume(length);
    }

    /// <summary>Reads exactly this many bytes, at most <see cref="MaxLineBytes"/>.</summary>
    /// <exception cref="ConnectionAbortedException">The client has ended its sending before.</exception>
    public async ValueTask<byte[]> ReadExactlyAsync(int count)
    {
        byte[] bytes = await PeekAsync(count);
        Consume(count);
        return bytes;
    }

    /// <summary>Like <see cref="ReadExactlyAsync"/>, but the bytes stay there to be read again.</summary>
    public async ValueTask<byte[]> PeekAsync(int count)
    {
        while (_receivedCount < count)
        {
            if (!await ReceiveMoreAsync())
            {
                throw await FlushAndMakeExceptionAsync();
            }
        }

        return Received[..count].ToArray();
    }

    /// <summary>Receives the bytes of a block in pieces of any size, and hands each piece to the writer.</summary>
    /// <exception cref="ConnectionAbortedException">The client has ended its sending before the end of the block.
    /// </exception>
    /// <exception cref="TimeoutException">The client is too slow (LIMIT-3).</exception>
    public async ValueTask ReceiveBlockAsync(long length, BlockWriter writer)
    {
        long remaining = length;
        while (remaining > 0)
        {
            int count = ReceivePiece(remaining, writer);
            if (count == Transport.WouldBlock)
            {
                await WaitForBytesAsync();
            }
            else if (count == 0)
            {
                throw await FlushAndMakeExceptionAsync();
            }

            remaining -= Math.Max(count, 0);
            await YieldIfSliceIsOverAsync();
        }
    }

    // Returns the number of bytes that it has handed to the writer, 0 if the client has ended its sending, or
    // WouldBlock.
    private int ReceivePiece(long maxBytes, BlockWriter writer)
    {
        if (_receivedCount > 0)
        {
            int available = (int)Math.Min(_receivedCount, maxBytes);
            writer(Consume(available).Span);
            return available;
        }

        // _received is empty here. If 100 bytes of the block are left, ask for 100 + 1,024, since the next request
        // may have arrived with them. The first 100 go to the writer, and the rest, at most 1,024, into _received.
        // (If so much of the block is left that it fills the buffer, there is no such rest.)
        int wanted = (int)Math.Min(maxBytes + MaxLineBytes, SharedBuffer.Length);
        int count = Receive(SharedBuffer.AsSpan(0, wanted));
        if (count <= 0)
        {
            return count;
        }

        int blockBytes = (int)Math.Min(count, maxBytes);
        SharedBuffer.AsSpan(blockBytes, count - blockBytes).CopyTo(_received);
        _receivedStart = 0;
        _receivedCount = count - blockBytes;
        writer(SharedBuffer.AsSpan(0, blockBytes));
        return blockBytes;
    }

    // Receives until the line is complete, and returns its length. If the client ends its sending before, this is the
    // number of bytes that have arrived: 0 if it has ended between two requests.
    private async ValueTask<int> ReceiveLineAsync()
    {
        int length = FindLine();
        while (length == 0)
        {
            bool isFirstByte = _receivedCount == 0;
            if (!await ReceiveMoreAsync())
            {
                return _receivedCount;
            }

            if (isFirstByte)
            {
                // The first byte starts the clock for the whole line. One more byte every nine seconds does not
                // extend it.
                SetDeadline(RequestLineTimeoutMs);
            }

            length = FindLine();
        }

        return length;
    }

    // The length of the request line at the beginning of what was received, with its LF, or 0 if its end has not
    // arrived.
    private int FindLine()
    {
        int newline = Received.IndexOf((byte)'\n');
        if (newline >= 0)
        {
            return newline + 1;
        }

        // A line that is too long is answered at once, and so is TLS: waiting for an LF could have no end.
        bool isHopeless = _receivedCount == MaxLineBytes || Received is [TlsHandshakeByte, ..];
        return isHopeless ? _receivedCount : 0;
    }

    private ReadOnlyMemory<byte> Consume(int count)
    {
        ReadOnlyMemory<byte> bytes = _received.AsMemory(_receivedStart, count);
        _receivedStart += count;
        _receivedCount -= count;
        return bytes;
    }

    // Adds at least one byte to what was received. Returns false if the client has ended its sending.
    private async ValueTask<bool> ReceiveMoreAsync()
    {
        int count = ReceiveIntoBuffer();
        while (count == Transport.WouldBlock)
        {
            await WaitForBytesAsync();
            count = ReceiveIntoBuffer();
        }

        return count > 0;
    }

    // There is room: a full buffer without an LF counts as a line that is too long.
    private int ReceiveIntoBuffer()
    {
        // Move what is left to the front, once per receive and not once per line.
        Received.CopyTo(_received);
        _receivedStart = 0;
        int count = Receive(_received.AsSpan(_receivedCount));
        _receivedCount += Math.Max(count, 0);
        return count;
    }

    private int Receive(Span<byte> buffer)
    {
        int count = _transport.Receive(buffer);
        if (count == 0)
        {
            Trace.Client("<fin>");
        }

        _bytesMoved += Math.Max(count, 0);
        Record.Received += Math.Max(count, 0);
        return count;
    }

    // The replies to earlier requests are still due (CONN-4), and this one gets none (CLOSE-5).
    private async ValueTask<ConnectionAbortedException> FlushAndMakeExceptionAsync()
    {
        await FlushAsync();
        return new ConnectionAbortedException("the client closed the connection inside a block");
    }

    // ---- sending ----

    /// <summary>Sends a reply line, at the latest before the next wait for the client.</summary>
    /// <returns>The same reply, so that a request handler can end with it.</returns>
    public async ValueTask<Reply> SendReplyAsync(Reply reply)
    {
        byte[] line = FormatReply(reply);
        Trace.ServerLine(line);
        await QueueAsync(line);
        return reply;
    }

    /// <summary>Adds a few bytes to the pending replies, such as the length of a block; at most <see
    /// cref="MaxLineBytes"/>. They are sent at the latest before the next wait for the client.</summary>
    public async ValueTask QueueAsync(ReadOnlyMemory<byte> bytes)
    {
        if (_pendingCount + bytes.Length > _pending.Length)
        {
            await FlushAsync();
        }

        if (_pendingCount == 0)
        {
            SetMinRate();
        }

        bytes.CopyTo(_pending.AsMemory(_pendingCount));
        _pendingCount += bytes.Length;
    }

    /// <summary>Sends a block: its length, and then its bytes.</summary>
    /// <param name="length">The number of bytes. Once it is sent, exactly so many have to follow.</param>
    /// <param name="reader">Where the bytes come from.</param>
    /// <exception cref="ConnectionAbortedException">The client has reset the connection, or the bytes cannot be read.
    /// There is no final reply: the client would take it for a part of the block (GET-3).</exception>
    /// <exception cref="TimeoutException">The client takes too little in time (LIMIT-4).</exception>
    public async ValueTask SendBlockAsync(long length, BlockReader reader)
    {
        // From the length on, an error line would be taken for a part of the block.
        _isInsideBlock = true;
        Trace.Server($"<u64:{length}>");
        await QueueAsync(EncodeLength((ulong)length));
        long position = 0;
        while (position < length)
        {
            int count = SendPiece(position, length, reader);
            position += count;
            if (count == 0)
            {
                // The kernel has accepted nothing of the block, but perhaps replies before it.
                await WaitForRoomAsync();
            }

            await YieldIfSliceIsOverAsync();
        }

        _isInsideBlock = false;
    }

    /// <summary>Waits until all replies are in the kernel's buffer.</summary>
    /// <exception cref="TimeoutException">The client takes too little in time (LIMIT-4).</exception>
    public async ValueTask FlushAsync()
    {
        while (_pendingCount > 0 || _transport.HasUnsentBytes)
        {
            SendBuffer(_pending.AsSpan(0, _pendingCount));
            if (_pendingCount > 0 || _transport.HasUnsentBytes)
            {
                await WaitForRoomAsync();
            }
        }
    }

    // Sends the pending replies and the next piece of a block in one system call. Returns how many bytes of the block
    // the kernel has accepted. It may accept 3,000 of 65,536. What it did not accept is read again next time: that is
    // cheaper than a buffer for each client.
    private int SendPiece(long position, long length, BlockReader reader)
    {
        _pending.AsSpan(0, _pendingCount).CopyTo(SharedBuffer);
        int room = Math.Min(SharedBuffer.Length, _transport.MaxBytesPerSend) - _pendingCount;
        Span<byte> piece = SharedBuffer.AsSpan(_pendingCount, (int)Math.Min(room, length - position));
        int count = ReadPiece(reader, piece, position);
        return SendBuffer(SharedBuffer.AsSpan(0, _pendingCount + count));
    }

    private static int ReadPiece(BlockReader reader, Span<byte> buffer, long position)
    {
        int count;
        try
        {
            count = reader(buffer, position);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new ConnectionAbortedException($"the file cannot be read: {Escape(e.Message)}");
        }

        return count > 0 ? count : throw new ConnectionAbortedException("the file has become shorter");
    }

    // The buffer begins with the pending replies. Returns how many bytes after these were sent.
    private int SendBuffer(ReadOnlySpan<byte> buffer)
    {
        int sent = _transport.Send(buffer);
        Record.Sent += sent;
        _bytesMoved += sent;
        int repliesSent = Math.Min(sent, _pendingCount);
        _pendingCount -= repliesSent;
        _pending.AsSpan(repliesSent, _pendingCount).CopyTo(_pending);
        return sent - repliesSent;
    }

    // ---- deadlines ----
    //
    // You can pause here: the class can read and send. What follows in this lesson is for how long it waits, how a
    // connection ends, and the Transport, with the calls of the socket.

    /// <summary>Lets the other conversations go on if this one has used its share of the iteration (P6).</summary>
    public ValueTask YieldIfSliceIsOverAsync()
    {
        return _loop.IsSliceOver ? new ValueTask(_loop.NextIterationAsync(Socket)) : ValueTask.CompletedTask;
    }

    // A fixed time, for a request line and for an idle client (LIMIT-1, LIMIT-2).
    private void SetDeadline(long milliseconds)
    {
        _deadline = Environment.TickCount64 + milliseconds;
        _isMinRate = false;
        _isIntervalOver = false;
        _bytesMoved = 0;
    }

    // A minimum rate, for blocks and replies: 80 KiB in each interval of 20 s (LIMIT-3).
    private void SetMinRate()
    {
        SetDeadline(MinRateIntervalMs);
        _isMinRate = true;
    }

    private async ValueTask WaitForBytesAsync()
    {
        await FlushAsync();
        await WaitAsync(_transport.WhenReadableAsync);
    }

    private async ValueTask WaitForRoomAsync()
    {
        // If the wait throws, half a reply may have been sent, and no error line may follow it. So the flag is not put
        // into a finally: it stays true, and DrainAsync and SendWithoutWaiting look at it.
        _isInsideReply = true;
        await WaitAsync(_transport.WhenWritableAsync);
        _isInsideReply = false;
    }

    private async ValueTask WaitAsync(Func<long, Task> whenReady)
    {
        while (true)
        {
            try
            {
                await whenReady(_deadline);
                return;
            }
            catch (TimeoutException) when (_isMinRate && !_isIntervalOver)
            {
                // The caller tries once more: the kernel may have room for a few bytes, and calls a socket writable
                // only if it has room for many. The next wait fails at once, because its deadline has passed.
                _isIntervalOver = true;
                return;
            }
            catch (TimeoutException) when (_isMinRate && _bytesMoved >= MinRateBytes)
            {
                // Enough has moved in this interval. The next one begins.
                SetMinRate();
            }
        }
    }

    // ---- closing ----

    /// <summary>Closes the connection so that the last reply is not lost (CLOSE-1).</summary>
    /// <param name="finalReply">A reply that is still to be sent, or null.</param>
    /// <remarks>Closing a socket that has unread bytes sends a reset, and a reset can destroy a reply that the client
    /// has not read yet. So we say that we will send no more, and read and drop what the client sends until it closes
    /// its side, too: for at most 2 s and 1 MiB.</remarks>
    public async Task DrainAsync(Reply? finalReply)
    {
        if (CannotReply)
        {
            return;
        }

        if (finalReply is not null && _transport.IsAuthenticated)
        {
            await SendReplyAsync(finalReply);
        }

        await FlushAsync();
        await _transport.ShutdownSendAsync(_deadline);
        await DiscardAsync(Environment.TickCount64 + DrainTimeoutMs);
    }

    /// <summary>The last reply is decided, or there is none. From now on, this connection does not count as a client
    /// (P9).</summary>
    public void BeginEnding()
    {
        IsAwaitingRequest = false;
        if (!IsEnding)
        {
            IsEnding = true;
            MayDrain = !_ending.IsFull;
            _ending.Count++;
        }
    }

    /// <summary>No request after the present one will be answered.</summary>
    public void BeginStopping() => IsStopping = true;

    /// <summary>Gives the pending replies and a last one to the kernel, if it has room for them. Used where the
    /// connection is closed without draining. If a reply was sent in part, this sends its rest, and no other.</summary>
    public void SendWithoutWaiting(Reply? finalReply)
    {
        if (!_transport.IsAuthenticated)
        {
            return;
        }

        byte[] line = finalReply is null || CannotReply ? [] : FormatReply(finalReply);
        byte[] bytes = [.. _pending.AsSpan(0, _pendingCount), .. line];
        if (bytes.Length > 0)
        {
            SendBuffer(bytes);
        }
    }

    /// <summary>Ends a conversation that the client has ended: nothing is unread, so there is nothing to
    /// drain.</summary>
    public async Task FinishAsync()
    {
        SetMinRate();
        await FlushAsync();
        await _transport.ShutdownSendAsync(_deadline);
    }

    public void Dispose()
    {
        if (IsEnding)
        {
            _ending.Count--;
        }

        _loop.Forget(Socket);
        Record.Disconnected = DateTime.UtcNow;
        Trace.Server("<close>");
        _transport.Dispose();
    }

    private async Task DiscardAsync(long deadline)
    {
        int discarded = 0;
        while (discarded < MaxDrainBytes)
        {
            int size = Math.Min(SharedBuffer.Length, MaxDrainBytes - discarded);
            int count = _transport.ReceiveRaw(SharedBuffer.AsSpan(0, size));
            if (count == 0)
            {
                return;
            }

            if (count == Transport.WouldBlock)
            {
                await _loop.WhenReadableAsync(Socket, deadline);
            }
            else
            {
                discarded += count;
                Record.Received += _transport.IsEncrypted ? 0 : count;
            }
        }
    }
}

/// <summary>What the bytes of a connection go through: the socket itself, or TLS (in the last appendix).</summary>
internal class Transport(EventLoop loop, Socket socket) : IDisposable
{
    /// <summary>What <see cref="Receive"/> returns if nothing has arrived.</summary>
    public const int WouldBlock = -1;

    protected EventLoop Loop { get; } = loop;

    protected Socket Socket { get; } = socket;

    /// <summary>Whether the peer has proved that it may talk to us. Without a key, everyone may.</summary>
    public virtual bool IsAuthenticated => true;

    /// <summary>Whether the bytes on the wire are not those of the conversation, so that STATUS does not count
    /// them.</summary>
    public virtual bool IsEncrypted => false;

    /// <summary>Whether bytes that <see cref="Send"/> has accepted still wait to be given to the kernel.</summary>
    public virtual bool HasUnsentBytes => false;

    /// <summary>How many bytes <see cref="Send"/> can accept at once.</summary>
    public virtual int MaxBytesPerSend => int.MaxValue;

    /// <summary>Lets the peer prove that it may talk to us.</summary>
    public virtual Task HandshakeAsync() => Task.CompletedTask;

    /// <summary>Receives what has arrived. It never waits.</summary>
    /// <returns>The number of bytes, 0 if the peer has ended its sending, or <see cref="WouldBlock"/>.</returns>
    /// <exception cref="ConnectionAbortedException">The peer has reset the connection.</exception>
    public virtual int Receive(Span<byte> buffer) => ReceiveFromSocket(buffer);

    /// <summary>Gives bytes to the kernel. It never waits.</summary>
    /// <returns>How many bytes were accepted, perhaps 0.</returns>
    /// <exception cref="ConnectionAbortedException">The peer has reset the connection.</exception>
    public virtual int Send(ReadOnlySpan<byte> bytes) => SendToSocket(bytes);

    public virtual Task WhenReadableAsync(long deadline) => Loop.WhenReadableAsync(Socket, deadline);

    public Task WhenWritableAsync(long deadline) => Loop.WhenWritableAsync(Socket, deadline);

    /// <summary>Says that we will send nothing more (FIN). Receiving is still possible.</summary>
    public virtual Task ShutdownSendAsync(long deadline)
    {
        try
        {
            Socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException e)
        {
            throw Broken(e.SocketErrorCode);
        }

        return Task.CompletedTask;
    }

    /// <summary>Receives what arrives at the socket, to be dropped.</summary>
    public int ReceiveRaw(Span<byte> buffer) => ReceiveFromSocket(buffer);

    /// <summary>Whether the peer has reset the connection. A peer that has only ended its sending may still
    /// read.</summary>
    public bool IsReset => Socket.Poll(0, SelectMode.SelectError);

    public virtual void Dispose() => Socket.Dispose();

    protected int ReceiveFromSocket(Span<byte> buffer)
    {
        int count = Socket.Receive(buffer, SocketFlags.None, out SocketError error);
        return error switch
        {
            SocketError.Success => count,
            SocketError.WouldBlock => WouldBlock,
            _ => throw Broken(error),
        };
    }

    protected int SendToSocket(ReadOnlySpan<byte> bytes)
    {
        int count = Socket.Send(bytes, SocketFlags.None, out SocketError error);
        return error is SocketError.Success or SocketError.WouldBlock ? count : throw Broken(error);
    }

    private static ConnectionAbortedException Broken(SocketError error)
    {
        bool isReset = error is SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.Shutdown
            or SocketError.NotConnected;
        return new ConnectionAbortedException(isReset ? "the client has reset the connection"
            : $"the connection broke: {new SocketException((int)error).Message}");
    }
}

// =====================================================================================================================
// Lesson 7: the folder of pictures
//
// What it teaches: a name that comes from the network is checked before it becomes a path. A file that arrives is
// written under a temporary name and gets its own name last, in one step that fails if the name is taken. So it is
// complete or absent at every moment, even if the process is killed, and of two uploads of one name exactly one wins:
//
//     PUT|cat.png                      the folder                      PUT|cat.png, at the same time
//     create .…1f.up, lock it   ──►    .…1f.up
//                                      .…1f.up  .…9c.up         ◄──    create .…9c.up, lock it
//     write the bytes                  (both grow, hidden)             write the bytes
//     link .…1f.up as cat.png   ──►    cat.png appears, complete
//                                      cat.png is taken         ◄──    link .…9c.up as cat.png: fails
//     remove .…1f.up, OK                                               remove .…9c.up, ER|exists
//
// Protocol.md: P1 to P3 (complete, never overwritten, OK comes last), P5 (--sync), P10 (what is served), P13 (leftovers
// of killed servers), GET-2, GET-4, PUT-4, PUT-6 to PUT-8.
//
// Left open here for the appendices. In the core:
//     FileSystem.Explain          returns the message of the exception
//     CreateLockedFile            creates the temporary file at _temporaryPath and locks it: its server is alive
//     HasItsOwnName               is true, and IsImpossibleName is false; both are about file systems that differ
//     _hasHardLinks               is true; some file systems have none
//     PrepareToPublish            does nothing, and so does FlushNameIfSync
//     ComesFirstWithAhead         is false
//     _listings                   makes the lines of LIST, for lesson 8
//
// See it:  ls -a images                        during a large upload
//
// You can stop here: the next lesson uses these two classes.
// =====================================================================================================================

/// <summary>A file that is open to be sent, or the reason why there is none.</summary>
internal sealed partial class ImageFile : IDisposable
{
    private readonly SafeFileHandle? _handle;

    /// <summary>There is no file to send, and this reply says why.</summary>
    public ImageFile(Reply refusal) => Result = refusal;

    /// <summary>An open file. Its length is fixed now: exactly so many bytes are sent (GET-3).</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public ImageFile(SafeFileHandle handle)
    {
        _handle = handle;

        // Some file systems find out at the first read that they cannot read a file. Later it would be too late.
        bool isEmpty = RandomAccess.Read(handle, stackalloc byte[1], fileOffset: 0) == 0;
        Length = RandomAccess.GetLength(handle);
        Result = isEmpty ? Reply.NotFound : Reply.Ok;
    }

    /// <summary><see cref="Reply.Ok"/>, or the reply to a request for this file.</summary>
    public Reply Result { get; }

    /// <summary>In bytes.</summary>
    public long Length { get; }

    /// <summary>Reads bytes from this position on. Returns 0 at the end of the file.</summary>
    /// <exception cref="IOException">The disk fails.</exception>
    public int Read(Span<byte> buffer, long position) => RandomAccess.Read(_handle!, buffer, position);

    public void Dispose() => _handle?.Dispose();
}

/// <summary>The one folder that the server serves.</summary>
internal sealed partial class ImageFolder
{
    private const string NoHardLinks = "the file system of this folder has no hard links, so uploads are not possible";

    private readonly bool _sync;
    private readonly bool _readOnly;
    private bool _hasHardLinks = true;

    public ImageFolder(string path, ServerSettings settings, EventLoop loop)
    {
        Path = System.IO.Path.GetFullPath(path);
        Types = settings.Types;
        _sync = settings.Sync;
        _readOnly = settings.ReadOnly;
        _listings = new ListingBuilder(loop, Path, Types);
    }

    public string Path { get; }

    /// <summary>The file extensions that are served and accepted, in lower case.</summary>
    public string[] Types { get; }

    /// <summary>Opens a file to be sent.</summary>
    /// <returns>The file, or why there is none: `bad-name`, `bad-type`, `not-found` for everything that LIST would not
    /// show (GET-2), or `storage` if it cannot be read (GET-4).</returns>
    public ImageFile Open(string name)
    {
        Reply nameCheck = ValidateName(name, Types);
        if (!nameCheck.IsOk)
        {
            return new ImageFile(nameCheck);
        }

        try
        {
            var entry = new FileInfo(GetPath(name));
            bool isThere = HasItsOwnName(entry, name) && IsServable(entry);
            return isThere ? OpenFile(entry.FullName) : new ImageFile(Reply.NotFound);
        }
        catch (Exception e) when (IsGone(e) || IsImpossibleName(e))
        {
            return new ImageFile(Reply.NotFound);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            return new ImageFile(Reply.Storage.WithCause(e));
        }
    }

    /// <summary>Begins to store a file. The result is always an upload; one that is refused stores nothing.</summary>
    public Upload BeginUpload(string name)
    {
        var upload = new Upload(Path, name, _sync);
        Reply check = CheckUpload(name);
        if (check.IsOk)
        {
            upload.CreateFile();
        }
        else
        {
            upload.Refuse(check);
        }

        return upload;
    }

    // Only for names that have passed ValidateName: those have no separator and cannot leave the folder.
    private string GetPath(string name) => System.IO.Path.Combine(Path, name);

    private Reply CheckUpload(string name)
    {
        Reply nameCheck = ValidateName(name, Types);
        if (!nameCheck.IsOk)
        {
            return nameCheck;
        }

        try
        {
            if (FileSystem.EntryExists(GetPath(name)))
            {
                return Reply.Exists;
            }
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            return _readOnly ? Reply.Denied : Reply.Storage.WithCause(e);
        }

        if (_readOnly)
        {
            return Reply.Denied;
        }

        return _hasHardLinks ? Reply.Ok : Reply.Storage.WithCause(NoHardLinks);
    }

    /// <summary>Whether an entry is served: a regular file that is not empty (P10).</summary>
    /// <remarks>Look before you open. Opening a pipe would wait for its other end, and the server with it. .NET shows a
    /// pipe or a device as an empty file.</remarks>
    private static bool IsServable(FileInfo entry) => IsServable(entry.Attributes, entry.Exists ? entry.Length : 0);

    private static bool IsServable(FileAttributes attributes, long length)
    {
        // A reparse point is .NET's name for a symbolic link.
        return length > 0 && (attributes & (FileAttributes.Directory | FileAttributes.ReparsePoint)) == 0;
    }

    private static ImageFile OpenFile(string path)
    {
        SafeFileHandle handle = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
        try
        {
            return new ImageFile(handle);
        }
        catch (Exception)
        {
            handle.Dispose();
            throw;
        }
    }

    private static bool IsGone(Exception e) => e is FileNotFoundException or DirectoryNotFoundException;
}

/// <summary>A file that arrives. It is written under a temporary name, and gets its own name when it is complete.
/// </summary>
/// <remarks>The lock on the temporary file says that its server is alive. It is released after the temporary name is
/// gone, so that no other server takes the file for a leftover.</remarks>
internal sealed partial class Upload(string folder, string name, bool sync) : IDisposable
{
    // Null before CreateFile, after a refusal, and after Publish. Then Write and Publish do nothing.
    private SafeFileHandle? _file;
    private string _temporaryPath = "";
    private long _length;

    /// <summary>The path that the file gets when it is complete. Valid only for names that are allowed.</summary>
    public string TargetPath => Path.Combine(folder, name);

    /// <summary><see cref="Reply.Ok"/> so far, or why the file will not be stored.</summary>
    public Reply Result { get; private set; } = Reply.Ok;

    /// <summary>The name of a temporary file. It begins with a dot, so LIST does not show it.</summary>
    public static string TemporaryName(string id) => $".imagetransfer-{id}.up";

    /// <summary>Refuses the upload and removes the temporary file. The first refusal is the answer. OK refuses nothing.
    /// </summary>
    public void Refuse(Reply reply)
    {
        bool comesFirst = Result.IsOk || ComesFirstWithAhead(reply);
        if (!reply.IsOk && comesFirst)
        {
            Result = reply;
            Dispose();
        }
    }

    /// <summary>Creates the temporary file, and locks it. If that fails, the upload is refused.</summary>
    public void CreateFile()
    {
        try
        {
            _file = CreateLockedFile();
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            Refuse(Reply.Storage.WithCause(FileSystem.Explain(e, _temporaryPath)));
        }
    }

    /// <summary>Appends bytes to the file. The bytes of a refused upload are dropped.</summary>
    public void Write(ReadOnlySpan<byte> bytes)
    {
        if (_file is null)
        {
            return;
        }

        try
        {
            FileSystem.Write(_file, bytes, _length);
            _length += bytes.Length;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            Refuse(Reply.Storage.WithCause(e));
        }
    }

    /// <summary>Gives the complete file its name, unless the upload was refused. Nothing remains open afterwards: when
    /// the client reads OK, the file belongs to the folder (P3).</summary>
    public void Publish()
    {
        if (_file is null)
        {
            return;
        }

        try
        {
            PrepareToPublish(_file);
            if (FileSystem.LinkWithoutReplacing(_temporaryPath, TargetPath))
            {
                FlushNameIfSync(_file);
            }
            else
            {
                Refuse(Reply.Exists);
            }
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            Refuse(Reply.Storage.WithCause(e));
        }
        finally
        {
            Dispose();
        }
    }

    /// <summary>Removes the temporary name and releases the lock. A file that was published keeps its own name: Publish
    /// has given it a second one.</summary>
    public void Dispose()
    {
        if (_file is null)
        {
            return;
        }

        try
        {
            File.Delete(_temporaryPath);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            // The name stays for now. The next start of a server on this folder removes it.
        }

        _file.Dispose();
        _file = null;
    }
}

// =====================================================================================================================
// Lesson 8: LIST, GET and PUT
//
// What it teaches: with the classes of the lessons before, each request is one short method that reads like its
// paragraph of Protocol.md: check, answer, send or receive a block. Each method sends exactly one reply before it
// returns; a PUT that is not refused sends two, the go-ahead and the result.
//
// The path of a timeout: the event loop ends a wait that is late; TimeoutException passes through ReadLineAsync, or
// through a handler and its `using`s, which remove the temporary file; RunAsync catches it, sends ER|timeout, and
// closes. (If the server was sending something, it closes without ER|timeout.) A reset, a stop and the end of a
// client's stream inside a block take the same path as a ConnectionAbortedException.
//
// Left open here for the appendices. In the core:
//     HasOptions                  is false; TooLarge is Reply.TooLarge
//     GetListingAsync             makes the lines of LIST, sorted; SendTextBlockAsync sends them as a block
//     NoteRequest, NoteBlock      write the log, and so do ForgetRequest and the methods that begin with Log
//
// Protocol.md: LIST-1, LIST-2, GET-1 to GET-4, PUT-1 to PUT-7, PUT-9, PUT-10, ERR-1, ERR-2, CLOSE-1, CLOSE-2,
// CLOSE-5, P11 (one answer).
//
// See it:  make test STAGE=4                   stages 2, 3 and 4 are LIST, GET and PUT
//
// You can stop here: the last lesson accepts the clients.
// =====================================================================================================================

/// <summary>Answers the requests of one client.</summary>
internal sealed partial class RequestHandler(Connection connection, ImageFolder folder, ServerSettings settings,
    ConnectionHistory history, Log log)
{
    /// <summary>The whole conversation with one client.</summary>
    /// <param name="rejection">A reply for a client that is turned away, or null.</param>
    public async Task RunAsync(Reply? rejection)
    {
        // How it ends                                  finalReply      mustDrain
        // the client has ended its sending             null            false
        // the last reply is sent or pending            null            true
        // a timeout, or a mistake in this program      that error      true
        // a reset, or a block that ends too early      null            false
        // the server is stopping, or too full          that reply      true
        //
        // If a reply or a block is not sent completely, DrainAsync does nothing: the connection is just closed.
        Reply? finalReply = rejection;
        bool mustDrain = true;
        try
        {
            await connection.HandshakeAsync();
            if (rejection is null)
            {
                mustDrain = await AnswerRequestsAsync();
            }
        }
        catch (ConnectionAbortedException e)
        {
            finalReply = e.FinalReply;
            mustDrain = finalReply is not null;
            LogEnd(e.Message, alwaysLog: mustDrain);
        }
        catch (TimeoutException)
        {
            finalReply = Reply.Timeout;
            LogEnd(Reply.Timeout.Code, alwaysLog: true);
        }
        catch (Exception e)
        {
            // A mistake in this program. It ends this connection and no other.
            finalReply = Reply.Internal;
            LogOutcome(Reply.Internal.WithCause(e.ToString()));
        }

        await CloseAsync(finalReply, mustDrain);
    }

    // Returns true if the last reply closes the connection, false if the client has ended it.
    private async Task<bool> AnswerRequestsAsync()
    {
        while (true)
        {
            await connection.YieldIfSliceIsOverAsync();
            Request? request = await ReadRequestAsync();
            if (request is null)
            {
                await connection.FinishAsync();
                return false;
            }

            Reply reply = await AnswerAsync(request);
            LogOutcome(reply);
            if (reply.ClosesConnection)
            {
                return true;
            }
        }
    }

    // Returns null if the client has ended its sending between two requests.
    private async ValueTask<Request?> ReadRequestAsync()
    {
        ForgetRequest();
        ReadOnlyMemory<byte> line = await connection.ReadLineAsync();
        if (line.IsEmpty)
        {
            return null;
        }

        bool isComplete = line.Span[^1] == (byte)'\n';
        Request request = isComplete ? ParseRequest(line.Span[..^1]) : new InvalidRequest(Reply.BadRequest);
        NoteRequest(request, line.Span);
        return request;
    }

    private async ValueTask<Reply> AnswerAsync(Request request)
    {
        return request switch
        {
            ListRequest => await HandleListAsync(),
            GetRequest get => await HandleGetAsync(get),
            PutRequest put => await HandlePutAsync(put),
            StatusRequest => await HandleStatusAsync(),
            InvalidRequest invalid => await connection.SendReplyAsync(invalid.Error),
            _ => throw new InvalidOperationException($"no handler for {request.GetType().Name}"),
        };
    }

    /// <summary>LIST: a block with one line for each file, sorted by name (LIST-1, LIST-2).</summary>
    private async Task<Reply> HandleListAsync()
    {
        // Replies to earlier requests do not wait for the listing. A large folder takes a while.
        await connection.FlushAsync();
        Listing listing = await GetListingAsync();
        if (!listing.Result.IsOk)
        {
            return await connection.SendReplyAsync(listing.Result);
        }

        await connection.SendReplyAsync(Reply.Ok);
        await SendTextBlockAsync(listing.Lines);
        return Reply.Ok;
    }

    /// <summary>GET: a block with the bytes of the file (GET-1 to GET-4).</summary>
    private async Task<Reply> HandleGetAsync(GetRequest request)
    {
        if (HasOptions(request))
        {
            return await HandleGetWithOptionsAsync(request);
        }

        using ImageFile file = folder.Open(request.Name);
        if (!file.Result.IsOk)
        {
            return await connection.SendReplyAsync(file.Result);
        }

        await connection.SendReplyAsync(Reply.Ok);
        NoteBlock(file.Length);
        await connection.SendBlockAsync(file.Length, file.Read);
        connection.Trace.Server($"<file:{request.Name}>");
        return Reply.Ok;
    }

    /// <summary>PUT: the go-ahead, a block from the client, and then the result (PUT-1 to PUT-7, PUT-9,
    /// PUT-10).</summary>
    private async Task<Reply> HandlePutAsync(PutRequest request)
    {
        if (HasOptions(request))
        {
            return await HandlePutWithOptionsAsync(request);
        }

        using Upload upload = folder.BeginUpload(request.Name);
        if (!upload.Result.IsOk)
        {
            // Refused before any data is sent: it costs the client one round trip and no more.
            return await connection.SendReplyAsync(upload.Result);
        }

        await connection.SendReplyAsync(Reply.Ok);
        ulong length = await ReadLengthAsync();
        if (length > (ulong)settings.MaxSize)
        {
            // Compared as an unsigned number: as a signed one, 2^64-1 would be -1, which is smaller than any limit.
            return await connection.SendReplyAsync(TooLarge);
        }

        await ReceiveFileAsync(request.Name, upload, (long)length, upload.Write);
        upload.Publish();
        return await connection.SendReplyAsync(upload.Result);
    }

    private async ValueTask<ulong> ReadLengthAsync()
    {
        ulong length = DecodeLength(await connection.ReadExactlyAsync(LengthSize));
        connection.Trace.Client($"<u64:{length}>");
        return length;
    }

    // A block is read to its end even if it is refused, so that the next request is found where it begins (PUT-6). (The
    // writer is upload.Write; with a digest, an appendix gives another one.)
    private async Task ReceiveFileAsync(string name, Upload upload, long length, BlockWriter writer)
    {
        NoteBlock(length);
        byte[] start = await connection.PeekAsync((int)Math.Min(length, SignatureSize));
        if (length == 0)
        {
            upload.Refuse(Reply.Empty);
        }
        else if (!HasSignature(name, start))
        {
            upload.Refuse(Reply.BadType);
        }

        await connection.ReceiveBlockAsync(length, writer);
        connection.Trace.ClientBlock(name, length, upload.Result.IsOk);
    }

    private async Task CloseAsync(Reply? finalReply, bool mustDrain)
    {
        connection.BeginEnding();
        try
        {
            if (mustDrain && connection.MayDrain)
            {
                await connection.DrainAsync(finalReply);
            }
            else
            {
                connection.SendWithoutWaiting(finalReply);
            }
        }
        catch (Exception e) when (e is ConnectionAbortedException or TimeoutException)
        {
            // The client has reset the connection, or has not read or closed in time. It cannot be told any more.
        }
        catch (Exception e)
        {
            LogOutcome(Reply.Internal.WithCause(e.ToString()));
        }
        finally
        {
            LogDisconnect();
            connection.Dispose();
        }
    }
}

// =====================================================================================================================
// Lesson 9: the server
//
// What it teaches: how to accept clients without being stopped by them, how to limit their number, and how to stop.
// The order within an iteration matters: first the conversations that are ready go on, and some of them end; then new
// clients are accepted. In the other order, a client that closes its connection and connects again would count twice
// and be told that the server is busy.
//
// Left open here for the appendices, about the start and about capacity:
//     the constructor             opens the listener (bind, listen) before Serve is called
//     TryAccept                   calls accept
//     TryFindRoom                 compares the number of clients with the limit
//     RequireFreeDescriptors      throws a SocketException if too few file descriptors are free
//     _stopRequested              is set when a signal arrives
//
// Protocol.md: CONN-1, P9 (capacity), CLOSE-3, CLOSE-4, CLOSE-6 and P12 (stopping).
//
// See it:  make test STAGE=8                   a hundred clients, and the next one reads ER|busy
//
// You can stop after this lesson: it completes the server.
// =====================================================================================================================

/// <summary>Accepts clients, and runs until it is told to stop.</summary>
internal sealed partial class Server
{
    private const int MaxAcceptsPerIteration = 16;
    private const int AcceptBackoffMs = 100;
    private const int ShutdownGraceMs = 10_000;
    private const int FinalReplyGraceMs = 2_000;

    private readonly ServerSettings _settings;
    private readonly Log _log;
    private readonly EventLoop _loop = new();
    private readonly HashSet<Connection> _connections = [];
    private readonly EndingConnections _ending = new();
    private readonly ConnectionHistory _history = new();
    private readonly ImageFolder _folder;
    private readonly Socket _listener;

    // No conversation awaits this task. AcceptClients asks whether it is completed, which means: look for clients now.
    // At the start it is, so the first iteration looks for clients.
    private Task _listenerIsReadable = Task.CompletedTask;
    private long _acceptResumesAt;
    private long _shutdownDeadline;
    private int _lastId;
    private bool _isStopping;

    private void Serve()
    {
        while (!_isStopping || _connections.Count > 0)
        {
            _loop.RunOnce();
            AcceptClients();
            AdvanceShutdown();
        }
    }

    private void AcceptClients()
    {
        // The listener is a socket like the others: it is readable when a client has connected.
        if (_isStopping || !_listenerIsReadable.IsCompleted || Environment.TickCount64 < _acceptResumesAt)
        {
            return;
        }

        try
        {
            for (int i = 0; i < MaxAcceptsPerIteration && _listener.Poll(0, SelectMode.SelectRead); i++)
            {
                RequireFreeDescriptors();
                AcceptClient();
            }
        }
        catch (SocketException e)
        {
            // Out of file descriptors. The client stays in the queue, so pause for a moment: the listener would be
            // readable again at once, and the loop would spin.
            _log.Info($"cannot accept connections at the moment: {Escape(e.Message)}");
            // _listenerIsReadable stays completed, so we look again after the pause.
            _acceptResumesAt = Environment.TickCount64 + AcceptBackoffMs;
            return;
        }

        _listenerIsReadable = _loop.WhenReadableAsync(_listener, EventLoop.Never);
    }

    private void AcceptClient()
    {
        if (TryAccept() is not { } socket)
        {
            return;
        }

        var connection = new Connection(_loop, socket, ++_lastId, _settings, _log, _ending);
        _log.Info($"#{connection.Id} connected from {connection.Record.Address}");
        bool hasRoom = TryFindRoom();
        if (hasRoom)
        {
            _history.Add(connection.Record);
        }
        else
        {
            // This client is only told that the server is busy, and does not count. If too many connections are ending,
            // it is told nothing.
            _log.Info($"#{connection.Id} turned away: {Reply.Busy.Code}");
            if (_ending.IsFull)
            {
                connection.Dispose();
                return;
            }

            connection.BeginEnding();
        }

        // The conversation runs until its first wait, and goes on whenever the event loop resumes it.
        _connections.Add(connection);
        _ = RunAsync(connection, hasRoom ? null : Reply.Busy);
    }

    private async Task RunAsync(Connection connection, Reply? rejection)
    {
        try
        {
            var handler = new RequestHandler(connection, _folder, _settings, _history, _log);
            await handler.RunAsync(rejection);
        }
        finally
        {
            _connections.Remove(connection);
        }
    }

    // No new clients and no new requests. What is running has 10 s to end, and the final replies have 2 s more.
    private void AdvanceShutdown()
    {
        if (!_stopRequested)
        {
            return;
        }

        long now = Environment.TickCount64;
        if (!_isStopping)
        {
            _isStopping = true;
            _shutdownDeadline = now + ShutdownGraceMs;
            _listener.Dispose();
            _loop.Forget(_listener);
            string wait = _connections.Count > 0 ? "; a second Ctrl-C ends it at once" : "";
            _log.Info($"stopping, {_connections.Count} connected{wait}");
            StopConnections();
        }

        if (now >= _shutdownDeadline)
        {
            AbortWhere(connection => !connection.IsEnding, Reply.Stopping);
        }

        if (now >= _shutdownDeadline + FinalReplyGraceMs)
        {
            AbortWhere(_ => true, finalReply: null);
        }
    }

    private void StopConnections()
    {
        foreach (Connection connection in _connections)
        {
            connection.BeginStopping();
        }

        AbortWhere(connection => connection.IsAwaitingRequest, Reply.Stopping);
    }

    private void AbortWhere(Func<Connection, bool> condition, Reply? finalReply)
    {
        // A copy, because a conversation that ends leaves _connections.
        foreach (Connection connection in _connections.Where(condition).ToArray())
        {
            _loop.Abort(connection.Socket, new ConnectionAbortedException("stopping", finalReply));
        }
    }
}

// =====================================================================================================================
// You have read a whole server.
//
// What follows are appendices. Read them in any order, or not at all:
//
//     the start of the server        options, signals, bind and listen, the messages at the start
//     fairness                       slices of time; who goes first
//     thousands of idle clients      which sockets select is asked about
//     capacity                       the number of clients; file descriptors
//     the folder                     what it can do, leftovers of killed servers, --sync, file systems that differ
//     large folders                  the listing, made in slices
//     options of GET and PUT         digest, offset, modified, ahead
//     STATUS · the log and the trace · TLS
// =====================================================================================================================

// =====================================================================================================================
// Appendix: the start of the server, its options and its signals
// =====================================================================================================================

/// <summary>What the command line of the server says.</summary>
internal sealed class ServerSettings
{
    private const int MaxClientsLimit = 65_000;
    private const long MaxIdleSeconds = 1_000_000_000;
    private const string DefaultFolder = "images";

    private static readonly string[] _withValue =
        ["--dir", "--listen", "--types", "--max-clients", "--max-size", "--idle", "--key"];

    private static readonly string[] _withoutValue = ["--sync", "--read-only", "--trace", "--quiet", "--help"];

    /// <summary>All options of the server.</summary>
    public static string[] OptionNames => [.. _withValue, .. _withoutValue];

    /// <summary>Takes the settings from a command line.</summary>
    /// <exception cref="CommandLineException">The command line is wrong.</exception>
    public ServerSettings(string[] args)
    {
        var options = new CommandLineOptions(args, _withValue, _withoutValue,
            portAdvice: "the port is the first word (imagetransfer server PORT)");
        Port = GetPort(options.Positional);
        Address = GetAddress(options.GetString("--listen") ?? "127.0.0.1");
        FolderIsNamed = options.Has("--dir");
        Folder = options.GetPath("--dir") ?? DefaultFolder;
        Types = options.GetTypes();
        MaxClients = (int)options.GetNumber("--max-clients", 100, MaxClientsLimit);
        MaxSize = options.GetSize("--max-size", 1L << 30, long.MaxValue);
        IdleTimeoutMs = options.GetNumber("--idle", 300, MaxIdleSeconds) * 1000;
        Sync = options.Has("--sync");
        ReadOnly = options.Has("--read-only");
        Trace = options.Has("--trace");
        Quiet = options.Has("--quiet");
        KeyPath = options.GetPath("--key");
    }

    public int Port { get; }

    public IPAddress Address { get; }

    public string Folder { get; }

    /// <summary>Whether --dir was given. A folder that was named is never created.</summary>
    public bool FolderIsNamed { get; }

    public string[] Types { get; }

    public int MaxClients { get; }

    /// <summary>The largest upload, in bytes.</summary>
    public long MaxSize { get; }

    public long IdleTimeoutMs { get; }

    public bool Sync { get; }

    public bool ReadOnly { get; }

    public bool Trace { get; }

    public bool Quiet { get; }

    public string? KeyPath { get; }

    /// <summary>The key of --key, once it is loaded.</summary>
    public KeyFile? Key { get; set; }

    private static int GetPort(IReadOnlyList<string> words)
    {
        switch (words)
        {
            case []:
                return DefaultPort;
            case [var word] when word.All(char.IsAsciiDigit):
                return CommandLineOptions.ParsePort(word, min: 0);
            case var _ when words.FirstOrDefault(IsFolder) is { } folder:
                throw new CommandLineException(
                    $"a folder is named with --dir: imagetransfer server --dir {ShellQuote(folder)}");
            case [var word]:
                throw new CommandLineException(
                    $"a port is a number from 0 to 65535, not {Quote(word)}; a folder is named with --dir");
            default:
                string other = words.FirstOrDefault(word => !word.All(char.IsAsciiDigit)) ?? words[1];
                throw new CommandLineException($"the server takes one PORT; what is {Quote(other)}?");
        }
    }

    private static bool IsFolder(string word) => Directory.Exists(CommandLineOptions.ExpandHome(word));

    private static IPAddress GetAddress(string text)
    {
        if (text.Equals("localhost", StringComparison.OrdinalIgnoreCase))
        {
            return IPAddress.Loopback;
        }

        return IPAddress.TryParse(text, out IPAddress? address) ? address : throw new CommandLineException(
            $"--listen takes an address such as 127.0.0.1, 0.0.0.0 or ::, not {Quote(text)}");
    }
}

internal sealed partial class Server
{
    private const string Help = """
        usage: imagetransfer server [PORT] [OPTION...]

        Serves the pictures of one folder until Ctrl-C. PORT is 7005 unless given; 0 chooses a free one.

          --dir DIR           the folder to serve; it has to exist (default: images, which is created)
          --listen ADDRESS    127.0.0.1 is this machine only, 0.0.0.0 or :: the network (default: 127.0.0.1)
          --types LIST        file extensions to serve and accept: a list such as jpg,png,cr2; or images, for
                              every kind but camera raw; or any (default: jpg,jpeg,png)
          --max-clients N     further clients are told to try again later (default: 100)
          --max-size BYTES    the largest upload; K, M and G are allowed, 1G is 1,073,741,824 bytes (default: 1G)
          --idle SECONDS      disconnect a client that sends no request for this long (default: 300)
          --sync              flush each upload to the disk before it is confirmed, so that it survives a power cut
          --read-only         accept no uploads
          --key FILE          encrypt, and let in only clients that have this file; it is created if it is missing
          --trace             print every conversation on stderr, in the notation of Protocol.md
          --quiet             print no log
          --help              print this text

          imagetransfer server --listen 0.0.0.0 --dir ~/pictures --key ~/pictures.key

        Exit code: 0 it was stopped, 1 it cannot start, 2 the command line is wrong.
        """;

    private PosixSignalRegistration[] _signals = [];
    private volatile bool _stopRequested;
    private long _stopRequestedAt;

    /// <summary>Runs a server. It returns when the server has been told to stop.</summary>
    /// <returns>The exit code.</returns>
    /// <exception cref="CommandLineException">The server cannot start.</exception>
    public static int Run(string[] args)
    {
        if (CommandLineOptions.AskForHelp(args) || (args is [var only] && only.ToUpperInvariant() == "HELP"))
        {
            return StandardStreams.Print(Help);
        }

        var server = new Server(new ServerSettings(args));
        server.AnnounceStart();
        server.Serve();
        server._log.Info("stopped");
        server._log.Drain();
        return 0;
    }

    private Server(ServerSettings settings)
    {
        _settings = settings;
        _log = new Log(settings.Quiet);

        // Signals first: from the moment that a client can connect, a signal has to be a clean stop (P12).
        RegisterSignals();
        RequireNamedFolder();
        CryptoLibrary.Require();
        settings.Key = KeyFile.Load(settings.KeyPath, createIfMissing: true);
        _listener = Bind(new IPEndPoint(settings.Address, settings.Port));
        _folder = OpenFolder();
        LoadWhatIsNeededLater();

        // Last: as soon as a client can connect, the server is ready.
        Listen(_listener);
    }

    private void RegisterSignals()
    {
        List<PosixSignal> signals = [PosixSignal.SIGINT, PosixSignal.SIGTERM];
        if (OperatingSystem.IsWindows() || !StandardStreams.FindOutIfHangupIsIgnored())
        {
            signals.Add(PosixSignal.SIGHUP);
        }

        _signals = [.. signals.Select(signal => PosixSignalRegistration.Create(signal, OnSignal))];
    }

    // This runs on another thread, so it only sets a flag. A second signal ends the process at once, but some senders
    // deliver one signal twice: within 100 ms it counts as the same.
    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        if (!_stopRequested)
        {
            _stopRequestedAt = Environment.TickCount64;
            _stopRequested = true;
        }
        else if (Environment.TickCount64 - _stopRequestedAt > 100)
        {
            Environment.Exit(1);
        }
    }

    // A folder that was named and is not there is a typing error, or a disk that is not mounted.
    private void RequireNamedFolder()
    {
        bool isMissing = !Directory.Exists(_settings.Folder);
        if (isMissing && File.Exists(_settings.Folder))
        {
            throw new CommandLineException($"{Quote(_settings.Folder)} is not a folder", exitCode: 1);
        }

        if (isMissing && (_settings.FolderIsNamed || _settings.ReadOnly))
        {
            throw new CommandLineException($"there is no folder {Quote(_settings.Folder)}; "
                + $"mkdir -p {ShellQuote(_settings.Folder)} creates it", exitCode: 1);
        }
    }

    private static Socket Bind(IPEndPoint endpoint)
    {
        Socket? socket = null;
        try
        {
            socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { Blocking = false };
            if (OperatingSystem.IsWindows())
            {
                socket.ExclusiveAddressUse = true;
            }

            if (endpoint.Address.Equals(IPAddress.IPv6Any))
            {
                socket.DualMode = true;
            }

            socket.Bind(endpoint);
            return socket;
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            throw CannotListen(e, endpoint);
        }
    }

    private static void Listen(Socket socket)
    {
        try
        {
            socket.Listen(backlog: 512);
        }
        catch (SocketException e)
        {
            throw CannotListen(e, (IPEndPoint)socket.LocalEndPoint!);
        }
    }

    private static CommandLineException CannotListen(SocketException e, IPEndPoint endpoint)
    {
        return new CommandLineException(e.SocketErrorCode switch
        {
            SocketError.AddressAlreadyInUse => $"port {endpoint.Port} is in use; choose another one or free it",
            SocketError.AccessDenied => $"port {endpoint.Port} needs administrator rights; choose one from 1024 up",
            SocketError.AddressNotAvailable => $"{endpoint.Address} is not an address of this machine",
            SocketError.AddressFamilyNotSupported => $"cannot listen on {endpoint.Address}: this machine has no IPv6",
            _ => $"cannot listen on {endpoint}: {e.Message}",
        }, exitCode: 1);
    }

    private ImageFolder OpenFolder()
    {
        CreateFolderIfMissing();
        try
        {
            var folder = new ImageFolder(_settings.Folder, _settings, _loop);
            folder.Prepare();
            return folder;
        }
        catch (UnauthorizedAccessException)
        {
            throw new CommandLineException(
                $"you may not read the folder {Quote(_settings.Folder)} (access is denied)", exitCode: 1);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new CommandLineException($"cannot use the folder {Quote(_settings.Folder)}: {Escape(e.Message)}",
                exitCode: 1);
        }
    }

    private void CreateFolderIfMissing()
    {
        if (Directory.Exists(_settings.Folder))
        {
            return;
        }

        string path = Path.GetFullPath(_settings.Folder);
        try
        {
            Directory.CreateDirectory(path);
            _log.Notice($"created the folder {path}");
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new CommandLineException(
                $"cannot create the folder {Quote(_settings.Folder)}: {Escape(FileSystem.Explain(e, path))}",
                exitCode: 1);
        }
    }

    private void AnnounceStart()
    {
        StandardStreams.Print($"listening on {_listener.LocalEndPoint}, folder {Escape(_folder.Path)}");
        foreach (string notice in _folder.Notices.Concat(ConnectionNotices()))
        {
            WriteNotice(notice);
        }
    }

    // --quiet leaves out what is good to know, but no warning.
    private void WriteNotice(string notice)
    {
        if (notice.StartsWith("warning: ", StringComparison.Ordinal))
        {
            _log.Enqueue(notice);
        }
        else
        {
            _log.Notice(notice);
        }
    }

    private List<string> ConnectionNotices()
    {
        IPAddress address = _settings.Address;
        int port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
        string key = _settings.KeyPath is { } path ? $" --key {ShellQuote(Path.GetFileName(path))}" : "";
        if (IPAddress.IsLoopback(address))
        {
            return ["this machine only; --listen 0.0.0.0 lets others in"];
        }

        bool isAny = address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);
        List<IPAddress> addresses = isAny ? AddressesOfThisMachine(address.AddressFamily) : [address];
        List<string> notices =
            [.. addresses.Select(own => $"on another machine: imagetransfer client {own} {port}{key}")];
        if (_settings.Key is null)
        {
            string rights = _settings.ReadOnly ? "list and download" : "list, download and upload";
            notices.Add($"warning: without --key, anyone who can reach this port can {rights}");
        }

        return notices;
    }

    // :: accepts IPv4 clients, too. Addresses that mean something on one machine or one cable only are left out.
    private static List<IPAddress> AddressesOfThisMachine(AddressFamily family)
    {
        try
        {
            return [.. NetworkInterface.GetAllNetworkInterfaces()
                .Where(network => network.OperationalStatus is OperationalStatus.Up or OperationalStatus.Unknown)
                .SelectMany(network => network.GetIPProperties().UnicastAddresses)
                .Select(unicast => unicast.Address)
                .Where(own => own.AddressFamily == AddressFamily.InterNetwork || own.AddressFamily == family)
                .Where(own => !IPAddress.IsLoopback(own) && !own.IsIPv6LinkLocal)];
        }
        catch (NetworkInformationException)
        {
            // The server works without knowing its addresses. Its user has to find them out.
            return [];
        }
    }
}

// =====================================================================================================================
// Appendix: fairness
//
// P6 says that no client delays another by more than one bounded iteration. What is bounded is time, because hashing
// and TLS handshakes cost time and move no bytes. With --sync there is an exception: the flush of a file to the disk
// is one call, and the loop waits for as long as the disk takes. There are two rules:
//
// 1. An iteration lasts 4 ms. Each conversation that is ready gets a slice of it, and yields when the slice is over
//    (Connection.YieldIfSliceIsOverAsync). What did not get its turn goes on in the next iteration.
// 2. The conversation that has used the least time goes first. So a client that asks for one small file does not wait
//    for ninety others that keep the server busy with large ones.
//
// The second rule is known as start-time fair queueing. A conversation that was idle starts at the present virtual
// time: it cannot save up its unused time.
// =====================================================================================================================

internal sealed partial class EventLoop
{
    private static readonly long _iterationTicks = Stopwatch.Frequency * 4 / 1000;
    private static readonly long _minSliceTicks = Stopwatch.Frequency / 5000;

    private readonly Dictionary<object, long> _timeUsed = [];
    private readonly HashSet<object> _unauthenticated = [];
    private long _virtualTime;
    private long _iterationEnd;
    private long _sliceTicks;
    private long _sliceStart;

    /// <summary>Whether the running conversation should let the others go on.</summary>
    public bool IsSliceOver => Stopwatch.GetTimestamp() - _sliceStart >= _sliceTicks;

    /// <summary>Whether conversations were ready in the last iteration that have not finished what they could
    /// do.</summary>
    public bool HasBacklog { get; private set; }

    /// <summary>Forgets what is known about a conversation that has ended.</summary>
    public void Forget(object owner)
    {
        _waits.Remove(owner);
        _timeUsed.Remove(owner);
        _unauthenticated.Remove(owner);
        _recent.Remove(owner);
    }

    /// <summary>A client that has not proved yet that it has the key. Of these, one goes on in each iteration, chosen
    /// at random, after all the others: a few bytes of a stranger can cost a handshake's worth of arithmetic
    /// (SEAL-4).</summary>
    public void SetAuthenticated(object owner, bool isAuthenticated)
    {
        if (isAuthenticated)
        {
            _unauthenticated.Remove(owner);
        }
        else
        {
            _unauthenticated.Add(owner);
        }
    }

    private sealed partial class Wait
    {
        /// <summary>When its turn comes, in virtual time: the smallest goes first.</summary>
        public long VirtualStart { get; set; }
    }

    private Wait[] InFairOrder(List<Wait> ready)
    {
        foreach (Wait wait in ready)
        {
            wait.VirtualStart = Math.Max(_timeUsed.GetValueOrDefault(wait.Owner), _virtualTime);
        }

        Wait[] inOrder = [.. ready.Where(wait => !IsStranger(wait)).OrderBy(wait => wait.VirtualStart)];
        if (inOrder.Length < ready.Count)
        {
            Wait[] strangers = [.. ready.Where(IsStranger)];
            inOrder = [.. inOrder, strangers[Random.Shared.Next(strangers.Length)]];
        }

        // The time begins after the sorting, so that at least one conversation goes on, however many there are.
        HasBacklog = inOrder.Length < ready.Count;
        _iterationEnd = Stopwatch.GetTimestamp() + _iterationTicks;
        _sliceTicks = Math.Max(_iterationTicks / Math.Max(ready.Count, 1), _minSliceTicks);
        return inOrder;
    }

    private bool IsStranger(Wait wait) => _unauthenticated.Contains(wait.Owner);

    private bool HasTimeFor(Wait wait)
    {
        bool hasTime = Stopwatch.GetTimestamp() < _iterationEnd || IsStranger(wait);
        HasBacklog |= !hasTime;
        return hasTime;
    }

    private bool HasWaitedForOthers(Wait wait) => _ready.Contains(wait) && !IsStranger(wait);

    private void BeginSlice() => _sliceStart = Stopwatch.GetTimestamp();

    private void EndSlice(Wait wait)
    {
        _virtualTime = Math.Max(_virtualTime, wait.VirtualStart);
        if (_waits.TryGetValue(wait.Owner, out Wait? next))
        {
            long used = Math.Min(Stopwatch.GetTimestamp() - _sliceStart, _iterationTicks);

            // If the conversation now waits for its client, it gave up the rest of its slice. It is charged only a
            // quarter of its time, so that short conversations go first.
            bool hasMoreToDo = next.Reason == WaitReason.NextIteration;
            HasBacklog |= hasMoreToDo;
            _timeUsed[wait.Owner] = wait.VirtualStart + (hasMoreToDo ? used : used / 4);
        }
    }
}

internal sealed partial class Connection
{
    /// <summary>Waits for the next iteration, for work of our own that takes long.</summary>
    /// <exception cref="ConnectionAbortedException">The client has reset the connection, so the work is in vain.
    /// </exception>
    public async ValueTask NextIterationAsync()
    {
        await _loop.NextIterationAsync(Socket);
        if (_transport.IsReset)
        {
            throw new ConnectionAbortedException("the client has reset the connection");
        }
    }

    /// <summary>Like <see cref="NextIterationAsync"/>, if this conversation has used its share of this iteration.
    /// </summary>
    public ValueTask NextIterationIfSliceIsOverAsync()
    {
        return _loop.IsSliceOver ? NextIterationAsync() : ValueTask.CompletedTask;
    }
}

// =====================================================================================================================
// Appendix: thousands of idle clients
//
// Asking the kernel about 1,000 sockets takes ten times as long as answering a small request. So with many connections,
// the loop asks for 2 ms about those that went on just now, and then about all of them again.
// =====================================================================================================================

internal sealed partial class EventLoop
{
    private const int FullScanIntervalMs = 2;
    private const int FewConnections = 64;

    private readonly HashSet<object> _recent = [];
    private readonly List<Wait> _pollSet = [];
    private long _nextFullScan;

    private void NoteWait(Wait wait) => _recent.Add(wait.Owner);

    private List<Wait> SelectPollSet(bool isFullScan)
    {
        long now = Environment.TickCount64;
        bool isQuiet = _waits.Count <= FewConnections || _recent.Count == 0;
        _pollSet.Clear();
        if (isFullScan || isQuiet || now >= _nextFullScan)
        {
            _pollSet.AddRange(_waits.Values);
            _recent.Clear();
            _nextFullScan = now + FullScanIntervalMs;
            return _pollSet;
        }

        foreach (object owner in _recent)
        {
            if (_waits.TryGetValue(owner, out Wait? wait))
            {
                _pollSet.Add(wait);
            }
        }

        return _pollSet;
    }

    private int LongestWaitMs(List<Wait> polled)
    {
        return polled.Count == _waits.Count ? MaxSelectTimeoutMs : FullScanIntervalMs;
    }
}

// =====================================================================================================================
// Appendix: capacity: the number of clients, and file descriptors (P9)
//
// The operating system limits how many files and sockets a process has open. A client that cannot be accepted waits in
// the kernel's queue. A few descriptors have to stay free: for the files of requests of connected clients, and for what
// .NET itself opens, for example when a signal arrives.
// =====================================================================================================================

internal sealed partial class Server
{
    private const int MinFreeDescriptors = 4;

    private readonly List<Socket> _probes = [];

    // Returns a non-blocking socket, or null if the client has reset its connection already.
    private Socket? TryAccept()
    {
        Socket? socket = null;
        try
        {
            socket = _listener.Accept();
            socket.Blocking = false;

            // Every send is a whole reply or a large piece of a block. Do not let the kernel wait for more (Nagle).
            socket.NoDelay = true;
            if (socket.RemoteEndPoint is not null)
            {
                return socket;
            }
        }
        catch (Exception e) when (IsLostClient(e))
        {
            // The client is gone. The next one may be waiting, so go on at once.
        }

        socket?.Dispose();
        return null;
    }

    // ArgumentException is what .NET makes of it on macOS.
    private static bool IsLostClient(Exception e)
    {
        return e is ArgumentException or SocketException
        {
            SocketErrorCode: SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.NotConnected
                or SocketError.WouldBlock or SocketError.InvalidArgument,
        };
    }

    // A client that has closed its connection does not count any more. Its FIN has arrived before the new client did,
    // but select may have been asked before both. So look once more before a client is turned away.
    private bool TryFindRoom()
    {
        const int MaxLooks = 8;
        for (int i = 0; i < MaxLooks && CountClients() >= _settings.MaxClients; i++)
        {
            _loop.RunOnce(maxWaitMs: 0);
            if (!_loop.HasBacklog)
            {
                break;
            }
        }

        return CountClients() < _settings.MaxClients;
    }

    private int CountClients() => _connections.Count - _ending.Count;

    // Opens and closes a few sockets.
    private void RequireFreeDescriptors()
    {
        try
        {
            while (_probes.Count < MinFreeDescriptors)
            {
                _probes.Add(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            }
        }
        finally
        {
            _probes.ForEach(probe => probe.Dispose());
            _probes.Clear();
        }
    }

    // .NET opens the files of its libraries at their first use, which fails if no descriptor is free then. A native
    // program has no such files.
    private static void LoadWhatIsNeededLater()
    {
        // SHA-256 is in OpenSSL. The libraries of the other three are used by sockets, by TLS and by comparisons of
        // bytes.
        SHA256.HashData([]);
        GC.KeepAlive(typeof(Activity));
        GC.KeepAlive(typeof(SslStream));
        GC.KeepAlive(typeof(Vector<byte>));
    }
}

// =====================================================================================================================
// Appendix: the folder: what it can do, leftovers of killed servers, --sync, file systems that differ (P5, P13)
// =====================================================================================================================

internal sealed partial class ImageFolder
{
    // By default .NET skips hidden files and treats a folder that it may not read as an empty one.
    private static readonly EnumerationOptions _allEntries = new() { AttributesToSkip = 0, IgnoreInaccessible = false };

    /// <summary>What the person who starts the server should know about this folder.</summary>
    public List<string> Notices { get; } = [];

    /// <summary>Tries out what the folder can do, and removes the temporary files of servers that were
    /// killed.</summary>
    /// <exception cref="IOException">The folder cannot be read, or cannot be written although uploads are allowed.
    /// </exception>
    public void Prepare()
    {
        bool hasLocks = !_readOnly && ProbeFileSystem();
        List<string> notServed = [];
        foreach (string path in Directory.EnumerateFiles(Path, "*", _allEntries))
        {
            string name = System.IO.Path.GetFileName(path);
            if (hasLocks && FileSystemName.MatchesSimpleExpression(Upload.TemporaryName(new string('?', 16)), name))
            {
                TryDeleteOrphan(path);
            }
            else if (FileNames.GetKind(name, Types) is not (FileKind.Hidden or FileKind.Other)
                && !ValidateName(name, Types).IsOk)
            {
                notServed.Add(name);
            }
        }

        NotePicturesNotServed(notServed);
    }

    // A client cannot see these pictures. So the person who starts the server has to learn about them.
    private void NotePicturesNotServed(List<string> names)
    {
        names.Sort(StringComparer.Ordinal);
        string[] refused = [.. names.Where(name => FindNameProblem(name) != NameProblem.None)];
        List<string> others = names.FindAll(name => FindNameProblem(name) == NameProblem.None);
        string[] raw = [.. others.Where(name => FileNames.GetKind(name, Types) == FileKind.CameraRaw)];
        string[] pictures = [.. others.Where(name => FileNames.GetKind(name, Types) == FileKind.OtherPicture)];
        if (pictures.Length > 0)
        {
            Notices.Add($"{CountNotServed("picture", pictures)} ({ListTypes(pictures)}); --types images serves "
                + (pictures.Length == 1 ? "it" : "them"));
        }

        if (raw.Length > 0)
        {
            Notices.Add($"{CountNotServed("camera raw file", raw)} ({ListTypes(raw)}); --types can name "
                + (ListTypes(raw).Contains(',') ? "these types" : "this type"));
        }

        if (refused.Length > 0)
        {
            string files = refused.Length == 1 ? "1 file is not served because its name is"
                : $"{refused.Length:N0} files are not served because their names are";
            Notices.Add($"{files} not allowed: {Quote(refused[0])} ({FileNames.DescribeProblem(refused[0])})"
                + (refused.Length == 1 ? "" : " and others"));
        }
    }

    private static string CountNotServed(string what, string[] names)
    {
        return names.Length == 1 ? $"1 {what} is not served" : $"{names.Length:N0} {what}s are not served";
    }

    private static string ListTypes(string[] names)
    {
        return string.Join(", ", names.Select(name => name[(name.LastIndexOf('.') + 1)..].ToLowerInvariant())
            .Distinct().Order(StringComparer.Ordinal));
    }

    // Returns whether locks work here. Without them, leftovers cannot be told from files that another server is
    // receiving.
    private bool ProbeFileSystem()
    {
        _hasHardLinks = ProbeHardLinks();
        if (!_hasHardLinks)
        {
            Notices.Add($"warning: {NoHardLinks}");
        }

        using Upload probe = CreateProbe();
        bool hasLocks = !TryDeleteOrphan(probe.TemporaryPath);
        if (!hasLocks)
        {
            Notices.Add("warning: this folder has no file locks, so leftovers of killed servers are not removed");
        }

        return hasLocks;
    }

    private bool ProbeHardLinks()
    {
        using Upload probe = CreateProbe();
        probe.Publish();
        if (probe.Result.IsOk)
        {
            File.Delete(probe.TargetPath);
        }

        return probe.Result.IsOk;
    }

    private Upload CreateProbe()
    {
        var probe = new Upload(Path, Upload.TemporaryName($"{Random.Shared.NextInt64():x16}"), sync: false);
        probe.CreateFile();
        return probe.Result.IsOk ? probe : throw new IOException(
            $"{probe.Result.Cause} (with --read-only the server does not need to write)");
    }

    // Returns true if the file was left over, and is deleted now. A running server holds a lock on its temporary files,
    // so opening them fails. Opening for writing does not wait, even if there is a pipe with this name.
    private static bool TryDeleteOrphan(string path)
    {
        try
        {
            using SafeFileHandle orphan = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None,
                FileOptions.DeleteOnClose);
            return true;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            return false;
        }
    }
}

internal sealed partial class ImageFolder
{
    // On Windows, PICTUR~1.PNG is another name for a file with a long name. LIST does not show it.
    private static bool HasItsOwnName(FileInfo entry, string name)
    {
        return !OperatingSystem.IsWindows() || entry.Name.Equals(name, StringComparison.OrdinalIgnoreCase);
    }

    // Some file systems hold fewer names than our rule allows: shorter ones, or not every character (NAME-4).
    private static bool IsImpossibleName(Exception e)
    {
        const int InvalidArgument = 22;
        const int IllegalByteSequence = 84;
        const int IllegalByteSequenceOnMac = 92;
        return e is PathTooLongException
            || e is IOException { HResult: InvalidArgument or IllegalByteSequence or IllegalByteSequenceOnMac };
    }
}

internal sealed partial class Upload
{
    private const int OpenReadOnly = 0;
    private const int MaxCreateAttempts = 5;

    // EAGAIN on Linux and on macOS: another process has the lock.

    // The lock ends with this process, so a later start can tell that a file without a lock is left over (P13). A
    // server that is just starting may find the new file before it is locked, and remove it. Then another name will
    // do.
    private SafeFileHandle CreateLockedFile()
    {
        for (int i = 0; i < MaxCreateAttempts; i++)
        {
            _temporaryPath = Path.Combine(folder, TemporaryName($"{Random.Shared.NextInt64():x16}"));
            if (TryCreateLockedFile() is { } file)
            {
                return file;
            }
        }

        throw new IOException("another process keeps removing the temporary file");
    }

    private SafeFileHandle? TryCreateLockedFile()
    {
        try
        {
            const FileShare OthersMayReadAndDelete = FileShare.Read | FileShare.Delete;
            // From here on, Dispose removes the file: also if it cannot be found out whether it is still there.
            _file = File.OpenHandle(_temporaryPath, FileMode.CreateNew, FileAccess.ReadWrite, OthersMayReadAndDelete);
            if (FileSystem.EntryExists(_temporaryPath))
            {
                return _file;
            }

            _file.Dispose();
            _file = null;
            return null;
        }
        catch (IOException e) when (e.HResult is FileSystem.ErrnoAgain or FileSystem.ErrnoAgainOnMac)
        {
            return null;
        }
    }

    public string TemporaryPath => _temporaryPath;

    // With --sync, the bytes are on the disk before the name appears, and the name is on the disk before the OK.
    private void PrepareToPublish(SafeFileHandle file)
    {
        if (Modified is { } time)
        {
            FileSystem.SetModified(file, time);
        }

        if (sync)
        {
            Flush(file);
        }
    }

    private void FlushNameIfSync(SafeFileHandle file)
    {
        if (!sync)
        {
            return;
        }

        try
        {
            FlushFolder(file);
        }
        catch (IOException)
        {
            // The client will read that nothing was stored, so the file must not be there.
            File.Delete(TargetPath);
            throw;
        }
    }

    private void FlushFolder(SafeFileHandle file)
    {
        if (OperatingSystem.IsWindows())
        {
            // Windows flushes a file's name together with the file.
            Flush(file);
            return;
        }

        using var names = new SafeFileHandle(OpenFolder(folder, OpenReadOnly), ownsHandle: true);
        Flush(names);
    }

    // .NET's own FlushToDisk does not report errors, so call fsync. On macOS fsync leaves the bytes in the disk's
    // cache, and FlushToDisk goes on from there.
    private static void Flush(SafeFileHandle file)
    {
        if (!OperatingSystem.IsWindows() && (file.IsInvalid || Fsync(file) != 0))
        {
            throw new IOException($"cannot flush to the disk: {Marshal.GetLastPInvokeErrorMessage()}");
        }

        if (!OperatingSystem.IsLinux())
        {
            RandomAccess.FlushToDisk(file);
        }
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint OpenFolder(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Fsync(SafeFileHandle file);
}

// =====================================================================================================================
// Appendix: large folders (LIST-1, P6)
//
// The listing of 100,000 pictures takes a quarter of a second, and no other client should wait for it. So it is made
// by a conversation of its own, which yields when its slice is over. One listing is made at a time. It is shared by
// all clients that asked before it began; a client that asks later waits for the next one, because it may have
// uploaded a file in the meantime. The lines are sorted in runs of 1,024, which a heap merges: both takes small steps.
// =====================================================================================================================

/// <summary>The answer to LIST.</summary>
/// <param name="Result"><see cref="Reply.Ok"/>, or <see cref="Reply.Storage"/> if the folder cannot be read.</param>
/// <param name="Lines">The block: one line for each file.</param>
internal sealed record Listing(Reply Result, byte[] Lines);

internal sealed partial class ImageFolder
{
    // The directory itself says which of its entries are folders or links. FileSystemEntry.Attributes would say so,
    // too, but it also finds out whether this user may write each file, which takes longer.
    private static readonly EnumerationOptions _regularFiles = new()
    {
        AttributesToSkip = FileAttributes.Directory | FileAttributes.ReparsePoint,
        IgnoreInaccessible = false,
    };

    private readonly ListingBuilder _listings;

    /// <summary>Makes a listing that begins after this call.</summary>
    /// <param name="owner">Whose wait is signalled when the listing is complete.</param>
    public Task<Listing> ListAsync(object owner) => _listings.RequestAsync(owner);

    /// <summary>Makes listings, one at a time.</summary>
    private sealed class ListingBuilder(EventLoop loop, string folder, string[] types)
    {
        private const int RunLength = 1024;

        private readonly WeakReference<byte[]> _latest = new([]);
        private Task _running = Task.CompletedTask;
        private Task<Listing>? _notBegun;
        private List<object> _waiting = [];

        // The lines of the listing that is being made, in sorted runs. The list keeps its memory for the next one.
        private readonly List<ListingLine> _lines = [];

        // The runs, ordered by their next lines. Each is an index into _lines.
        private readonly PriorityQueue<int, ListingLine> _heap = new(ListingLine.ByName);

        public Task<Listing> RequestAsync(object owner)
        {
            _notBegun ??= BuildAsync(_running);
            _waiting.Add(owner);
            return _notBegun;
        }

        private async Task<Listing> BuildAsync(Task previous)
        {
            var owner = new object();
            do
            {
                await loop.NextIterationAsync(owner);
            }
            while (!previous.IsCompleted);

            // From here on, a client that asks gets another listing.
            List<object> waiting = _waiting;
            _waiting = [];
            _running = _notBegun!;
            _notBegun = null;
            try
            {
                return new Listing(Reply.Ok, await BuildLinesAsync(owner));
            }
            catch (Exception e) when (FileSystem.IsIoFailure(e))
            {
                return new Listing(Reply.Storage.WithCause(e), []);
            }
            finally
            {
                _running = Task.CompletedTask;
                _lines.Clear();
                _heap.Clear();
                loop.Forget(owner);
                waiting.ForEach(loop.Signal);
            }
        }

        private async Task<byte[]> BuildLinesAsync(object owner)
        {
            using var formatter = new LineFormatter(types);
            int length = 0;
            foreach (ListingLine line in new FileSystemEnumerable<ListingLine>(folder, formatter.Format, _regularFiles))
            {
                if (!line.IsEmpty)
                {
                    _lines.Add(line);
                    length += line.Bytes.Length;
                    SortRunIfFull();
                }

                if (loop.IsSliceOver)
                {
                    await loop.NextIterationAsync(owner);
                }
            }

            SortRun(_lines.Count % RunLength);
            byte[] lines = ArrayPool<byte>.Shared.Rent(length);
            try
            {
                int total = await MergeRunsAsync(owner, lines);
                return ShareIfEqual(lines.AsSpan(0, total));
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(lines);
            }
        }

        private void SortRunIfFull()
        {
            if (_lines.Count % RunLength == 0)
            {
                SortRun(RunLength);
            }
        }

        // Sorts the last lines, and adds them as a run.
        private void SortRun(int length)
        {
            if (length > 0)
            {
                int start = _lines.Count - length;
                _lines.Sort(start, length, ListingLine.ByName);
                _heap.Enqueue(start, _lines[start]);
            }
        }

        // Returns how many bytes it has put into the array.
        private async Task<int> MergeRunsAsync(object owner, byte[] lines)
        {
            int position = 0;
            ListingLine previous = default;
            while (_heap.TryPeek(out int index, out ListingLine line))
            {
                AdvanceRun(index + 1);

                // .NET shows names that are not UTF-8 with the replacement character U+FFFD, so two names can look
                // alike.
                if (!line.Name.SequenceEqual(previous.Name))
                {
                    line.Bytes.CopyTo(lines.AsSpan(position));
                    position += line.Bytes.Length;
                }

                previous = line;
                if (loop.IsSliceOver)
                {
                    await loop.NextIterationAsync(owner);
                }
            }

            return position;
        }

        // The run in front goes on at this index, if it does not end there.
        private void AdvanceRun(int index)
        {
            if (index % RunLength == 0 || index == _lines.Count)
            {
                _heap.Dequeue();
            }
            else
            {
                _heap.DequeueEnqueue(index, _lines[index]);
            }
        }

        // Clients that read slowly keep their listing for a while. While the folder does not change, they all share
        // one.
        private byte[] ShareIfEqual(ReadOnlySpan<byte> lines)
        {
            if (_latest.TryGetTarget(out byte[]? latest) && lines.SequenceEqual(latest))
            {
                return latest;
            }

            latest = lines.ToArray();
            _latest.SetTarget(latest);
            return latest;
        }
    }

    /// <summary>One formatted line: a piece of a larger array, of which the name comes first.</summary>
    private readonly record struct ListingLine(byte[] Chunk, int Start, ushort NameLength, ushort Length)
    {
        public static readonly IComparer<ListingLine> ByName =
            Comparer<ListingLine>.Create((a, b) => a.Name.SequenceCompareTo(b.Name));

        public bool IsEmpty => Length == 0;

        public ReadOnlySpan<byte> Name => Chunk.AsSpan(Start, NameLength);

        public ReadOnlySpan<byte> Bytes => Chunk.AsSpan(Start, Length);
    }

    /// <summary>Formats the lines of a listing into arrays that grow with their number. They are valid until Dispose:
    /// then the next listing can use the arrays, and no memory waits for the garbage collector.</summary>
    private sealed class LineFormatter(string[] types) : IDisposable
    {
        private const int FirstChunkSize = 4 * 1024;
        private const int MaxChunkSize = 256 * 1024;

        private readonly List<byte[]> _chunks = [];
        private byte[] _chunk = [];
        private int _used;

        /// <summary>The line of a directory entry; the default value, which is empty, for an entry that is not served.
        /// </summary>
        /// <exception cref="IOException">The size of a file that still exists cannot be found out.
        /// </exception>
        public ListingLine Format(ref FileSystemEntry entry)
        {
            string name = entry.FileName.ToString();
            if (!HasExtension(name, types) || FindNameProblem(name) != NameProblem.None)
            {
                return default;
            }

            long size = entry.Length;
            if (size > 0)
            {
                return Format(name, size, GetModified(ref entry));
            }

            // FileSystemEntry shows a file whose status cannot be read as an empty one. FileInfo throws in that case.
            var file = new FileInfo(entry.ToFullPath());
            return IsServable(file) ? Format(name, file.Length, GetTime(file)) : default;
        }

        public void Dispose() => _chunks.ForEach(chunk => ArrayPool<byte>.Shared.Return(chunk));

        private ListingLine Format(string name, long size, DateTime modified)
        {
            if (_chunk.Length - _used < MaxLineBytes)
            {
                int chunkSize = Math.Clamp(_chunk.Length * 4, FirstChunkSize, MaxChunkSize);
                _chunk = ArrayPool<byte>.Shared.Rent(chunkSize);
                _chunks.Add(_chunk);
                _used = 0;
            }

            int start = _used;
            Utf8.TryWrite(_chunk.AsSpan(start), $"{name}|{size}|{modified:s}Z\n", out int length);
            _used += length;
            return new ListingLine(_chunk, start, (ushort)Encoding.UTF8.GetByteCount(name), (ushort)length);
        }

        private static DateTime GetModified(ref FileSystemEntry entry)
        {
            try
            {
                return entry.LastWriteTimeUtc.UtcDateTime;
            }
            catch (ArgumentOutOfRangeException)
            {
                return FileSystem.GetNearestTime(entry.ToFullPath());
            }
        }

        private static DateTime GetTime(FileInfo file)
        {
            try
            {
                return file.LastWriteTimeUtc;
            }
            catch (ArgumentOutOfRangeException)
            {
                return FileSystem.GetNearestTime(file.FullName);
            }
        }
    }
}

internal sealed partial class EventLoop
{
    /// <summary>Completes in the iteration after <see cref="Signal"/> was called.</summary>
    public Task WhenSignalledAsync(object owner) => AddWait(owner, WaitReason.Signal, Never);

    /// <summary>Ends the wait of <see cref="WhenSignalledAsync"/>, if there is one.</summary>
    public void Signal(object owner)
    {
        if (_waits.TryGetValue(owner, out Wait? wait) && wait.Reason == WaitReason.Signal)
        {
            wait.Reason = WaitReason.NextIteration;
            NoteWait(wait);
        }
    }
}

internal sealed partial class Connection
{
    public Task WhenSignalledAsync() => _loop.WhenSignalledAsync(Socket);
}

internal sealed partial class RequestHandler
{
    private async Task<Listing> GetListingAsync()
    {
        Task<Listing> listing = folder.ListAsync(connection.Socket);
        while (!listing.IsCompleted)
        {
            // A wait of the event loop, and not of the task: so a stop can end it like every other wait.
            await connection.WhenSignalledAsync();
        }

        return await listing;
    }

    private async Task SendTextBlockAsync(byte[] text)
    {
        NoteBlock(text.Length);
        await connection.SendBlockAsync(text.Length, (buffer, position) => CopyPiece(text, position, buffer));
        connection.Trace.ServerLines(text);
    }

    private static int CopyPiece(byte[] source, long position, Span<byte> buffer)
    {
        int count = (int)Math.Min(buffer.Length, source.Length - position);
        source.AsSpan((int)position, count).CopyTo(buffer);
        return count;
    }
}

// =====================================================================================================================
// Appendix: the options of GET and PUT: digest, offset, modified, ahead (DIGEST-1 to AHEAD-3)
//
// In the core, each of these four options is answered `unsupported`.
// =====================================================================================================================

internal sealed partial class RequestHandler
{
    private const int HashPieceSize = 128 * 1024;

    private static bool HasOptions(GetRequest request)
    {
        return request.Offset > 0 || request.WantsDigest || request.WantsModified;
    }

    private static bool HasOptions(PutRequest request)
    {
        return request.HasDigest || request.Ahead || request.Modified is not null;
    }

    private static IncrementalHash? CreateHash(bool isWanted)
    {
        return isWanted ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
    }

    /// <summary>GET with an offset, a digest, or the time of the file.</summary>
    private async Task<Reply> HandleGetWithOptionsAsync(GetRequest request)
    {
        using ImageFile file = folder.Open(request.Name);
        using IncrementalHash? hash = CreateHash(request.WantsDigest);
        Reply result = file.Result;
        if (result.IsOk && request.Offset > (ulong)file.Length)
        {
            result = Reply.BadOffset;
        }

        if (result.IsOk && hash is not null)
        {
            result = await HashPrefixAsync(file, (long)request.Offset, hash);
        }

        if (result.IsOk)
        {
            result = MakeOk(request, file);
        }

        await connection.SendReplyAsync(result);
        if (result.IsOk)
        {
            await SendRestAsync(request, file, hash);
        }

        return result;
    }

    // OK, with the time if the client has asked for it; `storage` if the time cannot be read.
    private static Reply MakeOk(GetRequest request, ImageFile file)
    {
        try
        {
            return Reply.Ok with { Modified = request.WantsModified ? file.Modified : null };
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            return Reply.Storage.WithCause(e);
        }
    }

    private async Task SendRestAsync(GetRequest request, ImageFile file, IncrementalHash? hash)
    {
        long offset = (long)request.Offset;
        long length = file.Length - offset;
        NoteBlock(length);
        await connection.SendBlockAsync(length, ReaderFrom(file, offset, hash));
        connection.Trace.Server(offset == 0 ? $"<file:{request.Name}>" : $"<any:{length}>");
        if (hash is not null)
        {
            byte[] digest = hash.GetHashAndReset();
            connection.Trace.Server($"<hex:{Convert.ToHexString(digest)}>");
            await connection.QueueAsync(digest);
        }
    }

    // The digest is that of the whole file. So the part that is not sent is read and hashed, too, before the reply.
    private async Task<Reply> HashPrefixAsync(ImageFile file, long end, IncrementalHash hash)
    {
        await connection.FlushAsync();
        long position = 0;
        while (position < end)
        {
            Reply result = HashPiece(file, end, hash, ref position);
            if (!result.IsOk)
            {
                return result;
            }

            await connection.NextIterationIfSliceIsOverAsync();
        }

        return Reply.Ok;
    }

    private static Reply HashPiece(ImageFile file, long end, IncrementalHash hash, ref long position)
    {
        try
        {
            int size = (int)Math.Min(HashPieceSize, end - position);
            int count = file.Read(Connection.SharedBuffer.AsSpan(0, size), position);
            hash.AppendData(Connection.SharedBuffer, 0, count);
            position += count;
            return count > 0 ? Reply.Ok : Reply.Storage.WithCause("the file has become shorter");
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            return Reply.Storage.WithCause(e);
        }
    }

    private static BlockReader ReaderFrom(ImageFile file, long offset, IncrementalHash? hash)
    {
        // Bytes that the kernel did not accept are read again. They must be hashed once only.
        long hashed = 0;
        return (buffer, position) =>
        {
            int count = file.Read(buffer, offset + position);
            int known = (int)Math.Min(hashed - position, count);
            hash?.AppendData(buffer[known..count]);
            hashed += count - known;
            return count;
        };
    }

    private Reply TooLarge => Reply.TooLarge with { Text = $"{Reply.TooLarge.Text} ({settings.MaxSize:N0} bytes)" };

    /// <summary>PUT with a digest, the time of the file, or `ahead`.</summary>
    private async Task<Reply> HandlePutWithOptionsAsync(PutRequest request)
    {
        using Upload upload = folder.BeginUpload(request.Name);
        using IncrementalHash? hash = CreateHash(request.HasDigest);
        upload.Modified = request.Modified;
        upload.ReportsFirstInTable = request.Ahead;
        if (!upload.Result.IsOk && !request.Ahead)
        {
            return await connection.SendReplyAsync(upload.Result);
        }

        // With `ahead`, the client may have sent the block already. So even a refusal waits for the end of the block.
        await connection.SendReplyAsync(Reply.Ok);
        ulong length = await ReadLengthAsync();
        if (length > (ulong)settings.MaxSize)
        {
            return await connection.SendReplyAsync(TooLarge);
        }

        await ReceiveFileAsync(request.Name, upload, (long)length, WriterTo(upload, hash));
        if (hash is not null)
        {
            await CheckDigestAsync(upload, hash);
        }

        upload.Publish();
        return await connection.SendReplyAsync(upload.Result);
    }

    private static BlockWriter WriterTo(Upload upload, IncrementalHash? hash)
    {
        return bytes =>
        {
            hash?.AppendData(bytes);
            upload.Write(bytes);
        };
    }

    // The digest follows every block, also an empty one, and one that is refused (BLOCK-3).
    private async ValueTask CheckDigestAsync(Upload upload, IncrementalHash hash)
    {
        byte[] digest = await connection.ReadExactlyAsync(DigestSize);
        connection.Trace.Client($"<hex:{Convert.ToHexString(digest)}>");
        if (!digest.AsSpan().SequenceEqual(hash.GetHashAndReset()))
        {
            upload.Refuse(Reply.Corrupt);
        }
    }
}

internal sealed partial class ImageFile
{
    /// <summary>When the file was last modified, in UTC.</summary>
    public DateTime Modified => FileSystem.GetModified(_handle!);
}

internal sealed partial class Upload
{
    /// <summary>The time that the stored file gets, in UTC, or null for the present time.</summary>
    public DateTime? Modified { get; set; }

    /// <summary>Whether the first reason in the table of errors is the answer, and not the one that was found first
    /// (AHEAD-2, PUT-6).</summary>
    public bool ReportsFirstInTable { get; set; }

    private bool ComesFirstWithAhead(Reply reply) => ReportsFirstInTable && reply.Row < Result.Row;
}

// =====================================================================================================================
// Appendix: STATUS (STATUS-1, STATUS-2)
// =====================================================================================================================

/// <summary>What STATUS tells about one connection.</summary>
internal sealed class ConnectionRecord
{
    private readonly DateTime _connected = DateTime.UtcNow;

    public ConnectionRecord(Socket socket)
    {
        var remote = (IPEndPoint)socket.RemoteEndPoint!;

        // An IPv6 address may carry the name of a network interface of this machine. It means nothing to others.
        IPAddress address = remote.Address.IsIPv4MappedToIPv6 ? remote.Address.MapToIPv4()
            : new IPAddress(remote.Address.GetAddressBytes());
        Address = new IPEndPoint(address, remote.Port).ToString();
    }

    /// <summary>The client's address and port.</summary>
    public string Address { get; }

    public DateTime? Disconnected { get; set; }

    public long Requests { get; set; }

    /// <summary>Bytes that the server has received, without what TLS adds.</summary>
    public long Received { get; set; }

    /// <summary>Bytes that the server has given to the kernel, without what TLS adds.</summary>
    public long Sent { get; set; }

    public string ToStatusLine()
    {
        string disconnected = Disconnected is { } time ? FormatTime(time) : "-";
        return $"{FormatTime(_connected)}|{disconnected}|{Address}|{Requests}|{Received}|{Sent}\n";
    }
}

/// <summary>The last 1,000 connections, oldest first.</summary>
internal sealed class ConnectionHistory
{
    private const int MaxRecords = 1000;

    private readonly Queue<ConnectionRecord> _records = new();

    public void Add(ConnectionRecord record)
    {
        _records.Enqueue(record);
        if (_records.Count > MaxRecords)
        {
            _records.Dequeue();
        }
    }

    public byte[] Format() => Encoding.UTF8.GetBytes(string.Concat(_records.Select(record => record.ToStatusLine())));
}

internal sealed partial class RequestHandler
{
    /// <summary>STATUS: a block with one line for each of the last connections.</summary>
    private async Task<Reply> HandleStatusAsync()
    {
        // Earlier replies of this connection count as sent.
        await connection.FlushAsync();
        byte[] lines = history.Format();
        await connection.SendReplyAsync(Reply.Ok);
        await SendTextBlockAsync(lines);
        return Reply.Ok;
    }
}

// =====================================================================================================================
// Appendix: the log and the trace
// =====================================================================================================================

/// <summary>Writes lines to stderr, on a thread of its own: a terminal that is stopped, or a pipe that is not read,
/// blocks its writer, and must not block the event loop (P6).</summary>
internal sealed class Log
{
    private const int MaxWaitingLines = 1000;
    private const int DrainTimeoutMs = 500;

    private readonly BlockingCollection<string> _lines = new(MaxWaitingLines);
    private readonly Thread _writer;

    // Opened now: later, there may be no file descriptor for it.
    private readonly TextWriter _stderr = Console.Error;
    private int _dropped;

    public Log(bool quiet)
    {
        IsQuiet = quiet;
        _writer = new Thread(WriterLoop) { IsBackground = true };
        _writer.Start();
    }

    /// <summary>Whether --quiet was given.</summary>
    public bool IsQuiet { get; }

    /// <summary>One event, with its time in UTC. Texts of a peer have to be escaped before.</summary>
    public void Info(string line)
    {
        if (!IsQuiet)
        {
            Enqueue($"{FormatTime(DateTime.UtcNow)} {line}");
        }
    }

    /// <summary>Something that the person who starts the server should know.</summary>
    public void Notice(string line)
    {
        if (!IsQuiet)
        {
            Enqueue(line);
        }
    }

    /// <summary>A line that is written also with --quiet. If too many lines wait, it is dropped and counted.</summary>
    public void Enqueue(string line)
    {
        if (!_lines.TryAdd(line))
        {
            Interlocked.Increment(ref _dropped);
        }
    }

    /// <summary>Writes what is left, for at most half a second.</summary>
    public void Drain()
    {
        _lines.CompleteAdding();
        _writer.Join(DrainTimeoutMs);
    }

    private void WriterLoop()
    {
        foreach (string line in _lines.GetConsumingEnumerable())
        {
            try
            {
                _stderr.WriteLine(line);
                int dropped = Interlocked.Exchange(ref _dropped, 0);
                if (dropped > 0)
                {
                    _stderr.WriteLine($"({dropped} lines of the log were dropped)");
                }
            }
            catch (Exception e) when (FileSystem.IsIoFailure(e))
            {
                // stderr is closed or on a full disk. The server goes on without this line.
                Interlocked.Increment(ref _dropped);
            }
        }
    }
}

internal sealed partial class RequestHandler
{
    private const string NoRequest = "-";
    private const int MaxShownChars = 100;

    private string _request = NoRequest;
    private long _requestStarted;
    private long _blockLength;

    private void ForgetRequest() => _request = NoRequest;

    private void NoteRequest(Request request, ReadOnlySpan<byte> line)
    {
        connection.Trace.ClientLine(line);
        connection.Record.Requests++;
        _requestStarted = Environment.TickCount64;
        _blockLength = 0;
        _request = log.IsQuiet ? "" : Summarize(request, Escape(line.TrimEnd((byte)'\n')));
    }

    private static string Summarize(Request request, string line)
    {
        if (request is not InvalidRequest)
        {
            return string.Join(' ', line.Split('|').Take(2));
        }

        // The first bytes of a TLS handshake, to a server without a key (LINE-4).
        bool isTls = line.StartsWith(Escape([TlsHandshakeByte]), StringComparison.Ordinal);
        return isTls ? "a client with --key" : $"? {line[..Math.Min(line.Length, MaxShownChars)]}";
    }

    private void NoteBlock(long length) => _blockLength = length;

    // A client that just disconnects between two requests is not worth a line.
    private void LogEnd(string reason, bool alwaysLog)
    {
        if (!connection.IsEnding && (alwaysLog || _request != NoRequest))
        {
            LogRequest(reason);
        }
    }

    private void LogOutcome(Reply reply)
    {
        string outcome = reply.IsOk ? "ok" : reply.Code;
        LogRequest(reply.Cause == "" ? outcome : $"{outcome}: {reply.Cause}");
    }

    private void LogRequest(string outcome)
    {
        long duration = _request == NoRequest ? 0 : Environment.TickCount64 - _requestStarted;
        log.Info($"#{connection.Id} {_request}, {_blockLength} bytes, {duration} ms, {Escape(outcome)}");
    }

    private void LogDisconnect()
    {
        ConnectionRecord record = connection.Record;
        string requests = record.Requests == 1 ? "1 request" : $"{record.Requests} requests";
        log.Info($"#{connection.Id} disconnected: {requests}, {record.Received} bytes in, "
            + $"{record.Sent} bytes out");
    }
}

/// <summary>Prints one connection in the notation of Protocol.md, for --trace.</summary>
/// <param name="log">Where to, or null without --trace.</param>
/// <param name="id">The number of the connection.</param>
internal sealed class TraceWriter(Log? log, int id)
{
    /// <summary>Something that the client has sent, in the notation of transcripts.</summary>
    public void Client(string text) => log?.Enqueue($"#{id} C: {text}");

    /// <summary>Something that the server sends.</summary>
    public void Server(string text) => log?.Enqueue($"#{id} S: {text}");

    /// <summary>A line of the client, with its LF.</summary>
    public void ClientLine(ReadOnlySpan<byte> line)
    {
        if (log is not null)
        {
            Client(Escape(line));
        }
    }

    /// <summary>A line of the server, with its LF.</summary>
    public void ServerLine(ReadOnlySpan<byte> line)
    {
        if (log is not null)
        {
            Server(Escape(line));
        }
    }

    /// <summary>The block of an upload.</summary>
    public void ClientBlock(string name, long length, bool isStored)
    {
        if (length > 0)
        {
            Client(isStored ? $"<file:{name}>" : $"<any:{length}>");
        }
    }

    /// <summary>The block of a listing, line by line.</summary>
    public void ServerLines(byte[] lines)
    {
        if (log is null)
        {
            return;
        }

        foreach (string line in Encoding.UTF8.GetString(lines).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            Server($"{Escape(line)}\\n");
        }
    }
}

// =====================================================================================================================
// Appendix: sealed connections, TLS on the event loop (SEAL-2 to SEAL-11)
//
// .NET's SslStream encrypts and decrypts, and reads and writes a stream below it. Here that stream is a TlsPipe (at the
// end of Client.cs): two buffers in memory. This class moves bytes between the buffers and the socket, and waits for
// the socket on the event loop like every other connection. So TLS needs no thread, and SslStream never touches the
// socket:
//
//     RequestHandler ─ Connection ─ TlsTransport ─┬─ SslStream ─ TlsPipe
//                                                 └─ socket      (ciphertext in memory)
//
// SslStream.ReadAsync has to wait while a record is not complete. Its task is kept in _pendingRead and completes, on
// our thread, when the rest of the record is put into the pipe. It is a read of zero bytes: SslStream keeps what it has
// decrypted until Read copies it to where it is needed. So no buffer has to be kept for a read that waits.
// =====================================================================================================================

/// <summary>A connection inside TLS 1.3. Both sides have to prove that they have the key.</summary>
internal sealed class TlsTransport : Transport
{
    private const int HandshakeTimeoutMs = 10_000;
    private const int MaxHandshakeBytes = 8 * 1024;
    private const int MaxRecordsWithoutData = 1000;

    // The alert "unexpected message". Its last byte is an LF, so a client that waits for a line gets one (SEAL-5).
    private static readonly byte[] _plainAlert = [0x15, 3, 3, 0, 2, 2, (byte)'\n'];

    private readonly KeyFile _key;
    private readonly TlsPipe _pipe = new(isServer: true);
    private readonly SslStream _tls;

    // Completes when TLS has decrypted a record, or has ended.
    private Task? _pendingRead;
    private long _recordsBeforeRead;
    private long _dataRecords;
    private bool _isEndOfStream;
    private bool _isPlainClient;

    // Why nothing more can be received. It is reported when everything that arrived before it has been used (SEAL-11).
    private ConnectionAbortedException? _failure;

    public TlsTransport(EventLoop loop, Socket socket, KeyFile key) : base(loop, socket)
    {
        _key = key;
        _tls = new SslStream(_pipe);
        Loop.SetAuthenticated(socket, false);
    }

    public override bool IsAuthenticated => _tls.IsAuthenticated;

    public override bool IsEncrypted => true;

    public override bool HasUnsentBytes => _pipe.HasOutput;

    public override int MaxBytesPerSend => 64 * 1024;

    public override async Task HandshakeAsync()
    {
        long deadline = Environment.TickCount64 + HandshakeTimeoutMs;
        await Loop.NextIterationAsync(Socket);
        try
        {
            Task handshake = _tls.AuthenticateAsServerAsync(_key.ServerOptions);
            while (!handshake.IsCompleted)
            {
                await FlushAsync(deadline);
                await ReceiveHandshakeAsync(deadline);
            }

            await CompleteAsync(handshake);
        }
        catch (Exception e) when (IsTlsFailure(e))
        {
            // Before the await: other handshakes compare with the same key object.
            bool hasOtherKey = e is AuthenticationException && _key.PeerHasOtherKey;
            string reason = hasOtherKey ? "the client has another key"
                : $"handshake failed: {Escape(InnermostMessage(e))}";
            await FlushAsync(deadline);
            throw new ConnectionAbortedException(reason, Reply.BadRequest);
        }

        Loop.SetAuthenticated(Socket, true);
        await FlushAsync(deadline);
    }

    public override int Receive(Span<byte> buffer)
    {
        int count = 0;
        while (count < buffer.Length && !_isEndOfStream && Decrypt())
        {
            int some = _tls.Read(buffer[count..]);
            _pendingRead = null;
            _isEndOfStream = some == 0;
            count += some;
        }

        if (count == 0 && _failure is not null)
        {
            throw _failure;
        }

        return count > 0 || _isEndOfStream ? count : WouldBlock;
    }

    public override int Send(ReadOnlySpan<byte> bytes)
    {
        // What is encrypted waits in the pipe until the kernel has accepted it. Only then more is encrypted, so the
        // pipe never holds more than one piece.
        if (!TryFlush())
        {
            return 0;
        }

        ReadOnlySpan<byte> piece = bytes[..Math.Min(bytes.Length, MaxBytesPerSend)];
        if (piece.Length > 0)
        {
            // This also sends OpenSSL's answers to KeyUpdate.
            _pipe.ReserveOutput(piece.Length);
            Encrypt(piece);
            _dataRecords = _pipe.RecordsRead;
            TryFlush();
        }

        return piece.Length;
    }

    public override async Task WhenReadableAsync(long deadline)
    {
        // A record may arrive in many pieces. The plaintext is there when the last of them is.
        while (!Decrypt() && !_isEndOfStream && _failure is null)
        {
            await Loop.WhenReadableAsync(Socket, deadline);
        }
    }

    public override async Task ShutdownSendAsync(long deadline)
    {
        if (IsAuthenticated)
        {
            await SendCloseNotifyAsync();
        }
        else if (_isPlainClient)
        {
            _pipe.Write(_plainAlert);
        }

        await FlushAsync(deadline);
        await base.ShutdownSendAsync(deadline);
    }

    public override void Dispose()
    {
        try
        {
            _tls.Dispose();
            _pipe.ReleaseBuffers();
        }
        finally
        {
            base.Dispose();
        }
    }

    private void Encrypt(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _tls.Write(bytes);
        }
        catch (Exception e) when (IsTlsFailure(e))
        {
            throw CannotGoOn(e);
        }
    }

    private async Task SendCloseNotifyAsync()
    {
        try
        {
            await _tls.ShutdownAsync();
        }
        catch (Exception e) when (IsTlsFailure(e))
        {
            throw CannotGoOn(e);
        }
    }

    private static async Task CompleteAsync(Task handshake)
    {
        try
        {
            await handshake;
        }
        catch (ArgumentOutOfRangeException e)
        {
            // .NET's parser throws it if a length in a ClientHello is larger than the ClientHello.
            throw new IOException("the ClientHello is malformed", e);
        }
    }

    // Makes sure that there are decrypted bytes, or the end of the stream. Returns false if more ciphertext has to
    // arrive first.
    private bool Decrypt()
    {
        if (_failure is not null)
        {
            return false;
        }

        try
        {
            return DecryptRecord();
        }
        catch (ConnectionAbortedException e)
        {
            _failure = e;
            return false;
        }
    }

    private bool DecryptRecord()
    {
        if (_pendingRead is null)
        {
            _recordsBeforeRead = _pipe.RecordsRead;
            _pendingRead = _tls.ReadAsync(Memory<byte>.Empty).AsTask();
        }

        while (!_pendingRead.IsCompleted)
        {
            RequireData();
            if (!ReceiveCiphertext())
            {
                return false;
            }
        }

        FinishRead(_pendingRead);
        return true;
    }

    private void FinishRead(Task read)
    {
        try
        {
            read.GetAwaiter().GetResult();
        }
        catch (Exception e) when (IsTlsFailure(e))
        {
            throw CannotGoOn(e);
        }

        // If no record was read, TLS still has bytes of the one before.
        _dataRecords += _pipe.RecordsRead > _recordsBeforeRead ? 1 : 0;
        _recordsBeforeRead = _pipe.RecordsRead;
    }

    // OpenSSL keeps its answer to each KeyUpdate in memory until we send something. A client must not pile them up
    // (P7).
    private void RequireData()
    {
        if (_pipe.RecordsRead - _dataRecords > MaxRecordsWithoutData)
        {
            throw new ConnectionAbortedException("too many TLS records without data");
        }
    }

    // Returns false if nothing has arrived.
    private bool ReceiveCiphertext()
    {
        int count = ReceiveFromSocket(_pipe.GetInputBuffer());
        if (count == 0)
        {
            // TLS says by itself that it ends (close_notify). A FIN without it means that the connection was cut
            // (SEAL-11).
            throw new ConnectionAbortedException("the connection ended without TLS's close_notify");
        }

        _pipe.AddInput(Math.Max(count, 0));
        return count > 0;
    }

    private async Task ReceiveHandshakeAsync(long deadline)
    {
        if (ReceiveCiphertext())
        {
            CheckFirstBytes();
        }
        else
        {
            await Loop.WhenReadableAsync(Socket, deadline);
        }
    }

    private void CheckFirstBytes()
    {
        _isPlainClient = _pipe.FirstByte != TlsHandshakeByte;
        if (_isPlainClient)
        {
            throw new ConnectionAbortedException("a client without TLS", Reply.BadRequest);
        }

        // The pipe hands out one record at a time, so requests that arrive with the client's last handshake message are
        // not counted: TLS has not asked for them yet.
        if (_pipe.BytesRead > MaxHandshakeBytes && !IsAuthenticated)
        {
            throw new ConnectionAbortedException("the handshake is too long");
        }
    }

    private bool TryFlush()
    {
        while (_pipe.HasOutput)
        {
            int sent = SendToSocket(_pipe.Output);
            if (sent == 0)
            {
                return false;
            }

            _pipe.RemoveOutput(sent);
        }

        return true;
    }

    private async Task FlushAsync(long deadline)
    {
        while (!TryFlush())
        {
            await WhenWritableAsync(deadline);
        }
    }

    private static bool IsTlsFailure(Exception e)
    {
        return e is AuthenticationException or IOException or CryptographicException;
    }

    private static ConnectionAbortedException CannotGoOn(Exception e)
    {
        return new ConnectionAbortedException($"TLS failed: {Escape(InnermostMessage(e))}");
    }

    private static string InnermostMessage(Exception e)
    {
        return e.InnerException is ArgumentOutOfRangeException ? e.Message : e.GetBaseException().Message;
    }
}
