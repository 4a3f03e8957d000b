namespace ConformanceTests.Reference;

/// <summary>The option --new, with the suite as the server: what the client sends for it.</summary>
[Reference]
public sealed class OnlyNewOption : ClientFixture
{
    private const string TwoThere = "2 already there (same name and size; contents not compared)";

    private void GiveAll(params string[] names)
    {
        foreach (string name in names)
        {
            Give(name, Notation.Bytes(9));
        }
    }

    private static void SendListing(ProtocolConnection wire, params string[] names)
    {
        wire.Expect("LIST\n");
        byte[] lines = [.. names.SelectMany(name => Encoding.UTF8.GetBytes($"{name}|9|2026-01-31T23:59:59Z\n"))];
        wire.Send([.. "OK\n"u8, .. Block(lines)]);
    }

    private static byte[] NineBytes => Block(Notation.Bytes(9));

    [Test, Clause("CLI-1", "CLI-5")]
    public void Client_requests_no_file_that_is_there_with_new()
    {
        GiveAll("a.png", "b.png", "c.png");

        var (client, wire) = Connected("PUT", "a.png", "b.png c.png --new --no-digest");
        SendListing(wire, "a.png", "c.png", "z.png");
        wire.Answer("PUT|b.png|ahead\n", "OK\n");
        wire.ExpectBytes(NineBytes);
        wire.Send("OK\n");
        wire.ExpectEnd();
        client.MustExit(0, $"3 files: 1 done, {TwoThere}, 0 failed; 9 bytes in");
    }

    [Test, Clause("CLI-1", "CLI-5")]
    public void Client_sends_nothing_with_new_if_everything_is_there()
    {
        GiveAll("a.png");
        var (client, wire) = Connected("PUT", "a.png", "--new");
        SendListing(wire, "a.png");
        wire.ExpectEnd();
        client.MustExit(0);
    }

    [Test, Clause("CLI-5", "P2")]
    public void Client_skips_files_that_appear_during_a_batch()
    {
        GiveAll("a.png", "b.png", "c.png");

        var (client, wire) = Connected("PUT", "a.png", "b.png c.png --new --no-digest");
        SendListing(wire);
        wire.Answer("PUT|a.png|ahead\n", "OK\n");
        wire.ExpectBytes(NineBytes);
        wire.Send("ER|exists|since a moment\n");
        foreach (string name in (string[])["b.png", "c.png"])
        {
            wire.ExpectRequest($"PUT|{name}|ahead\n");
            wire.ExpectBytes(NineBytes);
        }

        wire.Send("OK\nER|exists|since a moment\nOK\nOK\n");
        SendListing(wire, "a.png", "b.png", "c.png");   // the client compares the sizes
        wire.ExpectEnd();
        client.MustExit(0, $"3 files: 1 done, {TwoThere}, 0 failed");
        Assert.That(client.Errors, Does.Not.Contain("exists"));
    }

    [Test, Clause("CLI-5", "P2")]
    public void Client_skips_a_file_that_appears_between_the_listing_and_its_upload()
    {
        GiveAll("a.png");
        var (client, wire) = Connected("PUT", "a.png", "--new --no-digest");
        SendListing(wire);
        wire.Answer("PUT|a.png\n", "ER|exists|since a moment\n");
        SendListing(wire, "a.png");
        wire.ExpectEnd();
        client.MustExit(0);
    }

    [Test, Clause("CLI-5")]
    public void Client_that_cannot_reconnect_names_the_files_that_it_could_not_compare()
    {
        GiveAll("a.png", "b.png");
        var (client, wire) = Connected("PUT", "a.png", "b.png --new --no-digest");
        SendListing(wire);
        wire.Answer("PUT|a.png|ahead\n", "OK\n");
        wire.ExpectBytes(NineBytes);
        wire.Send("ER|exists|since a moment\n");
        wire.ExpectRequest("PUT|b.png|ahead\n");
        wire.ExpectBytes(NineBytes);
        StopListening();
        wire.Send("OK\nER|timeout|too slow\n");
        wire.Dispose();
        client.MustExit(3, "a.png: exists", "b.png: timeout", "cannot connect", "2 files: 0 done, 2 failed");
    }

    [Test, Clause("CLI-5")]
    public void Client_that_cannot_connect_names_all_files_with_new()
    {
        GiveAll("a.png", "b.png");
        StopListening();
        var client = Run("PUT", "a.png", "b.png --new");
        client.MustExit(3, "a.png: not transferred", "b.png: not transferred");
        Assert.That(client.Errors.Split("cannot connect"), Has.Length.EqualTo(2), client.Errors);
        Assert.That(client.Errors, Does.Contain("2 files: 0 done, 2 failed"));
    }

    [Test, Clause("CLI-5", "CLI-6")]
    public void Client_does_not_download_files_that_it_has_with_new()
    {
        GiveAll("a.png");
        var (client, wire) = Connected("GET", "a.png", "b.png --new --no-digest");
        SendListing(wire, "a.png", "b.png");
        wire.Answer("GET|b.png\n", [.. "OK\n"u8, .. NineBytes]);
        wire.ExpectEnd();
        client.MustExit(0);

        (client, wire) = Connected("GET", "a.png", "b.png --new");
        SendListing(wire, "a.png", "b.png");
        wire.ExpectEnd();
        client.MustExit(0, $"2 files: 0 done, {TwoThere}, 0 failed");
    }

    [Test, Clause("CLI-5", "CLI-2")]
    public void Client_fails_if_the_listing_that_it_compares_with_fails()
    {
        GiveAll("a.png");
        var (client, wire) = Connected("PUT", "a.png", "--new --no-digest");
        wire.Expect("LIST\n");
        wire.Send("ER|storage|not just now\n");
        wire.Answer("PUT|a.png\n", "OK\n");
        wire.ExpectBytes(NineBytes);
        wire.Send("OK\n");
        client.MustExit(1, "LIST: storage: not just now");
    }

    [Test, Clause("NAME-1", "CLI-6")]
    public void Client_saves_no_file_under_an_invalid_name_of_the_listing()
    {
        var (client, wire) = Connected("GET", "*", "--no-digest");
        SendListing(wire, "../x.png", ".bashrc", "a.png", "b.exe", "c\u001b.png", "con.png");
        wire.Answer("GET|a.png\n", [.. "OK\n"u8, .. NineBytes]);
        wire.ExpectEnd();
        client.MustExit(1, @"c\x1B.png: bad-name: U+001B at position 2 is not allowed",
            "con.png: bad-name: this is the name of a device on Windows", "ignored: 1 .exe");
        Assert.That(Directory.GetFiles(Folder), Is.EqualTo(new[] { Path.Combine(Folder, "a.png") }));
    }
}
