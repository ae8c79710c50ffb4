#!/usr/bin/env python3
"""Makes the pictures of this folder and what Pillow (13 or later) reads in them and makes of them by resizing.

Run by hand after adding a row; the tests need neither Python nor Pillow. ycck.jpg came from libjpeg, since Pillow
writes no YCCK.
"""
# SPDX-License-Identifier: MIT
import io
import os
import struct
import zlib

from PIL import Image, ImageOps

HERE = os.path.dirname(os.path.abspath(__file__))
W, H = 17, 13
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = (h ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def noise(n):
    """The same bytes as media_noise() in the tests."""
    return bytes((i * 2654435761 ^ i * i * 40503) >> 13 & 255 for i in range(n))


def path(name):
    return os.path.join(HERE, name)


# ---- PNG by hand: every type and depth, also interlaced ----

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack_row(samples, depth):
    if depth == 16:
        return struct.pack(">%dH" % len(samples), *samples)
    bits, n, out = 0, 0, bytearray()
    for s in samples:
        bits, n = bits << depth | s, n + depth
        if n == 8:
            out.append(bits)
            bits, n = 0, 0
    if n:
        out.append(bits << (8 - n))
    return bytes(out)


def png(kind, depth, interlaced=False, extra=b"", w=W, h=H):
    c = CHANNELS[kind]
    raw = noise(w * h * c * 2)
    sample = [(raw[2 * i] << 8 | raw[2 * i + 1]) >> (16 - depth) for i in range(w * h * c)]
    if depth == 16:  # some small values, which 16-bit grey keeps
        sample = [s if i % 3 else s >> 8 for i, s in enumerate(sample)]
    lines = b""
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        for y in range(y0, h, dy):
            row = [s for x in range(x0, w, dx) for s in sample[(y * w + x) * c:(y * w + x + 1) * c]]
            if row:
                lines += b"\0" + pack_row(row, depth)
    if kind == 3:
        extra = chunk(b"PLTE", noise(3 << depth)) + extra
    header = struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, int(interlaced))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(lines, 9)) +
            chunk(b"IEND", b""))


def exif(orientation, big=False):
    e = ">" if big else "<"
    return ((b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", 8) + struct.pack(e + "H", 1) +
            struct.pack(e + "HHIHH", 0x112, 3, 1, orientation, 0) + struct.pack(e + "I", 0))


def smooth(mode="RGB"):
    img = Image.frombytes("RGB", (W, H), bytes(v & 255 for y in range(H) for x in range(W)
                                               for v in (x * 14, y * 18, (x * y) * 2 % 256)))
    if mode == "RGBA":
        img.putalpha(Image.frombytes("L", (W, H), bytes((x * 15 + y * 3) & 255 for y in range(H) for x in range(W))))
        return img
    return img.convert(mode)


def pictures():
    files = {}
    for kind, depth in [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8),
                        (4, 8), (4, 16), (6, 8), (6, 16)]:
        files["type%d-depth%d.png" % (kind, depth)] = png(kind, depth)
    for kind, depth in [(0, 1), (0, 16), (2, 8), (3, 4), (6, 8)]:
        files["type%d-depth%d-interlaced.png" % (kind, depth)] = png(kind, depth, True)
    files["type0-depth8-key.png"] = png(0, 8, extra=chunk(b"tRNS", b"\0\x40"))
    files["type2-depth8-key.png"] = png(2, 8, extra=chunk(b"tRNS", b"\0\0\0\1\0\2"))
    files["type3-depth4-key.png"] = png(3, 4, extra=chunk(b"tRNS", bytes(range(0, 160, 16))))
    files["one.png"] = png(2, 8, w=1, h=1)
    files["row-interlaced.png"] = png(2, 8, True, w=31, h=1)
    for o in range(1, 9):
        files["turn%d.png" % o] = png(2, 8, extra=chunk(b"eXIf", exif(o, o % 2 == 0)), w=5, h=3)
    late = png(2, 8, w=5, h=3)
    files["turn6-late.png"] = late[:-12] + chunk(b"eXIf", exif(6)) + late[-12:]
    files["turn9.png"] = png(2, 8, extra=chunk(b"eXIf", exif(9)), w=5, h=3)

    def save(name, img, **options):
        out = io.BytesIO()
        img.save(out, name.rsplit(".", 1)[1].replace("jpg", "jpeg"), **options)
        files[name] = out.getvalue()
    second = Image.new("RGBA", (W, H), (9, 9, 9, 255))
    save("animated.png", smooth("RGBA"), save_all=True, append_images=[second])
    save("420.jpg", smooth(), quality=80)
    save("444.jpg", smooth(), quality=80, subsampling=0)
    save("progressive.jpg", smooth(), quality=80, progressive=True)
    save("grey.jpg", smooth("L"), quality=80)
    save("cmyk.jpg", smooth("CMYK"), quality=90)
    save("turn6.jpg", smooth(), quality=80, exif=b"Exif\0\0" + exif(6))
    save("lossy.webp", smooth(), quality=80)
    save("lossless.webp", smooth("RGBA"), lossless=True, exact=True)
    save("alpha.webp", smooth("RGBA"), quality=80)
    save("turn8.webp", smooth(), quality=80, exif=exif(8))
    save("animated.webp", smooth("RGBA"), save_all=True, append_images=[second], duration=50, lossless=True, exact=True)
    return files


