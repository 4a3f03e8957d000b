namespace ConformanceTests.Reference;

/// <summary>What this client shows on a terminal: headings and the progress line.</summary>
public sealed class Terminals : ProgramFixture
{
    [Test, Clause("CLI-5")]
    public void Client_prints_a_heading_and_a_last_line_of_listings_on_a_terminal()
    {
        string to = $"client 127.0.0.1 {Server.Port}";
        Server.CloseUnusedConnection();
        Server.Has("cat.png", Notation.Bytes(1_234_567));
        Server.Has("dog.png", Notation.Bytes(9));
        string[] lines = OnTerminal(NewFolder(), 100, $"{to} LIST").Output.Split('\n');
        Assert.That(lines[0], Does.Match(@"^ +SIZE  MODIFIED \(UTC\) +NAME$"));
        Assert.That(lines[1], Does.Match(@"^ +1,234,567  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  cat\.png$"));
        Assert.That(lines[3], Is.EqualTo("2 pictures, 1.2 MB"));
        Assert.That(lines[0].IndexOf("NAME"), Is.EqualTo(lines[1].IndexOf("cat.png")), "NAME is not above the name");

        lines = OnTerminal(NewFolder(), 120, $"{to} STATUS").Output.Split('\n');
        Assert.That(lines[0], Does.StartWith("CONNECTED (UTC)").And.EndsWith("ADDRESS"));
        Assert.That(lines[^2], Does.Match(@"^\d+ connections, 1 open$"));
        Assert.That(Client(NewFolder(), "LIST").Output, Does.StartWith("cat.png|1234567|"), "a pipe gets plain lines");
    }

    [TestCase("a.png", "1 picture, 9 bytes"), TestCase("notes.txt", "1 file, 9 bytes")]
    [TestCase("a.png b.jpg", "2 pictures, 18 bytes"), TestCase("a.png b.pdf", "2 files, 18 bytes")]
    [Clause("LIST-1")]
    public void Client_counts_files_if_not_all_of_them_are_pictures(string names, string says)
    {
        var server = Start("--types any");
        foreach (string name in names.Split(' '))
        {
            server.Has(name, Notation.Bytes(9));
        }

        string[] lines = OnTerminal(NewFolder(), 100, $"client 127.0.0.1 {server.Port} LIST").Output.Split('\n');
        Assert.That(lines[^2], Is.EqualTo(says));
    }

    // Returns each version of the progress line that was drawn: the texts between carriage returns.
    private static string[] Drawn(string output) =>
        [.. output.Split('\r', '\n').Where(part => part.Contains(" MB") || part.Contains("stalled"))];

    [Test, Clause("CLI-11")]
    public void Client_fits_the_progress_line_to_the_terminal([Values(40, 60, 200)] int columns)
    {
        // Wide characters, a combining mark, and an emoji of several code points.
        string name = "猫の写真\u0301👩\u200d👩\u200d👧" + new string('x', 60) + ".png";
        string folder = NewFolder();
        Give(folder, name, 30_000_000);
        string[] words = ["client", "127.0.0.1", $"{ServeOne(ReceiveSlowly)}", "PUT", name];
        Ran ran = OnTerminal(folder, columns, string.Join(' ', words.Select(word => $"\"{word}\"")));
        string[] drawn = Drawn(ran.Output);
        Assert.That(drawn, Is.Not.Empty, ran.ToString());
        int most = Math.Min(columns - 1, 79);
        foreach (string line in drawn)
        {
            Assert.That(Columns(line), Is.LessThanOrEqualTo(most), line);
            Assert.That(line, Does.Not.Contain("\uFFFD").And.Not.Match(@"\u200d[…,]"), "cut inside a character");
        }

        Assert.That(ran.Output, Does.Not.Match(@"30\.0 MB of 30\.0 MB"), "100 % before the server's OK");
    }

    // Receives the upload slowly, so that the client has progress to draw.
    private static void ReceiveSlowly(Socket socket)
    {
        var buffer = new byte[1 << 20];
        socket.Receive(buffer);
        socket.Send("OK\n"u8);
        long left = 30_000_000 + 8 + 32;
        while (left > 0 && socket.Receive(buffer) is > 0 and var count)
        {
            left -= count;
            Thread.Sleep(count / 16_000);
        }

        socket.Send("OK\n"u8);
    }

    // East Asian letters and emoji take two columns; combining marks and joiners none.
    private static int Columns(string line) => line.EnumerateRunes().Sum(rune =>
        rune.Value is 0x200D or 0x301 ? 0 : rune.Value is >= 0x3000 and <= 0x9FFF or >= 0x1F000 ? 2 : 1);

    [Test, Clause("CLI-5")]
    public void Client_shows_no_progress_line_after_the_command_has_failed()
    {
        // The server is gone. For a second after the message, the client must draw nothing over its prompt.
        string folder = NewFolder();
        Give(folder, "big.png", 30_000_000);
        Give(folder, "other.png");
        var server = Start();
        string input = "PUT big.png other.png\n";
        string to = $"client 127.0.0.1 {server.Port}";
        string script = $"(while ! test -e gone; do sleep 0.05; done; printf '{input.Replace("\n", "\\n")}'; sleep 2)";
        string program = $"stty cols 80 -echo; {string.Join(' ', CommandTemplates.Reference)} {to}";
        string[] command = ["sh", "-c", $"{script} | script -qec \"{program}\" /dev/null"];
        var client = Own(new ChildProgram("terminal", command, folder));
        Eventually(() => client.Output.Contains("connected to"), () => client.Said());
        server.Program.Kill();
        File.WriteAllText(Path.Combine(folder, "gone"), "");
        client.WaitForExit();
        Assert.That(client.Output, Does.Contain("cannot connect"));
        string after = client.Output[client.Output.LastIndexOf("cannot connect")..];
        Assert.That(after, Does.Not.Match("MB|stalled"), client.Output);
    }
}
