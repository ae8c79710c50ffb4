#!/bin/sh
# SPDX-License-Identifier: MIT
# Models of five families with random weights, written as GGUF by nunchi, give the same greedy ids in llama.cpp.
#   scripts/check_llamacpp.sh [BUILD] [MODEL.gguf...]
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
if [ $# -eq 0 ]; then
    for shape in llama-tiny qwen2-tiny qwen3-tiny phi3-tiny gemma2-tiny mixtral-tiny; do
        "$nunchi" init "$shape" "$work/$shape.gguf" --dtype F32 --seed 5
        set -- "$@" "$work/$shape.gguf"
    done
fi
for model in "$@"; do
    python3 "$here/check_llamacpp.py" "$nunchi" "$here/llamacpp_greedy.mjs" "$model" || status=1
done
exit $status
