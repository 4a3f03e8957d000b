namespace ConformanceTests.Sections;

/// <summary>TYPE: the first bytes of a file.</summary>
public sealed class Types : ServerFixture
{
    private static readonly string[] _pictures =
    [
        "89504E470D0A1A0A",                             // PNG
        "FFD8FF", "FFD8FFE000104A46",                   // JPEG
        "474946383761", "47494638396100",               // GIF87a, GIF89a
        "424D", "424DFF",                               // BMP
        "49492A00", "4D4D002A", "49492B00", "4D4D002B", // TIFF, BigTIFF
        "524946460000000057454250",                     // WebP
        "0000001866747970", "000000006674797068656963", // HEIC, AVIF
        "FF0A", "0000000C4A584C20", "0000000C4A584C200D0A870A",         // JPEG XL, alone and in a container
        "0000000C6A502020", "0000000C6A5020200D0A870A", // JPEG 2000
    ];

    private static readonly (string What, byte[] Bytes)[] _others =
    [
        ("a web page",               [.. "<!DOCTYPE html><html></html>"u8]),
        ("text",                     [.. "my holiday in the mountains"u8]),
        ("a PDF",                    [.. "%PDF-1.7\n"u8]),
        ("an archive",               [.. "PK\x03\x04 and so on, and so on"u8]),
        ("a sound",                  [.. "RIFF\x04\0\0\0WAVE"u8]),
        ("one byte",                [0]),
        ("one byte of many",        [0xFF]),
        ("a PNG of 7 bytes",        Convert.FromHexString("89504E470D0A1A")),
        ("a PNG in text mode",       Convert.FromHexString("89504E470A1A0A0000")),
        ("a PNG but for one byte",  Convert.FromHexString("89504E470D0A1A0B")),
        ("a JPEG of 2 bytes",       Convert.FromHexString("FFD8")),
        ("a JPEG but for one byte", Convert.FromHexString("FFD8FEE0")),
        ("a JPEG turned round",      Convert.FromHexString("D8FFFF00")),
        ("a GIF of 5 bytes",        [.. "GIF89"u8]),
        ("a GIF of 1988",            [.. "GIF88a-"u8]),
        ("half a BMP",               [.. "B"u8]),
        ("a TIFF of 3 bytes",       [.. "II*"u8]),
        ("a TIFF turned round",      [.. "II\0*"u8]),
        ("a TIFF turned round, too", [.. "MM*\0"u8]),
        ("a BigTIFF turned round",   [.. "II\0+"u8]),
        ("a BigTIFF of 3 bytes",     [.. "MM\0"u8]),
        ("a JPEG XL but for a byte", Convert.FromHexString("FF0B0000")),
        ("a JPEG XL box of 7 bytes", Convert.FromHexString("0000000C4A584C")),
        ("a JPEG XL box of 13",      Convert.FromHexString("0000000D4A584C20")),
        ("a JPEG 2000 of 7 bytes",   Convert.FromHexString("0000000C6A5020")),
        ("a JPEG 2000 without box",  Convert.FromHexString("FF4FFF510029")),
        ("a WebP of 11 bytes",      [.. "RIFFxxxxWEB"u8]),
        ("a WebP without a size",    [.. "RIFFWEBPxxxx"u8]),
        ("RIFF alone",               [.. "RIFF"u8]),
        ("a HEIC of 7 bytes",       [.. "\0\0\0\u0018fty"u8]),
        ("a HEIC too early",         [.. "ftypheic"u8]),
        ("a HEIC too late",          [.. "\0\0\0\0\u0018ftypheic"u8]),
    ];

    // Uploads a file, which must be stored, or refused with bad-type.
    internal static void Put(ProtocolConnection wire, string name, byte[] bytes, bool right = true)
    {
        wire.BeginPut(name, bytes.Length, bytes);
        if (right)
        {
            wire.Expect("OK\n");
        }
        else
        {
            wire.ExpectError("bad-type");
        }
    }

