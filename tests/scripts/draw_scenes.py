#!/usr/bin/env python3
"""Draws a set of the world "scenes" from docs/scenes.md alone, with ImageMagick.

It shares no code and no random numbers with the generator in src/data, so a model that answers well here
has learnt the world and not our renderer. Writes OUT/images/* and OUT/data.json (LLaVA's format).
"""
# SPDX-License-Identifier: MIT
import argparse
import json
import math
import os
import random
import shutil
import subprocess
import sys

UNITS = 112
COLOURS = {"red": (220, 35, 40), "green": (35, 150, 60), "blue": (35, 75, 215), "yellow": (245, 210, 30),
           "purple": (135, 40, 175), "orange": (245, 130, 25), "cyan": (30, 190, 215), "pink": (250, 130, 190)}
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond"]
RADII = {"small": 8, "large": 14}
GROUNDS = [(252, 252, 252), (228, 228, 230), (250, 245, 228), (226, 236, 250),
           (229, 244, 231), (250, 233, 236), (238, 232, 250), (240, 231, 216)]
DIRECTIONS = ["East", "West", "North", "South", "NorthEast", "NorthWest", "SouthEast", "SouthWest"]
FONTS = ["/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
         "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf"]
POPULAR = [("red", "circle"), ("blue", "square"), ("green", "triangle"), ("yellow", "star"),
           ("orange", "diamond"), ("pink", "cross")]
HELD = {("purple", "star"), ("cyan", "triangle")}
ROWS, COLUMNS = ["top", "", "bottom"], ["left", "", "right"]
NUMBERS = ["no", "one", "two", "three", "four", "five", "six"]
CAPITALS, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"


class Redo(Exception):
    """This question does not fit this picture; try another."""


# ---- layout ---------------------------------------------------------------------------------------------

def jitter(rng, rgb, by):
    return tuple(min(255, max(0, c + rng.randint(-by, by))) for c in rgb)


def css(rgb):
    return "rgb(%d,%d,%d)" % rgb


def pick_pair(rng, theme):
    while True:
        colour, shape = rng.choice(POPULAR) if rng.random() < 0.2 else (rng.choice(list(COLOURS)), rng.choice(SHAPES))
        if theme and rng.random() < 0.5:
            colour, shape = (theme, shape) if theme in COLOURS else (colour, theme)
        if (colour, shape) not in HELD:
            return colour, shape


def fits(o, others, word):
    lines = (UNITS / 3, 2 * UNITS / 3)
    if any(abs(o["x"] - v) < 4 or abs(o["y"] - v) < 4 for v in lines):
        return False
    reach = 1.1 * o["r"] + 2
    if word and (word["x"] - reach < o["x"] < word["x"] + word["width"] + reach
                 and word["y"] - 0.74 * word["em"] - reach < o["y"] < word["y"] + reach):
        return False
    return all(abs(o["x"] - p["x"]) >= 6 and
               math.hypot(o["x"] - p["x"], o["y"] - p["y"]) >= o["r"] + p["r"] + 4 for p in others)


def place(rng, pair, others, word):
    size = rng.choice(["small", "large"])
    r = RADII[size] + rng.uniform(-1, 1)
    margin = 1.1 * r + 1
    for _ in range(200):
        o = {"colour": pair[0], "shape": pair[1], "size": size, "r": r, "rgb": jitter(rng, COLOURS[pair[0]], 12),
             "x": rng.uniform(margin, UNITS - margin), "y": rng.uniform(margin, UNITS - margin)}
        if fits(o, others, word):
            return o
    return None


def make_objects(rng, most, word):
    count = rng.randint(1, most)
    theme = rng.choice(list(COLOURS) + SHAPES) if rng.random() < 0.3 else None
    while True:
        objects = []
        for _ in range(count):
            objects.append(place(rng, pick_pair(rng, theme), objects, word))
            if objects[-1] is None:
                break
        else:
            return sorted(objects, key=lambda o: o["x"])


