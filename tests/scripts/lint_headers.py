"""Public headers compile alone, pedantically, as C11 and (where a C++ compiler is) as C++11."""
# SPDX-License-Identifier: MIT
import os
import shutil
import subprocess

import ctext

COMMON = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-Iinclude"]


def compile_alone(found, compiler):
    for path in ctext.files(["include"], [".h"]):
        source = '#include "%s"\n' % os.path.relpath(path, "include")
        done = subprocess.run(compiler + COMMON + ["-"], input=source, text=True, cwd=ctext.ROOT,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            found.error(path, "does not compile alone with %s:\n%s" % (" ".join(compiler), done.stdout))


def check_c(found):
    compile_alone(found, [shutil.which("gcc") or "cc", "-x", "c", "-std=c11"])


def check_cpp(found):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler:
        compile_alone(found, [compiler, "-x", "c++", "-std=c++11"])
    else:
        found.warning("include", "no C++ compiler here: public headers not tried as C++")


CHECKS = [("lint_headers_c11", check_c), ("lint_headers_cpp", check_cpp)]
