using ConformanceTests.Harness.Diagnosis;
using ConformanceTests.Harness.Programs;
using ConformanceTests.Harness.Specification;
using ConformanceTests.Harness.Wire;

namespace ConformanceTests.Harness.Grading;

/// <summary>The connections and programs of the test that is running.</summary>
public sealed class TestScope : IDisposable
{
    private static readonly AsyncLocal<TestScope?> _current = new();
    private readonly TestScope? _outer = _current.Value;
    private readonly List<ProtocolConnection> _wires = [];
    private readonly List<(ChildProgram Program, int Output, int Errors)> _programs = [];
    private readonly List<Violation> _violations = [];
    public readonly Clause[] Clauses;
    public readonly string Test;

    public TestScope(Clause[] clauses, string test)
    {
        Clauses = clauses;
        Test = test;
        _current.Value = this;
    }

    public void Dispose() => _current.Value = _outer;

    public static TestScope? Current => _current.Value;

    public ProtocolConnection[] Wires
    {
        get
        {
            lock (_wires)
            {
                return [.. _wires];
            }
        }
    }

    public Violation[] Violations
    {
        get
        {
            lock (_violations)
            {
                return [.. _violations];
            }
        }
    }

    public string? Command { get; set; }                // what a client was last started for

    public string RunAs { get; set; } = "";             // the same with its files

    public int? ClientExit { get; set; }

    public void Add(ProtocolConnection wire)
    {
        lock (_wires)
        {
            _wires.Add(wire);
        }
    }

    public void Add(Violation violation)
    {
        lock (_violations)
        {
            _violations.Add(violation);
        }
    }

    // From here on what it says is said during this test.
    public void Add(ChildProgram program)
    {
        lock (_programs)
        {
            if (!_programs.Any(entry => entry.Program == program))
            {
                _programs.Add((program, program.Output.Length, program.Errors.Length));
            }
        }
    }

    // The last program, if all that the test has started have ended.
    public ChildProgram? Ended
    {
        get
        {
            lock (_programs)
            {
                return _programs.All(entry => entry.Program.HasEnded) ? _programs.LastOrDefault().Program : null;
            }
        }
    }

    private string? _saidInTime;

    // What is said from here on is said of what the test does to the program when it ends.
    public void Ends()
    {
        for (int i = 0; i < 5 && Said() == ""; i++)
        {
            Thread.Sleep(10);           // it may be on its way
        }

        if (Said() != "")
        {
            Thread.Sleep(20);
        }

        _saidInTime ??= Said();
    }

    public string Said()
    {
        if (_saidInTime is not null)
        {
            return _saidInTime;
        }

        lock (_programs)
        {
            return string.Concat(_programs.Select(entry =>
                entry.Program.Output[entry.Output..] + entry.Program.Errors[entry.Errors..]));
        }
    }

    public string? Who
    {
        get
        {
            lock (_programs)
            {
                return _programs.Count > 0 ? _programs[^1].Program.Name : null;
            }
        }
    }
}
