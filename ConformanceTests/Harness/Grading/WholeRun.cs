using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests;

/// <summary>Begins and ends a run.</summary>
[SetUpFixture]
public sealed class WholeRun
{
    [OneTimeSetUp]
    public void CheckThatProgramsStart()
    {
        TestFolders.RemoveLeftOvers();
        RunReport.Begin(Planned(), CommandTemplates.Files());
        try
        {
            if (RunSettings.Current.TestsServer)
            {
                using (new RunningServer())
                {
                }
            }

            if (RunSettings.Current.TestsClient)
            {
                CheckThatTheClientConnects();
            }
        }
        catch (Violation violation)                     // without this, every test would fail for the same reason
        {
            RunReport.CannotStart(violation.Message);
            throw;
        }
    }

    // How many tests of each stage will run.
    private static Dictionary<int, int> Planned() =>
        TestSelection.Leaves(TestExecutionContext.CurrentContext.CurrentTest)
            .Where(test => IsRunnable(test) && TestSelection.Current?.Match(test) != false)
            .Select(ClauseAttribute.StageOf).Where(stage => stage > 0)
            .GroupBy(stage => stage).ToDictionary(group => group.Key, group => group.Count());

    private static bool IsRunnable(ITest? test) =>
        test is null || test.RunState == RunState.Runnable && IsRunnable(test.Parent);

    private static void CheckThatTheClientConnects()
    {
        using Socket listener = TranscriptPlayer.Listen();
        int port = TranscriptPlayer.PortOf(listener);
        using var client = TranscriptPlayer.StartClient(Path.GetTempPath(), port, "LIST");
        try
        {
            using (TranscriptPlayer.Accept(listener, Delivery.Whole, scope: null))
            {
            }
        }
        catch (Violation)
        {
            client.Kill();
            throw new Violation("The client was started as below, and did not connect to 127.0.0.1.\n"
                + $"  {CommandTemplates.ClientTemplate}\n{client.Said()}");
        }
    }

    [OneTimeTearDown]
    public void End()
    {
        ServerFixture.EndIdleServers();
        SealedFixture.EndSealedServers();
        ChildProgram.KillAll();
        RunReport.Write(WindowsLimits.Report());
    }
}
