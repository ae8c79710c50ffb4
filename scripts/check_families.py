#!/usr/bin/env python3
"""Text families against transformers itself: makes small random models of many config variants, asks transformers for
logits and greedy tokens in float32, and lets `nunchi verify` judge.

  check_families.py [--nunchi NUNCHI] [--out FOLDER] [--list] [NAME...]

NAME: only models whose name begins so. FOLDER (/tmp/nunchi-families) receives one model folder each, in the format of
the models with reference numbers, and scripts/families_doc.py --models FOLDER writes what was measured into
docs/families.md. The exit status is 0 when everything agrees. Needs torch and transformers.

Weights are wider than those of a fresh model, norms and biases random, so that a wrong mask, position, norm or
activation shows. Each model is checked again with a config that leaves out all keys at their defaults."""
# SPDX-License-Identifier: MIT
import argparse
import json
import pathlib
import subprocess
import sys
import zlib

import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check_families_table as table  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
GREEDY = 16
CLOSE = 2e-5  # above this somebody should look


# ---- weights ---------------------------------------------------------------------------------------------------

def spread(name, p, gain):
    """New values of a weight; of norms and the like not far from what they were."""
    noise = torch.randn(p.shape)
    if "correction" in name:
        return noise.abs()  # group-limited choices of negative scores differ between implementations
    if p.dim() <= 1 or "norms." in name or "norm.weight" in name:
        keep = any(k in name for k in ("norm", "A_log", "dt_bias", ".D", "ln_", "alpha", "beta"))
        return (p if keep else 0) + 0.3 * noise
    if "embed" in name or "wte" in name or "lm_head" in name:
        return noise * 1.5 / p.shape[-1] ** 0.5
    if "_bias" in name:  # of stacked experts
        return 0.3 * noise
    if "conv" in name and p.dim() == 3:
        return noise * 0.8 / p.shape[-1] ** 0.5
    fan = min(p.shape[-1], p.shape[-2]) if p.dim() == 3 else p.shape[-1]
    return noise * gain / fan ** 0.5


def randomise(model, bfloat16, gain):
    with torch.no_grad():
        for name, p in list(model.named_parameters()) + [b for b in model.named_buffers() if "correction" in b[0]]:
            p.copy_(spread(name, p, gain))
            if bfloat16:
                p.copy_(p.bfloat16().float())


# ---- numbers ---------------------------------------------------------------------------------------------------

def logits_of(model, ids):
    with torch.no_grad():
        more = {} if "MaskedLM" in type(model).__name__ else {"use_cache": False}
        return model(input_ids=torch.tensor([ids]), **more).logits[0].float()


def greedy_of(model, ids):
    out, gaps = [], []
    for _ in range(GREEDY):
        best = torch.topk(logits_of(model, ids + out)[-1], 2)
        out.append(int(best.indices[0]))
        gaps.append(round(float(best.values[0] - best.values[1]), 4))
    return out, gaps


def moved(model, ids, logits):
    half = logits_of(model, ids)
    cosine = torch.nn.functional.cosine_similarity(half.double(), logits.double(), dim=-1).min()
    return {"min_row_cosine": float(cosine), "max_abs": float((half - logits).abs().max())}


def make_cases(model, vocab, causal):
    cases, tensors = [], {}
    for length in (7, 45):
        ids = torch.randint(3, vocab, (length,)).tolist()
        name = "len%d" % length
        tensors[name + "/logits"] = logits_of(model, ids).contiguous()
        case = {"name": name, "input_ids": ids, "expected": {"logits": name + "/logits"}}
        if causal:
            case["greedy"], case["greedy_gaps"] = greedy_of(model, ids)
            case["greedy_by"] = "whole forwards"
        cases.append(case)
    return cases, tensors


def add_yardsticks(model, cases, tensors):
    try:
        half = model.to(torch.bfloat16)
        for case in cases:
            case["bfloat16"] = {"logits": moved(half, case["input_ids"], tensors[case["expected"]["logits"]])}
    except RuntimeError as e:  # some parts of the reference run in float32 only
        print("  bfloat16: " + str(e).splitlines()[0])


# ---- folders ---------------------------------------------------------------------------------------------------

def write_case(folder, row, architecture, cases, tensors):
    (folder / "verify").mkdir(exist_ok=True)
    case = {"format": 1, "family": row["config"].model_type, "architecture": architecture,
            "made_by": {"transformers": transformers.__version__, "torch": torch.__version__},
            "tolerance": {"atol": 1e-4, "rtol": 1e-4}, "cases": cases, "note": row.get("note", "")}
    (folder / "verify" / "case.json").write_text(json.dumps(case))
    save_file(tensors, folder / "verify" / "expected.safetensors")


