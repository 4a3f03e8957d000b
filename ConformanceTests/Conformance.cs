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
        foreach (string id in ids)
        {
            test.Properties.Add(PropertyNames.Category, id);
        }

        // The first stages first, so that there is something to read early.
        if (ids.Length > 0)
        {
            test.Properties.Set(PropertyNames.Order, Stages.Of([.. ids.Select(Spec.Find)]));
        }

        test.Name = Wording.Printable(test.Name);       // one of them would clear the screen
        test.FullName = Wording.Printable(test.FullName);
    }

    public TestCommand Wrap(TestCommand command) => new Judged(command, ids);

    public static Clause[] ClausesOf(string[] ids, Transcript? transcript) =>
        [.. (ids.Length > 0 ? ids : transcript!.Ids).Select(Spec.Find)];

    private sealed class Judged(TestCommand inner, string[] ids) : DelegatingTestCommand(inner)
    {
        public override TestResult Execute(TestExecutionContext context)
        {
            var transcript = context.CurrentTest.Arguments.OfType<Transcript>().FirstOrDefault();
            var clauses = ClausesOf(ids, transcript);
            var fixture = context.CurrentTest.Method!.TypeInfo.Type;
            int stage = Stages.Of(clauses);
            // What a server has to do is no client's fault.
            if (typeof(ClientConformance).IsAssignableFrom(fixture))
            {
                clauses = [.. clauses.OrderByDescending(Stages.IsOfClients)];
            }

            string name = transcript is null
                ? context.CurrentTest.Name
                : $"{transcript.Name}, {context.CurrentTest.Arguments[1]}";
            void Note(string outcome, string message = "", Failure? failure = null) => Report.Add(
                new Verdict(stage, clauses[0].Id, name, outcome, message)
                { Failure = failure, Fixture = fixture.Name }, clauses);

            string? why = (Settings.OneIsEnough && Report.HasFailed ? "one failure is enough" : null)
                ?? NotForThisRun(fixture, stage, clauses)
                ?? (OnWindows.Lacks(context.CurrentTest.MethodName!) ? "not there on Windows" : null);
            if (why is not null)
            {
                if (why.StartsWith("not offered"))
                {
                    Note("not offered", why);
                }
                else
                {
                    Report.Skip(stage);
                }

                context.CurrentResult.SetResult(ResultState.Ignored, why);
                return context.CurrentResult;
            }

            if (Earlier.Stands(fixture, name) is { } earlier)
            {
                Note(earlier.Outcome, earlier.Message);
                context.CurrentResult.SetResult(ResultState.Ignored, "not asked again");
                return context.CurrentResult;
            }

            if (Settings.TimeIsUp)
            {
                Note("failed", $"{Settings.NotReached}{Settings.Minutes} minutes were over.\n");
                context.CurrentResult.SetResult(ResultState.Failure, "not reached");
                return context.CurrentResult;
            }

            using var watch = new Watch(clauses, name);
            var result = context.CurrentResult = innerCommand.Execute(context);
            Failure? failure = result.ResultState.Status == TestStatus.Failed ? Wording.Of(result, watch)
                : result.ResultState.Status == TestStatus.Passed ? ClientCan.ShowsNothing(watch) : null;
            if (failure is not null)
            {
                var clause = Spec.Find(failure.Sentence ?? clauses[0].Id);
                string text = $"\n{clause.Sentence}\n\n{failure.Text().TrimEnd()}\n";
                bool advice = (failure.IsAdvice || clauses[0].Level < Level.Must) && !Settings.Strict;
                Note(advice ? "advice" : "failed", text, failure);
                result.SetResult(advice ? ResultState.Ignored : ResultState.Failure, text);
            }
            else if (result.ResultState.Status == TestStatus.Skipped)
            {
                Note(result.Message.StartsWith("not offered") ? "not offered" : "not looked at",
                    NotLookedAt.Why(result.Message));
            }
            else
            {
                Note("passed");
            }

            return result;
        }

        private static string? NotForThisRun(Type fixture, int stage, Clause[] clauses)
        {
            if (Settings.Stage != 0 && Settings.Stage != stage)
            {
                return $"not of stage {Settings.Stage}";
            }

            bool client = typeof(ClientConformance).IsAssignableFrom(fixture);
            if (client ? !Settings.TestsClient : !Settings.TestsServer)
            {
                return "the other half is tested";
            }

            string template = client ? Plug.ClientTemplate : Plug.ServerTemplate;
            bool isSealed = clauses.Any(clause => clause.Id.StartsWith("SEAL"));
            if (isSealed && !template.Contains("{key}"))
            {
                return "not offered: key";
            }

            if (client)
            {
                return null;
            }

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
        if (Settings.IsReference)
        {
            return;
        }

        test.RunState = RunState.Ignored;
        test.Properties.Set(PropertyNames.SkipReason, "needs options, texts or logs of the reference");
    }
}

