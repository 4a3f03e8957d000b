namespace ConformanceTests.Class;

/// <summary>
/// A student's folder, and the commands that start the programs in it. Wrong says why they cannot be started.
/// </summary>
public sealed record Student(string Name, string Folder)
{
    public string Server { get; private init; } = "";

    public string Client { get; private init; } = "";

    public string Build { get; private init; } = "";

    public string Wrong { get; private init; } = "";

    public const string File = "imagetransfer.txt";

    // Reads SERVER=…, CLIENT=… and BUILD=… from imagetransfer.txt. Without that file, those of the make line count.
    public static Student In(string name, string folder)
    {
        var student = new Student(name, folder);
        string file = Path.Combine(folder, File);
        if (!Directory.Exists(folder))
        {
            return student with { Wrong = "there is no such folder" };
        }

        if (!System.IO.File.Exists(file))
        {
            return RunSettings.Current.IsReference
                ? student with { Wrong = $"there is no {File} that says how it is started, and no SERVER= or CLIENT=" }
                : student with { Server = RunSettings.Current.Server, Client = RunSettings.Current.Client };
        }

        foreach (string line in System.IO.File.ReadLines(file).Select(line => line.Trim('\uFEFF', ' ', '\t', '\r')))
        {
            if (line is "" or ['#', ..])
            {
                continue;
            }

            int equals = line.IndexOf('=');
            string value = line[(equals + 1)..].Trim();
            Student? read = (equals < 0 ? "" : line[..equals].TrimEnd()) switch
            {
                "SERVER" => student with { Server = value },
                "CLIENT" => student with { Client = value },
                "BUILD" => student with { Build = value },
                _ => null,
            };
            if (read is null)
            {
                return student with { Wrong = $"{File}: this is not SERVER=…, CLIENT=… or BUILD=…:\n  {line}" };
            }

            student = read;
        }

        return student.Server + student.Client != ""
            ? student
            : student with { Wrong = $"{File} has neither SERVER=… nor CLIENT=…" };
    }
}

/// <summary>The row of one student. Races are the tests that failed first and passed when they were repeated.</summary>
public sealed record Grade(Student Student, Verdict[] Marks, string[] Races, string WhyNot, TimeSpan Took)
{
    public bool Started => WhyNot == "";

    public (int Kept, int Of) Sentences => Kept(Marks);

    public readonly HashSet<string> Judged = [.. Marks.Where(mark => mark.Counts).Select(mark => mark.Clause)];
    public readonly HashSet<string> Broken = [.. Marks.Where(mark => mark.HasFailed).Select(mark => mark.Clause)];

    public (int Kept, int Of) InStage(int stage) => Kept(Marks.Where(mark => mark.Stage == stage));

    public (int Kept, int Of) Stages
    {
        get
        {
            var stages = Marks.Where(mark => mark.Counts).Select(mark => mark.Stage).Distinct();
            var all = stages.Select(InStage).ToArray();
            return (all.Count(stage => stage.Kept == stage.Of), all.Length);
        }
    }

    // A rule counts once, however many tests it has: many tests are the same conversation in other pieces.
    private static (int, int) Kept(IEnumerable<Verdict> marks)
    {
        var sentences = marks.Where(mark => mark.Counts).GroupBy(mark => mark.Clause).ToArray();
        return (sentences.Count(sentence => !sentence.Any(mark => mark.HasFailed)), sentences.Length);
    }
}
