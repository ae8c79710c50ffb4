#!/bin/sh
# What nunchi needs from the system: `check` succeeds when all of it is there, `install` gets it from
# Debian's packages (as root, or through sudo).
# SPDX-License-Identifier: MIT
set -eu

packages='meson ninja-build gcc libc6-dev pkg-config libcmocka-dev libjansson-dev libcyaml-dev libpcre2-dev
libcurl4-openssl-dev libutf8proc-dev libjpeg-dev libpng-dev libwebp-dev libsqlite3-dev libedit-dev libsodium-dev libfreetype-dev
fonts-dejavu-core fonts-liberation imagemagick git ca-certificates python3'
commands='meson ninja gcc pkg-config git python3 convert'
modules='cmocka jansson libcyaml libpcre2-8 libutf8proc libjpeg libpng libwebp libwebpdemux sqlite3 libedit
libsodium freetype2 libcurl'
files='/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf /usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf'

missing() {
    for c in $commands; do
        command -v "$c" >/dev/null 2>&1 || echo "command $c"
    done
    for m in $modules; do
        pkg-config --exists "$m" 2>/dev/null || echo "library $m"
    done
    for f in $files; do
        test -e "$f" || echo "file $f"
    done
}

case "${1:-check}" in
check)
    lacking=$(missing)
    test -z "$lacking" || { printf 'missing:\n%s\n' "$lacking" >&2; exit 1; }
    ;;
install)
    command -v apt-get >/dev/null 2>&1 || {
        printf 'This is no Debian. Please install what these packages contain:\n%s\n' "$packages" >&2
        exit 1
    }
    sudo=
    test "$(id -u)" -eq 0 || sudo=sudo
    $sudo apt-get update -q
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
    ;;
*)
    echo "usage: deps.sh check|install" >&2
    exit 2
    ;;
esac
