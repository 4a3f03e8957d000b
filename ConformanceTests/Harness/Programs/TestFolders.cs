namespace ConformanceTests.Harness.Programs;

/// <summary>
/// The folders of the tests. They are all in one folder, which is removed when the suite ends. If the suite is killed,
/// the next run removes it.
/// </summary>
public static class TestFolders
{
    private const string Prefix = "imagetransfer-test-";
    private const string Mounts = "/proc/self/mounts";
    private static readonly Lock _lock = new();
    private static string? _root;
    private static bool _isOver;

    /// <summary>Returns a new empty folder.</summary>
    /// <param name="kind">A word for its name.</param>
    public static string New(string kind)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_isOver, typeof(TestFolders));
            string path = Path.Combine(_root ??= CreateRoot(), $"{kind}-{Path.GetRandomFileName()}");
            return CreatePrivate(path);
        }
    }

    /// <summary>Removes a folder with all that is in it, if it exists.</summary>
    public static void Delete(string folder)
    {
        if (!Directory.Exists(folder))
        {
            return;
        }

        try
        {
            Directory.Delete(folder, true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException && !OperatingSystem.IsWindows())
        {
            // A test may have taken away the right to read it, and .NET cannot delete a name that is not UTF-8.
            Tool.Run("chmod", "-R", "u+rwx", folder);
            if (Tool.Run("rm", "-rf", folder) != 0)
            {
                throw;
            }
        }
    }

    /// <summary>Removes the folders that killed runs have left, but not those of runs that still go on.</summary>
    public static void RemoveLeftOvers()
    {
        if (!File.Exists(Mounts))
        {
            return;
        }

        foreach (string folder in Directory.GetDirectories(Path.GetTempPath(), $"{Prefix}*"))
        {
            string process = Path.GetFileName(folder)[Prefix.Length..].Split('-')[0];
            if (int.TryParse(process, out _) && !Directory.Exists($"/proc/{process}"))
            {
                Remove(folder);
            }
        }
    }

    private static string CreateRoot()
    {
        string root = Directory.CreateTempSubdirectory($"{Prefix}{Environment.ProcessId}-").FullName;
        if (!OperatingSystem.IsWindows())
        {
            // A server that runs as another user has to get to its folder.
            const UnixFileMode Enter = UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
            File.SetUnixFileMode(root, File.GetUnixFileMode(root) | Enter);
        }

        AppDomain.CurrentDomain.ProcessExit += (_, _) => RemoveAll();
        return root;
    }

    private static string CreatePrivate(string path) =>
        OperatingSystem.IsWindows()
            ? Directory.CreateDirectory(path).FullName
            : Directory.CreateDirectory(
                path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute).FullName;

    private static void RemoveAll()
    {
        lock (_lock)
        {
            _isOver = true;
            if (_root is not null)
            {
                Remove(_root);
            }
        }
    }

    /// <summary>Removes a folder in which file systems may be mounted, and programs may still write.</summary>
    public static void Remove(string root)
    {
        string[] mounted = File.Exists(Mounts) ? File.ReadAllLines(Mounts) : [];
        foreach (string folder in mounted.Select(line => line.Split(' ')[1]).Where(path => path.StartsWith($"{root}/")))
        {
            SmallDisk.Unmount(folder);
        }

        const int Tries = 100;
        for (int i = 1; Directory.Exists(root); i++)
        {
            try
            {
                Delete(root);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                if (i == Tries)
                {
                    Console.Error.WriteLine($"cannot remove {root}: {e.Message}");
                    return;
                }

                Thread.Sleep(50);
            }
        }
    }
}
