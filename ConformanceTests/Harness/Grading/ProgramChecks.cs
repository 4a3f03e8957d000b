namespace ConformanceTests.Harness.Grading;

/// <summary>Checks of programs and of their folders.</summary>
public static class ProgramChecks
{
    /// <summary>Waits until it ends, with exit code 0.</summary>
    public static void MustSucceed(this ChildProgram program, int? milliseconds = null) =>
        Check(program, program.WaitForExit(milliseconds), wantsZero: true);

    /// <summary>Waits until it ends, with another exit code than 0.</summary>
    public static void MustFail(this ChildProgram program, int? milliseconds = null) =>
        Check(program, program.WaitForExit(milliseconds), wantsZero: false);

    private static void Check(ChildProgram program, int exit, bool wantsZero)
    {
        if ((exit == 0) != wantsZero)
        {
            var scope = program.Scope;
            throw new FailedCheck(Wording.Exit(
                wantsZero, exit, scope?.Test ?? "", [.. (scope?.Connections ?? []).Select(one => one.Talk)]));
        }
    }

    /// <summary>No file of this name in the server's folder.</summary>
    public static void MustLack(this RunningServer server, string name) =>
        MustLack(server.Folder, name, Side.Server);

    /// <summary>No file of this name in the folder of one side.</summary>
    public static void MustLack(string folder, string name, Side side)
    {
        string path = Path.Combine(folder, name);
        if (File.Exists(path))
        {
            throw new FailedCheck(Wording.Shows(side, name, new FileInfo(path).Length));
        }
    }
}
