#!/usr/bin/env python3
"""Writes docs/families.md: every family row with what its blocks are, from the tables, and how far it is from the
reference implementation, measured by `nunchi verify` on the models with reference numbers that are there.

  families_doc.py TABLE [--nunchi NUNCHI --fixtures FOLDER] [--check]

TABLE is the families_table executable of the build. Without NUNCHI the measured column stays as it is in the file.
--check: change nothing; exit 1 when the page is not what the tables say.
"""
# SPDX-License-Identifier: MIT
import argparse
import json
import pathlib
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "families.md"
HEAD = """# Families

Made by `scripts/families_doc.py` from the tables in `src/models/`; a test sees that it is current. The last column is the
greatest distance of any logit (or of the states of an encoder or tower) to the original implementation in float32 over
all cases of a small model with reference numbers, and how many greedy tokens agree; empty: no such model is at hand. Not in the
table: a family whose config asks for something else is refused with the key's name.

| architecture | `model_type` | blocks | float32 distance |
|---|---|---|---|
"""


def rows_of(table):
    out = subprocess.run([table], check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in out.splitlines()]


def old_measures():
    if not PAGE.exists():
        return {}
    cells = [line.strip("| \n").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {c[0].strip("`"): c[3].strip(" |") if len(c) > 3 else "" for c in cells}


def measure(nunchi, folder):
    run = subprocess.run([nunchi, "verify", "--json", "--no-train", str(folder)], capture_output=True, text=True)
    try:
        cases = [c for c in json.loads(run.stdout) if c["path"] == "f32"]
    except (json.JSONDecodeError, KeyError):
        return None
    if not cases or not all(c["ok"] for c in cases):
        return None
    worst = max(c["max_abs"] for c in cases)
    same, total = (sum(c.get(k, 0) for c in cases) for k in ("greedy_same", "greedy_total"))
    return worst, same, total


def new_measures(nunchi, fixtures):
    found = {}
    for config in sorted(pathlib.Path(fixtures).glob("*/config.json")):
        if not (config.parent / "verify" / "case.json").exists():
            continue
        architecture = json.loads(config.read_text()).get("architectures", [""])[0]
        m = measure(nunchi, config.parent)
        if m:
            old = found.get(architecture, (0, 0, 0))
            found[architecture] = (max(m[0], old[0]), m[1] + old[1], m[2] + old[2])
    return {a: f"{w:.1e}" + (f", {s}/{t}" if t else "") for a, (w, s, t) in found.items()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("table")
    p.add_argument("--nunchi")
    p.add_argument("--fixtures", default="../shared/fixtures")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    measured = old_measures()
    if a.nunchi:
        measured.update(new_measures(a.nunchi, a.fixtures))
    lines = [f"| `{arch}` | `{kind}` | {blocks} | {measured.get(arch, '')} |" for arch, kind, blocks in rows_of(a.table)]
    page = HEAD + "\n".join(sorted(lines)) + "\n"
    if a.check:
        if not PAGE.exists() or PAGE.read_text() != page:
            sys.exit("docs/families.md is not what the tables say: run scripts/families_doc.py")
        print("1 passed, 0 failed")
        return
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
