namespace ConformanceTests.Sections;

/// <summary>CLI-10: a client that resumes a download.</summary>
public sealed class ClientResume : ClientFixture
{
    // These tests are for a client that resumes by itself, or with the option that its template calls {resume}.

    private const int Cut = 600;
    private static readonly byte[] _whole = Notation.Bytes(1000);

    private static bool IsTold => CommandTemplates.ClientTemplate.Contains("{resume}");

    private ChildProgram RunToResume() => Run("GET", "cat.png", with: IsTold ? "resume" : "");

    // Interrupts a download after 600 of 1,000 bytes, and runs the client again. Returns the offset that it asks for,
    // and the OK line to answer with, which has a time if the client asks for one.
    private (ChildProgram Client, ProtocolConnection Wire, int Offset, byte[] Ok) ResumeDownload(int cut = Cut)
    {
        var client = RunToResume();
        var wire = Accept();
        bool digest = Takes(ref wire, "GET|cat.png");
        bool isWhole = cut == _whole.Length;
        Skip.IfNotOffered(isWhole && !digest, "the client does not ask for a digest");

        wire.Send([.. "OK\n"u8, .. Notation.U64(1000), .. _whole[..cut]]);
        wire.HalfClose();
        client.MustFail();
        wire.Dispose();
        long Size(string name) => new FileInfo(PathOf(name)).Length;

        string kept = string.Join(", ", Files().Select(name => $"{name} with {Size(name)} bytes"));

        client = RunToResume();
        wire = Accept();
        string[] fields = wire.ReceiveLine("GET|cat.png|offset=…\\n").Split('|');
        string? offset = fields.FirstOrDefault(field => field.StartsWith("offset="))?["offset=".Length..];
        Demand(offset is not null || isWhole || !IsTold,
            $"GET|cat.png|offset=…|digest=sha256\\n: {cut} bytes have come before",
            $"{string.Join('|', fields)}\\n; what it has kept: {(kept == "" ? "nothing" : kept)}");
        Skip.IfNotOffered(offset is null && isWhole, "the client does not resume what lacks only its digest");
        Skip.IfNotOffered(offset is null,
            "the client does not resume downloads (if it has an option for that, write {resume} into "
                + "the template)");

        Demand(fields.Contains("digest=sha256"), "digest=sha256, which shows whether the parts belong together",
            string.Join('|', fields));
        Demand(int.TryParse(offset, out int at) && at <= cut,
            $"an offset of at most the {cut} bytes that came", offset!);
        return (client, wire, at, fields.Contains("modified") ? [.. "OK|2024-05-01T12:00:00Z\n"u8] : [.. "OK\n"u8]);
    }

    // With all 1,000 bytes, only the digest is missing, and the rest is an empty block.
    [Test, Clause("CLI-10", "OFFSET-1")]
    public void Client_resumes_an_interrupted_download([Values(Cut, 1000)] int cut)
    {
        var (client, wire, at, ok) = ResumeDownload(cut);
        wire.Send([.. ok, .. Notation.U64((ulong)(1000 - at)), .. _whole[at..], .. SHA256.HashData(_whole)]);
        int exit = client.WaitForExit();
        Demand(exit == 0, "exit code 0: all has come, and the digest is that of the whole file (DIGEST-1), of the "
            + $"{at} bytes that were kept and of those that came now", $"exit code {exit}");
        Same(_whole, LocalFiles.Read(PathOf("cat.png")), "cat.png as it was stored");
        Demand(Files() is ["cat.png"], "cat.png alone, now that it is whole", string.Join(", ", Files()));
        if (ok.Length > "OK\n".Length)
        {
            var time = File.GetLastWriteTimeUtc(PathOf("cat.png"));
            Demand(time == new DateTime(2024, 5, 1, 12, 0, 0, DateTimeKind.Utc),
                "the time 2024-05-01T12:00:00Z for cat.png, as the reply said (MODIFIED-5)", $"{time:u}");
        }
    }

