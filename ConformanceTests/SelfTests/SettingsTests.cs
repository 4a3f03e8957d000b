namespace ConformanceTests.SelfTests;

/// <summary>What the suite says about a setting that it cannot use. It exits with 2 then, and runs no test.</summary>
[Reference]
public sealed class SettingsTests
{
    [TestCase("STAGE", "three", "STAGE is a number from 1 to 14, not 'three'.")]
    [TestCase("STAGE", "15", "STAGE is a number from 1 to 14, not '15'.")]
    [TestCase("SEED", "1.5", "SEED is a whole number, not '1.5'.")]
    [TestCase("MINUTES", "-1", "MINUTES is a number from 0 to 1000, not '-1'.")]
    [TestCase("TIMEOUT_SCALE", "0", "TIMEOUT_SCALE is a number from 0.001 to 1000, not '0'.")]
    [TestCase("QUICK", "yes", "QUICK is 1, or is left out, and not 'yes'.")]
    [TestCase("PROGRAM", "no/such/file", "PROGRAM is the file of a program, and there is no file 'no/such/file'.")]
    public void Suite_says_what_is_wrong_with_a_setting(string name, string value, string says) =>
        Assert.That(MistakeIn(name, value), Is.EqualTo(says));

    [Test]
    public void Suite_says_what_is_wrong_with_a_regular_expression() =>
        Assert.That(MistakeIn("TESTS", "(Get"), Does.StartWith("TESTS is a regular expression for names of tests: "));

    [TestCase("STAGE", "14"), TestCase("SEED", "-7"), TestCase("TIMEOUT_SCALE", "0.5"), TestCase("QUICK", "1")]
    [TestCase("STRICT", "0"), TestCase("TESTS", "Get|Put"), TestCase("STAGE", "")]
    public void Suite_accepts_a_setting_that_it_can_use(string name, string value) =>
        Assert.That(MistakeIn(name, value), Is.Null);

    private static string? MistakeIn(string name, string value) =>
        SettingsCheck.FindMistake(other => other == name ? value : null);
}
