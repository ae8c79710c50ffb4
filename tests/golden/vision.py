#!/usr/bin/env python3
"""Pictures without a conversation, as users of the command meet them: classes, labels, vectors, against the stored
numbers of the reference. One function a case; run as `vision.py build/nunchi`."""
# SPDX-License-Identifier: MIT
import json
import math
import pathlib
import struct
import sys
import tempfile

sys.dont_write_bytecode = True
from driver import Failed, check, fixture, nunchi, run_cases  # noqa: E402


def stored(model, key):
    """A float32 or bfloat16 tensor of model, or of its reference numbers, as a list."""
    for name in ("model.safetensors", "verify/expected.safetensors"):
        blob = (model / name).read_bytes()
        size = struct.unpack("<Q", blob[:8])[0]
        row = json.loads(blob[8:8 + size]).get(key)
        if row:
            raw = blob[8 + size + row["data_offsets"][0]:8 + size + row["data_offsets"][1]]
            if row["dtype"] == "BF16":
                raw = b"".join(b"\0\0" + raw[i:i + 2] for i in range(0, len(raw), 2))
            return list(struct.unpack("<%df" % (len(raw) // 4), raw))
    raise Failed("no tensor %s" % key)


def softmax(x):
    powers = [math.exp(v - max(x)) for v in x]
    return [p / sum(powers) for p in powers]


def near(a, b, by=2e-6):
    return len(a) == len(b) and max(abs(x - y) for x, y in zip(a, b)) < by


def case_classify():
    model = fixture("vit")
    picture, other = model / "verify/wide.png", model / "verify/tall.png"
    lines = nunchi("classify", model, "--image", picture, other, "--compute", "f32", "--json", "--top", 11)[0].splitlines()
    check([json.loads(line)["image"] for line in lines] == [str(picture), str(other)], lines)
    for line, name in zip(lines, ("wide", "tall")):
        labels = json.loads(line)["labels"]
        check(labels == sorted(labels, key=lambda l: -l["probability"]), line)
        check(all(l["label"] == "thing %d" % l["id"] for l in labels), line)
        found = [l["probability"] for l in sorted(labels, key=lambda l: l["id"])]
        check(near(found, softmax(stored(model, name + "/class_logits"))), line)
    best = json.loads(lines[0])["labels"][0]
    text = nunchi("classify", model, picture, "--compute", "f32", "--top", 1)[0]
    check(text == "%s\t%.6f\t%s\n" % (picture, best["probability"], best["label"]), text)
    check(nunchi("classify", model, "-", "--compute", "f32", "--top", 1, stdin=picture.read_bytes())[0] == text.replace(str(picture), "-"),
          "stdin differs")
    check("expected a picture" in nunchi("classify", model, status=2)[1], "no picture")
    check("reads no texts" in nunchi("classify", model, picture, "--labels", "cat", status=2)[1], "labels")
    check("expected --labels" in nunchi("classify", fixture("clip"), picture, status=2)[1], "no labels")
    check("is no tower" in nunchi("classify", fixture("llama"), picture, status=2)[1], "llama")


def case_classify_labels():
    """What is compared is what embed gives: the angle of a picture and the labels' texts, by the model's own scale."""
    model = fixture("clip")
    picture = model / "verify/wide.png"
    words = ["cat", "red circle", "dog"]
    vectors = [json.loads(line)["embedding"] for line in nunchi(
        "embed", model, "--image", picture, *("a photo of a " + w for w in words), "--compute", "f32", "--json")[0].splitlines()]
    check(len(vectors) == 4 and all(abs(sum(x * x for x in v) - 1) < 1e-5 for v in vectors), "vectors of length 1")
    check(near(vectors[0], stored(model, "pairs/image_embeds")[:len(vectors[0])]), "the reference's vector")
    check(json.loads(nunchi("embed", model, "a photo of a cat", "--compute", "f32", "--json")[0])["embedding"] == vectors[1], "text alone")
    scale = math.exp(stored(model, "logit_scale")[0])
    want = softmax([scale * sum(a * b for a, b in zip(vectors[0], v)) for v in vectors[1:]])
    out = nunchi("classify", model, picture, "--labels", "cat, red circle,dog", "--compute", "f32", "--json")[0]
    labels = sorted(json.loads(out)["labels"], key=lambda l: l["id"])
    check([l["label"] for l in labels] == words and near([l["probability"] for l in labels], want), out)
    with tempfile.TemporaryDirectory() as tmp:
        listed = pathlib.Path(tmp) / "labels.txt"
        listed.write_text("cat\nred circle\n\ndog\n")
        check(nunchi("classify", model, picture, "--labels", "@%s" % listed, "--compute", "f32", "--json")[0] == out, "labels of a file")
    check("expected {}" in nunchi("classify", model, picture, "--labels", "cat", "--label-form", "a cat", status=2)[1], "form")
    check(nunchi("classify", model, picture, "--labels", "cat", "--label-form", "{}", "--json") != "", "form")
    raw = nunchi("embed", model, "--image", picture, "--normalize", "no", "--compute", "f32")[0].split()
    check(abs(sum(float(x) ** 2 for x in raw) - 1) > 1e-2, "normalised")


if __name__ == "__main__":
    sys.exit(run_cases("vision", dict(globals())))
