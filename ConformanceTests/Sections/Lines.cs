namespace ConformanceTests.Sections;

/// <summary>LINE: request lines, their length and their bytes.</summary>
public sealed class Lines : ServerFixture
{
    [Test, Clause("LINE-1")]
    public void Server_accepts_a_UTF8_character_split_across_sends()
    {
        Server.Has("猫.png", Notation.Bytes(8));
        var wire = Connect(Delivery.ByteByByte);
        Counts(8, wire.Get("猫.png").Length, "bytes in what GET of 猫.png brought");
    }

    [Test, Clause("LINE-2")]
    public void Server_accepts_a_line_of_1024_bytes([Values(0, 1, 1022, 1023)] int cut)
    {
        var wire = Connect();
        wire.Send(new string('X', cut));
        Connect().List();                               // by now the server has seen the first piece
        wire.Send(new string('X', Limits.LineBytes - 1 - cut) + "\n");
        wire.ExpectError("unsupported");
        wire.List();
    }

    [Test, Clause("LINE-2", "CLOSE-1")]
    public void Server_answers_bad_request_at_once_to_1024_bytes_without_LF()
    {
        var wire = Connect();
        wire.Send(new string('X', Limits.LineBytes));
        wire.ExpectError("bad-request", closes: true);
    }

    [Test, Clause("LINE-2", "CLOSE-1")]
    public void Server_answers_bad_request_to_a_megabyte_without_LF()
    {
        var wire = Connect();
        wire.Send(new string('X', 1 << 20));
        wire.ExpectError("bad-request", closes: true);
    }

    private static readonly (string Name, byte[] Line)[] _bad =
    [
        ("empty",           []),
        ("CR",              [.. "\r"u8]),
        ("CR LF",           [.. "LIST\r"u8]),
        ("CR after a name", [.. "GET|cat.png\r"u8]),
        ("stray byte",     [.. "GET|"u8, 0xFF, .. ".png"u8]),
        ("overlong",        [.. "GET|"u8, 0xC0, 0xAF, .. ".png"u8]),
        ("surrogate",       [.. "GET|"u8, 0xED, 0xA0, 0x80, .. ".png"u8]),
        ("cut character",   [.. "GET|a.png"u8, 0xE7, 0x8C]),
        ("beyond Unicode",  [.. "GET|"u8, 0xF4, 0x90, 0x80, 0x80, .. ".png"u8]),
        ("pickle",          [0x80, 0x04, 0x95, 0x10]),
    ];

    [TestCaseSource(nameof(_bad)), Clause("LINE-3", "ERR-2", "P11", "CLOSE-1")]
    public void Server_answers_bad_request_to_a_malformed_line((string Name, byte[] Line) bad)
    {
        var wire = Connect();
        wire.ExpectRefusal([.. bad.Line, (byte)'\n'], "bad-request", closes: true);
        Connect().List();
    }

    [Test, Clause("LINE-4")]
    public void Server_refuses_the_first_byte_of_TLS_at_once(
        [Values("alone", "with an LF", "as it begins")] string how, [Values] bool hasAsked)
    {
        var wire = Connect();
        if (hasAsked)
        {
            wire.List();
        }

        wire.Send(how == "alone" ? [0x16] : how == "with an LF" ? [0x16, 0x0A] : Tls.HelloRecord());
        wire.ExpectError("bad-request", closes: true);
    }
}
