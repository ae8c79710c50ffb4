"""C source as text: which files there are, what is code in them, and where functions begin and end."""
# SPDX-License-Identifier: MIT
import functools
import os
import re
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOT_OURS = re.compile(r"(^|/)(\.git|build[^/]*|runs|__pycache__)/")
TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)
NOT_A_NAME = {"__attribute__", "_Alignas", "__typeof__", "defined"}


@functools.lru_cache(None)
def all_files():
    """Paths relative to the root: what git tracks or would track; without git, what lies here."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True)
    paths = git.stdout.splitlines() if git.returncode == 0 else [
        os.path.relpath(os.path.join(folder, name), ROOT) for folder, _, names in os.walk(ROOT) for name in names]
    return sorted({p for p in paths if not NOT_OURS.search(p) and os.path.isfile(os.path.join(ROOT, p))})


def files(folders, endings):
    return [p for p in all_files() if p.startswith(tuple(f + "/" for f in folders)) and p.endswith(tuple(endings))]


@functools.lru_cache(None)
def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def literal_or_blank(match):
    token = match.group()
    return blank(token) if token[0] == "/" else token[0] + blank(token[1:-1]) + token[-1]


@functools.lru_cache(None)
def code(path):
    """The text with comments and the insides of literals blanked; lines and columns stay."""
    return TOKEN.sub(literal_or_blank, read(path))


def without_preprocessor(text):
    """Directives blanked, and of #if ... #else only the first branch kept, so that braces balance."""
    out, dropping, depth, continued = [], [], 0, False
    for line in text.split("\n"):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            word = directive.group(1) if directive and not continued else ""
            if word.startswith("if"):
                depth += 1
            elif word in ("else", "elif") and depth not in dropping:
                dropping.append(depth)
            elif word == "endif":
                dropping = [d for d in dropping if d < depth]
                depth -= 1
            continued = line.endswith("\\")
            line = blank(line)
        out.append(blank(line) if dropping else line)
    return "\n".join(out)


class Function:
    def __init__(self, name, path, first, last, body):
        self.name, self.path, self.first, self.last, self.body = name, path, first, last, body
        self.lines = last - first + 1


def function_name(header):
    for match in re.finditer(r"(\w+)\s*\(", header):
        if match.group(1) not in NOT_A_NAME:
            return match.group(1)
    return "?"


@functools.lru_cache(None)
def functions(path):
    """All functions with a body, and every multi-line macro, since it is code that runs as well."""
    text = without_preprocessor(code(path))
    found, depth, since, opened = macros(path), 0, 0, None
    for match in re.finditer(r"[{};]", text):
        at, c = match.start(), match.group()
        if c == "{":
            header = text[since:at].strip()
            if depth == 0 and header.startswith("extern") and "(" not in header:
                since = at + 1  # extern "C" {: its inside is the top level still
                continue
            if depth == 0 and re.search(r"\)\s*$", header) and "=" not in header:
                opened = (header, since + len(text[since:at]) - len(text[since:at].lstrip()), at)
            depth += 1
        elif c == "}":
            depth = max(depth - 1, 0)
            if depth == 0 and opened:
                header, begin, body = opened
                found.append(Function(function_name(header), path, text.count("\n", 0, begin) + 1,
                                      text.count("\n", 0, at) + 1, text[body:at + 1]))
                opened = None
        if depth == 0:
            since = at + 1
    return found


def macros(path):
    found, lines, first = [], code(path).split("\n"), None
    for number, line in enumerate(lines, 1):
        if first is None and re.match(r"\s*#\s*define\s+\w+", line) and line.endswith("\\"):
            first = number
        if first is not None and not line.endswith("\\"):
            name = re.match(r"\s*#\s*define\s+(\w+)", lines[first - 1]).group(1)
            found.append(Function(name, path, first, number, "\n".join(lines[first - 1:number])))
            first = None
    return found
