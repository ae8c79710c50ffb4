#!/usr/bin/env python3
"""Every rule that the build keeps, one check a row. Prints one case line a check, like cmocka."""
# SPDX-License-Identifier: MIT
import argparse
import sys

sys.dont_write_bytecode = True
import check_rows  # noqa: E402
import lint_calls  # noqa: E402
import lint_docs  # noqa: E402
import lint_files  # noqa: E402
import lint_headers  # noqa: E402
import lint_layers  # noqa: E402
import lint_size  # noqa: E402
import selftest  # noqa: E402

class Findings:
    """What one check found: errors fail it, warnings are counted."""

    def __init__(self):
        self.errors, self.warnings = [], []

    def error(self, place, sentence):
        self.errors.append("%s: %s" % (place, sentence))

    def warning(self, place, sentence):
        self.warnings.append("%s: warning: %s" % (place, sentence))


CHECKS = lint_layers.CHECKS + lint_size.CHECKS + lint_calls.CHECKS + lint_files.CHECKS + lint_headers.CHECKS \
    + lint_docs.CHECKS + check_rows.CHECKS
SELFTESTS = [("lint_finds_what_it_must", lambda found: selftest.check_lint(found, CHECKS, Findings)),
             ("run_counts_cases", selftest.check_counting)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warnings", action="store_true", help="print warnings too")
    parser.add_argument("check", nargs="*", help="run only these checks")
    args = parser.parse_args()
    failed = warned = 0
    for name, check in CHECKS + SELFTESTS:
        if args.check and name not in args.check:
            continue
        found = Findings()
        check(found)
        for line in found.errors + (found.warnings if args.warnings else []):
            print(line)
        print("[  FAILED  ] %s" % name if found.errors else "[       OK ] %s" % name)
        failed += bool(found.errors)
        warned += len(found.warnings)
    print("%d warnings" % warned)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
