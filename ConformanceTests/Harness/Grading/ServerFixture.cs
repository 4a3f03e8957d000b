using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Tests of a server. Most share servers that are already running, one test at a time on each, with an emptied
/// folder.
/// </summary>
public abstract class ServerFixture : Fixture
{
    /// <summary>Servers without a key that no test uses at the moment.</summary>
    protected static readonly ConcurrentBag<RunningServer> OpenServers = [];
    private RunningServer? _server;

    /// <summary>Servers of the same kind that no test uses at the moment.</summary>
    protected virtual ConcurrentBag<RunningServer> Idle => OpenServers;

    /// <summary>Ends the servers that are shared, and removes their folders.</summary>
    public static void EndIdleServers() => End(OpenServers);

    protected static void End(ConcurrentBag<RunningServer> idle)
    {
        while (idle.TryTake(out var server))
        {
            server.Dispose();
        }
    }

    protected virtual RunningServer Launch() => new();

    protected RunningServer Server
    {
        get
        {
            if (_server is not null)
            {
                return _server;
            }

            bool isIdle = Idle.TryTake(out _server) && !_server.Program.HasEnded;
            if (isIdle)
            {
                _server!.Empty();
            }
            else
            {
                _server?.Dispose();
                _server = Launch();
            }

            Scope?.Add(_server!, isNew: !isIdle);
            return _server!;
        }
    }

    /// <summary>Starts a server for this test alone: one that is stopped, counts its clients or has other settings.
    /// </summary>
    /// <param name="options">Options that only the program of this repository has.</param>
    /// <param name="folder">Its folder, or null for a new one.</param>
    /// <param name="port">Its port, or null for a free one.</param>
    /// <param name="drain">Whether the suite reads what the server prints.</param>
    /// <param name="launcher">A command that starts the server's command.</param>
    /// <param name="with">Values for the placeholders of the template, which any program may have.</param>
    /// <param name="key">Its key file.</param>
    protected RunningServer Start(
        string options = "", string? folder = null, int? port = null, bool drain = true, string launcher = "",
        string with = "", string? key = null) =>
        Own(new RunningServer(options, folder, port, drain, launcher, with, key));

    /// <summary>Ends the test if the server does not have the optional feature of this paragraph.</summary>
    protected static void Needs(string clause, bool when = true)
    {
        if (when && Extensions.Missing(clause) is { } missing)
        {
            Assert.Ignore(missing);
        }
    }

    protected ProtocolConnection Connect(Delivery delivery = Delivery.Whole) => Connect(Server, delivery);

    protected virtual ProtocolConnection Connect(RunningServer server, Delivery delivery = Delivery.Whole) =>
        Own(server.Connect(delivery));

    protected ProtocolConnection ConnectSlow(RunningServer? other = null) => Own((other ?? Server).Connect(slow: true));

    /// <summary>Each of these clients gets a listing.</summary>
    protected static void ExpectServed(IEnumerable<ProtocolConnection> clients)
    {
        foreach (var client in clients)
        {
            client.List();
        }
    }

    // CLOSE-1: after its last reply a server reads on and drops what it reads, for 2 s. If it had closed, it would
    // answer with a reset, and the second send would fail. The clock was started before the request.
    protected static void ExpectItReadsOn(ProtocolConnection wire, Stopwatch clock)
    {
        bool takes = true;
        for (int i = 0; i < 3 && takes; i++)
        {
            try
            {
                wire.Socket.Send(new byte[100]);
            }
            catch (SocketException)
            {
                takes = false;
            }
        }

        Skip.If(!takes && clock.ElapsedMilliseconds > 1500, MachinePaused);

        Demand(takes,
            "the server to read on, and drop what comes, until the client's end or for 2 s",
            "a reset: it closed right after its reply, which a reset can destroy on its way");
    }

    /// <summary>Waits until the server has removed the temporary files of uploads that were not stored.</summary>
    protected void ExpectNothingHidden(string after, string breaks) => Eventually(() => Server.Hidden() is [],
        () => $"expected  no temporary file in the folder {after}\nreceived  {string.Join(", ", Server.Hidden())}",
        breaks);

    /// <summary>Makes connections that send nothing and end, few enough at a time for any limit.</summary>
    protected static void PassBy(RunningServer server, int count)
    {
        for (int i = 0; i < count; i++)
        {
            using var passing = server.Connect();
            if (i % 20 == 0)
            {
                passing.List();            // the server has accepted all so far
            }
        }
    }

    // Checks that the reply does not come before the last byte of the block. Only time can show that.
    protected static void ExpectNothingYet(ProtocolConnection wire)
    {
        wire.RestsFor(1500);
        if (wire.HasMore)
        {
            throw wire.Wrong("nothing, since the last byte of the block has not been sent", null, null);
        }
    }

    [TearDown]
    public void GiveBack()
    {
        DisposeOwned();
        if (_server is null)
        {
            return;
        }

        bool passed = TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Passed;
        bool ended = _server.Program.HasEnded;
        if (passed && !ended)
        {
            _server.Scope = null;
            Idle.Add(_server);
        }
        else
        {
            _server.Dispose();
        }

        if (ended)
        {
            Assert.Fail(TestFailure.Ended);
        }
    }
}
