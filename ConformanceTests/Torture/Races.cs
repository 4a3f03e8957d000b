using static ConformanceTests.Torture.TortureReport;

namespace ConformanceTests.Torture;

/// <summary>Uploads that race for one name.</summary>
[Torture]
public sealed class Races : TortureFixture
{
    [Test]
    public void Server_accepts_exactly_one_of_eight_racing_uploads()
    {
        string folder = NewFolder();
        string config = Path.Combine(NewFolder("haproxy"), "haproxy.cfg");
        RunningServer[] servers = [Start(folder: folder), Start(folder: folder)];
        Race(folder, "direct", i => Connect(servers[i % 2]));
        Say("P2", $"two servers, 8 clients, {Times(500)} names: one OK each, content is the winner's");

        if (!File.Exists("/usr/sbin/haproxy"))
        {
            Say("P2", "skipped: no haproxy");
            return;
        }

        int port = CommandTemplates.FreePort();
        File.WriteAllText(config,
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
            + $"listen pictures\n bind 127.0.0.1:{port}\n balance roundrobin\n"
            + $" server a 127.0.0.1:{servers[0].Port}\n server b 127.0.0.1:{servers[1].Port}\n");
        var proxy = Own(new ChildProgram("proxy", ["/usr/sbin/haproxy", "-db", "-f", config], folder));
        for (var clock = Stopwatch.StartNew(); ; Thread.Sleep(20))
        {
            try
            {
                Dial(port).Dispose();
                break;
            }
            catch (SocketException) when (!proxy.HasEnded && clock.ElapsedMilliseconds < RunSettings.Patience) { }
        }

        Race(folder, "proxy", _ => Own(new ProtocolConnection(Dial(port), Side.Client)));
        Say("P2", $"the same through haproxy: one OK each");
    }

    private static void Race(string folder, string prefix, Func<int, ProtocolConnection> connect)
    {
        byte[] Content(int name, int client) => [.. Notation.Bytes(8 + name * 7 % 5000), (byte)client];

        var wires = Enumerable.Range(0, 8).Select(connect).ToArray();
        var answers = Enumerable.Range(0, Times(500)).Select(_ => new string[8]).ToArray();
        using var line = new Barrier(8);
        void Meet()
        {
            if (!line.SignalAndWait(RunSettings.Patience * 2))
            {
                throw new Violation("another racer has stopped");
            }
        }

        Together(8, client =>
        {
            for (int name = 0; name < answers.Length; name++)
            {
                Meet();
                Action? end = name % 2 == 0 ? Meet : null;      // they meet again, a byte before the end
                string file = $"{prefix}-{name}.png";
                answers[name][client] = Put(wires[client], file, Content(name, client), client > 3, end);
            }
        });
        for (int name = 0; name < answers.Length; name++)
        {
            string said = $"{prefix}-{name}: {string.Join(' ', answers[name])}";
            Assert.That(answers[name].Count(answer => answer == "OK"), Is.EqualTo(1), said);
            Assert.That(answers[name].Count(answer => answer.StartsWith("ER|exists|")), Is.EqualTo(7), said);
            byte[] stored = File.ReadAllBytes(Path.Combine(folder, $"{prefix}-{name}.png"));
            Assert.That(stored, Is.EqualTo(Content(name, Array.IndexOf(answers[name], "OK"))), said);
        }

        Assert.That(Hidden(folder), Is.Empty);
    }
}
