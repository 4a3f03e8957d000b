namespace ConformanceTests.Sections;

/// <summary>MODIFIED: a picture keeps the time of its last modification when it is copied.</summary>
public sealed class Modified : ServerFixture
{
    private const string Time = "2024-05-01T12:00:00Z";
    private static readonly byte[] _cat = Notation.Bytes(300);

    private static readonly string[] _times =
    [
        Time,
        "2024-02-29T23:59:59Z", "2000-02-29T00:00:00Z",             // leap years
        "2038-01-19T03:14:07Z", "2038-01-19T03:14:08Z",             // the last second in 31 bits, and the next
        "2106-02-07T06:28:16Z", "2262-04-11T23:47:17Z",             // beyond 32 bits; beyond 63 bits of nanoseconds
        "1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
        "1901-12-13T20:45:52Z", "1601-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    ];

    private static readonly string[] _wrong =
    [
        "modified", "modified=", "modified=2024-05-01", "modified=2024-05-01T12:00:00", "modified=2024-05-01T12:00Z",
        "modified=2024-05-01t12:00:00z", "modified=2024-05-01 12:00:00Z", "modified=2024-05-01T12:00:00.5Z",
        "modified=2024-05-01T12:00:00+00:00", "modified=2024-5-1T12:00:00Z", "modified=24-05-01T12:00:00Z",
        "modified= 2024-05-01T12:00:00Z", "modified=2024-05-01T12:00:00Z ", "modified=+024-05-01T12:00:00Z",
        "modified=2023-02-29T00:00:00Z", "modified=1900-02-29T00:00:00Z", "modified=2024-04-31T00:00:00Z",
        "modified=2024-13-01T00:00:00Z", "modified=2024-00-01T00:00:00Z", "modified=2024-05-00T00:00:00Z",
        "modified=2024-05-01T24:00:00Z", "modified=2024-05-01T12:60:00Z", "modified=2024-05-01T12:00:60Z",
        "modified=0000-01-01T00:00:00Z", "modified=10000-01-01T00:00:00Z", "modified=1714564800",
        "modified=2024-05-01T12:00:00Z=", "modified=२०२४-05-01T12:00:00Z", "modified=yesterday", "Modified=" + Time,
    ];

    private static byte[] Block(byte[] content, bool digest = false) =>
        [.. Notation.U64((ulong)content.Length), .. content, .. digest ? SHA256.HashData(content) : []];

    // Returns what becomes of this time if the suite sets it: a file system does not hold every time.
    private string NearestTime(string time)
    {
        string path = Path.Combine(Server.Folder, ".nearest");
        File.WriteAllBytes(path, [1]);
        File.SetLastWriteTimeUtc(path, DateTime.Parse(time, null, DateTimeStyles.AdjustToUniversal));
        string nearest = Written(File.GetLastWriteTimeUtc(path));
        File.Delete(path);
        return nearest;
    }

    private static string Written(DateTime time) =>
        time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private string TimeOf(string name) => Written(File.GetLastWriteTimeUtc(Server.PathOf(name)));

    private static void Upload(ProtocolConnection wire, string request, byte[] content, bool digest = false)
    {
        wire.Ask(request);
        wire.Send(Block(content, digest));
        wire.Expect("OK\n");
    }

    // Downloads cat.png, whose time must be this, and nothing more may come.
    private static void ExpectTimeInGet(ProtocolConnection wire, string time)
    {
        wire.Send("GET|cat.png|modified\n");
        wire.Expect($"OK|{time}\n");
        wire.ExpectBytes(Block(_cat));
        wire.List();
    }

    [TestCaseSource(nameof(_times)), Clause("MODIFIED-1", "MODIFIED-4", "LIST-1")]
    public void Server_gives_the_uploaded_file_the_time_or_the_nearest_that_the_file_system_holds(string time)
    {
        Skip.If(RunSettings.Current.OnWindows,
            "needs a folder whose file system holds the same times as the one that the suite sees");

        string nearest = NearestTime(time);
        var wire = Connect();
        Upload(wire, $"PUT|cat.png|modified={time}", _cat);
        Demand(TimeOf("cat.png") == nearest, $"{nearest} as the time of cat.png, stored with modified={time}",
            TimeOf("cat.png"));
        string line = string.Join(", ", wire.List());
        Demand(line == $"cat.png|300|{nearest}", $"cat.png|300|{nearest} in the listing", line);
        ExpectTimeInGet(wire, nearest);
    }

    [Test, Clause("MODIFIED-1", "P1")]
    public void Server_sets_the_time_before_the_file_has_its_name()
    {
        var wire = Connect();
        for (int i = 0; i < 5; i++)
        {
            using var watch = new FolderWatch(Server.Folder);
            Upload(wire, $"PUT|{i}.png|modified={Time}", _cat);
            wire.List();
            string[] done = watch.DoneSinceItAppeared($"{i}.png");
            Demand(!done.Contains(FolderWatch.AttributesChanged),
                $"{i}.png with its time from the moment at which it appears",
                $"it was {string.Join(", then ", done)}: set the time of the temporary file");
            Demand(TimeOf($"{i}.png") == Time, Time, TimeOf($"{i}.png"));
        }
    }

    [TestCaseSource(nameof(_wrong)), Clause("MODIFIED-3", "REQ-1", "ERR-1")]
    public void Server_answers_unsupported_to_a_PUT_with_a_wrong_time(string option)
    {
        var wire = Connect();
        foreach (string request in (string[])[$"PUT|cat.png|{option}", $"PUT|../cat.exe|{option}"])
        {
            wire.ExpectRefusal(request, "unsupported");
        }

        ListIs(wire);
    }

    [Test, Clause("MODIFIED-3", "REQ-1")]
    public void Server_answers_unsupported_where_modified_does_not_belong(
        [Values("GET|cat.png|modified=" + Time, "GET|cat.png|modified=", "LIST|modified", "LIST|modified=" + Time,
            "STATUS|modified", "GET|cat.png|MODIFIED")] string request)
    {
        Server.Has("cat.png", _cat);
        var wire = Connect();
        wire.ExpectRefusal(request, "unsupported");
        ListHas(wire, 1);
    }

    [Test, Clause("MODIFIED-3", "REQ-2", "CLOSE-1")]
    public void Server_answers_bad_request_to_modified_given_twice(
        [Values("GET|cat.png|modified|modified", "PUT|cat.png|modified=" + Time + "|modified=" + Time,
            "PUT|cat.png|modified=yesterday|modified=" + Time, "GET|cat.png|modified|modified=")] string request)
    {
        var wire = Connect();
        wire.ExpectRefusal(request, "bad-request", closes: true);
    }

    [Test, Clause("MODIFIED-2", "LIST-1")]
    public void Server_answers_a_GET_with_the_same_time_as_LIST(
        [Values("2024-05-01T12:00:00Z", "1999-12-31T23:59:59.999Z", "2030-06-15T01:02:03.000001Z")] string time)
    {
        Server.Has("cat.png", _cat);
        File.SetLastWriteTimeUtc(
            Server.PathOf("cat.png"), DateTime.Parse(time, null, DateTimeStyles.AdjustToUniversal));
        var wire = Connect();
        string listed = wire.List().Single().Split('|')[2];
        Demand(listed == $"{time[..19]}Z", $"{time[..19]}Z in the listing", listed);
        ExpectTimeInGet(wire, listed);
    }

    [Test, Clause("MODIFIED-2", "GET-1")]
    public void Server_sends_the_time_only_to_a_GET_that_asks_for_it()
    {
        var wire = Connect();
        Upload(wire, $"PUT|cat.png|modified={Time}", _cat);
        for (int i = 0; i < 2; i++)
        {
            Same(_cat, wire.Get("cat.png"), "what GET of cat.png brought");
            ExpectTimeInGet(wire, Time);
        }
    }

    [Test, Clause("MODIFIED-2", "GET-2")]
    public void Server_refuses_a_GET_with_modified_like_one_without()
    {
        var wire = Connect();
        foreach (var (name, code) in
            (ReadOnlySpan<(string, string)>)[("dog.png", "not-found"), ("a/b.png", "bad-name"), ("a.exe", "bad-type")])
        {
            wire.ExpectRefusal($"GET|{name}|modified", code);
        }

        wire.List();
    }

    [Test, Clause("MODIFIED-1", "PUT-2")]
    public void Server_gives_a_file_without_the_option_the_time_of_its_upload()
    {
        var wire = Connect();
        Upload(wire, $"PUT|old.png|modified={Time}", _cat);
        var before = DateTime.UtcNow.AddSeconds(-2);
        wire.Put("new.png", _cat);
        var after = DateTime.UtcNow.AddSeconds(2);
        var there = File.GetLastWriteTimeUtc(Server.PathOf("new.png"));
        Demand(there >= before && there <= after, "the time of its upload for a file that is stored without `modified`",
            Written(there));
    }

    [Test, Clause("MODIFIED-1", "PUT-4", "PUT-6")]
    public void Server_stores_nothing_and_changes_no_time_when_it_refuses_the_upload()
    {
        var wire = Connect();
        Upload(wire, $"PUT|cat.png|modified={Time}", _cat);
        wire.ExpectRefusal("PUT|cat.png|modified=2001-01-01T00:00:00Z", "exists");
        wire.Ask("PUT|page.png|modified=2001-01-01T00:00:00Z");
        wire.Send(Block([.. "<!DOCTYPE html>"u8]));
        wire.ExpectError("bad-type");
        Same([$"cat.png|300|{Time}"], wire.List(), "the lines of the listing");
        ExpectNothingHidden("when an upload with a time was refused", breaks: "REPLY-1");
    }

    private static IEnumerable<string> Orders(params string[] options) =>
        options.Length < 2 ? options
            : options.SelectMany(first => Orders([.. options.Except([first])]).Select(rest => $"{first}|{rest}"));

    private static IEnumerable<string> GetOrders() => Orders("modified", "offset=290", "digest=sha256");

    [TestCaseSource(nameof(GetOrders)), Clause("MODIFIED-2", "OFFSET-1", "DIGEST-1")]
    public void Server_accepts_modified_in_a_GET_with_other_options_in_any_order(string options)
    {
        Server.Has("cat.png", _cat);
        File.SetLastWriteTimeUtc(Server.PathOf("cat.png"), new DateTime(2024, 5, 1, 12, 0, 0, DateTimeKind.Utc));
        var wire = Connect();
        wire.Send($"GET|cat.png|{options}\n");
        wire.Expect($"OK|{Time}\n");
        wire.ExpectBytes([.. Block(_cat[290..]), .. SHA256.HashData(_cat)]);
        wire.Send($"GET|cat.png|{options.Replace("290", "301")}\n");
        wire.ExpectError("bad-offset");
        wire.List();
    }

    private static IEnumerable<string> PutOrders() => Orders($"modified={Time}", "ahead", "digest=sha256");

    [TestCaseSource(nameof(PutOrders)), Clause("MODIFIED-1", "AHEAD-1", "DIGEST-2")]
    public void Server_accepts_modified_in_a_PUT_with_other_options_in_any_order(string options)
    {
        Server.Has("there.png", _cat);
        var wire = Connect();
        wire.Send([
            .. Encoding.UTF8.GetBytes($"PUT|cat.png|{options}\n"), .. Block(_cat, digest: true),
            .. Encoding.UTF8.GetBytes($"PUT|there.png|{options}\n"), .. Block(_cat, digest: true)]);
        wire.Expect("OK\nOK\n");
        wire.Expect("OK\n");
        wire.ExpectError("exists");
        Demand(TimeOf("cat.png") == Time, Time, TimeOf("cat.png"));
    }

    [Test, Clause("MODIFIED-3", "AHEAD-1")]
    public void Server_refuses_a_wrong_time_at_once_also_with_ahead()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png|ahead|modified=2023-02-29T00:00:00Z\n");
        wire.ExpectError("unsupported");                // and no block follows
        ListIs(wire);
    }
}
