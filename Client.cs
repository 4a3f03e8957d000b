// ImageTransfer, the client, and what client and server share.
//
// Read this file first, from top to bottom, and Server.cs after it. Both are written in lessons. A lesson begins with a
// heading that says what it teaches, which paragraphs of Protocol.md it implements (by their ids, such as GET-1), and a
// command that shows it. You can stop after any lesson: it needs nothing from the ones that follow, except that it may
// call a method whose name says what it does.
//
//     Lesson 1   Protocol           lines, numbers, requests, replies and names: from bytes to values and back
//     Lesson 2   ServerConnection   a blocking socket, and how to read a line or exactly n bytes from a stream
//     Lesson 3   LIST and GET       a block of a known length, saved in a file that appears complete or not at all
//     Lesson 4   PUT                wait for the go-ahead, send, and wait for the reply
//
// After lesson 4 you have read a whole client. Appendices follow, in any order that you like: they add the optional
// features of the protocol and what people expect of a command line.
//
// Problems are reported in these ways, here and in Server.cs:
//     Reply                          the answer to one request; Reply.Ok is success, every other reply is an error
//     ConnectionLostException        (client) the connection has ended before a reply was complete
//     ProtocolViolationException     (client) the server sends what this protocol does not allow
//     ConnectionAbortedException     (server) ends one connection: the client has reset it or ended inside a block, the
//                                    server is stopping, or a file that is being sent cannot be read any further
//     TimeoutException               (server) ends one connection: a deadline has passed
//     IOException and a few others   a file cannot be read or written; caught where the file is used
//     CommandLineException           one line for the person at the terminal, then the program ends
//
// C# for readers of Python and Java:
//     internal, public, private, protected          who may use it: this program, every class, this class alone,
//                                                   this class and those derived from it
//     class A : B                                   A is derived from B
//     sealed, abstract, virtual, override           not to be derived from; derived classes must, may, do replace it
//     int Size => e;   F(x) => e;   x => e          a property, a method, a lambda that returns e
//     string Name { get; init; }                    an attribute that is set once, when the object is made
//     F(x, out int y)                               F gives back two values: what it returns, and y
//     x switch { [a, .. var rest] => b, _ => c }    Python's match, as an expression; .. is the rest of a list; `when`
//                                                   adds a condition, as `if` does in Python
//     $"a {x}", @"a\b", """..."""                  Python's f"a {x}", r"a\b" and multi-line strings
//     bytes[2..n], bytes[^1], "OK"u8                slices as in Python; the last element; b"OK"
//     { Length: > 0 } text                          a pattern: "has a Length above 0; call it text"
//     [1, .. a, .. b]                               [1, *a, *b]
//     Span<byte>, ReadOnlySpan<byte>                Python's memoryview: a window on bytes, not a copy
//     stackalloc byte[12]                           twelve bytes that last until the method returns
//     Memory<byte>, ReadOnlyMemory<byte>            the same, but it may also be used after an await
//     Reply? reply                                  reply may be null, which is Python's None
//     a ?? b, a ??= b                               a, or b if a is null; a = b, but only if a is null
//     a?.F(), a!                                    a.F(), but nothing if a is null; "I know that a is not null here"
//     a is { } b                                    true if a is not null; then b is its value
//     a is not { } b                                true if a is null; where it is not, b is its value
//     record, x with { A = 1 }, new(1)              a class of values; a copy with another A; the type is known from
//                                                   the left side
//     class X(int a)                                the constructor is in the first line; all methods can use a
//     partial class X                               the rest of the class is elsewhere in this file
//     Socket Socket { get; }                        an attribute that is named like its type
//     using Y y = ...;                              Python's with: y.Dispose() is called at the end of the block, if Y
//                                                   is an IDisposable
//     c ? a : throw e                               a if c, otherwise raise e
//     catch (E e) when (c)                          except E as e, but only if c holds
//     _ = F();                                      call F, and do not use what it returns
//     async, await, Task, ValueTask                 as in asyncio; a Task is a future, and a ValueTask a cheaper one
//     TaskCompletionSource                          a future, and the means to complete it (SetResult, SetException)
//     delegate, Func<long, Task>                    the type of a function
//     a.Select(f), a.Where(f), a.Any(f), a.All(f)   map(f, a), filter(f, a), any(map(f, a)), all(map(f, a))
//     SafeFileHandle, RandomAccess                  an open file; os.pread and os.pwrite
//     using static Protocol                         from protocol import *
//     LibraryImport                                 Python's ctypes: a function of the operating system

using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.IO.Enumeration;
using System.Linq;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Unicode;
using System.Threading;
using System.Threading.Tasks;
using Microsoft.Win32.SafeHandles;
using static ImageTransfer.CommandText;
using static ImageTransfer.Protocol;

namespace ImageTransfer;

// The beginning of the program. You can skip this class: it finds out whether to run the server or the client.
internal static class Program
{
    private const string Usage = """
        ImageTransfer moves pictures between machines.

          imagetransfer server [PORT] [OPTION...]                serve a folder of pictures
          imagetransfer client HOST [PORT] [COMMAND [FILE...]]   list, download and upload pictures

        `imagetransfer server --help` and `imagetransfer client --help` say more. --version shows the version.
        """;

    private static int Main(string[] args)
    {
        StandardStreams.Prepare();
        try
        {
            return Run(args);
        }
        catch (CommandLineException e)
        {
            StandardStreams.WriteErrorLine($"imagetransfer: {e.Message}");
            return e.ExitCode;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e.GetBaseException()))
        {
            // The system does not let this program start, for example if it may not open any more files.
            StandardStreams.WriteErrorLine($"imagetransfer: {e.GetBaseException().Message}");
            return ExitCode.Failed;
        }
    }

    private static int Run(string[] args)
    {
        return args switch
        {
            ["server", .. var rest] => Server.Run(rest),
            ["client", .. var rest] => Client.Run(rest),
            ["--help" or "-h" or "help", "server", ..] => Server.Run(["--help"]),
            ["--help" or "-h" or "help", "client", ..] => Client.Run(["--help"]),
            ["--help" or "-h" or "help", ..] => StandardStreams.Print(Usage),
            ["--version"] => StandardStreams.Print($"imagetransfer {CommandLineOptions.Version}"),
            [] => throw new CommandLineException("say `server` or `client`; see --help"),
            _ => throw UnknownMode(args),
        };
    }

    private static CommandLineException UnknownMode(string[] args)
    {
        string word = args[0];
        if (Client.IsCommand(word))
        {
            // LIST and STATUS take no file, so the word after them is a host.
            bool hasHost = Client.GetVerb(word) is "LIST" or "STATUS" && args.Length > 1;
            string host = hasHost ? args[1] : "HOST";
            IEnumerable<string> others = args.Skip(hasHost ? 2 : 1).Prepend(word.ToUpperInvariant());
            string words = Escape(string.Join(' ', others.Prepend(host).Select(ShellQuote)));
            return new CommandLineException($"a command needs `client` and HOST: imagetransfer client {words}");
        }

        string suggestion = Suggestion.For(word, ["server", "client", "help"]);
        string advice = suggestion != "" ? suggestion : "; see --help";
        return new CommandLineException($"there is no mode {Quote(word)}{advice}");
    }
}

// =====================================================================================================================
// Lesson 1: requests and replies
//
// What it teaches: a protocol is a set of rules that turn bytes into values and back. Everything in this lesson is a
// pure function. There is no socket and no file, so each rule can be read, and tested, by itself.
//
// Protocol.md: LINE-1 to LINE-3 (lines), REQ-1 and REQ-2 (requests), REPLY-1 (replies), BLOCK-1 (lengths), NAME-1 to
// NAME-4 (names), TYPE-1 and TYPE-2 (file types), and the table of errors.
//
// Left open here for the appendices. In the core:
//     ParseOptions                answers `bad-request` to an option given twice, and `unsupported` to any other
//     FormatOptions               writes none
//     FormatModified              writes nothing
//     ParseOkWithTime             returns null: `OK|` and something is not a reply
//
// See it:  make test STAGE=5                   the suite sends every kind of wrong line to the server
//
// You can stop here: lesson 2 adds the socket.
// =====================================================================================================================

/// <summary>A request line, parsed. There is one record for each verb.</summary>
internal abstract partial record Request;

/// <summary>LIST: which files are there?</summary>
internal sealed record ListRequest : Request;

/// <summary>GET: send me this file. (An appendix adds the options, such as an offset.)</summary>
internal sealed partial record GetRequest(string Name) : Request;

/// <summary>PUT: store a file under this name. (An appendix adds the options.)</summary>
internal sealed partial record PutRequest(string Name) : Request;

/// <summary>STATUS: who has been connected? This verb is an optional feature.</summary>
internal sealed record StatusRequest : Request;

/// <summary>Any line that is not a valid request, and the error that answers it.</summary>
internal sealed record InvalidRequest(Reply Error) : Request;

/// <summary>A reply: OK, or an error with a code for programs and a text for people.</summary>
/// <param name="Code">"OK", or the code of a row in the table of errors.</param>
/// <param name="Text">For people. A client acts on the code alone (CLI-3).</param>
/// <param name="ClosesConnection">True if the server closes the connection after this reply.</param>
internal sealed partial record Reply(string Code, string Text, bool ClosesConnection = false)
{
    public static readonly Reply Ok = new("OK", "");

    // The table of errors in Protocol.md, row for row. Protocol.md has a second table that says which error is the
    // answer if several apply (ERR-1). In the server, the order of the checks decides.
    public static readonly Reply BadRequest = new("bad-request",
        "a request is VERB|field|... in UTF-8, at most 1,024 bytes long, and ends with LF", ClosesConnection: true);
    public static readonly Reply Unsupported = new("unsupported", "this server does not know that verb or option");
    public static readonly Reply BadName = new("bad-name",
        "a name has 1 to 255 bytes, no control characters, none of | / \\ : * ? \" < >, no dot or space at its "
        + "beginning or end, and is not the name of a Windows device");
    public static readonly Reply BadType = new("bad-type",
        "this does not look like a picture (unknown file signature)");
    public static readonly Reply NotFound = new("not-found", "there is no file with that name");
    public static readonly Reply Exists = new("exists", "that name is taken; files are never overwritten");
    public static readonly Reply BadOffset = new("bad-offset", "the offset is past the end of the file");
    public static readonly Reply Empty = new("empty", "the file is empty; a picture has at least one byte");
    public static readonly Reply Denied = new("denied", "this server does not accept uploads (--read-only)");
    public static readonly Reply TooLarge = new("too-large", "the file is larger than this server accepts",
        ClosesConnection: true);
    public static readonly Reply Corrupt = new("corrupt", "the digest does not match the received bytes; "
        + "nothing was stored");
    public static readonly Reply Storage = new("storage", "the server cannot read or write its folder");
    public static readonly Reply Busy = new("busy", "too many clients; try again later", ClosesConnection: true);
    public static readonly Reply Timeout = new("timeout", "too little data arrived in time", ClosesConnection: true);
    public static readonly Reply Stopping = new("stopping", "the server is shutting down", ClosesConnection: true);
    public static readonly Reply Internal = new("internal", "internal server error; see the server's log",
        ClosesConnection: true);

    /// <summary>All errors, in the order of the table.</summary>
    public static readonly Reply[] Errors =
    [
        BadRequest, Unsupported, BadName, BadType, NotFound, Exists, BadOffset, Empty, Denied, TooLarge, Corrupt,
        Storage, Busy, Timeout, Stopping, Internal,
    ];

    public bool IsOk => Code == Ok.Code;

    /// <summary>The row of this error in the table, from 0; -1 for OK and for codes that are not in it. With the option
    /// `ahead`, the row decides which error is the answer.</summary>
    public int Row => Array.FindIndex(Errors, error => error.Code == Code);

    /// <summary>Why it happened, for the server's log. It is never sent.</summary>
    public string Cause { get; private init; } = "";

    /// <summary>The same reply with a cause for the log.</summary>
    public Reply WithCause(Exception exception) => this with { Cause = exception.Message };

    /// <inheritdoc cref="WithCause(Exception)"/>
    public Reply WithCause(string cause) => this with { Cause = cause };
}

/// <summary>The format of everything on the wire. Client and server both use it, so they cannot disagree.</summary>
internal static partial class Protocol
{
    /// <summary>The TCP port, unless client and server agree on another (CONN-1).</summary>
    public const int DefaultPort = 7005;

    /// <summary>The longest request or reply line in bytes, including its LF (LINE-2).</summary>
    public const int MaxLineBytes = 1024;

    /// <summary>The size of a block's length, in bytes (BLOCK-1).</summary>
    public const int LengthSize = 8;

    /// <summary>The longest name, in bytes of UTF-8 (NAME-1).</summary>
    public const int MaxNameBytes = 255;

    /// <summary>How many bytes of a file are enough to recognise its type (TYPE-1).</summary>
    public const int SignatureSize = 12;

    /// <summary>No verb begins with this byte, but every TLS connection does. If a server without a key receives it,
    /// the client has a key (LINE-4).</summary>
    public const byte TlsHandshakeByte = 0x16;

    /// <summary>The file extensions that a server accepts unless its user chooses others (NAME-3).</summary>
    public static readonly string[] DefaultTypes = ["jpg", "jpeg", "png"];

    /// <summary>The file extensions of pictures (TYPE-1).</summary>
    public static readonly string[] PictureTypes =
    [
        "jpg", "jpeg", "jfif", "png", "gif", "webp", "bmp", "tif", "tiff", "heic", "heif", "hif", "avif", "jxl", "jp2",
    ];

    private const byte CarriageReturn = (byte)'\r';
    private const int MaxReplyTextChars = 900;
    private const string ForbiddenPunctuation = "|/\\:*?\"<>";

    // Two characters that are not visible. They join letters, or keep them apart.
    private const int ZeroWidthNonJoiner = 0x200C;
    private const int ZeroWidthJoiner = 0x200D;

    private static readonly string[] _windowsDevices = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

    /// <summary>Parses a request line. It never fails: a wrong line is an <see cref="InvalidRequest"/>.</summary>
    /// <param name="line">The bytes of the line without its LF. The caller has found the LF (LINE-1): search for it in
    /// the bytes, and decode the text afterwards. Half a line may end in the middle of a character.</param>
    public static Request ParseRequest(ReadOnlySpan<byte> line)
    {
        if (line is [] or [TlsHandshakeByte, ..] or [.., CarriageReturn] || !Utf8.IsValid(line))
        {
            return new InvalidRequest(Reply.BadRequest);
        }

        return Encoding.UTF8.GetString(line).Split('|') switch
        {
            ["", ..] or ["GET"] or ["PUT"] => new InvalidRequest(Reply.BadRequest),
            ["LIST", .. var options] => ParseOptions(new ListRequest(), options),
            ["GET", var name, .. var options] => ParseOptions(new GetRequest(name), options),
            ["PUT", var name, .. var options] => ParseOptions(new PutRequest(name), options),
            ["STATUS", .. var options] => ParseOptions(new StatusRequest(), options),
            _ => new InvalidRequest(Reply.Unsupported),
        };
    }

    /// <summary>The bytes of a request line, including its LF.</summary>
    public static byte[] FormatRequest(Request request)
    {
        return request switch
        {
            ListRequest => "LIST\n"u8.ToArray(),
            GetRequest get => Encoding.UTF8.GetBytes($"GET|{get.Name}{FormatOptions(get)}\n"),
            PutRequest put => Encoding.UTF8.GetBytes($"PUT|{put.Name}{FormatOptions(put)}\n"),
            StatusRequest => "STATUS\n"u8.ToArray(),
            _ => throw new ArgumentException("an invalid request cannot be sent", nameof(request)),
        };
    }

    /// <summary>The bytes of a reply line, including its LF.</summary>
    public static byte[] FormatReply(Reply reply)
    {
        if (reply.IsOk)
        {
            return Encoding.UTF8.GetBytes($"OK{FormatModified(reply)}\n");
        }

        // The text can be long where it lists the file types that a server accepts. It is ASCII, a byte each character,
        // so the line has room for it.
        string text = reply.Text[..Math.Min(reply.Text.Length, MaxReplyTextChars)];
        return Encoding.UTF8.GetBytes($"ER|{reply.Code}|{text}\n");
    }

    /// <summary>Parses a reply line without its LF.</summary>
    /// <returns>Null if the line is not a reply of this protocol. A code that this version does not know is an error
    /// like any other (CLI-3).</returns>
    public static Reply? ParseReply(ReadOnlySpan<byte> line)
    {
        if (!Utf8.IsValid(line))
        {
            return null;
        }

        // At most three parts: the text may contain a `|`.
        return Encoding.UTF8.GetString(line).Split('|', 3) switch
        {
            ["OK"] => Reply.Ok,
            ["OK", var time] => ParseOkWithTime(time),
            ["ER", { Length: > 0 } code, var text] when code.All(IsCodeCharacter) => MakeError(code, text),
            _ => null,
        };
    }

    private static bool IsCodeCharacter(char c) => c is '-' or (>= 'a' and <= 'z');

    private static Reply MakeError(string code, string text)
    {
        bool closes = Reply.Errors.Any(error => error.Code == code && error.ClosesConnection);
        return new Reply(code, text, closes);
    }

    /// <summary>The eight bytes of a block's length: unsigned, most significant byte first (BLOCK-1).</summary>
    public static byte[] EncodeLength(ulong length)
    {
        var bytes = new byte[LengthSize];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, length);
        return bytes;
    }

    /// <summary>The number in these eight bytes. It comes from the other side, so check it before you use it.</summary>
    public static ulong DecodeLength(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt64BigEndian(bytes);

    /// <summary>Applies the rule for names, the same one for requests, for the files that LIST shows, and for saved
    /// files.</summary>
    /// <param name="name">The name, which may come from anyone.</param>
    /// <param name="types">The accepted file extensions in lower case. "any" accepts all of them.</param>
    /// <returns><see cref="Reply.Ok"/>, <see cref="Reply.BadName"/> or <see cref="Reply.BadType"/>.</returns>
    public static Reply ValidateName(string name, string[] types)
    {
        if (FindNameProblem(name) is not NameProblem.None)
        {
            return Reply.BadName;
        }

        return HasExtension(name, types) ? Reply.Ok
            : Reply.BadType with { Text = $"the server accepts only {string.Join(", ", types)}" };
    }

    /// <summary>What is wrong with a name (NAME-1, NAME-2).</summary>
    public enum NameProblem
    {
        None,
        Empty,
        TooLong,
        DotOrSpaceAtEdge,
        ForbiddenCharacter,
        WindowsDevice,
    }

    /// <summary>The first part of the rule for names that this name breaks.</summary>
    public static NameProblem FindNameProblem(string name)
    {
        if (name == "")
        {
            return NameProblem.Empty;
        }

        if (FindForbiddenCharacter(name) >= 0)
        {
            return NameProblem.ForbiddenCharacter;
        }

        if (Encoding.UTF8.GetByteCount(name) > MaxNameBytes)
        {
            return NameProblem.TooLong;
        }

        if (name is ['.' or ' ', ..] or [.., '.' or ' '])
        {
            return NameProblem.DotOrSpaceAtEdge;
        }

        return IsWindowsDevice(name) ? NameProblem.WindowsDevice : NameProblem.None;
    }

    /// <summary>The index of the first character that a name must not have, or -1.</summary>
    public static int FindForbiddenCharacter(string name)
    {
        // Most names are printable ASCII, from the space to the tilde, and are done here.
        bool isPrintableAscii = !name.AsSpan().ContainsAnyExceptInRange(' ', '~');
        if (isPrintableAscii)
        {
            return name.AsSpan().IndexOfAny(ForbiddenPunctuation);
        }

        int index = 0;
        while (index < name.Length)
        {
            // A Rune is a whole character. Beyond U+FFFF it takes two chars of a C# string, and half of such a pair is
            // not valid.
            if (!Rune.TryGetRuneAt(name, index, out Rune rune) || !IsAllowed(rune, name, index))
            {
                return index;
            }

            index += rune.Utf16SequenceLength;
        }

        return -1;
    }

    private static bool IsAllowed(Rune rune, string name, int index)
    {
        if (rune.Value is ZeroWidthNonJoiner or ZeroWidthJoiner)
        {
            // Persian, Hindi and family emoji are written with these two. They are allowed between other characters.
            bool isInside = index > 0 && index < name.Length - 1;
            return isInside && name[index - 1] != '.' && name[index + 1] != '.';
        }

        return IsPrintable(rune) && !(rune.IsAscii && ForbiddenPunctuation.Contains((char)rune.Value));
    }

    private static bool IsPrintable(Rune rune)
    {
        return Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format
            or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);
    }

    // On Windows, opening "con.png" opens the console, in whatever folder that is (NAME-2).
    private static bool IsWindowsDevice(string name)
    {
        if (!"CPANL".Contains(char.ToUpperInvariant(name[0])))
        {
            // No device begins with another letter. Most names are done here.
            return false;
        }

        string stem = name.Split('.')[0].TrimEnd(' ');
        if (_windowsDevices.Any(device => Ascii.EqualsIgnoreCase(device, stem)))
        {
            return true;
        }

        return stem.Length == 4 && "0123456789¹²³".Contains(stem[3])
            && (Ascii.EqualsIgnoreCase(stem.AsSpan(0, 3), "COM") || Ascii.EqualsIgnoreCase(stem.AsSpan(0, 3), "LPT"));
    }

    /// <summary>Whether the part after the last dot is one of these file extensions (NAME-3).</summary>
    /// <remarks>Only the letters A to Z are compared without case. .NET's own comparison would also accept the Kelvin
    /// sign for a k.</remarks>
    public static bool HasExtension(string name, string[] types)
    {
        if (types.Contains("any"))
        {
            return true;
        }

        int dot = name.LastIndexOf('.');
        return dot >= 0 && types.Any(type => Ascii.EqualsIgnoreCase(name.AsSpan(dot + 1), type));
    }

    /// <summary>Whether a file with this name may have this content (TYPE-1, TYPE-2).</summary>
    /// <param name="name">Its extension decides what is checked.</param>
    /// <param name="start">The first <see cref="SignatureSize"/> bytes of the file, or all of a shorter one.</param>
    /// <remarks>Any picture is accepted under any picture's extension: browsers save WebP as .jpg.</remarks>
    public static bool HasSignature(string name, ReadOnlySpan<byte> start)
    {
        if (HasExtension(name, PictureTypes))
        {
            return IsPicture(start);
        }

        return !HasExtension(name, ["pdf"]) || start.StartsWith("%PDF-"u8);
    }

    private static bool IsPicture(ReadOnlySpan<byte> start)
    {
        return start.StartsWith((ReadOnlySpan<byte>)[0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])   // PNG
            || start.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xD8, 0xFF])                                 // JPEG
            || start.StartsWith("GIF87a"u8)
            || start.StartsWith("GIF89a"u8)
            || start.StartsWith("BM"u8)
            || start.StartsWith("II*\0"u8)                                                              // TIFF
            || start.StartsWith("MM\0*"u8)
            || start.StartsWith("II+\0"u8)                                                              // BigTIFF
            || start.StartsWith("MM\0+"u8)
            || (start.StartsWith("RIFF"u8) && start.Length >= 12 && start[8..].StartsWith("WEBP"u8))
            || (start.Length >= 8 && start[4..].StartsWith("ftyp"u8))                                   // HEIC, AVIF
            || start.StartsWith((ReadOnlySpan<byte>)[0xFF, 0x0A])                                       // JPEG XL
            || start.StartsWith("\0\0\0\u000CJXL "u8)
            || start.StartsWith("\0\0\0\u000CjP  "u8);                                                  // JPEG 2000
    }

    /// <summary>Bytes in the notation of Protocol.md's transcripts: text as it is, the rest escaped, such as \n or
    /// \x1B. Nothing that the other side sends can then move the cursor of a terminal or forge a line of a log.
    /// </summary>
    public static string Escape(ReadOnlySpan<byte> bytes)
    {
        // Most lines are plain ASCII, and a listing can have a hundred thousand of them.
        if (!bytes.ContainsAnyExceptInRange((byte)' ', (byte)'~') && !bytes.ContainsAny((byte)'\\', (byte)'<'))
        {
            return Encoding.ASCII.GetString(bytes);
        }

        var text = new StringBuilder();
        while (bytes.Length > 0)
        {
            bool isValid = Rune.DecodeFromUtf8(bytes, out Rune rune, out int size) == OperationStatus.Done;
            if (isValid && (IsPrintable(rune) || rune.Value is ZeroWidthNonJoiner or ZeroWidthJoiner))
            {
                text.Append(rune.Value is '\\' or '<' ? "\\" : "").Append(rune);
            }
            else
            {
                AppendEscaped(text, bytes[..size]);
            }

            bytes = bytes[size..];
        }

        return text.ToString();
    }

    /// <inheritdoc cref="Escape(ReadOnlySpan{byte})"/>
    public static string Escape(string text) => Escape(Encoding.UTF8.GetBytes(text));

    private static void AppendEscaped(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            text.Append((char)value switch
            {
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                _ => $"\\x{value:X2}",
            });
        }
    }

    /// <summary>A time in UTC, to the second, as listings have it: 2024-05-01T12:00:00Z (LIST-1).</summary>
    public static string FormatTime(DateTime time) => time.ToString("s", CultureInfo.InvariantCulture) + "Z";
}

