# SPDX-License-Identifier: MIT
"""Do GGUF files written by nunchi say the same to llama.cpp? Compares greedy ids, prompt by prompt. Called by
check_llamacpp.sh: check_llamacpp.py NUNCHI GREEDY.mjs MODEL.gguf [COMPUTE [TIE]]. Two engines round differently: where
the two best logits are nearer than TIE, either may win, and what follows is not compared."""
import json
import subprocess
import sys

TOKENS = 24
PROMPTS = ["Hello", "The quick brown fox jumps over the lazy dog.", "1 + 1 =", "Once upon a time", "A", "def main():\n    return",
           "What is the capital of France?", "zzzz yyyy xxxx", "Water boils at", "My name is", "In the year 1969,",
           "Roses are red,", "import numpy as", "The largest planet is", "To be or not to be", "Paris, London, Rome,",
           "She opened the door and", "Monday, Tuesday,", "Two times three is", "Dear Sir or Madam,"]


def ours(nunchi, model, prompt, compute):
    """ids, and how far the second best is behind at each"""
    out = subprocess.run([nunchi, "run", model, "--raw", "--json", "--temp", "0", "-n", str(TOKENS), "--compute", compute,
                          "--ignore-eos", "--logprobs", "2", prompt], capture_output=True, check=True)
    answer = json.loads(out.stdout)
    return answer["tokens"], [t["top"][0]["logprob"] - t["top"][1]["logprob"] for t in answer["logprobs"]]


def main():
    nunchi, greedy, model = sys.argv[1:4]
    compute = sys.argv[4] if len(sys.argv) > 4 else "f32"
    tie = float(sys.argv[5]) if len(sys.argv) > 5 else 0.02
    ids = [json.loads(subprocess.run([nunchi, "tokenize", model], input=p.encode(), capture_output=True, check=True).stdout)
           for p in PROMPTS]
    lines = subprocess.run(["node", greedy, model, str(TOKENS)], input="".join(json.dumps(i) + "\n" for i in ids).encode(),
                           capture_output=True, check=True).stdout.splitlines()
    same = ties = 0
    wrong = []
    for prompt, line in zip(PROMPTS, lines, strict=True):
        theirs, (mine, gaps) = json.loads(line), ours(nunchi, model, prompt, compute)
        at = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), None)
        if at is None and len(theirs) == len(mine):
            same += 1
        elif at is not None and gaps[at] < tie:
            ties += 1
        else:
            at = at or 0
            wrong.append(f"{prompt!r}: token {at}: nunchi {mine[at]}, llama.cpp {theirs[at:at + 1]}, gap {gaps[at]:.3f}")
    print(f"{model}: {same} of {len(PROMPTS)} the same to the end, {ties} up to a tie, {len(wrong)} differ")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
