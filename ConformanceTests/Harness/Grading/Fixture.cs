using NUnit.Framework.Interfaces;

namespace ConformanceTests.Harness.Grading;

/// <summary>What all fixtures have in common: things that are disposed of after the test, waits, checks.</summary>
public abstract partial class Fixture
{
    private readonly List<IDisposable> _owned = [];

    /// <summary>Why a test with a deadline cannot tell anything.</summary>
    protected const string MachinePaused = "needs a machine that does not pause for seconds while a deadline runs";

    /// <summary>The connections and programs of this test.</summary>
    protected static TestScope? Scope => ClauseAttribute.CurrentScope;

    /// <summary>Disposes of a thing when the test ends, and shows it if the test fails.</summary>
    protected T Own<T>(T thing) where T : IDisposable
    {
        lock (_owned)
        {
            _owned.Add(thing);
        }

        switch (thing)
        {
            case ProtocolConnection connection:
                Scope?.Add(connection);
                break;
            case ChildProgram program:
                Scope?.Add(program);
                break;
            case RunningServer server:
                Scope?.Add(server);
                break;
        }

        return thing;
    }

    protected static void Repeat(int times, Action action)
    {
        for (int i = 0; i < times; i++)
        {
            action();
        }
    }

    /// <summary>Waits for what happens by itself a moment later, and no longer than necessary.</summary>
    /// <param name="condition">Says whether it has happened.</param>
    /// <param name="otherwise">The failure if it does not: "expected  …\nreceived  …", or words.</param>
    /// <param name="breaks">The id of the paragraph that is broken, if it is not the first one of the test.</param>
    protected static void Eventually(Func<bool> condition, string otherwise, string? breaks = null) =>
        Eventually(condition, () => otherwise, breaks);

    protected static void Eventually(Func<bool> condition, Func<string> otherwise, string? breaks = null)
    {
        for (var clock = Stopwatch.StartNew(); !condition(); Thread.Sleep(10))
        {
            if (clock.ElapsedMilliseconds > 5 * RunSettings.Patience)
            {
                throw new FailedCheck(Failure.From(otherwise()) with { Sentence = breaks });
            }
        }
    }

    protected string NewFolder(string kind = "files")
    {
        string folder = TestFolders.New(kind);
        Own(new Cleanup(() => TestFolders.Delete(folder)));
        return folder;
    }

    private sealed class Cleanup(Action action) : IDisposable { public void Dispose() => action(); }

    [TearDown]
    public void DisposeOwned()
    {
        if (TestContext.CurrentContext.Result.Outcome.Status == TestStatus.Failed)
        {
            Scope?.FreezeOutput();
        }

        for (int i = _owned.Count - 1; i >= 0; i--)
        {
            _owned[i].Dispose();
        }

        _owned.Clear();
    }
}
