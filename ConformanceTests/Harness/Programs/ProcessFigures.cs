namespace ConformanceTests.Harness.Programs;

/// <summary>Memory and file descriptors of a process and its children, as Linux counts them.</summary>
public static class ProcessFigures
{
    // Linux writes "VmPeak:", a tab, spaces up to a width, the number and " kB": a large number has no space before it.
    private static readonly char[] _blanks = [' ', '\t'];

    /// <summary>Returns the sum of these fields of /proc/…/status, in bytes, for a process and its children.</summary>
    public static long Sum(int root, params string[] fields)
    {
        if (!OperatingSystem.IsLinux() || RunSettings.Current.OnWindows)
        {
            throw NotLookedAt.Because("needs Linux, which tells what memory a process has");
        }

        var parents = new Dictionary<int, int>();
        foreach (string folder in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), out int id) && Text(id, "stat") is { Length: > 0 } stat)
            {
                parents[id] = int.Parse(stat[(stat.LastIndexOf(')') + 1)..].Split(' ')[2]);
            }
        }

        bool IsOurs(int id) => id == root || parents.TryGetValue(id, out int parent) && parent > 1 && IsOurs(parent);

        return parents.Keys.Where(IsOurs).Sum(id => Text(id, "status").Split('\n')
            .Where(line => fields.Contains(line.Split(':')[0]))
            .Sum(line => long.Parse(line.Split(_blanks, StringSplitOptions.RemoveEmptyEntries)[^2]) << 10));
    }

    /// <summary>Returns how many files and sockets a process has open.</summary>
    public static int Descriptors(int process) =>
        !OperatingSystem.IsLinux() || RunSettings.Current.OnWindows
            ? throw NotLookedAt.Because("needs Linux, which tells what descriptors a process has")
            : Directory.GetFileSystemEntries($"/proc/{process}/fd").Length;

    private static string Text(int id, string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/{file}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return "";                                  // the process has ended
        }
    }
}
