namespace ConformanceTests.Report;

/// <summary>What the report is about and where it goes: settings of the run.</summary>
public static class ReportSettings
{
    public static string Folder { get; set; } = "";

    /// <summary>The command of the server under test; empty is the reference.</summary>
    public static string Server { get; set; } = "";

    /// <summary>The command of the client under test; empty is the reference.</summary>
    public static string Client { get; set; } = "";

    /// <summary>The only stage that is run, or 0.</summary>
    public static int Stage { get; set; }

    public static int Seed { get; set; } = 1;

    /// <summary>SHOULD counts, too.</summary>
    public static bool Strict { get; set; }

    /// <summary>Only what failed before is asked again, and the rest of the report is kept.</summary>
    public static bool RepeatFailedOnly { get; set; }

    public static bool TestsServer => Server != "" || Client == "";

    public static bool TestsClient => Client != "" || Server == "";

    public static bool IsReference => Server == "" && Client == "";
}
