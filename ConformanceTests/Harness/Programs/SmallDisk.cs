namespace ConformanceTests.Harness.Programs;

/// <summary>A folder on a small file system of its own, for tests of full disks. It needs Linux and root.</summary>
public sealed class SmallDisk : IDisposable
{
    private SmallDisk(string folder) => Folder = folder;

    public string Folder { get; }

    // With the number of this process in it, so that RemoveLeftOvers can tell whose it is.
    private static string Kind => $"small-{Environment.ProcessId}";

    /// <summary>Mounts a tmpfs.</summary>
    /// <param name="options">Its mount options, for example size=2m.</param>
    /// <returns>The disk, or null if this process must not mount one.</returns>
    public static SmallDisk? TryMount(string options)
    {
        string folder = CommandTemplates.NewFolder(Kind);
        if (Execute("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder) != 0)
        {
            Directory.Delete(folder);
            return null;
        }

        return new SmallDisk(folder);
    }

    /// <summary>
    /// Unmounts what runs have left that were killed while they had a disk. What belongs to a process that is alive
    /// stays.
    /// </summary>
    public static void RemoveLeftOvers()
    {
        const string Mounts = "/proc/self/mounts";
        if (!File.Exists(Mounts))
        {
            return;
        }

        string start = Path.Combine(Path.GetTempPath(), "imagetransfer-test-small-");
        foreach (string line in File.ReadLines(Mounts))
        {
            string folder = line.Split(' ')[1];
            if (folder.StartsWith(start) && !Directory.Exists($"/proc/{folder[start.Length..].Split('-')[0]}"))
            {
                new SmallDisk(folder).Dispose();
            }
        }
    }

    public void Dispose()
    {
        // Lazily, because a server may have a file in it open for another moment.
        Execute("umount", "-l", Folder);
        Directory.Delete(Folder);
    }

    private static int Execute(string program, params string[] words)
    {
        string[] all = ["-c", "exec \"$@\" 2>/dev/null", "sh", program, .. words];
        using var process = Process.Start("sh", all);
        process.WaitForExit();
        return process.ExitCode;
    }
}
