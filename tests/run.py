#!/usr/bin/env python3
"""Builds a build folder, runs its tests and counts single cases. The last line is "N passed, N failed".

Counted are cmocka's case lines; a test without such lines is one case by its exit status (77: skipped).
A test that crashes, hangs or fails without naming a case is one failed case more.
"""
# SPDX-License-Identifier: MIT
import argparse
import concurrent.futures
import json
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASE = re.compile(r"^\[\s*(OK|FAILED|SKIPPED)\s*\] (.+?)\s*$", re.M)
SUMMARY = re.compile(r"^\d+ test\(s\)")  # cmocka repeats the failures below such a line
SKIP_STATUS = 77
HALT = {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "ASAN_OPTIONS": "allocator_may_return_null=1",
        "TSAN_OPTIONS": "halt_on_error=1"}  # where sanitizers are built in, a finding is a failure


class Result:
    """What one test executable did."""

    def __init__(self, name):
        self.name, self.output, self.reason, self.seconds = name, "", "", 0.0
        self.passed, self.failed, self.skipped = 0, 0, 0

    def count(self, status, timed_out):
        cases = {}  # FAILED wins over OK when a name appears twice
        for word, case in CASE.findall(self.output):
            if not SUMMARY.match(case) and cases.get(case) != "FAILED":
                cases[case] = word
        words = list(cases.values())
        self.passed, self.failed, self.skipped = (words.count(w) for w in ("OK", "FAILED", "SKIPPED"))
        if timed_out:
            self.reason, self.failed = "timed out", self.failed + 1
        elif status < 0:
            self.reason, self.failed = "killed by %s" % signal_name(-status), self.failed + 1
        elif status == SKIP_STATUS and not words:
            self.skipped = 1
        elif status != 0 and self.failed == 0:
            self.reason, self.failed = "exit status %d" % status, 1
        elif status == 0 and not words:
            self.passed = 1


def signal_name(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def run_one(name, cmd, env, cwd, timeout):
    """Runs in its own process group, so that a hanging test takes its children along."""
    result, begin = Result(name), time.monotonic()
    try:
        process = subprocess.Popen(cmd, env={**HALT, **os.environ, **env}, cwd=cwd, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        result.reason, result.failed = str(error), 1
        return result
    timed_out = False
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    result.output = output.decode("utf-8", "replace")
    result.seconds = time.monotonic() - begin
    result.count(process.returncode, timed_out)
    return result


def report(result, verbose):
    state = "FAILED" if result.failed else "ok" if result.passed else "skipped"
    reason = ", " + result.reason if result.reason else ""
    print("%-8s %-28s %3d passed, %d failed, %d skipped in %.1f s%s"
          % (state, result.name, result.passed, result.failed, result.skipped, result.seconds, reason))
    if result.failed or verbose:
        print("    " + result.output.rstrip().replace("\n", "\n    "))
    sys.stdout.flush()


def tests_of(build, slow):
    """(name, command, environment, folder, timeout, may run beside others) of every test meson knows."""
    text = subprocess.run(["meson", "introspect", "--tests", build], check=True, stdout=subprocess.PIPE).stdout
    for t in json.loads(text):
        limit = t["timeout"] * slow if t["timeout"] and t["timeout"] > 0 else None
        yield t["name"], t["cmd"], t.get("env") or {}, t.get("workdir") or ROOT, limit, t.get("is_parallel", True)


def mutating(cmd, count):
    """The option must come before the corpus."""
    return cmd[:1] + ["-mutate=%d" % count] + [c for c in cmd[1:] if not c.startswith("-mutate=")]


def run_all(tests, jobs, verbose):
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as workers:
        running = [workers.submit(run_one, *t[:5]) for t in tests if t[5]]
        for done in concurrent.futures.as_completed(running):
            results.append(done.result())
            report(results[-1], verbose)
    for t in tests:
        if not t[5]:
            results.append(run_one(*t[:5]))
            report(results[-1], verbose)
    return results


def finish(results):
    passed, failed, skipped = (sum(getattr(r, k) for r in results) for k in ("passed", "failed", "skipped"))
    for r in results:
        if r.failed:
            print("failed: %s%s" % (r.name, " (%s)" % r.reason if r.reason else ""))
    if skipped:
        print("%d cases skipped: what they need is not here" % skipped)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("--lint", action="store_true", help="the lint checks count as cases too")
    parser.add_argument("--slow", type=int, default=1, metavar="N", help="multiply every time limit")
    parser.add_argument("--fuzz", type=int, metavar="N", help="only the fuzz targets, N mutations a file")
    parser.add_argument("--only", default="", metavar="REGEX", help="only tests whose name matches")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if subprocess.run(["ninja", "-C", args.build], cwd=ROOT).returncode != 0:
        print("the build failed")
        print("0 passed, 1 failed")
        return 1
    tests = [t for t in tests_of(args.build, args.slow) if re.search(args.only, t[0])]
    if args.fuzz:
        tests = [(n, mutating(c, args.fuzz), e, w, None, p) for n, c, e, w, _, p in tests if n.startswith("fuzz_")]
    if args.lint:
        lint = os.path.join(ROOT, "tests", "scripts", "lint.py")
        tests.insert(0, ("lint", [sys.executable, lint], {}, ROOT, 120, True))
    return finish(run_all(tests, max(args.jobs, 1), args.verbose))


if __name__ == "__main__":
    sys.exit(main())