// =====================================================================================================================
// Lesson 2: a connection to a server
//
// What it teaches: TCP carries a stream of bytes in each direction. Nothing in it marks where one message ends and the
// next one begins, so the receiver has to find that out. This takes a buffer and two methods: one reads a line, up to
// its LF, and one reads exactly n bytes. Here a server answers GET with a file of 12 bytes, in three pieces:
//
//     receive 1     O                                half a line: keep it, and receive more
//     receive 2     K LF 0 0 0 0                     the line is complete; four bytes of the length are left over
//     receive 3     0 0 0 12, the picture            four and four bytes are the length; the rest is the block
//
// In the other direction there is a trap, too. A send is done when the kernel of this machine has accepted the bytes.
// The server may receive them later, or never.
//
// The socket is a blocking one: each call returns when it is done, or fails after a minute without a byte. This is all
// that a client needs, since it does one thing after another.
//
// Protocol.md: CONN-1 to CONN-4 (connections), LINE-1 and LINE-2 (lines), BLOCK-1 (lengths), CLI-2, CLI-8 and CLI-9.
//
// Left open here for the appendices. In the core:
//     ConnectToAnyAddress         makes the socket and connects it, to each address of the host until one answers
//     StopIfServerWantsTls        does nothing; HasUnwantedOption is false
//     KeyFile                     the key is null
//     ShowAnswer                  shows the first bytes of a line that is not a reply
//
// See it:  imagetransfer client localhost LIST --trace
//          make test CLIENT='… client {host} {port} {command} {file}' STAGE=2
//
// You can stop here: lesson 3 downloads a file.
// =====================================================================================================================

/// <summary>The connection has ended, or the server sent nothing for too long, before its reply was complete.</summary>
internal sealed class ConnectionLostException(string message) : Exception(message)
{
    /// <summary>True if nothing has moved for too long. The connection may still be there.</summary>
    public bool IsTimeout { get; private init; }

    /// <summary>Describes an error code of the operating system in words.</summary>
    /// <param name="error">Why a send or a receive has failed.</param>
    /// <param name="timeoutMs">How long it waited, in milliseconds.</param>
    public static ConnectionLostException Because(SocketError error, int timeoutMs)
    {
        return error switch
        {
            SocketError.TimedOut or SocketError.WouldBlock =>
                new ConnectionLostException($"no data for {timeoutMs / 1000} s; giving up") { IsTimeout = true },
            SocketError.ConnectionReset or SocketError.ConnectionAborted or SocketError.Shutdown =>
                new ConnectionLostException("the connection was reset"),
            _ => new ConnectionLostException($"the connection broke: {new SocketException((int)error).Message}"),
        };
    }
}

/// <summary>The server has sent something that this protocol does not allow.</summary>
internal sealed class ProtocolViolationException(string message)
    : Exception($"this is not an ImageTransfer server: {message}");

/// <summary>Moves bytes over a connected TCP socket. Each call waits until it can be done.</summary>
/// <remarks>The last appendix derives a second kind from it, which encrypts what it moves.</remarks>
internal class ClientTransport(Socket socket) : IDisposable
{
    /// <summary>How long to wait for a byte, in milliseconds (CLI-9).</summary>
    public const int DefaultTimeoutMs = 60_000;

    protected Socket Socket { get; } = socket;

    /// <summary>How long <see cref="Receive"/> waits for the first byte, in milliseconds.</summary>
    public int ReceiveTimeoutMs
    {
        get => Socket.ReceiveTimeout;
        set => Socket.ReceiveTimeout = value;
    }

    /// <summary>True if <see cref="Receive"/> would return at once: bytes have come, or the server has closed.
    /// </summary>
    public virtual bool HasInput => Socket.Poll(0, SelectMode.SelectRead);

    /// <summary>Receives what has come, as much as the buffer holds. Waits if nothing has come yet.</summary>
    /// <returns>The number of bytes; 0 if the server has closed the connection.</returns>
    /// <exception cref="ConnectionLostException">The connection was reset, or nothing came in time.</exception>
    public virtual int Receive(Span<byte> buffer)
    {
        int count = Socket.Receive(buffer, SocketFlags.None, out SocketError error);
        return error == SocketError.Success ? count : throw ConnectionLostException.Because(error, ReceiveTimeoutMs);
    }

    /// <summary>Returns when the kernel has accepted all of the bytes.</summary>
    /// <exception cref="ConnectionLostException">The connection was reset, or the server receives nothing.</exception>
    public virtual void Send(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            // The kernel may accept 3,000 of 65,536 bytes. The next call sends the rest.
            int sent = Socket.Send(bytes, SocketFlags.None, out SocketError error);
            if (error != SocketError.Success)
            {
                throw ConnectionLostException.Because(error, Socket.SendTimeout);
            }

            bytes = bytes[sent..];
        }
    }

    /// <summary>Tells the server that nothing more will be sent. Its replies can still be received.</summary>
    public void ShutdownSending()
    {
        try
        {
            Socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            // The connection is gone, so there is nothing to shut down.
        }
    }

    /// <summary>Called between two requests, just before the program ends, so that nothing is cut off (CONN-4).
    /// </summary>
    public virtual void EndPolitely()
    {
        // There is nothing to do here: the program ends next, and the operating system then closes the socket. (To
        // close it now would take 2 ms more.) A connection with TLS has something to send first.
    }

    public virtual void Dispose() => Socket.Dispose();
}

/// <summary>The client's connection to the server: sends requests, and finds lines and blocks in what it
/// receives.</summary>
internal sealed partial class ServerConnection(string host, int port, KeyFile? key, bool traceEnabled) : IDisposable
{
    private const int BufferSize = 1024 * 1024;
    private const int ReplyAfterFailedSendMs = 2_000;
    // Null while there is no connection.
    private ClientTransport? _transport;

    // Bytes that wait to be sent: the first _sendCount of the buffer.
    private readonly byte[] _sendBuffer = GC.AllocateUninitializedArray<byte>(BufferSize);
    private int _sendCount;

    // Why a send has failed, or null. A reply that the server sent before that can still be read.
    private ConnectionLostException? _sendFailure;

    // Bytes that were received and not read yet: _receiveCount of them, from _receiveStart on.
    private readonly byte[] _receiveBuffer = GC.AllocateUninitializedArray<byte>(BufferSize);
    private int _receiveStart;
    private int _receiveCount;

    public bool IsOpen => _transport is not null;

    /// <summary>True if a reply has begun to arrive, or the server has closed the connection.</summary>
    public bool HasInput => _receiveCount > 0 || (_transport?.HasInput ?? false);

    /// <summary>Connects, unless there is a connection. To be called only when no reply is due.</summary>
    /// <exception cref="CommandLineException">The server cannot be reached.</exception>
    public void Open()
    {
        if (IsOpen && HasInput)
        {
            // No request is open, so the input cannot be a reply: the server is closing the connection (CLOSE-3).
            Close();
        }

        _transport ??= ConnectToAnyAddress();
    }

    /// <summary>Closes the connection at once. What waits to be sent is dropped.</summary>
    public void Close()
    {
        _transport?.Dispose();
        _transport = null;
        _sendCount = 0;
        _sendFailure = null;
        _receiveStart = 0;
        _receiveCount = 0;
    }

    public void Dispose()
    {
        if (IsOpen)
        {
            // The program ends next, and the system then closes the socket.
            Trace('C', "<close>");
            _transport!.EndPolitely();
        }
    }

    /// <summary>Shows a part of the conversation, in the notation of Protocol.md.</summary>
    /// <param name="side">'C' for what the client sends, 'S' for what the server sends.</param>
    /// <param name="text">The bytes, escaped.</param>
    public void Trace(char side, string text)
    {
        if (traceEnabled)
        {
            StandardStreams.WriteErrorLine($"{side}: {text}");
        }
    }

    // ---- sending: bytes wait in the buffer until it is full, or until Flush ----

    public void SendRequest(Request request)
    {
        byte[] line = FormatRequest(request);
        TraceLine('C', line);
        Send(line);
    }

    public void SendLength(long length)
    {
        Trace('C', $"<u64:{length}>");
        Send(EncodeLength((ulong)length));
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            Span<byte> space = GetSendSpace(bytes.Length);
            bytes[..space.Length].CopyTo(space);
            CommitSend(space.Length);
            bytes = bytes[space.Length..];
        }
    }

    /// <summary>A free part of the send buffer, to be filled in place: lesson 4 reads a file right into it. <see
    /// cref="CommitSend"/> then says how many bytes of it are to be sent.</summary>
    /// <param name="max">The part is at most this long, and at least one byte.</param>
    public Span<byte> GetSendSpace(long max)
    {
        if (_sendCount == BufferSize)
        {
            Flush();
        }

        return _sendBuffer.AsSpan(_sendCount, (int)Math.Min(max, BufferSize - _sendCount));
    }

    /// <summary>Adds the bytes that were put into the free part of the send buffer.</summary>
    public void CommitSend(int count) => _sendCount += count;

    /// <summary>Sends what waits in the buffer.</summary>
    /// <returns>False if it cannot be sent. The server may have sent a reply that says why (CLI-8). A caller that reads
    /// the reply next does not have to look at the result.</returns>
    public bool Flush()
    {
        if (_sendFailure is null && _sendCount > 0)
        {
            try
            {
                _transport!.Send(_sendBuffer.AsSpan(0, _sendCount));
            }
            catch (ConnectionLostException e)
            {
                // Nothing may be sent after this, because some of the bytes before it are missing. But a reply may be
                // there that says why, or come within 2 s.
                _sendFailure = e;
                _transport!.ShutdownSending();
                _transport.ReceiveTimeoutMs = ReplyAfterFailedSendMs;
            }
        }

        _sendCount = 0;
        return _sendFailure is null;
    }

    // ---- receiving: bytes come in any pieces, and are read as the lines and blocks that the server has sent ----

    /// <summary>Reads the next reply.</summary>
    /// <param name="request">The request that it answers.</param>
    /// <exception cref="ConnectionLostException">There is no complete reply.</exception>
    /// <exception cref="ProtocolViolationException">It is not a reply of this protocol (CLI-2).</exception>
    public Reply ReadReply(Request request)
    {
        ReadOnlySpan<byte> line = ReadLine();
        StopIfServerWantsTls(line);
        Reply? reply = ParseReply(line);
        if (reply is null || HasUnwantedOption(reply, request))
        {
            throw new ProtocolViolationException($"it answered {ShowAnswer(line)}");
        }

        return reply;
    }

    /// <summary>Reads the length of a block. It comes from the server, so it can be any number.</summary>
    /// <exception cref="ConnectionLostException">There is no complete length.</exception>
    public ulong ReadLength()
    {
        ulong length = DecodeLength(ReadExactly(LengthSize));
        Trace('S', $"<u64:{length}>");
        return length;
    }

    /// <summary>Reads a line and returns it without its LF.</summary>
    private ReadOnlySpan<byte> ReadLine()
    {
        while (true)
        {
            ReadOnlySpan<byte> received = _receiveBuffer.AsSpan(_receiveStart, Math.Min(_receiveCount, MaxLineBytes));
            int end = received.IndexOf((byte)'\n');
            if (end >= 0)
            {
                TraceLine('S', received[..(end + 1)]);
                return ReadExactly(end + 1)[..end];
            }

            if (_receiveCount >= MaxLineBytes)
            {
                throw new ProtocolViolationException("its reply is longer than 1,024 bytes");
            }

            // Half a line. It stays in the buffer, and Receive adds to it.
            Receive();
        }
    }

    /// <summary>Reads this many bytes, at most as many as the buffer holds.</summary>
    /// <returns>A part of the buffer: use it before the next call that reads.</returns>
    public ReadOnlySpan<byte> ReadExactly(int size)
    {
        while (_receiveCount < size)
        {
            Receive();
        }

        return ReadSome((ulong)size);
    }

    /// <summary>Reads what is there, at least one byte and at most <paramref name="max"/>.</summary>
    /// <inheritdoc cref="ReadExactly" path="/returns"/>
    public ReadOnlySpan<byte> ReadSome(ulong max)
    {
        if (_receiveCount == 0)
        {
            Receive();
        }

        int count = (int)Math.Min(max, (ulong)_receiveCount);
        ReadOnlySpan<byte> bytes = _receiveBuffer.AsSpan(_receiveStart, count);
        _receiveStart += count;
        _receiveCount -= count;
        return bytes;
    }

    /// <summary>Adds at least one byte to the receive buffer, from a single receive.</summary>
    private void Receive()
    {
        // What is left over moves to the beginning, so that there is room after it.
        _receiveBuffer.AsSpan(_receiveStart, _receiveCount).CopyTo(_receiveBuffer);
        _receiveStart = 0;
        int count = 0;
        try
        {
            count = _transport!.Receive(_receiveBuffer.AsSpan(_receiveCount));
        }
        catch (ConnectionLostException e) when (e.IsTimeout && _sendFailure is not null)
        {
            // No reply came within the 2 s that Flush has set. So the reason of the failed send is all that there is.
            throw _sendFailure;
        }

        if (count == 0)
        {
            throw new ConnectionLostException("the server closed the connection before the end of its reply");
        }

        _receiveCount += count;
    }

    /// <summary>Shows a line, its LF included.</summary>
    public void TraceLine(char side, ReadOnlySpan<byte> line)
    {
        if (traceEnabled)
        {
            Trace(side, Escape(line));
        }
    }
}

// =====================================================================================================================
// Lesson 3: LIST and GET
//
// What it teaches: to read a block of a known length piece by piece, and to save a file so that it is either complete
// or not there. The bytes go into a hidden temporary file. When the last byte is there, the file gets its name, in one
// step that fails if the name is taken:
//
//                                 the temporary file       cat.png
//       first bytes arrive        grows                    is not there
//       last byte arrives         is complete              is not there
//       link                      is complete              appears, complete
//       remove                    is gone                  stays
//
// Protocol.md: LIST-1, LIST-2, GET-1 to GET-3, CLI-2 to CLI-6, CLI-11.
//
// If the connection ends in the middle, what has arrived stays in the hidden file, so that --resume can go on from
// there, and the name does not appear. The commands call Get for one file after another, and report a
// ConnectionLostException.
//
// Left open here for the appendices. In the core:
//     AddOptions                  adds none, so the offset of the request is 0
//     ReadReplyToGet              reads a reply
//     HandleRefusal               reports the error, closes the connection if the server closes it, and returns Settled
//     OpenTemporary               creates the hidden file, at TemporaryPath; RemoveIfEmpty removes it if nothing came
//     AddToDigest, SetModified    do nothing; ReadAndCompareDigest returns true, so Discard is not called
//     PublishUninterrupted        calls PublishAndRemove, below; Publish calls LinkWithoutReplacing
//     HandleTakenTarget           reports that the name is taken
//     SkipBlock                   reads the rest of a block that cannot be saved, or closes if more than 1 MiB is left
//     GetNearestTime              is the year 1 or 9999: .NET holds no other times
//     FileSystem.Explain          returns the message of the exception; DescribeKept says how much of the file is kept
//
// See it:  imagetransfer client localhost GET cat.png --trace
//          make test CLIENT='… client {host} {port} {command} {file}' STAGE=3
//
// You can stop here: lesson 4 uploads a file.
// =====================================================================================================================

/// <summary>What client and server need of a file system, beyond .NET's own <see cref="File"/>.</summary>
internal static partial class FileSystem
{
    private const int ErrnoExist = 17;          // EEXIST, on Linux, macOS and BSD
    private const FileAttributes NoEntry = (FileAttributes)(-1);    // what .NET says where there is nothing

    /// <summary>Whether an exception is one that using a file can end in: a full disk, missing rights, and so on.
    /// Every other exception is a mistake in this program.</summary>
    public static bool IsIoFailure(Exception e) => e is IOException or UnauthorizedAccessException;

    /// <summary>Whether anything has this name: a file, a folder, a pipe, or a link, also one that leads nowhere.
    /// </summary>
    /// <exception cref="IOException">The folder cannot be searched.</exception>
    public static bool EntryExists(string path) => new FileInfo(path).Attributes != NoEntry;

    /// <summary>The size of the file that a path leads to, in bytes. A symbolic link has the size of its target; pipes
    /// and devices have none.</summary>
    /// <exception cref="IOException">There is no such file.</exception>
    public static long GetLength(string path)
    {
        var file = new FileInfo(path);
        bool isLink = file.Attributes.HasFlag(FileAttributes.ReparsePoint);     // .NET's name for a symbolic link
        FileSystemInfo? target = isLink ? file.ResolveLinkTarget(returnFinalTarget: true) : null;
        return target is FileInfo targetFile ? targetFile.Length : file.Length;
    }

    /// <summary>Writes all of the bytes at this position.</summary>
    /// <exception cref="IOException">They cannot be written: the disk is full, or the file is too large.</exception>
    public static void Write(SafeFileHandle file, ReadOnlySpan<byte> bytes, long position)
    {
        try
        {
            RandomAccess.Write(file, bytes, position);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // .NET's name for EFBIG, the error of a write beyond the limit that the system sets (`ulimit -f`).
            throw new IOException("the file would be larger than the system allows", e);
        }
    }

    /// <summary>Gives a finished temporary file its name, in one step that never replaces a file (P1, P2).</summary>
    /// <returns>False if the name is taken.</returns>
    /// <exception cref="IOException">The name cannot be given; the file system may lack hard links.</exception>
    /// <remarks>On Unix this is a hard link, a second name for the same file; the caller removes the temporary name
    /// afterwards. A rename would not do: it replaces a file that has the name. To look first does not help: two
    /// uploads can both look, both see nothing, and both rename. On Windows a rename fails if the name is
    /// taken.</remarks>
    public static bool LinkWithoutReplacing(string temporary, string name)
    {
        if (OperatingSystem.IsWindows())
        {
            return MoveWithoutReplacing(temporary, name);
        }

        if (Link(temporary, name) == 0)
        {
            return true;
        }

        return Marshal.GetLastPInvokeError() == ErrnoExist ? false
            : throw new IOException($"cannot create a hard link: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    private static bool MoveWithoutReplacing(string temporary, string name)
    {
        try
        {
            File.Move(temporary, name);
            return true;
        }
        catch (IOException) when (EntryExists(name))
        {
            return false;
        }
    }

    /// <summary>The time of the last change, in UTC.</summary>
    /// <exception cref="IOException">It cannot be found out.</exception>
    public static DateTime GetModified(SafeFileHandle file)
    {
        try
        {
            return File.GetLastWriteTimeUtc(file);
        }
        catch (ArgumentOutOfRangeException)
        {
            // Some file systems hold times before the year 1 and after 9999, and .NET does not.
            return GetNearestTime(file);
        }
    }

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existingName, string newName);
}

/// <summary>A file on its way, in either direction.</summary>
internal abstract partial class Transfer(string name)
{
    /// <summary>The name that the request has.</summary>
    public string Name { get; } = name;

    /// <summary>True if the request was sent before its turn, by the appendix about many files.</summary>
    public bool IsRequestSent { get; set; }

    /// <summary>How long the transfer has taken.</summary>
    public Stopwatch Clock { get; } = new();
}

/// <summary>What became of the request for a file. A failure was reported already.</summary>
internal enum Outcome
{
    /// <summary>The file was transferred, or skipped, or it failed for good.</summary>
    Settled,

    /// <summary>The server has refused an option of the request, such as an offset. Ask again without it (CLI-13). In
    /// the core this does not happen. The appendix about many files does the asking.</summary>
    AskAgain,
}

/// <summary>A file to download.</summary>
/// <param name="client">Used in the appendix about many files.</param>
/// <param name="name">The name of the file on the server.</param>
/// <param name="target">Where it is to be saved.</param>
internal sealed partial class DownloadItem(Client client, string name, string target) : Transfer(name)
{
    /// <summary>Where the file is to be saved.</summary>
    public string Target { get; } = target;

    /// <summary>The request as it was sent.</summary>
    public GetRequest Request { get; set; } = new(name);

    /// <summary>How many bytes of the file are on the disk, in the file at TemporaryPath (in an appendix).</summary>
    public long Position { get; set; }

    /// <summary>How many bytes of the block are still to come.</summary>
    public ulong BytesLeft { get; set; }
}

/// <summary>The commands of the client.</summary>
internal sealed partial class Client
{
    private const int MaxListingBytes = 256 * 1024 * 1024;

    private readonly ServerConnection _server;
    private readonly Report _report;

    /// <summary>Asks for a listing, of files or of connections.</summary>
    /// <param name="request">LIST or STATUS.</param>
    /// <param name="lines">Receives the lines, without their LF. They stay bytes until they are used: text of a server
    /// may be anything.</param>
    /// <returns>The server's reply; there are lines only if it is OK.</returns>
    private Reply ReadListing(Request request, List<byte[]> lines)
    {
        _server.Open();
        _server.SendRequest(request);
        _server.Flush();
        Reply reply = _server.ReadReply(request);
        if (reply.IsOk)
        {
            lines.AddRange(ReadLines(_server.ReadLength()));
        }

        return reply;
    }

    // The whole block is read first. If someone reads the output slowly, with a pager for example, the server does not
    // have to wait for it.
    private List<byte[]> ReadLines(ulong length)
    {
        using var block = new MemoryStream();
        while ((ulong)block.Length < length)
        {
            block.Write(_server.ReadSome(length - (ulong)block.Length));
            if (block.Length > MaxListingBytes)
            {
                throw new ProtocolViolationException("its listing does not end");
            }
        }

        return SplitLines(block.GetBuffer().AsSpan(0, (int)block.Length));
    }

    private List<byte[]> SplitLines(ReadOnlySpan<byte> block)
    {
        List<byte[]> lines = [];
        while (block.Length > 0)
        {
            int end = block.IndexOf((byte)'\n');
            if (end is < 0 or >= MaxLineBytes)
            {
                throw new ProtocolViolationException("a line of its listing does not end");
            }

            _server.TraceLine('S', block[..(end + 1)]);
            lines.Add(block[..end].ToArray());
            block = block[(end + 1)..];
        }

        return lines;
    }

    /// <summary>Downloads a file: request, reply, block, name. The connection is open.</summary>
    /// <exception cref="ConnectionLostException">The server's answer is not complete.</exception>
    /// <exception cref="ProtocolViolationException">The server's answer is not one of this protocol.</exception>
    public Outcome Get(DownloadItem file)
    {
        if (!file.IsRequestSent)
        {
            SendGet(file);
        }

        _server.Flush();
        Reply reply = ReadReplyToGet(file);
        if (!reply.IsOk)
        {
            return HandleRefusal(file, reply);
        }

        file.BytesLeft = _server.ReadLength();
        RequirePossibleLength(file);
        try
        {
            using SafeFileHandle temporary = OpenTemporary(file);
            ReceiveBlock(file, temporary);
            return ReadAndCompareDigest(file) ? Save(file, temporary, reply) : Discard(file);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            SkipBlock(file);
            var problem = new IOException(FileSystem.Explain(e, file.TemporaryPath), e);
            _report.Fail(file.Name, problem, DescribeKept(file));
            return Outcome.Settled;
        }
    }

    /// <summary>Puts the request into the send buffer.</summary>
    public void SendGet(DownloadItem file)
    {
        file.Request = AddOptions(file);
        file.Clock.Restart();
        _server.SendRequest(file.Request);
    }

    // In the core, the offset is 0, and a file has 1 to 2^63-1 bytes: a server sends no empty files. With an offset,
    // the block is the rest of the file, which may have 0 bytes. (BytesLeft + Offset could be too large for 64 bits,
    // so the Offset is subtracted from the maximum.)
    private static void RequirePossibleLength(DownloadItem file)
    {
        if (file.BytesLeft > long.MaxValue - file.Request.Offset || file.BytesLeft + file.Request.Offset == 0)
        {
            throw new ProtocolViolationException($"it announced a file of {file.BytesLeft} bytes");
        }
    }

    private void ReceiveBlock(DownloadItem file, SafeFileHandle temporary)
    {
        ulong length = file.BytesLeft;
        _report.Progress.BeginFile(file.Name, file.Position, file.Position + (long)length);
        try
        {
            while (file.BytesLeft > 0)
            {
                // BytesLeft goes down with what was received, Position goes up with what is on the disk.
                ReadOnlySpan<byte> bytes = _server.ReadSome(file.BytesLeft);
                file.BytesLeft -= (ulong)bytes.Length;
                FileSystem.Write(temporary, bytes, file.Position);
                AddToDigest(file, bytes);
                file.Position += bytes.Length;
                _report.Progress.Position = file.Position;
            }
        }
        finally
        {
            RemoveIfEmpty(file);
        }

        _server.Trace('S', file.Request.Offset == 0 ? $"<file:{file.Name}>" : $"<any:{length}>");
    }

