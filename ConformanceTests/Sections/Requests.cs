namespace ConformanceTests.Sections;

/// <summary>REQ, REPLY: requests and their options, and what a reply says.</summary>
public sealed class Requests : ServerFixture
{
    [Test, Clause("REQ-1", "ERR-2")]
    public void Server_answers_unsupported_to_unknown_verbs_and_options_and_continues(
        [Values("DELETE|cat.png", "list", "get|cat.png", "Get|cat.png", "LIST|", "LIST|x", "LISTS",
                "LIST|digest=sha256", "GET|cat.png|digest=SHA256",
                "GET|cat.png|digest=md5", "GET|cat.png|digest", "GET|cat.png|digest=", "GET|cat.png|Digest=sha256",
                "GET|cat.png|", "GET|a|", "GET|a|digest",
                "GET|cat.png|offset =1", "PUT|dog.png|offset=1", "PUT|dog.png|mode=755",
                "PUT|dog.png|ahead=1", "PUT|dog.png|ahead=", "PUT|dog.png|Ahead", "GET|cat.png|ahead", "LIST|ahead",
                "LI\u0001ST", "\ufeffLIST", " LIST", "LIST ", "HELO cat", "STATUS|all")] string request)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.ExpectRefusal(request, "unsupported");
        ListHas(wire, 1);
    }

    // No option of an earlier request may count for a later one. A server that does not know the option refuses it.
    [Test, Clause("CONN-2", "REPLY-1", NotBefore = Stages.Requests)]
    public void Server_forgets_the_options_of_each_request(
        [Values("GET|dog.png|digest=sha256", "GET|cat.exe|digest=sha256", "GET|../x.png|digest=sha256",
                "GET|cat.png|digest=sha256|x", "GET|cat.png|digest=sha256|offset=99", "GET|cat.png|offset=5",
                "GET|cat.png|offset=99", "GET|dog.png|offset=5", "GET|cat.png|modified", "GET|dog.png|modified",
                "PUT|cat.png|digest=sha256", "PUT|dog.exe|digest=sha256",
                "PUT|cat.png|modified=2001-01-01T00:00:00Z")] string request)
    {
        var cat = Notation.Bytes(9);
        Server.Has("cat.png", cat);
        var wire = Connect();
        wire.Send(request + "\n");
        if (wire.ReceiveLine().StartsWith("OK"))
        {
            wire.ReceiveBlock();
        }

        Same(cat, wire.Get("cat.png"), $"what GET of cat.png brought after {request}");
        ListHas(wire, 1);                               // a digest that nobody asked for would come before this answer
        wire.ExpectRefusal("PUT|cat.png", "exists");
        wire.Put("new.png", cat);
        ListHas(wire, 2);
    }

    [Test, Clause("REQ-2", "CLOSE-1")]
    public void Server_answers_bad_request_to_requests_that_break_the_grammar(
        [Values("|", "|cat.png", "GET", "PUT", "GET|cat.png|x=1|x=2", "GET|cat.png|digest=sha256|digest=sha256",
                "PUT|dog.png|x|x", "LIST||", "GET|cat.png||",
                "PUT|dog.png|ahead|ahead", "PUT|dog.png|ahead|ahead=1", "GET|cat.png|ahead|ahead")] string request)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.ExpectRefusal(request, "bad-request", closes: true);
    }

    [Test, Clause("OFFSET-3", "CLOSE-1")]
    public void Server_answers_bad_request_to_an_offset_that_is_not_a_number(
        [Values("", "-1", "+1", " 1", "1 ", "0x1", "1.0", "1e1", "100000000000000000000", "१")] string offset)
    {
        Server.Has("cat.png", Notation.Bytes(9));
        var wire = Connect();
        wire.ExpectRefusal($"GET|cat.png|offset={offset}", "bad-request", closes: true);
    }

    [Test, Clause("REPLY-1", "CLOSE-3")]
    public void Server_sends_only_replies()
    {
        // The barrier: anything else from the server would come before the answer to the last request, or after it.
        var wire = Connect();
        wire.Send("GET|cat.png\nPUT|a.exe\nLIST\n");
        wire.ExpectError("not-found");
        wire.ExpectError("bad-type");
        wire.Expect("OK\n");
        wire.ExpectBytes(Notation.U64(0));
        wire.Finish();
    }

    [Test, Clause("REPLY-2", "NAME-1")]
    public void Server_does_not_repeat_bytes_of_the_client_in_its_replies(
        [Values("GET|\u001b[2Jx.png", "GET|a\rb.png", "GET|\u202egnp.exe",
                "PUT|\u009bx.png", "\u001b]0;gotcha\u0007", "GET|a\u0000b.png")] string request)
    {
        var wire = Connect();
        wire.Send(request + "\n");
        string line = wire.ReceiveLine();
        Demand(line.StartsWith("ER|"), "ER|code|text", line);
        Demand(!(line.Any(c => char.IsControl(c) || c == '\u202e') || line.Contains("gotcha")),
            "a text without what the client sent", line);
    }
}
