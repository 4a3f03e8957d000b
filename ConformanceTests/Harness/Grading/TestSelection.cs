using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace ConformanceTests.Harness.Grading;

/// <summary>Which tests the suite's own runner runs.</summary>
/// <param name="isChosen">Says whether a single test is chosen.</param>
public sealed class TestSelection(Func<ITest, bool> isChosen) : TestFilter
{
    /// <summary>The category of tests that wait longer than 5 s or move more than 100 MiB.</summary>
    public const string Slow = "Slow";

    public const string Torture = "Torture";

    /// <summary>The selection of this run, or null under `dotnet test`.</summary>
    public static TestSelection? Current { get; set; }

    /// <summary>What `make test` runs, by the settings of this run.</summary>
    public static TestSelection BySettings() => new(test =>
        !IsOf(test, Torture)
        && !IsExplicit(test)
        && !(RunSettings.Current.Quick && IsOf(test, Slow))
        && (RunSettings.Current.OnlyClauses.Length == 0 || RunSettings.Current.OnlyClauses.Any(id => IsOf(test, id)))
        && Regex.IsMatch(NameOf(test), RunSettings.Current.OnlyTests));

    /// <summary>Says whether a test, or a suite that it is in, has a category.</summary>
    public static bool IsOf(ITest? test, string category) => CategoriesOf(test).Contains(category);

    /// <summary>
    /// The categories of a test, and of the suites that it is in. A method with arguments is a suite.
    /// </summary>
    public static IEnumerable<string> CategoriesOf(ITest? test) =>
        test is null ? []
            : test.Properties[PropertyNames.Category].OfType<string>().Concat(CategoriesOf(test.Parent)).Distinct();

    /// <summary>The name of a test as in report.json, such as "Get.Asks_twice".</summary>
    public static string NameOf(ITest test) =>
        $"{test.Method?.TypeInfo.Type.Name}.{ClauseAttribute.NameInReport(test)}";

    /// <summary>All single tests of a suite.</summary>
    public static IEnumerable<ITest> Leaves(ITest test) => test.IsSuite ? test.Tests.SelectMany(Leaves) : [test];

    public override bool Match(ITest test) => !test.IsSuite && isChosen(test);

    public override TNode AddToXml(TNode parentNode, bool recursive) => parentNode.AddElement("selection");

    private static bool IsExplicit(ITest? test) =>
        test is not null && (test.RunState == RunState.Explicit || IsExplicit(test.Parent));
}
