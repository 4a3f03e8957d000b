namespace ConformanceTests.Sections;

/// <summary>LIST: what a listing holds, and its order.</summary>
public sealed class Lists : ServerFixture
{
    [Test, Clause("LIST-1")]
    public void Server_lists_2000_files_completely_and_sorted()
    {
        var names = Enumerable.Range(0, 2000).Select(i => $"{new string('x', 100)}{i}.png").ToArray();
        foreach (string name in names)
        {
            Server.Has(name, [1]);
        }

        var wire = Connect();
        var listed = wire.List();
        Same(names.Order(StringComparer.Ordinal), listed.Select(line => line.Split('|')[0]),
            "the names in the listing");
    }

    [Test, Clause("LIST-1")]
    public void Server_lists_size_and_time_of_each_file()
    {
        Server.Has("a.png", Notation.Bytes(1234));
        File.SetLastWriteTimeUtc(Server.PathOf("a.png"), new DateTime(2024, 2, 29, 12, 34, 56, DateTimeKind.Utc));
        string due = "a.png|1234|2024-02-29T12:34:56Z";
        string came = string.Join(", ", Connect().List());
        Demand(came == due, due, came + (came.Contains("18:19:56")
            ? ": local time (the suite starts programs where that is 5:45 ahead), and UTC is due" : ""));
    }

    // A floating-point number has no room for so many digits, and rounding towards zero is wrong before 1970.
    [TestCase("2024-02-29T12:34:56.9999999Z"), TestCase("1969-12-31T23:59:58.5000000Z"), Clause("LIST-1")]
    public void Server_cuts_off_fractions_of_a_second(string time)
    {
        Server.Has("a.png", Notation.Bytes(9));
        File.SetLastWriteTimeUtc(Server.PathOf("a.png"), DateTime.Parse(time, null, DateTimeStyles.AdjustToUniversal));
        Same([$"a.png|9|{time[..19]}Z"], Connect().List(), $"the listing of a file with the time {time}");
    }

    // The folder itself has not changed then.
    [Test, Clause("LIST-1")]
    public void Server_lists_the_new_size_of_a_file_that_has_grown()
    {
        Server.Has("a.png", Notation.Bytes(9));
        var wire = Connect();
        wire.List();
        LocalFiles.Append(Server.PathOf("a.png"), Notation.Bytes(10));
        Same(["19"], wire.List().Select(line => line.Split('|')[1]), "the size of a.png, 9 bytes and then 10 more");
    }

    [Test, Clause("LIST-1")]
    public void Server_sorts_names_by_bytes_and_not_by_UTF16()
    {
        // The last two: EF BF AE before F0 9F 98 80, though UTF-16 has D83D before FFEE. Before them: in a listing, the
        // name a.png is followed by a |, which comes after the . and before the } of the others.
        string[] sorted = ["a-b.png", "a.png", "a.png.png", "a.png}.png", "\uffee.png", "😀.png"];
        Server.Has("\uffee.png", [1]);
        Server.Has("😀.png", [1]);
        Server.Has("a.png", [1]);
        Server.Has("a-b.png", [1]);
        Server.Has("a.png.png", [1]);
        Server.Has("a.png}.png", [1]);
        ListIs(Connect(), [.. sorted]);
    }

    [Test, Clause("LIST-1", "P7", NotBefore = Stages.ManyClients)]
    public void Server_sends_whole_listings_to_a_slow_reader()
    {
        // One listing is more than a kernel accepts in one send, all of them more than kernels buffer.
        const int Files = 10_000;
        const int Times = 6;
        for (int i = 0; i < Files; i++)
        {
            Server.Has($"{new string('x', 200)}{i}.png", [1]);
        }

        var slow = ConnectSlow();
        Repeat(Times, () => slow.Send("LIST\n"));
        slow.RestsFor(1000);                            // now the server waits for it
        ListHas(Connect(), Files);
        Repeat(Times, () => Counts(Files, slow.ReceiveAnswer().Count(value => value == '\n'), "lines in the block"));
    }
}

/// <summary>
/// LIST for many clients at once, while clients leave and files change, and of unusual folders.
/// </summary>
public sealed class Listings : ServerFixture
{
    // Files with long names, so that a few of them make a listing of many bytes.
    internal static string[] Fill(string folder, int count)
    {
        var names = Enumerable.Range(0, count).Select(i => $"{i:D5}{new string('x', 200)}.png").ToArray();
        foreach (string name in names)
        {
            File.WriteAllBytes(Path.Combine(folder, name), [1]);
        }

        return names;
    }

    internal static string[] NamesIn(IEnumerable<string> lines) => [.. lines.Select(line => line.Split('|')[0])];

    internal static string[] ReceiveListing(ProtocolConnection wire) =>
        Encoding.UTF8.GetString(wire.ReceiveAnswer()).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    [Test, Clause("LIST-1", "P6")]
    public void Server_sends_whole_listings_to_many_clients_at_once()
    {
        const int Times = 5;
        var names = Fill(Server.Folder, 300);
        var wires = Enumerable.Range(0, 20).Select(_ => Connect()).ToArray();
        foreach (var wire in wires)
        {
            wire.Send(string.Concat(Enumerable.Repeat("LIST\n", Times)));
        }

        foreach (var wire in wires)
        {
            Repeat(Times, () => Same(names, NamesIn(ReceiveListing(wire)), "the names in the listing"));
        }
    }

