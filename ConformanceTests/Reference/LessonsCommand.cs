using ConformanceTests.Report.Lessons;

namespace ConformanceTests.Reference;

/// <summary>The command `lessons`: writes ConformanceTests/lessons.html.</summary>
public sealed class LessonsCommand : ISuiteCommand
{
    public string Name => "lessons";

    public string Help => "write lessons.html, the program as a course to read in a browser";

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
