namespace ConformanceTests.Harness.Programs;

/// <summary>
/// What cannot be tested on a server that sees its folder through Windows (`make windows`, under Wine), and why:
/// a whole test, or something that tests put into a folder.
/// </summary>
public static class WindowsLimits
{
    private static readonly (string What, string Why)[] _absent =
    [
        ("Server_does_not_confuse_a_non_UTF8_name_with_a_similar_one",
            "its file names consist of characters, so they cannot contain bytes that are not valid UTF-8"),
        ("links and pipes",
            "its folders cannot contain pipes, and its links cannot be made from outside: a link of Unix looks like\n"
            + "  the file that it points to. Server_answers_not_found_to_GET_of_an_unlisted_entry and\n"
            + "  Server_never_replaces_any_kind_of_entry run without them"),
    ];

    /// <summary>The tests that are named here.</summary>
    public static IEnumerable<string> Tests =>
        _absent.SelectMany(row => Regex.Matches($"{row.What} {row.Why}", @"\w+_\w+").Select(match => match.Value));

    public static bool Lacks(string what) => RunSettings.Current.OnWindows && _absent.Any(row => row.What == what);

    public static string Report() => !RunSettings.Current.OnWindows || !RunSettings.Current.TestsServer ? ""
        : "\n\nNot there on Windows:" + string.Concat(_absent.Select(row => $"\n- {row.What}: {row.Why}"));

    // NAME-4: if the file system ignores case (on a Mac, too), a request for the other name finds this file.
    private static readonly bool _folds =
        RunSettings.Current.OnWindows || File.Exists(Path.Combine(RunSettings.Root, "PROTOCOL.MD"));

    public static Piece[]? Folded(Transcript transcript, byte[] request)
    {
        string line = _folds ? Encoding.UTF8.GetString(request) : "";
        bool IsMeant(string name) => $"GET|{name}\n" != line
            && $"GET|{name}\n".Equals(line, StringComparison.OrdinalIgnoreCase);

        var held = transcript.Before.FirstOrDefault(file => file.Side == Side.Server && IsMeant(file.Name));
        if (held?.Content is not { } content)
        {
            return null;
        }

        return [new KnownBytes([.. "OK\n"u8, .. Notation.U64((ulong)content.Length), .. content])];
    }
}