    // The temporary file gets its name, unless that was taken in the meantime: nothing is ever overwritten (CLI-6).
    private Outcome Save(DownloadItem file, SafeFileHandle temporary, Reply reply)
    {
        SetModified(file, temporary, reply);

        // PublishUninterrupted calls PublishAndRemove, which sets the position to 0. So remember the size.
        long size = file.Position;
        if (PublishUninterrupted(file))
        {
            _report.FileDone(file, size - (long)file.Request.Offset, isVerified: file.Request.WantsDigest);
        }
        else
        {
            HandleTakenTarget(file, (ulong)size);
        }

        return Outcome.Settled;
    }

    private static bool PublishAndRemove(DownloadItem file)
    {
        bool isPublished = Publish(file.TemporaryPath, file.Target);
        File.Delete(file.TemporaryPath);
        file.Position = 0;
        return isPublished;
    }
}

// =====================================================================================================================
// Lesson 4: PUT
//
// What it teaches: to wait for the go-ahead before any data is sent, and for the reply after it. A file that was sent
// may not have been received, and a file that was received may not have been stored.
//
//     client                         server
//       PUT|cat.png       -->
//                         <--        OK            go ahead: the name is free
//       length, block     -->                      sent: the kernel of this machine has it
//                         <--        OK            stored: now it is done
//
// Two things can go wrong in the middle. The server may reply before the block is complete, because the file is too
// large: then the client stops sending and reads the reply. And the file may change while it is sent: then the client
// closes the connection before the last bytes, so that the server stores nothing.
//
// The commands open the connection before each file, if it was closed.
//
// Protocol.md: PUT-1 to PUT-6, CLI-1, CLI-5, CLI-8.
//
// Left open here for the appendices. In the core:
//     AddOptions                  adds none
//     IsBlockSent                 is false, so SendBlockUnlessSent sends the block
//     HandleRefusal               closes the file and does what HandleReply does
//     RememberSupportForAhead     does nothing; TryExplain returns false
//     BeginDigest                 returns null, and SendDigest(null) sends nothing
//     ExpectedSize                is the size that the progress line was told before the file was opened
//     PieceBytes                  is 256 KiB
//     DescribeNoContent           says why a file without content is not sent: it is empty, or a pipe or a device
//
// See it:  imagetransfer client localhost PUT cat.png --trace
//          make test CLIENT='… client {host} {port} {command} {file}' STAGE=4
//
// You can stop after this lesson: it completes the client.
// =====================================================================================================================

/// <summary>How the sending of a block has ended.</summary>
internal enum BlockResult
{
    /// <summary>All of it was sent.</summary>
    Sent,

    /// <summary>The server has replied, or closed the connection, before all of it was sent.</summary>
    ServerReplied,

    /// <summary>The file could not be read, or has changed. That was reported.</summary>
    FileFailed,
}

/// <summary>A file to upload.</summary>
/// <param name="client">Used in the appendix about many files.</param>
/// <param name="path">Where the file is.</param>
/// <param name="name">The name that it gets on the server.</param>
internal sealed partial class UploadItem(Client client, string path, string name) : Transfer(name)
{
    /// <summary>Where the file is.</summary>
    public string Path { get; } = path;

    /// <summary>The request as it was sent.</summary>
    public PutRequest Request { get; set; } = new(name);

    /// <summary>The open file, or null.</summary>
    public SafeFileHandle? Handle { get; private set; }

    /// <summary>The size of the open file, in bytes.</summary>
    public long Size { get; private set; }

    /// <summary>When the open file was last modified, in UTC.</summary>
    public DateTime LastWrite { get; private set; }

    /// <summary>Opens the file. What is reported about it later is what the open file says.</summary>
    /// <exception cref="IOException">The file cannot be opened, or it is not a regular file with content.</exception>
    public void Open()
    {
        // Look before opening: to open a pipe would wait for its other end.
        if (FileSystem.GetLength(Path) == 0)
        {
            throw new IOException(FileSystem.DescribeNoContent(Path));
        }

        Handle = File.OpenHandle(Path, share: FileShare.ReadWrite | FileShare.Delete);
        Size = RandomAccess.GetLength(Handle);
        LastWrite = FileSystem.GetModified(Handle);
    }

    /// <summary>To be called when the file was read to its end, before the last bytes are sent.</summary>
    /// <param name="end">Where a read has found the end.</param>
    /// <exception cref="IOException">The file has changed since it was opened.</exception>
    public void RequireUnchanged(long end)
    {
        if (end != Size || RandomAccess.GetLength(Handle!) != Size || FileSystem.GetModified(Handle!) != LastWrite)
        {
            throw new IOException("the file changed while it was being sent; nothing was stored");
        }
    }

    public void CloseFile()
    {
        Handle?.Dispose();
        Handle = null;
    }
}

internal sealed partial class Client
{
    /// <summary>Uploads a file: request, go-ahead, block, reply. The connection is open.</summary>
    /// <exception cref="ConnectionLostException">The server's answer is not complete.</exception>
    /// <exception cref="ProtocolViolationException">The server's answer is not one of this protocol.</exception>
    public Outcome Put(UploadItem file)
    {
        if (!file.IsRequestSent)
        {
            SendPut(file);
        }

        _server.Flush();
        Reply goAhead = _server.ReadReply(file.Request);
        if (!goAhead.IsOk)
        {
            return HandleRefusal(file, goAhead);
        }

        RememberSupportForAhead(file);
        return SendBlockUnlessSent(file) switch
        {
            BlockResult.Sent => HandleReply(file, _server.ReadReply(file.Request)),
            BlockResult.ServerReplied => HandleEarlyReply(file),
            _ => Outcome.Settled,
        };
    }

    /// <summary>Puts the request into the send buffer.</summary>
    public void SendPut(UploadItem file)
    {
        file.Request = AddOptions(file);
        file.Clock.Restart();
        _server.SendRequest(file.Request);
    }

    /// <summary>Opens a file and checks its first bytes, so that a file that cannot be stored costs no request. The
    /// commands call it before Put.</summary>
    /// <returns>False if it cannot be sent, which was reported.</returns>
    public bool TryOpen(UploadItem file)
    {
        try
        {
            file.Open();
            Span<byte> start = stackalloc byte[SignatureSize];
            int count = RandomAccess.Read(file.Handle!, start, fileOffset: 0);
            if (HasSignature(file.Name, start[..count]))
            {
                // Only for the progress line.
                _report.Progress.CorrectTotal(file.Size - file.ExpectedSize);
                file.ExpectedSize = file.Size;
                return true;
            }

            _report.Fail(file.Name, Reply.BadType);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            _report.Fail(file.Name, e);
        }

        file.CloseFile();
        return false;
    }

    private BlockResult SendBlockUnlessSent(UploadItem file)
    {
        if (file.IsBlockSent)
        {
            return BlockResult.Sent;
        }

        try
        {
            return SendBlock(file);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            // The block cannot be completed any more, and only a closed connection tells that to the server (BLOCK-1).
            _server.Close();
            _report.Fail(file.Name, e);
            return BlockResult.FileFailed;
        }
        finally
        {
            file.CloseFile();
        }
    }

    // The block goes out in pieces. For each of them: read it from the file; if it is the last, check that the file has
    // not changed; look whether the server has replied already (CLI-8); only then send the piece.
    private BlockResult SendBlock(UploadItem file)
    {
        using IncrementalHash? hash = BeginDigest(file.Request);
        _report.Progress.BeginFile(file.Name, 0, file.Size);
        _server.SendLength(file.Size);
        long position = 0;
        while (position < file.Size)
        {
            Span<byte> space = _server.GetSendSpace(Math.Min(file.Size - position, PieceBytes));
            int count = RandomAccess.Read(file.Handle!, space, position);
            hash?.AppendData(space[..count]);
            position += count;
            if (position == file.Size || count == 0)
            {
                // Check now, before the last piece goes out, so that the server never gets all of a file that has
                // changed. If the file has become shorter (count is 0), this throws.
                file.RequireUnchanged(position);
            }

            _server.CommitSend(count);

            // Flush sends the piece. The last one goes out after the loop, together with the digest if there is one.
            bool isLastPiece = position == file.Size;
            if (!isLastPiece && (_server.HasInput || !_server.Flush()))
            {
                return BlockResult.ServerReplied;
            }

            _report.Progress.Position = position;
        }

        _server.Trace('C', $"<file:{file.Name}>");
        SendDigest(hash);
        return _server.Flush() ? BlockResult.Sent : BlockResult.ServerReplied;
    }

    // A server that replies in the middle of a block uses nothing that follows, so the connection is of no use (CLI-8).
    private Outcome HandleEarlyReply(UploadItem file)
    {
        Reply reply = _server.ReadReply(file.Request);
        _server.Close();
        if (reply.IsOk)
        {
            throw new ProtocolViolationException("it said OK before it had the file");
        }

        return HandleReply(file, reply);
    }

    private Outcome HandleReply(UploadItem file, Reply reply)
    {
        if (reply.IsOk)
        {
            _report.FileDone(file, file.Size, isVerified: file.Request.HasDigest);
        }
        else if (!TryExplain(file, reply))
        {
            _report.Fail(file.Name, reply);
        }

        if (reply.ClosesConnection)
        {
            _server.Close();
        }

        return Outcome.Settled;
    }
}

// =====================================================================================================================
// You have read a whole client.
//
// What follows are appendices. Read them in any order, or not at all. Most calls that were left open above lead here:
//
//     AddOptions, OpenTemporary, Publish, SetModified      digest, resume and dates
//     ReadAndCompareDigest                                 digest, resume and dates
//     IsRequestSent, IsBlockSent, Outcome.AskAgain         many files in flight
//     Report, Progress                                     what the person sees
//     PublishUninterrupted                                 Ctrl-C
//     ConnectToAnyAddress, StopIfServerWantsTls            connecting; keys and TLS
// =====================================================================================================================

// =====================================================================================================================
// Appendix: the options of requests
//
// digest, offset, ahead and modified are optional features (Protocol.md, part 3). In the core, every option is
// answered `unsupported`. Here is how they are parsed and written: DIGEST-1, OFFSET-1, AHEAD-1, OFFSET-3, MODIFIED-1,
// REQ-1, REQ-2.
// =====================================================================================================================

internal sealed partial record GetRequest
{
    /// <summary>The position of the first byte to send, counted from 0.</summary>
    public ulong Offset { get; init; }

    /// <summary>Whether the SHA-256 of the whole file is to follow the block.</summary>
    public bool WantsDigest { get; init; }

    /// <summary>Whether the reply is to say when the file was last modified.</summary>
    public bool WantsModified { get; init; }
}

internal sealed partial record PutRequest
{
    /// <summary>Whether the SHA-256 of the file follows the block.</summary>
    public bool HasDigest { get; init; }

    /// <summary>Whether a refusal has to wait for the end of the block, so that the client can send ahead.</summary>
    public bool Ahead { get; init; }

    /// <summary>When the file was last modified, in UTC, or null if the request does not say so.</summary>
    public DateTime? Modified { get; init; }
}

internal sealed partial record Reply
{
    /// <summary>The file's time, in an OK that answers a GET with `modified`; otherwise null.</summary>
    public DateTime? Modified { get; init; }
}

internal static partial class Protocol
{
    /// <summary>The size of a digest, in bytes: SHA-256, raw (BLOCK-3).</summary>
    public const int DigestSize = 32;

    private const string DigestOption = "digest=sha256";
    private const string AheadOption = "ahead";
    private const string OffsetOption = "offset";
    private const string ModifiedOption = "modified";

    // Options come in any order, each at most once.
    private static Request ParseOptions(Request request, string[] options)
    {
        string[] names = [.. options.Select(option => option.Split('=', 2)[0])];
        if (names.Distinct().Count() < names.Length || (request is GetRequest && options.Any(IsMalformedOffset)))
        {
            return new InvalidRequest(Reply.BadRequest);
        }

        foreach (string option in options)
        {
            request = AddOption(request, option);
        }

        return request;
    }

    private static bool IsMalformedOffset(string option)
    {
        return option.Split('=', 2) switch
        {
            [OffsetOption, { Length: >= 1 and <= 20 } digits] => !digits.All(char.IsAsciiDigit),
            [OffsetOption, ..] => true,
            _ => false,
        };
    }

    private static Request AddOption(Request request, string option)
    {
        string value = option[(option.IndexOf('=') + 1)..];
        return request switch
        {
            GetRequest get when option == DigestOption => get with { WantsDigest = true },
            GetRequest get when option == ModifiedOption => get with { WantsModified = true },
            GetRequest get when option.StartsWith(OffsetOption + "=", StringComparison.Ordinal) =>
                get with { Offset = ParseOffset(value) },
            PutRequest put when option == DigestOption => put with { HasDigest = true },
            PutRequest put when option == AheadOption => put with { Ahead = true },
            PutRequest put when option.StartsWith(ModifiedOption + "=", StringComparison.Ordinal)
                && TryParseTime(value, out DateTime time) => put with { Modified = time },
            InvalidRequest => request,
            _ => new InvalidRequest(Reply.Unsupported),
        };
    }

    // Twenty digits may be more than 64 bits hold. Such an offset is past the end of every file (OFFSET-2).
    private static ulong ParseOffset(string digits)
    {
        return ulong.TryParse(digits, out ulong offset) ? offset : ulong.MaxValue;
    }

    private static string FormatOptions(GetRequest get)
    {
        return (get.Offset > 0 ? $"|{OffsetOption}={get.Offset}" : "")
            + (get.WantsDigest ? $"|{DigestOption}" : "")
            + (get.WantsModified ? $"|{ModifiedOption}" : "");
    }

    private static string FormatOptions(PutRequest put)
    {
        return (put.HasDigest ? $"|{DigestOption}" : "")
            + (put.Ahead ? $"|{AheadOption}" : "")
            + (put.Modified is { } time ? $"|{ModifiedOption}={FormatTime(time)}" : "");
    }

    private static string FormatModified(Reply reply) => reply.Modified is { } time ? $"|{FormatTime(time)}" : "";

    private static Reply? ParseOkWithTime(string text)
    {
        return TryParseTime(text, out DateTime time) ? Reply.Ok with { Modified = time } : null;
    }

    private static bool TryParseTime(string text, out DateTime time)
    {
        return DateTime.TryParseExact(text, "yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out time);
    }
}

// =====================================================================================================================
// Appendix: digest, resume and dates
//
// Which options a request has, and what they add to a GET: the digest shows whether the bytes are right, an offset goes
// on with a download that was cut, and `modified` lets a picture keep its date. If a server answers `unsupported`, the
// client asks again with fewer options, and remembers that for the rest of the run.
//
// Protocol.md: DIGEST-1, DIGEST-2, OFFSET-1, MODIFIED-5, MODIFIED-6, CLI-7, CLI-9, CLI-10, CLI-13, P4.
//
// See it:  make test CLIENT='… {resume}' STAGE=9         then 10
// =====================================================================================================================

internal sealed partial class Client
{
    // Some file systems, such as those of memory sticks, have no hard links. There, an empty file reserves the name,
    // and the temporary file then replaces it. If the program is killed between the two, the empty file stays.
    private static bool Publish(string temporary, string target)
    {
        try
        {
            return FileSystem.LinkWithoutReplacing(temporary, target);
        }
        catch (IOException) when (File.Exists(temporary))
        {
            return ReplaceReservation(temporary, target);
        }
    }

    private static bool ReplaceReservation(string temporary, string target)
    {
        try
        {
            File.OpenHandle(target, FileMode.CreateNew, FileAccess.Write).Dispose();
        }
        catch (IOException) when (FileSystem.EntryExists(target))
        {
            return false;
        }

        try
        {
            File.Move(temporary, target, overwrite: true);
            return true;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            File.Delete(target);
            throw;
        }
    }
}

internal static partial class FileSystem
{
    /// <summary>EAGAIN, the error of a lock that another program holds.</summary>
    public const int ErrnoAgain = 11;

    /// <inheritdoc cref="ErrnoAgain"/>
    public const int ErrnoAgainOnMac = 35;

    private const int StatxSize = 256;
    private const int CurrentFolder = -100;                 // AT_FDCWD

    private static readonly DateTime _earliestTime = new(1980, 1, 2, 0, 0, 0, DateTimeKind.Utc);
    private static readonly DateTime _latestTime = new(2107, 12, 30, 23, 59, 58, DateTimeKind.Utc);

    /// <summary>Sets the time of the last change, in UTC. A time that the file system cannot hold becomes the nearest
    /// one that it can (MODIFIED-4, MODIFIED-5).</summary>
    /// <exception cref="IOException">The file system does not let this program set any time.</exception>
    public static void SetModified(SafeFileHandle file, DateTime time)
    {
        try
        {
            File.SetLastWriteTimeUtc(file, time);
        }
        catch (Exception e) when (e is ArgumentOutOfRangeException or IOException)
        {
            // Linux finds the nearest time by itself. Other systems refuse; every file system can hold 1980 to 2107.
            DateTime nearest = time.Year < 1980 ? _earliestTime : time.Year > 2107 ? _latestTime : time;
            File.SetLastWriteTimeUtc(file, nearest);
        }
    }

    /// <summary>Why a temporary file could not be used, for people, who do not know its name.</summary>
    public static string Explain(Exception e, string temporary)
    {
        const int SharingViolationOnWindows = unchecked((int)0x80070020);
        string folder = Path.GetDirectoryName(Path.GetFullPath(temporary))!;
        if (e is UnauthorizedAccessException)
        {
            return File.Exists(temporary)
                ? $"you may not use what an earlier attempt has left in {folder} (access is denied)"
                : $"you may not write into {folder} (access is denied)";
        }

        if (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return Directory.Exists(folder) ? $"cannot create a file in {folder}" : $"there is no folder {folder}";
        }

        if (e.HResult is ErrnoAgain or ErrnoAgainOnMac or SharingViolationOnWindows)
        {
            return $"another program is saving the same file into {folder}";
        }

        // .NET writes "No space left on device : '/home/ada/.imagetransfer-….down'".
        string message = e.Message.Replace($" : '{temporary}'", "");
        return message == e.Message ? message.Replace(temporary, folder) : $"cannot write into {folder}: {message}";
    }

    /// <summary>The first or the last time that .NET can hold, for a file whose time it cannot hold (LIST-1).</summary>
    /// <param name="path">The file. If it is a link, the time is that of the link.</param>
    public static DateTime GetNearestTime(string path) => GetNearestTime(CurrentFolder, path);

    private static DateTime GetNearestTime(SafeFileHandle file) => GetNearestTime((int)file.DangerousGetHandle(), "");

    // Only Linux is asked. The file systems of other systems hold no times before the year 1.
    private static DateTime GetNearestTime(int descriptor, string path)
    {
        const int OfDescriptorOrLink = 0x1000 | 0x100;      // AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
        const uint ModifiedTime = 0x40;                     // STATX_MTIME
        const int SecondsOffset = 112;                      // stx_mtime.tv_sec in struct statx
        byte[]? status = TryGetStatus(descriptor, path, OfDescriptorOrLink, ModifiedTime);
        bool isEarly = status is not null && BitConverter.ToInt64(status, SecondsOffset) < 0;
        return isEarly ? DateTime.MinValue : DateTime.MaxValue;
    }

    // What .NET does not say of a file: the bytes of Linux's struct statx, or null if they cannot be read.
    private static byte[]? TryGetStatus(int folder, string path, int flags, uint mask)
    {
        var status = new byte[StatxSize];
        try
        {
            return OperatingSystem.IsLinux() && Statx(folder, path, flags, mask, status) == 0 ? status : null;
        }
        catch (EntryPointNotFoundException)
        {
            // An old C library has no statx.
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int folder, string path, int flags, uint mask, byte[] status);
}

internal sealed partial class ServerConnection
{
    private const ulong BytesPerExtraTimeout = 100 * 1024 * 1024;

    // A date is sent only to a client that has asked for it (MODIFIED-6).
    private static bool HasUnwantedOption(Reply reply, Request request)
    {
        return reply.Modified is not null && request is not GetRequest { WantsModified: true };
    }

    /// <summary>Reads the digest after a block. It is valid until the next call that reads.</summary>
    /// <exception cref="ConnectionLostException">There is no complete digest.</exception>
    public ReadOnlySpan<byte> ReadDigest()
    {
        ReadOnlySpan<byte> digest = ReadExactly(DigestSize);
        Trace('S', $"<hex:{Convert.ToHexString(digest)}>");
        return digest;
    }

    public void SendDigest(ReadOnlySpan<byte> digest)
    {
        Trace('C', $"<hex:{Convert.ToHexString(digest)}>");
        Send(digest);
    }

    /// <summary>Waits longer for the next reply: before it, the server has to read this many bytes of a file that it
    /// does not send (CLI-9).</summary>
    public void SetTimeoutFor(ulong skippedBytes)
    {
        ulong timeouts = 1 + (skippedBytes / BytesPerExtraTimeout);
        _transport!.ReceiveTimeoutMs = (int)Math.Min(timeouts * ClientTransport.DefaultTimeoutMs, int.MaxValue);
    }
}

internal sealed partial class DownloadItem
{
    private const int IdLength = 16;

    /// <summary>The temporary file. Its name does not depend on the server's address: a later run finds it, whether the
    /// server is called localhost or 127.0.0.1 then. The digest decides whether it is the right one.</summary>
    public string TemporaryPath { get; } = Path.Combine(
        Path.GetDirectoryName(target) ?? "", $".imagetransfer-{MakeId(target, name)}.down");

    /// <summary>How many bytes of the file an earlier run has left in the temporary file.</summary>
    public long KeptLength { get; set; }

    /// <summary>The digest of the kept bytes so far.</summary>
    public IncrementalHash? KeptHash { get; set; }

    /// <summary>The digest of the bytes on the disk so far, or null if the request has no digest.</summary>
    public IncrementalHash? Hash { get; set; }

    public bool IsDigestRead { get; set; }

    /// <summary>Releases what the digests need, which is memory outside of .NET's own.</summary>
    public void DisposeHashes()
    {
        KeptHash?.Dispose();
        KeptHash = null;
        Hash?.Dispose();
        Hash = null;
    }

    private static string MakeId(string target, string name)
    {
        byte[] text = Encoding.UTF8.GetBytes($"{Path.GetFileName(target)}|{name}");
        return Convert.ToHexStringLower(SHA256.HashData(text))[..IdLength];
    }
}

internal sealed partial class Client
{
    private const ulong MaxSkippedBytes = 1024 * 1024;
    private const int MaxOpenAttempts = 3;

    private bool _resume;

    // The options that are used. Each of them becomes false when a server does not support it.
    private bool _useDigest;
    private bool _useModified = true;
    private bool _useOffset = true;

    // One command at the prompt may do without the digest, and the next one may use it again.
    private bool _supportsDigest = true;

    private GetRequest AddOptions(DownloadItem file)
    {
        bool canResume = _useDigest && _useOffset;
        return new GetRequest(file.Name)
        {
            Offset = canResume ? (ulong)file.KeptLength : 0,
            WantsDigest = _useDigest,
            WantsModified = _useModified,
        };
    }

    // The order in which options are given up is that of CLI-13: offset, modified, digest.
    private Outcome HandleRefusal(DownloadItem file, Reply reply)
    {
        bool isUnsupported = reply.Code == Reply.Unsupported.Code;
        if (file.Request.Offset > 0 && (isUnsupported || reply.Code == Reply.BadOffset.Code))
        {
            _useOffset &= !isUnsupported;
            StartOver(file);
            return Outcome.AskAgain;
        }

        if (isUnsupported && file.Request.WantsModified)
        {
            _useModified = false;
            return Outcome.AskAgain;
        }

        if (isUnsupported && file.Request.WantsDigest)
        {
            _useDigest = false;
            _supportsDigest = false;
            return Outcome.AskAgain;
        }

        _report.Fail(file.Name, reply);
        if (reply.ClosesConnection)
        {
            _server.Close();
        }

        return Outcome.Settled;
    }

    private Reply ReadReplyToGet(DownloadItem file)
    {
        if (file.Request.Offset == 0)
        {
            return _server.ReadReply(file.Request);
        }

        _server.SetTimeoutFor(file.Request.Offset);
        Reply reply = _server.ReadReply(file.Request);
        _server.SetTimeoutFor(0);
        return reply;
    }

    /// <summary>Opens the temporary file, locks it, and cuts it to what the request goes on from.</summary>
    /// <exception cref="IOException">It cannot be opened, or another process uses it.</exception>
    private SafeFileHandle OpenTemporary(DownloadItem file)
    {
        CreateOutputFolder(file);
        SafeFileHandle temporary = OpenLocked(file.TemporaryPath, FileMode.OpenOrCreate);
        try
        {
            CutToOffset(file, temporary);
        }
        catch (Exception)
        {
            temporary.Dispose();
            throw;
        }

        BeginDigest(file);
        _currentDownload = file;
        return temporary;
    }

    private void CutToOffset(DownloadItem file, SafeFileHandle temporary)
    {
        long offset = (long)file.Request.Offset;
        long length = RandomAccess.GetLength(temporary);
        if (length > 0 && !_resume)
        {
            _report.Say($"{file.Name}: starting over; {length:N0} bytes of an earlier attempt are dropped, because "
                + "--resume was not given");
        }

        if (length < offset)
        {
            throw new IOException("what was kept of this file has changed");
        }

        // Not if it has this length already: the file system ext4 writes a file that was cut to 0 bytes to the disk
        // when it is closed, and a program that has just said "verified" would wait for that.
        if (length > offset)
        {
            RandomAccess.SetLength(temporary, offset);
        }

        file.KeptLength = offset;
        file.Position = offset;
    }

