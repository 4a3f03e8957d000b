using static VerifyNUnit.Verifier;

namespace ConformanceTests.Reference;

/// <summary>
/// What the program prints, as snapshots: help, errors, traces, the prompt. They record, and grade nothing.
/// </summary>
[Reference]
public sealed partial class OutputSnapshots : ServerFixture
{
    // Runs the program as typed, and returns what it printed.
    private static string Session(string folder, params string[] commands)
    {
        var text = new StringBuilder();
        foreach (string command in commands)
        {
            string[] parts = command.Split(" < ");
            string[] words = [.. CommandTemplates.Reference, .. CommandTemplates.Words(parts[0])];
            using var program = new ChildProgram("program", words, folder, parts.Length > 1 ? parts[1] : null);
            int exit = program.WaitForExit();
            text.Append($"$ imagetransfer {command.Replace("\n", "\\n")}\n");
            text.Append($"{program.Output}{Prefixed(program.Errors)}exit {exit}\n\n");
        }

        return text.ToString().TrimEnd();
    }

    private static string Prefixed(string errors) =>
        string.Concat(errors.Split('\n').SkipLast(1).Select(line => $"! {line}\n"));

    private string Neutral(string text)
    {
        text = text.Replace($"{Server.Port}", "7005").Replace(Server.Folder, "images");
        text = Seconds().Replace(text, "0.00 s");
        return Times().Replace(text, "2026-01-31T23:59:59Z");
    }

    [GeneratedRegex(@"\d+\.\d\d s\b")] private static partial Regex Seconds();

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")] private static partial Regex Times();

    [Test]
    public async Task Help() => await Verify(Session(NewFolder(), "--help", "server --help", "client --help"));

    [Test]
    public async Task Usage_errors() => await Verify(Session(NewFolder(),
        "",
        "serv",
        "server --port 7005",
        "server --dirr x",
        "server 70000",
        "server 1 2",
        "server --max-clients 0",
        "server --max-clients many",
        "server --idle 0",
        "server --max-size 1T",
        "server --max-size 0",
        "server --types jpg,../x",
        "server --listen here",
        "server --sync=yes",
        "server --dir",
        "server --dir a --dir b",
        "server --dir ''",
        "client",
        "client localhost 0 LIST",
        "client localhost GIT x.png",
        "client localhost LIST x",
        "client localhost GET",
        "client localhost PUT",
        "client localhost PUT a.png --output b",
        "client localhost GET a.png --resume --no-digest",
        "client localhost LIST --resume",
        "client localhost LIST --new",
        "client localhost STATUS --new",
        "client localhost PUT a.png --resume",
        "client localhost LIST --verbose"));

    [Test]
    public async Task Machine_errors()
    {
        string folder = NewFolder();
        File.WriteAllText(Path.Combine(folder, "file"), "x");
        string text = Session(folder,
            $"server {Server.Port}",
            "server 0 --dir file",
            "server 0 --listen 192.0.2.1",
            "client 127.0.0.1 1 LIST",
            "client no..such..host LIST");
        await Verify(Neutral(text).Replace(folder, "folder"));
    }

    [Test]
    public async Task Session()
    {
        string folder = NewFolder();
        File.WriteAllBytes(Path.Combine(folder, "cat.png"), Notation.Bytes(31337));
        File.WriteAllBytes(Path.Combine(folder, "dog.jpg"), [0xFF, 0xD8, 0xFF, 1]);
        string to = $"client 127.0.0.1 {Server.Port}";
        string text = Session(folder,
            $"{to} LIST",
            $"{to} PUT cat.png dog.jpg bird.png",
            $"{to} LIST",
            $"{to} PUT cat.png",
            $"{to} GET cat.png",
            $"{to} GET dog.jpg mouse.png --output copy.jpg",
            $"{to} GET dog.jpg --output copy.jpg",
            $"{to} GET ''",
            $"{to} PUT ''",
            $"{to} PUT .",
            $"{to} PUT . --new",
            $"{to} PUT 'z*' nowhere/cat.png",
            $"{to} GET '*.jpg' --new",
            $"{to} < list\nhelp\nget mouse.png\nexit\n");
        await Verify(Neutral(text).Replace(folder, "folder"));
    }

    [Test]
    public async Task Trace()
    {
        string folder = NewFolder();
        File.WriteAllBytes(Path.Combine(folder, "cat.png"), Convert.FromHexString("89504E470D0A1A0A01"));
        string to = $"client 127.0.0.1 {Server.Port} --trace";
        await Verify(Neutral(Session(folder,
            $"{to} PUT cat.png",
            $"{to} PUT cat.png",
            $"{to} LIST",
            $"{to} GET cat.png --output copy.png",
            $"{to} GET cat.png --output plain.png --no-digest",
            $"{to} GET dog.png",
            $"{to} PUT cat.png copy.png plain.png",
            $"{to} PUT cat.png plain.png --new")));
    }

    [Test]
    public async Task Server_trace_and_log()
    {
        var server = Start("--trace");
        var wire = Connect(server);
        wire.Put("cat.png", Convert.FromHexString("89504E470D0A1A0A01"));
        wire.List();
        wire.Get("cat.png");
        wire.Send("GET|\u001b[2J<dog>\u202e.png\nPUT|cat.png\nNONSENSE\nSTATUS|x\nLIST\r\n");
        string[] codes = ["bad-name", "exists", "unsupported", "unsupported", "bad-request"];
        foreach (string code in codes)
        {
            wire.ExpectError(code);
        }

        wire.ExpectEnd();
        wire.Dispose();
        Eventually(() => server.Program.Errors.Contains("#1 disconnected"),
            "the end of the first connection is not logged");
        server.Program.Signal("TERM");
        server.Program.WaitForExit();
        string text = Regex.Replace(server.Program.Errors, @"127\.0\.0\.1:\d+", "127.0.0.1:50000");
        await Verify(Times().Replace(Regex.Replace(text, @"\d+ ms", "0 ms"), "2026-01-31T23:59:59Z"));
    }

    [Test]
    public async Task Error_texts()
    {
        var server = Start("--read-only");
        server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect(server);
        string[] requests =
        [
            "FOO",
            "GET|../x.png",
            "GET|x.exe",
            "GET|dog.png",
            "PUT|cat.png",
            "GET|cat.png|offset=10",
            "PUT|dog.png",
            "\r",
        ];
        string Answer(string request)
        {
            wire.Send(request + "\n");
            return wire.ReceiveLine();
        }

        await Verify(string.Join('\n', requests.Select(Answer)));
    }
}
