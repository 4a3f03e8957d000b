// §5 and §6: LIST, GET, PUT, STATUS, and the table of errors.

using System.Security.Cryptography;

public sealed class Lists : ServerConformance
{
    [Test, Clause("LIST-1")]
    public void Two_thousand_files()
    {
        var names = Enumerable.Range(0, 2000).Select(i => $"{new string('x', 100)}{i}.png").ToArray();
        foreach (string name in names)
        {
            Server.Has(name, [1]);
        }

        var wire = Connect();
        var listed = wire.List();
        Assert.That(listed.Select(line => line.Split('|')[0]), Is.EqualTo(names.Order(StringComparer.Ordinal)));
    }

    [Test, Clause("LIST-1")]
    public void Size_and_time_of_each_file()
    {
        Server.Has("a.png", Notation.Bytes(1234));
        File.SetLastWriteTimeUtc(Server.PathOf("a.png"), new DateTime(2024, 2, 29, 12, 34, 56, DateTimeKind.Utc));
        string due = "a.png|1234|2024-02-29T12:34:56Z";
        string came = string.Join(", ", Connect().List());
        Demand(came == due, due, came + (came.Contains("18:19:56")
            ? ": local time (the suite starts programs where that is 5:45 ahead), and UTC is due" : ""));
    }

    [Test, Clause("LIST-1")]
    public void Sorted_by_octets_not_by_UTF_16()
    {
        // The last two: EF BF AE before F0 9F 98 80, though UTF-16 has D83D before FFEE.
        string[] sorted = ["a-b.png", "a.png", "\uffee.png", "😀.png"];
        Server.Has("\uffee.png", [1]);
        Server.Has("😀.png", [1]);
        Server.Has("a.png", [1]);
        Server.Has("a-b.png", [1]);
        Assert.That(Connect().List().Select(line => line.Split('|')[0]), Is.EqualTo(sorted));
    }

    [Test, Clause("LIST-1", "P7")]
    public void A_listing_that_is_read_slowly()
    {
        // One of them is more than a kernel takes in one send, all of them more than kernels keep.
        const int Files = 10_000;
        const int Times = 6;
        for (int i = 0; i < Files; i++)
        {
            Server.Has($"{new string('x', 200)}{i}.png", [1]);
        }

        var slow = ConnectSlow();
        for (int i = 0; i < Times; i++)
        {
            slow.Send("LIST\n");
        }

        slow.RestsFor(1000);                            // now the server waits for it
        Assert.That(Connect().List(), Has.Length.EqualTo(Files));
        for (int i = 0; i < Times; i++)
        {
            slow.Expect("OK\n");
            Assert.That(slow.ReceiveBlock().Count(octet => octet == '\n'), Is.EqualTo(Files));
        }
    }
}

public sealed class Gets : ServerConformance
{
    private static byte[] Digest(byte[] octets) => SHA256.HashData(octets);

    [Test, Clause("GET-2", "P10")]
    public void What_is_not_listed_is_not_there()
    {
        HostileFolder.Fill(Server.Folder, NewFolder());
        var wire = Connect();
        foreach (string name in HostileFolder.Names)
        {
            wire.Send($"GET|{name}\n");
            wire.ExpectError("not-found");
        }

        HostileFolder.ExpectListed(wire.List());
    }

    [Test, Clause("GET-1", "BLOCK-1")]
    public void A_file_larger_than_what_kernels_buffer()
    {
        var picture = Notation.Bytes(24 << 20);
        Server.Has("big.png", picture);
        Wire slow = ConnectSlow();
        Wire other = Connect();
        slow.Send("GET|big.png\nLIST\n");
        for (int i = 0; i < 5; i++)
        {
            other.List();       // meanwhile a send has fallen short
        }

        slow.Expect("OK\n");
        Assert.That(slow.ReceiveBlock().AsSpan().SequenceEqual(picture));
        slow.Expect("OK\n");
        slow.ReceiveBlock();
    }

