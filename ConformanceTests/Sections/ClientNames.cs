namespace ConformanceTests.Sections;

/// <summary>NAME-4 and CLI-12: a client uses names as they are, and all that are allowed.</summary>
public sealed class ClientNames : ClientFixture
{
    private static readonly string[] _names =
    [
        "cafe\u0301.png", "caf\u00e9.png", "A-b.PNG", "two words.png", "a..b.png", "x.y.jpeg", "nur\u200dso.png",
        "console.png", "com10.jpg", "\u732b.jpg", new string('l', 251) + ".png",
    ];

    [TestCaseSource(nameof(_names)), Clause("CLI-12", "NAME-4")]
    public void Client_saves_the_file_under_the_name_that_it_asked_for(string name)
    {
        var (client, wire, digest) = Begin("GET", name);
        wire.Send([.. "OK\n"u8, .. Block([.. "any bytes, no picture"u8], digest)]);
        client.MustSucceed();
        Demand(Files() is [var saved] && saved == name, Notation.Show(Encoding.UTF8.GetBytes(name)),
            string.Join(", ", Files()));
    }

    [TestCaseSource(nameof(_names)), Clause("NAME-4", "CLI-12")]
    public void Client_uploads_a_file_under_its_name(string name)
    {
        Give(name, Notation.Bytes(9));
        var (client, wire, digest) = Begin("PUT", name);
        wire.Send("OK\n");
        wire.ExpectBytes(Block(Notation.Bytes(9), digest));
        wire.Send("OK\n");
        wire.ExpectEnd();
        client.MustSucceed();
    }

    [Test, Clause("NAME-4", "CLI-6")]
    public void Client_downloads_a_file_although_it_has_one_whose_name_differs_in_case()
    {
        Give("CAT.png", [.. "mine"u8]);
        Skip.If(RunSettings.Current.OnWindows || File.Exists(PathOf("cat.png")),
            "needs a folder that tells upper from lower case");

        var (client, wire, digest) = Begin("GET");
        wire.Send([.. "OK\n"u8, .. Block(Notation.Bytes(9), digest)]);
        client.MustSucceed();
        Same([.. "mine"u8], LocalFiles.Read(PathOf("CAT.png")), "CAT.png, which was here before");
        Same(Notation.Bytes(9), LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }
}
