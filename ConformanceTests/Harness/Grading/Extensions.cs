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
            }          // its own tests say what is wrong
        }

        return new()                                    // one way of asking is enough: then all of them have to work
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