    [Test, Clause("TYPE-1", "CONN-3", NotBefore = Stages.ManyClients)]
    public void Server_accepts_a_signature_split_at_any_byte()
    {
        var wire = Connect();
        foreach (byte[] bytes in _pictures.Select(Convert.FromHexString))
        {
            for (int cut = 1; cut < bytes.Length; cut += 3)
            {
                wire.BeginPut($"{Convert.ToHexString(bytes)}-{cut}.png", bytes.Length, bytes[..cut]);
                Connect().List();                       // by now the server has seen the first piece
                wire.Send(bytes.AsSpan(cut));
                wire.Expect("OK\n");
            }
        }
    }

    [Test, Clause("TYPE-1")]
    public void Server_accepts_any_picture_under_any_extension(
        [Values("jpg", "jpeg", "png", "PNG", "Jpg")] string extension, [Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        foreach (string bytes in _pictures)
        {
            Put(wire, $"{bytes}.{extension}", Convert.FromHexString(bytes));
        }

        ListHas(wire, _pictures.Length);
        foreach (string bytes in _pictures)
        {
            string name = $"{bytes}.{extension}";
            Same(Convert.FromHexString(bytes), wire.Get(name), $"what GET of {name} brought");
        }
    }

    [Test, Clause("TYPE-1", "PUT-6")]
    public void Server_answers_bad_type_to_content_without_a_signature(
        [Values("jpg", "jpeg", "png", "PNG")] string extension, [Values] Delivery delivery)
    {
        var wire = Connect(delivery);
        foreach (var (_, bytes) in _others)
        {
            Put(wire, $"a.{extension}", bytes, right: false);
        }

        ListIs(wire);
    }

    [Test, Clause("TYPE-1")]
    public void Server_ignores_signatures_in_GET_and_LIST()
    {
        Server.Has("a.png", "no picture"u8.ToArray());
        var wire = Connect();
        ListHas(wire, 1);
        Same("no picture"u8.ToArray(), wire.Get("a.png"), "what GET of a.png brought");
    }

    private static readonly string[] _extensions = [.. ProtocolTables.PictureTypes, "GIF", "WebP", "Jxl"];

    [Test, Clause("TYPE-1", NotBefore = Stages.Requests)]
    public void Server_accepts_any_picture_under_the_extension_of_every_other()
    {
        var wire = Connect(Start(with: $"types={string.Join(',', ProtocolTables.PictureTypes)}"));
        foreach (string extension in _extensions)
        {
            foreach (string bytes in _pictures)
            {
                Put(wire, $"{bytes}.{extension}", Convert.FromHexString(bytes));
            }

            foreach (var (_, bytes) in _others)
            {
                Put(wire, $"a.{extension}", bytes, right: false);
            }
        }

        ListHas(wire, _extensions.Length * _pictures.Length);
    }

    [Test, Clause("TYPE-3")]
    public void Server_does_not_look_at_the_content_of_other_types()
    {
        var wire = Connect(Start(with: "types=png,pdf,txt,zip,svg"));
        Put(wire, "a.pdf", [.. "%PDF-"u8]);
        Put(wire, "b.PDF", [.. "%PDF-1.7\n"u8]);
        foreach (var (what, bytes) in _others)
        {
            foreach (string extension in (string[])["txt", "zip", "svg"])
            {
                Put(wire, $"{what}.{extension}", bytes);
            }
        }

        wire.ExpectRefusal("PUT|a.jpg", "bad-type");
    }

    [Test, Clause("TYPE-2")]
    public void Server_answers_bad_type_to_a_PDF_without_its_signature()
    {
        var wire = Connect(Start(with: "types=png,pdf"));
        foreach (byte[] bytes in (byte[][])[[.. "%PDF"u8], [.. "PDF-1.7"u8], Notation.Bytes(9)])
        {
            Put(wire, "a.pdf", bytes, right: false);
        }

        Put(wire, "a.pdf", [.. "%PDF-1.7\n"u8]);
    }
}
