namespace ConformanceTests.Sections;

/// <summary>MODIFIED: a client that asks for the time of a picture, and sends it.</summary>
public sealed class ClientModified : ClientFixture
{
    private const string Time = "2024-05-01T12:00:00Z";
    private static readonly byte[] _cat = Notation.Bytes(300);

    private static string Written(DateTime time) =>
        time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private static bool AsksForTime(string[] fields) => fields.Any(field => field.Split('=')[0] == "modified");

    // Starts a client, and returns the fields of its request, which asks for the time of the file or sends it. Skips
    // the test if the client does not use modified.
    private (ChildProgram Client, ProtocolConnection Wire, string[] Fields) RunWithTime(string verb)
    {
        var (client, wire) = Connected(verb, "cat.png");
        string[] fields = wire.ReceiveLine($"{verb}|cat.png\\n").Split('|');
        if (fields.Contains("ahead"))
        {
            wire.Send("ER|unsupported|this server does not know ahead\n");
            fields = wire.ReceiveLine($"{verb}|cat.png\\n").Split('|');
        }

        Skip.IfNotOffered(!AsksForTime(fields), "the client does not use modified");

        return (client, wire, fields);
    }

    private static bool HasDigest(string[] fields) => fields.Contains("digest=sha256");

    private static readonly string[] _times =
    [
        Time, "2024-02-29T23:59:59Z", "1970-01-01T00:00:00Z", "2038-01-19T03:14:08Z", "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    ];

    [TestCaseSource(nameof(_times)), Clause("MODIFIED-5", "CLI-4")]
    public void Client_gives_the_downloaded_file_the_time_or_the_nearest_that_the_file_system_holds(string time)
    {
        Skip.If(RunSettings.Current.OnWindows,
            "needs a folder whose file system holds the same times as the one that the suite sees");

        Give("mine.png", [1]);
        File.SetLastWriteTimeUtc(PathOf("mine.png"), DateTime.Parse(time, null, DateTimeStyles.AdjustToUniversal));
        string nearest = Written(File.GetLastWriteTimeUtc(PathOf("mine.png")));
        var (client, wire, fields) = RunWithTime("GET");
        using var watch = new FolderWatch(Folder);
        wire.Send([.. Encoding.UTF8.GetBytes($"OK|{time}\n"), .. Block(_cat, HasDigest(fields))]);
        int exit = client.WaitForExit();
        Demand(exit == 0, $"exit code 0 after OK|{time}", $"exit code {exit}");
        string[] done = watch.DoneSinceItAppeared("cat.png");
        Demand(!done.Contains(FolderWatch.AttributesChanged),
            "cat.png with its time from the moment at which it appears",
            $"it was {string.Join(", then ", done)}: set the time of the temporary file");
        string there = Written(File.GetLastWriteTimeUtc(PathOf("cat.png")));
        Demand(there == nearest, $"{nearest} as the time of cat.png", there);
        Same(_cat, LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
    }

    [Test, Clause("MODIFIED-1", "CLI-5")]
    public void Client_sends_the_time_of_its_file()
    {
        Give("cat.png", _cat);
        File.SetLastWriteTimeUtc(PathOf("cat.png"), new DateTime(2024, 5, 1, 12, 0, 0, 999, DateTimeKind.Utc));
        var (client, wire, fields) = RunWithTime("PUT");
        Demand(fields.Contains($"modified={Time}"), $"modified={Time}, the time of cat.png in UTC",
            string.Join('|', fields));
        wire.Send("OK\n");
        wire.ExpectBytes(Block(_cat, HasDigest(fields)));
        wire.Send("OK\n");
        wire.ExpectEnd();
        client.MustSucceed();
    }

    [Test, Clause("CLI-13", "MODIFIED-2")]
    public void Client_leaves_out_modified_before_the_digest([Values("GET", "PUT")] string verb)
    {
        if (verb == "PUT")
        {
            Give("cat.png", _cat);
        }

        var (client, wire, fields) = RunWithTime(verb);
        bool hadDigest = HasDigest(fields);
        wire.Send("ER|unsupported|this server does not know modified\n");
        string[] next = wire.ReceiveLine($"{verb}|cat.png\\n").Split('|');
        Demand(!AsksForTime(next), "the same request without modified", string.Join('|', next));
        Demand(HasDigest(next) == hadDigest, "the digest still asked for: it is the last option to be left out",
            string.Join('|', next));
        if (verb == "GET")
        {
            wire.Send([.. "OK\n"u8, .. Block(_cat, HasDigest(next))]);
        }
        else
        {
            wire.Send("OK\n");
            wire.ExpectBytes(Block(_cat, HasDigest(next)));
            wire.Send("OK\n");
        }

        client.MustSucceed();
    }

    private static readonly string[] _noReplies =
    [
        "OK|", "OK|x", "OK|2024-05-01", "OK|2024-05-01T12:00:00", "OK|2023-02-29T00:00:00Z", "OK|2024-05-01T24:00:00Z",
        "OK|0000-01-01T00:00:00Z", "OK|2024-05-01T12:00:00Z|", "OK|2024-05-01T12:00:00Z ", "OK |2024-05-01T12:00:00Z",
    ];

    [TestCaseSource(nameof(_noReplies)), Clause("CLI-2", "MODIFIED-3", "CLI-5")]
    public void Client_fails_if_the_time_in_the_reply_is_not_valid(string reply)
    {
        var (client, wire, fields) = RunWithTime("GET");
        wire.Send([.. Encoding.UTF8.GetBytes(reply + "\n"), .. Block(_cat, HasDigest(fields))]);
        wire.HalfClose();
        client.MustFail();
        Demand(!File.Exists(PathOf("cat.png")), $"no cat.png after {reply}, which is not a reply", "it is there");
    }

    [Test, Clause("MODIFIED-6", "CLI-2", "CLI-5")]
    public void Client_fails_if_a_reply_has_a_time_that_it_did_not_ask_for(
        [Values("LIST", "GET", "PUT", "PUT, after the block")] string request)
    {
        string verb = request.Split(',')[0];
        if (verb == "PUT")
        {
            Give("cat.png", _cat);
        }

        var (client, wire, digest) = Begin(verb);
        if (request == "PUT, after the block")
        {
            wire.Send("OK\n");
            wire.ExpectBytes(Block(_cat, digest));
        }

        byte[] block = verb switch { "LIST" => Block([]), "GET" => Block(_cat, digest), _ => [] };
        wire.Send([.. Encoding.UTF8.GetBytes($"OK|{Time}\n"), .. block]);
        wire.HalfClose();
        int exit = client.WaitForExit();
        Demand(exit != 0, $"exit code other than 0 after OK|{Time}, which the client did not ask for", "exit code 0");
        if (verb == "GET")
        {
            Demand(!File.Exists(PathOf("cat.png")), "no cat.png: it was not a reply", "it is there");
        }
    }
}
