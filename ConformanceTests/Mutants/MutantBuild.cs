using System.Reflection;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis;

namespace ConformanceTests.Mutants;

/// <summary>Compiles the program in memory, with a mistake or without.</summary>
public static class MutantBuild
{
    /// <summary>What the SDK of .NET adds to each project with ImplicitUsings.</summary>
    internal const string ImplicitUsings =
        """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Threading;
        global using System.Threading.Tasks;

        """;

    private static readonly Lazy<ProgramSource> _source = new(() => new ProgramSource(RunSettings.Root));
    private static readonly Lazy<CSharpCompilation> _program = new(Compilation);
    private static readonly Lazy<GeneratorDriver> _generators = new(Generators);

    /// <summary>The program's source text.</summary>
    public static ProgramSource Source => _source.Value;

    /// <summary>Returns the errors that the compiler has in the program with the mistake, or none.</summary>
    public static IReadOnlyList<Diagnostic> Errors(Mutant mutant) =>
        [.. With(mutant).GetDiagnostics().Where(item => item.Severity == DiagnosticSeverity.Error)];

    /// <summary>Writes ImageTransfer.dll and what is needed to start it.</summary>
    /// <param name="mutant">The mistake, or null for the program as it is.</param>
    /// <param name="folder">The folder to write to.</param>
    public static void Write(Mutant? mutant, string folder)
    {
        var result = With(mutant).Emit(Path.Combine(folder, "ImageTransfer.dll"));
        if (!result.Success)
        {
            var errors = result.Diagnostics.Where(item => item.Severity == DiagnosticSeverity.Error).Take(3);
            throw new MutantException($"mutant \"{mutant?.Name}\" does not compile:\n{string.Join('\n', errors)}");
        }

        File.Copy(
            Path.ChangeExtension(CommandTemplates.ReferenceFile, ".runtimeconfig.json"),
            Path.Combine(folder, "ImageTransfer.runtimeconfig.json"));
    }

    private static Compilation With(Mutant? mutant)
    {
        CSharpCompilation program = _program.Value;
        if (mutant is not null)
        {
            var (before, after) = Source.Apply(mutant);
            program = program.ReplaceSyntaxTree(before, after);
        }

        _generators.Value.RunGeneratorsAndUpdateCompilation(program, out Compilation complete, out _);
        return complete;
    }

    private static CSharpCompilation Compilation()
    {
        string project = File.ReadAllText(Path.Combine(RunSettings.Root, "ImageTransfer.csproj"));
        var own = Regex.Matches(project, "<Using Include=\"(.*?)\"( Static)?")
            .Select(use => $"global using {(use.Groups[2].Success ? "static " : "")}{use.Groups[1]};\n");
        SyntaxTree usings = ProgramSource.Parse(ImplicitUsings + string.Concat(own), "GlobalUsings.cs");
        // The compiler's warnings about null are not wanted here: looking for them takes a fifth of the time.
        return CSharpCompilation.Create("ImageTransfer", [usings, .. Source.Trees], Libraries(),
            new CSharpCompilationOptions(
                OutputKind.ConsoleApplication,
                optimizationLevel: OptimizationLevel.Release,
                allowUnsafe: true,
                nullableContextOptions: NullableContextOptions.Annotations));
    }

    /// <summary>Returns the libraries of .NET, and none of the suite's.</summary>
    internal static IEnumerable<MetadataReference> Libraries()
    {
        string trusted = (string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!;
        string? framework = Path.GetDirectoryName(typeof(object).Assembly.Location);
        return trusted.Split(Path.PathSeparator)
            .Where(path => Path.GetDirectoryName(path) == framework)
            .Select(path => MetadataReference.CreateFromFile(path));
    }

    /// <summary>Returns the generators that write the bodies of [LibraryImport] and [GeneratedRegex] methods.</summary>
    private static GeneratorDriver Generators()
    {
        string folder = typeof(MutantBuild).Assembly
            .GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(attribute => attribute.Key == "Generators").Value!;
        (string Library, string Type)[] names =
        [
            ("Microsoft.Interop.LibraryImportGenerator", "Microsoft.Interop.LibraryImportGenerator"),
            ("System.Text.RegularExpressions.Generator", "System.Text.RegularExpressions.Generator.RegexGenerator"),
        ];
        var generators =
            from name in names
            let library = Assembly.LoadFrom(Path.Combine(folder, name.Library + ".dll"))
            let type = library.GetType(name.Type, throwOnError: true)
            select ((IIncrementalGenerator)Activator.CreateInstance(type)!).AsSourceGenerator();
        return CSharpGeneratorDriver.Create(
            [.. generators], parseOptions: (CSharpParseOptions)Source.Trees[0].Options);
    }
}
