using System.Reflection;

namespace ConformanceTests.Harness.Specification;

/// <summary>
/// The settings of a run. Grading reads them from the environment variables in the README. Every layer may use them.
/// </summary>
/// <param name="variable">Returns the value of a variable, or null.</param>
public sealed class RunSettings(Func<string, string?> variable)
{
    /// <summary>The settings of this run.</summary>
    public static RunSettings Current { get; set; } = new(_ => null);

    /// <summary>The folder of the repository.</summary>
    public static readonly string Root = typeof(RunSettings).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "Root").Value!;

    private readonly Stopwatch _clock = Stopwatch.StartNew();

    // ---- what is tested ----

    /// <summary>The command of the server under test; empty is the program of this repository.</summary>
    public string Server => Text("SERVER");

    /// <summary>The command of the client under test; empty is the program of this repository.</summary>
    public string Client => Text("CLIENT");

    public bool IsReference => Server == "" && Client == "";

    /// <summary>If only one half is given, only that half is tested.</summary>
    public bool TestsServer => Server != "" || IsReference;

    public bool TestsClient => Client != "" || IsReference;

    /// <summary>Whether the server uses its folder through Windows, or through Wine (`make windows`).</summary>
    public bool OnWindows => Flag("ON_WINDOWS") || OperatingSystem.IsWindows();

    /// <summary>The program of this repository: an assembly (.dll), or a native file.</summary>
    public string ReferenceFile => Path.GetFullPath(
        Text("PROGRAM", or: Path.Combine(Root, "bin", "Release", "net10.0", "ImageTransfer.dll")));

    /// <summary>The folder in which the commands are started. For a class, it is the student's folder.</summary>
    public string WorkingFolder => Text("HERE", or: Root);

    // ---- which tests ----

    /// <summary>The only stage that is run; 0 means all.</summary>
    public int Stage => Number("STAGE", or: 0);

    /// <summary>The last stage that is run; 0 means all.</summary>
    public int UpToStage => Number("UP_TO_STAGE", or: 0);

    /// <summary>Leaves out the slow tests.</summary>
    public bool Quick => Flag("QUICK");

    /// <summary>The ids of the only paragraphs that are tested.</summary>
    public string[] OnlyClauses => Text("CLAUSE").Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A regular expression for the names of the only tests that are run.</summary>
    public string OnlyTests => Text("TESTS");

    /// <summary>Whether only some of the tests are run, so that a paragraph without one says nothing.</summary>
    public bool IsOfAPart => Stage + UpToStage > 0 || OnlyClauses.Length > 0 || OnlyTests != "";

    /// <summary>Repeats only what failed before, and keeps the rest of the report: for classes.</summary>
    public bool RepeatFailedOnly => Flag("AGAIN");

    /// <summary>Stops at the first failure: for mutants.</summary>
    public bool OneIsEnough => Flag("ONE_IS_ENOUGH");

    // ---- how ----

    /// <summary>How many minutes a run may take; 0 means any. A test that is not reached by then is not run.</summary>
    public int Minutes => Number("MINUTES", or: 0);

    public bool TimeIsUp => Minutes > 0 && _clock.Elapsed.TotalMinutes > Minutes;

    /// <summary>Whether SHOULD counts, too.</summary>
    public bool Strict => Flag("STRICT");

    /// <summary>The seed of the random contents of the pictures.</summary>
    public int Seed => Number("SEED", or: 1);

    /// <summary>The folder to which the run writes its report.</summary>
    public string ReportFolder => Text("REPORT", or: Path.Combine(Root, "ConformanceTests"));

    /// <summary>
    /// How many milliseconds the suite waits before that is a failure. A test that passes waits much less.
    /// </summary>
    public static int Patience => Milliseconds(6_000);

    /// <summary>Returns a time multiplied by TIMEOUT_SCALE, for slow machines.</summary>
    public static int Milliseconds(double unscaled) => (int)(unscaled * Current._scale);

    private readonly double _scale =
        double.TryParse(variable("TIMEOUT_SCALE"), CultureInfo.InvariantCulture, out double scale) ? scale : 1;

    public int Number(string name, int or) => int.TryParse(Text(name), out int number) ? number : or;

    private bool Flag(string name) => Text(name) == "1";

    private string Text(string name, string or = "") =>
        variable(name)?.Trim() is { Length: > 0 } value ? value : or;
}
