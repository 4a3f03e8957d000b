using static VerifyNUnit.Verifier;

namespace ConformanceTests.SelfTests;

/// <summary>The text of a report.</summary>
[Reference]
public sealed class ReportTests
{
    private static Verdict Failed(string clause, string test, string outcome = "failed") =>
        new(Stages.List, clause, test, outcome, $"expected  what {clause} says\n")
        { Failure = new Failure($"what {clause} says", $"nothing, in {test}") };

    [Test]
    public async Task Report_names_every_test_that_failed()
    {
        Skip.If(RunSettings.Current.Stage > 0, "the report on one stage is another one");
        Verdict[] verdicts =
        [
            Failed("LIST-1", "Server_lists_every_file"),
            Failed("LIST-2", $"Server_lists_a_file_whose_name_is(\"{new string('x', 90)}.png\")"),
            Failed("LIST-2", "Server_sorts_the_names", outcome: "advice"),
            .. Enumerable.Range(1, 40).Select(i => Failed("GET-1", $"Server_sends_file({i})")),
            new(Stages.List, "LIST-1", "Server_lists_nothing", "passed", ""),
        ];
        await Verify(RunReport.Text("server: a program", verdicts, tail: "\nNot tested in your program:\n  PUT-7\n"));
    }

    [Test]
    public void Report_without_failures_does_not_send_the_reader_to_the_page()
    {
        Verdict[] verdicts = [new(Stages.List, "LIST-1", "Server_lists_nothing", "passed", "")];
        Assert.That(RunReport.Text("server: a program", verdicts), Does.Not.Contain("report.html"));
    }

    [Test]
    public void Paragraphs_for_clients_exist_and_the_others_bind_servers()
    {
        string[] ofClients = [.. ProtocolSpecification.Clauses.Values.Where(Stages.IsOfClients)
            .Select(clause => clause.Id)];
        Assert.That(ofClients, Does.Contain("PUT-3").And.Contain("MODIFIED-5").And.Contain("CLI-4"));
        Assert.That(ofClients, Does.Not.Contain("P6").And.Not.Contain("MODIFIED-1").And.Not.Contain("GET-3"));
    }
}
