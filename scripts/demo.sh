#!/bin/sh
# The demo: the bundled model answers questions about a bundled picture. Run it by `make demo`.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
nunchi=${1:-build/nunchi}
picture=examples/scene1.png
echo "picture: $picture"
for question in "How many shapes are there?" "Describe the picture." "Is there a red circle?"; do
    printf '\n> %s\n' "$question"
    "$nunchi" run models/scenes --image "$picture" "$question"
done
