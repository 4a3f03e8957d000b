namespace ConformanceTests.Sections;

/// <summary>ERR: the codes of errors, and which of them close the connection.</summary>
public sealed class Errors : ServerFixture
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
    public void Server_sends_the_first_error_that_applies()
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        foreach (var (request, code) in _upperRows)
        {
            wire.ExpectRefusal(request, code);
        }

        wire.ExpectRefusal("GET|../x.exe|zip|zip", "bad-request", closes: true);
    }

    [Test, Clause("ERR-1", "OFFSET-2")]
    public void Server_sends_the_first_error_that_applies_to_an_offset()
    {
        var wire = Connect();
        wire.ExpectRefusal("GET|dog.png|offset=99999999999999999999", "not-found");
        wire.ExpectRefusal("GET|dog.exe|offset=1", "bad-type");
        wire.ExpectRefusal("GET|dog.png|zip|offset=x", "bad-request", closes: true);
    }

    // The codes of §6.1 that a request can cause. The others have to do with time, or with other clients.
    private static IEnumerable<string> Provoked() =>
        ProtocolTables.Codes.Select(row => row.Code).Except(["busy", "timeout", "stopping", "internal"]);

    [TestCaseSource(nameof(Provoked)), Clause("ERR-2", "ERR-1", "PUT-2")]
    public void Server_closes_or_continues_after_each_code_as_the_table_says(string code)
    {
        string? feature = code switch { "bad-offset" => "OFFSET-2", "corrupt" => "DIGEST-2", _ => null };
        if (feature is not null)
        {
            Needs(feature);
        }

        string folder = NewFolder();
        var server = Start(folder: folder, with: code == "denied" ? "read-only" : "");
        server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect(server);
        Provoke(code, wire, folder);
        bool closes = ProtocolTables.Codes.Single(row => row.Code == code).Closes;
        wire.ExpectError(code, closes);
        if (!closes)
        {
            Directory.CreateDirectory(folder);
            server.Has("cat.png", Notation.Bytes(9));
            Same(Notation.Bytes(9), wire.Get("cat.png"), "what GET of cat.png brought");
        }
    }

    private static void Provoke(string code, ProtocolConnection wire, string folder)
    {
        byte[] page = [.. "<!DOCTYPE html>"u8];
        byte[]? block = code switch
        {
            "empty" => Notation.U64(0),
            "bad-type" => [.. Notation.U64((ulong)page.Length), .. page],
            "too-large" => Notation.U64((ulong)Limits.UploadBytes + 1),
            "corrupt" => [.. Notation.U64(9), .. Notation.Bytes(9), .. new byte[32]],
            _ => null,
        };
        if (block is not null)
        {
            wire.Send(code == "corrupt" ? "PUT|dog.png|digest=sha256\n" : "PUT|dog.png\n");
            wire.Expect("OK\n");
            wire.Send(block);
            return;
        }

        if (code == "storage")
        {
            Directory.Delete(folder, true);
        }

        wire.Send(code switch
        {
            "bad-request" => "GET\n",
            "unsupported" => "HELLO\n",
            "bad-name" => "GET|../x.png\n",
            "not-found" => "GET|dog.png\n",
            "exists" => "PUT|cat.png\n",
            "bad-offset" => "GET|cat.png|offset=10\n",
            "denied" => "PUT|dog.png\n",
            "storage" => "LIST\n",
            _ => throw new ArgumentException($"no test knows how to provoke {code} (§6.1)"),
        });
    }
}
