namespace ConformanceTests.Reference;

/// <summary>What PUT of a folder or a pattern, and GET of a pattern, say about everything that they found.</summary>
public sealed class Accounting : ProgramFixture
{
    [TestCase("photo.HEIC", "this type is not transferred; it is with --types images, here and on the server")]
    [TestCase("photo.webp", "this type is not transferred; it is with --types images, here and on the server")]
    [TestCase("photo.jp2", "this type is not transferred; it is with --types images, here and on the server")]
    [TestCase("photo.CR3", "this type is not transferred (camera raw); name it with --types, here and on the server")]
    [TestCase("photo.dng", "this type is not transferred (camera raw); name it with --types, here and on the server")]
    [TestCase("12:30.jpg", "bad-name: U+003A ':' at position 3 is not allowed; --as gives it another name")]
    [TestCase("猫猫:.jpg", "bad-name: U+003A ':' at position 3 is not allowed; --as gives it another name")]
    [TestCase("a\u200d.jpg", "bad-name: U+200D at position 2 is not allowed at the beginning, at the end, or next to a "
        + "dot; --as gives it another name")]
    [TestCase(" a.jpg", "bad-name: a name must not begin or end with a dot or a space; --as gives it another name")]
    [TestCase("con.jpg", "bad-name: this is the name of a device on Windows; --as gives it another name")]
    [Clause("CLI-5", "NAME-1")]
    public void Client_reports_each_picture_that_it_does_not_send_with_a_reason(string name, string says)
    {
        string folder = NewFolder();
        Give(folder, "pictures/a.png");
        Give(folder, $"pictures/{name}");
        foreach (string words in (string[])["PUT pictures", "PUT 'pictures/*'"])
        {
            Ran ran = Client(folder, words);
            ran.MustExitWithLines(1, $"{name}: {says}");
            File.Delete(Server.PathOf("a.png"));
        }
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_empty_pictures_and_pipes_as_failures()
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "pictures/a.png");
        Give(folder, "pictures/empty.png", 0);
        Tool.Run("mkfifo", Path.Combine(folder, "pictures/pipe.png"));
        Ran ran = Client(folder, "PUT pictures");
        ran.MustExitWithLines(1, "empty.png: the file is empty", "pipe.png: a pipe or a device, not a file");
        Assert.That(ran.Errors, Does.Contain("3 files: 1 done, 2 failed; 9 bytes in "));
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_how_many_pictures_of_an_inner_folder_were_not_sent()
    {
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        Give(folder, "camera/101CANON/b.png");
        foreach (string name in (string[])["c.png", "d.JPG", "e.heic", "f.cr2", "notes.txt", ".hidden.png"])
        {
            Give(folder, $"camera/100CANON/{name}");
        }

        Ran ran = Client(folder, "PUT camera");
        ran.MustExitWithLines(1, "100CANON: a folder with 4 pictures, not sent; name it to send it",
            "101CANON: a folder with 1 picture, not sent; name it to send it");
        Assert.That(ran.Errors, Does.Contain("\n1 file and 2 folders: 1 done, 2 failed; 9 bytes in "));
        Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "a.png" }));
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_pictures_in_folders_further_below()
    {
        string folder = NewFolder();
        Give(folder, "card/DCIM/100CANON/a.png");
        Give(folder, "card/DCIM/100CANON/b.cr2");
        Give(folder, "card/MISC/empty/notes.txt");
        Give(folder, "card/.Trashes/c/c.png");
        Ran ran = Client(folder, "PUT card");
        Assert.That(ran.Exit, Is.EqualTo(1), ran.ToString());
        Assert.That(ran.ErrorLines,
            Does.Contain("DCIM: there are folders in it with 2 pictures, not sent; name them to send them"));
        Assert.That(ran.ErrorLines, Does.Contain("ignored: 1 folder"));
    }

    [Test, Clause("CLI-5")]
    public void Client_counts_other_files_and_folders_but_not_hidden_ones()
    {
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        GiveAll($"{folder}/camera", "1.txt", "2.txt", "3.txt", "film.mov", "README", ".hidden", ".b.png");

        Directory.CreateDirectory(Path.Combine(folder, "camera/empty"));
        Directory.CreateDirectory(Path.Combine(folder, "camera/.hidden-folder"));
        Ran ran = Client(folder, "PUT camera");
        ran.MustExitWithLines(0, "ignored: 3 .txt, 1 .mov, 1 without a file extension, 1 folder");
        Assert.That(ran.Errors, Does.Contain("1 file: 1 done, 0 failed; 9 bytes in "));
    }

    [Test, Clause("CLI-5")]
    public void Client_counts_file_extensions_in_any_case_and_names_ten_of_them()
    {
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        GiveAll($"{folder}/camera", "1.mov", "2.MOV", "3.Mov", "4.xmp");

        Ran ran = Client(folder, "PUT camera");
        Assert.That(ran.ErrorLines, Does.Contain("ignored: 3 .mov, 1 .xmp"), ran.ToString());

        for (int i = 0; i < 30; i++)
        {
            Give(folder, $"many/backup.{i:D3}");
        }

        ran = Client(folder, "PUT many");
        Assert.That(ran.Errors, Does.Contain("ignored: 1 .000, 1 .001, ").And.Contain(
            ", 1 .009, 20 with other file extensions\n"), ran.ToString());
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_each_picture_whose_name_is_not_UTF8()
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        Give(folder, "camera/\uFFFD.png");
        RunIn(folder, "for n in '\\376' '\\377' 'b\\375'; do cp camera/a.png \"camera/$(printf \"$n\").png\"; done");
        try
        {
            Ran ran = Client(folder, "PUT camera");
            ran.MustExit(1);
            const string NotUtf8 = "the name of this file is not UTF-8; rename it to send it";
            Assert.That(ran.ErrorLines.Count(line => line == $"\uFFFD.png: {NotUtf8}"), Is.EqualTo(2), ran.ToString());
            Assert.That(ran.ErrorLines, Does.Contain($"b\uFFFD.png: {NotUtf8}"));
            Assert.That(ran.Errors, Does.Contain("5 files: 2 done, 3 failed; 18 bytes in "));
            Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "a.png", "\uFFFD.png" }));
        }
        finally
        {
            // .NET cannot remove files whose names are not UTF-8.
            RunIn(folder, "rm -r camera");
        }
    }

    private static void RunIn(string folder, string script)
    {
        using var shell = Process.Start(new ProcessStartInfo("sh", ["-c", script]) { WorkingDirectory = folder })!;
        shell.WaitForExit();
    }

    [Test, Clause("CLI-5")]
    public void Client_reports_a_link_that_leads_nowhere()
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        File.CreateSymbolicLink(Path.Combine(folder, "camera/b.png"), "gone.png");
        foreach (string words in (string[])["PUT camera", "PUT camera/b.png"])
        {
            Ran ran = Client(folder, words);
            ran.MustExit(1, "b.png: a link to a file that is not there\n");
        }
    }

    [Test, Clause("CLI-5")]
    public void Client_names_three_of_twelve_files_that_it_cannot_save_for_one_reason()
    {
        RequireLinux();
        for (int i = 0; i < 12; i++)
        {
            Server.Has($"{i:D2}.png", Notation.Bytes(9));
        }

        string folder = NewFolder();
        string closed = Directory.CreateDirectory(Path.Combine(folder, "closed")).FullName;
        string launcher = UnprivilegedUser.Launcher(folder);
        SetMode(closed, UnixFileMode.UserRead | UnixFileMode.UserExecute | UnixFileMode.OtherRead
            | UnixFileMode.OtherExecute);
        try
        {
            Ran ran = Client(folder, "GET '*' --output closed", launcher: launcher);
            ran.MustExit(1);
            string why = $"you may not write into {closed} (access is denied)";
            int named = ran.ErrorLines.Count(line => line.EndsWith($".png: {why}"));
            Assert.That(named, Is.EqualTo(3), ran.ToString());
            Assert.That(ran.ErrorLines, Does.Contain($"and 9 more: {why}"));
        }
        finally
        {
            SetMode(closed, OwnerOnly);
        }
    }

    [TestCase("PUT nowhere", "nowhere: there is no such file or folder here")]
    [TestCase("PUT 'nowhere/*.png'", "nowhere/*.png: there is no folder nowhere")]
    [TestCase("PUT nothing", "nothing: this folder is empty")]
    [TestCase("PUT folders", "folders: only folders are in this folder")]
    [TestCase("PUT texts", "texts: only files of other types are in this folder")]
    [TestCase("PUT mixed", "mixed: only folders and files of other types are in this folder")]
    [TestCase("PUT hidden", "hidden: only hidden files are in this folder")]
    [TestCase("PUT 'texts/z*'", "texts/z*: nothing matches this pattern")]
    [TestCase("PUT 'texts/*.txt'", "texts/*.txt: only files of other types match this pattern")]
    [TestCase("PUT 'folders/*'", "folders/*: only folders match this pattern")]
    [TestCase("GET '*.png'", "*.png: the server has no pictures of the types that it serves")]
    [Clause("CLI-5")]
    public void Client_says_why_it_found_nothing(string words, string says)
    {
        string folder = NewFolder();
        Directory.CreateDirectory(Path.Combine(folder, "nothing"));
        Directory.CreateDirectory(Path.Combine(folder, "folders/inside"));
        Give(folder, "texts/a.txt");
        Give(folder, "mixed/a.txt");
        Directory.CreateDirectory(Path.Combine(folder, "mixed/inside"));
        Give(folder, "hidden/.a.png");
        Ran ran = Client(folder, words);
        ran.MustExitWithLines(1, says);
    }

    [Test, Clause("CLI-5")]
    public void Client_names_three_of_more_than_ten_failures_for_one_reason()
    {
        string folder = NewFolder();
        Give(folder, "camera/a.png");
        for (int i = 0; i < 30; i++)
        {
            Give(folder, $"camera/IMG_{i:D2}.HEIC");
        }

        for (int i = 0; i < 10; i++)
        {
            Give(folder, $"camera/{i}:00.jpg");
        }

        Ran ran = Client(folder, "PUT camera");
        ran.MustExit(1);
        Assert.That(ran.ErrorLines.Where(line => line.StartsWith("IMG_")).Select(line => line.Split(':')[0]),
            Is.EqualTo(new[] { "IMG_00.HEIC", "IMG_01.HEIC", "IMG_02.HEIC" }));
        Assert.That(ran.Errors, Does.Contain("and 27 more: this type is not transferred"));
        Assert.That(ran.ErrorLines.Count(line => line.Contains(":00.jpg: bad-name")), Is.EqualTo(10));
        Assert.That(ran.Errors, Does.Contain("41 files: 1 done, 40 failed; 9 bytes in "));
    }

    [Test, Clause("CLI-5")]
    public void Server_and_client_accept_images_for_all_picture_types()
    {
        string[] names = ["a.heic", "b.heif", "c.hif", "d.jfif", "e.jxl", "f.jp2", "g.webp", "h.gif", "i.tif", "j.bmp",
            "k.avif", "l.tiff", "m.jpg", "n.jpeg", "o.PNG"];
        string folder = NewFolder();
        foreach (string name in names)
        {
            Give(folder, $"camera/{name}");
        }

        var server = Start("--types images");
        string to = $"client 127.0.0.1 {server.Port}";
        Ran ran = Execute(folder, $"{to} PUT camera --types images");
        ran.MustExit(0);
        Assert.That(Names(server.Folder), Is.EqualTo(names));

        string down = NewFolder();
        ran = Execute(down, $"{to} GET '*'");
        Assert.That(ran.Exit, Is.EqualTo(1), "files of other types are named and not downloaded");
        Assert.That(Names(down), Is.EqualTo(new[] { "m.jpg", "n.jpeg", "o.PNG" }));
        Assert.That(ran.Errors, Does.Contain("a.heic: this type is not transferred; it is with --types images, here"));
        Assert.That(ran.Errors, Does.Contain("and 9 more: this type is not transferred"));
        Assert.That(ran.Errors, Does.Contain("15 files: 3 done, 12 failed"));

        // A client needs no --types to download a file that is named on the command line.
        ran = Execute(down, $"{to} GET a.heic e.jxl");
        ran.MustExit(0);
        ran = Execute(down, $"{to} GET notes.txt");
        Assert.That((ran.Exit, ran.Errors),
            Is.EqualTo((1, "notes.txt: bad-type: not among the --types (jpg, jpeg, png)\n")));
    }

    [Test, Clause("CLI-5")]
    public void Client_compares_sizes_with_new_in_both_directions()
    {
        string up = NewFolder();
        string down = NewFolder();
        foreach (string name in (string[])["same.png", "other.png", "new.png"])
        {
            Give(up, $"pictures/{name}", 5_000);
        }

        Server.Has("same.png", Notation.Bytes(5_000));
        Server.Has("other.png", Notation.Bytes(10_928));
        Ran ran = Client(up, "PUT pictures --new");
        ran.MustExitWithLines(1, "other.png: a different picture has this name there: 5,000 bytes here, 10,928 there");
        Assert.That(ran.Errors, Does.Contain("3 files: 1 done, 1 already there (same name and size; contents not "
            + "compared), 1 failed; 5.0 kB in "));

        Give(down, "same.png", 5_000);
        Give(down, "other.png", 77);
        ran = Client(down, "GET '*' --new");
        ran.MustExitWithLines(1, "other.png: a different picture has this name here: 77 bytes here, 10,928 there");
        Assert.That(ran.Errors, Does.Contain("3 files: 1 done, 1 already there"));
        Assert.That(new FileInfo(Path.Combine(down, "other.png")).Length, Is.EqualTo(77));
        File.Delete(Path.Combine(down, "other.png"));
        ran = Client(down, "GET same.png new.png other.png --new");
        ran.MustExit(0, "3 files: 1 done, 2 already there");
    }

    [Test, Clause("CLI-5", "CLI-12")]
    public void Client_stores_a_picture_under_the_name_given_with_as()
    {
        string folder = NewFolder();
        Give(folder, "12:30.png");
        Give(folder, "b.png");
        Ran ran = Client(folder, "PUT 12:30.png --as half-past-twelve.png");
        ran.MustExit(0);
        Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "half-past-twelve.png" }));

        ran = Client(folder, "PUT b.png --as a:b.png");
        Assert.That((ran.Exit, ran.Errors),
            Is.EqualTo((1, "a:b.png: bad-name: U+003A ':' at position 2 is not allowed\n")));
        foreach (string words in (string[])["PUT b.png 12:30.png --as c.png", "PUT . --as c.png"])
        {
            ran = Client(folder, words);
            ran.MustExit(2);
            Assert.That(ran.ErrorLines, Has.Length.EqualTo(1));
        }

        Assert.That(Client(folder, "GET b.png --as c.png").Exit, Is.EqualTo(2));
        Assert.That(Names(Server.Folder), Is.EqualTo(new[] { "half-past-twelve.png" }));
    }
}
