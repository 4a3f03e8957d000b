namespace ConformanceTests.Harness.Programs;

/// <summary>Which programs are tested, and how they are started: settings of the run.</summary>
public static class ProgramSettings
{
    /// <summary>The command of the server under test; empty is the reference.</summary>
    public static string Server { get; set; } = "";

    /// <summary>The command of the client under test; empty is the reference.</summary>
    public static string Client { get; set; } = "";

    /// <summary>The reference: the program of this repository, or a mutant of it.</summary>
    public static string ReferenceDll { get; set; } = "";

    /// <summary>Where the commands are to be understood, and servers are started.</summary>
    public static string WorkingFolder { get; set; } = "";

    /// <summary>Whether the server sees its folder through Windows.</summary>
    public static bool OnWindows { get; set; }

    /// <summary>Where only one half is given, only that half is tested.</summary>
    public static bool TestsServer => Server != "" || Client == "";

    public static bool TestsClient => Client != "" || Server == "";

    public static bool IsReference => Server == "" && Client == "";
}
