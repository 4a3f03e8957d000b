namespace ConformanceTests.Class;

/// <summary>Makes class.txt and class.csv: a row for each student, and the mistakes of most students.</summary>
public static class ClassText
{
    public static string Line(Grade grade)
    {
        string name = Wording.Printable(grade.Student.Name);
        if (!grade.Started)
        {
            return $"{name}  not graded: {First(grade.WhyNot)}";
        }

        string share = $"{Of(grade.Stages)} stages, {Of(grade.Sentences)} sentences{Races(grade)}";
        return $"{name}  {share}   {grade.Took.TotalSeconds:0} s";
    }

    public static string Races(Grade grade) =>
        grade.Races.Length == 0 ? "" : $", {grade.Races.Length} passed only when repeated";

    public static string Of((int Kept, int Of) share) => $"{share.Kept} of {share.Of}";

    public static string First(string text) => Wording.Printable(text.Split('\n')[0]);

    // The stages in which any student was graded.
    public static int[] StagesOf(Grade[] grades) =>
        [.. grades.SelectMany(grade => grade.Marks).Select(mark => mark.Stage).Distinct().Order()];

    // The rules that at least one student breaks, the most frequent ones first.
    public static (Clause Clause, Grade[] By, int Of)[] Broken(Grade[] grades) =>
        [.. from id in grades.SelectMany(grade => grade.Broken).Distinct()
            let clause = ProtocolSpecification.Find(id)
            let breaking = grades.Where(grade => grade.Broken.Contains(id)).ToArray()
            orderby breaking.Length descending, clause.Line
            select (clause, breaking, grades.Count(grade => grade.Judged.Contains(id)))];

    public static (Clause Clause, Grade[] By, int Of)[] NextLesson(Grade[] grades) =>
        [.. Broken(grades).Where(broken => 2 * broken.By.Length > grades.Count(grade => grade.Started))];

    public static string Of(Grade[] grades)
    {
        int[] stages = StagesOf(grades);
        int width = Math.Max(8, grades.Max(grade => Wording.Printable(grade.Student.Name).Length));
        var text = new StringBuilder($"{"student".PadRight(width)}  {"stages",-8}{"sentences",-11}");
        foreach (int stage in stages)
        {
            text.Append($"{stage,-6}");
        }

        text.Append('\n');
        foreach (var grade in grades)
        {
            text.Append($"{Wording.Printable(grade.Student.Name).PadRight(width)}  ");
            if (grade.Started)
            {
                text.Append($"{Share(grade.Stages),-8}{Share(grade.Sentences),-11}");
                foreach (int stage in stages)
                {
                    text.Append($"{Cell(grade.InStage(stage)),-6}");
                }
            }
            else
            {
                text.Append($"not graded: {First(grade.WhyNot)}");
            }

            text.Append('\n');
        }

        text.Append($"\nSentences kept, of those looked at; ok is all of them, - is not offered. Stages: ")
            .Append(string.Join(" · ", stages.Select(stage => $"{stage} {Stages.All[stage].Name}"))).Append('\n');

        var lesson = NextLesson(grades);
        text.Append("\nThe next lesson: ").Append(lesson.Length == 0
            ? "no sentence is broken by more than half of the class.\n"
            : "what more than half of the class breaks.\n");
        foreach (var (clause, by, of) in lesson.Take(10))
        {
            text.Append($"  {by.Length,2} of {of,-3} {RunReport.Short(clause)}\n");
        }

        if (lesson.Length > 10)
        {
            text.Append($"  and {lesson.Length - 10} more, in class.html\n");
        }

        foreach (var grade in grades.Where(grade => grade.Races.Length > 0))
        {
            text.Append($"\n{Wording.Printable(grade.Student.Name)}: ")
                .Append("failed, and passed when it was repeated. A race?\n")
                .Append(Indented(grade.Races.Select(Wording.DisplayName)));
        }

        foreach (var grade in grades.Where(grade => !grade.Started))
        {
            text.Append($"\n{Wording.Printable(grade.Student.Name)}: not graded\n")
                .Append(Indented(grade.WhyNot.Split('\n').Select(Wording.Printable)));
        }

        text.Append("\nAll of it: ConformanceTests/class.html; one by one: ConformanceTests/class/NAME/report.html\n");
        return text.ToString().ReplaceLineEndings("\n");
    }

    private static string Indented(IEnumerable<string> lines) =>
        string.Concat(lines.Select(line => $"  {line}".TrimEnd() + "\n"));

    public static string Cell((int Kept, int Of) stage) =>
        stage.Of == 0 ? "-" : stage.Kept == stage.Of ? "ok" : Share(stage);

    private static string Share((int Kept, int Of) share) => $"{share.Kept}/{share.Of}";

    // For a spreadsheet: how many rules were kept, and how many were tested.
    public static string Csv(Grade[] grades)
    {
        int[] stages = StagesOf(grades);
        IEnumerable<string> Pair(string name) => [name, $"{name}: of"];

        IEnumerable<string> Numbers((int Kept, int Of) share) => [$"{share.Kept}", $"{share.Of}"];

        var head = new[] { "student", "graded" }.Concat(Pair("stages")).Concat(Pair("sentences"))
            .Concat(stages.SelectMany(stage => Pair($"{stage} {Stages.All[stage].Name}")));
        var rows = grades.Select(grade => new[] { grade.Student.Name, grade.Started ? "yes" : "no" }
            .Concat(Numbers(grade.Stages)).Concat(Numbers(grade.Sentences))
            .Concat(stages.SelectMany(stage => Numbers(grade.InStage(stage)))));
        return string.Concat(rows.Prepend(head).Select(row => string.Join(',', row.Select(Quoted)) + "\n"));
    }

    // A spreadsheet would take a value that begins with one of these for a formula.
    private static string Quoted(string value) =>
        $"\"{(value is ['=' or '+' or '-' or '@', ..] ? "'" : "")}{Wording.Printable(value).Replace("\"", "\"\"")}\"";
}
