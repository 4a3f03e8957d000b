namespace ConformanceTests.Reference;

/// <summary>
/// Patterns, folders and ~ as people type them, without a shell; and local files that already exist.
/// </summary>
public sealed class PatternsAndPrompt : ProgramFixture
{
    // Where the same words are typed.
    public enum At { CommandLine, Prompt }

    private Ran Type(string folder, string words, At at = At.CommandLine, string options = "", string? home = null)
    {
        string launcher = home is null ? "" : $"env HOME={home}";
        return at == At.CommandLine
            ? Client(folder, $"{words} {options}", launcher: launcher)
            : Client(folder, options, input: $"{words}\n", launcher: launcher);
    }

    // A folder with three pictures, and with entries that a client skips if it is given the folder or a pattern.
    private string FolderOfAllKinds()
    {
        string folder = NewFolder();
        string pictures = Path.Combine(folder, "pictures");
        Directory.CreateDirectory(Path.Combine(pictures, "inside"));
        Directory.CreateDirectory(Path.Combine(pictures, "folder.png"));
        GiveAll(pictures, "a1.png", "a2.JPG", "b.jpeg", ".hidden.png", "notes.txt", "a3.mov", "inside/notes.txt");
        return folder;
    }

    private static readonly string[] _threePictures = ["a1.png", "a2.JPG", "b.jpeg"];

    [Test, Clause("GET-1", "CLI-5")]
    public void Client_downloads_the_files_that_match_a_pattern([Values] At at)
    {
        foreach (string name in (string[])["a1.png", "a2.png", "abc.png", "b.png", "a3.jpg"])
        {
            Server.Has(name, Notation.Bytes(9));
        }

        string folder = NewFolder();
        var (exit, _, errors) = Type(folder, "GET 'a?.png'", at);
        Assert.That(exit, Is.Zero, errors);
        Assert.That(Names(folder), Is.EqualTo(new[] { "a1.png", "a2.png" }));
        Assert.That(errors, Does.Contain("2 files: 2 done, 0 failed; 18 bytes in"));

        folder = NewFolder();
        (exit, _, errors) = Type(folder, "get '*.png' a3.jpg", at);
        Assert.That(exit, Is.Zero, errors);
        Assert.That(Names(folder), Is.EqualTo(new[] { "a1.png", "a2.png", "a3.jpg", "abc.png", "b.png" }));
        Assert.That(errors, Does.Contain("5 files: 5 done"));
    }

    [Test, Clause("CLI-5", "CLI-6")]
    public void Client_reports_a_pattern_that_matches_nothing([Values] At at)
    {
        Server.Has("a.png", Notation.Bytes(9));
        string folder = NewFolder();
        Directory.CreateDirectory(Path.Combine(folder, "pictures"));
        foreach (var (words, says) in ((string, string)[])
            [
                ("GET 'z*.png'", "z*.png: nothing on the server matches this pattern"),
                ("PUT 'z*.png'", "z*.png: nothing matches this pattern"),
                ("PUT 'nowhere/*.png'", "nowhere/*.png: there is no folder nowhere"),
                ("PUT pictures", "pictures: this folder is empty"),
            ])
        {
            var (exit, _, errors) = Type(folder, words, at);
            Assert.That(exit, Is.EqualTo(1), words);
            Assert.That(errors, Does.Contain(says));
        }

        Assert.That(Names(folder), Is.EqualTo(new[] { "pictures" }));
        Assert.That(Type(folder, "GET 'z*.png' a.png", at).Exit, Is.EqualTo(1));
        Assert.That(Names(folder), Is.EqualTo(new[] { "a.png", "pictures" }), "the other files are downloaded");
    }

    [Test, Clause("PUT-2", "CLI-6")]
    public void Client_uploads_the_pictures_directly_in_a_folder(
        [Values("pictures", "pictures/", "./pictures", "pictures/*", "~/pictures", "~/pictures/*")] string path,
        [Values] At at)
    {
        string folder = FolderOfAllKinds();
        var (exit, _, errors) = Type(path[0] == '~' ? NewFolder() : folder, $"PUT '{path}'", at, home: folder);
        Assert.That(exit, Is.Zero, errors);
        Assert.That(Names(Server.Folder), Is.EqualTo(_threePictures));
        Assert.That(errors, Does.Contain("3 files: 3 done, 0 failed; 27 bytes in"));
    }

    [Test, Clause("PUT-2", "CLI-6")]
    public void Client_uploads_the_files_that_match_a_pattern(
        [Values("pictures/a*", "~/pictures/a?.*", "pictures/?[1-2].*", "pictures/a1.png")] string path, [Values] At at)
    {
        string folder = FolderOfAllKinds();
        var (exit, _, errors) = Type(path[0] == '~' ? NewFolder() : folder, $"send '{path}'", at, home: folder);
        bool fits = !path.Contains('[');                // only * and ? have a meaning, not []
        Assert.That(exit, Is.EqualTo(fits ? 0 : 1), errors);
        string[] sent = path.EndsWith("png") ? ["a1.png"] : fits ? _threePictures[..2] : [];
        Assert.That(Names(Server.Folder), Is.EqualTo(sent));
    }

