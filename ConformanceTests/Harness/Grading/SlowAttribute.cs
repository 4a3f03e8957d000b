namespace ConformanceTests.Harness.Grading;

/// <summary>Marks a test that takes longer than 5 s or moves more than 100 MiB. QUICK=1 leaves it out.</summary>
public sealed class SlowAttribute() : CategoryAttribute(TestSelection.Slow);