def build(name, row, folder):
    torch.manual_seed(zlib.crc32(name.encode()))
    transformers.set_seed(zlib.crc32(name.encode()))
    config = row["config"]
    architecture = row["model"].__name__
    transformers.PreTrainedModel.initialize_weights = lambda _: None  # it fails for some configs, and all is drawn anew
    model = row["model"](config).float().eval()
    bfloat16 = zlib.crc32(name.encode()) % 2 == 1
    randomise(model, bfloat16, row.get("gain", 1.1))
    if "prepare" in row:
        row["prepare"](model)
    cases, tensors = make_cases(model, config.vocab_size, "MaskedLM" not in architecture)
    model.generation_config = transformers.GenerationConfig()
    (model.to(torch.bfloat16) if bfloat16 else model).save_pretrained(folder)
    add_yardsticks(model, cases, tensors)
    if "rewrite" in row:
        row["rewrite"](folder)
    write_case(folder, row, architecture, cases, tensors)


def drop_defaults(folder, row):
    """The config as older files have it: what is as the class has it by default is not there. Returns the text as it was."""
    path = folder / "config.json"
    was = path.read_text()
    config, defaults = json.loads(was), type(row["config"])().to_dict()
    keep = ("architectures", "model_type", "tie_word_embeddings", "layer_types")
    path.write_text(json.dumps({k: v for k, v in config.items() if k in keep or k not in defaults or v != defaults[k]}))
    return was


def verify(nunchi, folder):
    run = subprocess.run([nunchi, "verify", "--json", "-t", "1", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return json.loads(run.stdout), run.stderr.strip()
    except json.JSONDecodeError:
        return [], run.stderr.strip()


def judge(nunchi, folder, row):
    cases, error = verify(nunchi, folder)
    was = drop_defaults(folder, row)
    bare, bare_error = verify(nunchi, folder)
    (folder / "config.json").write_text(was)
    f32 = [c for c in cases if c["path"] == "f32"]
    worst = max((c["max_abs"] for c in f32), default=float("nan"))
    same, total = (sum(c.get(k, 0) for c in f32) for k in ("greedy_same", "greedy_total"))
    faults = [error] if error else []
    faults += ["%s: %s" % (c["case"], c.get("error", "worst %.1e greedy %d/%d" % (
        c["max_abs"], c["greedy_same"], c["greedy_total"]))) for c in f32 if not c["ok"]]
    if [c["max_abs"] for c in bare] != [c["max_abs"] for c in cases]:
        faults.append("without defaults: " + (bare_error or str([c.get("error", c["max_abs"]) for c in bare])))
    return worst, same, total, faults


def refused(nunchi, name, row, folder):
    """Configs that must not load: the message."""
    out = []
    was = (folder / "config.json").read_text()
    for key, value in row.get("refuse", {}).items():
        config = json.loads(was)
        at = config
        *path, last = key.split(".")
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
        (folder / "config.json").write_text(json.dumps(config))
        cases, error = verify(nunchi, folder)
        if not error:
            out.append("%s = %s was not refused" % (key, value))
    (folder / "config.json").write_text(was)
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("names", nargs="*")
    p.add_argument("--nunchi", default=str(ROOT / "build/nunchi"))
    p.add_argument("--out", default="/tmp/nunchi-families")
    p.add_argument("--list", action="store_true")
    p.add_argument("--again", action="store_true", help="make models anew even where they are there")
    a = p.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    rows = {n: r for n, r in table.rows().items() if not a.names or any(n.startswith(x) for x in a.names)}
    bad = 0
    for name, row in rows.items():
        folder = pathlib.Path(a.out) / name
        if a.list:
            print(name)
            continue
        if a.again or not (folder / "verify" / "case.json").exists():
            try:
                build(name, row, folder)
            except (TypeError, ValueError, RuntimeError, AttributeError) as e:
                print("ERROR    %-28s transformers: %s" % (name, e))
                bad += 1
                continue
        worst, same, total, faults = judge(a.nunchi, folder, row)
        faults += refused(a.nunchi, name, row, folder)
        bad += bool(faults)
        print("%-8s %-28s %.1e  greedy %d/%d%s" % ("FAILED" if faults else "ok" if worst < CLOSE else "look", name, worst, same,
                                                total, "".join("\n         " + f for f in faults)), flush=True)
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