def make_word(rng, advances):
    n, style = rng.randint(2, 5), rng.random()
    if style < 0.45:
        chars = "".join(rng.choice(CAPITALS) for _ in range(n))
    elif style < 0.8:
        chars = "".join(rng.choice(DIGITS) for _ in range(n))
    else:
        letters = rng.randint(1, n - 1)
        chars = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ" if i < letters else "23456789") for i in range(n))
    font, em = rng.choice(FONTS), rng.randint(13, 17)
    width = sum(advances[font][c] for c in chars) * em
    return {"chars": chars, "font": font, "em": em, "width": width, "rgb": jitter(rng, (30, 30, 34), 25),
            "x": rng.uniform(4, UNITS - 4 - width), "y": rng.uniform(4 + 0.74 * em, UNITS - 4)}


def make_chart(rng):
    count, left, base = rng.randint(3, 4), 14 + rng.uniform(-4, 4), 98 + rng.uniform(-4, 4)
    while True:
        heights = [rng.uniform(12, 80) for _ in range(count)]
        if all(abs(a - b) >= 7 for i, a in enumerate(heights) for b in heights[:i]):
            break
    share = 84 / count
    wide = share * rng.uniform(0.5, 0.7)
    bars = [{"colour": c, "rgb": jitter(rng, COLOURS[c], 12), "height": h, "x0": left + share * (i + 0.5) - wide / 2,
             "x1": left + share * (i + 0.5) + wide / 2}
            for i, (c, h) in enumerate(zip(rng.sample(list(COLOURS), count), heights))]
    return {"left": left, "base": base, "axis": jitter(rng, (60, 60, 64), 20), "bars": bars}


def make_scene(rng, advances, picture):
    s = {"picture": picture, "objects": [], "word": None, "chart": None,
         "ground": [jitter(rng, rng.choice(GROUNDS), 3) for _ in range(2)],
         "direction": rng.choice(DIRECTIONS) if rng.random() < 0.4 else None}
    if picture in ("text", "mixed"):
        s["word"] = make_word(rng, advances)
    if picture in ("objects", "mixed"):
        s["objects"] = make_objects(rng, 4 if picture == "mixed" else 6, s["word"])
    if picture == "bars":
        s["chart"] = make_chart(rng)
    return s


# ---- drawing with ImageMagick ---------------------------------------------------------------------------

