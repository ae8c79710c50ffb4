#!/bin/sh
# Makes examples/ again: five pictures of the world "scenes" that training never saw (split test), and one
# drawn by another program as docs/scenes.md describes.
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
nunchi=${1:-build/nunchi}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scene() { # name.format, number of the picture
    "$nunchi" data scenes "$work/$2" -q --split test --seed 42 --first "$2" --count 1 --format "${1##*.}" --quality 90
    mv "$work/$2/images/000000.${1##*.}" "examples/$1"
}

mkdir -p examples
scene stars.png 8
scene circles.jpg 38
scene chart.webp 34
scene word.jpg 21
scene mixed.webp 18
# four pixels a unit
convert -size 448x448 'xc:rgb(250,245,228)' \
    -fill 'rgb(220,35,40)' -draw 'circle 100,100 100,44' \
    -fill 'rgb(35,75,215)' -draw 'rectangle 271,151 369,249' \
    -fill 'rgb(35,150,60)' -draw 'polygon 200,296 256,396.8 144,396.8' \
    -fill 'rgb(245,210,30)' -draw 'polygon 368.0,340.8 376.5,364.4 401.5,365.1 381.7,380.4 388.7,404.5 368.0,390.4 347.3,404.5 354.3,380.4 334.5,365.1 359.5,364.4' \
    -strip examples/shapes.png
