using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Which optional features the server under test has. The suite asks the server once.</summary>
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
            return [];                                  // the tests of that show what is wrong
        }

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
                return true;                            // the tests of the feature show what is wrong
            }
        }

        // A server that accepts one of these requests has the feature, and then every way to use it has to work.
        return new()
        {
            ["digest"] = Has("GET|offer.png|digest=sha256") || Has("PUT|offered.png|digest=sha256"),
            ["offset"] = Has("GET|offer.png|offset=0") || Has("GET|offer.png|offset=0|digest=sha256"),
            ["STATUS"] = Has("STATUS"),
            ["ahead"] = Has("PUT|offered.png|ahead") || Has("PUT|offered.png|digest=sha256|ahead"),
            ["modified"] = Has("GET|offer.png|modified") || Has("PUT|offered.png|modified=2024-05-01T12:00:00Z"),
        };
    }

    public static string? Missing(string id)
    {
        string? feature = ProtocolSpecification.Find(id).Feature;
        return RunSettings.Current.Server == "" || feature is null || _offered.Value.GetValueOrDefault(feature, true)
            ? null
            : $"not offered: {feature}";
    }
}
