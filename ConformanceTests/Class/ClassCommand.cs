namespace ConformanceTests.Class;

/// <summary>`make class`: grades each student's program.</summary>
public sealed class ClassCommand : ISuiteCommand
{
    public string Name => "class";

    public string Help => "grades the programs in the folders that are named";

    public Task<int> RunAsync(string[] words) => GradeClass.RunAsync(words);
}
