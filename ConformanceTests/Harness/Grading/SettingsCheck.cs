namespace ConformanceTests.Harness.Grading;

/// <summary>Checks the settings of a run before it begins: RunSettings would take the default for one that it cannot
/// read.</summary>
internal static class SettingsCheck
{
    private static readonly (string Name, int Least, int Most)[] _numbers =
    [
        ("STAGE", 1, Stages.All.Length - 1),
        ("UP_TO_STAGE", 1, Stages.All.Length - 1),
        ("SEED", int.MinValue, int.MaxValue),
        ("MINUTES", 0, 1_000),
        ("AT_ONCE", 1, 1_000),
    ];

    private static readonly string[] _factors = ["TIMEOUT_SCALE", "ROUNDS"];
    private static readonly string[] _switches = ["QUICK", "STRICT"];

    /// <summary>Returns what is wrong with a setting, in one sentence, or null.</summary>
    /// <param name="variable">Returns the value of a variable, or null.</param>
    public static string? FindMistake(Func<string, string?> variable)
    {
        string Value(string name) => variable(name)?.Trim() ?? "";

        return _numbers.Select(row => WrongNumber(row.Name, Value(row.Name), row.Least, row.Most))
            .Concat(_factors.Select(name => WrongFactor(name, Value(name))))
            .Concat(_switches.Select(name => WrongSwitch(name, Value(name))))
            .Append(WrongPattern(Value("TESTS")))
            .Append(WrongProgram(Value("PROGRAM")))
            .FirstOrDefault(mistake => mistake is not null);
    }

    private static string? WrongNumber(string name, string value, int least, int most)
    {
        if (value == "" || int.TryParse(value, out int number) && number >= least && number <= most)
        {
            return null;
        }

        string range = most == int.MaxValue ? "a whole number" : $"a number from {least} to {most}";
        return $"{name} is {range}, not '{value}'.";
    }

    private static string? WrongFactor(string name, string value)
    {
        bool isNumber = double.TryParse(value, CultureInfo.InvariantCulture, out double factor);
        return value == "" || isNumber && factor is >= 0.001 and <= 1000
            ? null : $"{name} is a number from 0.001 to 1000, not '{value}'.";
    }

    private static string? WrongSwitch(string name, string value) =>
        value is "" or "0" or "1" ? null : $"{name} is 1, or is left out, and not '{value}'.";

    private static string? WrongPattern(string value)
    {
        try
        {
            _ = new Regex(value);
            return null;
        }
        catch (ArgumentException e)
        {
            return $"TESTS is a regular expression for names of tests: {e.Message}";
        }
    }

    private static string? WrongProgram(string value) =>
        value == "" || File.Exists(value) ? null : $"PROGRAM is the file of a program, and there is no file '{value}'.";
}
