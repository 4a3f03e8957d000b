namespace ConformanceTests.Report;

/// <summary>How each page of HTML begins. A page is one file without a script, and loads nothing.</summary>
public static class HtmlPage
{
    /// <summary>Returns the head of a page.</summary>
    /// <param name="title">The title.</param>
    /// <param name="style">The file of this project that has its style.</param>
    public static string Head(string title, string style)
    {
        using var css = new StreamReader(typeof(HtmlPage).Assembly.GetManifestResourceStream(style)!);
        return "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n"
            + "<meta name=viewport content='width=device-width, initial-scale=1'>\n"
            + "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
            + $"<title>{title}</title>\n<style>\n{css.ReadToEnd()}</style>\n";
    }
}
