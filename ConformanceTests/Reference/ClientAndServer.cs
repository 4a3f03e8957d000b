namespace ConformanceTests.Reference;

/// <summary>This client and this server together, as people use them.</summary>
public sealed class ClientAndServer : ProgramFixture
{
    [Test, Clause("P4", "CONN-1")]
    public void Client_and_server_transfer_five_hundred_files_up_and_down()
    {
        string up = NewFolder();
        string down = NewFolder();
        for (int i = 0; i < 500; i++)
        {
            File.WriteAllBytes(Path.Combine(up, $"{i}.png"), [.. Notation.Bytes(100 + i * 37), (byte)i]);
        }

        string names = string.Join(' ', Enumerable.Range(0, 500).Select(i => $"{i}.png"));
        Assert.That(Client(up, $"send {names}").Exit, Is.Zero);
        Assert.That(Client(down, $"download {names} --quiet"), Is.EqualTo(new Ran(0, "", "")));
        foreach (string path in Directory.GetFiles(up))
        {
            var copy = File.ReadAllBytes(Path.Combine(down, Path.GetFileName(path)));
            Assert.That(copy.AsSpan().SequenceEqual(File.ReadAllBytes(path)));
        }

        Assert.That(Directory.GetFileSystemEntries(down), Has.Length.EqualTo(500));
    }

    [Test, Clause("GET-1", "CLI-6")]
    public void Client_takes_output_as_a_folder_or_a_file()
    {
        Server.Has("my cat.png", Notation.Bytes(100));
        string folder = NewFolder();
        Directory.CreateDirectory(Path.Combine(folder, "into"));
        Assert.That(Client(folder, "GET 'my cat.png' --output into").Exit, Is.Zero);
        Assert.That(Client(folder, "GET 'my cat.png' --output=other.dat").Exit, Is.Zero);
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "into", "my cat.png")), Is.EqualTo(Notation.Bytes(100)));
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "other.dat")), Is.EqualTo(Notation.Bytes(100)));
        Assert.That(Client(folder, "GET 'my cat.png' --output nowhere/x.png").Errors, Does.Contain("no folder"));
        Assert.That(Client(folder, "GET a.png b.png --output other.dat").Exit, Is.EqualTo(2));
    }

    [Test, Clause("CONN-4", "CLI-5")]
    public void Client_accepts_the_same_commands_at_the_prompt()
    {
        Server.Has("my cat.png", Notation.Bytes(100));
        string folder = NewFolder();
        File.WriteAllBytes(Path.Combine(folder, "dog.png"), Notation.Bytes(50));
        var (exit, output, errors) = Client(folder, "", "upload dog.png\nlist\nmy cat.png\nHELP\nquit\nlist\n");
        Assert.That(exit, Is.Zero, errors);
        Assert.That(output.Split('\n').Count(line => line.StartsWith("dog.png|50|")), Is.EqualTo(1));
        Assert.That(File.Exists(Path.Combine(folder, "my cat.png")));
        (exit, _, errors) = Client(folder, "", "get \"my cat.png\"\nget 'unclosed\nlst\n\nlist nothing\n");
        Assert.That(exit, Is.EqualTo(1));
        Assert.That(errors, Does.Contain("here already").And.Contain("quote"));
        Assert.That(errors, Does.Contain("no command lst").And.Contain("LIST takes no file name"));
    }

    [Test, Clause("LIMIT-2", "CLOSE-3")]
    public void Client_reconnects_at_the_prompt_after_the_idle_time()
    {
        var server = Start("--idle 1");
        string[] command = [.. CommandTemplates.Reference, "client", "127.0.0.1", $"{server.Port}"];
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var client = Process.Start(start)!;
        Eventually(
            () => Regex.IsMatch(server.Program.Errors, "#2 .*timeout"), "the server does not end the idle connection");
        client.StandardInput.Write("LIST\n");
        client.StandardInput.Close();
        Assert.That(client.WaitForExit(RunSettings.Patience));
        Assert.That(client.ExitCode, Is.Zero, client.StandardError.ReadToEnd());
    }

    [Test, Clause("P2")]
    public void Client_that_is_the_only_one_of_three_to_save_a_file_succeeds()
    {
        var picture = Notation.Bytes(20 << 20);
        Server.Has("big.png", picture);
        string folder = NewFolder();
        var runs = Enumerable.Range(0, 3).Select(_ => Task.Run(() => Client(folder, "GET big.png").Exit)).ToArray();
        Task.WaitAll(runs);
        Assert.That(runs.Count(run => run.Result == 0), Is.EqualTo(1));
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "big.png")).AsSpan().SequenceEqual(picture));
    }
}