    // The digest is that of the whole file. So the bytes that were kept count, too.
    private static void BeginDigest(DownloadItem file)
    {
        file.Hash = file.Request.Offset > 0 ? file.KeptHash : null;
        if (file.Request.WantsDigest)
        {
            file.Hash ??= IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        }
    }

    // The lock keeps a second client from writing to the same file. It may have been published and removed between the
    // opening and the locking; then the path leads to another file now, or to none.
    private static SafeFileHandle OpenLocked(string path, FileMode mode)
    {
        FileShare share = OperatingSystem.IsWindows() ? FileShare.Delete : FileShare.None;
        for (int attempt = 1; attempt <= MaxOpenAttempts; attempt++)
        {
            SafeFileHandle handle = File.OpenHandle(path, mode, FileAccess.ReadWrite, share);
            bool isSame = false;
            try
            {
                isSame = LeadsTo(path, handle);
            }
            finally
            {
                if (!isSame)
                {
                    handle.Dispose();
                }
            }

            if (isSame)
            {
                return handle;
            }
        }

        throw new IOException("another process is using the temporary file");
    }

    private static bool LeadsTo(string path, SafeFileHandle handle)
    {
        var entry = new FileInfo(path);
        return entry.Exists && entry.Length == RandomAccess.GetLength(handle)
            && entry.LastWriteTimeUtc == File.GetLastWriteTimeUtc(handle);
    }

    private static void AddToDigest(DownloadItem file, ReadOnlySpan<byte> bytes) => file.Hash?.AppendData(bytes);

    private bool ReadAndCompareDigest(DownloadItem file)
    {
        if (file.Hash is null)
        {
            return true;
        }

        ReadOnlySpan<byte> digest = _server.ReadDigest();
        file.IsDigestRead = true;
        return digest.SequenceEqual(file.Hash.GetHashAndReset());
    }

    // If a part of the file was kept from an earlier run, the file may have changed since. So it is downloaded whole.
    private Outcome Discard(DownloadItem file)
    {
        bool wasResumed = file.Request.Offset > 0;
        StartOver(file);
        File.Delete(file.TemporaryPath);
        if (wasResumed)
        {
            _report.Say($"{file.Name}: what was kept does not match the file on the server; starting over");
            return Outcome.AskAgain;
        }

        _report.Fail(file.Name, "the digest does not match the received bytes; they were discarded");
        return Outcome.Settled;
    }

    // The next request is for the whole file. The kept bytes stay until its block comes: OpenTemporary drops them then.
    private void StartOver(DownloadItem file)
    {
        lock (_saving)
        {
            file.KeptLength = 0;
            file.Position = 0;
            file.IsDigestRead = false;
            file.DisposeHashes();
            _currentDownload = null;
        }
    }

    private static void RemoveIfEmpty(DownloadItem file)
    {
        if (file.Position == 0)
        {
            File.Delete(file.TemporaryPath);
        }
    }

    /// <summary>The end of a message about a download that was cut: what is kept of it.</summary>
    public static string DescribeKept(DownloadItem file)
    {
        return DescribeKept(file.Position > 0 ? file.Position : file.KeptLength);
    }

    private static string DescribeKept(long bytes)
    {
        return bytes == 0 ? "" : $"; {bytes:N0} bytes are kept, and --resume goes on from there";
    }

    // After a failure on this machine, the connection is still good. A small rest of the block is read and dropped.
    private void SkipBlock(DownloadItem file)
    {
        if (file.BytesLeft > MaxSkippedBytes)
        {
            _server.Close();
            return;
        }

        try
        {
            while (file.BytesLeft > 0)
            {
                file.BytesLeft -= (ulong)_server.ReadSome(file.BytesLeft).Length;
            }

            if (file.Request.WantsDigest && !file.IsDigestRead)
            {
                _server.ReadDigest();
            }
        }
        catch (ConnectionLostException)
        {
            _server.Close();
        }
    }

    // What an earlier run has left is read before anything is asked: the server would not wait for it (CLI-9).
    private void ReadKept(DownloadItem file)
    {
        try
        {
            HashKept(file);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new IOException(FileSystem.Explain(e, file.TemporaryPath), e);
        }
    }

    private void HashKept(DownloadItem file)
    {
        file.KeptHash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using SafeFileHandle temporary = OpenLocked(file.TemporaryPath, FileMode.Open);
        _report.Progress.BeginBatch(1, 0);
        _report.Progress.BeginFile(file.Name, 0, RandomAccess.GetLength(temporary));
        var buffer = new byte[1024 * 1024];
        int count = RandomAccess.Read(temporary, buffer, fileOffset: 0);
        while (count > 0)
        {
            file.KeptHash.AppendData(buffer, 0, count);
            file.KeptLength += count;
            _report.Progress.Position = file.KeptLength;
            count = RandomAccess.Read(temporary, buffer, file.KeptLength);
        }
    }

    private void SetModified(DownloadItem file, SafeFileHandle temporary, Reply reply)
    {
        if (reply.Modified is not { } time)
        {
            return;
        }

        try
        {
            FileSystem.SetModified(temporary, time);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            // A picture without its date is better than none.
            _report.Say($"{file.Name}: its date could not be set: {e.Message}");
        }
    }

    private static IncrementalHash? BeginDigest(PutRequest request)
    {
        return request.HasDigest ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256) : null;
    }

    private void SendDigest(IncrementalHash? hash)
    {
        if (hash is not null)
        {
            _server.SendDigest(hash.GetHashAndReset());
        }
    }
}

// =====================================================================================================================
// Appendix: many files in flight
//
// A small file that waits for the reply to the one before it costs a round trip: 300 files over a link of 40 ms take
// 12 s, and nearly all of it is waiting. So requests are sent before the earlier ones are answered. For GET this is
// always possible (CONN-2). For PUT it takes the option `ahead`: once the server has accepted one, further small files
// may follow with their blocks, without waiting for their go-ahead.
//
//     client                                       server
//       PUT|a.png|ahead                   -->
//                                         <--        OK            go ahead; from here on, no more waiting for it
//       block of a                        -->
//       PUT|b.png|ahead, block of b       -->
//       PUT|c.png|ahead, block of c       -->
//                                         <--        OK            a is stored
//                                         <--        OK, OK        go ahead with b, which comes late; b is stored
//                                         <--        OK, OK        the same for c
//
// Protocol.md: CONN-2, AHEAD-1 to AHEAD-5, CLI-8, CLI-13.
//
// See it:  imagetransfer client localhost PUT a.png b.png c.png --trace
//          make test CLIENT='…' STAGE=12
// =====================================================================================================================

internal abstract partial class Transfer
{
    /// <summary>True if the command has more files than this one.</summary>
    public bool IsInBatch { get; set; }

    /// <summary>The size in bytes, as far as it is known before the transfer; 0 if it is not.</summary>
    public long ExpectedSize { get; set; }

    /// <summary>Prepares the file on this machine.</summary>
    /// <returns>False if it cannot be transferred, which was reported.</returns>
    public abstract bool TryBegin();

    /// <summary>True if the request may be sent before earlier ones are answered.</summary>
    public abstract bool CanBeSentEarly { get; }

    /// <summary>Sends the request before its turn.</summary>
    /// <returns>False if the file cannot be transferred, which was reported.</returns>
    public abstract bool TrySendEarly();

    /// <summary>Does what is left: reads the reply and transfers the file.</summary>
    public abstract Outcome Finish();

    /// <summary>How many bytes of the file earlier attempts have transferred.</summary>
    public virtual long BytesBefore => 0;

    /// <summary>What to add to the message that the file was transferred.</summary>
    public virtual string DescribeResult() => "";

    /// <summary>What to add to a message about a lost connection.</summary>
    public virtual string DescribeKept() => "";

    /// <summary>The connection was lost before the reply came: the request has to be sent again.</summary>
    public virtual void ForgetSending() => IsRequestSent = false;

    /// <summary>Releases what <see cref="TryBegin"/> has opened.</summary>
    public virtual void Abandon()
    {
    }
}

internal sealed partial class DownloadItem
{
    public override bool CanBeSentEarly => IsInBatch;

    // Everything was checked when the command began: see PrepareDownload.
    public override bool TryBegin() => true;

    public override bool TrySendEarly()
    {
        client.SendGet(this);
        IsRequestSent = true;
        return true;
    }

    public override Outcome Finish() => client.GetAndRelease(this);

    public override long BytesBefore => (long)Request.Offset;

    public override string DescribeResult()
    {
        return Path.GetFileName(Target) == Name ? "" : $", saved as {client.ShowTarget(this)}";
    }

    public override string DescribeKept() => Client.DescribeKept(this);

    public override void Abandon() => DisposeHashes();
}

internal sealed partial class UploadItem
{
    /// <summary>Larger files ask for their go-ahead first, so that a refusal does not cost much (AHEAD-4).</summary>
    private const long MaxAheadBytes = 256 * 1024;

    /// <summary>True if the file may be sent with `ahead`.</summary>
    public bool IsSmall => IsInBatch && Size <= MaxAheadBytes;

    /// <summary>True if the block was sent after the request, without waiting for the go-ahead.</summary>
    public bool IsBlockSent { get; set; }

    /// <summary>True if the block was sent on an earlier connection, which was lost before the reply. The file may have
    /// been stored then.</summary>
    public bool WasSentBefore { get; private set; }

    public override bool CanBeSentEarly => IsSmall && client.CanSendAhead;

    public override bool TryBegin() => Handle is not null || client.TryOpen(this);

    public override bool TrySendEarly() => client.TrySendAhead(this);

    public override Outcome Finish() => client.Put(this);

    public override void ForgetSending()
    {
        WasSentBefore |= IsBlockSent;
        IsBlockSent = false;
        base.ForgetSending();
    }

    public override void Abandon() => CloseFile();
}

internal sealed partial class ServerConnection
{
    /// <summary>True if the server has accepted a PUT with `ahead` on this connection.</summary>
    public bool SupportsAhead { get; set; }
}

internal sealed partial class Client
{
    // How much of a block is sent at a time; in between, the client looks whether the server has replied.
    private const int PieceBytes = 256 * 1024;

    private readonly byte[] _smallFile = GC.AllocateUninitializedArray<byte>(PieceBytes);
    private bool _useAhead = true;

    /// <summary>True if blocks may be sent without waiting for the go-ahead (AHEAD-3).</summary>
    public bool CanSendAhead => _useAhead && _server.SupportsAhead;

    private PutRequest AddOptions(UploadItem file)
    {
        return new PutRequest(file.Name)
        {
            HasDigest = _useDigest,
            Ahead = _useAhead && file.IsSmall,
            Modified = _useModified ? file.LastWrite : null,
        };
    }

    private void RememberSupportForAhead(UploadItem file) => _server.SupportsAhead |= file.Request.Ahead;

    /// <summary>Sends the request and the block of a small file, without waiting for the go-ahead.</summary>
    /// <returns>False if the file cannot be read or has changed, which was reported. Nothing was sent then.</returns>
    public bool TrySendAhead(UploadItem file)
    {
        try
        {
            int size = ReadSmallFile(file);
            ReadOnlySpan<byte> content = _smallFile.AsSpan(0, size);
            SendPut(file);
            _server.SendLength(size);
            _server.Send(content);
            _server.Trace('C', $"<file:{file.Name}>");
            if (file.Request.HasDigest)
            {
                _server.SendDigest(SHA256.HashData(content));
            }

            file.IsRequestSent = true;
            file.IsBlockSent = true;
            _report.Progress.NoteActivity();
            return true;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            _report.Fail(file.Name, e);
            return false;
        }
        finally
        {
            file.CloseFile();
        }
    }

    private int ReadSmallFile(UploadItem file)
    {
        int size = 0;
        while (size < file.Size)
        {
            int count = RandomAccess.Read(file.Handle!, _smallFile.AsSpan(size, (int)file.Size - size), size);
            if (count == 0)
            {
                break;
            }

            size += count;
        }

        file.RequireUnchanged(size);
        return size;
    }

    // The order in which options are given up is that of CLI-13: ahead, modified, digest.
    private Outcome HandleRefusal(UploadItem file, Reply reply)
    {
        if (file.IsBlockSent)
        {
            // A server that knows `ahead` answers OK here. This one will read the block as if it were requests.
            _server.Close();
        }
        else if (reply.Code == Reply.Unsupported.Code && TryGiveUpOption(file.Request))
        {
            return Outcome.AskAgain;
        }

        file.CloseFile();
        return HandleReply(file, reply);
    }

    private bool TryGiveUpOption(PutRequest request)
    {
        if (request.Ahead)
        {
            _useAhead = false;
        }
        else if (request.Modified is not null)
        {
            _useModified = false;
        }
        else if (request.HasDigest)
        {
            _useDigest = false;
            _supportsDigest = false;
        }
        else
        {
            return false;
        }

        return true;
    }

    // `exists` can mean that this client has stored the file itself, on a connection that was lost before the reply.
    // Returns false if the reply is still to be reported as it is.
    private bool TryExplain(UploadItem file, Reply reply)
    {
        if (reply.Code != Reply.Exists.Code)
        {
            return false;
        }

        if (_onlyNew)
        {
            _toCompare.Add(file);
            return true;
        }

        if (file.WasSentBefore)
        {
            _report.Fail(file.Name, "exists: perhaps stored by the attempt before, whose reply was lost");
            return true;
        }

        return false;
    }
}

/// <summary>Transfers files one after another. Requests are sent ahead of the replies where that is possible.</summary>
internal sealed class Pipeline(ServerConnection server, Report report)
{
    // 128 requests and their replies fit into the buffers of any kernel. With more, client and server could both wait
    // in a send, each for the other to receive (AHEAD-5).
    private const int MaxOutstanding = 128;

    // New requests are sent in groups: this takes fewer sends than one for each reply.
    private const int RefillBelow = 112;

    // Files whose request was not sent yet, in order.
    private readonly LinkedList<Transfer> _waiting = [];

    // Files whose request was sent before their turn, in order. The server answers in the same order.
    private readonly Queue<Transfer> _outstanding = [];

    private Transfer? _current;

    /// <summary>Transfers these files, and reports what becomes of each of them.</summary>
    /// <exception cref="CommandLineException">The server cannot be reached, and there is only one file.</exception>
    public void Run(IReadOnlyCollection<Transfer> files)
    {
        int countBefore = report.Count;
        report.Progress.BeginBatch(files.Count, SumOf(files));
        foreach (Transfer file in files)
        {
            file.IsInBatch |= files.Count > 1;
            _waiting.AddLast(file);
        }

        try
        {
            RunAll();
        }
        catch (CommandLineException e) when (files.Count + countBefore > 1)
        {
            NameWhatIsLeft(e);
        }
        finally
        {
            foreach (Transfer file in files)
            {
                file.Abandon();
            }
        }
    }

    /// <summary>Reports that none of these files can be transferred, because there is no connection.</summary>
    public void FailAll(IEnumerable<Transfer> files, CommandLineException problem)
    {
        foreach (Transfer file in files)
        {
            _waiting.AddLast(file);
        }

        NameWhatIsLeft(problem);
    }

    private void RunAll()
    {
        while (_outstanding.Count > 0 || PrepareNext() is not null)
        {
            if (_outstanding.Count == 0)
            {
                server.Open();
            }

            SendEarly();
            _current = TakeNext();
            if (_current is not null)
            {
                Settle(_current, Finish(_current));
                _current = null;
            }
        }
    }

    // Prepares the next file that can be transferred. Those that cannot are reported, and left out.
    private Transfer? PrepareNext()
    {
        while (_waiting.First is { } first)
        {
            if (first.Value.TryBegin())
            {
                return first.Value;
            }

            _waiting.RemoveFirst();
        }

        return null;
    }

    private Transfer? TakeNext()
    {
        if (_outstanding.TryDequeue(out Transfer? file))
        {
            return file;
        }

        file = PrepareNext();
        if (file is not null)
        {
            _waiting.RemoveFirst();
        }

        return file;
    }

    private void SendEarly()
    {
        if (_outstanding.Count > RefillBelow)
        {
            return;
        }

        while (_outstanding.Count < MaxOutstanding && PrepareNext() is { CanBeSentEarly: true } next)
        {
            _waiting.RemoveFirst();
            if (next.TrySendEarly())
            {
                _outstanding.Enqueue(next);
            }
        }
    }

    private Outcome Finish(Transfer file)
    {
        // Its request may have been sent long before. The time that is reported is that of its own turn.
        file.Clock.Restart();
        try
        {
            return file.Finish();
        }
        catch (ConnectionLostException e)
        {
            server.Close();
            report.Fail(file.Name, e.Message + file.DescribeKept(), canRetry: true, reason: e.Message);
        }
        catch (ProtocolViolationException e)
        {
            server.Close();
            report.Fail(file.Name, e.Message, reason: "this is not an ImageTransfer server");
        }

        file.Abandon();
        return Outcome.Settled;
    }

    private void Settle(Transfer file, Outcome outcome)
    {
        if (outcome == Outcome.AskAgain)
        {
            file.ForgetSending();
            _waiting.AddLast(file);
        }

        if (!server.IsOpen)
        {
            PutBackOutstanding();
        }
    }

    // What was sent on a connection that is closed now will not be answered. It is sent again on the next one.
    private void PutBackOutstanding()
    {
        foreach (Transfer file in _outstanding.Reverse())
        {
            file.ForgetSending();
            _waiting.AddFirst(file);
        }

        _outstanding.Clear();
    }

    // There is no way to reach the server any more, so none of the other files can be transferred either.
    private void NameWhatIsLeft(CommandLineException problem)
    {
        bool canRetry = problem.ExitCode == ExitCode.TryAgain;
        report.FailCommand("imagetransfer", problem.Message, canRetry);
        PutBackOutstanding();
        if (_current is not null)
        {
            _waiting.AddFirst(_current);
        }

        foreach (Transfer file in _waiting)
        {
            report.Fail(file.Name, "not transferred: there is no connection", canRetry);
        }
    }

    // The sizes may come from a server, so they are not believed: their sum stays in range (BLOCK-2).
    private static long SumOf(IReadOnlyCollection<Transfer> files)
    {
        long sum = 0;
        foreach (Transfer file in files)
        {
            if (file.ExpectedSize == 0)
            {
                return 0;
            }

            sum = Math.Min(sum, long.MaxValue - file.ExpectedSize) + file.ExpectedSize;
        }

        return sum;
    }
}

// =====================================================================================================================
// Appendix: patterns, folders, and an account of everything that was found
//
// `PUT folder`, `PUT '*.jpg'` and `GET '*'` stand for many files. Someone who deletes the pictures from the camera
// afterwards has to be able to rely on it: whatever was found is transferred, or named as a failure, or counted.
//
// Protocol.md: CLI-5, CLI-6, NAME-1 to NAME-3, CLI-12.
//
// See it:  imagetransfer client localhost PUT ~/pictures
// =====================================================================================================================

/// <summary>What a name says about a file.</summary>
internal enum FileKind
{
    /// <summary>Its type is one that is transferred.</summary>
    Accepted,

    /// <summary>A picture of a type that --types does not have.</summary>
    OtherPicture,

    /// <summary>A camera raw file, of a type that --types does not have.</summary>
    CameraRaw,

    /// <summary>Any other file.</summary>
    Other,

    /// <summary>A hidden file.</summary>
    Hidden,
}

/// <summary>What patterns and folders have in common, here and on the server.</summary>
internal static class FileNames
{
    private static readonly string[] _cameraRawTypes = ["dng", "cr2", "cr3", "nef", "arw", "raf", "orf", "rw2"];

    public static FileKind GetKind(string name, string[] types)
    {
        return name switch
        {
            ['.', ..] => FileKind.Hidden,
            _ when HasExtension(name, types) => FileKind.Accepted,
            _ when HasExtension(name, PictureTypes) => FileKind.OtherPicture,
            _ when HasExtension(name, _cameraRawTypes) => FileKind.CameraRaw,
            _ => FileKind.Other,
        };
    }

    /// <summary>True for a pattern. No name of a picture has one of these two characters (NAME-1).</summary>
    public static bool HasWildcard(string word) => word.AsSpan().IndexOfAny('*', '?') >= 0;

    /// <summary>Whether a name matches a pattern. Upper and lower case are the same, as in file extensions: people who
    /// say *.jpg want IMG_1.JPG, too.</summary>
    public static bool Matches(string pattern, string name)
    {
        return FileSystemName.MatchesSimpleExpression(pattern, name, ignoreCase: true);
    }

    /// <summary>Why a file of this kind is not transferred.</summary>
    public static string WhyNot(FileKind kind)
    {
        return kind == FileKind.CameraRaw
            ? "this type is not transferred (camera raw); name it with --types, here and on the server"
            : "this type is not transferred; it is with --types images, here and on the server";
    }

    /// <summary>Why a file is not transferred whose type is neither one of --types nor that of a picture.</summary>
    public static string WhyNotAmong(string[] types, string name)
    {
        return name.Contains('.') ? $"not among the --types ({string.Join(", ", types)})"
            : "this name has no file extension, such as .jpg";
    }

    /// <summary>Which part of the rule for names a name breaks, and where, for the person who gave it.</summary>
    public static string DescribeProblem(string name)
    {
        return FindNameProblem(name) switch
        {
            NameProblem.Empty => "the name is empty",
            NameProblem.TooLong =>
                $"the name has {Encoding.UTF8.GetByteCount(name):N0} bytes; at most {MaxNameBytes} are allowed",
            NameProblem.DotOrSpaceAtEdge => "a name must not begin or end with a dot or a space",
            NameProblem.WindowsDevice => "this is the name of a device on Windows",
            _ => DescribeForbiddenCharacter(name),
        };
    }

    private static string DescribeForbiddenCharacter(string name)
    {
        int index = FindForbiddenCharacter(name);
        int position = name[..index].EnumerateRunes().Count() + 1;
        if (!Rune.TryGetRuneAt(name, index, out Rune rune))
        {
            return $"half a character (U+{(int)name[index]:X4}) at position {position} is not allowed";
        }

        if (rune.Value is 0x200C or 0x200D)
        {
            return $"U+{rune.Value:X4} at position {position} is not allowed at the beginning, at the end, "
                + "or next to a dot";
        }

        bool isVisible = Escape(rune.ToString()) is [not '\\', ..] or @"\\" or @"\<";
        string shown = isVisible ? $" '{rune}'" : "";
        string why = rune.Value is '/' or '\\' ? $": a name must not contain '{rune}'" : "";
        return $"U+{rune.Value:X4}{shown} at position {position} is not allowed{why}";
    }
}

/// <summary>Finds the local files that the words after PUT stand for.</summary>
internal sealed class PictureFinder(string[] types, Report report)
{
    private const string OtherName = "; --as gives it another name";
    private const string NotUtf8 = "the name of this file is not UTF-8; rename it to send it";
    private const string OnlyLastPart = "only the last part of a path may have * or ?, and not the name of a folder";

    private readonly HashSet<string> _seen = [];
    private readonly List<FoundFile> _found = [];

    /// <summary>A file that can be sent, as far as its name and size show.</summary>
    public sealed record FoundFile(string Path, string Name, long Size);

    private readonly record struct Entry(string Name, bool IsFolder, bool IsUtf8 = true);

    /// <summary>Finds the files that can be sent, and reports everything else that was found.</summary>
    /// <param name="words">Files, folders and patterns.</param>
    /// <param name="newName">The name of a single file on the server, or null for its own.</param>
    public List<FoundFile> Find(string[] words, string? newName)
    {
        string joined = string.Join(' ', words);
        if (words.Length > 1 && !words.Any(Path.Exists) && Path.Exists(joined))
        {
            report.Fail(joined, $"a name with spaces needs quotes: {ShellQuote(joined)}");
            return _found;
        }

        foreach (string word in words)
        {
            string path = CommandLineOptions.ExpandHome(word);
            try
            {
                FindPath(word, path, newName);
            }
            catch (Exception e) when (FileSystem.IsIoFailure(e))
            {
                report.Fail(word, e);
            }
        }

        return _found;
    }

    private void FindPath(string word, string path, string? newName)
    {
        if (path == "" || path.Contains('\0'))
        {
            report.Fail(word, "there is no such file or folder here");
        }
        else if (Directory.Exists(path))
        {
            FindInFolder(word, path, "*");
        }
        else if (newName is null && FileNames.HasWildcard(Path.GetFileName(path)))
        {
            string folder = Path.GetDirectoryName(path) ?? "";
            FindInFolder(word, folder == "" ? "." : folder, Path.GetFileName(path));
        }
        else if (!FileSystem.EntryExists(path))
        {
            bool isPattern = FileNames.HasWildcard(Path.GetDirectoryName(path) ?? "");
            report.Fail(word, isPattern ? OnlyLastPart
                : path.Contains('\uFFFD') ? NotUtf8
                : "there is no such file or folder here");
        }
        else if (IsNew(path))
        {
            AddFile(path, shownName: path, newName);
        }
    }

