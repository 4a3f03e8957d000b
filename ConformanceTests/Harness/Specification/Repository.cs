using System.Reflection;

namespace ConformanceTests.Harness.Specification;

/// <summary>Where the repository is: Protocol.md, and what a run writes by default.</summary>
public static class Repository
{
    public static readonly string Root = typeof(Repository).Assembly
        .GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(attribute => attribute.Key == "Root").Value!;
}
