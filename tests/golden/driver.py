"""What the golden tests share: the command in a clean environment, checks that say what they saw, and a report of
one line a case, as cmocka has it."""
# SPDX-License-Identifier: MIT
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NUNCHI = os.path.abspath(sys.argv[1])


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(true, sentence):
    if not true:
        raise Failed(sentence)


def contains(text, *parts):
    for part in parts:
        check(part in text, "expected %r in %r" % (part, text[:2000]))


def environment(more=None):
    """None of ours but what is given, and nothing that would lead a hub's client out of this machine."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NUNCHI_", "HF_")) and "proxy" not in k.lower()}
    return {**clean, **(more or {})}


def nunchi(*args, stdin=b"", env=None, status=0):
    """Runs the command; returns (stdout, stderr) as text once the exit status is the one expected."""
    done = subprocess.run([NUNCHI, *map(str, args)], input=stdin, env=environment(env), cwd=ROOT, timeout=100,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = done.stdout.decode(), done.stderr.decode()
    check(done.returncode == status, "%s: status %d, expected %d: %s" % (args, done.returncode, status, err))
    return out, err


def mistake(*args, says, stdin=b"", env=None):
    """An error: status 2, nothing on stdout, one sentence that has all of `says`."""
    out, err = nunchi(*args, status=2, stdin=stdin, env=env)
    check(out == "", "an error wrote to stdout: %r" % out)
    check(err.startswith("nunchi: ") and err.count("\n") == 1, "not one sentence: %r" % err)
    check(isinstance(says, (list, tuple)), "says: a list of parts, not a string")
    contains(err, *says)
    return err


def shared(path):
    full = ROOT.parent / "shared" / path
    if not full.exists():
        raise Skipped("no ../shared/%s" % path)
    return full


def fixture(name):
    """A model folder of the reference numbers."""
    return shared("fixtures/%s" % name)


def run_cases(prefix, names):
    """Every function case_* of a module, in its order; the exit status."""
    failed = 0
    for name, case in [(k, v) for k, v in names.items() if k.startswith("case_")]:
        try:
            case()
            print("[       OK ] %s_%s" % (prefix, name[5:]))
        except Skipped as why:
            print("[  SKIPPED ] %s_%s\n%s" % (prefix, name[5:], why))
        except (Failed, subprocess.TimeoutExpired, ValueError, KeyError, OSError) as why:
            failed += 1
            print("[  FAILED  ] %s_%s\n%s: %s" % (prefix, name[5:], type(why).__name__, why))
        sys.stdout.flush()
    return 1 if failed else 0
