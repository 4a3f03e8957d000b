using ConformanceTests.Class;

namespace ConformanceTests.Harness.Grading;

/// <summary>Where the suite begins when it is started as a program: `make class`.</summary>
internal static class EntryPoint
{
    private static Task<int> Main(string[] folders) => GradeClass.RunAsync(folders);
}
