namespace ConformanceTests.Class;

/// <summary>
/// `make class`: grades each student's program as `make test` would, several at a time. For each student the
/// suite is started as a process of its own.
/// </summary>
public sealed class GradeClass : ISuiteCommand
{
    private static readonly string _folder = Path.Combine(RunSettings.Current.ReportFolder, "class");

    // A run mostly waits, so more of them than there are cores can run at the same time.
    private static readonly int _atOnce = RunSettings.Current.Number("AT_ONCE", or: Environment.ProcessorCount * 3 / 2);

    // For each run, and the same time again to repeat what failed.
    private static readonly int _minutes =
        RunSettings.Current.Minutes > 0 ? RunSettings.Current.Minutes : RunSettings.Milliseconds(2);

    // A command before each graded run, such as a container.
    private static readonly string _inside = Environment.GetEnvironmentVariable("INSIDE") ?? "";

    private static readonly HashSet<Process> _running = [];

    public string Name => "class";

    public string Help => "grades the programs in the folders that are named";

    public async Task<int> RunAsync(string[] folders)
    {
        if (folders.Length == 0)
        {
            Console.Error.WriteLine("Whose programs? For example: make class STUDENTS='students/*/'");
            return 2;
        }

        using var interruption = new Interruption(StopAll);
        if (Directory.Exists(_folder))
        {
            Directory.Delete(_folder, true);
        }

        var students = Named(folders).Select(one => Student.In(one.Name, one.Folder)).ToArray();
        Console.WriteLine($"{students.Length} to grade, {Math.Min(_atOnce, students.Length)} at a time");

        var grades = new Grade[students.Length];
        int done = 0;
        var several = new ParallelOptions { MaxDegreeOfParallelism = Math.Max(1, _atOnce) };
        await Parallel.ForEachAsync(students.Index(), several, async (one, _) =>
        {
            var grade = grades[one.Index] = await GradeOf(one.Item);
            Console.WriteLine($"{Interlocked.Increment(ref done),3}/{students.Length}  {ClassText.Line(grade)}");
        });

        string text = ClassText.Of(grades);
        Console.Write($"\n{text}");
        File.WriteAllText(Path.Combine(RunSettings.Current.ReportFolder, "class.txt"), text);
        File.WriteAllText(Path.Combine(RunSettings.Current.ReportFolder, "class.csv"), ClassText.Csv(grades));
        File.WriteAllText(Path.Combine(RunSettings.Current.ReportFolder, "class.html"), ClassHtml.Of(grades));
        return 0;
    }

    // A student's name is the last part of the path, or the whole path if another one ends in the same way.
    private static IEnumerable<(string Name, string Folder)> Named(string[] folders)
    {
        string[] all =
            [.. folders.Select(path => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path))).Distinct()];
        string Last(string path) => Path.GetFileName(path);

        return all.Select(path => (all.Count(other => Last(other) == Last(path)) == 1
            ? Last(path)
            : path.Trim(Path.DirectorySeparatorChar).Replace(Path.DirectorySeparatorChar, '-'), path));
    }

    private static async Task<Grade> GradeOf(Student student)
    {
        var clock = Stopwatch.StartNew();
        string report = Path.Combine(_folder, student.Name);
        string json = Path.Combine(report, "report.json");
        Directory.CreateDirectory(report);
        Grade GradeWith(Verdict[] marks, string[] races, string whyNot) =>
            new(student, marks, races, whyNot.Trim(), clock.Elapsed);

        if (student.Wrong != "")
        {
            return GradeWith([], [], student.Wrong);
        }

        if (student.Build != "")
        {
            var built = await Run(student, report, ["sh", "-c", student.Build], again: false);
            if (built.Exit != 0)
            {
                return GradeWith([], [], $"It was not built:\n  {student.Build}\n{LastOf(built.Said)}");
            }
        }

        string[] suite = ["dotnet", typeof(GradeClass).Assembly.Location, "test"];
        var first = await Run(student, report, suite, again: false);
        var marks = ReportFile.Read(json)?.Verdicts;
        if (marks is null && clock.Elapsed.TotalMinutes < _minutes)      // an overloaded machine may start it late
        {
            first = await Run(student, report, suite, again: false);
            marks = ReportFile.Read(json)?.Verdicts;
        }

        if (marks is null)
        {
            return GradeWith([], [], WhyNot(report, first.Said));
        }

        if (!marks.Any(mark => mark.HasFailed))
        {
            return GradeWith(marks, [], "");
        }

        // A failure is repeated before it counts.
        File.Copy(json, Path.Combine(report, "first.json"));
        await Run(student, report, suite, again: true);
        var second = ReportFile.Read(json)?.Verdicts ?? marks;
        var failed = second.Where(mark => mark.HasFailed).Select(mark => mark.Test).ToHashSet();
        var asked = marks.Where(mark => mark.HasFailed && !mark.Message.Contains(PreviousRun.NotReached));
        string[] races = [.. asked.Select(mark => mark.Test).Where(test => !failed.Contains(test))];
        return GradeWith(second, races, "");
    }

    private static string WhyNot(string report, string said)
    {
        string text = Path.Combine(report, "report.txt");
        if (!File.Exists(text))
        {
            return $"The suite did not finish.\n{LastOf(said)}";
        }

        return File.ReadAllText(text).Replace("Nothing was tested.", "");
    }

    private static string LastOf(string said) =>
        string.Join('\n', said.Split('\n', StringSplitOptions.RemoveEmptyEntries).TakeLast(40));

    private static async Task<(int Exit, string Said)> Run(Student student, string report, string[] command, bool again)
    {
        var before = CommandTemplates.Words(_inside, ("folder", student.Folder), ("report", report));
        string[] words = [.. before, .. command];
        var start = new ProcessStartInfo(words[0], words[1..])
        {
            WorkingDirectory = student.Folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["SERVER"] = student.Server;
        start.Environment["CLIENT"] = student.Client;
        start.Environment["HERE"] = student.Folder;
        start.Environment["REPORT"] = report;
        start.Environment["MINUTES"] = $"{_minutes}";
        start.Environment["AGAIN"] = again ? "1" : "";
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (-1, e.Message);
        }

        using (process)
        {
            lock (_running)
            {
                _running.Add(process);
            }

            process.StandardInput.Close();
            var output = process.StandardOutput.ReadToEndAsync();
            var errors = process.StandardError.ReadToEndAsync();
            // The suite ends by itself, unless it hangs.
            using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(2 * _minutes + 1));
            bool late = false;
            try
            {
                await process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                late = true;
                process.Kill(true);
                await process.WaitForExitAsync();
            }

            lock (_running)
            {
                _running.Remove(process);
            }

            // A program that still runs may keep the pipes open. Then this does not wait for the rest of the output.
            var said = Task.WhenAll(output, errors);
            bool ended = await Task.WhenAny(said, Task.Delay(RunSettings.Patience)) == said;
            string text = ended ? $"{output.Result}{errors.Result}" : "";
            return late
                ? (-1, $"{text}\nIt did not end within {2 * _minutes + 1} minutes.")
                : (process.ExitCode, text);
        }
    }

    private static void StopAll()
    {
        lock (_running)
        {
            foreach (var process in _running)
            {
                process.Kill(true);
            }
        }
    }
}
