namespace ConformanceTests.Reference;

/// <summary>This client, while another program changes the part of a file that it keeps.</summary>
[Reference]
public sealed class KeptFilesThatChange : ClientFixture
{
    [Test, Clause("CLI-4")]
    public void Client_leaves_no_file_if_the_bytes_of_the_download_are_removed()
    {
        var (client, wire) = Connected("GET", "cat.png");
        wire.Answer("GET|cat.png|digest=sha256\n", [.. "OK\n"u8, .. Notation.U64(100), .. Notation.Bytes(50)]);
        // Waits until the file has its bytes, and not only its name.
        Eventually(() => Files() is [var hidden] && new FileInfo(PathOf(hidden)).Length == 50,
            "nothing is being saved");
        File.Delete(PathOf(Files()[0]));
        wire.Send([.. Notation.Bytes(100).AsSpan(50), .. SHA256.HashData(Notation.Bytes(100))]);
        client.MustExit(1);
        Assert.That(Files(), Is.Empty);
    }

    [Test, Slow, Clause("CLI-10", "CLI-4")]
    public void Client_does_not_resume_if_the_kept_file_shrinks_while_it_is_read()
    {
        Skip.If(!OperatingSystem.IsLinux(), "needs /proc");

        const long Kept = 2L << 30;
        var (client, wire) = Connected("GET", "cat.png");
        wire.Answer("GET|cat.png|digest=sha256\n", [.. "OK\n"u8, .. Notation.U64(1UL << 40), .. Notation.Bytes(50)]);
        wire.Dispose();
        client.WaitForExit();
        string hidden = PathOf(Files().Single());
        LocalFiles.SetLength(hidden, Kept);             // too long to be read before the test cuts it

        client = Run("GET", "cat.png", "--resume");
        bool Reads() => Directory.GetFiles($"/proc/{client.Id}/fd")
            .Any(link => new FileInfo(link).LinkTarget == hidden);

        var shrinking = Task.Run(() => Eventually(() =>
        {
            if (!client.HasEnded && !Reads())
            {
                return false;
            }

            Tool.Run("truncate", "-s", "1000", hidden);  // without the lock that .NET would ask for
            return true;
        }, "the kept file is not read"));
        wire = Accept();

        // With an offset, the client has read the file before it was cut, or has begun to read it after that.
        Skip.If(wire.ReceiveLine().Contains("|offset="), MachinePaused);
        wire.Send([.. "OK\n"u8, .. Notation.U64(8), .. Notation.Bytes(8), .. new byte[32]]);
        shrinking.Wait(RunSettings.Patience);
        client.MustExit(1);
        Assert.That(File.Exists(PathOf("cat.png")), Is.False);
    }
}
