namespace ConformanceTests.Report.Lessons;

/// <summary>Turns C# into HTML with classes for comments, strings, numbers, keywords and types.</summary>
public static partial class CSharpHighlighter
{
    private static readonly HashSet<string> _keywords =
    [
        .. ("abstract and as async await base bool break byte case catch char class const continue default do double "
            + "else enum event explicit extern false finally fixed float for foreach get goto if implicit in init int "
            + "interface internal is lock long namespace new nint not null object operator or out override params "
            + "partial private protected public readonly record ref required return sbyte sealed set short sizeof "
            + "stackalloc static string struct switch this throw true try typeof uint ulong unsafe ushort using value "
            + "var virtual void volatile when where while with yield").Split(' '),
    ];

    /// <summary>Returns the lines as HTML, one element for each.</summary>
    /// <param name="lines">The code.</param>
    /// <param name="link">Turns the text of a comment, already escaped, into HTML with links.</param>
    public static string[] Highlight(string[] lines, Func<string, string> link)
    {
        var html = new StringBuilder();
        string code = string.Join('\n', lines);
        int done = 0;
        foreach (Match match in Token().Matches(code))
        {
            html.Append(WebUtility.HtmlEncode(code[done..match.Index]));
            done = match.Index + match.Length;
            string text = WebUtility.HtmlEncode(match.Value);
            string kind = KindOf(match);
            string shown = kind == "c" ? link(text) : text;
            html.Append(kind == "" ? shown : string.Join('\n', shown.Split('\n').Select(line =>
                $"<span class={kind}>{line}</span>")));
        }

        html.Append(WebUtility.HtmlEncode(code[done..]));
        return html.ToString().Split('\n');
    }

    private static string KindOf(Match token)
    {
        return token.Groups["comment"].Success ? "c"
            : token.Groups["text"].Success ? "s"
            : token.Groups["number"].Success ? "n"
            : _keywords.Contains(token.Value) ? "k"
            : char.IsUpper(token.Value[0]) ? "t"
            : "";
    }

    [GeneratedRegex("""
        (?<comment>//[^\n]*)
        |(?<text>\$*"{3}[\s\S]*?"{3}(?:u8)?|[$@]*"(?:\\.|[^"\\\n])*"(?:u8)?|'(?:\\[^']+|\\'|[^'\\])')
        |(?<number>\b\d[\d_]*(?:\.\d+)?\w*)
        |(?<word>\b[A-Za-z_]\w*)
        """, RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex Token();
}
