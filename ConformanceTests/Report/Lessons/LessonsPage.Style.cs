namespace ConformanceTests.Report.Lessons;

public static partial class LessonsPage
{
    private const string Style = """
        :root { color-scheme: light dark; --paper: #fff; --ink: #1d2730; --quiet: #5c6873; --line: #d9dee3;
          --shade: #f5f7f9; --accent: #0b6bcb; --comment: #4d6b3c; --keyword: #8a3ea8; --text: #a33b20;
          --number: #96600a;
          --type: #0f6b75; --client: #0b5cad; --server: #8a4b00; }
        @media (prefers-color-scheme: dark) { :root { --paper: #14191f; --ink: #dfe5ea; --quiet: #94a1ad;
          --line: #2e3842;
          --shade: #1b222a; --accent: #6cb4ff; --comment: #93b87f; --keyword: #cf9bea; --text: #eb9c83;
          --number: #e0b266;
          --type: #74c7cf; --client: #7dbcff; --server: #f0b36e; } }
        * { box-sizing: border-box; }
        body { margin: 0 auto; max-width: 110rem; padding: 0 1.5rem 4rem; background: var(--paper); color: var(--ink);
          font: 1rem/1.55 system-ui, sans-serif; }
        header p, .heading p, .turn p { max-width: 46rem; }
        h1 { font-size: 2.2rem; margin: 2.5rem 0 .5rem; }
        h2 { font-size: 1.6rem; margin: 0 0 .5rem; }
        h3 { font-size: .85rem; text-transform: uppercase; letter-spacing: .08em; color: var(--quiet); margin:
          1.5rem 0 .5rem; }
        h4 { margin: 0; font-size: 1rem; }
        h2 span { color: var(--accent); } small { color: var(--quiet); font-weight: normal; font-size: .85rem; }
        a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
        pre .c a { color: inherit; text-decoration: underline; text-decoration-color: var(--line); }
        nav { display: flex; flex-wrap: wrap; gap: 1rem 5rem; padding: 1rem 0 2rem; }
        nav h2 { font-size: 1rem; } nav ol { margin: 0; padding-left: 1.5rem; }
        section { border-top: 2px solid var(--line); padding-top: 2rem; margin-top: 3rem; }
        pre, code { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; font-size: .82rem; }
        code { background: var(--shade); padding: .1em .3em; border-radius: 3px; }
        pre { background: var(--shade); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem;
          margin: .5rem 0;
          overflow-x: auto; line-height: 1.45; }
        .heading pre { max-width: 66rem; }
        .pair { display: grid; grid-template-columns: minmax(20rem, 2fr) minmax(0, 5fr); gap: 0 2rem; }
        .rules { align-self: start; position: sticky; top: 0; max-height: 100vh; overflow-y: auto;
          padding-right: .5rem; }
        .rules p { margin: .1rem 0 .9rem; font-size: .92rem; }
        article:target { outline: 2px solid var(--accent); outline-offset: 4px; border-radius: 3px; }
        .rules pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .76rem; }
        section > p { max-width: 46rem; font-weight: 600; }
        figure { margin: 0 0 1rem; } figcaption { font-weight: 600; font-size: .92rem; }
        .code pre i { display: inline-block; width: 3em; margin-left: -.4em; padding-right: 1em; color:
          var(--quiet); opacity: .7;
          text-align: right; font-style: normal; user-select: none; }
        .c { color: var(--comment); } .k { color: var(--keyword); } .s { color: var(--text); } .n { color:
          var(--number); }
        .t { color: var(--type); } .client { color: var(--client); } .server { color: var(--server); }
        .turn pre { max-width: 66rem; white-space: pre-wrap; overflow-wrap: anywhere; }
        @media (max-width: 60rem) { body { padding: 0 1rem 3rem; } .pair { display: block; }
          .rules { position: static; max-height: none; } h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; }
          pre, code { font-size: .75rem; } }
        @media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --quiet: #555; --line: #ccc;
          --shade: #fff;
          --accent: #000; --comment: #456035; --keyword: #6c2d86; --text: #8a2f18; --number: #7a4e05; --type: #0b555d;
          --client: #08478a; --server: #6e3b00; }
          body { max-width: none; padding: 0; font-size: 9.5pt; } .pair { display: block; }
          .rules { position: static; max-height: none; overflow: visible; columns: 2; column-gap: 1.5rem; }
          article, figure { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
          pre { white-space: pre-wrap; overflow: visible; font-size: 7.2pt; overflow-wrap: anywhere; }
          section { break-before: page; border: 0; margin: 0; } }

        """;
}
