// A stand-in for the package Verify.NUnit, where that cannot be restored: its names, its file format, and only what
// the suite uses of it.
//
// `make test VERIFY=1` puts the real one in its place; tests and .verified.txt files stay as they are.

using System.Reflection;
using System.Runtime.CompilerServices;

namespace VerifyTests
{
    public record PathInfo(string Directory, string TypeName, string MethodName);

    public static class VerifierSettings
    {
        public static void UseUtf8NoBom() { }
    }
}

namespace VerifyNUnit
{
    public sealed class VerifyException(string message) : Exception(message);

    public static class Verifier
    {
        private static Func<string, string, Type, MethodInfo, VerifyTests.PathInfo> _derive = null!;
        private static readonly System.Collections.Concurrent.ConcurrentDictionary<string, bool> _used = [];

        public static void DerivePathInfo(Func<string, string, Type, MethodInfo, VerifyTests.PathInfo> function) =>
            _derive = function;

        // Compares with Type.Method[_param=value].verified.txt; what differs is written next to it as .received.txt.
        public static async Task Verify(string text, [CallerFilePath] string sourceFile = "")
        {
            await Task.Yield();
            var test = NUnit.Framework.Internal.TestExecutionContext.CurrentContext.CurrentTest;
            var method = test.Method!.MethodInfo;
            string projectDirectory = Path.GetDirectoryName(sourceFile)! + Path.DirectorySeparatorChar;
            var info = _derive(sourceFile, projectDirectory, test.TypeInfo!.Type, method);
            string Argument(ParameterInfo parameter, object? value) =>
                $"_{parameter.Name}={Clean($"{value ?? "null"}")}";

            string arguments = string.Concat(method.GetParameters().Zip(test.Arguments, Argument));
            string stem = Path.Combine(info.Directory, $"{info.TypeName}.{info.MethodName}{arguments}");
            string received = $"{stem}.received.txt";
            string verified = $"{stem}.verified.txt";

            // Not ReplaceLineEndings: that takes form feeds and U+2028 for line ends, too.
            text = text.Replace("\r\n", "\n").Replace('\r', '\n');
            text = text.TrimStart('\uFEFF');
            if (text == "")
            {
                text = "emptyString";
            }

            if (!_used.TryAdd(stem, true))
            {
                throw new VerifyException($"The prefix has already been used: {stem}");
            }

            Directory.CreateDirectory(info.Directory);
            File.Delete(received);
            string? expected = File.Exists(verified) ? await File.ReadAllTextAsync(verified) : null;
            if (expected == text)
            {
                return;
            }

            await File.WriteAllTextAsync(received, text);
            string header = $"Received: {Path.GetFileName(received)}\n";
            throw new VerifyException(expected is null
                ? $"New:\n{header}{text}\n\n`make accept` takes it as right."
                : $"NotEqual:\n{header}Verified: {Path.GetFileName(verified)}\n\n"
                    + $"Received\n{text}\n\nVerified\n{expected}\n\n`make accept` takes the received one as right.");
        }

        // Only what stands before the space is a control character for Verify.
        private static string Clean(string value) =>
            string.Concat(value.Select(c => "\"\\<>|:*?/#".Contains(c) || c < ' ' ? '-' : c));
    }
}
