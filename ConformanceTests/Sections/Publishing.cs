namespace ConformanceTests.Sections;

/// <summary>
/// P1 to P4: how a picture gets its name. Linux reports everything that is done in the folder, so a state that
/// lasts only for a moment is seen, too.
/// </summary>
public sealed class Publishing : ServerFixture
{
    private const int Size = 32 << 20;

    private static byte[] Begin(ProtocolConnection wire, string name, int size)
    {
        wire.Ask($"PUT|{name}");
        wire.Send(Notation.U64((ulong)size));
        return Notation.Bytes(size);
    }

    [Test, Clause("P1")]
    public void Server_publishes_a_large_upload_in_one_step()
    {
        ProtocolConnection upload = Connect();
        ProtocolConnection other = Connect();
        using var watch = new FolderWatch(Server.Folder);
        var picture = Begin(upload, "big.png", Size);
        for (int at = 0; at < Size - 1; at += 4 << 20)
        {
            upload.Send(picture.AsSpan(at, Math.Min(4 << 20, Size - 1 - at)));
            Demand(other.List() is [], "a listing without big.png, since bytes of it are missing", "it is listed");
        }

        ExpectNothingYet(upload);                       // by now the server has read all that was sent
        var early = watch.DoneTo("big.png");
        Demand(early is [], "nothing under the name big.png before its last byte has come", History(early));
        upload.Send(picture.AsSpan(Size - 1));
        upload.Expect("OK\n");
        var late = watch.DoneTo("big.png");
        Demand(!late.Contains("written"),
            "big.png in the folder in one step, with all its bytes: link or rename a file that is complete",
            $"{History(late)}: others can see a part of it");
        Same(picture, Server.Stored("big.png"), "big.png as it was stored");
    }

    // A claim such as an empty file, or a small file that is written under its final name: both are
    // seen only for a moment. Rights and time may change afterwards.
    [Test, Clause("P1", "PUT-2")]
    public void Server_publishes_small_files_in_one_step(
        [Values(8, 100, 4_096, 70_000)] int size, [Values] bool comesAtOnce)
    {
        var wire = Connect();
        using var watch = new FolderWatch(Server.Folder);
        for (int i = 0; i < 10; i++)
        {
            string name = $"{i}.png";
            byte[] block = [.. Notation.U64((ulong)size), .. Notation.Bytes(size)];
            if (comesAtOnce)
            {
                wire.Send([.. Encoding.UTF8.GetBytes($"PUT|{name}\n"), .. block]);
                wire.Expect("OK\n");
            }
            else
            {
                wire.Ask($"PUT|{name}");
                wire.Send(block);
            }

            wire.Expect("OK\n");
            string[] done = [.. watch.DoneTo(name).Where(one => one != FolderWatch.AttributesChanged)];
            Demand(done is ["created"] or ["renamed to"], $"{name} in the folder in one step, with all its bytes",
                History(done, name));
        }
    }

    private static string History(string[] done, string name = "big.png") =>
        $"{name} was {string.Join(", then ", done.Take(6))}";

