namespace ConformanceTests.Harness.Grading;

/// <summary>Checks of programs and of their folders.</summary>
public static class ProgramChecks
{
    /// <summary>Waits until the program ends, and checks that its exit code is 0.</summary>
    public static void MustSucceed(this ChildProgram program, int? milliseconds = null) =>
        Check(program, program.WaitForExit(milliseconds), wantsZero: true);

    /// <summary>Waits until the program ends, and checks that its exit code is not 0.</summary>
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

    /// <summary>Checks that the server's folder has no file of this name.</summary>
    public static void MustLack(this RunningServer server, string name) =>
        MustLack(server.Folder, name, Side.Server);

    /// <summary>Checks that the folder of one side has no file of this name.</summary>
    public static void MustLack(string folder, string name, Side side)
    {
        string path = Path.Combine(folder, name);
        if (File.Exists(path))
        {
            throw new FailedCheck(Wording.Shows(side, name, new FileInfo(path).Length));
        }
    }
}
