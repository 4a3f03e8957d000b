using Microsoft.CodeAnalysis.CSharp.Syntax;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Text;
using Microsoft.CodeAnalysis;

namespace ConformanceTests.Mutants;

/// <summary>A mutant that cannot be made. The message says which one, in which member, and why.</summary>
public sealed class MutantException(string message) : Exception(message);

/// <summary>
/// The source text of the program, in which a mutant changes a few tokens of one named member.
/// </summary>
/// <remarks>
/// Only tokens are compared, by kind and text. So layout, comments and all other members do not matter, and the
/// program can be reformatted without a change to the list of mutants.
/// </remarks>
public sealed class ProgramSource
{
    private static readonly CSharpParseOptions _options = new(LanguageVersion.Preview);
    private static readonly string[] _fileNames = ["Server.cs", "Client.cs"];

    private readonly ILookup<string, Part> _parts;

    /// <summary>Reads and parses the program's files.</summary>
    /// <param name="folder">The folder that has Server.cs and Client.cs.</param>
    public ProgramSource(string folder)
        : this([.. _fileNames.Select(name => (name, File.ReadAllText(Path.Combine(folder, name))))])
    {
    }

    /// <summary>Makes the source of the given text, as if it were a file of the program.</summary>
    public ProgramSource(params (string FileName, string Text)[] files)
    {
        Trees = [.. files.Select(file => Parse(file.Text, file.FileName))];
        _parts = Trees
            .SelectMany(tree => Parts(tree, tree.GetRoot(), ""))
            .ToLookup(part => part.Member, StringComparer.Ordinal);
    }

    /// <summary>The program without a mistake, a tree for each file.</summary>
    public IReadOnlyList<SyntaxTree> Trees { get; }

    /// <summary>Parses a file of the program.</summary>
    public static SyntaxTree Parse(string text, string fileName) =>
        CSharpSyntaxTree.ParseText(text, _options, fileName);

    /// <summary>Puts the mistake into the program.</summary>
    /// <returns>The tree of the file that holds the member, and the same file with the mistake.</returns>
    /// <exception cref="MutantException">
    /// There is no such member, what is to be changed does not occur in it exactly once, or the result does not parse.
    /// </exception>
    public (SyntaxTree Before, SyntaxTree After) Apply(Mutant mutant)
    {
        SyntaxToken[] pattern = Tokens(mutant.Find);
        if (pattern.Length == 0)
        {
            throw Wrong(mutant, "has nothing to find");
        }

        if (Same(pattern, Tokens(mutant.Replace)))
        {
            throw Wrong(mutant, "changes nothing");
        }

        Part[] parts = [.. _parts[mutant.Member]];
        if (parts.Length == 0)
        {
            string files = string.Join(" or ", Trees.Select(tree => tree.FilePath));
            throw Wrong(mutant, $"there is no such member in {files}{Elsewhere(pattern, mutant.Member)}");
        }

        (SyntaxTree Tree, TextSpan Span)[] found = [.. parts.SelectMany(part => part.Find(pattern))];
        if (found.Length != 1)
        {
            string where = string.Join(", ", parts.Select(part => part.Location));
            throw Wrong(mutant, $"occurs {found.Length} times in {where}, and has to occur once"
                + (found.Length == 0 ? Elsewhere(pattern, mutant.Member) : ""));
        }

        SyntaxTree before = found[0].Tree;
        SourceText text = before.GetText().Replace(found[0].Span, mutant.Replace);
        SyntaxTree after = Parse(text.ToString(), before.FilePath);
        Diagnostic? error = after.GetDiagnostics().FirstOrDefault(item => item.Severity == DiagnosticSeverity.Error);
        if (error is not null)
        {
            throw Wrong(mutant, $"with its replacement the file does not parse: {error}");
        }

        return (before, after);
    }

    private static MutantException Wrong(Mutant mutant, string why) =>
        new($"mutant \"{mutant.Name}\", {mutant.Member}: {why}\n  {mutant.Find.ReplaceLineEndings("\n  ")}");

