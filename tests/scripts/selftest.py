"""The lint's own test: a tree of bad files in which every check must find its error, and a good one in
which none may; and the counting of run.py. A check that cannot fail is no check."""
# SPDX-License-Identifier: MIT
import os
import sys
import tempfile

import ctext

HEAD = "/* A file. */\n/* SPDX-License-Identifier: MIT */\n"
LONG = "static int f(void)\n{\n%s    return 0;\n}\n"

# check -> (path, content) pairs that must make it fail
BAD = {
    "lint_include_direction": [("src/tensor/a.c", HEAD + '#include "graph/g.h"\n'),
                               ("src/eval/a.c", HEAD + '#include "tensor/t.h"\n'),
                               ("src/odd/a.c", HEAD)],
    "lint_public_includes": [("include/nunchi/a.h", HEAD + '#include "base/err.h"\n')],
    "lint_function_length": [("src/base/a.c", HEAD + LONG % ("    ;\n" * 120)),
                             ("src/base/a.c", HEAD + "#define M \\\n" + "    ; \\\n" * 120 + "    ;\n"),
                             ("src/kernels/a.c", HEAD + "/* long: unrolled */\n" + LONG % ("    ;\n" * 200))],
    "lint_complexity": [("src/base/a.c", HEAD + LONG % ("    if (a && b) ;\n" * 15)),
                        ("src/base/a.c", HEAD + "#if X\nint f(int a)\n{\n    if (a) {\n#else\nint f(int b)\n{\n    {\n#endif\n"
                         + "    for (;;) ;\n" * 30 + "    }\n}\n")],
    "lint_file_length": [("src/base/a.c", HEAD + ";\n" * 1500)],
    "lint_banned_calls": [("src/base/a.c", HEAD + "int f(void) { return atoi(s); }\n"),
                          ("src/text/a.c", HEAD + "void f(void *p) { free(p); }\n"),
                          ("src/base/a.c", HEAD + "void f(void) { exit(1); }\n")],
    "lint_unique_names": [("src/base/a.c", HEAD), ("src/text/a.c", HEAD)],
    "lint_spdx": [("src/base/a.c", "/* A file. */\n")],
    "lint_opening_comment": [("src/base/a.c", "int x;\n"), ("src/base/a.c", "/* SPDX-License-Identifier: MIT */\n")],
    "lint_no_machine_paths": [("README.md", "see " + "/ro" + "ot/x\n")],
    "lint_format": [("src/base/a.c", HEAD + "int x; \n"), ("src/base/a.c", HEAD + "int x;")],
    "lint_headers_c11": [("include/nunchi/a.h", HEAD + "int f(size_t n);\n")],
    "lint_headers_cpp": [("include/nunchi/a.h", HEAD + "int f(int class);\n")],
    "lint_doc_links": [("docs/a.md", "[b](b.md)\n"), ("docs/a.md", "# A\n[b](#b)\n"), ("README.md", "[a](docs/a.md)\n")],
    "lint_doc_paths": [("docs/a.md", "`src/base/a.c`\n"), ("docs/a.md", "`a.c`\n"), ("README.md", "`docs/{a,b}.md`\n")],
    "rows_ops_have_gradient_tests": [("src/graph/ops.def", 'OP(norm, 1, 1, 1, "x")\n'), ("tests/grad/t.c", "/* norm */")],
    "rows_kernels_have_tests": [("src/kernels/k.def", "KERNEL(dot, void)\n")],
    "rows_options_have_docs": [("src/cli/options.def", 'OPTION("max-pixels", 1)\n')],
    "rows_commands_have_docs": [("src/cli/commands.def", "COMMAND(run, 1)\n")],
    "rows_parsers_have_fuzz_targets": [("tests/fuzz/parsers.def", 'PARSER(json, "x")\n')],
}
TOGETHER = {"lint_unique_names", "rows_ops_have_gradient_tests"}  # one tree with all the pairs

