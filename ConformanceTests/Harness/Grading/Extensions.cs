using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Programs;
using ConformanceTests.Harness.Specification;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Which extensions the server under test has, asked once over a connection.</summary>
public static class Extensions
{
    private static readonly Lazy<Dictionary<string, bool>> _offered = new(Ask);

    private static Dictionary<string, bool> Ask()
    {
        RunningServer started;
        try
        {
            started = new RunningServer();
        }
        catch (Violation)
        {
            return [];
        }                // as below

        using var server = started;
        server.Has("offer.png", Notation.Bytes(8));
        bool Has(string request)
        {
            using var wire = server.Connect();
            wire.Send(request + "\n");
            try
            {
                return !wire.ReceiveLine().StartsWith("ER|unsupported|");
            }
            catch (Violation)
            {
                return true;
            }          // then its own tests shall say what is wrong
        }

        return new()                                    // one way of asking is enough: then all of them have to work
        {
            ["DIGEST"] = Has("GET|offer.png|digest=sha256") || Has("PUT|offered.png|digest=sha256"),
            ["OFFSET"] = Has("GET|offer.png|offset=0") || Has("GET|offer.png|offset=0|digest=sha256"),
            ["STATUS"] = Has("STATUS"),
            ["AHEAD"] = Has("PUT|offered.png|ahead") || Has("PUT|offered.png|digest=sha256|ahead"),
        };
    }

    public static string? Missing(string id)
    {
        string family = id.Split('-')[0];
        if (RunSettings.Server == "" || _offered.Value.GetValueOrDefault(family, true))
        {
            return null;
        }

        return $"not offered: {(family == "STATUS" ? family : family.ToLowerInvariant())}";
    }
}
