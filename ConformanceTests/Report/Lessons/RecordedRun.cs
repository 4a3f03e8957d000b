namespace ConformanceTests.Report.Lessons;

/// <summary>Runs the command of a lesson with the real program, and returns what it printed.</summary>
public static class RecordedRun
{
    private const string Program = "imagetransfer ";
    private const string Picture = "cat.png";
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(20);

    /// <summary>Returns what the command prints, or null if it is not one that can be run here.</summary>
    /// <param name="root">The folder of the project, in which the program has been built.</param>
    /// <param name="command">Such as "imagetransfer client localhost LIST --trace".</param>
    public static string? Of(string root, string command)
    {
        bool showsServer = command.StartsWith(Program + "server --trace");
        if (!showsServer && !command.StartsWith(Program + "client localhost "))
        {
            return null;
        }

        string folder = Directory.CreateTempSubdirectory("lesson-").FullName;
        try
        {
            string[] words = showsServer ? ["GET", Picture] : command.Split(' ')[3..];
            return Run(root, folder, words, showsServer);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Run(string root, string folder, string[] words, bool showsServer)
    {
        string images = Directory.CreateDirectory(Path.Combine(folder, "images")).FullName;
        string picture = Path.Combine(root, "ConformanceTests", Picture);
        File.Copy(picture, Path.Combine(words.Contains("PUT") ? folder : images, Picture));
        string trace = showsServer ? "--trace" : "--quiet";
        using Process server = Start(root, folder, ["server", "0", "--dir", images, trace]);
        Task<string> serverSaid = server.StandardError.ReadToEndAsync();
        try
        {
            // "listening on 127.0.0.1:40733, folder …"
            string ready = server.StandardOutput.ReadLine() ?? throw new IOException("the server does not start");
            string port = ready.Split(',')[0].Split(':')[^1];
            using Process client = Start(root, folder, ["client", "localhost", port, .. words]);
            Task<string> said = client.StandardOutput.ReadToEndAsync();
            string printed = client.StandardError.ReadToEnd() + said.Result;
            client.WaitForExit(_patience);
            server.Kill();
            return (showsServer ? serverSaid.Result : printed).Trim();
        }
        finally
        {
            server.Kill();
        }
    }

    private static Process Start(string root, string folder, string[] words)
    {
        string built = Path.Combine(root, "bin", "Release", "net10.0", "ImageTransfer.dll");
        return Process.Start(new ProcessStartInfo("dotnet", [built, .. words])
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
    }
}