GOOD = [
    ("src/base/ok.c", HEAD + '#include "base/ok.h"\n' + LONG % ("    ;\n" * 100)),
    ("src/base/ok.h", HEAD + "int good(void); /* exit(1) in a comment, \"free(p)\" */\n"),
    ("src/kernels/ok_kernel.c", HEAD + "/* long: unrolled by hand */\n" + LONG % ("    ;\n" * 150)),
    ("src/eval/ok_eval.c", HEAD + '#include "nunchi/ok_public.h"\n#include "base/ok.h"\nint map_free(void);\n'),
    ("include/nunchi/ok_public.h", HEAD + '#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n#ifdef __cplusplus\n}\n#endif\n'),
    ("src/graph/ops.def", HEAD + 'OP(norm, 1, 1, 1, "x")\nOP(norm_dx, 1, 1, 1, "x")\n/* OP(no_row) */\n'),
    ("tests/grad/grad.c", HEAD + "void t(void) { g_norm(1); }\n"),
    ("src/cli/options.def", HEAD + "OPTION(max_pixels, 1)\n"),
    ("docs/run.md", "# To `run`\n[here](#to-run), [there](../README.md#it-is)\n`--max-pixels N`, `base/ok.{c,h}`, `src/graph/ops.def`\n"),
    ("README.md", "# It is\n```\n[no](link)\n```\n[run](docs/run.md), [far](https://example.org)\n"),
]


class Tree:
    """A temporary project root in ctext's place."""

    def __init__(self, files):
        self.files = files

    def __enter__(self):
        self.folder, self.root = tempfile.TemporaryDirectory(), ctext.ROOT
        ctext.ROOT = self.folder.name
        for path, content in self.files:
            full = os.path.join(ctext.ROOT, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as f:
                f.write(content)
        clear_caches()

    def __exit__(self, *_):
        ctext.ROOT = self.root
        self.folder.cleanup()
        clear_caches()


def clear_caches():
    for cached in (ctext.all_files, ctext.read, ctext.code, ctext.functions):
        cached.cache_clear()


def check_lint(found, checks, findings):
    for name, check in checks:
        pairs = BAD.get(name, [])
        for tree in ([pairs] if name in TOGETHER else [[pair] for pair in pairs]):
            with Tree(tree):
                got = findings()
                check(got)
            if not got.errors and not any("no C++ compiler" in w for w in got.warnings):
                found.error("selftest", "%s overlooks %s: %r" % (name, tree[0][0], tree[0][1][-60:]))
        with Tree(GOOD):
            got = findings()
            check(got)
        for line in got.errors:
            found.error("selftest", "%s is wrong about good files: %s" % (name, line))


# output, exit status, timed out -> passed, failed, skipped
COUNTS = [
    ("[       OK ] a\n[       OK ] b\n", 0, False, (2, 0, 0)),
    ("[       OK ] a\n[  FAILED  ] b\n[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] b\n", 1, False, (1, 1, 0)),
    ("[       OK ] a\n[  SKIPPED ] b\n", 0, False, (1, 0, 1)),
    ("[       OK ] a\n", -11, False, (1, 1, 0)),
    ("[       OK ] a\n", 0, True, (1, 1, 0)),
    ("[       OK ] a\n", 3, False, (1, 1, 0)),
    ("", 0, False, (1, 0, 0)),
    ("", 1, False, (0, 1, 0)),
    ("", 77, False, (0, 0, 1)),
]


def check_counting(found):
    sys.path.insert(0, os.path.join(ctext.ROOT, "tests"))
    import run
    for output, status, timed_out, expected in COUNTS:
        result = run.Result("x")
        result.output = output
        result.count(status, timed_out)
        counted = (result.passed, result.failed, result.skipped)
        if counted != expected:
            found.error("selftest", "run.py counts %r as %s, expected %s" % (output, counted, expected))