def write_pictures():
    for name, data in pictures().items():
        with open(path(name), "wb") as f:
            f.write(data)
    lines = ["# file alpha(0 drop, 3 keep) orientation width height channels exact FNV-1a | near hex of the pixels"]
    for name in sorted(n for n in os.listdir(HERE) if n.rsplit(".", 1)[1] in ("png", "jpg", "webp")):
        for keep, turn in ((0, 0), (0, 1), (3, 1)):
            img = Image.open(path(name))
            img.load()
            if turn:
                img = ImageOps.exif_transpose(img)
            img = img.convert("RGBA" if keep else "RGB")
            data = img.tobytes()
            lossy = name.endswith(".jpg") or name in ("lossy.webp", "alpha.webp", "turn8.webp")
            if lossy and keep:
                continue
            lines.append("%s %d %d %d %d %d %s" % (name, keep, turn, img.width, img.height, 4 if keep else 3,
                                                   "near " + data.hex() if lossy else "exact %016x" % fnv(data)))
    with open(path("pictures.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


SHAPES = [  # width, height, to width, to height
    (1, 1, 1, 1), (1, 1, 7, 5), (2, 2, 1, 1), (3, 5, 5, 3), (7, 3, 2, 9), (13, 17, 13, 5), (13, 17, 4, 17),
    (31, 33, 32, 32), (16, 16, 15, 17), (64, 48, 28, 28), (97, 61, 44, 28), (40, 130, 28, 91), (5, 400, 28, 28),
    (400, 5, 28, 28),
    (1, 1000, 3, 7), (1000, 1, 7, 3), (100, 300, 99, 40), (100, 300, 150, 40), (255, 7, 257, 9), (33, 47, 336, 2),
]


def write_resizes():
    lines = ["# filter order width height channels to-width to-height FNV-1a of the pixels of noise, resized"]
    for name, number in FILTERS.items():
        for w, h, ow, oh in SHAPES:
            for c in (1, 3, 4):
                img = Image.frombytes(MODES[c], (w, h), noise(w * h * c))
                now = fnv(img.resize((ow, oh), number).tobytes())
                lines.append("%s 0 %d %d %d %d %d %016x" % (name, w, h, c, ow, oh, now))
                if c == 3 and number:  # across first, whatever the shape: Pillow up to 12
                    old = fnv(img.resize((ow, h), number).resize((ow, oh), number).tobytes())
                    lines.append("%s 1 %d %d %d %d %d %016x" % (name, w, h, c, ow, oh, old))
    with open(path("resizes.txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_pictures()
    write_resizes()
