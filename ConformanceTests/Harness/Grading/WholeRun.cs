using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Programs;
using ConformanceTests.Harness.Wire;
using ConformanceTests.Report;
using NUnit.Framework.Internal;

namespace ConformanceTests;

/// <summary>Begins and ends a run.</summary>
[SetUpFixture]
public sealed class WholeRun
{
    [OneTimeSetUp]
    public void CheckThePlug()
    {
        SmallDisk.RemoveLeftOvers();
        RunReport.Begin(TestExecutionContext.CurrentContext.CurrentTest);
        try
        {
            if (RunSettings.TestsServer)
            {
                using (new RunningServer())
                {
                }
            }

            if (RunSettings.TestsClient)
            {
                CheckThatTheClientConnects();
            }
        }
        catch (Violation violation)                     // one message, not as many as there are tests
        {
            RunReport.CannotStart(violation.Message);
            throw;
        }
    }

    private static void CheckThatTheClientConnects()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        int port = ((IPEndPoint)listener.LocalEndPoint!).Port;
        using var client = TranscriptPlayer.StartClient(Path.GetTempPath(), port, "LIST");
        try
        {
            using (TranscriptPlayer.Accept(listener, Delivery.Whole))
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
        RunReport.Write();
    }
}
