#!/bin/sh
# SPDX-License-Identifier: MIT
# Models of six families with random weights, written as GGUF by nunchi, give the same greedy ids in llama.cpp; so
# does one of them in each number format.
#   scripts/check_llamacpp.sh [BUILD] [MODEL.gguf...]
# compares the given models instead, with their weights as F32: with block formats llama.cpp rounds activations to 8 bits,
# which nunchi does not, and a comparison of formats can only be up to wider ties.
# Needs node, and the npm package node-llama-cpp in NODE_MODULES (default: installed into a folder under TMPDIR).
# Not part of `make test`: it needs a network the first time.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-build}
[ $# -gt 0 ] && shift
nunchi=$(realpath "$build/nunchi")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
modules=${NODE_MODULES:-${TMPDIR:-/tmp}/nunchi-node-llama-cpp/node_modules}
if [ ! -d "$modules/node-llama-cpp" ]; then
    mkdir -p "$(dirname "$modules")"
    (cd "$(dirname "$modules")" && npm init -y > /dev/null && npm install --ignore-scripts node-llama-cpp > /dev/null)
fi
export NODE_LLAMA_CPP="$modules/node-llama-cpp/dist/index.js"
status=0
compare() { # MODEL TIE
    python3 "$here/check_llamacpp.py" "$nunchi" "$here/llamacpp_greedy.mjs" "$1" f32 "$2" || status=1
}
if [ $# -eq 0 ]; then
    for shape in llama-tiny qwen2-tiny qwen3-tiny phi3-tiny gemma2-tiny mixtral-tiny; do
        "$nunchi" init "$shape" "$work/$shape.gguf" --dtype F32 --seed 5
        compare "$work/$shape.gguf" 0.02
    done
    for type in F16 BF16 Q8_0 Q6_K Q5_K_M Q5_0 Q4_K Q4_K_M Q4_0 Q3_K_M Q2_K; do
        "$nunchi" init llama-tiny "$work/$type.gguf" --dtype "$type" --seed 5
        compare "$work/$type.gguf" 0.1
    done
fi
for model in "$@"; do
    "$nunchi" convert "$model" "$work/given.gguf" --dtype F32
    compare "$work/given.gguf" 0.02
    rm "$work/given.gguf"
done
exit $status
