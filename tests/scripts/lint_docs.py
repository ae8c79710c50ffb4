"""Pages: what they point at is there. Links to files of this tree, links to headings, and paths in backticks."""
# SPDX-License-Identifier: MIT
import os
import re

import ctext

FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
TICKS = re.compile(r"`([^`\n]+)`")
FOLDERS = "src|docs|tests|scripts|include|bench|examples|recipes|models"
PATH = re.compile(r"(?:(?:%s)/[\w./-]*|[\w./-]+\.(?:c|h|def|py|sh))" % FOLDERS)
BRACES = re.compile(r"(.*)\{([\w,.]+)\}(.*)")


def pages():
    return ["README.md"] * os.path.exists(os.path.join(ctext.ROOT, "README.md")) + ctext.files(["docs"], [".md"])


def anchor(heading):
    """As GitHub names it."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).strip().lower()).replace(" ", "-")


def anchors(path):
    return {anchor(h) for h in re.findall(r"^#+ (.*)$", FENCE.sub("", ctext.read(path)), re.M)}


def there(path):
    return os.path.exists(os.path.join(ctext.ROOT, path))


def named(text):
    """`a/{b,c}.h` names two."""
    braces = BRACES.fullmatch(text)
    return [braces[1] + one + braces[3] for one in braces[2].split(",")] if braces else [text]


def check_links(found):
    """Every relative link of a page leads to a file, and behind a # to a heading of it."""
    for page in pages():
        for target in LINK.findall(FENCE.sub("", ctext.read(page))):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, heading = target.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page), name)) if name else page
            if not there(path):
                found.error(page, "a link to %s, which is not there" % target)
            elif heading and heading not in anchors(path):
                found.error(page, "a link to %s, which has no such heading" % target)


def check_paths(found):
    """Every path in backticks exists, or is how a file's path ends."""
    for page in pages():
        for text in TICKS.findall(FENCE.sub("", ctext.read(page))):
            for name in named(text):
                known = there(name) or any(("/" + path).endswith("/" + name) for path in ctext.all_files())
                if PATH.fullmatch(name) and not known:
                    found.error(page, "`%s` is not there" % name)


CHECKS = [("lint_doc_links", check_links), ("lint_doc_paths", check_paths)]
