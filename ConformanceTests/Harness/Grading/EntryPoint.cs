namespace ConformanceTests.Harness.Grading;

/// <summary>Where the suite begins when it is started as a program: `dotnet run -- test`.</summary>
internal static class EntryPoint
{
    private static async Task<int> Main(string[] words)
    {
        if (SettingsCheck.FindMistake(Environment.GetEnvironmentVariable) is { } mistake)
        {
            Console.Error.WriteLine(mistake);
            return 2;
        }

        ISuiteCommand[] commands =
        [
            .. typeof(EntryPoint).Assembly.GetTypes()
                .Where(type => type.IsClass && type.IsAssignableTo(typeof(ISuiteCommand)))
                .Select(type => (ISuiteCommand)Activator.CreateInstance(type)!)
                .OrderBy(command => command.Name),
        ];
        if (commands.FirstOrDefault(command => command.Name == words.FirstOrDefault()) is { } chosen)
        {
            return await chosen.RunAsync(words[1..]);
        }

        Console.Error.WriteLine("Usage: dotnet run --project ConformanceTests -- COMMAND");
        foreach (ISuiteCommand command in commands)
        {
            Console.Error.WriteLine($"  {command.Name,-15} {command.Help}");
        }

        return 2;
    }
}