    private void FindInFolder(string word, string folder, string pattern)
    {
        if (!Directory.Exists(folder))
        {
            report.FailCommand(word, FileNames.HasWildcard(folder) ? OnlyLastPart : $"there is no folder {folder}");
            return;
        }

        Entry[] entries = [.. ReadFolder(folder).Where(entry => FileNames.Matches(pattern, entry.Name))];
        Entry[] visible = [.. entries.Where(entry => FileNames.GetKind(entry.Name, types) != FileKind.Hidden)];
        Entry[] ignored = [.. visible.Where(entry => !TryAddEntry(folder, entry))];
        if (ignored.Length == visible.Length)
        {
            bool isPattern = pattern != "*" || FileNames.HasWildcard(word);
            int folders = ignored.Count(entry => entry.IsFolder);
            string why = DescribeNothing(isPattern, entries.Length, ignored.Length - folders, folders);
            report.FailCommand(word, why);
        }
    }

    // Returns false if the entry is counted only: a file that is not a picture, or a folder without pictures.
    private bool TryAddEntry(string folder, Entry entry)
    {
        string path = Path.Combine(folder == "." ? "" : folder, entry.Name);
        if (!entry.IsUtf8 && IsAnyPicture(entry))
        {
            report.Fail(entry.Name, NotUtf8);
            return true;
        }

        if (!IsNew(path))
        {
            return true;
        }

        if (entry.IsFolder)
        {
            return TryReportFolder(path, entry.Name);
        }

        if (FileNames.GetKind(entry.Name, types) == FileKind.Other)
        {
            report.Ignore(entry.Name);
            return false;
        }

        AddFile(path, entry.Name, newName: null);
        return true;
    }

    // Patterns can overlap, and a file is sent once.
    private bool IsNew(string path) => _seen.Add(Path.GetFullPath(path));

    private static string DescribeNothing(bool isPattern, int entries, int files, int folders)
    {
        string where = isPattern ? "match this pattern" : "are in this folder";
        if (files > 0)
        {
            string what = folders > 0 ? "folders and files" : "files";
            return $"only {what} of other types {where}";
        }

        if (folders > 0)
        {
            return $"only folders {where}";
        }

        if (entries > 0)
        {
            return $"only hidden files {where}";
        }

        return isPattern ? "nothing matches this pattern" : "this folder is empty";
    }

    private static List<Entry> ReadFolder(string folder)
    {
        // By default .NET leaves out what it may not read, and an unreadable folder would look empty.
        var options = new EnumerationOptions { IgnoreInaccessible = false, AttributesToSkip = 0 };
        List<Entry> entries = [.. new FileSystemEnumerable<Entry>(folder,
            (ref FileSystemEntry entry) => new Entry(entry.FileName.ToString(), entry.IsDirectory), options)];
        entries.Sort((one, other) => string.CompareOrdinal(one.Name, other.Name));
        MarkNamesThatAreNotUtf8(folder, entries);
        return entries;
    }

    // A Linux name may be any bytes. Where they are not UTF-8, .NET shows U+FFFD, and the name that it shows leads to
    // no file, or to another one. Two such names can look the same here.
    private static void MarkNamesThatAreNotUtf8(string folder, List<Entry> entries)
    {
        for (int i = 0; i < entries.Count; i++)
        {
            string name = entries[i].Name;
            if (name.Contains('\uFFFD'))
            {
                bool isRepeated = i > 0 && entries[i - 1].Name == name;
                bool isUtf8 = !isRepeated && FileSystem.EntryExists(Path.Combine(folder, name));
                entries[i] = entries[i] with { IsUtf8 = isUtf8 };
            }
        }
    }

    // Folders in folders are not sent. If there are pictures in one, or in a folder below it, that is a failure: they
    // are left behind.
    private bool TryReportFolder(string path, string name)
    {
        string problem;
        try
        {
            int count = ReadFolder(path).Count(IsAnyPicture);
            int countBelow = count > 0 ? 0 : CountPicturesBelow(path);
            if (count + countBelow == 0)
            {
                report.IgnoreFolder();
                return false;
            }

            problem = count > 0
                ? $"a folder with {Amounts.CountOf(count, "picture")}, not sent; name it to send it"
                : $"there are folders in it with {Amounts.CountOf(countBelow, "picture")}, not sent; name them to send "
                    + "them";
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            problem = $"a folder that cannot be read: {e.Message}";
        }

        report.FailFolder(name, problem, reason: "folders with pictures, not sent");
        return true;
    }

    // Hidden folders are left out, and so are links to folders, which may lead in a circle.
    private int CountPicturesBelow(string folder)
    {
        var options = new EnumerationOptions
        {
            IgnoreInaccessible = false,
            RecurseSubdirectories = true,
            AttributesToSkip = FileAttributes.Hidden,
        };
        var pictures = new FileSystemEnumerable<Entry>(folder,
            (ref FileSystemEntry entry) => new Entry(entry.FileName.ToString(), entry.IsDirectory), options)
        {
            ShouldRecursePredicate = (ref FileSystemEntry entry) =>
                !entry.Attributes.HasFlag(FileAttributes.ReparsePoint),
        };
        return pictures.Count(IsAnyPicture);
    }

    private bool IsAnyPicture(Entry entry)
    {
        return !entry.IsFolder && FileNames.GetKind(entry.Name, types) is not (FileKind.Other or FileKind.Hidden);
    }

    private void AddFile(string path, string shownName, string? newName)
    {
        string name = newName ?? Path.GetFileName(path);
        if (DescribeRefusal(name, isRenamed: newName is not null) is { } refusal)
        {
            // The name is refused, not the file: with --as it is another one.
            report.Fail(newName ?? shownName, refusal.Text, refusal.Reason);
            return;
        }

        try
        {
            long size = FileSystem.GetLength(path);
            if (size > 0)
            {
                _found.Add(new FoundFile(path, name, size));
            }
            else
            {
                report.Fail(shownName, FileSystem.DescribeNoContent(path));
            }
        }
        catch (FileNotFoundException) when (FileSystem.EntryExists(path))
        {
            report.Fail(shownName, "a link to a file that is not there");
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            report.Fail(shownName, e);
        }
    }

    private (string Text, string Reason)? DescribeRefusal(string name, bool isRenamed)
    {
        FileKind kind = FileNames.GetKind(name, types);
        if (kind is FileKind.OtherPicture or FileKind.CameraRaw)
        {
            string text = FileNames.WhyNot(kind);
            return (text, text);
        }

        Reply reply = ValidateName(name, types);
        if (reply.Code == Reply.BadName.Code)
        {
            string hint = isRenamed ? "" : OtherName;
            return ($"bad-name: {FileNames.DescribeProblem(name)}{hint}", "names that are not allowed");
        }

        string why = FileNames.WhyNotAmong(types, name);
        return reply.IsOk ? null : ($"{reply.Code}: {why}", why);
    }
}

internal static partial class FileSystem
{
    /// <summary>Why a file without content is not sent. To .NET, pipes and devices look like empty files.</summary>
    public static string DescribeNoContent(string path)
    {
        const string Empty = "the file is empty";
        const string NotAFile = "a pipe or a device, not a file";
        if (OperatingSystem.IsWindows())
        {
            return Empty;
        }

        return IsRegularFile(path) switch
        {
            true => Empty,
            false => NotAFile,
            null => $"{Empty}, or {NotAFile}",
        };
    }

    // Returns null if it cannot be found out.
    private static bool? IsRegularFile(string path)
    {
        const uint TypeOnly = 1;                // STATX_TYPE
        const int ModeOffset = 28;              // stx_mode in struct statx
        const int TypeMask = 0xF000;            // S_IFMT
        const int RegularFile = 0x8000;         // S_IFREG
        byte[]? status = TryGetStatus(CurrentFolder, path, flags: 0, TypeOnly);
        return status is null ? null : (BitConverter.ToUInt16(status, ModeOffset) & TypeMask) == RegularFile;
    }
}

internal sealed partial class Client
{
    private string[] _types = [];
    private bool _onlyNew;
    private string? _newName;
    private string? _output;

    // Uploads whose name was taken on the server, with --new: their sizes decide.
    private readonly List<UploadItem> _toCompare = [];

    private void PutAll(string[] words)
    {
        _toCompare.Clear();
        List<UploadItem> files = [];
        foreach (PictureFinder.FoundFile found in new PictureFinder(_types, _report).Find(words, _newName))
        {
            files.Add(new UploadItem(this, found.Path, found.Name) { ExpectedSize = found.Size });
        }

        files.ForEach(file => file.IsInBatch = files.Count > 1);
        _report.ReportHeldBack();
        var pipeline = new Pipeline(_server, _report);
        try
        {
            if (_onlyNew && files.Count > 0 && TryReadNames(isForPattern: false) is { } there)
            {
                files = RemoveTaken(files, there);
            }
        }
        catch (CommandLineException e) when (files.Count + _report.Count > 1)
        {
            pipeline.FailAll(files, e);
            return;
        }

        pipeline.Run(files);
        CompareWithListing();
    }

    private List<UploadItem> RemoveTaken(List<UploadItem> files, Dictionary<string, ulong> there)
    {
        List<UploadItem> others = [];
        foreach (UploadItem file in files)
        {
            if (there.TryGetValue(file.Name, out ulong size))
            {
                _report.SkipOrFail(file.Name, (ulong)file.ExpectedSize, size, isHere: false);
            }
            else
            {
                others.Add(file);
            }
        }

        return others;
    }

    // With --new, names that have appeared on the server while the batch ran are compared at its end.
    private void CompareWithListing()
    {
        if (_toCompare.Count == 0)
        {
            return;
        }

        Dictionary<string, ulong>? there = null;
        try
        {
            there = TryReadNames(isForPattern: false);
        }
        catch (CommandLineException e)
        {
            // The server cannot be reached any more. Each of these files still has to be in the account.
            _report.FailCommand("imagetransfer", e.Message, e.ExitCode == ExitCode.TryAgain);
        }

        foreach (UploadItem file in _toCompare)
        {
            if (there is not null && there.TryGetValue(file.Name, out ulong size))
            {
                _report.SkipOrFail(file.Name, (ulong)file.Size, size, isHere: false);
            }
            else
            {
                _report.Fail(file.Name, Reply.Exists);
            }
        }
    }

    /// <summary>The names and sizes of the server's files, from a listing.</summary>
    /// <param name="isForPattern">True if lines that cannot be read may be files that were asked for.</param>
    /// <returns>Null if there is no listing, which was reported.</returns>
    private Dictionary<string, ulong>? TryReadNames(bool isForPattern)
    {
        List<byte[]> lines = [];
        if (!TryReadListing(new ListRequest(), "LIST", lines))
        {
            return null;
        }

        Dictionary<string, ulong> names = [];
        foreach (byte[] line in lines)
        {
            if (Utf8.IsValid(line) && Encoding.UTF8.GetString(line).Split('|') is [var name, var size, _]
                && TryParseSize(size, out ulong bytes))
            {
                names[name] = bytes;
            }
            else if (isForPattern)
            {
                _report.Fail(Escape(line), "this line of the server's listing is not name|size|time");
            }
        }

        return names;
    }

    private static bool TryParseSize(string text, out ulong size)
    {
        return ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out size);
    }

    private bool TryReadListing(Request request, string verb, List<byte[]> lines)
    {
        try
        {
            Reply reply = ReadListing(request, lines);
            if (!reply.IsOk)
            {
                _report.FailCommand(verb, reply);
            }

            if (reply.ClosesConnection)
            {
                _server.Close();
            }

            return reply.IsOk;
        }
        catch (ConnectionLostException e)
        {
            _server.Close();
            _report.FailCommand(verb, e.Message, canRetry: true);
        }
        catch (ProtocolViolationException e)
        {
            _server.Close();
            _report.FailCommand(verb, e.Message);
        }

        return false;
    }

    private void GetAll(string[] words)
    {
        bool isFolder = IsOutputFolder(words);
        bool hasPattern = words.Any(FileNames.HasWildcard);
        bool needsListing = hasPattern || (_onlyNew && words.Any(word => IsHere(word, isFolder)));
        Dictionary<string, ulong>? there = needsListing ? TryReadNames(hasPattern) : null;
        List<DownloadItem> files = [];
        HashSet<string> seen = [];
        foreach (string word in words)
        {
            if (!FileNames.HasWildcard(word))
            {
                AddDownload(word, there, isFolder, seen, files);
            }
            else if (there is not null)
            {
                AddMatches(word, there, isFolder, seen, files);
            }
        }

        _report.ReportHeldBack();
        new Pipeline(_server, _report).Run(files);
    }

    private void AddMatches(string pattern, Dictionary<string, ulong> there, bool isFolder, HashSet<string> seen,
        List<DownloadItem> files)
    {
        string[] matches = [.. there.Keys.Where(name => FileNames.Matches(pattern, name))];
        int ignored = 0;
        foreach (string name in matches)
        {
            switch (FileNames.GetKind(name, _types))
            {
                case FileKind.Hidden:
                    ignored++;
                    break;
                case FileKind.Other when seen.Add(name):
                    _report.Ignore(name);
                    ignored++;
                    break;
                case FileKind.Accepted:
                    AddDownload(name, there, isFolder, seen, files);
                    break;
                case FileKind.OtherPicture or FileKind.CameraRaw when seen.Add(name):
                    _report.Fail(name, FileNames.WhyNot(FileNames.GetKind(name, _types)));
                    break;
            }
        }

        if (ignored == matches.Length)
        {
            _report.FailCommand(pattern, DescribeNoMatch(matches.Length, there.Count));
        }
    }

    private static string DescribeNoMatch(int ignored, int listed)
    {
        if (ignored > 0)
        {
            return "only files of other types match this pattern";
        }

        return listed > 0 ? "nothing on the server matches this pattern"
            : "the server has no pictures of the types that it serves";
    }

    private void AddDownload(string name, Dictionary<string, ulong>? there, bool isFolder, HashSet<string> seen,
        List<DownloadItem> files)
    {
        if (!seen.Add(name))
        {
            return;
        }

        // A name that is spelled out needs no --types for any kind of picture.
        Reply reply = ValidateName(name, [.. _types, .. PictureTypes]);
        if (reply.Code == Reply.BadName.Code)
        {
            _report.Fail(name, $"bad-name: {FileNames.DescribeProblem(name)}", reason: "names that are not allowed");
        }
        else if (!reply.IsOk)
        {
            string hint = name.Contains('.') ? "" : "; a name with spaces needs quotes";
            string why = FileNames.WhyNotAmong(_types, name) + hint;
            _report.Fail(name, $"{reply.Code}: {why}", reason: why);
        }
        else
        {
            try
            {
                PrepareDownload(name, there, isFolder, files);
            }
            catch (Exception e) when (FileSystem.IsIoFailure(e))
            {
                _report.Fail(name, e);
            }
        }
    }

    private void PrepareDownload(string name, Dictionary<string, ulong>? there, bool isFolder, List<DownloadItem> files)
    {
        ulong size = there?.GetValueOrDefault(name) ?? 0;
        var file = new DownloadItem(this, name, GetTarget(name, isFolder))
        {
            ExpectedSize = (long)Math.Min(size, long.MaxValue),
        };
        string folder = Path.GetDirectoryName(file.Target)!;
        if (FileSystem.EntryExists(file.Target))
        {
            HandleTakenTarget(file, there is not null && there.ContainsKey(name) ? size : null);
        }
        else if (!Directory.Exists(folder) && !(isFolder && Directory.Exists(Path.GetDirectoryName(folder))))
        {
            _report.Fail(name, DescribeMissingFolder(isFolder ? _output! : Path.GetDirectoryName(_output!)!));
        }
        else
        {
            if (_resume && File.Exists(file.TemporaryPath))
            {
                ReadKept(file);
            }

            files.Add(file);
        }
    }

    // Names the first folder of the path that is missing.
    private static string DescribeMissingFolder(string folder)
    {
        string missing = Path.TrimEndingDirectorySeparator(folder);
        string create = ShellQuote(missing);
        while (Path.GetDirectoryName(missing) is { Length: > 0 } parent && !Directory.Exists(parent))
        {
            missing = parent;
        }

        return FileSystem.EntryExists(missing) ? $"{missing} is not a folder"
            : $"there is no folder {missing}; mkdir -p {create} creates it";
    }

    private bool IsHere(string name, bool isFolder)
    {
        try
        {
            return FindNameProblem(name) is NameProblem.None && FileSystem.EntryExists(GetTarget(name, isFolder));
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            // It will be reported when it is this file's turn.
            return false;
        }
    }

    // The name is taken on this machine.
    private void HandleTakenTarget(DownloadItem file, ulong? sizeThere)
    {
        if (_onlyNew && sizeThere is { } there && File.Exists(file.Target))
        {
            _report.SkipOrFail(file.Name, there, (ulong)FileSystem.GetLength(file.Target), isHere: true);
        }
        else
        {
            string what = Directory.Exists(file.Target) ? "folder" : "file";
            string taken = _output is null ? $"there is a {what} with this name here already"
                : $"there is a {what} {ShowTarget(file)} already";
            _report.Fail(file.Name, $"{taken}; files are never overwritten");
        }
    }

    private string GetTarget(string name, bool isFolder)
    {
        return Path.GetFullPath(isFolder ? Path.Combine(_output ?? "", name) : _output!);
    }

    /// <summary>Where a file is to be saved, as the person has written it.</summary>
    public string ShowTarget(DownloadItem file)
    {
        string output = _output ?? "";
        bool isFile = output != "" && Path.GetFullPath(output) == file.Target;
        return isFile ? output : Path.Combine(output, file.Name);
    }

    /// <summary>Whether --output names a folder: several files need one, and so does a slash at its end.</summary>
    /// <exception cref="CommandLineException">It has to be a folder, and is a file.</exception>
    private bool IsOutputFolder(string[] words)
    {
        if (_output is null)
        {
            return true;
        }

        bool needsFolder = words.Length > 1 || FileNames.HasWildcard(words[0])
            || Path.EndsInDirectorySeparator(_output);
        if (needsFolder && File.Exists(Path.TrimEndingDirectorySeparator(_output)))
        {
            throw new CommandLineException(
                $"--output {Quote(_output)} is a file, and this command needs a folder to put pictures into");
        }

        return needsFolder || Directory.Exists(_output);
    }

    // With --output, the folder is created if only it is missing, and only when there is something to put into it.
    private void CreateOutputFolder(DownloadItem file)
    {
        string folder = Path.GetDirectoryName(file.Target)!;
        if (_output is not null && !Directory.Exists(folder))
        {
            Directory.CreateDirectory(folder);
        }
    }
}

// =====================================================================================================================
// Appendix: LIST and STATUS on the screen
//
// On a terminal there are columns with a heading and a last line. Anywhere else, the lines are printed as they came, so
// that other programs can read them. Control characters are escaped in both.
//
// Protocol.md: LIST-1, STATUS-1, CLI-11.
//
// See it:  imagetransfer client localhost STATUS
// =====================================================================================================================

internal sealed partial class Client
{
    private void ShowList()
    {
        List<byte[]> lines = [];
        if (TryReadListing(new ListRequest(), "LIST", lines))
        {
            Show(lines, "the folder has no pictures of the types that the server serves", FormatList);
        }
    }

    private void ShowStatus()
    {
        List<byte[]> lines = [];
        if (TryReadListing(new StatusRequest(), "STATUS", lines))
        {
            Show(lines, "no connections yet", FormatStatus);
        }
    }

    private void Show(List<byte[]> lines, string ifEmpty, Func<List<byte[]>, List<string>> format)
    {
        if (lines.Count == 0)
        {
            _report.Say(ifEmpty);
        }
        else if (Console.IsOutputRedirected)
        {
            PrintResults(lines.Select(line => Escape(line)));
        }
        else
        {
            PrintResults(format(lines));
        }
    }

    private static List<string> FormatList(List<byte[]> lines)
    {
        // The sizes may be any numbers, so the sum needs more than 64 bits.
        UInt128 total = 0;
        bool isAllPictures = true;
        List<string> rows = ["           SIZE  MODIFIED (UTC)        NAME"];
        foreach (byte[] line in lines)
        {
            string text = Escape(line);
            if (text.Split('|') is [var name, var size, var time] && TryParseSize(size, out ulong bytes))
            {
                rows.Add($"{bytes,15:N0}  {time,-20}  {name}");
                total += bytes;
                isAllPictures &= HasExtension(name, PictureTypes);
            }
            else
            {
                rows.Add(text);
            }
        }

        string what = isAllPictures ? "picture" : "file";
        rows.Add($"{Amounts.CountOf(lines.Count, what)}, {Amounts.Format((double)total)}");
        return rows;
    }

    private static List<string> FormatStatus(List<byte[]> lines)
    {
        int open = 0;
        List<string> rows =
            ["CONNECTED (UTC)       DISCONNECTED          REQUESTS    RECEIVED        SENT  ADDRESS"];
        foreach (byte[] line in lines)
        {
            string text = Escape(line);
            if (text.Split('|') is [var from, var to, var address, var requests, var received, var sent])
            {
                rows.Add($"{from,-20}  {to,-20}  {requests,8}  {received,10}  {sent,10}  {address}");
                open += to == "-" ? 1 : 0;
            }
            else
            {
                rows.Add(text);
            }
        }

        string connections = lines.Count == 1 ? "connection" : "connections";
        rows.Add($"{lines.Count:N0} {connections}, {open:N0} open");
        return rows;
    }

    private void PrintResults(IEnumerable<string> lines)
    {
        try
        {
            using var output = new StreamWriter(Console.OpenStandardOutput(), bufferSize: 64 * 1024);
            foreach (string line in lines)
            {
                output.Write(line);
                output.Write('\n');
            }
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            _report.FailCommand("imagetransfer", StandardStreams.DescribeOutputProblem(e));
        }
    }
}

// =====================================================================================================================
// Appendix: what the person sees
//
// Results go to standard output, messages to standard error. Each file is reported when its reply has come. If more
// than ten files fail for the same reason, the first three are named, and the others are counted.
// =====================================================================================================================

/// <summary>The exit codes of the client.</summary>
internal static class ExitCode
{
    public const int Done = 0;

    /// <summary>Something was refused or failed.</summary>
    public const int Failed = 1;

    /// <summary>Something is left that another attempt may get: the connection was lost, the server was busy.</summary>
    public const int TryAgain = 3;

    public const int Interrupted = 130;
}

/// <summary>Prints what happens to the files of a command, and counts it.</summary>
internal sealed class Report(bool quiet, bool showProgress)
{
    private const int MaxNamed = 10;
    private const int NamedOfMany = 3;
    private const int MaxExtensionsNamed = 10;

    // Ctrl-C reports from a thread of its own, while the transfer still goes on.
    private readonly Lock _lock = new();

    // For each reason, the messages about the files that failed for it.
    private readonly Dictionary<string, List<string>> _failures = [];
    private readonly SortedDictionary<string, int> _ignored = new(StringComparer.OrdinalIgnoreCase);
    private readonly Stopwatch _clock = new();
    private int _ignoredFolders;
    private int _done;
    private int _skipped;
    private int _failed;
    private int _failedFolders;
    private long _bytes;
    private bool _hasFailed;
    private bool _canRetry;

    public Progress Progress { get; } = new(showProgress);

    /// <summary>How many files and folders of this command were reported so far.</summary>
    public int Count => _done + _skipped + _failed;

    /// <summary>The exit code for everything that was reported so far.</summary>
    public int ExitCodeSoFar
    {
        get
        {
            lock (_lock)
            {
                // Try again comes first: if a part can be had, another attempt is worthwhile whatever else has failed.
                if (_canRetry)
                {
                    return ExitCode.TryAgain;
                }

                return _hasFailed ? ExitCode.Failed : ExitCode.Done;
            }
        }
    }

    /// <summary>Lets only the calling thread report from now on. Another thread that reports, or asks for the exit
    /// code, waits until the program ends.</summary>
    public void ReserveForThisThread() => _lock.Enter();

    public void BeginCommand()
    {
        lock (_lock)
        {
            _failures.Clear();
            _ignored.Clear();
            _ignoredFolders = 0;
            _done = 0;
            _skipped = 0;
            _failed = 0;
            _failedFolders = 0;
            _bytes = 0;
            _clock.Restart();
        }
    }

    /// <summary>Prints a message, unless --quiet asks for errors only.</summary>
    public void Say(string text)
    {
        if (!quiet)
        {
            lock (_lock)
            {
                Progress.WriteLine(MakePrintable(text));
            }
        }
    }

    /// <summary>A file was transferred.</summary>
    /// <param name="file">The file.</param>
    /// <param name="bytes">How many of its bytes were transferred now.</param>
    /// <param name="isVerified">Whether its digest was compared.</param>
    public void FileDone(Transfer file, long bytes, bool isVerified)
    {
        bool isRest = file.BytesBefore > 0;
        string amount = isRest ? $"the remaining {Amounts.FormatBytes(bytes)}" : Amounts.FormatBytes(bytes);
        string verified = isVerified ? "verified" : "not verified";
        string inAll = isRest ? $"; {file.BytesBefore + bytes:N0} in all" : "";
        lock (_lock)
        {
            _done++;
            _bytes += bytes;
            Progress.EndFile(bytes);
            Say($"{file.Name}: {amount} in {file.Clock.Elapsed.TotalSeconds:0.00} s, "
                + $"{verified}{file.DescribeResult()}{inAll}");
        }
    }

