using ConformanceTests.SelfTests;
using NUnit.Framework.Interfaces;

namespace ConformanceTests.Mutants;

/// <summary>
/// Grades mutants, several at a time. The test that caught a mutant the last time runs first. The other tests of the
/// clause run only if that one passes.
/// </summary>
/// <remarks>The table of which test caught which mutant is a snapshot.</remarks>
public sealed class MutantRun
{
    private const string Separator = " <- ";

    // The tests of these clauses, and slow tests, mostly wait for a deadline. So many of them can run at the same time
    // as tests that use the processor.
    private static readonly Regex _clausesThatWait = new("^(LIMIT-|P8$|P12$|CLI-9$|CLOSE-|SEAL-4$)");
    private const int WaitingAtOnce = 8;

    private readonly SemaphoreSlim _working = new(Environment.ProcessorCount);
    private readonly SemaphoreSlim _waiting = new(WaitingAtOnce);
    private readonly ILookup<string, ITest> _testsOfClause;
    private readonly SortedDictionary<string, string> _caughtBy = new(CaughtBy(), StringComparer.Ordinal);
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private int _done;

    /// <summary>Finds the tests.</summary>
    public MutantRun() =>
        _testsOfClause = TestSelection.Leaves(SuiteRun.Find())
            .SelectMany(test => TestSelection.CategoriesOf(test).Select(id => (Id: id, Test: test)))
            .ToLookup(pair => pair.Id, pair => pair.Test);

    /// <summary>How many mutants were caught, and how many tests that caught some pass without a mistake.</summary>
    public int Passed { get; private set; }

    /// <summary>How many mutants live or cannot be graded, and how many tests fail without a mistake.</summary>
    public int Failed { get; private set; }

    private static string Snapshot => Path.Combine(SnapshotSettings.Folder, $"{nameof(MutantRun)}.{nameof(CaughtBy)}");

    /// <summary>Reads which test caught which mutant the last time.</summary>
    /// <returns>The name of a test for each name of a mutant.</returns>
    public static Dictionary<string, string> CaughtBy()
    {
        string file = $"{Snapshot}.verified.txt";
        return !File.Exists(file) ? []
            : File.ReadLines(file).Select(line => line.Split(Separator)).ToDictionary(row => row[0], row => row[1]);
    }

    /// <summary>Grades mutants. Then runs the tests that caught them over the program without a mistake.</summary>
    /// <param name="mutants">The mutants.</param>
    public async Task RunAsync(IReadOnlyList<Mutant> mutants)
    {
        // The mutants whose tests wait start first, so that the others run in the meantime.
        var tasks = mutants
            .OrderByDescending(Waits)
            .Select(mutant => Task.Run(() => GradeAsync(mutant, mutants.Count)));
        await Task.WhenAll(tasks);
        await ControlAsync(mutants);
    }

    /// <summary>Compares the table of which test caught which mutant with the snapshot.</summary>
    /// <param name="isComplete">Whether all mutants were graded: then those that are gone leave the table.</param>
    /// <returns>Whether nothing has changed.</returns>
    public bool MatchesSnapshot(bool isComplete)
    {
        var names = MutantList.All.Select(mutant => mutant.Name).ToHashSet();
        string table = string.Concat(_caughtBy
            .Where(row => !isComplete || names.Contains(row.Key))
            .Select(row => $"{row.Key}{Separator}{row.Value}\n"));
        string verified = $"{Snapshot}.verified.txt";
        string received = $"{Snapshot}.received.txt";
        File.Delete(received);
        if (File.Exists(verified) && File.ReadAllText(verified).ReplaceLineEndings("\n") == table)
        {
            return true;
        }

        File.WriteAllText(received, table);
        return false;
    }

    private bool Waits(Mutant mutant) =>
        _clausesThatWait.IsMatch(mutant.KilledBy) || TestSelection.IsOf(KnownTest(mutant), TestSelection.Slow);

    // The test that caught it the last time, if there still is one of that name.
    private ITest? KnownTest(Mutant mutant)
    {
        lock (_caughtBy)
        {
            string? name = _caughtBy.GetValueOrDefault(mutant.Name);
            return _testsOfClause[mutant.KilledBy].FirstOrDefault(test => TestSelection.NameOf(test) == name);
        }
    }

    private static Halves HalfOf(ITest test) =>
        typeof(ClientFixture).IsAssignableFrom(test.Method!.TypeInfo.Type) ? Halves.Client : Halves.Server;

    private static string Only(params string[] tests) => $"^({string.Join('|', tests.Select(Regex.Escape))})$";

    private async Task GradeAsync(Mutant mutant, int count)
    {
        SemaphoreSlim slots = Waits(mutant) ? _waiting : _working;
        await slots.WaitAsync();
        try
        {
            using var graded = new GradedMutant(mutant);
            string? caughtBy = await FirstFailureAsync(mutant, graded);
            Tell(mutant, count, caughtBy is null ? "LIVES " : "caught", caughtBy is null ? "" : $" by {caughtBy}");
            Note(mutant, caughtBy);
        }
        catch (MutantException e)
        {
            Tell(mutant, count, "ERROR ", $": {e.Message}");
            Note(mutant, caughtBy: null);
        }
        finally
        {
            slots.Release();
        }
    }

    private void Note(Mutant mutant, string? caughtBy)
    {
        lock (_caughtBy)
        {
            if (caughtBy is not null)
            {
                Passed++;
                _caughtBy[mutant.Name] = caughtBy;
            }
            else
            {
                Failed++;
                _caughtBy.Remove(mutant.Name);
            }
        }
    }

    private async Task<string?> FirstFailureAsync(Mutant mutant, GradedMutant graded)
    {
        ITest[] tests = [.. _testsOfClause[mutant.KilledBy]];
        if (tests is [])
        {
            throw new MutantException($"no test is about {mutant.KilledBy}");
        }

        if (KnownTest(mutant) is { } known)
        {
            string only = Only(TestSelection.NameOf(known));
            string? caughtBy = await graded.FirstFailureAsync(mutant.KilledBy, only, HalfOf(known));
            if (caughtBy is not null)
            {
                return caughtBy;
            }
        }

        Halves halves = tests.Aggregate((Halves)0, (all, test) => all | HalfOf(test));
        return await graded.FirstFailureAsync(mutant.KilledBy, "", halves);
    }

    // A test that also fails without a mistake has caught nothing.
    private async Task ControlAsync(IReadOnlyList<Mutant> mutants)
    {
        var caught = mutants.Where(mutant => _caughtBy.ContainsKey(mutant.Name));
        foreach (var kind in caught.GroupBy(mutant => mutant.AsReference))
        {
            var names = kind.Select(mutant => _caughtBy[mutant.Name]).Distinct().ToArray();
            using var graded = new GradedMutant(null);
            string[] failed = await graded.FailuresAsync(Only(names), kind.Key);
            foreach (string test in failed)
            {
                Screen.WriteLine($"FAILED {test} also fails without a mistake.");
            }

            Passed += names.Length - failed.Length;
            Failed += failed.Length;
        }
    }

    private void Tell(Mutant mutant, int count, string fate, string why) =>
        Screen.WriteLine($"{_clock.Elapsed.TotalSeconds,4:0} s {Interlocked.Increment(ref _done),4}/{count} "
            + $"{fate} [{mutant.KilledBy}] {mutant.Name}{why}");
}
