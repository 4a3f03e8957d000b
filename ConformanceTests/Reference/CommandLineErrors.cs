using System.Net.NetworkInformation;

namespace ConformanceTests.Reference;

/// <summary>Mistakes on the command line: each is one line on stderr and an exit code, never a stack trace.</summary>
public sealed class CommandLineErrors : ProgramFixture
{
    private static readonly string _letters = new('a', 300);

    private string ToServer => $"client 127.0.0.1 {Server.Port}";

    // Runs the program, which must print one line, no stack trace, and exit with this code.
    private static void MustComplain(string folder, int exit, string says, string words, string launcher = "")
    {
        Ran ran = Execute(folder, words, launcher: launcher);
        ran.MustExit(exit, says);
        Assert.That(ran.Errors.TrimEnd('\n').Split('\n'), Has.Length.EqualTo(1), ran.Errors);
        Assert.That(ran.Errors, Does.Not.Contain("   at ").And.Not.Contain("Unhandled"));
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_an_invalid_host_name_in_one_line() =>
        MustComplain(NewFolder(), 1, "cannot connect", $"client {_letters} LIST");

    [Test, Clause("CLI-5")]
    public void Client_refuses_an_empty_host() =>
        MustComplain(NewFolder(), 2, "HOST", $"client '' {Server.Port} LIST");

    [Test, Clause("CLI-5", "CLI-6")]
    public void Client_reports_an_output_name_that_is_too_long_in_one_line()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        string folder = NewFolder();
        MustComplain(folder, 1, "cat.png", $"{ToServer} GET cat.png --output {_letters}");
        Assert.That(Names(folder), Is.Empty);
    }

    [Test, Clause("CLI-5", "CLI-6")]
    public void Client_reports_an_output_folder_without_permission_in_one_line()
    {
        Skip.If(OperatingSystem.IsWindows(), "needs the rights of Unix");

        Server.Has("cat.png", Notation.Bytes(9));
        string folder = NewFolder();
        string closed = Directory.CreateDirectory(Path.Combine(folder, "closed")).FullName;
        string launcher = UnprivilegedUser.Launcher(folder);
        try
        {
            SetMode(closed, UnixFileMode.None);
            foreach (string output in (string[])["closed", "closed/x.png", "closed/inner/x.png"])
            {
                MustComplain(folder, 1, "cat.png", $"{ToServer} GET cat.png --output {output}", launcher);
            }
        }
        finally
        {
            SetMode(closed, OwnerOnly);
        }

        Assert.That(Names(closed), Is.Empty);
    }

    [Test, Clause("CLI-5")]
    public void Client_fails_if_its_standard_output_is_full()
    {
        Skip.If(!File.Exists("/dev/full"), "needs /dev/full");

        Server.Has("cat.png", Notation.Bytes(9));
        MustComplain(NewFolder(), 1, "", "--help", FullOutput);
        MustComplain(NewFolder(), 1, "", $"{ToServer} LIST", FullOutput);
    }

    [Test, Clause("P9")]
    public void Server_refuses_a_limit_of_clients_that_it_cannot_poll()
    {
        MustComplain(NewFolder(), 2, "--max-clients", "server 0 --dir . --max-clients 65001");
        Connect(Start("--max-clients 65000")).List();
    }

    [Test, Clause("NAME-3")]
    public void Server_treats_a_file_extension_that_only_resembles_a_type_as_another_one()
    {
        // U+212A is the sign of the Kelvin, whose lower case is a k.
        var server = Start("--types mkv");
        File.WriteAllBytes(server.PathOf("x.m\u212Av"), Notation.Bytes(9));
        server.Has("x.MKV", Notation.Bytes(9));
        var wire = Connect(server);
        foreach (string verb in (string[])["GET", "PUT"])
        {
            wire.ExpectRefusal($"{verb}|x.m\u212Av", "bad-type");
        }

        Assert.That(wire.List().Select(line => line.Split('|')[0]), Is.EqualTo(new[] { "x.MKV" }));
        Assert.That(wire.Get("x.MKV"), Is.EqualTo(Notation.Bytes(9)));
    }

    [Test, Clause("STATUS-1")]
    public void Server_shows_an_IPv6_address_without_the_name_of_its_interface()
    {
        var local = (
            from card in NetworkInterface.GetAllNetworkInterfaces()
            where card.OperationalStatus == OperationalStatus.Up
            from address in card.GetIPProperties().UnicastAddresses
            where address.Address.IsIPv6LinkLocal
            select address.Address).FirstOrDefault();
        if (local is null)
        {
            Assert.Ignore("no interface here has a link-local address");
            return;
        }

        var server = Start("--listen ::");
        using var socket = new Socket(AddressFamily.InterNetworkV6, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.Connect(local, server.Port);
        }
        catch (SocketException e)
        {
            Assert.Ignore($"cannot connect to {local}: {e.Message}");
        }

        using var wire = new ProtocolConnection(socket, Side.Client);
        string mine = Encoding.UTF8.GetString(wire.AskForBlock("STATUS")).Split('\n')[^2].Split('|')[2];
        string plain = $"{new IPAddress(local.GetAddressBytes())}";
        Assert.That(mine, Is.EqualTo($"[{plain}]:{((IPEndPoint)socket.LocalEndPoint!).Port}"));
    }

    [Test, Clause("P9")]
    public void Server_accepts_clients_after_its_program_file_was_replaced()
    {
        // An update replaces the program file. So the server cannot open the one it was started from again.
        string program = Path.ChangeExtension(CommandTemplates.ReferenceFile, null);
        Skip.If(OperatingSystem.IsWindows() || !File.Exists(program), "needs a program that can be removed");

        string folder = NewFolder();
        string copies = TestFolders.New("program");
        string fileName = Path.GetFileName(program);
        foreach (string part in Directory.GetFiles(Path.GetDirectoryName(program)!, $"{fileName}*"))
        {
            File.Copy(part, Path.Combine(copies, Path.GetFileName(part)));
        }

        string runtime = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));
        int port = CommandTemplates.FreePort();
        string[] command =
        [
            "env", $"DOTNET_ROOT={runtime}", Path.Combine(copies, fileName),
            "server", $"{port}", "--dir", folder,
        ];
        var server = Own(new ChildProgram("server", command, folder));
        Eventually(() => server.Output.Contains("listening on"), $"the server does not start\n{server.Said()}");
        Directory.Delete(copies, true);
        for (int i = 0; i < 40; i++)
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Connect(IPAddress.Loopback, port);
            using var wire = new ProtocolConnection(socket, Side.Client);
            Assert.That(wire.List(), Is.Empty);
        }
    }
}