    [Test, Clause("P1", "CLOSE-5")]
    public void Server_shows_no_file_at_any_moment_if_the_upload_is_interrupted([Values] bool reset)
    {
        var upload = Connect();
        using var watch = new FolderWatch(Server.Folder);
        var picture = Begin(upload, "big.png", 1 << 20);
        upload.Send(picture.AsSpan(0, (1 << 20) - 1));
        if (reset)
        {
            upload.Reset();
        }
        else
        {
            upload.Finish();
        }

        Connect().List();
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
            "expected  an empty folder after an upload that was cut short\nreceived  something stays in it",
            breaks: "CLOSE-5");
        var done = watch.DoneTo("big.png");
        Demand(done is [], "nothing under the name big.png, at any moment", History(done));
    }

    [Test, Clause("P4", "DIGEST-2")]
    public void Server_compares_the_digest_before_the_file_has_its_name()
    {
        var wire = Connect();
        using var watch = new FolderWatch(Server.Folder);
        wire.Ask("PUT|big.png|digest=sha256");
        var picture = Notation.Bytes(1 << 20);
        wire.ExpectRefusal([.. Notation.U64(1 << 20), .. picture, .. SHA256.HashData("another"u8)], "corrupt");
        wire.List();
        var done = watch.DoneTo("big.png");
        Demand(done is [], "nothing under the name big.png, at any moment: the digest does not match", History(done));
    }

    [Test, Clause("P2", "PUT-6")]
    public void Server_does_not_touch_a_file_that_has_the_name()
    {
        ProtocolConnection late = Connect();
        ProtocolConnection first = Connect();
        var picture = Begin(late, "big.png", 1 << 20);
        late.Send(picture.AsSpan(0, 1 << 19));
        first.Put("big.png", Notation.Bytes(100));
        using var watch = new FolderWatch(Server.Folder);
        late.Send(picture.AsSpan(1 << 19));
        late.ExpectError("exists");
        var done = watch.DoneTo("big.png");
        Demand(done is [], "big.png left alone, since another upload has the name", History(done));
        bool isFirst = Server.Stored("big.png").AsSpan().SequenceEqual(Notation.Bytes(100));
        Demand(isFirst, "the first one's bytes", "others");
    }

    [Test, Clause("P2", "DIGEST-2")]
    public void Server_stores_the_first_of_two_uploads_that_lack_only_their_digest()
    {
        ProtocolConnection[] wires = [Connect(), Connect()];
        byte[][] pictures = [Notation.Bytes(100), Notation.Bytes(200)];
        for (int i = 0; i < 2; i++)
        {
            wires[i].BeginPut("cat.png|digest=sha256", pictures[i].Length, pictures[i]);
        }

        Connect().List();                               // by now the server has both, but for their digests
        wires[0].Send(SHA256.HashData(pictures[0]));
        wires[0].Expect("OK\n");
        wires[1].Send(SHA256.HashData(pictures[1]));
        wires[1].ExpectError("exists");
        Same(pictures[0], Server.Stored("cat.png"), "cat.png as it was stored");
    }

    [Test, Clause("P3")]
    public void Server_keeps_no_lock_on_a_stored_file()
    {
        var wire = Connect();
        for (int i = 0; i < 5; i++)
        {
            wire.Put($"{i}.png", Notation.Bytes(1000 + i));
        }

        for (int i = 0; i < 5; i++)
        {
            string path = Server.PathOf($"{i}.png");
            bool IsFree()
            {
                using var file = LocalFiles.Open(path);
                return flock((int)file.SafeFileHandle.DangerousGetHandle(), 2 | 4) == 0;    // LOCK_EX | LOCK_NB
            }

            Skip.If(OperatingSystem.IsWindows(), "needs flock");

            Eventually(IsFree, $"expected  {i}.png without a lock, now that it is stored\n"
                + "received  the server holds a lock on it (flock): close the file when its upload is over");
        }
    }

    [DllImport("libc")] private static extern int flock(int handle, int operation);

    [Test, Clause("PUT-8")]
    public void Server_stores_files_with_the_permissions_of_any_new_file()
    {
        if (OperatingSystem.IsWindows() || RunSettings.Current.OnWindows)
        {
            Skip.Because("needs the rights of Unix");
            return;
        }

        const UnixFileMode Read = UnixFileMode.UserRead | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        Connect().Put("cat.png", Notation.Bytes(100));
        string any = Path.Combine(NewFolder(), "any.png");
        File.WriteAllBytes(any, [1]);
        var (due, there) = (File.GetUnixFileMode(any) & Read, File.GetUnixFileMode(Server.PathOf("cat.png")) & Read);
        Demand((there & due) == due, $"cat.png readable for {due}, as any new file here",
            $"readable for {there}: was it made by mkstemp? Give it the rights that the umask leaves of 0666");
    }

    // ---- P2, two servers on one folder ----

    // One of the last bytes is sent a little later, and the delay changes until each server wins about half of the
    // rounds. So both often store at the same moment, and a server that looks first and then renames is detected.
    [Test, Clause("P2")]
    public void Servers_that_store_one_name_at_the_same_moment_send_one_OK()
    {
        string folder = NewFolder();
        ProtocolConnection[] wires = [Connect(Start(folder: folder)), Connect(Start(folder: folder))];
        var random = new Random(RunSettings.Current.Seed);
        double lag = 0;                                 // microseconds; below 0, the first server waits
        for (int round = 0; round < (RunSettings.Current.OnWindows ? 25 : 600); round++)
        {
            string name = $"{round}.png";
            byte[][] pictures = [[.. Notation.Bytes(64), 1], [.. Notation.Bytes(64), 2]];
            for (int i = 0; i < 2; i++)
            {
                Begin(wires[i], name, 65);
                wires[i].Send(pictures[i].AsSpan(0, 64));
            }

            int early = lag < 0 ? 1 : 0;
            wires[early].Send(pictures[early].AsSpan(64));
            double wait = Math.Abs(lag) * (0.5 + random.NextDouble());
            for (var clock = Stopwatch.StartNew(); clock.Elapsed.TotalMicroseconds < wait;)
            {
                ;
            }

            wires[1 - early].Send(pictures[1 - early].AsSpan(64));

            string[] answers = [wires[0].ReceiveLine(), wires[1].ReceiveLine()];
            int winner = Array.IndexOf(answers, "OK");
            Demand(answers.Count(answer => answer == "OK") == 1
                    && answers.Count(answer => answer.StartsWith("ER|exists|")) == 1,
                $"OK from one of two servers on one folder, ER|exists|… from the other, for {name} (round {round})",
                $"{answers[0]} and {answers[1]}: look and store have to be one step (link, or open with O_EXCL)");
            Demand(LocalFiles.Read(Path.Combine(folder, name)).AsSpan().SequenceEqual(pictures[winner]),
                $"{name} with the bytes of the one that got OK", "the other one's bytes");
            lag += winner == 0 ? -5 - Math.Abs(lag) * 0.1 : 5 + Math.Abs(lag) * 0.1;
            lag = Math.Clamp(lag, -2000, 2000);
        }
    }
}
