namespace ConformanceTests.Reference;

/// <summary>This program on a machine that lacks OpenSSL, which .NET needs for digests and for TLS.</summary>
public sealed class MissingOpenSsl : ProgramFixture
{
    // Hides the library from one program, which gets a mount namespace with an empty file in place of the library.
    private const string WithoutOpenSsl = "unshare -m sh -c '"
        + "for f in /usr/lib/*/libssl.so.* /usr/lib64/libssl.so.* /usr/lib/libssl.so.*; "
        + "do test ! -e \"$f\" || mount --bind /dev/null \"$(readlink -f \"$f\")\"; done; exec \"$@\"' sh";

    private void RequireMountNamespaces()
    {
        RequireLinux();
        using var attempt = new ChildProgram("attempt", ["unshare", "-m", "mount", "--bind", "/dev/null", "/dev/null"],
            NewFolder());
        Skip.If(attempt.WaitForExit() != 0, "needs the right to make a mount namespace");
    }

    [TestCase("server 0 --dir pictures")]
    [TestCase("server 0 --dir pictures --key new.key")]
    [TestCase("client 127.0.0.1 {0} GET a.png")]
    [TestCase("client 127.0.0.1 {0} PUT pictures/b.png")]
    [TestCase("client 127.0.0.1 {0} LIST --key new.key")]
    [Clause("CLI-5", "SEAL-1")]
    public void Server_and_client_report_in_one_line_that_OpenSSL_is_missing(string words)
    {
        RequireMountNamespaces();
        Server.Has("a.png", Notation.Bytes(9));
        string folder = NewFolder();
        Give(folder, "pictures/b.png");
        Ran ran = Execute(folder, string.Format(words, Server.Port), launcher: WithoutOpenSsl);
        ran.MustExit(1);
        Assert.That(ran.Output, Is.Empty);
        Assert.That(ran.Errors, Is.EqualTo("imagetransfer: OpenSSL is missing, which is needed for digests and for "
            + "--key; install it, for example with apt-get install libssl3\n"));
        Assert.That(Names(folder), Is.EqualTo(new[] { "pictures" }));
    }

    [Test, Clause("CLI-5")]
    public void Client_lists_without_OpenSSL()
    {
        RequireMountNamespaces();
        Server.Has("a.png", Notation.Bytes(9));
        Ran ran = Client(NewFolder(), "LIST", launcher: WithoutOpenSsl);
        ran.MustExit(0);
        Assert.That(ran.Output, Does.StartWith("a.png|9|"));
    }
}
