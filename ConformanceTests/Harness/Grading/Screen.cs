namespace ConformanceTests.Harness.Grading;

/// <summary>
/// What a person sees while the suite runs. NUnit takes Console.Out away during a run, so this keeps the original.
/// Under `dotnet test` nothing is shown, because its own output would be mixed with it.
/// </summary>
public static class Screen
{
    /// <summary>The start of the line that names the first test that failed, for mutants.</summary>
    public const string FirstFailure = "caught by ";

    private static TextWriter _output = TextWriter.Null;

    /// <summary>Shows lines from here on.</summary>
    public static void TurnOn()
    {
        if (_output == TextWriter.Null)
        {
            _output = TextWriter.Synchronized(Console.Out);
        }
    }

    public static void WriteLine(string line = "") => _output.WriteLine(line);
}
