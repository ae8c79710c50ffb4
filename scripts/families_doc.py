#!/usr/bin/env python3
"""Writes docs/families.md: every family row with what its blocks are, from the tables, and how far it is from the
reference implementation, measured by `nunchi verify` on the models with reference numbers that are there.

  families_doc.py TABLE [--nunchi NUNCHI (--fixtures FOLDER | --models FOLDER)] [--check]

TABLE is the families_table executable of the build. Without NUNCHI the measured columns stay as they are in the file;
--fixtures measures the models with stored numbers, --models those that check_families.py made.
--check: change nothing; exit 1 when the page is not what the tables say.
"""
# SPDX-License-Identifier: MIT
import argparse
import json
import pathlib
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "families.md"
OWN = PAGE.parent.parent / "tests" / "data" / "nunchi_vl"
HEAD = """# Families

Made by `scripts/families_doc.py` from the tables in `src/models/`; a test sees that it is current. Not in the table: a
family whose config asks for something else is refused with the key's name.

Both distances are the greatest of any logit (or of the states of an encoder or tower) to the original implementation in
float32, with how many greedy tokens agree. *Stored*: over all cases of small models whose reference numbers are kept.
*Live*: over the config variants that `scripts/check_families.py` makes anew with transformers, as many as are in brackets:
boolean keys that change the arithmetic both ways, odd head counts, windows shorter than the prompt. Empty: not measured so.

Those that see are once more in the second table: their tower, and what becomes of a picture (a row of `src/models/sights.def`,
[howto-add-vision-family.md](howto-add-vision-family.md) says how to add one). A family whose config names another tower of the
list takes that one.

| architecture | `model_type` | GGUF | blocks | stored | live |
|---|---|---|---|---|---|
"""
SEEING = """
## Those that see

| architecture | tower | a picture becomes | stored |
|---|---|---|---|
"""
STORED, LIVE = 4, 5


def rows_of(table):
    """Families as (architecture, model type, GGUF, blocks), and those that see as (architecture, tower, sight)."""
    out = subprocess.run([table], check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in out.splitlines()]
    return [r[:4] for r in rows if r[1]], [(r[0], *r[4:]) for r in rows if len(r) > 5]


def old_measures(column):
    if not PAGE.exists():
        return {}
    text = PAGE.read_text().partition(SEEING)[0]
    cells = [line.strip("\n")[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {c[0].strip("`"): c[column].strip() for c in cells if len(c) > column}


def measure(nunchi, folder):
    run = subprocess.run([nunchi, "verify", "--json", "--no-train", "-t", "1", str(folder)], capture_output=True, text=True)
    try:
        cases = [c for c in json.loads(run.stdout) if c["path"] == "f32"]
    except (json.JSONDecodeError, KeyError):
        return None
    if not cases or not all(c["ok"] for c in cases):
        return None
    worst = max(c["max_abs"] for c in cases)
    same, total = (sum(c.get(k, 0) for c in cases) for k in ("greedy_same", "greedy_total"))
    return worst, same, total


def new_measures(nunchi, models, counted):
    found = {}
    for config in sorted(pathlib.Path(models).glob("*/config.json")):
        if not (config.parent / "verify" / "case.json").exists():
            continue
        architecture = json.loads(config.read_text()).get("architectures", [""])[0]
        m = measure(nunchi, config.parent)
        if m:
            old = found.get(architecture, (0, 0, 0, 0))
            found[architecture] = (max(m[0], old[0]), m[1] + old[1], m[2] + old[2], old[3] + 1)
    return {a: f"{w:.1e}" + (f", {s}/{t}" if t else "") + (f" ({n})" if counted else "") for a, (w, s, t, n) in found.items()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("table")
    p.add_argument("--nunchi")
    p.add_argument("--fixtures", default="../shared/fixtures")
    p.add_argument("--models", help="folder that check_families.py has filled")
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    stored, live = old_measures(STORED), old_measures(LIVE)
    if a.nunchi and not a.models:
        for folder in (a.fixtures, OWN, OWN.parent):
            stored.update(new_measures(a.nunchi, folder, False))
    if a.nunchi and a.models:
        live.update(new_measures(a.nunchi, a.models, True))
    families, seeing = rows_of(a.table)
    lines = [f"| `{arch}` | `{kind}` | {gguf} | {blocks} | {stored.get(arch, '')} | {live.get(arch, '')} |"
             for arch, kind, gguf, blocks in families]
    sights = [f"| {arch if ' ' in arch else f'`{arch}`'} | {tower} | {sight} | {stored.get(arch, '')} |" for arch, tower, sight in seeing]
    page = HEAD + "\n".join(sorted(lines)) + "\n" + SEEING + "\n".join(sorted(sights)) + "\n"
    if a.check:
        if not PAGE.exists() or PAGE.read_text() != page:
            sys.exit("docs/families.md is not what the tables say: run scripts/families_doc.py")
        print("1 passed, 0 failed")
        return
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