    [Test, Clause("DIGEST-1")]
    public void The_digest_of_a_large_file()
    {
        var picture = Notation.Bytes((5 << 20) + 3);
        Server.Has("big.png", picture);
        var wire = Connect();
        wire.Send("GET|big.png|digest=sha256\nLIST\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture));
        wire.ExpectOctets(Digest(picture));
        wire.Expect("OK\n");
        wire.ReceiveBlock();
    }

    [Test, Clause("OFFSET-1", "DIGEST-1")]
    public void Every_rest_of_a_file([Values(0, 1, 8, 1000, 1 << 20, (3 << 20) - 1, 3 << 20)] int offset)
    {
        var picture = Notation.Bytes(3 << 20);
        Server.Has("big.png", picture);
        var wire = Connect();
        wire.Send($"GET|big.png|offset={offset:D20}|digest=sha256\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture.AsSpan(offset)));
        wire.ExpectOctets(Digest(picture));
        wire.Send($"GET|big.png|offset={offset}\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture.AsSpan(offset)));
        wire.List();
    }

    [Test, Clause("DIGEST-1", "OFFSET-1")]
    public void The_digest_covers_all_that_is_left_out()
    {
        var picture = Notation.Bytes(40 << 20);
        Server.Has("big.png", picture);
        var wire = Connect();
        wire.Send($"GET|big.png|offset={33 << 20}|digest=sha256\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().AsSpan().SequenceEqual(picture.AsSpan(33 << 20)));
        wire.ExpectOctets(Digest(picture));
    }

    [Test, Clause("OFFSET-1")]
    public void Far_into_a_file([Values(1L << 31, (1L << 32) + 9)] long offset)
    {
        if (Settings.OnWindows)
        {
            NotLookedAt.Skip("needs a file with a hole in it");
        }

        byte[] end = Notation.Bytes(100);
        Server.Has("big.png", Notation.Bytes(8));
        try
        {
            using var file = Disk.Open(Server.PathOf("big.png"), FileAccess.Write);
            file.Seek(offset, SeekOrigin.Begin);        // what lies between takes no room
            file.Write(end);
        }
        catch (IOException)
        {
            NotLookedAt.Skip("needs a file system that takes a file of 4 GiB");
        }

        var wire = Connect();
        wire.Send($"GET|big.png|offset={offset}\n");
        wire.Expect("OK\n");
        wire.ExpectOctets([.. Notation.U64(100), .. end]);
        wire.List();
    }

    [Test, Clause("OFFSET-2")]
    public void Offsets_beyond_the_end(
        [Values("10", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
                "18446744073709551615", "18446744073709551616", "99999999999999999999")] string offset)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.Send($"GET|cat.png|offset={offset}\n");
        wire.ExpectError("bad-offset");
        wire.List();
    }
}

public sealed class Puts : ServerConformance
{
    private static readonly (string Name, string Code)[] _atOnce =
    [
        ("cat.png", "exists"),
        ("cat.exe", "bad-type"),
        ("a/b.png", "bad-name"),
    ];

    [Test, Clause("PUT-1")]
    public void Refused_at_once_without_a_block()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (var (name, code) in _atOnce)
        {
            wire.Send($"PUT|{name}\n");
            wire.ExpectError(code);
        }

        Assert.That(wire.List(), Has.Length.EqualTo(1));
    }

    [Test, Clause("PUT-2")]
    public void Twice_is_refused_and_changes_nothing()
    {
        var wire = Connect();
        wire.Put("cat.png", Notation.Bytes(20));
        wire.Send("PUT|cat.png\n");
        wire.ExpectError("exists");
        Assert.That(wire.Get("cat.png"), Is.EqualTo(Notation.Bytes(20)));
    }

    [Test, Clause("PUT-3")]
    public void An_early_block_is_taken_all_the_same()
    {
        var wire = Connect();
        var picture = Notation.Bytes(100_000);
        wire.Send([.. "PUT|cat.png\n"u8, .. Notation.U64(100_000), .. picture]);
        wire.Expect("OK\nOK\n");
        Assert.That(wire.Get("cat.png").AsSpan().SequenceEqual(picture));
    }

    [Test, Clause("PUT-4", "P10")]
    public void Whatever_has_the_name_keeps_it()
    {
        string outside = NewFolder();
        HostileFolder.Fill(Server.Folder, outside);
        var before = HostileFolder.Look(Server.Folder, outside);
        var wire = Connect();
        foreach (string name in HostileFolder.Names)
        {
            wire.Send($"PUT|{name}\n");
            wire.ExpectError("exists");
        }

        wire.List();
        Assert.That(HostileFolder.Look(Server.Folder, outside), Is.EqualTo(before));
    }

    [Test, Clause("PUT-5")]
    public void At_the_limit_of_1_GiB_and_one_beyond()
    {
        var server = Start();                           // which nobody has told another limit
        Wire at = Connect(server);
        Wire beyond = Connect(server);
        at.Send("PUT|a.png\n");
        beyond.Send("PUT|b.png\n");
        at.Expect("OK\n");
        beyond.Expect("OK\n");
        beyond.Send(Notation.U64((1 << 30) + 1));
        beyond.ExpectError("too-large", closes: true);
        at.Send([.. Notation.U64(1 << 30), .. Notation.Bytes(100)]);
        Connect(server).List();
        Demand(!at.HasMore, "a block of exactly 1 GiB to be waited for", "something comes before its end");
    }

    [Test, Clause("PUT-5")]
    public void At_the_limit_and_one_beyond()
    {
        var server = Start(with: "max-size=10240");
        var wire = Connect(server);
        wire.Put("a.png", Notation.Bytes(10 << 10));
        wire.Send("PUT|b.png\n");
        wire.Expect("OK\n");
        wire.Send(Notation.U64((10 << 10) + 1));
        wire.ExpectError("too-large", closes: true);
        Assert.That(server.Shows("b.png"), Is.False);
    }

    [Test, Clause("PUT-6", "PUT-2")]
    public void The_name_is_taken_while_the_block_comes()
    {
        Connect(out var slow, out var fast);
        slow.Send("PUT|cat.png\n");
        slow.Expect("OK\n");
        slow.Send([.. Notation.U64(30), .. Notation.Bytes(20)]);
        fast.Put("cat.png", Notation.Bytes(12));
        slow.Send(Notation.Bytes(30).AsSpan(20));
        slow.ExpectError("exists");
        Assert.That(slow.Get("cat.png"), Is.EqualTo(Notation.Bytes(12)));
    }

    private void Connect(out Wire one, out Wire two) => (one, two) = (Connect(), Connect());

    [Test, Clause("PUT-6", "DIGEST-2")]
    public void The_first_of_several_reasons_is_the_answer()
    {
        Connect(out var slow, out var fast);
        slow.Send("PUT|cat.png|digest=sha256\n");
        slow.Expect("OK\n");
        fast.Put("cat.png", Notation.Bytes(12));
        slow.Send([.. Notation.U64(12), .. Notation.Bytes(12), .. new byte[32]]);
        slow.ExpectError("corrupt");
        slow.Send("PUT|dog.png|digest=sha256\n");
        slow.Expect("OK\n");
        slow.Send([.. Notation.U64(12), .. new byte[12], .. new byte[32]]);
        slow.ExpectError("bad-type");
        slow.List();
    }

    [Test, Clause("PUT-6")]
    public void A_refusal_waits_for_the_last_octet_of_its_block()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(2 << 20), .. new byte[(2 << 20) - 1]]);
        ExpectNothingYet(wire);
        wire.Send([0]);
        wire.ExpectError("bad-type");
        wire.List();
    }

    [Test, Clause("PUT-6", "CONN-3")]
    public void A_large_refused_block_is_read_to_its_end()
    {
        var wire = Connect();
        wire.Send("PUT|cat.png\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64(5 << 20), .. new byte[5 << 20], .. "LIST\n"u8]);
        wire.ExpectError("bad-type");
        wire.Expect("OK\n");
        wire.ExpectOctets(Notation.U64(0));
    }

    private static readonly (string Name, string Code)[] _whereReadOnly =
    [
        ("dog.png", "denied"),
        ("cat.png", "exists"),
        ("dog.exe", "bad-type"),
        ("a/b.png", "bad-name"),
    ];

    [Test, Clause("PUT-7", "ERR-1")]
    public void A_read_only_server_takes_nothing()
    {
        var server = Start(with: "read-only");
        server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect(server);
        foreach (var (name, code) in _whereReadOnly)
        {
            wire.Send($"PUT|{name}\n");
            wire.ExpectError(code);
        }

        Assert.That(wire.Get("cat.png"), Has.Length.EqualTo(9));
    }

    [Test, Clause("DIGEST-2")]
    public void The_digest_of_a_large_upload()
    {
        var picture = Notation.Bytes((5 << 20) + 3);
        var wire = Connect();
        wire.Send("PUT|big.png|digest=sha256\n");
        wire.Expect("OK\n");
        wire.Send([.. Notation.U64((ulong)picture.Length), .. picture, .. SHA256.HashData(picture)]);
        wire.Expect("OK\n");
        Assert.That(wire.Get("big.png").AsSpan().SequenceEqual(picture));
    }
}

