using ConformanceTests.Mutants;

namespace ConformanceTests.SelfTests;

/// <summary>Programs that the suite starts do not ignore signals that the suite itself was told to ignore.</summary>
[Reference]
public sealed class IgnoredSignalsTests
{
    [Test]
    public void Server_does_not_inherit_that_a_signal_is_ignored()
    {
        const string Status = "/proc/self/status";
        Skip.If(!File.Exists(Status), $"needs {Status}, which shows the signals that a process ignores");

        string folder = TestFolders.New("signals");
        try
        {
            // This server shows what it ignores, and ends; the suite then shows what it has said.
            var start = SuiteProcess.In(folder, ("SERVER", $"grep SigIgn {Status} {{port}} {{dir}}"));
            string[] suite = [start.FileName, .. start.ArgumentList];
            start.FileName = "sh";
            start.ArgumentList.Clear();
            foreach (string word in (string[])["-c", "trap '' HUP INT; exec \"$@\"", "sh", .. suite])
            {
                start.ArgumentList.Add(word);
            }

            string said = SuiteProcess.Run(start);
            Assert.That(said, Does.Match(@"SigIgn:\s*[0-9a-f]+[048c]\b"), "the bits of SIGHUP and SIGINT");
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }
}