// Begin: how one starts to offer it, where that is anybody's choice.
public sealed record StageInfo(string Name, string Begin = "", string BeginClient = "");

public static class Stages
{
    public static readonly StageInfo[] All =
    [
        new(""),
        new("connect"),
        new("LIST"),
        new("GET"),
        new("PUT"),
        new("requests, names"),
        new("deadlines"),
        new("closing"),
        new("many clients"),
        new("digest",
            "Begin with GET: take the option digest=sha256 in place of unsupported, and send 32 octets behind the "
                + "block,\n"
            + "the SHA-256 of the file. Then PUT, which compares before the file gets its name.\n",
            "Begin with GET: ask with |digest=sha256 (once more without it if that is unsupported), and compare.\n"),
        new("resume",
            "Begin with the option offset=N of GET: leave out N octets of the file; the length is that of the rest.\n",
            "Begin by keeping what a cut download brought. If an option of your client says so, tell the suite:\n"
            + "{resume} in the template stands for --resume.\n"),
        new("STATUS",
            "Begin by noting, from each accept on, time, address, requests and octets; then send that as LIST does.\n"),
        new("ahead",
            "Begin with the option ahead of PUT: OK at once, whatever the name; what there is to refuse stands behind\n"
            + "the block.\n"),
        new("sealed",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then the handshake, and who is let in.\n",
            "Begin by telling the suite how your program is given the key file: {key} in the template, such as\n"
            + "--key={key}. Then the handshake, and whom it speaks to.\n"),
    ];

    private static readonly (string Prefix, int Stage)[] _table =
    [
        ("CONN", 1), ("LIST", 2), ("GET", 3), ("PUT", 4), ("TYPE", 4),
        ("DIGEST", 9), ("P4", 9), ("CLI-7", 9), ("OFFSET", 10), ("CLI-10", 10), ("STATUS", 11), ("AHEAD", 12),
        ("SEAL", 13),
        ("LIMIT", 6), ("P8", 6), ("CLI-9", 6), ("CLOSE", 7), ("CLI-4", 7), ("CLI-8", 7),
        ("P10", 5), ("P11", 5), ("CLI", 5), ("P", 8),
    ];

    // The stage of the latest extension among them, else of the first sentence.
    public static int Of(Clause[] clauses) =>
        clauses.Where(clause => clause.IsExtension).Select(Of).DefaultIfEmpty(Of(clauses[0])).Max();

    private static int Of(Clause clause) =>
        _table.Where(row => clause.Id == row.Prefix
                || clause.Id.StartsWith(row.Prefix) && !char.IsDigit(row.Prefix[^1]))
            .Select(row => row.Stage).FirstOrDefault(5);

    // Of a test that is about none, 0.
    public static int Of(ITest test)
    {
        if (test.Method?.GetCustomAttributes<ClauseAttribute>(true).FirstOrDefault() is not { } attribute)
        {
            return 0;
        }

        return Of(ClauseAttribute.ClausesOf(attribute.Ids, test.Arguments.OfType<Transcript>().FirstOrDefault()));
    }

    public static bool IsOfClients(Clause clause) => clause.Id.StartsWith("CLI-");

    // A client has no deadlines of others to keep, for example: the stages that this run's half has.
    private static IEnumerable<Clause> ClausesOf(int stage) => Spec.Clauses.Values.Where(clause => Of(clause) == stage
        && (IsOfClients(clause) ? Settings.TestsClient
            : Settings.TestsServer || stage is 2 or 3 or 4 or 9 or 10 or > 11));

    public static int? After(int stage) =>
        Enumerable.Range(stage + 1, All.Length - stage - 1).Cast<int?>()
            .FirstOrDefault(next => ClausesOf(next!.Value).Any());

    // §4.1 to §4.5, §6: where a stage's sentences stand, and the one that is broken.
    public static string Sections(int stage, Clause? broken = null)
    {
        var clauses = ClausesOf(stage).Concat(broken is null ? [] : [broken]).OrderBy(clause => clause.Line);
        var sections = clauses.Select(clause => clause.Section).Distinct().ToArray();
        var parts = new List<string>();
        for (int i = 0; i < sections.Length; i++)
        {
            int first = i;
            while (i + 1 < sections.Length && IsNext(sections[i], sections[i + 1]))
            {
                i++;
            }

            parts.Add(i - first > 1 ? $"§{sections[first]} to §{sections[i]}"
                : string.Join(", ", sections[first..(i + 1)].Select(section => $"§{section}")));
        }

        return string.Join(", ", parts);
    }