    /// <summary>Names the other members in which the pattern occurs, for when code has moved.</summary>
    private string Elsewhere(SyntaxToken[] pattern, string member)
    {
        string[] names =
        [
            .. from parts in _parts
               where parts.Key != member && !parts.Any(part => part.IsType)
               let count = parts.Sum(part => part.Find(pattern).Count())
               where count > 0
               select $"{parts.Key} ({count})",
        ];
        return names.Length == 0 ? "; it occurs in no other member" : $"; it occurs in {string.Join(", ", names)}";
    }

    private static IEnumerable<Part> Parts(SyntaxTree tree, SyntaxNode parent, string outer)
    {
        foreach (SyntaxNode node in parent.ChildNodes())
        {
            if (node is BaseNamespaceDeclarationSyntax)
            {
                foreach (Part part in Parts(tree, node, outer))
                {
                    yield return part;
                }

                continue;
            }

            foreach (string name in NamesOf(node))
            {
                yield return new Part(tree, node, outer + name);
            }

            if (node is TypeDeclarationSyntax or EnumDeclarationSyntax)
            {
                foreach (Part part in Parts(tree, node, $"{outer}{NamesOf(node).Single()}."))
                {
                    yield return part;
                }
            }
        }
    }

    private static IEnumerable<string> NamesOf(SyntaxNode node) => node switch
    {
        BaseTypeDeclarationSyntax type => [type.Identifier.Text],
        DelegateDeclarationSyntax type => [type.Identifier.Text],
        MethodDeclarationSyntax method => [method.Identifier.Text],
        ConstructorDeclarationSyntax constructor => [constructor.Identifier.Text],
        DestructorDeclarationSyntax destructor => [$"~{destructor.Identifier.Text}"],
        PropertyDeclarationSyntax property => [property.Identifier.Text],
        EventDeclarationSyntax member => [member.Identifier.Text],
        IndexerDeclarationSyntax => ["this[]"],
        OperatorDeclarationSyntax member => [$"operator {member.OperatorToken.Text}"],
        ConversionOperatorDeclarationSyntax member => [$"operator {member.Type}"],
        BaseFieldDeclarationSyntax field => field.Declaration.Variables.Select(variable => variable.Identifier.Text),
        EnumMemberDeclarationSyntax member => [member.Identifier.Text],
        GlobalStatementSyntax => ["Program.Main"],
        _ => [],
    };

    /// <summary>The tokens of a piece of source text, which may be an incomplete expression or statement.</summary>
    private static SyntaxToken[] Tokens(string text) =>
        [
            .. SyntaxFactory.ParseTokens(text, options: _options)
                .Where(token => token.RawKind != (int)SyntaxKind.EndOfFileToken),
        ];

    private static bool Same(ReadOnlySpan<SyntaxToken> some, ReadOnlySpan<SyntaxToken> others)
    {
        if (some.Length != others.Length)
        {
            return false;
        }

        for (int i = 0; i < some.Length; i++)
        {
            if (some[i].RawKind != others[i].RawKind || some[i].Text != others[i].Text)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>A declaration of a member: an overload has one of its own, and so has each part of a type.</summary>
    private sealed class Part(SyntaxTree tree, SyntaxNode node, string member)
    {
        private readonly Lazy<SyntaxToken[]> _tokens = new(() => Tokens(node.ToString()));

        public string Member => member;

        public bool IsType => node is BaseTypeDeclarationSyntax;

        public string Location =>
            $"{tree.FilePath}:{tree.GetLineSpan(node.Span).StartLinePosition.Line + 1}";

        /// <summary>Returns the places in the file where the pattern occurs.</summary>
        public IEnumerable<(SyntaxTree Tree, TextSpan Span)> Find(SyntaxToken[] pattern)
        {
            SyntaxToken[] tokens = _tokens.Value;
            for (int i = 0; i + pattern.Length <= tokens.Length; i++)
            {
                if (Same(tokens.AsSpan(i, pattern.Length), pattern))
                {
                    int start = tokens[i].SpanStart;
                    int end = tokens[i + pattern.Length - 1].Span.End;
                    yield return (tree, TextSpan.FromBounds(node.SpanStart + start, node.SpanStart + end));
                }
            }
        }
    }
}
