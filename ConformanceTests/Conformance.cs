// What every fixture stands on: which tests run, what a test is about, what becomes of its verdict.

using System.Collections.Concurrent;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;
using NUnit.Framework.Internal.Commands;

// Names the sentences that a test proves, the one it is about first; a test over transcripts takes them from there.
// It also decides whether the test is for this run, words the failure, and writes the report's row.
[AttributeUsage(AttributeTargets.Method)]
public sealed class ClauseAttribute(params string[] ids) : NUnitAttribute, IWrapSetUpTearDown, IApplyToTest
{
    public string[] Ids => ids;

    // --filter TestCategory=GET-3 runs what proves that sentence.
    public void ApplyToTest(Test test)
    {
        foreach (string id in ids) test.Properties.Add(PropertyNames.Category, id);
    }

    public TestCommand Wrap(TestCommand command) => new Judged(command, ids);

    sealed class Judged(TestCommand inner, string[] ids) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            var transcript = context.CurrentTest.Arguments.OfType<Transcript>().FirstOrDefault();
            var clauses = (ids.Length > 0 ? ids : transcript!.Ids).Select(Spec.Find).ToArray();
            var fixture = context.CurrentTest.Method!.TypeInfo.Type;
            int stage = Stages.Of(clauses, fixture);
            string name = transcript is null
                ? context.CurrentTest.Name
                : $"{transcript.Name}, {context.CurrentTest.Arguments[1]}";
            void report(string outcome, string message) =>
                Report.Add(new Verdict(stage, clauses[0].Id, name, outcome, message));

            string? why = NotForThisRun(fixture, stage, clauses)
                ?? (OnWindows.Lacks(context.CurrentTest.MethodName!) ? "not there on Windows" : null);
            if (why is not null)
            {
                if (why.StartsWith("not offered")) report("not offered", why);
                context.CurrentResult.SetResult(ResultState.Ignored, why);
                return context.CurrentResult;
            }

            var result = context.CurrentResult = innerCommand.Execute(context);
            if (result.ResultState.Status == TestStatus.Failed)
            {
                string text = $"\n{clauses[0].Sentence}\n\n{result.Message.Replace("Violation : ", "").TrimEnd()}\n";
                bool advice = clauses[0].Level < Level.Must && !Settings.Strict;
                report(advice ? "advice" : "failed", text);
                result.SetResult(advice ? ResultState.Ignored : ResultState.Failure, text);
            }
            else if (result.ResultState.Status == TestStatus.Skipped)
            {
                if (!NotLookedAt.Take(clauses[0].Id, result.Message)) report("not offered", result.Message);
            }
            else report("passed", "");
            return result;
        }

        static string? NotForThisRun(Type fixture, int stage, Clause[] clauses)
        {
            if (Settings.Stage != 0 && Settings.Stage != stage) return $"not of stage {Settings.Stage}";
            bool client = typeof(ClientConformance).IsAssignableFrom(fixture);
            if (client ? !Settings.TestsClient : !Settings.TestsServer) return "the other half is tested";
            string template = client ? Plug.ClientTemplate : Plug.ServerTemplate;
            bool isSealed = clauses.Any(clause => clause.Id.StartsWith("SEAL"));
            if (isSealed && !template.Contains("{key}")) return "not offered: key";
            if (client) return null;
            return clauses.Select(clause => Offers.Missing(clause.Id)).FirstOrDefault(missing => missing is not null);
        }
    }
}

// A test that needs options, texts or logs that only the reference has; another implementation is not asked.
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class)]
public sealed class ReferenceAttribute : NUnitAttribute, IApplyToTest
{
    public void ApplyToTest(Test test)
    {
        if (Settings.IsReference) return;
        test.RunState = RunState.Ignored;
        test.Properties.Set(PropertyNames.SkipReason, "needs options, texts or logs of the reference");
    }
}

public static class Stages
{
    public static readonly string[] Names =
    [
        "", "connect", "LIST", "GET", "PUT", "robustness", "many clients", "digest", "resume", "STATUS", "ahead",
        "sealed",
    ];

