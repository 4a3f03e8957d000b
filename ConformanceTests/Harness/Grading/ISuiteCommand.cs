namespace ConformanceTests.Harness.Grading;

/// <summary>
/// A command of the suite's own program, such as `test`. Every class that implements this interface is one, so a
/// folder of the suite can be left out together with its command.
/// </summary>
public interface ISuiteCommand
{
    /// <summary>The first word on the command line.</summary>
    public string Name { get; }

    /// <summary>What the command does, in a few words.</summary>
    public string Help { get; }

    /// <summary>Does it.</summary>
    /// <param name="words">The other words on the command line.</param>
    /// <returns>The exit code: 0, or 1 if something failed, or 2 if the command was used in a wrong way.</returns>
    public Task<int> RunAsync(string[] words);
}
