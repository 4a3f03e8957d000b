public static class ReportPage
{
    public static string Of(string under, Verdict[] verdicts, string text) => "";
}
