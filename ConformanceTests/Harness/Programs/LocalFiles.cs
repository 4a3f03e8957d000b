namespace ConformanceTests.Harness.Programs;

/// <summary>Reads and writes files that other processes have open, too.</summary>
public static class LocalFiles
{
    // Other programs open files without a lock, and locks do not stop them. .NET would lock the file if the project did
    // not turn that off (System.IO.DisableFileLocking).
    public static FileStream Open(string path, FileAccess access = FileAccess.Read) =>
        new(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete);

    public static byte[] Read(string path)
    {
        using var file = Open(path);
        var bytes = new MemoryStream();
        file.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>Sets the length of a file, without a lock. Creates the file if it does not exist.</summary>
    public static void SetLength(string path, long length)
    {
        using var file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.ReadWrite);
        file.SetLength(length);
    }

    public static void Append(string path, byte[] bytes)
    {
        using var file = Open(path, FileAccess.Write);
        file.Seek(0, SeekOrigin.End);
        file.Write(bytes);
    }
}