public sealed class Statuses : ServerConformance
{
    [Test, Clause("STATUS-1", "STATUS-2")]
    public void One_line_for_each_connection_oldest_first()
    {
        var server = Start();
        server.Has("cat.png", Notation.Bytes(100));
        var first = Connect(server);
        first.Get("cat.png");                           // 12 octets up, 3 + 8 + 100 down
        first.Dispose();
        var second = Connect(server);
        second.Send("LIST\n");
        second.Expect("OK\n");
        second.ReceiveBlock();
        var third = Connect(server);
        third.Send("NONSENSE\nSTATUS\n");
        third.ExpectError("unsupported");
        string[][] lines = [];
        int asked = 0;
        Eventually(() =>                                // the end of the first is seen when it is seen
        {
            if (asked++ > 0)
            {
                third.Send("STATUS\n");
            }

            third.Expect("OK\n");
            string table = Encoding.UTF8.GetString(third.ReceiveBlock());
            lines = [.. table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('|'))];
            Demand(lines.Length == 3, "three lines, one for each connection", $"{lines.Length}:\n{table}");
            return lines[0][1] != "-";
        }, "expected  the time of its closing in the line of a connection that was closed\n"
            + "received  -, again and again");
        void Field(int line, int field, string expected) => Demand(lines[line][field] == expected,
            $"{expected} in field {field + 1} of line {line + 1}", string.Join('|', lines[line]));

