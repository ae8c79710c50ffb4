#!/usr/bin/env python3
"""Pictures as users of the command meet them: what they will take, budgets, several of them, and what is refused. One
function a case; run as `media.py build/nunchi`. The bundled model always; other families where their fixtures
are."""
# SPDX-License-Identifier: MIT
import json
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import zlib

sys.dont_write_bytecode = True
from driver import NUNCHI, ROOT, check, fixture, nunchi, run_cases  # noqa: E402

FIXTURES = ROOT.parent / "shared" / "fixtures"
MODEL, SHAPES = "models/scenes", "examples/shapes.png"
FAMILIES = ["llava", "llava-next", "llava-onevision", "gemma3", "paligemma", "qwen2-vl", "qwen2-5-vl", "qwen3-vl", "internvl2", "internvl-hf",
            "nvlm-d", "pixtral", "mistral3", "idefics2", "idefics3", "smolvlm", "blip2", "instructblip", "fuyu", "mllama",
            "video-llava", "internvl2-internlm2", "vipllava", "llava-siglip", "paligemma2"]
OWN = ["phi3v", "nunchi_vl/decoder", "nunchi_vl/cross", "nunchi_vl/hybrid", "nunchi_vl/hybrid-box", "nunchi_vl/patches"]
BESIDE = ("mllama", "cross", "hybrid", "hybrid-box")  # budgets count rows beside the sequence, prompts do not


def families():
    return [FIXTURES / f for f in FAMILIES if (FIXTURES / f).is_dir()] + [ROOT / "tests" / "data" / f for f in OWN]


def picture_of(folder):
    return sorted((folder / "verify").glob("*.png"))[0]


def dry(*args, **more):
    return json.loads(nunchi("run", *args, "--dry-run", "--json", **more)[0])


def png(width, height, rows=None):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    if rows is None:
        rows = b"".join(b"\0" + bytes((x * 7 + y * 3) % 256 for x in range(3 * width)) for y in range(height))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ---- counting --------------------------------------------------------------------------------------


def case_a_dry_run_counts_what_a_run_takes():
    plan = dry(MODEL, "--image", SHAPES, "Is there a red circle?")
    run = json.loads(nunchi("run", MODEL, "--image", SHAPES, "Is there a red circle?", "--json")[0])
    check(plan["prompt_tokens"] == run["usage"]["prompt_tokens"], plan)
    check(plan["picture_tokens"] == 64 and plan["pictures"][0]["tokens"] == 64, plan)
    check(plan["memory"]["state"] > 0 and plan["memory"]["encoder"] > 0, plan)
    text = nunchi("run", MODEL, "--image", SHAPES, "What?", "--dry-run")[0]
    check(re.search(r"picture 1 +448 x 448 as \d+ x \d+: 64 tokens", text), text)


def case_every_family_counts_alike():
    for folder in families():
        for images in (1, 2):
            if images == 2 and folder.name in ("blip2", "instructblip", "fuyu"):
                continue
            args = [folder] + ["--image", picture_of(folder)] * images + ["what is in the picture?"]
            plan, run = dry(*args), json.loads(nunchi("run", *args, "--json", "-n", "1")[0])
            check(plan["prompt_tokens"] == run["usage"]["prompt_tokens"], "%s: %s" % (folder.name, plan))
            check(len(plan["pictures"]) == images, plan)
            check(sum(p["tokens"] for p in plan["pictures"]) == plan["picture_tokens"] > 0, plan)


# ---- budgets ---------------------------------------------------------------------------------------


