namespace ConformanceTests.Harness.Specification;

/// <summary>Which program sends.</summary>
public enum Side { Client, Server }

/// <summary>A piece of what one side sends: known bytes, a number of any bytes, or a placeholder.</summary>
public abstract record Piece;

public sealed record KnownBytes(byte[] Value) : Piece
{
    public override string ToString() => Notation.Show(Value);
}

public sealed record AnyBytes(int Count) : Piece
{
    public override string ToString() => $"<any:{Count}>";
}

public sealed record Placeholder(string Name) : Piece         // line, time, digits
{
    public override string ToString() => $"<{Name}>";
}

public abstract record Step(int Line);

public sealed record SendStep(int Line, Side Side, Piece[] Pieces) : Step(Line);

public sealed record EventStep(int Line, Side Side, string Event) : Step(Line);  // close, half-close

/// <summary>A file in a folder. Content is null if the file must not exist.</summary>
public sealed record FileState(int Line, Side Side, string Name, byte[]? Content);

public sealed record Transcript(
    string Name, string[] Ids, int Line, bool ClientOnly,
    string? Command, int? Exit,
    FileState[] Before, Step[] Steps, FileState[] After)
{
    public override string ToString() => Name;
}
