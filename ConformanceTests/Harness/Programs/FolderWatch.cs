namespace ConformanceTests.Harness.Programs;

/// <summary>
/// Lists what was done to the entries of a folder, in order, even to those that existed only for a moment. It uses
/// inotify, so it needs Linux.
/// </summary>
public sealed class FolderWatch : IDisposable
{
    /// <summary>The word for a change of a file's time or of its rights.</summary>
    public const string AttributesChanged = "given another time or other rights";

    private static readonly (uint Bit, string Word)[] _words =
    [
        (0x002, "written"), (0x004, AttributesChanged), (0x040, "renamed away"), (0x080, "renamed to"),
        (0x100, "created"), (0x200, "removed"),
    ];

    private readonly int _handle;
    private readonly List<(string Name, string Done)> _all = [];

    public FolderWatch(string folder)
    {
        if (!OperatingSystem.IsLinux())
        {
            throw NotLookedAt.Because("needs Linux, which tells what is done in a folder");
        }

        _handle = inotify_init1(0x800 | 0x80000);        // IN_NONBLOCK | IN_CLOEXEC
        uint mask = _words.Aggregate(0u, (sum, word) => sum | word.Bit);
        if (_handle < 0 || inotify_add_watch(_handle, folder, mask) < 0)
        {
            throw NotLookedAt.Because("needs inotify, which is not available here");
        }
    }

    /// <summary>What was done to a name since the last call, in order.</summary>
    public string[] DoneTo(string name) => [.. Take().Where(one => one.Name == name).Select(one => one.Done)];

    /// <summary>
    /// What was done to a name, and which attributes were changed after it had appeared. A handle that was opened under
    /// a temporary name reports a change under that name, so these count under any name.
    /// </summary>
    public string[] DoneSinceItAppeared(string name)
    {
        var since = Take().SkipWhile(one => one != (name, "created") && one != (name, "renamed to"));
        return [.. since.Where(one => one.Name == name || one.Done == AttributesChanged).Select(one => one.Done)];
    }

    private (string Name, string Done)[] Take()
    {
        var buffer = new byte[1 << 16];
        while (read(_handle, buffer, buffer.Length) is > 0 and var count)
        {
            for (int at = 0; at < count;)
            {
                uint mask = BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(at + 4));
                int size = BinaryPrimitives.ReadInt32LittleEndian(buffer.AsSpan(at + 12));
                string entry = Encoding.UTF8.GetString(buffer.AsSpan(at + 16, size)).TrimEnd('\0');
                foreach (var (bit, word) in _words)
                {
                    if ((mask & bit) != 0)
                    {
                        _all.Add((entry, word));
                    }
                }

                at += 16 + size;
            }
        }

        (string, string)[] done = [.. _all];
        _all.Clear();
        return done;
    }

    public void Dispose() => close(_handle);

    [DllImport("libc")] private static extern int inotify_init1(int flags);

    [DllImport("libc")] private static extern int inotify_add_watch(int handle, string path, uint mask);

    [DllImport("libc")] private static extern nint read(int handle, byte[] buffer, nint size);

    [DllImport("libc")] private static extern int close(int handle);
}
