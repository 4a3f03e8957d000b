[assembly: Parallelizable(ParallelScope.All)]
// A test mostly waits for a process or a deadline, so many can run at the same time.
[assembly: LevelOfParallelism(10)]
[assembly: FixtureLifeCycle(LifeCycle.InstancePerTestCase)]