    [Test, Clause("P6", "CONN-4")]
    public void Server_continues_when_a_client_leaves_right_after_LIST()
    {
        var names = Fill(Server.Folder, 300);
        var probe = Connect();
        for (int i = 0; i < 36; i++)
        {
            ProtocolConnection other = Connect();
            ProtocolConnection leaving = Connect();
            if (i % 2 == 0)
            {
                other.Send("LIST\n");       // it shares the listing of the client that leaves, or gets the next one
            }

            leaving.Send("LIST\n");
            leaving.Leave(reset: i % 3 == 0);

            if (i % 2 != 0)
            {
                other.Send("LIST\n");
            }

            Same(names, NamesIn(ReceiveListing(other)), "the names in the listing");
            other.Dispose();
        }

        Same(names, NamesIn(probe.List()), "the names in the listing");
    }

    [Test, Clause("P3", "LIST-1")]
    public void Server_shows_a_stored_file_in_every_later_listing()
    {
        // Clients that list all the time must not cause other clients to be shown an older listing.
        const int Uploads = 60;
        int stored = 0;
        Fill(Server.Folder, 300);
        ProtocolConnection uploader = Connect();
        ProtocolConnection watcher = Connect();
        var listers = Enumerable.Range(0, 3).Select(_ => Connect()).ToArray();
        var listing = listers.Select(wire => Task.Run(() =>
        {
            while (Volatile.Read(ref stored) < Uploads)
            {
                int least = Volatile.Read(ref stored);
                string[] names = NamesIn(wire.List());
                Same(names.Distinct().Order(StringComparer.Ordinal), names,
                    "each name once, in the order of its bytes");
                int late = names.Count(name => name[0] == 'z');
                Demand(late >= least, $"a listing with the {least} names that were stored before it",
                    $"{late} of them");
            }
        })).ToArray();
        for (int i = 0; i < Uploads; i++)
        {
            uploader.Put($"z{i:D2}.png", Notation.Bytes(100));
            Volatile.Write(ref stored, i + 1);
            ListHas(watcher, 300 + i + 1);
        }

        Demand(Task.WaitAll(listing, RunSettings.Patience * 2), "a listing for each client",
            "one of them never gets its answer");
    }

    [Test, Clause("LIST-1", "LIST-2", NotBefore = Stages.ManyClients)]
    public void Server_lists_all_remaining_files_while_others_come_and_go()
    {
        var names = Fill(Server.Folder, 100);
        var wire = Connect();
        int listed = 0;
        var others = Task.Run(() =>
        {
            for (int i = 0; Volatile.Read(ref listed) < 100; i = (i + 1) % 50)
            {
                string path = Server.PathOf($"{i}z.png");
                File.WriteAllBytes(path, [1]);
                File.Delete(path);
            }
        });
        try
        {
            for (; listed < 100; Volatile.Write(ref listed, listed + 1))
            {
                string[] missing = [.. names.Except(NamesIn(wire.List()))];
                Demand(missing is [], "in each listing all of the files that stay", $"{missing.Length} are missing");
            }
        }
        finally
        {
            Volatile.Write(ref listed, 100);
            others.Wait();
        }
    }

    [Test, Clause("P10", "LIST-1")]
    public void Server_does_not_confuse_a_non_UTF8_name_with_a_similar_one()
    {
        Skip.If(!OperatingSystem.IsLinux(), "needs names that are not UTF-8");

        Server.Has("a\uFFFD.png", Notation.Bytes(9));
        foreach (string value in (string[])["\\377", "\\376"])
        {
            Tool.Shell($"printf 12345 > \"$0/$(printf 'a{value}.png')\"", Server.Folder);
        }

        Counts(3, Directory.GetFiles(Server.Folder).Length, "files in the folder");
        string[] lines = Connect().List();
        Counts(1, lines.Length, "lines in the block");
        Demand(lines[0].StartsWith("a\uFFFD.png|9|", StringComparison.Ordinal), "a\uFFFD.png|9|…", lines[0]);
        Same(Notation.Bytes(9), Connect().Get("a\uFFFD.png"), "what GET of a\uFFFD.png brought");
        Tool.Shell("rm -f \"$0\"/a*", Server.Folder);                       // .NET cannot name them
    }

    [Test, Clause("ERR-1", "LIST-2", NotBefore = Stages.ManyClients)]
    public void Server_answers_storage_to_LIST_of_a_missing_folder()
    {
        string folder = NewFolder();
        var server = Start(folder: folder);
        var wire = Connect(server);
        ListIs(wire);
        Directory.Delete(folder, true);
        wire.ExpectRefusal("LIST", "storage");
        Directory.CreateDirectory(folder);
        ListIs(wire);             // and the connection still works
    }
}
