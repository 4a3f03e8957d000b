namespace ConformanceTests.Harness.Programs;

/// <summary>A folder with one picture, and with all kinds of entries that are not pictures.</summary>
public static class HostileFolder
{
    public static readonly string[] Names =
    [
        "empty.png", "folder.png",
        .. WindowsLimits.Lacks("links and pipes") ? (string[])[] :
            ["pipe.png", "link-out.png", "link-in.png", "dangling.png", "loop.png", "link-folder.png"],
    ];

    public static void Fill(string folder, string outside)
    {
        string At(string name) => Path.Combine(folder, name);

        File.WriteAllBytes(At("fine.png"), Notation.Bytes(9));
        File.WriteAllBytes(At("empty.png"), []);
        File.WriteAllBytes(At(".hidden.png"), Notation.Bytes(9));
        File.WriteAllBytes(At(".imagetransfer-0123456789abcdef.up"), Notation.Bytes(9));
        Directory.CreateDirectory(At("folder.png"));
        File.WriteAllBytes(At("folder.png/inside.png"), Notation.Bytes(9));
        File.WriteAllBytes(Path.Combine(outside, "outside.png"), Notation.Bytes(9));
        if (WindowsLimits.Lacks("links and pipes"))
        {
            return;
        }

        File.CreateSymbolicLink(At("link-out.png"), Path.Combine(outside, "outside.png"));
        File.CreateSymbolicLink(At("link-in.png"), "fine.png");
        File.CreateSymbolicLink(At("dangling.png"), Path.Combine(outside, "nothing.png"));
        File.CreateSymbolicLink(At("loop.png"), "loop.png");
        File.CreateSymbolicLink(At("link-folder.png"), outside);
        Tool.Run("mkfifo", At("pipe.png"));
    }

    public static void ExpectListed(string[] lines)
    {
        string[] names = [.. lines.Select(line => line.Split('|')[0])];
        string[] more = [.. names.Except(["fine.png"])];
        if (names is ["fine.png"])
        {
            return;
        }

        throw new FailedCheck(new Failure("the names in the listing: fine.png and no other",
            more is [] ? $"{names.Length} lines" : string.Join(", ", more))
        {
            HintName = more is [] ? "" : "lists what is not a file",
            Sentence = "P10",
            Hint = more is [] ? "" : $"{more[0]} is " + (
                more[0][0] == '.' ? "hidden: its name begins with a dot (NAME-1)."
                : more[0].StartsWith("empty") ? "empty."
                : more[0].StartsWith("folder") ? "a folder."
                : more[0].StartsWith("pipe") ? "a pipe."
                : "a symbolic link, wherever it leads: isfile, stat and the like follow it, lstat does not."),
        });
    }

    public static string[] Look(params string[] folders)
    {
        var paths = folders.SelectMany(folder => Directory.GetFileSystemEntries(folder)).Order(StringComparer.Ordinal);
        return [.. paths.Select(path => $"{path} {new FileInfo(path).Attributes}")];
    }
}
