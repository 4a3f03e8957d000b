using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>
/// Tries the simple case of each command of a client, once. If that fails, an exit code other than 0 after a refusal
/// proves nothing.
/// </summary>
public static class ClientBaseline
{
    private static readonly Dictionary<string, Lazy<Failure?>> _lacks = new()
    {
        ["LIST"] = new(() => Try("list-an-empty-folder")),
        ["GET"] = new(() => Try("get-a-picture")),
        ["PUT"] = new(() => Try("put-a-picture")),
    };

    public static Failure? FailsEvenTheSimpleCase(TestScope scope)
    {
        if (RunSettings.Current.Client == "" || scope.ClientExit is null or 0)
        {
            return null;
        }

        if (!_lacks.TryGetValue(scope.Command ?? "", out var trial) || trial.Value is not { } lack)
        {
            return null;
        }

        return new Failure($"exit code other than 0 here, and 0 for a {scope.Command} that succeeds",
            $"exit code {scope.ClientExit} here, but a {scope.Command} that should succeed fails, too")
        {
            Notes = [$"fix that first (it is a transcript in Protocol.md): expected {lack.Expected.Split('\n')[0]}, "
                + $"received {lack.Received.Split('\n')[0]}"],
            Sentence = "CLI-5",
        };
    }

    private static Failure? Try(string name)
    {
        var apart = new TestScope([], name);
        using Socket listener = TranscriptPlayer.Listen();
        string folder = TestFolders.New("client");
        var transcript = ProtocolSpecification.Transcripts.Single(one => one.Name == name);
        try
        {
            TranscriptPlayer.AgainstClient(transcript, listener, folder, Delivery.Whole, apart);
            return null;
        }
        catch (Violation violation)
        {
            return Explanation.Of(violation, []) is { IsAdvice: false } lack ? lack : null;
        }
        finally
        {
            Directory.Delete(folder, true);
        }
    }
}