    /// <summary>With --new: the name is taken. Files of the same size are assumed to be the same picture.</summary>
    /// <param name="name">The name.</param>
    /// <param name="size">The size of the file that was to be transferred, in bytes.</param>
    /// <param name="sizeOfOther">The size of the file that has the name.</param>
    /// <param name="isHere">True if the name is taken on this machine, false if on the server.</param>
    public void SkipOrFail(string name, ulong size, ulong sizeOfOther, bool isHere)
    {
        if (size == sizeOfOther)
        {
            lock (_lock)
            {
                _skipped++;
                Progress.EndFile(0);
                return;
            }
        }

        string text = isHere
            ? $"a different picture has this name here: {sizeOfOther:N0} bytes here, {size:N0} there"
            : $"a different picture has this name there: {size:N0} bytes here, {sizeOfOther:N0} there";
        Fail(name, text, reason: "names that different pictures have");
    }

    /// <summary>A file was not transferred.</summary>
    /// <param name="name">The file.</param>
    /// <param name="text">Why, and what to do about it.</param>
    /// <param name="canRetry">True if another attempt may succeed.</param>
    /// <param name="reason">What failures of this kind have in common; the same as the text, unless that has details.
    /// </param>
    public void Fail(string name, string text, bool canRetry, string? reason = null)
    {
        name = name == "" ? "''" : name;
        reason ??= text;
        lock (_lock)
        {
            _failed++;
            _hasFailed = true;
            _canRetry |= canRetry;
            Progress.EndFile(0);
            if (!_failures.TryGetValue(reason, out List<string>? messages))
            {
                messages = [];
                _failures.Add(reason, messages);
            }

            messages.Add(MakePrintable($"{name}: {text}"));
            if (messages.Count <= NamedOfMany)
            {
                Progress.WriteLine(messages[^1]);
            }
        }
    }

    /// <inheritdoc cref="Fail(string, string, bool, string?)"/>
    public void Fail(string name, string text, string? reason = null) => Fail(name, text, canRetry: false, reason);

    /// <summary>A folder was not transferred. It counts as one failure, whatever is in it.</summary>
    public void FailFolder(string name, string text, string reason)
    {
        lock (_lock)
        {
            _failedFolders++;
            Fail(name, text, reason);
        }
    }

    /// <summary>A file could not be read or written on this machine.</summary>
    /// <param name="name">The file.</param>
    /// <param name="problem">An exception for which <see cref="FileSystem.IsIoFailure"/> is true.</param>
    /// <param name="more">What to add to its message.</param>
    public void Fail(string name, Exception problem, string more = "")
    {
        // The messages of .NET name a file, each another one: "No space left on device : '/home/ada/.imagetransfer-…'".
        string reason = problem is UnauthorizedAccessException ? "access is denied"
            : problem.Message.Split(" '")[0].TrimEnd(' ', ':');
        Fail(name, problem.Message + more, reason);
    }

    /// <summary>The server has refused a file.</summary>
    public void Fail(string name, Reply reply)
    {
        Fail(name, $"{reply.Code}: {reply.Text}{Advice(reply)}", CanRetry(reply));
    }

    /// <summary>Something else than a file has failed, such as a LIST.</summary>
    public void FailCommand(string what, string text, bool canRetry = false)
    {
        lock (_lock)
        {
            _hasFailed = true;
            _canRetry |= canRetry;
            Progress.WriteLine(MakePrintable($"{what}: {text}"));
        }
    }

    /// <inheritdoc cref="FailCommand(string, string, bool)"/>
    public void FailCommand(string what, Reply reply)
    {
        FailCommand(what, $"{reply.Code}: {reply.Text}", CanRetry(reply));
    }

    /// <summary>A file that is not a picture, in a folder or among the matches of a pattern.</summary>
    public void Ignore(string name)
    {
        string extension = Path.GetExtension(name);
        string kind = extension == "" ? "without a file extension" : extension;
        lock (_lock)
        {
            _ignored[kind] = _ignored.GetValueOrDefault(kind) + 1;
        }
    }

    public void IgnoreFolder() => _ignoredFolders++;

    /// <summary>Prints the failures that were held back until it was known how many there are for a reason.</summary>
    public void ReportHeldBack()
    {
        lock (_lock)
        {
            foreach ((string reason, List<string> messages) in _failures)
            {
                if (messages.Count > MaxNamed)
                {
                    Progress.WriteLine(MakePrintable($"and {messages.Count - NamedOfMany:N0} more: {reason}"));
                    continue;
                }

                foreach (string message in messages.Skip(NamedOfMany))
                {
                    Progress.WriteLine(message);
                }
            }

            _failures.Clear();
        }
    }

    /// <summary>Ends a command: removes the progress line and prints the summary.</summary>
    public void EndCommand()
    {
        lock (_lock)
        {
            Progress.EndBatch();
            ReportHeldBack();
            int ignored = _ignored.Values.Sum() + _ignoredFolders;
            if (ignored > 0)
            {
                Say($"ignored: {DescribeIgnored()}");
            }

            if (Count + ignored > 1 || _skipped > 0)
            {
                string there = _skipped == 0 ? ""
                    : $"{_skipped:N0} already there (same name and size; contents not compared), ";
                Say($"{DescribeFound()}: {_done:N0} done, {there}{_failed:N0} failed; "
                    + $"{Amounts.Format(_bytes)} in {_clock.Elapsed.TotalSeconds:0.00} s");
            }
        }
    }

    // "3 files", "3 files and 1 folder", "2 folders"
    private string DescribeFound()
    {
        string files = Amounts.CountOf(Count - _failedFolders, "file");
        string folders = Amounts.CountOf(_failedFolders, "folder");
        if (_failedFolders == 0)
        {
            return files;
        }

        return Count == _failedFolders ? folders : $"{files} and {folders}";
    }

    // "3 .txt, 1 .mov, 1 folder"
    private string DescribeIgnored()
    {
        KeyValuePair<string, int>[] byCount = [.. _ignored.OrderByDescending(entry => entry.Value)];
        IEnumerable<string> parts = byCount.Take(MaxExtensionsNamed).Select(entry => $"{entry.Value:N0} {entry.Key}");
        if (byCount.Length > MaxExtensionsNamed)
        {
            int others = byCount.Skip(MaxExtensionsNamed).Sum(entry => entry.Value);
            parts = parts.Append($"{others:N0} with other file extensions");
        }

        if (_ignoredFolders > 0)
        {
            parts = parts.Append(Amounts.CountOf(_ignoredFolders, "folder"));
        }

        return string.Join(", ", parts);
    }

    // What the person can do about it.
    private static string Advice(Reply reply)
    {
        return reply.Code == Reply.Exists.Code ? " (--new skips it, --as gives it another name)" : "";
    }

    private static bool CanRetry(Reply reply)
    {
        return reply.Code == Reply.Busy.Code || reply.Code == Reply.Timeout.Code || reply.Code == Reply.Stopping.Code;
    }

    // Nothing that a server sends, and no name of a file, can move the cursor of a terminal (CLI-11). A backslash and
    // a < are harmless, so they stay as they are.
    private static string MakePrintable(string text) => Escape(text).Replace(@"\\", @"\").Replace(@"\<", "<");
}

/// <summary>Numbers of bytes for people. 1 MB is a million bytes.</summary>
internal static class Amounts
{
    public static string FormatBytes(long bytes) => CountOf(bytes, "byte");

    /// <summary>A number of things: "1 file", "2,000 files".</summary>
    public static string CountOf(long count, string what) => $"{count:N0} {what}{(count == 1 ? "" : "s")}";

    public static string Format(double bytes)
    {
        return bytes switch
        {
            >= 1e9 => $"{bytes / 1e9:N1} GB",
            >= 1e5 => $"{bytes / 1e6:0.0} MB",
            >= 1e3 => $"{bytes / 1e3:0.0} kB",
            1 => "1 byte",
            _ => $"{bytes:0} bytes",
        };
    }

    /// <summary>"12.3 MB of 33.1 MB". As long as a part is missing, the two numbers differ.</summary>
    public static string FormatPart(double part, double whole)
    {
        if (whole < 1000)
        {
            return $"{Math.Clamp(part, 0, Math.Max(whole - 1, 0)):0} of {whole:0} bytes";
        }

        double unit = whole >= 1e9 ? 1e9 : whole >= 1e5 ? 1e6 : 1e3;
        string name = whole >= 1e9 ? "GB" : whole >= 1e5 ? "MB" : "kB";
        double wholeTenths = Math.Round(whole / unit * 10);
        double partTenths = Math.Max(0, Math.Min(Math.Floor(part / unit * 10), wholeTenths - 1));
        return $"{partTenths / 10:N1} {name} of {wholeTenths / 10:N1} {name}";
    }
}

// =====================================================================================================================
// Appendix: the progress line
//
// On a terminal, one line shows how far a command is. A timer draws it, since the transfer may be waiting. All messages
// go through this class, so that they do not mix with the line.
// =====================================================================================================================

/// <summary>The line at the bottom of the terminal that shows how far a command is.</summary>
internal sealed partial class Progress(bool isVisible)
{
    private const int FirstDrawMs = 500;
    private const int RedrawMs = 250;
    private const int StalledAfterMs = 5_000;
    private const double MaxSecondsLeft = 359_999;
    private const int MinNameColumns = 14;

    private readonly Lock _lock = new();
    private Timer? _timer;
    private bool _isActive;
    private int _drawnColumns;

    // The batch: files, bytes (0 if unknown), when it began in milliseconds, and what is finished of it.
    private int _files;
    private long _total;
    private long _started;
    private int _finishedFiles;
    private long _finishedBytes;

    // The current file, in bytes.
    private string _name = "";
    private long _start;
    private long _end;
    private long _position;
    private long _lastMoved;

    /// <summary>How many bytes of the current file are there.</summary>
    public long Position
    {
        set
        {
            Volatile.Write(ref _position, value);
            NoteActivity();
        }
    }

    public void NoteActivity() => Volatile.Write(ref _lastMoved, Environment.TickCount64);

    /// <summary>Begins to show a command or a part of it.</summary>
    /// <param name="files">How many files there are.</param>
    /// <param name="total">How many bytes they have, or 0 if that is not known.</param>
    public void BeginBatch(int files, long total)
    {
        lock (_lock)
        {
            _files = files;
            _total = total;
            _finishedFiles = 0;
            _finishedBytes = 0;
            _name = "";
            _start = 0;
            _end = 0;
            Position = 0;
            _started = Environment.TickCount64;
            _isActive = isVisible;
            if (isVisible)
            {
                _timer ??= new Timer(_ => Draw(), null, FirstDrawMs, RedrawMs);
            }
        }
    }

    /// <summary>The size of a file has turned out to be another one.</summary>
    /// <param name="difference">How many bytes more there are than was expected.</param>
    public void CorrectTotal(long difference)
    {
        lock (_lock)
        {
            _total += _total > 0 ? difference : 0;
        }
    }

    /// <summary>Shows this file from now on.</summary>
    /// <param name="name">The file.</param>
    /// <param name="position">How many of its bytes are there already.</param>
    /// <param name="end">Its size in bytes.</param>
    public void BeginFile(string name, long position, long end)
    {
        lock (_lock)
        {
            _name = name;
            _start = position;
            _end = end;
            Position = position;
        }
    }

    /// <summary>Counts the current file as finished.</summary>
    /// <param name="bytes">How many bytes of the file were transferred.</param>
    public void EndFile(long bytes)
    {
        lock (_lock)
        {
            _finishedFiles++;
            _finishedBytes += bytes;
            _start = 0;
            _end = 0;
            Position = 0;
        }
    }

    /// <summary>Removes the line. It does not come back before the next <see cref="BeginBatch"/>.</summary>
    public void EndBatch()
    {
        lock (_lock)
        {
            _isActive = false;
            Erase();
        }
    }

    /// <summary>Prints a message above the line.</summary>
    public void WriteLine(string text)
    {
        lock (_lock)
        {
            Erase();
            StandardStreams.WriteErrorLine(text);
        }
    }

    private void Draw()
    {
        lock (_lock)
        {
            long now = Environment.TickCount64;
            bool isFinished = _finishedFiles >= _files;
            if (!_isActive || isFinished || now - _started < FirstDrawMs)
            {
                return;
            }

            int columns = Math.Min(TerminalText.GetColumns() - 1, TerminalText.MaxColumns);
            string line = MakeLine(now, columns);
            Erase();
            StandardStreams.WriteError(line);
            _drawnColumns = TerminalText.CountColumns(line);
        }
    }

    // Blanks, since not every console understands an escape sequence.
    private void Erase()
    {
        if (_drawnColumns > 0)
        {
            StandardStreams.WriteError($"\r{new string(' ', _drawnColumns)}\r");
            _drawnColumns = 0;
        }
    }

    private string MakeLine(long now, int columns)
    {
        long position = Volatile.Read(ref _position);
        double moved = Math.Max(0, (double)_finishedBytes + position - _start);
        bool isSingle = _files == 1;
        double left = isSingle ? (double)_end - position : _total - moved;
        string amount = isSingle ? Amounts.FormatPart(position, _end)
            : _total > 0 ? Amounts.FormatPart(moved, _total) : Amounts.Format(moved);
        string what = isSingle ? "" : $"{_finishedFiles:N0} of {_files:N0} files, ";
        string pace = DescribePace(now, moved, left, isKnown: isSingle || _total > 0);

        // The name gets what is left of the line. If that is too little, the pace is left out.
        string rest = $"{what}{amount}{pace}";
        if (rest.Length + (isSingle ? MinNameColumns : 0) > columns)
        {
            rest = $"{what}{amount}";
        }

        string name = isSingle ? TerminalText.Fit(_name, columns - rest.Length - 2) : "";
        return TerminalText.Fit(name == "" ? rest : $"{name}, {rest}", columns);
    }

    private string DescribePace(long now, double moved, double left, bool isKnown)
    {
        long silent = now - Volatile.Read(ref _lastMoved);
        if (silent >= StalledAfterMs)
        {
            return $", stalled for {silent / 1000} s";
        }

        double rate = moved * 1000 / (now - _started);
        if (!isKnown || moved == 0)
        {
            return $", {rate / 1e6:0.0} MB/s";
        }

        var time = TimeSpan.FromSeconds(Math.Clamp(left / Math.Max(rate, 1), 0, MaxSecondsLeft));
        return $", {rate / 1e6:0.0} MB/s, {(int)time.TotalHours}:{time:mm\\:ss} left";
    }
}

/// <summary>How wide text is on a terminal.</summary>
internal static partial class TerminalText
{
    /// <summary>The progress line is never wider than this.</summary>
    public const int MaxColumns = 79;

    private const int DefaultColumns = 80;
    private const int ErrorDescriptor = 2;
    private const nuint LinuxGetWindowSize = 0x5413;    // TIOCGWINSZ
    private const int EmojiSelector = 0xFE0F;

    // First and last characters that take two columns: East Asian scripts and emoji.
    private static readonly (int First, int Last)[] _wideRanges =
    [
        (0x1100, 0x115F), (0x231A, 0x231B), (0x2329, 0x232A), (0x23E9, 0x23F3), (0x25FD, 0x25FE), (0x2614, 0x2615),
        (0x2648, 0x2653), (0x267F, 0x267F), (0x2693, 0x2693), (0x26A1, 0x26A1), (0x26AA, 0x26AB), (0x26BD, 0x26BE),
        (0x26C4, 0x26C5), (0x26CE, 0x26CE), (0x26D4, 0x26D4), (0x26EA, 0x26EA), (0x26F2, 0x26F5), (0x26FA, 0x26FD),
        (0x2705, 0x2705), (0x270A, 0x270B), (0x2728, 0x2728), (0x274C, 0x274E), (0x2753, 0x2757), (0x2795, 0x2797),
        (0x27B0, 0x27BF), (0x2B1B, 0x2B1C), (0x2B50, 0x2B55), (0x2E80, 0x303E), (0x3041, 0x4DBF), (0x4E00, 0xA4CF),
        (0xA960, 0xA97F), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFE10, 0xFE19), (0xFE30, 0xFE6F), (0xFF01, 0xFF60),
        (0xFFE0, 0xFFE6), (0x16FE0, 0x1B2FF), (0x1F000, 0x1FAFF), (0x20000, 0x3FFFD),
    ];

    /// <summary>The width of the terminal on standard error, in columns.</summary>
    public static int GetColumns()
    {
        if (OperatingSystem.IsLinux())
        {
            var size = new WindowSize();
            return GetWindowSize(ErrorDescriptor, LinuxGetWindowSize, ref size) == 0 && size.Columns > 1
                ? size.Columns : DefaultColumns;
        }

        try
        {
            return Console.WindowWidth > 1 ? Console.WindowWidth : DefaultColumns;
        }
        catch (Exception e) when (e is IOException or PlatformNotSupportedException)
        {
            return DefaultColumns;
        }
    }

    /// <summary>How many columns a text takes.</summary>
    public static int CountColumns(string text)
    {
        int columns = 0;
        int previous = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            // U+FE0F asks for the colored picture of the character before it, which is a wide one.
            int width = rune.Value == EmojiSelector && previous == 1 ? 1 : CountColumns(rune);
            columns += width;
            previous = width;
        }

        return columns;
    }

    /// <summary>The text if it fits, otherwise the beginning of it and "…". It is never cut inside a character, which
    /// may consist of several code points.</summary>
    public static string Fit(string text, int columns)
    {
        text = Escape(text).Replace(@"\\", @"\").Replace(@"\<", "<");
        if (CountColumns(text) <= columns)
        {
            return text;
        }

        var start = new StringBuilder();
        int width = 1;
        TextElementEnumerator characters = StringInfo.GetTextElementEnumerator(text);
        while (characters.MoveNext())
        {
            string character = characters.GetTextElement();
            width += CountColumns(character);
            if (width > columns)
            {
                break;
            }

            start.Append(character);
        }

        return columns < 1 ? "" : $"{start}…";
    }

    private static int CountColumns(Rune rune)
    {
        if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark
            or UnicodeCategory.Format)
        {
            return 0;
        }

        return _wideRanges.Any(range => rune.Value >= range.First && rune.Value <= range.Last) ? 2 : 1;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct WindowSize
    {
        public ushort Rows;
        public ushort Columns;
        public ushort WidthInPixels;
        public ushort HeightInPixels;
    }

    [LibraryImport("libc", EntryPoint = "ioctl")]
    private static partial int GetWindowSize(int descriptor, nuint request, ref WindowSize size);
}

// =====================================================================================================================
// Appendix: Ctrl-C
//
// What a GET has received so far stays in its temporary file, and --resume goes on from there (CLI-10).
// =====================================================================================================================

internal sealed partial class Client
{
    // Held while a download gets its name. Ctrl-C takes this lock and keeps it, so that what it prints stays true.
    private readonly Lock _saving = new();

    // The download that writes to its temporary file, or null.
    private DownloadItem? _currentDownload;
    private int _interruptions;

    /// <summary>Downloads a file as <see cref="Get"/> does, and releases what is needed only until then.</summary>
    public Outcome GetAndRelease(DownloadItem file)
    {
        var outcome = Outcome.Settled;
        try
        {
            outcome = Get(file);
            return outcome;
        }
        finally
        {
            lock (_saving)
            {
                // Ctrl-C reports the download that is running, and not one that has failed before.
                _currentDownload = null;
            }

            if (outcome == Outcome.Settled)
            {
                file.DisposeHashes();
            }
        }
    }

    private bool PublishUninterrupted(DownloadItem file)
    {
        lock (_saving)
        {
            bool isPublished = PublishAndRemove(file);
            _currentDownload = null;
            return isPublished;
        }
    }

    // It runs on a thread of its own, while the transfer may still go on.
    private void OnInterrupt(PosixSignalContext context)
    {
        context.Cancel = true;
        if (Interlocked.Increment(ref _interruptions) == 1)
        {
            _saving.Enter();
            _report.ReserveForThisThread();
            _report.Progress.EndBatch();
            _report.ReportHeldBack();
            ReportInterruption(_currentDownload);
        }

        Environment.Exit(ExitCode.Interrupted);
    }

    private void ReportInterruption(DownloadItem? file)
    {
        if (file is null)
        {
            _report.Say("interrupted");
            return;
        }

        // The transfer goes on at the same time. What is removed and what is said follow from one look at the position.
        long kept = file.Position;
        if (kept == 0)
        {
            RemoveTemporary(file);
        }

        _report.FailCommand(file.Name, $"interrupted{DescribeKept(kept)}");
    }

    private void RemoveTemporary(DownloadItem file)
    {
        try
        {
            File.Delete(file.TemporaryPath);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            _report.Say($"{file.Name}: {e.Message}");
        }
    }
}

// =====================================================================================================================
// Appendix: the commands, at the command line and at the prompt
//
// The prompt takes the same words as the command line, and what terminals write when a file is dropped on them.
//
// See it:  imagetransfer client localhost
// =====================================================================================================================

internal sealed partial class Client
{
    private static readonly string[] _commands =
        ["LIST", "GET", "PUT", "STATUS", "HELP", "DOWNLOAD", "UPLOAD", "SEND", "EXIT", "QUIT"];

    private readonly CommandLineOptions _options;

    private Client(CommandLineOptions options, ServerConnection server)
    {
        bool quiet = options.Has("--quiet");
        bool showProgress = !quiet && !options.Has("--trace") && !Console.IsErrorRedirected;
        _server = server;
        _report = new Report(quiet, showProgress);
        _options = options;
        UseOptions(options);
    }

    // The options of the next command: those of the command line and, at the prompt, those that are typed after it.
    private void UseOptions(CommandLineOptions options)
    {
        _types = options.GetTypes();
        _output = options.GetPath("--output");
        _newName = options.GetString("--as");
        _resume = options.Has("--resume");
        _onlyNew = options.Has("--new");
        bool noDigest = options.Has("--no-digest");
        _useDigest = _supportsDigest && !noDigest;
        if (_resume && noDigest)
        {
            throw new CommandLineException("--resume needs the digest, which shows whether the parts belong together; "
                + "leave out --no-digest");
        }

        if (_output == "-")
        {
            throw new CommandLineException("--output - is not possible: a picture appears only when it is complete and "
                + "verified, and what is printed cannot be taken back");
        }
    }

    /// <summary>The client, from its command line to its exit code.</summary>
    /// <exception cref="CommandLineException">The command line is wrong, or the server cannot be reached.</exception>
    public static int Run(string[] args)
    {
        if (CommandLineOptions.AskForHelp(args))
        {
            return StandardStreams.Print(Help);
        }

        var options = new CommandLineOptions(args, _optionsWithValue, _optionsWithoutValue,
            portAdvice: "the port comes after HOST (HOST:PORT)");
        if (options.Positional is [var first, ..] && GetVerb(first) == "HELP"
            && ServerAddress.IsCommandWithoutHost([.. options.Positional]))
        {
            return StandardStreams.Print(Help);
        }

        (ServerAddress address, string[] words) = ServerAddress.Parse([.. options.Positional]);
        string? verb = words is [var word, ..] ? GetVerb(word) ?? throw NoSuchCommand(word) : null;
        if (verb == "HELP")
        {
            return StandardStreams.Print(Help);
        }

        RequireFittingOptions(options, verb);
        KeyFile? key = KeyFile.Load(options.GetPath("--key"), createIfMissing: false);
        using var server = new ServerConnection(address.Host, address.Port, key, options.Has("--trace"));
        var client = new Client(options, server);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, client.OnInterrupt);
        if (verb is null)
        {
            client.Prompt($"connected to {Escape(address.Host)}, port {address.Port}");
        }
        else
        {
            client.Execute(verb, words[1..]);
        }

        return client._report.ExitCodeSoFar;
    }

    /// <summary>The command that a word stands for, in capitals; null if it is none. Words may be written in any case,
    /// and some commands have a second name.</summary>
    public static string? GetVerb(string word)
    {
        return word.ToUpperInvariant() switch
        {
            "LIST" or "LS" => "LIST",
            "GET" or "DOWNLOAD" => "GET",
            "PUT" or "UPLOAD" or "SEND" => "PUT",
            "STATUS" => "STATUS",
            "HELP" => "HELP",
            _ => null,
        };
    }

    /// <summary>All options of the client.</summary>
    public static string[] OptionNames => [.. _optionsWithValue, .. _optionsWithoutValue];

    public static bool IsCommand(string word) => GetVerb(word) is not null;

    private static CommandLineException NoSuchCommand(string word)
    {
        string help = Suggestion.For(word, _commands);
        if (help == "")
        {
            bool isPicture = HasExtension(word, PictureTypes);
            help = PromptInput.IsExisting(word) ? "; PUT uploads a file"
                : isPicture ? "; GET downloads a picture" : "; help lists them";
        }

        return new CommandLineException($"there is no command {(word == "" ? "''" : Quote(word)[1..^1])}{help}");
    }

