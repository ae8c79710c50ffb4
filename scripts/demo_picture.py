#!/usr/bin/env python3
"""Draws docs/demo.png: what scripts/demo.sh prints, with the pictures beside it. Needs ImageMagick.

Run as scripts/demo_picture.py [NUNCHI [MODEL]]."""
# SPDX-License-Identifier: MIT
import pathlib
import subprocess
import sys
import tempfile
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIDE, WIDTH, COLUMNS = 150, 520, 58


def blocks(text):
    """(picture, [(question, answer)]) of the demo's output."""
    found = []
    for line in text.splitlines():
        if line.startswith("examples/"):
            found.append((line, []))
        elif line.startswith("  "):
            cut = line.index("?" if "?" in line[:48] else ".") + 1
            found[-1][1].append((line[2:cut], line[cut:].strip()))
    return found


def wrapped(text, width):
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def words(block):
    name, pairs = block
    lines = [("#8a8f98", name)]
    for question, answer in pairs:
        lines += [("#c9d1d9", q) for q in wrapped("> " + question, COLUMNS)]
        lines += [("#7ee787", a) for a in wrapped(answer, COLUMNS)]
    return lines


def tile(block, path):
    lines = words(block)
    height = max(SIDE, 10 + 19 * len(lines))
    draw = ["convert", "-size", "%dx%d" % (SIDE + 14 + WIDTH, height), "xc:#0d1117", "-font", "DejaVu-Sans-Mono",
            "-pointsize", "14"]
    for i, (colour, text) in enumerate(lines):
        draw += ["-fill", colour, "-annotate", "+%d+%d" % (SIDE + 14, 16 + 19 * i), text.replace("%", "%%")]
    picture = ["(", str(ROOT / block[0]), "-resize", "%dx%d" % (SIDE, SIDE), ")", "-geometry", "+0+0", "-composite"]
    subprocess.run(draw + picture + [path], check=True)


def main():
    command = ["sh", str(ROOT / "scripts/demo.sh")] + sys.argv[1:3]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    with tempfile.TemporaryDirectory() as tmp:
        tiles = []
        for i, block in enumerate(blocks(text)):
            tiles.append("%s/%d.png" % (tmp, i))
            tile(block, tiles[-1])
        rows = ["montage", *tiles, "-tile", "2x", "-geometry", "+12+12", "-gravity", "northwest", "-background", "#0d1117"]
        subprocess.run(rows + ["-colors", "255", "-strip", str(ROOT / "docs/demo.png")], check=True)


if __name__ == "__main__":
    main()