        Field(0, 3, "1");
        Field(0, 4, "12");
        Field(0, 5, "111");
        Field(1, 1, "-");
        Field(1, 2, $"{second.Socket.LocalEndPoint}");
        Field(2, 3, $"{1 + asked}");
        Field(2, 4, $"{9 + 7 * asked}");
    }

    [Test, Clause("STATUS-1")]
    public void Refused_requests_are_counted_too()
    {
        var server = Start();
        string[] refused = ["LIST\r\n", "|\n", "PUT|a.png|x|x\n"];
        foreach (string request in refused)
        {
            var wire = Connect(server);
            wire.Send("LIST\n");
            wire.Expect("OK\n");
            wire.ReceiveBlock();
            wire.Send(request);
            wire.ExpectError("bad-request", closes: true);
            wire.Dispose();
        }

        var cut = Connect(server);
        cut.Send("LIST");                               // without its LF
        cut.HalfClose();
        cut.ExpectError("bad-request", closes: true);
        var last = Connect(server);
        last.Send("STATUS\n");
        last.Expect("OK\n");
        string[] lines = Encoding.UTF8.GetString(last.ReceiveBlock()).Split('\n');
        string[] expected = [.. refused.Select(request => $"2|{5 + request.Length}"), "1|4"];
        for (int i = 0; i < expected.Length; i++)
        {
            Demand(string.Join('|', lines[i].Split('|').Skip(3).Take(2)) == expected[i],
                $"{expected[i]} for requests and octets received, the refused line counted like any other", lines[i]);
        }
    }

    [Test, Clause("STATUS-1")]
    public void The_last_thousand_connections()
    {
        var server = Start();
        PassBy(server, 1005);
        var wire = Connect(server);
        wire.Send("STATUS\n");
        wire.Expect("OK\n");
        Assert.That(wire.ReceiveBlock().Count(octet => octet == '\n'), Is.EqualTo(1000));
    }

    private string[][] Ask(Wire wire)
    {
        wire.Send("STATUS\n");
        wire.Expect("OK\n");
        string table = Encoding.UTF8.GetString(wire.ReceiveBlock());
        return [.. table.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split('|'))];
    }

    [Test, Clause("STATUS-1")]
    public void The_oldest_are_forgotten_also_those_that_are_open()
    {
        var server = Start();
        var open = Enumerable.Range(0, 3).Select(_ => Connect(server)).ToArray();
        foreach (var wire in open)
        {
            wire.List();
        }

        PassBy(server, 1005);
        var shown = Ask(Connect(server)).Select(fields => fields[2]).ToHashSet();
        Demand(!open.Any(wire => shown.Contains($"{wire.Socket.LocalEndPoint}")),
            "the last 1,000 connections, and none from before them, be it open or not",
            "one that was accepted before them");
    }

    [Test, Clause("STATUS-1", "CLOSE-1")]
    public void One_that_is_being_drained_is_not_closed_and_what_is_dropped_counts()
    {
        var server = Start();
        Wire drained = Connect(server);
        Wire asks = Connect(server);
        asks.List();
        drained.Send("LIST\r\n");
        drained.ExpectError("bad-request");
        var clock = System.Diagnostics.Stopwatch.StartNew();
        drained.Send(new string('x', 5000));
        string[] line = [];
        for (bool counts = false; !counts && clock.ElapsedMilliseconds < 1000;)
        {
            line = Ask(asks)[0];
            counts = line[4] == "5006";
            Demand(line[1] == "-" || clock.ElapsedMilliseconds > 1000, "- for the end of a connection that is drained",
                string.Join('|', line));
        }

        // On a machine that slept its 2 s may be over.
        Demand(line[4] == "5006" || clock.ElapsedMilliseconds > 1500,
            "5006 octets taken: a line of 6, and 5,000 that were dropped", string.Join('|', line));
    }

    [Test, Clause("STATUS-1")]
    public void They_stand_as_they_were_accepted_whoever_spoke_first()
    {
        var server = Start();
        Wire silent = Connect(server);
        Wire speaks = Connect(server);
        var before = DateTime.UtcNow.AddSeconds(-2);
        speaks.List();
        silent.RestsFor(6000);
        silent.List();
        var lines = Ask(speaks);
        Demand(lines.Length == 2 && lines[0][2] == $"{silent.Socket.LocalEndPoint}",
            "the one that was accepted first in the first line", string.Join('|', lines[0]));
        var accepted = DateTime.Parse(lines[0][0], null, System.Globalization.DateTimeStyles.AdjustToUniversal);
        Demand(accepted - before < TimeSpan.FromSeconds(4.5), "the time at which it was accepted, not of its request",
            $"{(accepted - before).TotalSeconds - 2:0.#} s after it had connected");
    }
}

