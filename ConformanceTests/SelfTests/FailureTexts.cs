using NUnit.Framework.Internal;
using static VerifyNUnit.Verifier;

namespace ConformanceTests.SelfTests;

/// <summary>What the author of a program that fails a programmed test reads: the check, the hint, the
/// connections.</summary>
[Reference]
public sealed partial class FailureTexts : ClientFixture
{
    private static readonly byte[] _cat = Notation.Bytes(300, seed: 1);        // the snapshots show some of them

    [Test]
    public async Task Of_clients() => await Verify(Neutral(string.Concat(
        Failing("A_refused_GET_fails", ["CLI-5"], () =>
        {
            var client = Shell("echo saved cat.png");
            using var pair = NewPair(Side.Server);
            pair.Wire.Send("ER|not-found|there is none\n");
            client.MustFail();
        }),
        Failing("A_file_that_came_whole_is_a_success", ["CLI-5"], () =>
        {
            var client = Shell("echo I do not like it >&2; exit 3");
            client.MustSucceed();
        }),
        Failing("A_length_that_is_too_large_is_refused", ["CLI-2"], () =>
        {
            var client = Shell("echo 'Traceback (most recent call last):' >&2; "
                + "echo 'MemoryError: big' >&2; exit 1");
            client.MustFail();
        }),
        Failing("A_client_ends_by_itself", ["CLI-9"], () =>
        {
            using var pair = NewPair(Side.Server);
            var client = Shell("exec sleep 60");
            client.WaitForExit(200);
        }),
        Failing("A_client_of_a_real_server_ends_by_itself", ["CLI-9"], () =>
        {
            var client = Shell("exec sleep 60");
            client.WaitForExit(200);
        }),
        Failing("A_file_that_was_cut_does_not_appear", ["CLI-4"], () =>
        {
            Give("cat.png", _cat);
            FolderMustLack("cat.png");
        }),
        Failing("A_file_is_stored_as_it_was_sent", ["CLI-6"], () =>
        {
            Give("cat.png", _cat[..200]);
            Same(_cat, File.ReadAllBytes(PathOf("cat.png")), "cat.png as it was stored");
        }),
        Failing("A_file_is_stored_bit_by_bit", ["CLI-6"], () =>
        {
            byte[] flipped = [.. _cat];
            flipped[200] ^= 4;
            Same(_cat, flipped, "cat.png as it was stored");
        }),
        Failing("A_client_uploads_several_files", ["CLI-3"], () =>
        {
            var client = Shell("exit 2", TranscriptPlayer.RunAs("PUT", "0.png", "1.png 2.png"));
            client.MustSucceed();
        }),
        Failing("Nothing_is_left_of_a_failed_GET", ["CLI-4"], () =>
        {
            Give("cat.png.part", _cat);
            File.Delete(PathOf("cat.png"));
            Same([], Files(), "what is in the client's folder");
        }),
        Failing("A_client_asks_for_what_it_was_told", ["CLI-1"], () =>
        {
            using var pair = NewPair(Side.Server);
            pair.Peer.Send("get cat.png\r\n"u8);
            var wire = pair.Wire;
            Takes(ref wire, "GET|cat.png");
        }),
        Failing("A_client_says_why", ["CLI-3"], () =>
        {
            var client = Shell("exit 1");
            client.WaitForExit();
            Demand(client.Errors.Contains("not-found"), "the code in what the client prints", client.Errors);
        }))));

