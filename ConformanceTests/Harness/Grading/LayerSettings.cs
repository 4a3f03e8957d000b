using System.Runtime.CompilerServices;

namespace ConformanceTests.Harness.Grading;

/// <summary>Gives each layer its settings: none of them reads the environment.</summary>
internal static class LayerSettings
{
    [ModuleInitializer]
    public static void Apply()
    {
        Notation.Seed = RunSettings.Seed;
        Waits.Scale = RunSettings.TimeoutScale;
        ProgramSettings.Server = RunSettings.Server;
        ProgramSettings.Client = RunSettings.Client;
        ProgramSettings.ReferenceDll = RunSettings.Program;
        ProgramSettings.WorkingFolder = RunSettings.Here;
        ProgramSettings.OnWindows = RunSettings.OnWindows;
        NotLookedAt.NewException = why => new IgnoreException(why);
        ReportSettings.Folder = RunSettings.ReportFolder;
        ReportSettings.Server = RunSettings.Server;
        ReportSettings.Client = RunSettings.Client;
        ReportSettings.Stage = RunSettings.Stage;
        ReportSettings.Seed = RunSettings.Seed;
        ReportSettings.Strict = RunSettings.Strict;
        ReportSettings.RepeatFailedOnly = RunSettings.Again;
    }
}
