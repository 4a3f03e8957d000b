namespace ConformanceTests.Harness.Programs;

/// <summary>Reads and writes files that other processes have open, too.</summary>
public static class LocalFiles
{
    // As nearly every program opens a file: without a lock, and not hindered by one.  .NET would ask for it, if the
    // project did not tell it otherwise (System.IO.DisableFileLocking).
    public static FileStream Open(string path, FileAccess access = FileAccess.Read) =>
        new(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete);

    public static byte[] Read(string path)
    {
        using var file = Open(path);
        var bytes = new MemoryStream();
        file.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>Gives a file this length, without a lock, and creates it if it is not there.</summary>
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
