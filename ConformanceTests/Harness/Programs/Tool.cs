namespace ConformanceTests.Harness.Programs;

/// <summary>Runs a small program of the system, such as mkfifo, and waits for its end.</summary>
public static class Tool
{
    /// <returns>The exit code.</returns>
    public static int Run(string program, params string[] words)
    {
        using var process = Process.Start(program, words);
        process.WaitForExit();
        return process.ExitCode;
    }

    /// <summary>The same, without the errors that it prints.</summary>
    public static int RunQuietly(string program, params string[] words) =>
        Run("sh", ["-c", "exec \"$@\" 2>/dev/null", "sh", program, .. words]);

    /// <summary>Runs a script of the shell, in which $0 is a folder.</summary>
    public static void Shell(string script, string folder) => Run("sh", "-c", script, folder);
}