    private static void RequireFittingOptions(CommandLineOptions options, string? verb)
    {
        // At the prompt, any command may follow. But a name for one file makes no sense for all of them.
        (string Option, string[] Verbs)[] rules =
        [
            ("--output", ["GET"]),
            ("--resume", ["GET"]),
            ("--new", ["GET", "PUT"]),
            ("--as", ["PUT"]),
        ];
        foreach ((string option, string[] verbs) in rules)
        {
            bool fits = verb is null ? option != "--as" : verbs.Contains(verb);
            if (options.IsGiven(option) && !fits)
            {
                throw new CommandLineException($"{option} goes with {string.Join(" and ", verbs)}");
            }
        }
    }

    private void Execute(string verb, string[] words)
    {
        RequireWords(verb, words);
        _report.BeginCommand();
        try
        {
            switch (verb)
            {
                case "GET":
                    CryptoLibrary.Require();
                    GetAll(words);
                    break;
                case "PUT":
                    CryptoLibrary.Require();
                    PutAll(words);
                    break;
                case "LIST":
                    ShowList();
                    break;
                case "STATUS":
                    ShowStatus();
                    break;
                default:
                    PrintResults([PromptHelp]);
                    break;
            }
        }
        finally
        {
            _report.EndCommand();
        }
    }

    private void RequireWords(string verb, string[] words)
    {
        if (verb is "LIST" or "STATUS" or "HELP" && words is not [])
        {
            throw new CommandLineException($"{verb} takes no file name");
        }

        if (verb is "GET" or "PUT" && words is [])
        {
            throw new CommandLineException($"{verb} needs at least one file name");
        }

        if (_newName is not null && !IsOneFile(words))
        {
            throw new CommandLineException("--as gives one file another name, so it needs exactly one file");
        }
    }

    // A file may be called "what?.png" here, and then --as is the way to send it.
    private static bool IsOneFile(string[] words)
    {
        if (words is not [var word])
        {
            return false;
        }

        string path = CommandLineOptions.ExpandHome(word);
        return !Directory.Exists(path) && (!FileNames.HasWildcard(word) || File.Exists(path));
    }

    private void Prompt(string greeting)
    {
        _server.Open();
        _report.Say($"{greeting}; help lists the commands, exit leaves");
        TextReader input = PromptInput.Open();
        bool isOpen = true;
        while (isOpen)
        {
            if (!Console.IsInputRedirected)
            {
                StandardStreams.WriteError("imagetransfer> ");
            }

            if (ReadLine(input) is not { } line)
            {
                StandardStreams.WriteError(Console.IsInputRedirected ? "" : Environment.NewLine);
                return;
            }

            try
            {
                isOpen = ExecuteLine(line.Trim());
            }
            catch (CommandLineException e)
            {
                _report.FailCommand("imagetransfer", e.Message, e.ExitCode == ExitCode.TryAgain);
            }
        }
    }

    /// <summary>Reads a line that is typed at the prompt.</summary>
    /// <returns>Null at the end of the input, or if it cannot be read, which was reported.</returns>
    private string? ReadLine(TextReader input)
    {
        try
        {
            return input.ReadLine();
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            _report.FailCommand("imagetransfer", $"cannot read standard input: {e.Message}");
            return null;
        }
    }

    /// <summary>Does what a line says that was typed at the prompt.</summary>
    /// <returns>False if the line ends the prompt.</returns>
    private bool ExecuteLine(string line)
    {
        string first = line.Split(' ', 2)[0];
        string rest = line[first.Length..].Trim();
        if (first.ToLowerInvariant() is "exit" or "quit" && rest == "")
        {
            return false;
        }

        if (GetVerb(first) is { } verb)
        {
            bool isOneFile = verb == "PUT" && PromptInput.IsExisting(rest);
            ExecuteWords(verb, isOneFile ? ["--", rest] : PromptInput.Split(rest));
        }
        else if (line != "")
        {
            ExecuteWords("GET", GetNameOnly(line));
        }

        return true;
    }

    // A line that begins with the name of a picture downloads it. Options may follow.
    private string[] GetNameOnly(string line)
    {
        string[] types = [.. _options.GetTypes(), .. PictureTypes];
        if (ValidateName(line, types).IsOk && !line.Contains(" --"))
        {
            return ["--", line];
        }

        string[] words = PromptInput.Split(line);
        bool isName = words is [var name, .. var others] && ValidateName(name, types).IsOk
            && others is [] or [['-', '-', ..], ..];
        return isName ? words : throw NoSuchCommand(PromptInput.IsExisting(line) ? line : words[0]);
    }

    // The words after a command at the prompt: options that apply to this command alone, and names.
    private void ExecuteWords(string verb, string[] words)
    {
        if (words.TakeWhile(word => word != "--").FirstOrDefault(IsOptionOfStart) is { } option)
        {
            throw new CommandLineException($"{option} is given at the start: imagetransfer client HOST {option} ...");
        }

        var options = new CommandLineOptions(
            words, _promptOptionsWithValue, _promptOptionsWithoutValue, isPrompt: true, defaults: _options);
        RequireFittingOptions(options, verb);
        UseOptions(options);
        Execute(verb, [.. options.Positional]);
    }

    private static bool IsOptionOfStart(string word)
    {
        string name = word.Split('=')[0];
        return OptionNames.Contains(name)
            && !_promptOptionsWithValue.Concat(_promptOptionsWithoutValue).Contains(name);
    }
}

/// <summary>Reads and takes apart what is typed at the prompt.</summary>
internal static class PromptInput
{
    private const string FileUrl = "file://";

    public static TextReader Open()
    {
        if (Console.IsInputRedirected)
        {
            return new StreamReader(Console.OpenStandardInput(), Encoding.UTF8);
        }

        if (OperatingSystem.IsWindows())
        {
            Console.InputEncoding = Encoding.Unicode;
        }

        return Console.In;
    }

    /// <summary>Whether all of a text is the path of a file or folder, blanks and quotes in it included.</summary>
    public static bool IsExisting(string text)
    {
        return text != "" && Path.Exists(CommandLineOptions.ExpandHome(text));
    }

    /// <summary>Takes a line apart into words as a shell does: at blanks, but not between quotes or after a backslash.
    /// Terminals write the name of a file that is dropped on them in this way, or as a file:// address.</summary>
    /// <exception cref="CommandLineException">A quote is not closed.</exception>
    public static string[] Split(string line)
    {
        List<string> words = [];
        var word = new StringBuilder();
        bool isInWord = false;
        char? quote = null;
        for (int i = 0; i < line.Length; i++)
        {
            char c = line[i];
            if (c == quote)
            {
                quote = null;
            }
            else if (IsEscape(line, i, quote))
            {
                i++;
                word.Append(line[i]);
                isInWord = true;
            }
            else if (quote is null && c is '"' or '\'')
            {
                quote = c;
                isInWord = true;
            }
            else if (quote is null && char.IsWhiteSpace(c))
            {
                AddWord(words, word, isInWord);
                isInWord = false;
            }
            else
            {
                word.Append(c);
                isInWord = true;
            }
        }

        AddWord(words, word, isInWord);
        return quote is null ? [.. words] : throw new CommandLineException("a quote is not closed");
    }

    // On Windows a backslash separates folders. Between double quotes it only escapes what would end or change them.
    private static bool IsEscape(string line, int index, char? quote)
    {
        if (line[index] != '\\' || index + 1 == line.Length || OperatingSystem.IsWindows())
        {
            return false;
        }

        return quote switch
        {
            null => true,
            '"' => line[index + 1] is '"' or '\\' or '$' or '`',
            _ => false,
        };
    }

    private static void AddWord(List<string> words, StringBuilder word, bool isInWord)
    {
        if (isInWord)
        {
            words.Add(FromUrl(word.ToString()));
            word.Clear();
        }
    }

    // file:///home/ada/My%20Photo.jpg, and on Windows file:///C:/Users/ada/My%20Photo.jpg
    private static string FromUrl(string word)
    {
        if (!word.StartsWith(FileUrl, StringComparison.OrdinalIgnoreCase))
        {
            return word;
        }

        string path = word[FileUrl.Length..];
        if (path.StartsWith("localhost/", StringComparison.Ordinal))
        {
            path = path["localhost".Length..];
        }

        path = Uri.UnescapeDataString(path);
        return OperatingSystem.IsWindows() && path is ['/', _, ':', ..] ? path[1..] : path;
    }
}

internal sealed partial class Client
{
    private const string PromptHelp =
        "LIST · GET NAME... · PUT FILE... · STATUS · exit · a name alone downloads it · put quotes around spaces\n"
        + "GET: --output PATH, --resume · PUT: --as NAME · both: --new, --no-digest, --types LIST";

    private static readonly string[] _promptOptionsWithValue = ["--output", "--as", "--types"];
    private static readonly string[] _promptOptionsWithoutValue = ["--resume", "--new", "--no-digest"];
    private static readonly string[] _optionsWithValue = ["--output", "--as", "--key", "--types"];
    private static readonly string[] _optionsWithoutValue =
        ["--resume", "--new", "--no-digest", "--trace", "--quiet", "--help"];

    private const string Help = """
        usage: imagetransfer client HOST[:PORT] [PORT] [COMMAND [FILE...]] [OPTION...]

        Without COMMAND there is a prompt that takes the same commands, and the options of GET and PUT after them.
        PORT is 7005 unless given.

          LIST                what the server has                           (also: ls)
          GET NAME...         download pictures; '*.png' is all that match  (also: download)
          PUT FILE...         upload pictures, or those of a folder         (also: upload, send)
          STATUS              who has been connected

          --output PATH       GET: into this folder, or, for a single NAME, to this file
          --resume            GET: go on with a download that was cut
          --new               GET, PUT: skip what is there already with the same size
          --as NAME           PUT: store a single FILE under this name
          --key FILE          the server's key file: use TLS, and prove to have the key
          --no-digest         do not compare SHA-256 digests
          --types LIST        file extensions to send and fetch: a list such as jpg,png,cr2; or images, for every
                              kind but camera raw; or any (default: jpg,jpeg,png)
          --trace             show the conversation on stderr, as Protocol.md writes it
          --quiet             print errors only
          --help              this text

        '*.jpg' matches IMG_1.JPG, too. Names with spaces need quotes.
        On a terminal LIST and STATUS print columns; into a file or a pipe they print a|b|c. 1 MB is a million bytes.

          imagetransfer client 192.168.1.10 PUT *.jpg --key pictures.key
          imagetransfer client 192.168.1.10 GET '*' --output copies/ --new

        Exit code: 0 done, 1 something was refused or failed, 2 the command line is wrong, 3 try again (the server did
        not answer, was busy, or the connection was lost), 130 Ctrl-C.
        """;
}

// =====================================================================================================================
// Appendix: connecting
//
// A name can have several addresses, some of which may not answer. Each of them gets its time.
// =====================================================================================================================

/// <summary>Where the server is.</summary>
internal sealed record ServerAddress(string Host, int Port)
{
    /// <summary>Takes HOST, HOST:PORT, [v6]:PORT or HOST PORT from the words of a command line.</summary>
    /// <returns>The address, and the words after it.</returns>
    /// <exception cref="CommandLineException">There is no HOST, or the port is wrong.</exception>
    public static (ServerAddress Address, string[] Others) Parse(string[] words)
    {
        if (words is not [{ Length: > 0 } first, .. var others])
        {
            throw new CommandLineException(
                "missing HOST, the name or address of the server; see imagetransfer client --help");
        }

        RequireNoPrefix(first);
        if (first.All(char.IsAsciiDigit) || IsCommandWithoutHost(words))
        {
            throw new CommandLineException(
                $"missing HOST, the name or address of the server: imagetransfer client HOST {Escape(first)} ...");
        }

        bool hasPortNext = others is [[>= '0' and <= '9', ..], ..];
        (string host, string? port) = SplitHost(first);
        if (host == "")
        {
            throw new CommandLineException("missing HOST, the name or address of the server, before the port");
        }

        if (hasPortNext)
        {
            port = port is null ? others[0] : throw new CommandLineException(
                $"the port is given twice: {Escape(first)} {Escape(others[0])}");
            others = others[1..];
        }

        int number = port is null ? DefaultPort : CommandLineOptions.ParsePort(port, min: 1);
        return (new ServerAddress(host, number), others);
    }

    /// <summary>Whether the first word is a command, and not the name of a server, such as "get". After the name of a
    /// server there is a command, perhaps with a port before it.</summary>
    public static bool IsCommandWithoutHost(string[] words)
    {
        string[] others = words[1..];
        bool hasPort = others is [{ Length: > 0 } next, ..] && next.All(char.IsAsciiDigit);
        return Client.IsCommand(words[0])
            && !(others.Skip(hasPort ? 1 : 0).FirstOrDefault() is { } command && Client.IsCommand(command));
    }

    // Other programs take http://host or user@host.
    private static void RequireNoPrefix(string word)
    {
        int scheme = word.IndexOf("://", StringComparison.Ordinal);
        int start = Math.Max(scheme < 0 ? 0 : scheme + 3, word.LastIndexOf('@') + 1);
        if (start > 0)
        {
            string host = Escape(word[start..].TrimEnd('/'));
            throw new CommandLineException(
                $"leave out {Quote(word[..start])} before HOST: imagetransfer client {host} ...");
        }
    }

    private static (string Host, string? Port) SplitHost(string word)
    {
        if (word is ['[', ..] && word.IndexOf(']') is var end and > 1)
        {
            string after = word[(end + 1)..];
            if (after is "" or [':', ..])
            {
                return (word[1..end], after == "" ? null : after[1..]);
            }
        }

        // An address such as fe80::1 has colons of its own.
        string[] parts = word.Split(':');
        return parts is [var host, var port] ? (host, port) : (word, null);
    }
}

internal sealed partial class ServerConnection
{
    private const int ConnectTimeoutMs = 10_000;
    private const int MaxShownBytes = 60;

    // Lines of other protocols end with CR LF, and their CR says nothing, unless it is all that is wrong with a reply.
    private static string ShowAnswer(ReadOnlySpan<byte> line)
    {
        ReadOnlySpan<byte> text = line.TrimEnd((byte)'\r');
        ReadOnlySpan<byte> shown = ParseReply(text) is null ? text : line;
        return Escape(shown[..Math.Min(shown.Length, MaxShownBytes)]);
    }

    /// <summary>Connects to the first address of the host that answers.</summary>
    /// <exception cref="CommandLineException">No address answers, or the server has another key.</exception>
    private ClientTransport ConnectToAnyAddress()
    {
        SupportsAhead = false;
        List<SocketException> problems = [];
        foreach (IPAddress address in FindAddresses())
        {
            try
            {
                Socket socket = ConnectTo(address);
                return key is null ? new ClientTransport(socket) : BeginTls(socket, key);
            }
            catch (SocketException e)
            {
                problems.Add(e);
            }
        }

        // If several addresses have failed, a refusal says most, and silence says more than the rest.
        SocketException problem = problems.Find(e => e.SocketErrorCode == SocketError.ConnectionRefused)
            ?? problems.Find(IsTimeout) ?? problems[^1];
        throw CannotConnect(problem.SocketErrorCode switch
        {
            SocketError.ConnectionRefused =>
                "the connection was refused; is the server running, and does it --listen on the network?",
            _ when IsTimeout(problem) => $"no answer within {ConnectTimeoutMs / 1000} s",
            _ => new SocketException(problem.ErrorCode).Message,
        }, ExitCode.TryAgain);
    }

    private IPAddress[] FindAddresses()
    {
        if (IPAddress.TryParse(host, out IPAddress? address))
        {
            return [address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address];
        }

        try
        {
            IPAddress[] addresses = Dns.GetHostAddresses(host);
            return addresses.Length > 0 ? addresses : throw CannotConnect("that name has no address", ExitCode.Failed);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.TryAgain)
        {
            throw CannotConnect("that name cannot be looked up at the moment; is this machine on the network?",
                ExitCode.TryAgain);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw CannotConnect("there is no machine with that name, as far as this one can find out", ExitCode.Failed);
        }
    }

    private Socket ConnectTo(IPAddress address)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            ConnectWithin(socket, new IPEndPoint(address, port), ConnectTimeoutMs);
            socket.SendTimeout = ClientTransport.DefaultTimeoutMs;
            socket.ReceiveTimeout = ClientTransport.DefaultTimeoutMs;
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }
    }

    private static void ConnectWithin(Socket socket, IPEndPoint endPoint, int milliseconds)
    {
        if (OperatingSystem.IsLinux())
        {
            // The kernel gives up a connect, too, after the time for a send. The socket stays an ordinary blocking one.
            socket.SendTimeout = milliseconds;
            socket.Connect(endPoint);
            return;
        }

        using var limit = new CancellationTokenSource(milliseconds);
        try
        {
            socket.ConnectAsync(endPoint, limit.Token).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            throw new SocketException((int)SocketError.TimedOut);
        }
    }

    private static bool IsTimeout(SocketException e)
    {
        return e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock or SocketError.InProgress;
    }

    private CommandLineException CannotConnect(string why, int exitCode)
    {
        return new CommandLineException($"cannot connect to {Escape(host)}, port {port}: {why}", exitCode);
    }
}

// =====================================================================================================================
// Appendix: the command line, for client and server
// =====================================================================================================================

/// <summary>Words of the command line, as messages show them.</summary>
internal static class CommandText
{
    /// <summary>A path, as it is typed in a shell of Unix: in quotes if it needs them.</summary>
    public static string ShellQuote(string path)
    {
        bool isPlain = path.All(c => char.IsAsciiLetterOrDigit(c) || "/._-+=@%,:".Contains(c));
        return isPlain ? path : $"'{path.Replace("'", @"'\''")}'";
    }

    /// <summary>A word of the command line, as a message shows it.</summary>
    public static string Quote(string word) => $"'{Escape(word).Replace(@"\\", @"\").Replace(@"\<", "<")}'";
}

/// <summary>Something that the person at the terminal has to correct. Its message is printed in one line, and the
/// program ends.</summary>
/// <param name="message">What is wrong and what to do.</param>
/// <param name="exitCode">2 for a wrong command line; 1 if the machine is the reason (a port in use, no folder);
/// 3 if it may work later.</param>
internal sealed class CommandLineException(string message, int exitCode = 2) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}

/// <summary>The command line after "server" or "client", taken apart into options and other words.</summary>
internal sealed class CommandLineOptions
{
    private readonly Dictionary<string, string> _values = [];
    private readonly List<string> _positional = [];
    private readonly CommandLineOptions? _defaults;

    /// <summary>Takes a command line apart.</summary>
    /// <param name="args">The words of the command line.</param>
    /// <param name="withValue">The options that take a value, as "--name value" or "--name=value".</param>
    /// <param name="withoutValue">The options that stand alone.</param>
    /// <param name="portAdvice">Where the port is given, for people who look for an option; "" for none.</param>
    /// <param name="isPrompt">True at the prompt, where a word with a single "-" before it is a name.</param>
    /// <param name="defaults">Options that apply as long as these do not say otherwise, or null.</param>
    /// <exception cref="CommandLineException">An option is unknown, repeated, or lacks its value.</exception>
    public CommandLineOptions(string[] args, string[] withValue, string[] withoutValue, string portAdvice = "",
        bool isPrompt = false, CommandLineOptions? defaults = null)
    {
        _defaults = defaults;
        string[] known = [.. withValue, .. withoutValue];
        var words = new Queue<string>(args);
        while (words.TryDequeue(out string? word))
        {
            if (word == "--")
            {
                _positional.AddRange(words);
                return;
            }

            if (word is not ['-', _, ..] || (isPrompt && word[1] != '-'))
            {
                _positional.Add(word);
                continue;
            }

            string[] parts = word.Split('=', 2);
            string name = parts[0];
            string? value = parts.Length == 2 ? parts[1] : null;
            if (withValue.Contains(name))
            {
                // In "--key --listen ::" the value was forgotten. A file that is really called "--listen" can be given
                // as "--key=--listen".
                bool hasNext = words.TryPeek(out string? next) && !known.Contains(next.Split('=')[0]);
                value ??= hasNext ? words.Dequeue() : throw NeedsValue(name);
                AddOption(name, value != "" ? value : throw NeedsValue(name));
            }
            else if (withoutValue.Contains(name))
            {
                AddOption(name, value is null ? "" : throw new CommandLineException($"{name} does not take a value"));
            }
            else
            {
                throw portAdvice != "" && name is ("--port" or "-p" or "-P")
                    ? new CommandLineException($"there is no option {Quote(name)}; {portAdvice}")
                    : NoSuchOption(name, known, isFile: isPrompt || File.Exists(word));
            }
        }
    }

    private static CommandLineException NoSuchOption(string name, string[] known, bool isFile)
    {
        bool isServer = known.Contains("--dir");
        string[] ofTheOther = isServer ? Client.OptionNames : ServerSettings.OptionNames;
        if (ofTheOther.Contains(name) && !known.Contains(name))
        {
            return new CommandLineException($"{name} is an option of the {(isServer ? "client" : "server")}");
        }

        string help = Suggestion.For(name, known);
        string[] longForms = [.. known.Where(option => option.StartsWith($"-{name}", StringComparison.Ordinal))];
        if (longForms is [var longForm])
        {
            help = $"; did you mean {longForm}?";
        }
        else if (help == "")
        {
            help = isFile ? "; write -- before a file name that begins with -"
                : $"; see imagetransfer {(isServer ? "server" : "client")} --help";
        }

        return new CommandLineException($"there is no option {Quote(name)}{help}");
    }

    /// <summary>Whether a command line asks for help, whatever else is in it.</summary>
    public static bool AskForHelp(string[] args)
    {
        return args.TakeWhile(word => word != "--").Any(word => word is "--help" or "-h");
    }

    public static string? Version => typeof(CommandLineOptions).Assembly.GetName().Version?.ToString(3);

    /// <summary>The words that are not options, in their order.</summary>
    public IReadOnlyList<string> Positional => _positional;

    /// <summary>Whether the option is given here, not only by default.</summary>
    public bool IsGiven(string name) => _values.ContainsKey(name);

    public bool Has(string name) => IsGiven(name) || (_defaults?.Has(name) ?? false);

    public string? GetString(string name) => _values.GetValueOrDefault(name) ?? _defaults?.GetString(name);

    /// <summary>A path; a "~" at its beginning is the home folder, also where no shell has replaced it.</summary>
    public string? GetPath(string name) => GetString(name) is { } path ? ExpandHome(path) : null;

    /// <summary>A whole number from 1 to <paramref name="max"/>.</summary>
    /// <exception cref="CommandLineException">The value is not such a number.</exception>
    public long GetNumber(string name, long defaultValue, long max)
    {
        if (GetString(name) is not { } text)
        {
            return defaultValue;
        }

        return TryParseNumber(text, out long number) && number >= 1 && number <= max ? number
            : throw new CommandLineException($"{name} takes a whole number from 1 to {max}, not {Quote(text)}");
    }

    /// <summary>A number of bytes. K, M or G may follow the number: 1K is 1,024.</summary>
    /// <exception cref="CommandLineException">The value is not such a number, or it is too large.</exception>
    public long GetSize(string name, long defaultValue, long max)
    {
        if (GetString(name) is not { } text)
        {
            return defaultValue;
        }

        int shift = 10 * ("KMG".IndexOf(char.ToUpperInvariant(text[^1])) + 1);
        string digits = shift > 0 ? text[..^1] : text;
        return TryParseNumber(digits, out long number) && number >= 1 && number <= max >> shift ? number << shift
            : throw new CommandLineException($"{name} takes a number of bytes, such as 500M or 1G, not {Quote(text)}");
    }

    /// <summary>The file extensions of --types, in lower case. "images" stands for those of all pictures.</summary>
    /// <exception cref="CommandLineException">The value is not a list of extensions.</exception>
    public string[] GetTypes()
    {
        if (GetString("--types") is not { } text)
        {
            return DefaultTypes;
        }

        string[] types = text.ToLowerInvariant().Split(',');
        if (!types.All(type => type != "" && type.All(char.IsAsciiLetterOrDigit)))
        {
            throw new CommandLineException(
                $"--types takes file extensions such as jpg,png, or images, or any, not {Quote(text)}");
        }

        return [.. types.SelectMany(type => type == "images" ? PictureTypes : [type]).Distinct()];
    }

    /// <summary>Reads a port number.</summary>
    /// <exception cref="CommandLineException">The text is not a port number from <paramref name="min"/> on.</exception>
    public static int ParsePort(string text, int min)
    {
        return TryParseNumber(text, out long port) && port >= min && port <= IPEndPoint.MaxPort ? (int)port
            : throw new CommandLineException($"a port is a number from {min} to 65535, not {Quote(text)}");
    }

    public static string ExpandHome(string path)
    {
        bool isInHome = path is "~" or ['~', '/', ..] || (OperatingSystem.IsWindows() && path is ['~', '\\', ..]);
        return isInHome ? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + path[1..] : path;
    }

    private static CommandLineException NeedsValue(string name) => new($"{name} needs a value");