    [Test]
    public async Task Of_servers() => await Verify(Neutral(string.Concat(
        Failing("A_listing_has_every_file", ["LIST-1"], () =>
        {
            using var pair = NewPair(Side.Client);
            byte[] listing = Encoding.UTF8.GetBytes("b.png|1|2026-01-31T23:59:59Z\n");
            pair.Peer.Send([.. "OK\n"u8, .. Notation.U64((ulong)listing.Length), .. listing]);
            ListIs(pair.Wire, "a.png", "b.png");
        }),
        Failing("An_upload_that_was_cut_is_not_listed", ["P1"], () =>
        {
            using var pair = NewPair(Side.Client);
            byte[] listing = Encoding.UTF8.GetBytes("cut.png|1|2026-01-31T23:59:59Z\n");
            pair.Peer.Send([.. "OK\n"u8, .. Notation.U64((ulong)listing.Length), .. listing]);
            ListIs(pair.Wire);
        }),
        Failing("A_file_comes_as_it_is", ["GET-1"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send([.. "OK\n"u8, .. Notation.U64(4), 1, 2, 3, 4]);
            Same([1, 2, 4, 8, 16], pair.Wire.Get("cat.png"), "what GET of cat.png brought");
        }),
        Failing("An_upload_is_stored_as_it_was_sent", ["PUT-2"], () =>
        {
            byte[] stored = [.. _cat[..100], .. _cat[..100]];
            Same(_cat, stored, "the file as it was stored");
        }),
        Failing("A_line_that_dribbles_is_ended", ["LIMIT-1"], () =>
            EndsInTime(40.01, 9, 22)),
        Failing("A_line_that_dribbles_is_not_ended_too_early", ["LIMIT-1"], () =>
            EndsInTime(0.01, 9, 22)),
        Failing("A_block_that_dribbles_is_ended", ["LIMIT-4"], () =>
            EndsInTime(60, 18, 42)),
        Failing("Of_two_uploads_one_wins", ["P2"], () =>
            OneWins(["OK", "ER|exists|there is one", "OK"])),
        Failing("A_server_needs_little_memory", ["P6"], () =>
            UsesLittleMemory(50 << 20, 40 << 20, "50 clients that only ask")),
        Failing("A_listing_has_ten_files", ["LIST-1"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send([.. "OK\n"u8, .. Notation.U64(0)]);
            ListHas(pair.Wire, 10);
        }),
        Failing("Nothing_comes_but_the_answers", ["CONN-2"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send("HELLO\n"u8);
            pair.Wire.Socket.Poll(1_000_000, SelectMode.SelectRead);
            Demand(!pair.Wire.HasMore, "nothing before a request", "a line");
        }),
        Failing("An_unknown_verb_is_unsupported", ["REQ-1"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send("ER|bad-request|what?\n"u8);
            pair.Wire.Send("FROB\n");
            pair.Wire.ExpectError("unsupported");
        }),
        Failing("One_of_two_connections_is_silent", ["P6"], () =>
        {
            using var first = NewPair(Side.Client);
            using var second = NewPair(Side.Client);
            first.Peer.Send([.. "OK\n"u8, .. Notation.U64(0)]);
            first.Wire.List();
            second.Wire.List();
        }),
        Failing("Many_are_served_at_once", ["P6"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send("ER|busy|later\n"u8);
            Parallel.For(0, 1, _ => pair.Wire.List());
        }),
        Failing("A_server_reads_on_after_its_last_reply", ["CLOSE-1"], () =>
            Demand(false, "the server to read on", "a reset")),
        Failing("A_temporary_file_is_removed", ["P3"], () =>
            throw new Violation("expected  no temporary file in the folder\nreceived  .upload-1, .upload-2")),
        Failing("An_answer_has_three_fields", ["LIST-1"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send("OK\n"u8);
            string[] fields = pair.Wire.ReceiveLine().Split('|');
            Demand(fields[2] != "", "a text", "none");
        }),
        Failing("A_listing_after_a_kill_has_what_was_stored", ["P1", "P5", "P13"], () =>
        {
            using var pair = NewPair(Side.Client);
            pair.Peer.Send([.. "OK\n"u8, .. Notation.U64(0)]);
            ListIs(pair.Wire, "whole.png");
        }),
        Failing("A_killed_server_leaves_nothing", ["P1", "P13"], () =>
            Demand(false, "an empty folder, once the next server runs", "something stays in it", breaks: "P13")))));

    private ChildProgram Shell(string script, string? runAs = null)
    {
        if (OperatingSystem.IsWindows())
        {
            Skip.Because("needs a Unix shell");
        }

        return Own(new ChildProgram("client", ["sh", "-c", script], Folder)
        {
            Command = runAs is null ? null : "PUT",
            RunAs = runAs ?? "",
        });
    }

    private static Pair NewPair(Side self)
    {
        var pair = new Pair(self);
        Scope!.Add(pair.Wire);
        return pair;
    }

    // As a test is judged: the failure of the body, as the report shows it.
    private static string Failing(string test, string[] ids, Action body)
    {
        var scope = ClauseAttribute.CurrentScope = new TestScope(ids, test);
        using (new TestExecutionContext.IsolatedContext())
        {
            var result = TestExecutionContext.CurrentContext.CurrentResult;
            try
            {
                body();
            }
            catch (Exception e)
            {
                scope.Thrown = e;
                result.RecordException(e);
            }
            finally
            {
                ClauseAttribute.CurrentScope = null;
            }

            var failure = TestFailure.Of(result, scope);
            string sentence = failure.Sentence is { } broken ? $" (breaks {broken})" : "";
            return $"{test}{sentence}\n{failure.Text()}\n";
        }
    }

    private static string Neutral(string text) => Waits().Replace(text, "for 1 s");

    [GeneratedRegex(@"\bfor \d+(\.\d)? s\b")]
    private static partial Regex Waits();
}