    static readonly (string Prefix, int Stage)[] table =
    [
        ("CONN", 1), ("LIST", 2), ("GET", 3), ("PUT", 4), ("TYPE", 4),
        ("DIGEST", 7), ("P4", 7), ("CLI-7", 7), ("OFFSET", 8), ("CLI-10", 8), ("STATUS", 9), ("AHEAD", 10),
        ("SEAL", 11),
        ("P10", 5), ("P11", 5), ("CLI", 5), ("P", 6),
    ];

    // The stage of the latest extension among them, else of the first sentence.
    public static int Of(Clause[] clauses, Type fixture) =>
        clauses.Where(clause => clause.IsExtension).Select(Stage).DefaultIfEmpty(Stage(clauses[0])).Max();

    static int Stage(Clause clause) =>
        table.Where(row => clause.Id.StartsWith(row.Prefix)).Select(row => row.Stage).FirstOrDefault(5);
}

// Which extensions the server under test has: asked once, on the wire.
public static class Offers
{
    static readonly Lazy<Dictionary<string, bool>> offered = new(Ask);

    static Dictionary<string, bool> Ask()
    {
        using var server = new RunningServer();
        server.Has("offer.png", Notation.Bytes(8));
        bool has(string request)
        {
            using var wire = server.Connect();
            wire.Send(request + "\n");
            try { return !wire.ReceiveLine().StartsWith("ER|unsupported|"); }
            catch (Violation) { return true; }          // then its own tests shall say what is wrong
        }
        return new()                                    // one way of asking is enough: then all of them have to work
        {
            ["DIGEST"] = has("GET|offer.png|digest=sha256") || has("PUT|offered.png|digest=sha256"),
            ["OFFSET"] = has("GET|offer.png|offset=0") || has("GET|offer.png|offset=0|digest=sha256"),
            ["STATUS"] = has("STATUS"),
            ["AHEAD"] = has("PUT|offered.png|ahead") || has("PUT|offered.png|digest=sha256|ahead"),
        };
    }

    public static string? Missing(string id)
    {
        string family = id.Split('-')[0];
        if (Settings.Server == "" || offered.Value.GetValueOrDefault(family, true)) return null;
        return $"not offered: {(family == "STATUS" ? family : family.ToLowerInvariant())}";
    }
}

public abstract class Conformance
{
    readonly List<IDisposable> owned = [];

    // Disposed of when the test ends, last first.
    protected T Own<T>(T thing) where T : IDisposable
    {
        lock (owned) owned.Add(thing);
        return thing;
    }

    // For what happens a moment later, by itself: waits until it is so, and no longer.
    protected static void Eventually(Func<bool> condition, string otherwise)
    {
        for (var clock = System.Diagnostics.Stopwatch.StartNew(); !condition(); Thread.Sleep(10))
            if (clock.ElapsedMilliseconds > 5 * Settings.Patience) Assert.Fail(otherwise);
    }

    // A verdict in words: what was due, and what was there instead.
    protected static void Demand(bool holds, string expected, string received)
    {
        if (!holds) throw new Violation($"expected  {expected}\nreceived  {received}");
    }

    protected string NewFolder(string kind = "files")
    {
        string folder = Plug.NewFolder(kind);
        Own(new Cleanup(() => Directory.Delete(folder, true)));
        return folder;
    }

    sealed class Cleanup(Action action) : IDisposable { public void Dispose() => action(); }

    [TearDown]
    public void LetGo()
    {
        for (int i = owned.Count - 1; i >= 0; i--) owned[i].Dispose();
        owned.Clear();
    }
}

// Tests of a server.  Most share servers that run already, one test at a time on each, with an emptied folder.
public abstract class ServerConformance : Conformance
{
    static readonly ConcurrentBag<RunningServer> idle = [];
    RunningServer? server;
    protected virtual ConcurrentBag<RunningServer> Idle => idle;
    protected virtual RunningServer Launch() => new();

