"""Files: unique names, a licence line, an opening comment, no traces of anybody's machine."""
# SPDX-License-Identifier: MIT
import collections
import os
import re

import ctext

SPDX = "SPDX-License-Identifier: MIT"
CODE = (".c", ".h", ".inc", ".py", ".sh", ".def")
OPENING = re.compile(r"\s*/\*.*?\*/", re.S)
OPENING_LINES = 12
BINARY = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".safetensors", ".gguf", ".bin", ".ttf", ".gz", ".wav")
# Absolute paths of one machine. Written in pieces, so that this file does not find itself.
TRACES = re.compile("(?<![\\w.~-])/(?:" + "|".join(("work/", "root/", "home/\\w+/", "Users/\\w+/")) + ")")


def check_unique(found):
    seen = collections.defaultdict(list)
    for path in ctext.files(["src", "include"], [".c", ".h", ".def", ".inc"]):
        seen[os.path.basename(path)].append(path)
    for paths in seen.values():
        if len(paths) > 1:
            found.error(paths[0], "the same file name as %s" % ", ".join(paths[1:]))


def check_spdx(found):
    for path in ctext.files(["src", "include", "tests", "bench", "scripts", "docs"], CODE):
        head = "\n".join(ctext.read(path).split("\n")[:40])
        if SPDX not in head and not path.endswith(".def"):
            found.error(path, "no line with %s near the top" % SPDX)


def check_opening(found):
    """The first thing in a C file says what it is for."""
    for path in ctext.files(["src", "include", "tests"], [".c", ".h", ".def", ".inc"]):
        match = OPENING.match(ctext.read(path))
        if not match or SPDX in match.group():
            found.error(path, "does not open with a comment on what it is for")
        elif match.group().count("\n") >= OPENING_LINES:
            found.warning(path, "opening comment over %d lines" % OPENING_LINES)


def check_traces(found):
    for path in ctext.all_files():
        if path.endswith(BINARY) or os.path.getsize(os.path.join(ctext.ROOT, path)) > 8 << 20:
            continue
        for number, line in enumerate(ctext.read(path).split("\n"), 1):
            match = TRACES.search(line)
            if match:
                found.error("%s:%d" % (path, number), "a path of one machine: %s" % match.group())


def check_format(found):
    """No tabs, no trailing blanks, a newline at the end, lines of at most 120 columns."""
    for path in ctext.files(["src", "include", "tests", "bench"], [".c", ".h", ".inc", ".py"]):
        text = ctext.read(path)
        if not text.endswith("\n"):
            found.error(path, "no newline at the end")
        for number, line in enumerate(text.split("\n"), 1):
            if "\t" in line or line != line.rstrip():
                found.error("%s:%d" % (path, number), "a tab or trailing blank")
            if len(line) > 120:
                found.warning("%s:%d" % (path, number), "%d columns" % len(line))


CHECKS = [("lint_unique_names", check_unique), ("lint_spdx", check_spdx), ("lint_opening_comment", check_opening),
          ("lint_no_machine_paths", check_traces), ("lint_format", check_format)]
