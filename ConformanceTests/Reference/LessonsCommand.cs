using ConformanceTests.Report.Lessons;

namespace ConformanceTests.Reference;

/// <summary>The command `lessons`: writes ConformanceTests/lessons.html.</summary>
public sealed class LessonsCommand : ISuiteCommand
{
    /// <summary>The first word on the command line.</summary>
    public string Name => "lessons";

    /// <summary>What the command does, in a few words.</summary>
    public string Help => "write lessons.html, the program as a course to read in a browser";

    /// <summary>Does it.</summary>
    /// <param name="words">Not used.</param>
    /// <returns>The exit code.</returns>
    public Task<int> RunAsync(string[] words)
    {
        string root = RunSettings.Root;
        string path = Path.Combine(root, "ConformanceTests", "lessons.html");
        string page = LessonsPage.Render(LessonsPage.FindLessons(root), command => RecordedRun.Of(root, command));
        File.WriteAllText(path, page);
        Console.WriteLine($"{path} is written; open it in a browser.");
        return Task.FromResult(0);
    }
}