    private static bool IsNext(string one, string other) =>
        one.Split('.') is [var chapter, var part] && other == $"{chapter}.{int.Parse(part) + 1}";
}

// Whether a client does the simple thing, asked once for each command: if it cannot, then that it ends with another
// code than 0 where something is refused shows nothing.
public static class ClientCan
{
    private static readonly Dictionary<string, Lazy<Failure?>> _lacks = new()
    {
        ["LIST"] = new(() => Try("list-an-empty-folder")),
        ["GET"] = new(() => Try("get-a-picture")),
        ["PUT"] = new(() => Try("put-a-picture")),
    };

    public static Failure? ShowsNothing(Watch watch)
    {
        if (Settings.Client == "" || watch.ClientExit is null or 0)
        {
            return null;
        }

        if (!_lacks.TryGetValue(watch.Command ?? "", out var trial) || trial.Value is not { } lack)
        {
            return null;
        }

        return new Failure($"exit code other than 0 where it is due, and 0 for a {watch.Command} that is in order",
            $"exit code {watch.ClientExit} here, but the one that is in order fails, too")
        {
            Notes = [$"mend that first, it is a transcript of Protocol.md: expected {lack.Expected.Split('\n')[0]}, "
                + $"received {lack.Received.Split('\n')[0]}"],
            Sentence = "CLI-5",
        };
    }

    private static Failure? Try(string name)
    {
        using var apart = new Watch([], name);
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(8);
        string folder = Plug.NewFolder("client");
        var transcript = Spec.Transcripts.Single(one => one.Name == name);
        try
        {
            Player.AgainstClient(transcript, listener, folder, Delivery.Whole);
            return null;
        }
        catch (Violation violation)
        {
            return violation.Failure is { IsAdvice: true } ? null : violation.Failure;
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }
}

// Which extensions the server under test has: asked once, on the wire.
public static class Offers
{
    private static readonly Lazy<Dictionary<string, bool>> _offered = new(Ask);

    private static Dictionary<string, bool> Ask()
    {
        RunningServer started;
        try
        {
            started = new RunningServer();
        }
        catch (Violation)
        {
            return [];
        }                // as below

        using var server = started;
        server.Has("offer.png", Notation.Bytes(8));
        bool Has(string request)
        {
            using var wire = server.Connect();
            wire.Send(request + "\n");
            try
            {
                return !wire.ReceiveLine().StartsWith("ER|unsupported|");
            }
            catch (Violation)
            {
                return true;
            }          // then its own tests shall say what is wrong
        }

        return new()                                    // one way of asking is enough: then all of them have to work
        {
            ["DIGEST"] = Has("GET|offer.png|digest=sha256") || Has("PUT|offered.png|digest=sha256"),
            ["OFFSET"] = Has("GET|offer.png|offset=0") || Has("GET|offer.png|offset=0|digest=sha256"),
            ["STATUS"] = Has("STATUS"),
            ["AHEAD"] = Has("PUT|offered.png|ahead") || Has("PUT|offered.png|digest=sha256|ahead"),
        };
    }

    public static string? Missing(string id)
    {
        string family = id.Split('-')[0];
        if (Settings.Server == "" || _offered.Value.GetValueOrDefault(family, true))
        {
            return null;
        }

        return $"not offered: {(family == "STATUS" ? family : family.ToLowerInvariant())}";
    }
}

public abstract class Conformance
{
    private readonly List<IDisposable> _owned = [];

    // Disposed of when the test ends, last first.
    protected T Own<T>(T thing) where T : IDisposable
    {
        lock (_owned)
        {
            _owned.Add(thing);
        }

        return thing;
    }

    // For what happens a moment later, by itself: waits until it is so, and no longer.
    protected static void Eventually(Func<bool> condition, string otherwise) =>
        Eventually(condition, () => otherwise);

    protected static void Eventually(Func<bool> condition, Func<string> otherwise)
    {
        for (var clock = System.Diagnostics.Stopwatch.StartNew(); !condition(); Thread.Sleep(10))
        {
            if (clock.ElapsedMilliseconds > 5 * Settings.Patience)
            {
                throw new Violation(otherwise());
            }
        }
    }

    // A verdict in words: what was due, and what was there instead.
    protected static void Demand(bool holds, string expected, string received)
    {
        if (!holds)
        {
            throw new Violation($"expected  {expected}\nreceived  {received}");
        }
    }

