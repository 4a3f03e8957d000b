[assembly: Parallelizable(ParallelScope.All)]
[assembly: LevelOfParallelism(10)]                      // most of a test's time is waiting for a process or a deadline
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
