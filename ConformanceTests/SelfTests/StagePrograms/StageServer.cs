// What a student has at a stage of the core: a server for one client at a time, as simple as possible.
//   StageServer STAGE PORT FOLDER        1 answers lines · 2 knows LIST · 3 GET · 4 PUT

using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;

int stage = int.Parse(args[0]);
string folder = args[2];
var listener = new TcpListener(IPAddress.Loopback, int.Parse(args[1]));
listener.Start();
while (true)
{
    using TcpClient client = listener.AcceptTcpClient();
    try
    {
        new Conversation(client.GetStream(), folder, stage).Run();
    }
    catch (IOException)
    {
        // The client has left.
    }
}

internal sealed class Conversation(Stream stream, string folder, int stage)
{
    private const ulong MaxUpload = 1 << 30;

    private readonly BufferedStream _input = new(stream);

    public void Run()
    {
        while (ReadLine() is { } line)
        {
            string[] fields = line.Split('|');
            bool goesOn = (fields[0], fields.Length) switch
            {
                ("LIST", 1) when stage >= 2 => List(),
                ("GET", 2) when stage >= 3 => Get(fields[1]),
                ("PUT", 2) when stage >= 4 => Put(fields[1]),
                _ => Refuse("unsupported"),
            };
            if (!goesOn)
            {
                return;
            }
        }
    }

    private string? ReadLine()
    {
        var line = new MemoryStream();
        while (_input.ReadByte() is var next and not -1)
        {
            if (next == '\n')
            {
                return Encoding.UTF8.GetString(line.ToArray());
            }

            line.WriteByte((byte)next);
        }

        return null;
    }

    private void Send(ReadOnlySpan<byte> bytes) => stream.Write(bytes);

    private bool Accept()
    {
        Send("OK\n"u8);
        return true;
    }

    private bool Refuse(string code)
    {
        Send(Encoding.UTF8.GetBytes($"ER|{code}|no\n"));
        return true;
    }

    private bool SendBlock(byte[] content)
    {
        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(length, content.Length);
        Send([.. "OK\n"u8, .. length, .. content]);
        return true;
    }

    private static bool HasType(string name) =>
        Path.GetExtension(name).ToLowerInvariant() is ".jpg" or ".jpeg" or ".png";

    private static bool IsName(string name) => name.IndexOfAny([.. "/\\:*?\"<>"]) < 0 && !name.StartsWith('.');

    private static bool IsServed(FileInfo file) =>
        file is { Exists: true, LinkTarget: null, Length: > 0 } && (file.Attributes & FileAttributes.Device) == 0
        && HasType(file.Name) && IsName(file.Name);

    private bool List()
    {
        var files = new DirectoryInfo(folder).GetFiles()
            .Where(IsServed)
            .OrderBy(file => Convert.ToHexString(Encoding.UTF8.GetBytes(file.Name)), StringComparer.Ordinal)
            .Select(file => $"{file.Name}|{file.Length}|{file.LastWriteTimeUtc:yyyy-MM-ddTHH:mm:ssZ}\n");
        return SendBlock(Encoding.UTF8.GetBytes(string.Concat(files)));
    }

    private string? ErrorIn(string name) => !IsName(name) ? "bad-name" : !HasType(name) ? "bad-type" : null;

    private bool Get(string name)
    {
        if (ErrorIn(name) is { } error)
        {
            return Refuse(error);
        }

        var file = new FileInfo(Path.Combine(folder, name));
        return IsServed(file) ? SendBlock(File.ReadAllBytes(file.FullName)) : Refuse("not-found");
    }

    private bool Put(string name)
    {
        string path = Path.Combine(folder, name);
        if (ErrorIn(name) is { } error)
        {
            return Refuse(error);
        }

        if (Path.Exists(path) || new FileInfo(path).LinkTarget is not null)
        {
            return Refuse("exists");
        }

        Accept();
        byte[] length = new byte[8];
        _input.ReadExactly(length);
        ulong size = BinaryPrimitives.ReadUInt64BigEndian(length);
        if (size > MaxUpload)
        {
            Refuse("too-large");
            return false;
        }

        byte[] content = ReadContent(size);
        if (content.Length == 0)
        {
            return Refuse("empty");
        }

        if (!LooksLikeAPicture(content))
        {
            return Refuse("bad-type");
        }

        string temporary = Path.Combine(folder, ".upload");
        File.WriteAllBytes(temporary, content);
        File.Move(temporary, path);
        return Accept();
    }

    // A length is only a claim: what has arrived decides how much memory it takes.
    private byte[] ReadContent(ulong size)
    {
        var content = new MemoryStream();
        byte[] piece = new byte[1 << 16];
        while ((ulong)content.Length < size)
        {
            int count = _input.Read(piece, 0, (int)Math.Min((ulong)piece.Length, size - (ulong)content.Length));
            content.Write(piece, 0, count > 0 ? count : throw new EndOfStreamException());
        }

        return content.ToArray();
    }

    private static bool LooksLikeAPicture(ReadOnlySpan<byte> content)
    {
        string start = Encoding.Latin1.GetString(content[..Math.Min(12, content.Length)]);
        string[] signatures =
        [
            "\x89PNG\r\n\x1A\n", "\xFF\xD8\xFF", "GIF87a", "GIF89a", "BM", "II*\0", "MM\0*", "II+\0", "MM\0+",
            "\xFF\x0A", "\0\0\0\u000CJXL ", "\0\0\0\u000CjP  ",
        ];
        return signatures.Any(one => start.StartsWith(one, StringComparison.Ordinal))
            || (start.Length == 12 && start.StartsWith("RIFF", StringComparison.Ordinal) && start[8..] == "WEBP")
            || (start.Length >= 8 && start[4..8] == "ftyp");
    }
}
