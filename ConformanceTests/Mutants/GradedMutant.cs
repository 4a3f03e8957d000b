namespace ConformanceTests.Mutants;

/// <summary>Which programs of a mutant are graded.</summary>
[Flags]
public enum Halves
{
    Server = 1,
    Client = 2,
    Both = Server | Client,
}

/// <summary>
/// The program with a mistake, built in a folder of its own. The runs that grade it have their temporary folder
/// there, too, so they leave nothing behind.
/// </summary>
public sealed class GradedMutant : IDisposable
{
    private static readonly TimeSpan _limit = TimeSpan.FromMilliseconds(RunSettings.Milliseconds(300_000));
    private static readonly SemaphoreSlim _builds = new(Environment.ProcessorCount);
    private static readonly HashSet<Process> _running = [];
    private static readonly TimeSpan _timeToStop = TimeSpan.FromSeconds(20);
    private static volatile bool _isStopped;
    private static int _folders;

    private readonly Mutant? _mutant;
    private readonly string _folder;

    /// <summary>Builds the program.</summary>
    /// <param name="mutant">The mistake, or null for the program as it is.</param>
    public GradedMutant(Mutant? mutant)
    {
        if (_isStopped)
        {
            throw new MutantException("was stopped");
        }

        Interlocked.Increment(ref _folders);
        _folder = TestFolders.New("mutant");
        _mutant = mutant;
        Directory.CreateDirectory(TemporaryFolder);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);    // another user starts it in some tests
        }

        _builds.Wait();
        try
        {
            MutantBuild.Write(mutant, _folder);
        }
        catch
        {
            Dispose();
            throw;
        }
        finally
        {
            _builds.Release();
        }
    }

    private string Program => Path.Combine(_folder, "ImageTransfer.dll");

    private string TemporaryFolder => Path.Combine(_folder, "tmp");

    /// <summary>Ends all graded runs, starts no more, and waits until their folders are removed.</summary>
    public static void StopAll()
    {
        lock (_running)
        {
            _isStopped = true;
            foreach (Process run in _running)
            {
                run.Kill(entireProcessTree: true);
            }
        }

        SpinWait.SpinUntil(() => Volatile.Read(ref _folders) == 0, _timeToStop);
    }

    /// <summary>Runs tests of the program until the first of them fails.</summary>
    /// <param name="clauses">The ids of the clauses whose tests are run.</param>
    /// <param name="tests">A regular expression for the names of the tests, or "" for all.</param>
    /// <param name="halves">What is graded. A mutant that is graded as the reference always has both.</param>
    /// <returns>The test that failed, or null if none did.</returns>
    public async Task<string?> FirstFailureAsync(string clauses, string tests, Halves halves)
    {
        using Process run = Start(clauses, tests, halves, _mutant is { AsReference: true }, oneIsEnough: true);
        Task<string> errors = run.StandardError.ReadToEndAsync();
        var output = new StringBuilder();
        using var limit = new CancellationTokenSource(_limit);
        try
        {
            while (await run.StandardOutput.ReadLineAsync(limit.Token) is { } line)
            {
                if (line.StartsWith(Screen.FirstFailure))
                {
                    return line[Screen.FirstFailure.Length..];
                }

                output.AppendLine(line);
            }

            await run.WaitForExitAsync(limit.Token);
            return run.ExitCode == 0
                ? null
                : throw new MutantException($"nothing was tested\n{output}{await errors}");
        }
        catch (OperationCanceledException)
        {
            throw new MutantException($"the run did not end within {_limit.TotalMinutes:0} minutes");
        }
        finally
        {
            End(run);
        }
    }

    /// <summary>Runs tests of the program, even after one has failed.</summary>
    /// <param name="tests">A regular expression for the names of the tests.</param>
    /// <param name="asReference">Whether tests of the program's own options are run, too.</param>
    /// <returns>The names of those that failed.</returns>
    public async Task<string[]> FailuresAsync(string tests, bool asReference)
    {
        await RunAsync(tests, asReference);
        ReportFile report = ReportFile.Read(Path.Combine(_folder, "report.json"))
            ?? throw new MutantException("the run wrote no report");
        return [.. report.Verdicts.Where(verdict => verdict.IsWrong)
            .Select(verdict => $"{verdict.Fixture}.{verdict.Test}")];
    }

    /// <summary>Plays all transcripts with the program.</summary>
    /// <returns>The report.</returns>
    public async Task<string> ReportAsync()
    {
        await RunAsync(@"Transcripts\.", asReference: true);
        return await File.ReadAllTextAsync(Path.Combine(_folder, "report.txt"));
    }

    private async Task RunAsync(string tests, bool asReference)
    {
        using Process run = Start("", tests, Halves.Both, asReference, oneIsEnough: false);
        using var limit = new CancellationTokenSource(_limit);
        try
        {
            await Task.WhenAll(
                run.StandardOutput.ReadToEndAsync(limit.Token), run.StandardError.ReadToEndAsync(limit.Token));
        }
        finally
        {
            End(run);
        }
    }

    public void Dispose()
    {
        TestFolders.Remove(_folder);
        Interlocked.Decrement(ref _folders);
    }

    private static void End(Process run)
    {
        lock (_running)
        {
            _running.Remove(run);
            run.Kill(entireProcessTree: true);
        }

        run.WaitForExit();
    }

    private Process Start(string clauses, string tests, Halves halves, bool asReference, bool oneIsEnough)
    {
        var start = SuiteProcess.In(
            _folder, ("TMPDIR", TemporaryFolder), ("CLAUSE", clauses), ("TESTS", tests),
            ("ONE_IS_ENOUGH", oneIsEnough ? "1" : ""));
        if (asReference)
        {
            start.Environment["PROGRAM"] = Program;
        }
        else
        {
            string server = CommandTemplates.ReferenceServer($"dotnet {Program}");
            string client = CommandTemplates.ReferenceClient($"dotnet {Program}");
            start.Environment["SERVER"] = halves.HasFlag(Halves.Server) ? server : "";
            start.Environment["CLIENT"] = halves.HasFlag(Halves.Client) ? client : "";
        }

        lock (_running)
        {
            if (_isStopped)
            {
                throw new MutantException("was stopped");
            }

            var run = Process.Start(start)!;
            _running.Add(run);
            return run;
        }
    }
}