def corners(shape):
    if shape == "square":
        return [(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]
    if shape == "triangle":
        return [(0, -1), (1, 0.8), (-1, 0.8)]
    if shape == "diamond":
        return [(0, -1.1), (0.75, 0), (0, 1.1), (-0.75, 0)]
    if shape == "cross":
        a = 0.33
        return [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a),
                (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
    turns = [math.radians(36 * i) for i in range(10)]
    return [((1.1, 0.45)[i % 2] * math.sin(t), -(1.1, 0.45)[i % 2] * math.cos(t)) for i, t in enumerate(turns)]


class Canvas:
    """Units to ImageMagick's coordinates, whose whole numbers are the middles of pixels."""

    def __init__(self, side):
        self.scale, self.args = side / UNITS, []

    def at(self, x, y):
        return "%.3f,%.3f" % (x * self.scale - 0.5, y * self.scale - 0.5)

    def polygon(self, rgb, points):
        self.args += ["-fill", css(rgb), "-draw", "polygon " + " ".join(self.at(*p) for p in points)]

    def box(self, rgb, x0, y0, x1, y1):
        self.polygon(rgb, [(x0, y0), (x1, y0), (x1, y1), (x0, y1)])

    def object(self, o):
        x, y, r = o["x"], o["y"], o["r"]
        if o["shape"] == "circle":
            self.args += ["-fill", css(o["rgb"]), "-draw", "circle %s %s" % (self.at(x, y), self.at(x + r, y))]
        else:
            self.polygon(o["rgb"], [(x + r * dx, y + r * dy) for dx, dy in corners(o["shape"])])

    def chart(self, c):
        left, base = c["left"], c["base"]
        for b in c["bars"]:
            self.box(b["rgb"], b["x0"], base - b["height"], b["x1"], base)
        self.box(c["axis"], left - 1.2, base, left + 84, base + 1.2)
        self.box(c["axis"], left - 1.2, base - 84, left, base)

    def word(self, w):
        self.args += ["-font", w["font"], "-pointsize", "%.3f" % (w["em"] * self.scale), "-fill", css(w["rgb"]),
                      "-draw", "text %s '%s'" % (self.at(w["x"], w["y"]), w["chars"])]


def draw(tool, s, side, path):
    canvas = Canvas(side)
    for o in s["objects"]:
        canvas.object(o)
    if s["chart"]:
        canvas.chart(s["chart"])
    if s["word"]:
        canvas.word(s["word"])
    ground = ["xc:" + css(s["ground"][0])]
    if s["direction"]:
        ground = ["-define", "gradient:direction=" + s["direction"],
                  "gradient:%s-%s" % tuple(css(g) for g in s["ground"])]
    subprocess.run([tool, "-size", "%dx%d" % (side, side), "-density", "72"] + ground +
                   ["-stroke", "none"] + canvas.args + ["-strip", "-depth", "8", "-define", "png:color-type=2", path],
                   check=True)


def measure_fonts(tool):
    """Advance of each character in em, per font."""
    advances = {}
    for font in FONTS:
        labels = ["label:" + c for c in CAPITALS + DIGITS]
        out = subprocess.run([tool, "-density", "72", "-font", font, "-pointsize", "1000"] + labels +
                             ["-format", "%w\n", "info:"], check=True, capture_output=True, text=True).stdout.split()
        advances[font] = {c: int(w) / 1000 for c, w in zip(CAPITALS + DIGITS, out)}
    return advances


# ---- questions ------------------------------------------------------------------------------------------

def position(o):
    name = (ROWS[int(o["y"] * 3 // UNITS)] + " " + COLUMNS[int(o["x"] * 3 // UNITS)]).strip()
    return name or "center"


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def plural(noun):
    return noun + ("es" if noun.endswith("cross") else "s")


def matching(s, **facts):
    return [o for o in s["objects"] if all(o[k] == v for k, v in facts.items())]


def phrase(facts):
    return " ".join([facts[k] for k in ("size", "colour") if k in facts] + [facts.get("shape", "object")])


def the_only(rng, s, keys, o=None):
    """An object (or o) and a phrase by one of the sets of keys that fits it alone."""
    choices = [(p, phrase({k: p[k] for k in ks})) for p in ([o] if o else s["objects"]) for ks in keys
               if len(matching(s, **{k: p[k] for k in ks})) == 1]
    if not choices:
        raise Redo
    return rng.choice(choices)


ANY_KEYS = [("colour", "shape"), ("size", "colour", "shape"), ("colour",), ("shape",)]


def absent_pair(rng, s):
    """A pair that is not there, and how it was chosen."""
    way = rng.choice(["random", "popular", "co-occurring"])
    pairs = [(c, h) for c in COLOURS for h in SHAPES if (c, h) not in HELD and not matching(s, colour=c, shape=h)]
    narrowed = pairs
    if way == "popular":
        narrowed = [p for p in pairs if p in POPULAR]
    elif way == "co-occurring":
        seen = {p: bool(matching(s, colour=p[0])) + bool(matching(s, shape=p[1])) for p in pairs}
        narrowed = [p for p in pairs if seen[p] == 2] or [p for p in pairs if seen[p] == 1]
    return rng.choice(narrowed or pairs), way


def existence(rng, s):
    if not s["objects"]:
        raise Redo
    yes, negative = rng.random() < 0.5, None
    if yes:
        o = rng.choice(s["objects"])
        facts = {"colour": o["colour"], "shape": o["shape"]}
        if rng.random() < 0.25:
            del facts[rng.choice(list(facts))]
    else:
        (colour, shape), negative = absent_pair(rng, s)
        facts = {"colour": colour, "shape": shape}
    form = rng.choice(["Is there %s?", "Is there %s in the picture?", "Do you see %s?", "Can you see %s?"])
    return form % article(phrase(facts)), "yes" if yes else "no", negative


def count(rng, s):
    if not s["objects"]:
        raise Redo
    o = rng.choice(s["objects"])
    keys = rng.choice([(), (), ("colour",), ("colour",), ("shape",), ("shape",), ("colour", "shape"), None])
    if keys is None:
        colour, shape = absent_pair(rng, s)[0]
        facts = {"colour": colour, "shape": shape}
    else:
        facts = {k: o[k] for k in keys}
    form = rng.choice(["How many %s are there?", "How many %s do you see?", "Count the %s."])
    return form % plural(phrase(facts)), str(len(matching(s, **facts)))


def colour(rng, s):
    o, noun = the_only(rng, s, [("shape",), ("size", "shape")])
    form = rng.choice(["What colour is the %s?", "What color is the %s?", "What is the colour of the %s?",
                       "Which color does the %s have?"])
    return form % noun, o["colour"]


def shape(rng, s):
    o, noun = the_only(rng, s, [("colour",), ("size", "colour")])
    form = rng.choice(["What shape is the %s?", "What is the shape of the %s?", "Which shape does the %s have?"])
    return form % noun, o["shape"]


def size(rng, s):
    o, noun = the_only(rng, s, [("colour", "shape"), ("colour",), ("shape",)])
    return rng.choice(["What size is the %s?", "How big is the %s?", "Is the %s small or large?"]) % noun, o["size"]


def where(rng, s):
    o, noun = the_only(rng, s, ANY_KEYS)
    form = rng.choice(["Where is the %s?", "Where in the picture is the %s?", "What is the position of the %s?"])
    return form % noun, position(o)


def relation(rng, s):
    if len(s["objects"]) < 2:
        raise Redo
    a, b = rng.sample(s["objects"], 2)
    axis, yes = rng.choice("xy"), rng.random() < 0.5
    if abs(a[axis] - b[axis]) < 10:
        raise Redo
    words = [["left of", "to the left of"], ["right of", "to the right of"]] if axis == "x" else \
            [["above", "higher than"], ["below", "lower than"]]
    word = rng.choice(words[(a[axis] < b[axis]) != yes])
    return "Is the %s %s the %s?" % (the_only(rng, s, ANY_KEYS, a)[1], word, the_only(rng, s, ANY_KEYS, b)[1]), \
        "yes" if yes else "no"


def text(rng, s):
    if not s["word"]:
        raise Redo
    form = rng.choice(["Read the text.", "What does the text say?", "What is written in the picture?"])
    return form, s["word"]["chars"]


def bars(rng, s):
    if not s["chart"]:
        raise Redo
    rows, kind = s["chart"]["bars"], rng.random()
    if kind < 0.15:
        return rng.choice(["How many bars are there?", "Count the bars."]), str(len(rows))
    if kind < 0.6:
        word, pick = rng.choice([("tallest", max), ("shortest", min)])
        form = rng.choice(["Which bar is %s?", "Which bar is the %s?", "What colour is the %s bar?"])
        return form % word, pick(rows, key=lambda b: b["height"])["colour"]
    a, b = rng.sample(rows, 2)
    word = rng.choice(["taller", "shorter"])
    right = (a["height"] > b["height"]) == (word == "taller")
    return "Is the %s bar %s than the %s bar?" % (a["colour"], word, b["colour"]), "yes" if right else "no"


def name_objects(s):
    names = [o["colour"] + " " + o["shape"] for o in s["objects"]]
    if len(names) > 3:
        return "%s objects, from %s to %s" % (NUMBERS[len(names)], article(names[0]), article(names[-1]))
    groups = [article(n) if names.count(n) == 1 else NUMBERS[names.count(n)] + " " + plural(n)
              for n in dict.fromkeys(names)]
    return " and ".join([", ".join(groups[:-1]), groups[-1]]) if len(groups) > 1 else "".join(groups)


def caption(rng, s):
    if s["chart"]:
        rows = s["chart"]["bars"]
        tallest = max(rows, key=lambda b: b["height"])["colour"]
        said = "a bar chart with %s bars, the tallest is %s" % (NUMBERS[len(rows)], tallest)
    else:
        parts = [name_objects(s)] if s["objects"] else []
        parts += ["the text " + s["word"]["chars"]] if s["word"] else []
        said = ", with ".join(parts)
    return rng.choice(["Describe the picture.", "Describe the image briefly.", "Write a short caption."]), said


def as_list(rng, s):
    if not s["objects"]:
        raise Redo
    said = " ; ".join("%s %s %s %s" % (o["size"], o["colour"], o["shape"], position(o)) for o in s["objects"])
    return rng.choice(["List the objects.", "List all objects from left to right."]), said


def as_json(rng, s):
    if not s["objects"]:
        raise Redo
    rows = [{"shape": o["shape"], "color": o["colour"], "size": o["size"]} for o in s["objects"]]
    form = rng.choice(["List the objects as JSON.", "Give the objects as JSON."])
    return form, json.dumps(rows, separators=(",", ":"))


# What makes the question, and how often it is tried.
KINDS = {"existence": (existence, 4), "count": (count, 3), "colour": (colour, 2), "shape": (shape, 2),
         "size": (size, 1), "position": (where, 2), "relation": (relation, 3), "text": (text, 3), "bars": (bars, 3),
         "caption": (caption, 1), "list": (as_list, 1), "json": (as_json, 1)}


def ask(rng, s, most):
    turns, seen = [], set()
    for _ in range(most * 8):
        kind = rng.choices(list(KINDS), [w for _, w in KINDS.values()])[0]
        try:
            question, answer, *negative = KINDS[kind][0](rng, s)
        except Redo:
            continue
        key = kind if kind in ("text", "caption", "list", "json") else question
        if key in seen or len(turns) == 2 * most:
            continue
        seen.add(key)
        reply = {"from": "gpt", "value": answer, "kind": kind}
        if negative and negative[0]:
            reply["negative"] = negative[0]
        turns += [{"from": "human", "value": question}, reply]
    turns[0]["value"] = "<image>\n" + turns[0]["value"]
    return turns


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("out", help="folder to make")
    p.add_argument("--count", type=int, default=200, help="pictures (default %(default)s)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--side", type=int, default=UNITS, help="pixels (default %(default)s)")
    p.add_argument("--questions", type=int, default=8, help="most questions of a picture (default %(default)s)")
    p.add_argument("--formats", default="png,jpg,webp", help="in turn (default %(default)s)")
    a = p.parse_args()
    tool = shutil.which("magick") or shutil.which("convert")
    missing = [f for f in FONTS if not os.path.exists(f)]
    if not tool or missing:
        sys.exit("draw_scenes: not found: " + ", ".join(missing + ([] if tool else ["ImageMagick's convert"])))
    os.makedirs(os.path.join(a.out, "images"))
    advances, formats, samples = measure_fonts(tool), a.formats.split(","), []
    for i in range(a.count):
        rng = random.Random("scenes %d %d" % (a.seed, i))
        picture = rng.choices(["objects", "text", "bars", "mixed"], [60, 16, 10, 14])[0]
        s = make_scene(rng, advances, picture)
        name = "images/%04d.%s" % (i, formats[i % len(formats)])
        draw(tool, s, a.side, os.path.join(a.out, name))
        samples.append({"id": "foreign-%d-%d" % (a.seed, i), "image": name, "conversations": ask(rng, s, a.questions)})
    with open(os.path.join(a.out, "data.json"), "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(s, separators=(",", ":")) for s in samples) + "\n]\n")


if __name__ == "__main__":
    main()
