using NUnit.Framework.Interfaces;

namespace ConformanceTests.Harness.Grading;

/// <summary>`make test`: grades a server, a client, or the program of this repository.</summary>
public sealed class GradeCommand : ISuiteCommand
{
    public string Name => "test";

    public string Help => "grades SERVER='… {port} {dir}' or CLIENT='… {host} {port} {command} {file}'";

    public Task<int> RunAsync(string[] words) => Task.FromResult(Run(words));

    private static int Run(string[] words)
    {
        if ((WrongUse(words) ?? MakeReportFolder()) is { } wrong)
        {
            Console.Error.WriteLine(wrong);
            return 2;
        }

        string report = Path.Combine(RunSettings.Current.ReportFolder, "report.txt");
        File.Delete(report);
        File.Delete(Path.ChangeExtension(report, ".html"));
        ITestResult result = SuiteRun.Run(TestSelection.BySettings());
        Screen.WriteLine();
        string text = File.Exists(report) ? File.ReadAllText(report) : "";
        bool nothingTested = text.StartsWith("Nothing was tested");
        Screen.WriteLine(text.TrimEnd());
        if (nothingTested)
        {
            return 1;
        }

        if (RunSettings.Current.IsReference || text == "")
        {
            return SuiteRun.Show(result);
        }

        return result.ResultState.Status == TestStatus.Failed ? 1 : 0;
    }

    // Returns why the folder cannot be made, or null.
    private static string? MakeReportFolder()
    {
        try
        {
            Directory.CreateDirectory(RunSettings.Current.ReportFolder);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"REPORT is the folder for the report, and it cannot be made: {e.Message}";
        }
    }

    private static string? WrongUse(string[] words)
    {
        if (words.Length > 0)
        {
            return $"`test` takes settings such as STAGE=3, and no other words: {words[0]} is not understood.";
        }

        if (RunSettings.Current.IsReference && !File.Exists(Path.Combine(RunSettings.Root, "Server.cs")))
        {
            return "Which program should be tested? For example: make test SERVER='python3 my_server.py {port} {dir}'";
        }

        string[] unknown = [.. RunSettings.Current.OnlyClauses.Except(ProtocolSpecification.Clauses.Keys)];
        return unknown.Length > 0 ? $"Protocol.md has no paragraph [{unknown[0]}]." : CommandTemplates.FindMistake();
    }
}
