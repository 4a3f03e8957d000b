namespace ConformanceTests.Harness.Programs;

/// <summary>A folder on a small file system of its own, for tests of full disks. It needs Linux and root.</summary>
public sealed class SmallDisk : IDisposable
{
    private SmallDisk(string folder) => Folder = folder;

    public string Folder { get; }

    /// <summary>Mounts a tmpfs.</summary>
    /// <param name="options">Its mount options, for example size=2m.</param>
    /// <returns>The disk, or null if this process may not mount one.</returns>
    public static SmallDisk? TryMount(string options)
    {
        string folder = TestFolders.New("small");
        if (Tool.RunQuietly("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder) != 0)
        {
            Directory.Delete(folder);
            return null;
        }

        return new SmallDisk(folder);
    }

    public void Dispose()
    {
        Unmount(Folder);
        Directory.Delete(Folder);
    }

    // Lazily, because a server may still have a file in it open for a moment.
    internal static void Unmount(string folder) => Tool.RunQuietly("umount", "-l", folder);
}
