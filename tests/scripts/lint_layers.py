"""Include direction: a room knows itself and the rooms above it; applications know the public door."""
# SPDX-License-Identifier: MIT
import os
import re

import ctext

ROOMS = ("base tensor kernels cuda graph dist formats text media nn models runtime search data train plan "
         "agent eval server cli").split()
APPLICATIONS = ("agent", "eval", "server", "cli")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.M)


def includes(path):
    text = ctext.read(path)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def objection(room, path, target):
    """Why `path` may not include `target`, or None."""
    other = target.split("/")[0]
    if other == "nunchi" and "/" in target:
        return None
    if other not in ROOMS or "/" not in target:
        beside = os.path.join(ctext.ROOT, os.path.dirname(path), target)
        return None if os.path.exists(beside) and ".." not in target else "no room of that name"
    if room in APPLICATIONS and other not in (room, "base"):
        return "%s may include only nunchi/, base/ and its own folder" % room
    if ROOMS.index(other) > ROOMS.index(room):
        return "%s is below %s" % (other, room)
    return None


def check_direction(found):
    for path in ctext.files(["src"], [".c", ".h", ".def", ".inc"]):
        room = path.split("/")[1]
        if room not in ROOMS:
            found.error(path, "the folder %s is no room of the list" % room)
            continue
        for line, target in includes(path):
            why = objection(room, path, target)
            if why:
                found.error("%s:%d" % (path, line), 'includes "%s": %s' % (target, why))


def check_public(found):
    """Public headers include each other and the standard library, nothing else."""
    for path in ctext.files(["include"], [".h"]):
        for line, target in includes(path):
            if not target.startswith("nunchi/"):
                found.error("%s:%d" % (path, line), 'a public header includes "%s"' % target)


CHECKS = [("lint_include_direction", check_direction), ("lint_public_includes", check_public)]
