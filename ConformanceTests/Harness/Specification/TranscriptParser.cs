namespace ConformanceTests.Harness.Specification;

/// <summary>Reads one transcript of Protocol.md, line by line.</summary>
public sealed class TranscriptParser
{
    private readonly Dictionary<string, byte[]> _files = [];
    private readonly List<FileState> _before = [];
    private readonly List<FileState> _after = [];
    private readonly List<Step> _steps = [];
    private string? _command;
    private int? _exit;

    /// <summary>Reads a transcript.</summary>
    /// <param name="header">Its name, the ids in brackets, and perhaps `client-only`.</param>
    /// <param name="body">The lines between the fences.</param>
    /// <param name="line">The number of the line with the header.</param>
    /// <exception cref="FormatException">A line is none of a transcript. The message names the line.</exception>
    public static Transcript Parse(string header, string[] body, int line)
    {
        var parser = new TranscriptParser();
        for (int i = 0; i < body.Length; i++)
        {
            if (body[i] is not ("" or ['#', ..]))
            {
                parser.Add(body[i], line + 1 + i);
            }
        }

        string[] words = header.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        string[] ids = [.. words[1..].Where(word => word.StartsWith('[')).Select(word => word.Trim('[', ']'))];
        return new Transcript(
            words[0], ids, line, words.Contains("client-only"),
            parser._command, parser._exit,
            [.. parser._before], [.. parser._steps], [.. parser._after]);
    }

    private void Add(string text, int line)
    {
        if (text.StartsWith("$ "))
        {
            _command = text[2..];
        }
        else if (text.StartsWith("exit "))
        {
            _exit = int.Parse(text[5..]);
        }
        else if (FileLine().Match(text) is { Success: true } file)
        {
            AddFile(file, line);
        }
        else if (SendLine().Match(text) is { Success: true } sent)
        {
            AddStep(sent, line);
        }
        else
        {
            throw new FormatException($"Protocol.md:{line}: no line of a transcript: {text}");
        }
    }

    // Files that are named before the first step are there when the conversation begins, the others when it has ended.
    private void AddFile(Match match, int line)
    {
        string name = match.Groups[3].Value;
        var side = match.Groups[1].Value == "client" ? Side.Client : Side.Server;
        byte[]? content = null;
        if (match.Groups[2].Value == "has")
        {
            Piece[] pieces = PieceParser.Parse(match.Groups[4].Value, _files, line);
            content = [.. pieces.SelectMany(piece => ((KnownBytes)piece).Value)];
            _files.TryAdd(name, content);
        }

        (_steps.Count == 0 ? _before : _after).Add(new FileState(line, side, name, content));
    }

    private void AddStep(Match match, int line)
    {
        var side = match.Groups[1].Value == "C" ? Side.Client : Side.Server;
        string what = match.Groups[2].Value;
        _steps.Add(what is "<close>" or "<half-close>"
            ? new EventStep(line, side, what.Trim('<', '>'))
            : new SendStep(line, side, PieceParser.Parse(what, _files, line)));
    }

    private static Regex FileLine() => new(@"^(server|client) (has|lacks) ([^=]*?)(?: = (.*))?$");

    private static Regex SendLine() => new(@"^([CS]): (.*)$");
}
