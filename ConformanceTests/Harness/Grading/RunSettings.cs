namespace ConformanceTests.Harness.Grading;

/// <summary>The settings of this run, from the environment.</summary>
internal static class RunSettings
{
    public static readonly string Root = Repository.Root;

    // The implementation under test; empty is the reference.  Where only one half is given, only that half is tested.
    public static readonly string Server = Variable("SERVER");
    public static readonly string Client = Variable("CLIENT");

    public static bool TestsServer => Server != "" || Client == "";

    public static bool TestsClient => Client != "" || Server == "";

    public static bool IsReference => Server == "" && Client == "";

    // Whether the server sees its folder through Windows: make windows says so.
    public static readonly bool OnWindows = Variable("ON_WINDOWS") == "1" || OperatingSystem.IsWindows();

    // Another build of the reference in its place, and another folder for what the run writes: for mutants.
    public static readonly string Program =
        Variable("PROGRAM", or: Path.Combine(Root, "bin", "Release", "net10.0", "ImageTransfer.dll"));
    public static readonly string ReportFolder =
        Variable("REPORT", or: Path.Combine(Root, "ConformanceTests"));

    // Where the commands are to be understood and servers are started, and whether only what failed before is asked
    // again, the rest of the report being kept: for classes.
    public static readonly string Here = Variable("HERE", or: Root);
    public static readonly bool Again = Variable("AGAIN") == "1";

    // A run may have a limit in minutes: a test that is not reached by then is not run.
    public static readonly int Minutes = Number("MINUTES", or: 0);
    private static readonly Stopwatch _clock = Stopwatch.StartNew();

    public static bool TimeIsUp => Minutes > 0 && _clock.Elapsed.TotalMinutes > Minutes;

    // One failure is enough, and what comes after it is not run: for mutants.
    public static readonly bool OneIsEnough = Variable("ONE_IS_ENOUGH") == "1";

    // Only a part: QUICK=1 leaves out what waits long or moves much; CLAUSE="GET-1 PUT-2" names sentences; TESTS is a
    // regular expression for names of tests.
    public static readonly bool Quick = Variable("QUICK") == "1";
    public static readonly string[] OnlyClauses =
        Variable("CLAUSE").Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
    public static readonly string OnlyTests = Variable("TESTS");

    // One stage alone, or all of them up to one; 0 means all.
    public static readonly int Stage = Number("STAGE", or: 0);
    public static readonly int UpToStage = Number("UP_TO_STAGE", or: 0);
    public static readonly bool Strict = Variable("STRICT") == "1";
    public static readonly int Seed = Number("SEED", or: 1);

    public static int Number(string name, int or) => int.TryParse(Variable(name), out int number) ? number : or;

    public static readonly double TimeoutScale =
        double.TryParse(Variable("TIMEOUT_SCALE"), CultureInfo.InvariantCulture, out double scale) ? scale : 1;

    public static int Patience => Waits.Longest;

    public static int Milliseconds(double unscaled) => Waits.Scaled(unscaled);

    private static string Variable(string name, string or = "") =>
        Environment.GetEnvironmentVariable(name)?.Trim() is { Length: > 0 } value ? value : or;
}
