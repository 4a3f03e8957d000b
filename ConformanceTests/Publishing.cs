// P1 to P4: how a picture comes to its name.  Its folder is watched: Linux notes down what is done in it, in order, so
// nothing is missed that was there for a moment only.

using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

public sealed class Publishing : ServerConformance
{
    private const int Size = 32 << 20;

    private static byte[] Begin(Wire wire, string name, int size)
    {
        wire.Send($"PUT|{name}\n");
        wire.Expect("OK\n");
        wire.Send(Notation.U64((ulong)size));
        return Notation.Bytes(size);
    }

    [Test, Clause("P1")]
    public void A_large_upload_comes_to_its_name_in_one_step()
    {
        Wire upload = Connect();
        Wire other = Connect();
        using var watch = new FolderWatch(Server.Folder);
        var picture = Begin(upload, "big.png", Size);
        for (int at = 0; at < Size - 1; at += 4 << 20)
        {
            upload.Send(picture.AsSpan(at, Math.Min(4 << 20, Size - 1 - at)));
            Demand(other.List() is [], "a listing without big.png, since octets of it are missing", "it is listed");
        }

        ExpectNothingYet(upload);                       // now the server has read what was sent
        var early = watch.DoneTo("big.png");
        Demand(early is [], "nothing under the name big.png before its last octet has come", Said(early));
        upload.Send(picture.AsSpan(Size - 1));
        upload.Expect("OK\n");
        var late = watch.DoneTo("big.png");
        Demand(!late.Contains("written"),
            "big.png in the folder in one step, with all its octets: link or rename a file that is complete",
            $"{Said(late)}: whoever looks meanwhile sees a part of it");
        Demand(Server.Stored("big.png").AsSpan().SequenceEqual(picture), "the octets that were sent", "others");
    }

    private static string Said(string[] done) => $"big.png was {string.Join(", then ", done.Take(6))}";

    [Test, Clause("P1", "CLOSE-2")]
    public void An_upload_that_is_cut_was_never_there([Values] bool reset)
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
            upload.HalfClose();
            upload.ExpectEnd();
        }

        Connect().List();
        Eventually(() => Directory.GetFileSystemEntries(Server.Folder) is [],
            "expected  an empty folder after an upload that was cut short\nreceived  something stays in it");
        var done = watch.DoneTo("big.png");
        Demand(done is [], "nothing under the name big.png, at any moment", Said(done));
    }

    [Test, Clause("P4", "DIGEST-2")]
    public void A_digest_is_compared_before_the_name_is_there()
    {
        var wire = Connect();
        using var watch = new FolderWatch(Server.Folder);
        wire.Send("PUT|big.png|digest=sha256\n");
        wire.Expect("OK\n");
        var picture = Notation.Bytes(1 << 20);
        wire.Send([.. Notation.U64(1 << 20), .. picture, .. SHA256.HashData("another"u8)]);
        wire.ExpectError("corrupt");
        wire.List();
        var done = watch.DoneTo("big.png");
        Demand(done is [], "nothing under the name big.png, at any moment: the digest does not match", Said(done));
    }

    [Test, Clause("P2", "PUT-6")]
    public void What_has_the_name_is_not_touched()
    {
        Wire late = Connect();
        Wire first = Connect();
        var picture = Begin(late, "big.png", 1 << 20);
        late.Send(picture.AsSpan(0, 1 << 19));
        first.Put("big.png", Notation.Bytes(100));
        using var watch = new FolderWatch(Server.Folder);
        late.Send(picture.AsSpan(1 << 19));
        late.ExpectError("exists");
        var done = watch.DoneTo("big.png");
        Demand(done is [], "big.png left alone, since another upload has the name", Said(done));
        bool isFirst = Server.Stored("big.png").AsSpan().SequenceEqual(Notation.Bytes(100));
        Demand(isFirst, "the first one's octets", "others");
    }

    [Test, Clause("P2", "DIGEST-2")]
    public void Of_two_that_lack_only_their_digest_the_first_is_stored()
    {
        Wire[] wires = [Connect(), Connect()];
        byte[][] pictures = [Notation.Bytes(100), Notation.Bytes(200)];
        for (int i = 0; i < 2; i++)
        {
            wires[i].Send("PUT|cat.png|digest=sha256\n");
            wires[i].Expect("OK\n");
            wires[i].Send([.. Notation.U64((ulong)pictures[i].Length), .. pictures[i]]);
        }

        Connect().List();                               // by now the server has both, but for their digests
        wires[0].Send(SHA256.HashData(pictures[0]));
        wires[0].Expect("OK\n");
        wires[1].Send(SHA256.HashData(pictures[1]));
        wires[1].ExpectError("exists");
        Demand(Server.Stored("cat.png").AsSpan().SequenceEqual(pictures[0]), "the first one's octets", "others");
    }

    [Test, Clause("P3")]
    public void No_lock_stays_on_what_was_stored()
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
                using var file = Disk.Open(path);
                return flock((int)file.SafeFileHandle.DangerousGetHandle(), 2 | 4) == 0;    // exclusive · no waiting
            }

            if (OperatingSystem.IsWindows())
            {
                NotLookedAt.Skip("needs flock");
            }

            Eventually(IsFree, $"expected  {i}.png for everybody, now that it is stored\n"
                + "received  the server holds a lock on it (flock): close the file when its upload is over");
        }
    }

    [DllImport("libc")] private static extern int flock(int handle, int operation);

    [Test, Clause("PUT-8")]
    public void What_is_stored_may_be_read_by_whoever_may_read_a_new_file()
    {
        if (OperatingSystem.IsWindows() || Settings.OnWindows)
        {
            NotLookedAt.Skip("needs the rights of Unix");
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

    // The second one's last octet is sent so much later that now this one wins and now that one: then both are in the
    // middle of it at the same time, again and again, and who looks first and renames then is found out.
    [Test, Clause("P2")]
    public void Of_two_servers_that_store_one_name_at_the_same_moment_one_says_OK()
    {
        string folder = NewFolder();
        Wire[] wires = [Connect(Start(folder: folder)), Connect(Start(folder: folder))];
        var random = new Random(Settings.Seed);
        double lag = 0;                                 // microseconds; below 0 the first one's comes later
        for (int round = 0; round < (Settings.OnWindows ? 25 : 600); round++)
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
            Demand(Disk.Read(Path.Combine(folder, name)).AsSpan().SequenceEqual(pictures[winner]),
                $"{name} with the octets of the one that got OK", "the other one's octets");
            lag += winner == 0 ? -5 - Math.Abs(lag) * 0.1 : 5 + Math.Abs(lag) * 0.1;
            lag = Math.Clamp(lag, -2000, 2000);
        }
    }
}

