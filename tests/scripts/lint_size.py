"""Length of functions and files, and cyclomatic complexity: warned of, then refused."""
# SPDX-License-Identifier: MIT
import re

import ctext

FOLDERS = ["src", "include", "tests", "bench"]
FUNCTION_WARN, FUNCTION_FAIL, KERNEL_FAIL = 60, 120, 200
FILE_WARN, FILE_FAIL = 800, 1500
COMPLEX_WARN, COMPLEX_FAIL = 15, 30
BRANCH = re.compile(r"\b(?:if|for|while|case)\b|&&|\|\||\?")


def judge(found, place, what, value, warn, fail):
    if value > fail:
        found.error(place, "%s %d, limit %d" % (what, value, fail))
    elif value > warn:
        found.warning(place, "%s %d, better %d" % (what, value, warn))


def stated_reason(f):
    """A kernel may be long when a comment in the three lines above it says `long:` and why."""
    above = ctext.read(f.path).split("\n")[max(f.first - 4, 0):f.first - 1]
    return f.path.startswith("src/kernels/") and re.search(r"long:\s*\w+", "\n".join(above))


def all_functions():
    for path in ctext.files(FOLDERS, [".c", ".h", ".inc"]):
        for f in ctext.functions(path):
            yield "%s:%d" % (path, f.first), f


def check_functions(found):
    for place, f in all_functions():
        fail = KERNEL_FAIL if stated_reason(f) else FUNCTION_FAIL
        judge(found, place, "%s: lines" % f.name, f.lines, FUNCTION_WARN, fail)


def check_complexity(found):
    for place, f in all_functions():
        judge(found, place, "%s: complexity" % f.name, 1 + len(BRANCH.findall(f.body)), COMPLEX_WARN, COMPLEX_FAIL)


def check_file_length(found):
    for path in ctext.files(FOLDERS + ["docs"], [".c", ".h", ".inc", ".py"]):
        judge(found, path, "lines", ctext.read(path).count("\n"), FILE_WARN, FILE_FAIL)
    public = sum(ctext.read(p).count("\n") for p in ctext.files(["include"], [".h"]))
    judge(found, "include/nunchi", "lines of all public headers", public, FILE_FAIL, FILE_FAIL)


CHECKS = [("lint_function_length", check_functions), ("lint_complexity", check_complexity),
          ("lint_file_length", check_file_length)]
