namespace ConformanceTests.Sections;

/// <summary>The same for uploads with the option `ahead` and without (AHEAD-1).</summary>
[TestFixture(Uploads.AfterTheGoAhead)]
[TestFixture(Uploads.Ahead)]
public sealed class EitherPut(Uploads uploads) : ServerFixture
{
    private void Begin(ProtocolConnection wire, string name, long length, ReadOnlySpan<byte> first) =>
        wire.BeginPut(uploads == Uploads.Ahead ? $"{name}|ahead" : name, length, first);

    [Test, Clause("PUT-6", "PUT-2", "P2", NotBefore = Stages.ManyClients)]
    public void Server_answers_exists_if_the_name_is_taken_during_the_upload()
    {
        ProtocolConnection slow = Connect();
        ProtocolConnection fast = Connect();
        Begin(slow, "cat.png", 30, Notation.Bytes(20));
        fast.Put("cat.png", Notation.Bytes(12));
        slow.ExpectRefusal(Notation.Bytes(30).AsSpan(20), "exists");
        Same(Notation.Bytes(12), slow.Get("cat.png"), "what GET of cat.png brought");
    }

    [Test, Clause("PUT-5")]
    public void Server_accepts_its_configured_limit_and_answers_too_large_to_one_byte_more()
    {
        var server = Start(with: "max-size=10240");
        var wire = Connect(server);
        Begin(wire, "a.png", 10 << 10, Notation.Bytes(10 << 10));
        wire.Expect("OK\n");
        Begin(wire, "b.png", (10 << 10) + 1, []);
        wire.ExpectError("too-large", closes: true);
        server.MustLack("b.png");
    }

    [Test, Clause("PUT-4", "P10")]
    public void Server_never_replaces_any_kind_of_entry()
    {
        string outside = NewFolder();
        HostileFolder.Fill(Server.Folder, outside);
        var before = HostileFolder.Look(Server.Folder, outside);
        var wire = Connect();
        foreach (string name in HostileFolder.Names)
        {
            if (uploads == Uploads.Ahead)
            {
                Begin(wire, name, 300, Notation.Bytes(300));
                wire.ExpectError("exists");
            }
            else
            {
                wire.ExpectRefusal($"PUT|{name}", "exists");
            }
        }

        wire.List();
        Same(before, HostileFolder.Look(Server.Folder, outside), "what was in the folders before");
    }
}
