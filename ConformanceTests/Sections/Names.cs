namespace ConformanceTests.Sections;

/// <summary>NAME: one rule for every name.</summary>
public sealed class Names : ServerFixture
{
    private static readonly string[] _outside =
    [
        "", ".", "..", "../x.png", "../../etc/passwd", "/etc/passwd", "a/b.png", "..\\x.png",
        "\\\\host\\share\\x.png", "C:\\x.png", "C:x.png", "\\??\\C:\\x.png", "x.png::$DATA", "x:y.png",
        ".hidden.png", ".png", " x.png", "x.png ", "x.png.", "x.",
        "a*b.png", "a?b.png", "a\"b.png", "a<b.png", "a>b.png",
        "a\0b.png", "a\tb.png", "a\rb.png", "\u001b[2J.png", "a\u007fb.png", "a\u0085b.png",
        "a\u202eb.png", "a\u200bb.png", "a\u2028b.png", "a\u2029b.png", "\ufeffa.png", "a\u00adb.png",
        "a\u0600b.png", "a\u061cb.png", "a\u06ddb.png", "a\u070fb.png", "a\u08e2b.png", "a\u180eb.png",
        "a\u200eb.png", "a\u200fb.png", "a\u2060b.png", "a\u2066b.png", "a\ufff9b.png",
        "a\U000110BDb.png", "a\U000110CDb.png", "a\U00013430b.png", "a\U0001BCA0b.png", "a\U0001D173b.png",
        "\U000E0041.png", "a\U000E0001b.png", "a\U000E007Fb.png",
        // U+200C and U+200D at the beginning, at the end, before a dot and after one
        "\u200ca.png", "\u200da.png", "a.png\u200c", "a.png\u200d", "a\u200c.png", "a\u200d.png", "a.\u200cpng",
        "a.\u200db.png", "a\u200c.b.png", "\u200d.png",
    ];

    private static readonly string[] _devices =
    [
        "CON.png", "con.png", "Con.Jpg", "PRN.png", "AUX.jpg", "nul.png", "nul.a.png",
        "COM0.png", "COM1.png", "com9.jpeg", "LPT0.png", "lpt9.png", "COM¹.png", "LPT³.png",
        "CONIN$.png", "conout$.png", "con .png", "COM1  .x.png",
    ];

    private static readonly string[] _otherTypes =
    [
        "cat.exe", "cat", "cat.png.exe", "cat.pngx", "catpng", "cat.gif", "cat.webp", "cat.jp", "%2e%2e%2fcat",
    ];

    private static readonly string[] _inside =
    [
        "a.png", "A.PNG", "a.JPG", "a.jpeg",
        "a b.png", "a..b.png", "-a.png", "~.png", "a'b.png", "$HOME.png", "%2e%2e.png",
        "CONSOLE.png", "COM10.png", "COMX.png", "xcon.png", "a.con.png",
        "#1.png", "a;b.png", "a=b.png", "conın$.png", "COM⁴.png", "LPT٣.png", "con\u00a0.png", "nul\u3000.png",
        "Grüße.png", "Gru\u0308ße.png", "猫.jpg", "😀.png", "ﬁ.png",
        "\u00a0x.png", "x\u3000.png", "ԱԲ.png", "a\u0301.png",
        "می\u200cخواهم.png", "ශ්\u200dරී.png", "क्\u200dष.png", "👩\u200d👩.png", "a\u200cb.png", "a\u200d\u200cb.png",
        "a \u200cb.png",
        "{port}.png", "OK.png", "[x].png", "a,b.png", "a&b.png", "a(b).png", "!.png", "+.png", "@.png",
    ];

    [TestCaseSource(nameof(_outside)), Clause("NAME-1", "NAME-3", "P10")]
    public void Server_answers_bad_name_to_an_invalid_name(string name) => RefusedBothWays(name, "bad-name");

