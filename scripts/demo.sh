#!/bin/sh
# The demo: the bundled model answers questions about PNG, JPEG and WebP pictures that it never saw in
# training. Run it by `make demo`.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
nunchi=${1:-build/nunchi}
model=${2:-models/scenes}
if [ ! -e "$model/model.safetensors" ]; then
    echo "$model has no weights yet; nunchi train recipes/scenes.yaml makes them" >&2
    exit 2
fi

picture=
while IFS='|' read -r file question; do
    if [ "$file" != "$picture" ]; then
        picture=$file
        preview=auto
        printf '\n%s\n' "$picture"
    fi
    answer=$("$nunchi" run "$model" --preview "$preview" --image "$picture" "$question")
    preview=none
    printf '  %-36s %s\n' "$question" "$answer"
done <<QUESTIONS
examples/stars.png|How many objects are there?
examples/stars.png|What colour is the square?
examples/stars.png|Describe the picture.
examples/circles.jpg|Is there a pink diamond?
examples/circles.jpg|Is the blue square above the purple circle?
examples/chart.webp|Which bar is tallest?
examples/chart.webp|How many bars are there?
examples/word.jpg|What does the text say?
examples/mixed.webp|List all objects from left to right.
examples/mixed.webp|List the objects as JSON.
examples/shapes.png|Where is the blue square?
examples/shapes.png|Is there a red circle?
QUESTIONS
