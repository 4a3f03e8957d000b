using ConformanceTests.Harness.Grading;
using ConformanceTests.Harness.Specification;

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
            wire.Send(request + "\n");
            wire.ExpectError(code);
        }

        wire.Send("GET|../x.exe|zip|zip\n");
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("ERR-1", "OFFSET-2")]
    public void Server_sends_the_first_error_that_applies_to_an_offset()
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
    public void Server_continues_after_each_code_that_does_not_close()
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
