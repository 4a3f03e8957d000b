using System.Buffers;

namespace ConformanceTests.Harness.Specification;

/// <summary>Which program sends.</summary>
public enum Side { Client, Server }

/// <summary>A piece of what one side sends: known bytes, a number of any bytes, or a placeholder.</summary>
public abstract record Piece;

public sealed record KnownBytes(byte[] Value) : Piece
{
    public override string ToString() => Notation.Show(Value);
}

public sealed record AnyBytes(int Count) : Piece
{
    public override string ToString() => $"<any:{Count}>";
}

public sealed record Placeholder(string Name) : Piece         // line, time, digits
{
    public override string ToString() => $"<{Name}>";
}

public abstract record Step(int Line);

public sealed record SendStep(int Line, Side Side, Piece[] Pieces) : Step(Line);

public sealed record EventStep(int Line, Side Side, string Event) : Step(Line);  // close, half-close

/// <summary>A file in a folder. Content is null if the file must not exist.</summary>
public sealed record FileState(int Line, Side Side, string Name, byte[]? Content);

public sealed record Transcript(
    string Name, string[] Ids, int Line, bool ClientOnly,
    string? Command, int? Exit,
    FileState[] Before, Step[] Steps, FileState[] After)
{
    public override string ToString() => Name;

    public static Transcript Parse(string header, string[] body, int line)
    {
        string[] words = header.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var ids = words[1..].Where(word => word.StartsWith('[')).Select(word => word.Trim('[', ']')).ToArray();
        var files = new Dictionary<string, byte[]>();
        List<FileState> before = [];
        List<FileState> after = [];
        var steps = new List<Step>();
        string? command = null;
        int? exit = null;

        for (int i = 0; i < body.Length; i++)
        {
            int number = line + 1 + i;
            string text = body[i];
            if (text is "" or ['#', ..])
            {
                continue;
            }

            if (text.StartsWith("$ "))
            {
                command = text[2..];
            }
            else if (text.StartsWith("exit "))
            {
                exit = int.Parse(text[5..]);
            }
            else if (FileLine().Match(text) is { Success: true } match)
            {
                string name = match.Groups[3].Value;
                var side = match.Groups[1].Value == "client" ? Side.Client : Side.Server;
                bool has = match.Groups[2].Value == "has";
                byte[]? content = has ? Known(Pieces(match.Groups[4].Value, files, number)) : null;
                if (content is not null)
                {
                    files.TryAdd(name, content);
                }

                (steps.Count == 0 ? before : after).Add(new FileState(number, side, name, content));
            }
            else if (SendLine().Match(text) is { Success: true } said)
            {
                var side = said.Groups[1].Value == "C" ? Side.Client : Side.Server;
                string what = said.Groups[2].Value;
                steps.Add(what is "<close>" or "<half-close>"
                    ? new EventStep(number, side, what.Trim('<', '>'))
                    : new SendStep(number, side, Pieces(what, files, number)));
            }
            else
            {
                throw new FormatException($"Protocol.md:{number}: no line of a transcript: {text}");
            }
        }

        return new Transcript(
            words[0], ids, line, words.Contains("client-only"),
            command, exit,
            [.. before], [.. steps], [.. after]);
    }

    private static byte[] Known(Piece[] pieces) => [.. pieces.SelectMany(piece => ((KnownBytes)piece).Value)];

    private static Piece[] Pieces(string text, Dictionary<string, byte[]> files, int line)
    {
        var pieces = new List<Piece>();
        var bytes = new List<byte>();
        void Flush()
        {
            if (bytes.Count > 0)
            {
                pieces.Add(new KnownBytes([.. bytes]));
            }

            bytes.Clear();
        }

        byte[] FileOf(string name) => files.TryGetValue(name, out var content)
            ? content
            : throw new FormatException($"Protocol.md:{line}: no file {name} is given");

        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                i++;
                bytes.Add(text[i] switch
                {
                    'n' => 10,
                    'r' => 13,
                    't' => 9,
                    '\\' => 92,
                    '<' => 60,
                    'x' => Convert.FromHexString(text.AsSpan(i + 1, 2))[0],
                    _ => throw new FormatException($"Protocol.md:{line}: \\{text[i]}"),
                });
                if (text[i] == 'x')
                {
                    i += 2;
                }
            }
            else if (text[i] == '<')
            {
                int end = text.IndexOf('>', i);
                string[] parts = text[(i + 1)..end].Split(':', 2);
                i = end;
                switch (parts)
                {
                    case ["u64", var n]:
                        bytes.AddRange(Notation.U64(ulong.Parse(n)));
                        break;
                    case ["hex", var digits]:
                        bytes.AddRange(Convert.FromHexString(digits.Replace(" ", "")));
                        break;
                    case ["bytes", var n]:
                        bytes.AddRange(Notation.Bytes(int.Parse(n)));
                        break;
                    case ["file", var name]:
                        bytes.AddRange(FileOf(name));
                        break;
                    case ["sha256", var name]:
                        bytes.AddRange(SHA256.HashData(FileOf(name)));
                        break;
                    case ["any", var n]:
                        Flush();
                        pieces.Add(new AnyBytes(int.Parse(n)));
                        break;
                    case ["line" or "time" or "digits"]:
                        Flush();
                        pieces.Add(new Placeholder(parts[0]));
                        break;
                    default:
                        throw new FormatException($"Protocol.md:{line}: <{string.Join(':', parts)}>");
                }
            }
            else
            {
                int next = text.AsSpan(i).IndexOfAny('\\', '<') is >= 0 and var n ? i + n : text.Length;
                bytes.AddRange(Encoding.UTF8.GetBytes(text[i..next]));
                i = next - 1;
            }
        }

        Flush();
        return [.. pieces];
    }

    private static Regex FileLine() => new(@"^(server|client) (has|lacks) ([^=]*?)(?: = (.*))?$");

    private static Regex SendLine() => new(@"^([CS]): (.*)$");
}