public sealed class Errors : ServerConformance
{
    private static readonly (string Request, string Code)[] _upperRows =
    [
        ("FOO|../x.exe",       "unsupported"),
        ("GET|../x.exe|zip",   "unsupported"),
        ("GET|.x.exe",         "bad-name"),
        ("GET|x.exe",          "bad-type"),
        ("PUT|../cat.png|x=1", "unsupported"),
    ];

    [Test, Clause("ERR-1")]
    public void The_upper_row_wins()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (var (request, code) in _upperRows)
        {
            wire.Send(request + "\n");
            wire.ExpectError(code);
        }

        wire.Send("GET|../x.exe|zip|zip\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("ERR-1", "OFFSET-2")]
    public void The_upper_row_wins_with_an_offset()
    {
        var wire = Connect();
        wire.Send("GET|dog.png|offset=99999999999999999999\n");
        wire.ExpectError("not-found");
        wire.Send("GET|dog.exe|offset=1\n");
        wire.ExpectError("bad-type");
        wire.Send("GET|dog.png|zip|offset=x\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("ERR-2")]
    public void The_conversation_goes_on_after_each_code_that_says_so()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (string request in (string[])["FOO", "GET|../x.png", "GET|x.exe", "GET|dog.png", "PUT|cat.png"])
        {
            wire.Send(request + "\n");
            Assert.That(wire.ReceiveLine(), Does.StartWith("ER|"));
            Assert.That(wire.List(), Has.Length.EqualTo(1));
        }
    }
}

// A folder with everything in it that is no picture, and one picture.
public static class HostileFolder
{
    public static readonly string[] Names =
    [
        "empty.png", "folder.png",
        .. OnWindows.Lacks("links and pipes") ? (string[])[] :
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
        if (OnWindows.Lacks("links and pipes"))
        {
            return;
        }

        File.CreateSymbolicLink(At("link-out.png"), Path.Combine(outside, "outside.png"));
        File.CreateSymbolicLink(At("link-in.png"), "fine.png");
        File.CreateSymbolicLink(At("dangling.png"), Path.Combine(outside, "nothing.png"));
        File.CreateSymbolicLink(At("loop.png"), "loop.png");
        File.CreateSymbolicLink(At("link-folder.png"), outside);
        using var pipe = System.Diagnostics.Process.Start("mkfifo", [At("pipe.png")]);
        pipe.WaitForExit();
    }

    public static void ExpectListed(string[] lines)
    {
        string[] names = [.. lines.Select(line => line.Split('|')[0])];
        string[] more = [.. names.Except(["fine.png"])];
        if (names is ["fine.png"])
        {
            return;
        }

        throw new Violation(new Failure("the names in the listing: fine.png and no other",
            more is [] ? $"{names.Length} lines" : string.Join(", ", more))
        {
            HintName = more is [] ? "" : "lists what is no file",
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
