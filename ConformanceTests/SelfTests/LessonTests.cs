using ConformanceTests.Report.Lessons;

namespace ConformanceTests.SelfTests;

/// <summary>The lessons of the program name what exists, and lessons.html shows it.</summary>
[Reference]
public sealed partial class LessonTests
{
    private static readonly List<Lesson> _lessons = LessonsPage.FindLessons(RunSettings.Root);

    [Test]
    public void Lessons_are_numbered_from_1_in_the_order_of_the_files() =>
        Assert.That(_lessons.Select(lesson => lesson.Number), Is.EqualTo(Enumerable.Range(1, 9)));

    [TestCaseSource(nameof(_lessons))]
    public void A_lesson_names_paragraphs_that_exist(Lesson lesson)
    {
        Assert.That(lesson.Ids, Is.Not.Empty);
        Assert.That(lesson.Ids.Where(id => !ProtocolSpecification.Clauses.ContainsKey(id)), Is.Empty);
    }

    [TestCaseSource(nameof(_lessons))]
    public void A_lesson_has_a_command_that_shows_it_and_code(Lesson lesson)
    {
        Assert.That(lesson.Commands, Is.Not.Empty);
        Assert.That(lesson.Code, Is.Not.Empty);
    }

    // The list at the top of a file: "//     Lesson 7   ImageFolder, Upload    a file appears complete or not at all".
    [TestCaseSource(nameof(_lessons))]
    public void The_list_at_the_top_of_a_file_names_types_that_are_in_that_lesson(Lesson lesson)
    {
        string[] lines = File.ReadAllLines(Path.Combine(RunSettings.Root, lesson.File));
        string listed = lines.Select(line => ListedLesson().Match(line))
            .Single(match => match.Success && match.Groups[1].Value == $"{lesson.Number}").Groups[2].Value;
        string code = string.Join('\n', lesson.Code);
        foreach (string type in listed.Split(", ").Where(name => TypeName().IsMatch(name)))
        {
            Assert.That(code, Does.Match($@"\b(class|record|struct) {type}\b"));
        }
    }

    [Test]
    public void The_page_has_every_line_of_code_of_every_lesson()
    {
        string page = LessonsPage.Render(_lessons, _ => null);
        string text = System.Net.WebUtility.HtmlDecode(Tag().Replace(page, ""));
        foreach (Lesson lesson in _lessons)
        {
            string numbered = string.Join('\n', lesson.Code.Select((line, i) => $"{lesson.FirstLine + i}{line}"));
            Assert.That(text.Contains(numbered), $"lesson {lesson.Number}");
        }
    }

    [TestCase("GET-1 to GET-3, P10 (what is served), CLI-11.", "GET-1 GET-2 GET-3 P10 CLI-11")]
    [TestCase("P1 to P3 (complete), P5", "P1 P2 P3 P5")]
    public void Ids_are_found_in_a_text(string text, string ids) =>
        Assert.That(string.Join(' ', Lesson.FindIds(text)), Is.EqualTo(ids));

    [GeneratedRegex(@"^//     Lesson (\d+)   (.+?)   ")] private static partial Regex ListedLesson();

    [GeneratedRegex("^[A-Z][a-z]+[A-Za-z]*$")] private static partial Regex TypeName();

    [GeneratedRegex("<[^>]*>")] private static partial Regex Tag();
}
