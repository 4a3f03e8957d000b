namespace ConformanceTests.Reference;

/// <summary>Standard output and standard error may be closed or full. That ends no server and no transfer.</summary>
public sealed class StandardStreams : ProgramFixture
{
    [Test, Clause("P11")]
    public void Server_whose_streams_are_closed_or_full_serves(
        [Values(ClosedErrors, FullErrors, ClosedOutput, FullOutput)] string launcher)
    {
        RequireLinux();
        var server = Start(launcher: launcher);
        for (int i = 0; i < 3; i++)
        {
            using var wire = server.Connect();
            wire.Put($"{i}.png", Notation.Bytes(9));
            Assert.That(wire.List(), Has.Length.EqualTo(i + 1));
        }

        Assert.That(server.Program.HasEnded, Is.False);
        server.Program.Signal("TERM");
        server.Program.MustExit(0);
    }

    [Test, Clause("CLI-5")]
    public void Client_whose_streams_are_closed_or_full_uploads(
        [Values(ClosedErrors, FullErrors, ClosedOutput, FullOutput)] string launcher)
    {
        RequireLinux();
        string folder = NewFolder();
        Give(folder, "cat.png");
        Ran ran = Client(folder, "PUT cat.png", launcher: launcher);
        ran.MustExit(0);
        Assert.That(Server.Stored("cat.png"), Is.EqualTo(Notation.Bytes(9)));
    }

    [Test, Clause("CLI-5")]
    public void Client_that_cannot_print_its_listing_fails([Values(ClosedOutput, FullOutput)] string launcher)
    {
        RequireLinux();
        Server.Has("cat.png", Notation.Bytes(9));
        Ran ran = Client(NewFolder(), "LIST", launcher: launcher);
        ran.MustExit(1);
        Assert.That(ran.Errors, Is.EqualTo("imagetransfer: cannot write to standard output: "
            + (launcher == ClosedOutput ? "it is closed\n" : "No space left on device\n")));
    }

    [Test, Clause("CLI-4")]
    public void Client_does_not_write_messages_into_a_file_that_has_the_number_of_standard_error()
    {
        RequireLinux();
        Server.Has("cat.png", Notation.Bytes(5000));
        string folder = NewFolder();
        Ran ran = Client(folder, "GET cat.png", launcher: ClosedErrors);
        Assert.That(ran.Exit, Is.Zero);
        Assert.That(File.ReadAllBytes(Path.Combine(folder, "cat.png")), Is.EqualTo(Notation.Bytes(5000)));
    }
}
