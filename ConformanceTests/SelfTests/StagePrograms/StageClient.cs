// What a student has at a stage of the core: a client without options, as simple as possible.
//   StageClient STAGE HOST PORT COMMAND FILE        2 knows LIST · 3 GET · 4 PUT

using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

int stage = int.Parse(args[0]);
using var connection = new TcpClient(args[1], int.Parse(args[2]));
var client = new StageClient(connection.GetStream());
try
{
    bool isDone = args[3] switch
    {
        "LIST" when stage >= 2 => client.List(),
        "GET" when stage >= 3 => client.Get(args[4]),
        "PUT" when stage >= 4 => client.Put(args[4]),
        _ => false,
    };
    return isDone ? 0 : 1;
}
catch (IOException trouble)
{
    Console.Error.WriteLine(trouble.Message);
    return 1;
}

internal sealed class StageClient(Stream stream)
{
    private readonly BufferedStream _input = new(stream);

    public bool List()
    {
        if (!Ask("LIST"))
        {
            return false;
        }

        foreach (string line in Encoding.UTF8.GetString(ReadBlock()).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            Console.WriteLine(line.Split('|')[0]);
        }

        return true;
    }

    public bool Get(string name)
    {
        if (!Ask($"GET|{name}"))
        {
            return false;
        }

        byte[] content = ReadBlock();
        File.WriteAllBytes(".download", content);
        File.Move(".download", name);
        return content.Length > 0;
    }

    public bool Put(string path)
    {
        byte[] content = File.ReadAllBytes(path);
        if (!Ask($"PUT|{Path.GetFileName(path)}"))
        {
            return false;
        }

        byte[] length = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(length, content.Length);
        stream.Write([.. length, .. content]);
        return IsOk();
    }

    private bool Ask(string request)
    {
        stream.Write(Encoding.UTF8.GetBytes(request + "\n"));
        return IsOk();
    }

    private bool IsOk()
    {
        var line = new MemoryStream();
        while (_input.ReadByte() is var next and not '\n')
        {
            line.WriteByte(next >= 0 ? (byte)next : throw new EndOfStreamException("the server has closed"));
        }

        string reply = Encoding.UTF8.GetString(line.ToArray());
        if (reply != "OK")
        {
            Console.Error.WriteLine("the server answers with an error");
        }

        return reply == "OK";
    }

    private byte[] ReadBlock()
    {
        byte[] length = new byte[8];
        _input.ReadExactly(length);
        ulong left = BinaryPrimitives.ReadUInt64BigEndian(length);
        var content = new MemoryStream();
        byte[] piece = new byte[1 << 16];
        while (left > 0)
        {
            int count = _input.Read(piece, 0, (int)Math.Min((ulong)piece.Length, left));
            content.Write(piece, 0, count > 0 ? count : throw new EndOfStreamException("the block ends early"));
            left -= (ulong)count;
        }

        return content.ToArray();
    }
}
