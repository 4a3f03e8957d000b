namespace ConformanceTests.SelfTests;

/// <summary>What a failure shows of a connection.</summary>
[Reference]
public sealed class RecordingTests
{
    // A long entry keeps its two ends only. What is put back may be in either, in both, or in neither.
    [Test]
    public void Recording_forgets_what_was_put_back([Values(1, 18, 300, 700, 1017)] int bytes)
    {
        byte[] all = [.. Enumerable.Range(0, 1018).Select(i => (byte)('a' + i % 26))];
        var recording = new Recording();
        recording.Add(Side.Server, all);
        recording.Undo(bytes);
        RecordedLine line = recording.Lines.Single();
        Assert.That(line.Length, Is.EqualTo(all.Length - bytes));
        Assert.That(line.First, Is.EqualTo(all.AsSpan(0, Math.Min(line.First.Length, (int)line.Length)).ToArray()));
        Assert.That(line.Last, Is.EqualTo(all.AsSpan(0, (int)line.Length)[^line.Last.Length..].ToArray()));
    }

    [Test]
    public void Recording_has_no_line_if_all_of_it_was_put_back([Values(18, 1018)] int bytes)
    {
        var recording = new Recording();
        recording.Add(Side.Server, new byte[bytes]);
        recording.Undo(bytes);
        Assert.That(recording.Lines, Is.Empty);
    }
}