    [TestCaseSource(nameof(_devices)), Clause("NAME-2", "NAME-3")]
    public void Server_answers_bad_name_to_a_Windows_device_name(string name) => RefusedBothWays(name, "bad-name");

    [TestCaseSource(nameof(_otherTypes)), Clause("NAME-3")]
    public void Server_answers_bad_type_to_another_extension(string name) => RefusedBothWays(name, "bad-type");

    private void RefusedBothWays(string name, string code)
    {
        string canary = Path.Combine(Path.GetDirectoryName(Server.Folder)!, "x.png");
        bool there = File.Exists(canary);
        var wire = Connect();
        wire.ExpectRefusal($"GET|{name}", code);
        wire.ExpectRefusal($"PUT|{name}", code);
        ListIs(wire);
        var entries = Directory.GetFileSystemEntries(Server.Folder);
        Same([], entries.Where(entry => !Path.GetFileName(entry).StartsWith(".")),
            "what is left in the server's folder");
        Demand(File.Exists(canary) == there, "the files outside the folder as they were", "one was made or removed");
    }

    [TestCaseSource(nameof(_inside)), Clause("NAME-4")]
    public void Server_accepts_every_valid_name(string name)
    {
        bool isPng = name.EndsWith(".png", StringComparison.OrdinalIgnoreCase);
        byte[] signature = isPng ? [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A] : [0xFF, 0xD8, 0xFF];
        byte[] picture = [.. signature, 1, 2, 3];
        var wire = Connect();
        wire.Put(name, picture);
        Same(picture, wire.Get(name), $"what GET of {name} brought");
        string listed = string.Join(", ", wire.List());
        Demand(listed.StartsWith($"{name}|{picture.Length}|", StringComparison.Ordinal),
            $"{name}|{picture.Length}|" + "…", listed);
        Same(picture, Server.Stored(name), $"{name} as it was stored");
    }

    [Test, Clause("NAME-1")]
    public void Server_accepts_a_name_of_255_bytes_and_refuses_256([Values("a", "ä", "猫")] string letter)
    {
        int size = Encoding.UTF8.GetByteCount(letter);
        int stem = Limits.NameBytes - ".png".Length;
        int fill = stem / size;
        string longest = new string('x', stem - fill * size) + string.Concat(Enumerable.Repeat(letter, fill)) + ".png";
        Counts(Limits.NameBytes, Encoding.UTF8.GetByteCount(longest), "bytes in the longest name");
        var wire = Connect();
        wire.Put(longest, Notation.Bytes(9));
        Counts(9, wire.Get(longest).Length, $"bytes in what GET of {longest} brought");
        wire.ExpectRefusal($"GET|x{longest}", "bad-name");
        wire.ExpectRefusal($"PUT|x{longest}", "bad-name");
        wire.List();
    }

    [Test, Clause("NAME-4")]
    public void Server_treats_names_that_differ_in_case_as_two_files_or_answers_exists()
    {
        var wire = Connect();
        wire.Put("a.png", Notation.Bytes(9));
        wire.Send("PUT|A.png\n");
        string answer = wire.ReceiveLine();
        Demand(answer == "OK" || answer.StartsWith("ER|exists|"), "OK, or ER|exists|…", answer);
        if (answer == "OK")
        {
            wire.Send([.. Notation.U64(10), .. Notation.Bytes(10)]);
            wire.Expect("OK\n");
        }

        Counts(9, wire.Get("a.png").Length, "bytes in what GET of a.png brought");
    }

    private static readonly string[] _onDisk =
    [
        "a\u001b[2Jb.png", "line\nbreak.png", " lead.png", "CON.png", "a\u202eb.png", "q?.png", "back\\slash.png",
        "ok.png", "note.txt", ".hidden.png",
    ];

    [Test, Clause("P10", "LIST-1")]
    public void Server_does_not_list_files_with_invalid_names()
    {
        foreach (string name in _onDisk)
        {
            Server.Has(name, Notation.Bytes(9));
        }

        var wire = Connect();
        ListIs(wire, "ok.png");
    }
}
