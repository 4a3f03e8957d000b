namespace ConformanceTests.Torture;

/// <summary>
/// `make torture`: how many rounds each test runs, and torture.txt, to which each test adds a line with its figures.
/// SEED=2 chooses other moments and other bytes. ROUNDS=0.1 does a tenth of everything, ROUNDS=10 ten times as
/// much; 1 takes about four minutes on two cores.
/// </summary>
internal static class TortureReport
{
    private static readonly string _scale = Environment.GetEnvironmentVariable("ROUNDS") ?? "1";
    public static readonly double Rounds =
        double.TryParse(_scale, CultureInfo.InvariantCulture, out double number) ? number : 1;
    private static readonly string _report = Path.Combine(RunSettings.Root, "ConformanceTests", "torture.txt");

    static TortureReport() =>               // once in a run, before the first line
        File.WriteAllText(
            _report, FormattableString.Invariant($"seed {RunSettings.Current.Seed}, rounds x {Rounds}\n"));

    /// <summary>The tool that makes system calls fail, take long, or kill the program.</summary>
    public const string Strace = "/usr/bin/strace";

    /// <summary>Ends a test of these promises if there is no strace, and notes that.</summary>
    public static void RequireStrace(string promises)
    {
        if (!File.Exists(Strace))
        {
            Say(promises, "skipped: no strace");
            Skip.Because("needs strace");
        }
    }

    /// <summary>Checks a figure that depends on the machine and on what else runs on it. With ROUNDS below 1, the
    /// figure is only printed: a few rounds show that the tests still work, but nothing about time.</summary>
    public static void MustBeBelow(double limit, double figure, string what)
    {
        if (Rounds >= 1)
        {
            Assert.That(figure, Is.LessThan(limit), what);
        }
    }

    public static int Times(int count) => Math.Max(1, (int)(count * Rounds));

    public static void Say(string promises, string figures)
    {
        string line = $"{promises,-11} {figures}";
        Screen.WriteLine(line);
        File.AppendAllText(_report, line + "\n");
    }
}
