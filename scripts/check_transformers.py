#!/usr/bin/env python3
"""Does the bundled model load elsewhere? Asks transformers and nunchi the same questions, in float32, greedily.

Run as scripts/check_transformers.py [NUNCHI [MODEL]] where torch, transformers and pillow are installed; the
exit status is 0 when all answers are equal."""
# SPDX-License-Identifier: MIT
import pathlib
import subprocess
import sys

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

ROOT = pathlib.Path(__file__).resolve().parent.parent
QUESTIONS = [
    ("stars.png", "How many objects are there?"), ("stars.png", "Describe the picture."),
    ("circles.jpg", "Is there a pink diamond?"), ("chart.webp", "Which bar is tallest?"),
    ("word.jpg", "What does the text say?"), ("mixed.webp", "List the objects as JSON."),
    ("mixed.webp", "List all objects from left to right."), ("shapes.png", "Where is the blue square?"),
    ("shapes.png", "Is the red circle left of the blue square?"),
]


def theirs(model, processor, picture, question):
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(images=Image.open(picture), text=text, return_tensors="pt")
    ids = model.generate(**inputs, max_new_tokens=160, do_sample=False)[0, inputs["input_ids"].shape[1]:]
    return processor.tokenizer.decode(ids, skip_special_tokens=True).strip()


def ours(nunchi, folder, picture, question):
    command = [nunchi, "run", folder, "--compute", "f32", "--preview", "none", "--image", str(picture), question]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main():
    nunchi = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/nunchi")
    folder = sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "models/scenes")
    processor = AutoProcessor.from_pretrained(folder, use_fast=False)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    equal = 0
    for name, question in QUESTIONS:
        picture = ROOT / "examples" / name
        a, b = theirs(model, processor, picture, question), ours(nunchi, folder, picture, question)
        equal += a == b
        print("%-12s %-44s %s%s" % (name, question, b, "" if a == b else "   transformers: " + a))
    print("%d of %d answers equal" % (equal, len(QUESTIONS)))
    sys.exit(equal != len(QUESTIONS))


if __name__ == "__main__":
    main()