    protected string NewFolder(string kind = "files")
    {
        string folder = Plug.NewFolder(kind);
        Own(new Cleanup(() => Directory.Delete(folder, true)));
        return folder;
    }

    private sealed class Cleanup(Action action) : IDisposable { public void Dispose() => action(); }

    [TearDown]
    public void LetGo()
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Failed)
        {
            Watch.Current?.Ends();
        }

        for (int i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }

        _owned.Clear();
    }
}

// Tests of a server.  Most share servers that run already, one test at a time on each, with an emptied folder.
public abstract class ServerConformance : Conformance
{
    private static readonly ConcurrentBag<RunningServer> _idle = [];
    private RunningServer? _server;

    protected virtual ConcurrentBag<RunningServer> Idle => _idle;

    protected virtual RunningServer Launch() => new();

    protected RunningServer Server
    {
        get
        {
            if (_server is not null)
            {
                return _server;
            }

            if (Idle.TryTake(out _server) && !_server.Program.HasEnded)
            {
                _server.Empty();
            }
            else
            {
                _server?.Dispose();
                _server = Launch();
            }

            return _server;
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

    protected Wire ConnectSlow(RunningServer? other = null) => Own((other ?? Server).Connect(slow: true));

    // CLOSE-1: behind its last word a server reads on and drops it, for 2 s.  Closed, it would answer with a reset,
    // and the second send fail.  The clock runs since before the request: on a machine that slept nothing is said.
    protected static void ExpectItReadsOn(Wire wire, System.Diagnostics.Stopwatch clock)
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

        Demand(takes || clock.ElapsedMilliseconds > 1500,
            "the server to read on, and drop what comes, until the client's end or for 2 s",
            "a reset: it has closed right behind its reply, which a reset can destroy on its way");
    }

    protected void ExpectNothingHidden(string after) => Eventually(() => Server.Hidden() is [],
        () => $"expected  no temporary file in the folder {after}\nreceived  {string.Join(", ", Server.Hidden())}");

    // Connections that say nothing and leave, few enough at a time for any limit.
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

    // What is due behind the last octet does not come before it.  Nothing can be waited for here but time.
    protected static void ExpectNothingYet(Wire wire)
    {
        wire.RestsFor(1500);
        if (wire.HasMore)
        {
            throw wire.Wrong("nothing, since the last octet of the block has not been sent", null, null);
        }
    }

    // In the open, or sealed.
    protected static void ServesFiftyAtOnce(Func<Wire> connect)
    {
        var wires = Enumerable.Range(0, 50).Select(_ => connect()).ToArray();
        Parallel.For(0, wires.Length, new ParallelOptions { MaxDegreeOfParallelism = 50 }, i =>
        {
            var picture = Notation.Bytes(10_000 + i);
            wires[i].Put($"{i}.png", picture);
            Assert.That(wires[i].Get($"{i}.png"), Is.EqualTo(picture));
        });
        Assert.That(connect().List(), Has.Length.EqualTo(50));
    }

    // A conversation in the notation of Protocol.md.
    protected void Play(string transcript) =>
        Player.AgainstServer(Transcript.From("", transcript), Server, Delivery.Whole);

    [TearDown]
    public void GiveBack()
    {
        LetGo();
        if (_server is null)
        {
            return;
        }

        bool passed = TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Passed;
        bool ended = _server.Program.HasEnded;
        if (passed && !ended)
        {
            Idle.Add(_server);
        }
        else
        {
            _server.Dispose();
        }

        if (ended)
        {
            Assert.Fail(Wording.Ended);
        }
    }
}

// Tests of a client: the suite is the server, and says to it whatever the test wants said.
public abstract class ClientConformance : Conformance
{
    protected Socket Listener = null!;
    protected int Port;
    private string? _folder;

    protected string Folder => _folder ??= NewFolder("client");

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
        Report.Begin(TestExecutionContext.CurrentContext.CurrentTest);
        try
        {
            if (Settings.TestsServer)
            {
                using (new RunningServer())
                {
                }
            }

            if (Settings.TestsClient)
            {
                CheckThatTheClientConnects();
            }
        }
        catch (Violation violation)                     // one message, not as many as there are tests
        {
            Report.CannotStart(violation.Message);
            throw;
        }
    }

    private static void CheckThatTheClientConnects()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        int port = ((IPEndPoint)listener.LocalEndPoint!).Port;
        using var client = Player.StartClient(Path.GetTempPath(), port, "LIST");
        try
        {
            using (Player.Accept(listener, Delivery.Whole))
            {
            }
        }
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
