using ConformanceTests.Reference;
using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Signals at the first moment at which a client can connect, and addresses that do not answer.</summary>
[Torture]
public sealed class EarlySignals : TortureFixture
{
    private const int Terminate = 15;

    [Test]
    public void Server_stops_cleanly_at_a_signal_right_after_its_port_is_open()
    {
        int runs = Times(40);
        for (int i = 0; i < runs; i++)
        {
            int port = CommandTemplates.FreePort();
            using var server = ProgramFixture.Begin(NewFolder(), $"server {port} --dir . --quiet");
            var clock = Stopwatch.StartNew();
            while (!TranscriptPlayer.Answers(port))
            {
                Assert.That(clock.ElapsedMilliseconds, Is.LessThan(RunSettings.Milliseconds(20_000)), server.Said());
            }

            Assert.That(kill(server.Id, Terminate), Is.Zero);
            Assert.That(server.WaitForExit(), Is.Zero, $"round {i}");
        }

        Say("P12", $"{runs} signals as soon as a client could connect: exit code 0 each time");
    }

    [Test]
    public void Client_gives_up_after_10_s_if_an_address_does_not_answer()
    {
        // The queue of this listener is full, so the kernel does not answer.
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(0);
        int port = ((IPEndPoint)listener.LocalEndPoint!).Port;
        var queued = new List<Socket>();
        for (int i = 0; i < 3; i++)
        {
            var socket = Own(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
            socket.Blocking = false;
            try
            {
                socket.Connect(IPAddress.Loopback, port);
            }
            catch (SocketException e) when (e.SocketErrorCode is SocketError.WouldBlock or SocketError.InProgress)
            {
                queued.Add(socket);
            }
        }

        var clock = Stopwatch.StartNew();
        using var client = ProgramFixture.Begin(NewFolder(), $"client 127.0.0.1 {port} LIST");
        Assert.That(client.WaitForExit(RunSettings.Milliseconds(25_000)), Is.EqualTo(3), client.Said());
        Assert.That(clock.Elapsed.TotalSeconds, Is.GreaterThan(9));
        Assert.That(client.Errors, Does.Contain("no answer within 10 s"));
        Say("CLI-9", $"an address that does not answer: given up after {clock.Elapsed.TotalSeconds:0.0} s");
    }

    [DllImport("libc", SetLastError = true)] private static extern int kill(int process, int signal);
}