    [Test, Clause("CLI-10", "CLI-7")]
    public void Client_does_not_join_the_parts_of_different_files([Values] bool longer)
    {
        var (client, wire, at, ok) = ResumeDownload();
        using var watch = new FolderWatch(Folder);
        byte[] rest = longer ? new byte[2000] : new byte[1000 - at];
        wire.Send([.. ok, .. Notation.U64((ulong)rest.Length), .. rest, .. SHA256.HashData("another"u8)]);
        if (NextRequest(client, ref wire) is { } line)
        {
            Demand(!line.Contains("offset="), "a request for the whole file, since the digest does not match", line);
            wire.Send("ER|not-found|it is gone now\n");
            wire.HalfClose();
            client.MustFail();
        }
        else
        {
            client.MustFail();
            StartsOverNextTime("the digest did not match");
        }

        ExpectNeverThere(watch, "since the digest is that of another file");
    }

    // A client that gives up has to start over when it is run again: what it has kept has no use any more.
    private void StartsOverNextTime(string why)
    {
        var client = RunToResume();
        using var wire = Accept();
        string line = wire.ReceiveLine("GET|cat.png\\n");
        Demand(!line.Contains("offset="),
            $"a request for the whole file when the client is run again, since {why}", line);
        wire.Send("ER|not-found|it is gone now\n");
        wire.HalfClose();
        client.MustFail();
    }

    [Test, Clause("CLI-6", "CLI-10")]
    public void Client_that_resumes_does_not_take_the_file_of_its_user_for_a_partial_one()
    {
        Skip.IfNotOffered(!IsTold, "the client has no {resume} in its template");

        byte[] mine = _whole[..Cut];
        Give("cat.png", mine);
        var client = RunToResume();
        if (Connects(client))                           // it may also refuse without a connection
        {
            var wire = Accept();
            if (NextRequest(client, ref wire) is not null)
            {
                wire.Send("ER|not-found|it is gone now\n");
                wire.HalfClose();
            }
        }

        client.MustFail();
        Same(mine, LocalFiles.Read(PathOf("cat.png")), "the cat.png of the user, which was here before");
    }

    [Test, Clause("CLI-10", "CLI-4")]
    public void Client_shows_no_file_if_the_resumed_download_is_interrupted_too([Values(0, 100)] int bytes)
    {
        var (client, wire, at, ok) = ResumeDownload();
        using var watch = new FolderWatch(Folder);
        wire.Send([.. ok, .. Notation.U64((ulong)(1000 - at)), .. _whole.AsSpan(at, bytes)]);
        wire.HalfClose();
        client.MustFail();
        ExpectNeverThere(watch, "since it was interrupted again");
    }

    [Test, Clause("CLI-10", "OFFSET-2")]
    public void Client_starts_over_or_fails_if_the_offset_is_refused([Values("bad-offset", "unsupported")] string code)
    {
        var (client, wire, _, _) = ResumeDownload();
        wire.Send($"ER|{code}|not from there\n");
        byte[] other = Notation.Bytes(300);
        string? line = NextRequest(client, ref wire);
        if (line is not null)
        {
            Demand(!line.Contains("offset="), $"a request without an offset after {code}", line);
            byte[] ok = line.Contains("|modified") ? [.. "OK|2024-05-01T12:00:00Z\n"u8] : [.. "OK\n"u8];
            wire.Send([.. ok, .. Block(other, line.Contains("digest="))]);
            wire.HalfClose();
        }

        int exit = client.WaitForExit();
        Demand(exit == 0 == File.Exists(PathOf("cat.png")), "cat.png and exit code 0, or neither", $"exit code {exit}");
        if (line is null && code == "bad-offset")
        {
            StartsOverNextTime("the server answered bad-offset");
        }

        if (exit == 0)
        {
            Demand(LocalFiles.Read(PathOf("cat.png")).AsSpan().SequenceEqual(other),
                $"cat.png as the last answer brought it, {other.Length} bytes, and nothing of what was kept before",
                $"{LocalFiles.Read(PathOf("cat.png")).Length} bytes");
        }
    }
}