    private void AddOption(string name, string value)
    {
        if (!_values.TryAdd(name, value))
        {
            throw new CommandLineException($"{name} is given twice");
        }
    }

    // Digits only: left to itself, .NET takes " +1 " for a number.
    private static bool TryParseNumber(string text, out long number)
    {
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }
}

/// <summary>Finds what a person may have meant.</summary>
internal static class Suggestion
{
    private const int MaxEdits = 2;

    /// <summary>"; did you mean …?" with the most similar candidate, or "" if none is at most two edits away.</summary>
    public static string For(string word, string[] candidates)
    {
        string lower = word.ToLowerInvariant();
        string? nearest = candidates.MinBy(candidate => CountEdits(lower, candidate.ToLowerInvariant()));
        bool isNear = nearest is not null && CountEdits(lower, nearest.ToLowerInvariant()) <= MaxEdits;
        return isNear ? $"; did you mean {nearest}?" : "";
    }

    // The Levenshtein distance: how many letters to insert, delete or replace.
    private static int CountEdits(string from, string to)
    {
        int[] previous = [.. Enumerable.Range(0, to.Length + 1)];
        for (int i = 0; i < from.Length; i++)
        {
            var current = new int[to.Length + 1];
            current[0] = i + 1;
            for (int j = 0; j < to.Length; j++)
            {
                int replace = previous[j] + (from[i] == to[j] ? 0 : 1);
                current[j + 1] = Math.Min(replace, 1 + Math.Min(previous[j + 1], current[j]));
            }

            previous = current;
        }

        return previous[to.Length];
    }
}

/// <summary>Standard input, output and error, which may be closed or full.</summary>
internal static partial class StandardStreams
{
    private const int SigHup = 1;
    private const int SigXfsz = 25;
    private const nint SigIgnore = 1;       // SIG_IGN

    private static readonly List<SafeFileHandle> _occupied = [];

    /// <summary>To be called first, before any other file is opened.</summary>
    public static void Prepare()
    {
        if (OperatingSystem.IsWindows())
        {
            Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
            return;
        }

        OccupyClosedDescriptors();

        // A write beyond the limit of `ulimit -f` is to fail like a write to a full disk, and not to end the program.
        SetSignalAction(SigXfsz, SigIgnore);
    }

    /// <summary>Whether this process was started so that SIGHUP does not end it, as `nohup` does.</summary>
    public static bool FindOutIfHangupIsIgnored()
    {
        nint previous = SetSignalAction(SigHup, SigIgnore);
        if (previous != SigIgnore)
        {
            SetSignalAction(SigHup, previous);
        }

        return previous == SigIgnore;
    }

    /// <summary>Writes a text to standard output.</summary>
    /// <returns>The exit code: 0, or 1 if it could not be written.</returns>
    public static int Print(string text)
    {
        try
        {
            Console.Out.WriteLine(text);
            return 0;
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            WriteErrorLine($"imagetransfer: {DescribeOutputProblem(e)}");
            return 1;
        }
    }

    /// <summary>Why nothing could be written to standard output. If it was closed, it leads to a file for reading now:
    /// see <see cref="OccupyClosedDescriptors"/>.</summary>
    public static string DescribeOutputProblem(Exception e)
    {
        return $"cannot write to standard output: {(e is UnauthorizedAccessException ? "it is closed" : e.Message)}";
    }

    /// <summary>Writes a line to standard error. If that is closed or full, the line is lost: there is no other place
    /// to say so, and it must not end a transfer.</summary>
    public static void WriteErrorLine(string line) => WriteError(line + Environment.NewLine);

    /// <summary>Writes a part of a line to standard error, such as a prompt.</summary>
    /// <inheritdoc cref="WriteErrorLine"/>
    public static void WriteError(string text)
    {
        try
        {
            Console.Error.Write(text);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
        }
    }

    // After `2>&-` the next file that is opened becomes descriptor 2, and messages would be written into it. So each of
    // the three that is closed is opened on /dev/null, for reading only: a write to it then fails, as it should. The
    // handles are kept, so that the files stay open.
    private static void OccupyClosedDescriptors()
    {
        while (true)
        {
            SafeFileHandle handle = File.OpenHandle("/dev/null");
            if (handle.DangerousGetHandle() > 2)
            {
                handle.Dispose();
                return;
            }

            _occupied.Add(handle);
        }
    }

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetSignalAction(int signal, nint action);
}

// =====================================================================================================================
// Appendix: keys and TLS, for client and server (SEAL-1, SEAL-2, SEAL-3)
//
// With --key, the same conversation runs inside TLS 1.3. Both sides have the same key file and show the certificate in
// it. Each side accepts a peer whose certificate has the same public key; TLS proves that the peer has the private key.
// =====================================================================================================================

/// <summary>The library that .NET uses for SHA-256 and TLS: on Linux it is OpenSSL, and it may be missing.</summary>
internal static class CryptoLibrary
{
    private static readonly string[] _names = ["libssl.so.3", "libssl.so.1.1", "libssl.so.1.0.2", "libssl.so.10"];

    /// <summary>To be called before the first use: without the library, .NET would end the process.</summary>
    /// <exception cref="CommandLineException">The library is missing.</exception>
    public static void Require()
    {
        if (OperatingSystem.IsLinux() && !_names.Any(name => NativeLibrary.TryLoad(name, out _)))
        {
            throw new CommandLineException("OpenSSL is missing, which is needed for digests and for --key; install it, "
                + "for example with apt-get install libssl3", exitCode: 1);
        }
    }
}

/// <summary>The secret that two machines share, and the TLS settings that follow from it.</summary>
internal sealed class KeyFile
{
    private const int MaxFileBytes = 8 * 1024;
    private const UnixFileMode OthersMayRead =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private readonly byte[] _publicKey;
    private readonly SslStreamCertificateContext _context;

    // In the order of preference, or null if the system does not let a program choose. Left to itself, OpenSSL takes
    // AES with 256 bits, which is slower and adds nothing here: the P-256 key is as strong as 128 bits.
    private readonly CipherSuitesPolicy? _ciphers;

    private KeyFile(X509Certificate2 certificate)
    {
        if (OperatingSystem.IsLinux())
        {
            _ciphers = new CipherSuitesPolicy(
            [
                TlsCipherSuite.TLS_AES_128_GCM_SHA256,
                TlsCipherSuite.TLS_AES_256_GCM_SHA384,
                TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256,
            ]);
        }

        _publicKey = certificate.PublicKey.ExportSubjectPublicKeyInfo();

        // Windows cannot use a key that is only in memory, so the certificate takes the way through PKCS #12.
        byte[] pkcs12 = certificate.Export(X509ContentType.Pfx);
        X509Certificate2 usable = X509CertificateLoader.LoadPkcs12(pkcs12, password: null);
        _context = SslStreamCertificateContext.Create(usable, additionalCertificates: null, offline: true);
    }

    /// <summary>Whether the last handshake failed because the peer has another key.</summary>
    public bool PeerHasOtherKey { get; private set; }

    public SslServerAuthenticationOptions ServerOptions => new()
    {
        ServerCertificateContext = _context,
        ClientCertificateRequired = true,
        RemoteCertificateValidationCallback = HasSameKey,
        EnabledSslProtocols = SslProtocols.Tls13,
        AllowTlsResume = false,
        CertificateChainPolicy = NoChain,
        CipherSuitesPolicy = _ciphers,
    };

    public SslClientAuthenticationOptions ClientOptions => new()
    {
        ClientCertificateContext = _context,
        TargetHost = "",
        RemoteCertificateValidationCallback = HasSameKey,
        EnabledSslProtocols = SslProtocols.Tls13,
        AllowTlsResume = false,
        CertificateChainPolicy = NoChain,
        CipherSuitesPolicy = _ciphers,
    };

    // Left to itself, .NET would look for issuers of the certificate on the network.
    private static X509ChainPolicy NoChain => new()
    {
        TrustMode = X509ChainTrustMode.CustomRootTrust,
        RevocationMode = X509RevocationMode.NoCheck,
        DisableCertificateDownloads = true,
    };

    /// <summary>Reads the key that --key names.</summary>
    /// <param name="path">The file, or null if there is no --key.</param>
    /// <param name="createIfMissing">True for a server, which makes the key at its first start.</param>
    /// <exception cref="CommandLineException">There is no usable key in that file, or this system cannot use it.
    /// </exception>
    public static KeyFile? Load(string? path, bool createIfMissing)
    {
        if (path is null)
        {
            return null;
        }

        RequireTls13();
        CryptoLibrary.Require();
        try
        {
            if (createIfMissing && !FileSystem.EntryExists(path))
            {
                Create(path);
            }

            return Parse(ReadText(path), path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CommandLineException(createIfMissing
                ? $"the key file {Quote(path)} is a link that leads nowhere"
                : $"there is no key file {Quote(path)}; copy it from the server", exitCode: 1);
        }
        catch (UnauthorizedAccessException)
        {
            throw new CommandLineException(
                $"you may not read the key file {Quote(path)} (access is denied)", exitCode: 1);
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new CommandLineException($"cannot use the key file {Quote(path)}: {e.Message}", exitCode: 1);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw NoKeyInFile(path);
        }
    }

    private static void RequireTls13()
    {
        bool isOldWindows = OperatingSystem.IsWindows() && !OperatingSystem.IsWindowsVersionAtLeast(10, 0, 22000);
        if (OperatingSystem.IsMacOS() || isOldWindows)
        {
            throw new CommandLineException("--key needs TLS 1.3, which .NET does not offer to servers on macOS and on "
                + "Windows before 11. Carry the connection through ssh -L instead.", exitCode: 1);
        }
    }

    private static string ReadText(string path)
    {
        if (Directory.Exists(path))
        {
            throw new CommandLineException($"{Quote(path)} is a folder, not a key file", exitCode: 1);
        }

        // An empty file has no key. A pipe looks like one, too, and opening a pipe would wait.
        if (new FileInfo(path).Length == 0)
        {
            throw NoKeyInFile(path);
        }

        using SafeFileHandle file = File.OpenHandle(path);
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(file) & OthersMayRead) != 0)
        {
            throw new CommandLineException(
                $"other users can read the key file {Quote(path)}; chmod 600 it", exitCode: 1);
        }

        // One byte more than is allowed shows that the file is too large.
        var bytes = new byte[MaxFileBytes + 1];
        int count = RandomAccess.Read(file, bytes, fileOffset: 0);
        return count <= MaxFileBytes ? Encoding.ASCII.GetString(bytes, 0, count) : throw new CommandLineException(
            $"cannot use the key file {Quote(path)}: it is larger than {MaxFileBytes / 1024} KiB", exitCode: 1);
    }

    private static KeyFile Parse(string text, string path)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(text);
        ECCurve curve = key.ExportParameters(includePrivateParameters: false).Curve;
        if (curve.Oid?.Value != ECCurve.NamedCurves.nistP256.Oid.Value)
        {
            throw NoKeyInFile(path);
        }

        bool hasCertificate = text.Contains("CERTIFICATE");
        return new KeyFile(hasCertificate ? X509Certificate2.CreateFromPem(text, text) : CreateSelfSigned(key));
    }

    private static CommandLineException NoKeyInFile(string path)
    {
        return new CommandLineException($"cannot use the key file {Quote(path)}: there is no P-256 key in it. A server "
            + "creates one if the file does not exist.", exitCode: 1);
    }

    // Subject, issuer and dates prove nothing here, so they are the same in every certificate.
    private static X509Certificate2 CreateSelfSigned(ECDsa key)
    {
        var request = new CertificateRequest("CN=imagetransfer", key, HashAlgorithmName.SHA256);
        return request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.MaxValue);
    }

    // Written under a temporary name first: a half-written key is never visible, even if two servers make it at once.
    private static void Create(string path)
    {
        string temporary = $"{path}.{Random.Shared.NextInt64():x16}";
        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        if (!Directory.Exists(folder))
        {
            throw new CommandLineException($"cannot create the key file {Quote(path)}: there is no folder "
                + $"{Quote(folder)}", exitCode: 1);
        }

        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        try
        {
            using (var file = new StreamWriter(temporary, options))
            {
                file.Write($"{key.ExportPkcs8PrivateKeyPem()}\n{CreateSelfSigned(key).ExportCertificatePem()}\n");
            }

            if (FileSystem.LinkWithoutReplacing(temporary, path))
            {
                StandardStreams.WriteErrorLine($"created the key file {Quote(Path.GetFullPath(path))}: "
                    + "copy it to the other machine and keep it secret");
            }
        }
        catch (Exception e) when (FileSystem.IsIoFailure(e))
        {
            throw new CommandLineException($"cannot create the key file {Quote(path)}: "
                + Escape(FileSystem.Explain(e, temporary)), exitCode: 1);
        }
        finally
        {
            File.Delete(temporary);
        }
    }

    private bool HasSameKey(object sender, X509Certificate? shown, X509Chain? chain, SslPolicyErrors errors)
    {
        PeerHasOtherKey = shown is not X509Certificate2 other
            || !other.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(_publicKey);
        return !PeerHasOtherKey;
    }
}

internal sealed partial class ServerConnection
{
    // A server with a key answers a plain client with a TLS alert, which begins with this byte and ends with an LF.
    private const byte TlsAlertByte = 0x15;

    private static void StopIfServerWantsTls(ReadOnlySpan<byte> line)
    {
        if (line is [TlsAlertByte, ..])
        {
            throw new CommandLineException("this server requires --key", ExitCode.Failed);
        }
    }

    /// <summary>Begins TLS on a new connection.</summary>
    /// <exception cref="CommandLineException">The server has another key, or none, or the handshake failed.</exception>
    private ClientTlsTransport BeginTls(Socket socket, KeyFile key)
    {
        var transport = new ClientTlsTransport(socket);
        try
        {
            transport.Handshake(key);
            return transport;
        }
        catch (Exception e) when (e is ConnectionLostException or IOException or AuthenticationException
            or CryptographicException)
        {
            transport.Dispose();
            throw e switch
            {
                AuthenticationException when key.PeerHasOtherKey =>
                    CannotConnect("the server has another key than this --key; copy its key file again",
                        ExitCode.Failed),
                AuthenticationException { InnerException: null } => CannotConnect(
                    "this server does not use a key, or is not an ImageTransfer server; run without --key, but only if "
                    + "you trust the network: an attacker can fake this answer", ExitCode.Failed),
                ConnectionLostException or IOException =>
                    CannotConnect("the connection was lost in the TLS handshake", ExitCode.TryAgain),
                _ => CannotConnect($"the TLS handshake failed: {e.Message}", ExitCode.Failed),
            };
        }
    }
}

/// <summary>Moves bytes over a socket inside TLS.</summary>
/// <remarks>SslStream reads and writes a <see cref="TlsPipe"/>; this class moves bytes between the pipe and the socket,
/// many records with one call.</remarks>
internal sealed class ClientTlsTransport : ClientTransport
{
    private const int CloseTimeoutMs = 1_000;
    private const int MaxBytesPerSend = 128 * 1024;

    private readonly TlsPipe _pipe = new(isServer: false);
    private readonly SslStream _tls;

    // A read of zero bytes. It completes when TLS has decrypted something, which Read then copies.
    private Task? _pendingRead;

    // Why the socket brings nothing more, or null.
    private ConnectionLostException? _lost;
    private bool _hasReceived;
    private bool _isBroken;

    public ClientTlsTransport(Socket socket) : base(socket)
    {
        _tls = new SslStream(_pipe);
    }

    /// <summary>True if TLS has decrypted something, or has ended. Bytes alone do not mean that the server has replied:
    /// TLS has messages of its own, such as tickets and new keys.</summary>
    public override bool HasInput
    {
        get
        {
            while (!BeginRead().IsCompleted && base.HasInput)
            {
                ReceiveCiphertext();
            }

            return BeginRead().IsCompleted;
        }
    }

    /// <summary>Agrees on the keys of this connection. Each side proves that it has the key file.</summary>
    public void Handshake(KeyFile key)
    {
        Task handshake = _tls.AuthenticateAsClientAsync(key.ClientOptions);
        while (!handshake.IsCompleted)
        {
            SendCiphertext();
            ReceiveCiphertext();
        }

        try
        {
            SendCiphertext();
        }
        catch (ConnectionLostException) when (handshake.IsFaulted)
        {
            // The alert about the failure cannot be sent. The failure itself says more than that.
        }

        handshake.GetAwaiter().GetResult();
    }

    public override int Receive(Span<byte> buffer)
    {
        while (!BeginRead().IsCompleted)
        {
            ReceiveCiphertext();
        }

        // Several records may have arrived. They are returned together, so that a file is written in large pieces.
        int count = Read(buffer);
        bool isEnd = count == 0;
        while (!isEnd && count < buffer.Length && BeginRead().IsCompletedSuccessfully)
        {
            int some = Read(buffer[count..]);
            isEnd = some == 0;
            count += some;
        }

        return count;
    }

    public override void Send(ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            ReadOnlySpan<byte> piece = bytes[..Math.Min(bytes.Length, MaxBytesPerSend)];
            _pipe.ReserveOutput(piece.Length);
            Encrypt(piece);
            SendCiphertext();
            bytes = bytes[piece.Length..];
        }
    }

    public override void Dispose()
    {
        _tls.Dispose();
        _pipe.ReleaseBuffers();
        base.Dispose();
    }

    // TLS has an end of its own, which says that nothing was cut off (SEAL-6).
    public override void EndPolitely()
    {
        if (_isBroken)
        {
            return;
        }

        Socket.SendTimeout = CloseTimeoutMs;
        try
        {
            _tls.ShutdownAsync().Wait();
            SendCiphertext();
        }
        catch (ConnectionLostException)
        {
            // The server has closed first, so nothing can be cut off.
        }
    }

    private Task BeginRead() => _pendingRead ??= _tls.ReadAsync(Memory<byte>.Empty).AsTask();

    // Copies what TLS has decrypted. To be called when BeginRead is complete.
    private int Read(Span<byte> buffer)
    {
        try
        {
            _pendingRead!.GetAwaiter().GetResult();
            _pendingRead = null;
            int count = _lost is null ? _tls.Read(buffer) : throw _lost;
            _hasReceived |= count > 0;
            return count;
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            throw Explain(e);
        }
    }

    // Waits until something arrives, and lets TLS go on with it.
    private void ReceiveCiphertext()
    {
        int count = 0;
        try
        {
            count = base.Receive(_pipe.GetInputBuffer());
        }
        catch (ConnectionLostException e)
        {
            // It is reported by Read, like every other end of the connection.
            _lost = e;
            _isBroken = true;
        }

        if (count == 0)
        {
            _pipe.EndInput();
        }
        else
        {
            _pipe.AddInput(count);
        }
    }

    private void Encrypt(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _tls.Write(bytes);
        }
        catch (Exception e) when (e is IOException or AuthenticationException)
        {
            throw new ConnectionLostException(Explain(e).Message);
        }
    }

    private void SendCiphertext()
    {
        try
        {
            base.Send(_pipe.Output);
            _pipe.RemoveOutput(_pipe.Output.Length);
        }
        catch (ConnectionLostException)
        {
            _isBroken = true;
            throw;
        }
    }

    private Exception Explain(Exception e)
    {
        _isBroken = true;
        if (_lost is not null)
        {
            return _lost;
        }

        if (e.InnerException is null)
        {
            return new ConnectionLostException("the server closed the connection before the end of its reply");
        }

        // In TLS 1.3 a client learns with its first read whether the server has accepted its certificate.
        return _hasReceived
            ? new ConnectionLostException($"the bytes were changed on the way, or cut off (TLS: {e.Message})")
            : new CommandLineException("the server has refused this --key, or the connection was tampered with",
                ExitCode.Failed);
    }
}

/// <summary>The stream below SslStream, for client and server: ciphertext on its way in and out, in memory.</summary>
/// <remarks>It never touches the socket. So many records can be received or sent with one call of the system, and a
/// read of SslStream that has to wait keeps no thread waiting.</remarks>
internal sealed class TlsPipe(bool isServer) : Stream
{
    private const int InputSize = 128 * 1024;
    private const int HeaderSize = 5;
    private const int RecordSize = 16 * 1024;
    private const int MaxRecordOverhead = 64;

    private byte[] _input = [];
    private int _inputStart;
    private int _inputCount;
    private byte[] _output = [];
    private int _outputStart;
    private int _outputCount;
    private int _leftOfRecord;
    private TaskCompletionSource? _inputArrived;
    private bool _isEndOfInput;

    /// <summary>The first byte that the peer has sent.</summary>
    public byte? FirstByte { get; private set; }

    /// <summary>How many bytes TLS has read.</summary>
    public long BytesRead { get; private set; }

    /// <summary>How many records TLS has begun to read.</summary>
    public long RecordsRead { get; private set; }

    public bool HasOutput => _outputCount > 0;

    public ReadOnlySpan<byte> Output => _output.AsSpan(_outputStart, _outputCount);

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Room for ciphertext that arrives. <see cref="AddInput"/> says how much has arrived.</summary>
    public Span<byte> GetInputBuffer()
    {
        if (_input.Length == 0)
        {
            _input = ArrayPool<byte>.Shared.Rent(InputSize);
        }

        _input.AsSpan(_inputStart, _inputCount).CopyTo(_input);
        _inputStart = 0;
        return _input.AsSpan(_inputCount);
    }

    /// <summary>Ciphertext has arrived. If TLS waits for it, TLS goes on here and now.</summary>
    public void AddInput(int count)
    {
        if (count > 0)
        {
            FirstByte ??= _input[0];
            _inputCount += count;

            // In a server, what is not TLS does not reach SslStream, which would answer it with an alert of its own.
            if (HasReadableInput && (!isServer || FirstByte == TlsHandshakeByte))
            {
                ResumeRead();
            }
        }

        if (_inputCount == 0)
        {
            ReturnInputBuffer();
        }
    }

    /// <summary>Nothing will arrive any more. TLS finds out whether it was cut off.</summary>
    public void EndInput()
    {
        _isEndOfInput = true;
        ResumeRead();
    }

    /// <summary>Makes room for the ciphertext of so many bytes at once, rather than record by record.</summary>
    public void ReserveOutput(int plaintextLength)
    {
        int records = plaintextLength / RecordSize + 1;
        EnsureOutput(plaintextLength + records * MaxRecordOverhead);
    }

    public void RemoveOutput(int count)
    {
        _outputStart += count;
        _outputCount -= count;
        if (_outputCount == 0)
        {
            ReturnOutputBuffer();
        }
    }

    public void ReleaseBuffers()
    {
        ReturnInputBuffer();
        ReturnOutputBuffer();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        return HasReadableInput ? new ValueTask<int>(ReadInput(buffer.Span)) : WaitAndReadAsync(buffer);
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        EnsureOutput(buffer.Length);
        buffer.CopyTo(_output.AsSpan(_outputStart + _outputCount));
        _outputCount += buffer.Length;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    // Before a record there have to be five bytes, which say how long it is.
    private bool HasReadableInput => _leftOfRecord > 0 ? _inputCount > 0 : _inputCount >= HeaderSize;

    private async ValueTask<int> WaitAndReadAsync(Memory<byte> buffer)
    {
        while (!HasReadableInput && !_isEndOfInput)
        {
            _inputArrived ??= new TaskCompletionSource();
            await _inputArrived.Task;
        }

        return HasReadableInput ? ReadInput(buffer.Span) : 0;
    }

    // TLS reads one record at a time. So it has read nothing after a record that it has not asked for. It also reads
    // zero bytes, only to wait.
    private int ReadInput(Span<byte> buffer)
    {
        if (buffer.IsEmpty)
        {
            return 0;
        }

        if (_leftOfRecord == 0)
        {
            ReadOnlySpan<byte> header = _input.AsSpan(_inputStart, HeaderSize);
            _leftOfRecord = HeaderSize + (header[3] << 8) + header[4];
            RecordsRead++;
        }

        int count = Math.Min(Math.Min(buffer.Length, _leftOfRecord), _inputCount);
        _input.AsSpan(_inputStart, count).CopyTo(buffer);
        _inputStart += count;
        _inputCount -= count;
        _leftOfRecord -= count;
        BytesRead += count;
        return count;
    }

    // TLS goes on here and now, if it waits.
    private void ResumeRead()
    {
        TaskCompletionSource? arrived = _inputArrived;
        _inputArrived = null;
        arrived?.SetResult();
    }

    private void EnsureOutput(int room)
    {
        int needed = _outputStart + _outputCount + room;
        if (needed > _output.Length)
        {
            byte[] larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, 2 * _output.Length));
            Output.CopyTo(larger);
            int count = _outputCount;
            ReturnOutputBuffer();
            _output = larger;
            _outputCount = count;
        }
    }

    private void ReturnInputBuffer()
    {
        byte[] buffer = _input;
        _input = [];
        _inputStart = 0;
        _inputCount = 0;
        Return(buffer);
    }

    private void ReturnOutputBuffer()
    {
        byte[] buffer = _output;
        _output = [];
        _outputStart = 0;
        _outputCount = 0;
        Return(buffer);
    }

    private static void Return(byte[] buffer)
    {
        if (buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
