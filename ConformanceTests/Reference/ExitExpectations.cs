namespace ConformanceTests.Reference;

/// <summary>Checks how a run of this program ended, and what it printed on standard error.</summary>
internal static class ExitExpectations
{
    /// <summary>Waits until the program ends. Its exit code and parts of its messages must be these.</summary>
    public static void MustExit(this ChildProgram program, int exit, params string[] parts)
    {
        Assert.That(program.WaitForExit(), Is.EqualTo(exit), () => program.Said());
        foreach (string part in parts)
        {
            Assert.That(program.Errors, Does.Contain(part));
        }
    }

    /// <summary>The exit code and parts of the messages must be these.</summary>
    public static void MustExit(this Ran ran, int exit, params string[] parts)
    {
        Assert.That(ran.Exit, Is.EqualTo(exit), ran.ToString());
        foreach (string part in parts)
        {
            Assert.That(ran.Errors, Does.Contain(part));
        }
    }

    /// <summary>The exit code must be this, and each of these lines one of the messages.</summary>
    public static void MustExitWithLines(this Ran ran, int exit, params string[] lines)
    {
        ran.MustExit(exit);
        Assert.That(lines.Except(ran.ErrorLines), Is.Empty, ran.ToString());
    }
}