// inotify: what was done to the entries of a folder, since it was asked last.
public sealed class FolderWatch : IDisposable
{
    private static readonly (uint Bit, string Word)[] _words =
    [
        (0x002, "written"), (0x040, "renamed away"), (0x080, "renamed to"), (0x100, "created"), (0x200, "removed"),
    ];

    private readonly int _handle;
    private readonly List<(string Name, string Done)> _all = [];

    public FolderWatch(string folder)
    {
        if (!OperatingSystem.IsLinux())
        {
            NotLookedAt.Skip("needs Linux, which tells what is done in a folder");
        }

        _handle = inotify_init1(0x800 | 0x80000);        // never waits · not for children
        uint mask = _words.Aggregate(0u, (sum, word) => sum | word.Bit);
        if (_handle < 0 || inotify_add_watch(_handle, folder, mask) < 0)
        {
            NotLookedAt.Skip("needs inotify, and there is none to be had");
        }
    }

    public string[] DoneTo(string name)
    {
        var buffer = new byte[1 << 16];
        while (read(_handle, buffer, buffer.Length) is > 0 and var count)
        {
            for (int at = 0; at < count;)
            {
                uint mask = BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(at + 4));
                int size = BinaryPrimitives.ReadInt32LittleEndian(buffer.AsSpan(at + 12));
                string entry = Encoding.UTF8.GetString(buffer.AsSpan(at + 16, size)).TrimEnd('\0');
                foreach (var (bit, word) in _words)
                {
                    if ((mask & bit) != 0)
                    {
                        _all.Add((entry, word));
                    }
                }

                at += 16 + size;
            }
        }

        string[] done = [.. _all.Where(one => one.Name == name).Select(one => one.Done)];
        _all.Clear();
        return done;
    }

    public void Dispose() => close(_handle);

    [DllImport("libc")] private static extern int inotify_init1(int flags);

    [DllImport("libc")] private static extern int inotify_add_watch(int handle, string path, uint mask);

    [DllImport("libc")] private static extern nint read(int handle, byte[] buffer, nint size);

    [DllImport("libc")] private static extern int close(int handle);
}
