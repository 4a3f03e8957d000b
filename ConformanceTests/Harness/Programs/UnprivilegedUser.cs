namespace ConformanceTests.Harness.Programs;

/// <summary>
/// Starts a program as a user without permissions. Root may do everything, so only another user shows what a missing
/// permission does.
/// </summary>
internal static class UnprivilegedUser
{
    private const string Id = "65534";

    /// <summary>Returns a command that starts a program as a user who owns these paths and nothing else.</summary>
    public static string Launcher(params string[] paths)
    {
        if (Environment.UserName != "root")
        {
            return "";
        }

        string launcher = $"setpriv --reuid={Id} --regid={Id} --clear-groups";
        foreach (string path in paths)
        {
            Tool.Run("chown", Id, path);
        }

        string can = RunSettings.Current.IsReference ? $"test -r {CommandTemplates.ReferenceFile}" : "true";
        if (Tool.Run("sh", "-c", $"exec 2>/dev/null; {launcher} {can}") != 0)
        {
            throw NotLookedAt.Because("needs a server that a user other than root can start from there");
        }

        return launcher;
    }
}