    [Test, Clause("PUT-2", "CLI-6")]
    public void Client_takes_a_dot_as_this_folder_and_a_tilde_as_home(
        [Values(".", "*", "~", "~/")] string path, [Values] At at)
    {
        string pictures = Path.Combine(FolderOfAllKinds(), "pictures");
        var (exit, _, errors) = Type(pictures, $"PUT '{path}'", at, home: pictures);
        Assert.That(exit, Is.Zero, errors);
        Assert.That(Names(Server.Folder), Is.EqualTo(_threePictures));
    }

    [Test, Clause("TYPE-1", "CLI-6")]
    public void Client_uploads_a_picture_with_the_file_extension_of_another_type()
    {
        string folder = NewFolder();
        File.WriteAllBytes(Path.Combine(folder, "photo.jpg"), [.. "RIFF\x04\0\0\0WEBP and so on"u8]);
        File.WriteAllText(Path.Combine(folder, "page.png"), "<!DOCTYPE html>");
        var (exit, _, errors) = Type(folder, "PUT photo.jpg page.png");
        Assert.That(exit, Is.EqualTo(1));
        Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "photo.jpg" }));
        Assert.That(errors, Does.Contain("page.png: bad-type: this does not look like a picture"));
        Assert.That(errors, Does.Contain("2 files: 1 done, 1 failed"));
    }

    [Test, Clause("CLI-5", "CLI-6")]
    public void Client_skips_files_of_the_same_size_with_new([Values] At at)
    {
        const string OneThere =
            "3 files: 2 done, 1 already there (same name and size; contents not compared), 0 failed";
        string folder = FolderOfAllKinds();
        string down = NewFolder();
        Server.Has("a1.png", [.. Notation.Bytes(8), 99]);
        Give(down, "b.jpeg");
        var (exit, _, errors) = Type(folder, "PUT pictures", at, "--new");
        Assert.That((exit, errors.Contains(OneThere)), Is.EqualTo((0, true)), errors);
        Assert.That(errors, Does.Not.Contain("exists"));
        (exit, _, errors) = Type(down, "GET '*'", at, "--new");
        Assert.That((exit, errors.Contains(OneThere)), Is.EqualTo((0, true)), errors);
        Assert.That(Names(down), Is.EqualTo(_threePictures));
        Assert.That(File.ReadAllBytes(Path.Combine(down, "a1.png"))[8], Is.EqualTo(99));
        Assert.That(File.ReadAllBytes(Server.PathOf("a1.png"))[8], Is.EqualTo(99));

        foreach (string words in (string[])["PUT pictures", "PUT pictures/a1.png"])
        {
            Assert.That(Type(folder, words, at, "--new").Exit, Is.Zero, words);
        }

        Assert.That(Type(down, "GET a1.png", at, "--new").Exit, Is.Zero);
        Assert.That(Type(down, "GET a1.png", at).Exit, Is.EqualTo(1), "without --new this is a failure");
    }

    [Test, Clause("CLI-5")]
    public void Client_counts_only_a_batch_in_its_summary()
    {
        string folder = FolderOfAllKinds();
        Give(folder, "one.png");
        Assert.That(Type(folder, "PUT one.png").Errors, Does.Not.Contain("files:"));
        Assert.That(Type(folder, "PUT one.png").Errors, Does.Not.Contain("files:"));
        Assert.That(Type(folder, "LIST").Errors, Does.Not.Contain("files:"));
        var (_, _, errors) = Type(folder, "PUT one.png two.png pictures", options: "--new");
        Assert.That(errors, Does.Contain("5 files: 3 done, 1 already there (same name and size; contents not "
            + "compared), 1 failed; 27 bytes in"));
        Assert.That(Type(folder, "PUT pictures", options: "--quiet").Errors, Does.Not.Contain("files:"));
        (_, _, errors) = Type(NewFolder(), "GET one.png two.png\nGET a1.png b.jpeg", At.Prompt);
        Assert.That(errors, Does.Contain("2 files: 1 done, 1 failed; 9 bytes"));
        Assert.That(errors, Does.Contain("2 files: 2 done, 0 failed; 18 bytes"), "each command has its own count");
    }

    private static readonly (string Typed, string Says)[] _mistyped =
    [
        ("hello world",     "there is no command hello;"),
        ("hello",           "there is no command hello;"),
        ("*.png",           "there is no command *.png;"),
        ("gte a.png b.png", "gte a.png b.png: not-found"),             // may be a file name with spaces
        ("gte a/b.png",     "there is no command gte;"),
        ("GET",             "GET needs at least one file name"),
        ("put",             "PUT needs at least one file name"),
        ("status now",      "STATUS takes no file name"),
        ("missing.png",     "missing.png: not-found"),
        ("'hello",          "a quote is not closed"),
        ("\u001b[2J x",     "there is no command \\x1B[2J;"),
    ];

    [TestCaseSource(nameof(_mistyped)), Clause("CLI-5", "CLI-11")]
    public void Client_names_what_was_typed_in_its_messages((string Typed, string Says) row)
    {
        var (exit, output, errors) = Type(NewFolder(), $"{row.Typed}\nlist", At.Prompt);
        Assert.That(exit, Is.EqualTo(1));
        Assert.That(errors, Does.Contain(row.Says));
        Assert.That(errors, Does.Contain("the folder has no pictures"), "and the prompt continues");
        Assert.That($"{output}{errors}", Does.Not.Contain("\u001b"));
    }
}
