namespace ConformanceTests.Mutants;

/// <summary>The suite as a process of its own, which grades another program.</summary>
internal static class SuiteProcess
{
    // Settings of this run that the other one must not inherit.
    private static readonly string[] _notInherited =
    [
        "SERVER", "CLIENT", "STAGE", "UP_TO_STAGE", "STRICT", "QUICK", "CLAUSE", "TESTS", "AGAIN", "ONE_IS_ENOUGH",
        "MINUTES", "HERE", "PROGRAM", "SEED",
    ];

    /// <summary>Returns what starts it.</summary>
    /// <param name="folder">Where it runs, and where its report goes.</param>
    /// <param name="settings">Its settings.</param>
    public static ProcessStartInfo In(string folder, params (string Name, string Value)[] settings)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(SuiteProcess).Assembly.Location, "test"])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (string name in _notInherited)
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in settings.Append(("REPORT", folder)))
        {
            start.Environment[name] = value;
        }

        return start;
    }

    /// <summary>Runs it to its end.</summary>
    /// <returns>What it has printed.</returns>
    /// <exception cref="TimeoutException">It has not ended after five minutes.</exception>
    public static string Run(ProcessStartInfo start)
    {
        using Process run = Process.Start(start)!;
        Task<string> output = run.StandardOutput.ReadToEndAsync();
        Task<string> errors = run.StandardError.ReadToEndAsync();
        if (!run.WaitForExit(TimeSpan.FromMinutes(5)))
        {
            run.Kill(entireProcessTree: true);
            throw new TimeoutException("the suite does not end");
        }

        return output.Result + errors.Result;
    }
}
