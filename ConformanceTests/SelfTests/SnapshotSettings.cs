using System.Runtime.CompilerServices;
using VerifyTests;

namespace ConformanceTests.SelfTests;

/// <summary>Where snapshots are, and how they are written.</summary>
internal static class SnapshotSettings
{
    [ModuleInitializer]
    public static void Initialize()
    {
        Environment.SetEnvironmentVariable("DiffEngine_Disabled", "true");
        VerifierSettings.UseUtf8NoBom();
        VerifyNUnit.Verifier.DerivePathInfo((_, _, type, method) => new(Folder, type.Name, method.Name));
    }

    public static string Folder => Path.Combine(RunSettings.Root, "ConformanceTests", "Snapshots");
}