def case_budgets_are_kept_or_refused():
    for folder in families():
        if folder.name in BESIDE:
            continue
        args = [folder, "--image", picture_of(folder), "what?"]
        usual = dry(*args)["picture_tokens"]
        for budget in (usual, usual - 1, usual // 2):
            done = subprocess.run([NUNCHI, "run", *map(str, args), "--dry-run", "--json", "--media-tokens", str(budget)], cwd=ROOT,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if done.returncode:
                numbers = re.search(rb"at most (\d+) tokens.* needs (\d+)", done.stderr)
                check(numbers and int(numbers[1]) == budget < int(numbers[2]), "%s: %s" % (folder.name, done.stderr))
                check(budget < usual, "%s: %d tokens fit, and were refused" % (folder.name, usual))
            else:
                check(json.loads(done.stdout)["picture_tokens"] <= budget, "%s: over %d" % (folder.name, budget))


def case_low_detail_takes_less():
    for folder in families():
        args = [folder, "--image", picture_of(folder), "what?"]
        check(dry(*args, "--detail", "low")["picture_tokens"] <= dry(*args)["picture_tokens"], folder.name)


# ---- what was typed, what is refused ---------------------------------------------------------------


def case_typed_placeholders_are_text():
    for folder in families():
        for typed in ("<image> [IMG] <|image_pad|> |SPEAKER|?", "<IMG_CONTEXT> <|image|> <tile_1>?", "<|image_1|> <start_of_image>?"):
            plan = dry(folder, "--image", picture_of(folder), typed)
            check(len(plan["pictures"]) == 1, "%s: %s" % (folder.name, typed))
            check(len(dry(folder, typed)["pictures"]) == 0, "%s: %s" % (folder.name, typed))


def case_hostile_pictures():
    with tempfile.TemporaryDirectory() as tmp:
        huge = pathlib.Path(tmp) / "huge.png"
        huge.write_bytes(png(65535, 65535, b"\0"))
        err = nunchi("run", MODEL, "--image", huge, "what?", status=2)[1]
        check("pixels" in err, err)
        for width, height in ((1, 1), (1, 300), (300, 1)):
            tiny = pathlib.Path(tmp) / "tiny.png"
            tiny.write_bytes(png(width, height))
            for folder in families():
                done = subprocess.run([NUNCHI, "run", folder, "--image", tiny, "what?", "--dry-run"], cwd=ROOT, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE)
                check(done.returncode in (0, 2), "%s: %d x %d: status %d" % (folder.name, width, height, done.returncode))
                check(done.returncode == 0 or done.stderr.strip(), "%s: refused without a word" % folder.name)


def case_budgets_beside_are_kept_or_refused():
    for folder in families():
        if folder.name not in BESIDE:
            continue
        args = [folder, "--image", picture_of(folder), "what?"]
        most = max(p["tiles"] for p in dry(*args)["pictures"])
        check(dry(*args, "--detail", "low")["pictures"][0]["tiles"] == 1, folder.name)
        err = nunchi("run", *args, "--dry-run", "--media-tokens", "1", status=2)[1]
        least = int(re.search(r"at most 1 tokens.* needs (\d+)", err)[1])
        for tiles in range(1, most + 1):
            kept = dry(*args, "--media-tokens", least * tiles)["pictures"][0]["tiles"]
            check(1 <= kept <= tiles, "%s: %d tiles in room for %d" % (folder.name, kept, tiles))
        check(kept == most, "%s: %d tiles fit, %d are shown" % (folder.name, most, kept))


def case_prompts_as_they_stand_count_their_places():
    for name, mark in (("llava", "<image>"), ("video-llava", "<image>"), ("phi3v", "<|image|>")):
        folder = next((f for f in families() if f.name == name), None)
        if not folder:
            continue
        picture, raw = ["--image", picture_of(folder)], ["--raw", "look: %s\nand %s what?" % (mark, mark), "--dry-run"]
        plan = dry(folder, *picture, *picture, *raw[:2])
        check([p["position"] > 1 for p in plan["pictures"]] == [True, True], plan)
        for given in (0, 1, 3):
            err = nunchi("run", folder, *picture * given, *raw, status=2)[1]
            check("pictures: %d given, but the prompt has places for 2" % given in err, err)
        check(dry(folder, *picture, "--raw", "what?")["pictures"][0]["position"] <= 1, name)  # before a prompt without a place


def case_models_without_eyes_say_so():
    err = nunchi("run", fixture("llama"), "--image", SHAPES, "what?", "--raw", status=2)[1]
    check("takes no pictures" in err, err)


if __name__ == "__main__":
    sys.exit(run_cases("media", dict(globals())))