    protected RunningServer Server
    {
        get
        {
            if (server is not null) return server;
            if (Idle.TryTake(out server) && !server.Program.HasEnded) server.Empty();
            else { server?.Dispose(); server = Launch(); }
            return server;
        }
    }

    // One of its own, where it is ended, counted or given options.
    // `with` is for everybody's: values for the placeholders of the template.  `options` are the reference's own.
    protected RunningServer Start(
        string options = "", string? folder = null, int? port = null, bool drain = true, string launcher = "",
        string with = "", string? key = null) =>
        Own(new RunningServer(options, folder, port, drain, launcher, with, key));

    protected Wire Connect(Delivery delivery = Delivery.Whole) => Own(Server.Connect(delivery));
    protected Wire Connect(RunningServer other) => Own(other.Connect());

    // CLOSE-1: behind its last word a server reads on and drops it, for 2 s.  Closed, it would answer with a reset,
    // and the second send fail.  The clock runs since before the request: on a machine that slept nothing is said.
    protected static void ExpectItReadsOn(Wire wire, System.Diagnostics.Stopwatch clock)
    {
        bool takes = true;
        for (int i = 0; i < 3 && takes; i++)
        {
            try { wire.Socket.Send(new byte[100]); }
            catch (SocketException) { takes = false; }
        }
        Demand(takes || clock.ElapsedMilliseconds > 1500,
            "the server to read on, and drop what comes, until the client's end or for 2 s",
            "a reset: it has closed right behind its reply, which a reset can destroy on its way");
    }

    // A conversation in the notation of Protocol.md.
    protected void Play(string transcript) =>
        Player.AgainstServer(Transcript.From("", transcript), Server, Delivery.Whole);

    [TearDown]
    public void GiveBack()
    {
        LetGo();
        if (server is null) return;
        bool passed = TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Passed;
        bool ended = server.Program.HasEnded;
        string said = ended ? server.Program.Said() : "";
        if (passed && !ended) Idle.Add(server);
        else server.Dispose();
        if (ended) Assert.Fail($"The server has ended; nothing that a client sends may end it.\n{said}");
    }
}

// Tests of a client: the suite is the server, and says to it whatever the test wants said.
public abstract class ClientConformance : Conformance
{
    protected Socket Listener = null!;
    protected int Port;
    string? folder;

    protected string Folder => folder ??= NewFolder("client");

    [SetUp]
    public void Listen()
    {
        Listener = Own(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        Listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        Listener.Listen(8);
        Port = ((IPEndPoint)Listener.LocalEndPoint!).Port;
    }

    // Starts the client as a person would, in its folder.
    protected Program Run(
        string command, string? file = null, string options = "", string? input = null, string with = "") =>
        Own(Player.StartClient(Folder, Port, command, file, options, input, with));

    protected Wire Accept(Delivery delivery = Delivery.Whole) => Own(Player.Accept(Listener, delivery));
}

// Begins and ends a run.
[SetUpFixture]
public sealed class WholeRun
{
    [OneTimeSetUp]
    public void CheckThePlug()
    {
        try
        {
            if (Settings.TestsServer) using (new RunningServer()) { }
            if (Settings.TestsClient) CheckThatTheClientConnects();
        }
        catch (Violation violation)                     // one message, not as many as there are tests
        {
            Report.CannotStart(violation.Message);
            throw;
        }
    }

    static void CheckThatTheClientConnects()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        int port = ((IPEndPoint)listener.LocalEndPoint!).Port;
        using var client = Player.StartClient(Path.GetTempPath(), port, "LIST");
        try { using (Player.Accept(listener, Delivery.Whole)) { } }
        catch (Violation)
        {
            client.Kill();
            throw new Violation("The client was started as below, and did not connect to 127.0.0.1.\n"
                + $"  {Plug.ClientTemplate}\n{client.Said()}");
        }
    }

    [OneTimeTearDown]
    public void End()
    {
        Program.KillAll();
        SealedConformance.Forget();
        Report.Write();
    }
}
