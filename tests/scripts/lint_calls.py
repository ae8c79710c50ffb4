"""Banned calls: unbounded string functions, the C heap outside base, killing the process outside cli."""
# SPDX-License-Identifier: MIT
import re

import ctext

# (names, folders where they are refused, folders inside those where they are at home, instead)
BANNED = [
    ("strcpy strcat sprintf vsprintf gets atoi atol atof", ("src", "tests", "bench", "docs"), (),
     "use base/buf.h, snprintf or strtol"),
    ("malloc calloc realloc free strdup strndup aligned_alloc posix_memalign", ("src",), ("src/base",),
     "use base/mem.h"),
    ("exit _exit quick_exit abort getenv secure_getenv", ("src",), ("src/cli",), "return a code; options come from cli"),
    ("assert", ("src",), (), "input gets a sentence, invariants a _Static_assert"),
    ("rand srand random drand48", ("src", "tests", "bench"), (), "use base/rng.h"),
    ("clock_gettime gettimeofday time", ("src",), ("src/base",), "use base/seam.h"),
]


def check_calls(found):
    for names, folders, home, instead in BANNED:
        call = re.compile(r"(?<![\w.>])(%s)\s*\(" % "|".join(names.split()))
        for path in ctext.files(folders, [".c", ".h", ".inc", ".def"]):
            if path.startswith(tuple(h + "/" for h in home)):
                continue
            text = ctext.code(path)
            for match in call.finditer(text):
                place = "%s:%d" % (path, text.count("\n", 0, match.start()) + 1)
                found.error(place, "%s is banned here: %s" % (match.group(1), instead))


CHECKS = [("lint_banned_calls", check_calls)]
