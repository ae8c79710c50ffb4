"""Adding a row adds a duty: every row of the tables has its test, fuzz target or doc.

One line of RULES a table: the files with the rows, the row macro, where the row's name must appear, and
how it appears there. A table that does not exist yet has no gaps."""
# SPDX-License-Identifier: MIT
import fnmatch
import re

import ctext

# check name, row files, row macro, files that must mention it, the pattern of a mention ({} is the name)
RULES = [
    ("rows_ops_have_gradient_tests", "src/graph/ops.def", "OP", "tests/grad/*.c", r"\b(?:\w+_)?{}\b"),
    ("rows_kernels_have_tests", "src/kernels/*.def", "KERNEL", "tests/kernels/*.c", r"\b(?:\w+_)?{}\b"),
    ("rows_options_have_docs", "src/cli/options.def", "OPTION", "docs/*.md", r"--{}\b"),
    ("rows_commands_have_docs", "src/cli/commands.def", "COMMAND", "docs/*.md", r"\bnunchi {}\b"),
    ("rows_parsers_have_fuzz_targets", "tests/fuzz/parsers.def", "PARSER", "tests/fuzz/meson.build", r"(?:\bfuzz_|'){}\b"),
    ("rows_limits_are_enforced", "src/base/limits.def", "LIMIT", "src/*.c", r"\bLIMIT_(?:OF\()?{}\b"),
]
GRADIENT = re.compile(r"_(?:dx|dw|grad)$")
NOT_YET = {"rows_limits_are_enforced"}  # gaps are warnings until the rooms that read such files exist


def matching(pattern):
    return [p for p in ctext.all_files() if fnmatch.fnmatchcase(p, pattern)]


def without_comments(path):
    return ctext.TOKEN.sub(lambda m: ctext.blank(m.group()) if m.group()[0] == "/" else m.group(), ctext.read(path))


def rows(pattern, macro):
    row = re.compile(r"^[ \t]*%s\(\s*\"?([\w-]+)" % macro, re.M)
    for path in matching(pattern):
        text = without_comments(path)
        for match in row.finditer(text):
            yield "%s:%d" % (path, text.count("\n", 0, match.start()) + 1), match.group(1)


def mention(name, pattern):
    """An underscore in a row may be a dash outside: --max_pixels is typed --max-pixels."""
    return re.compile(pattern.replace("{}", re.escape(name).replace(r"\-", "[-_]").replace("_", "[-_]")))


def forward_of(name, names):
    """A gradient op is tested by the gradient test of the op it belongs to."""
    forward = GRADIENT.sub("", name)
    return forward if forward in names else name


def check_rule(found, rule):
    name, row_files, macro, where, pattern = rule
    text = "\n".join(without_comments(p) if p.endswith(".c") else ctext.read(p) for p in matching(where))
    table = list(rows(row_files, macro))
    names = {row for _, row in table}
    for place, row in table:
        if not mention(forward_of(row, names), pattern).search(text):
            complain = found.warning if name in NOT_YET else found.error
            complain(place, "%s(%s) is not mentioned in %s" % (macro, row, where))


CHECKS = [(rule[0], lambda found, rule=rule: check_rule(found, rule)) for rule in RULES]
