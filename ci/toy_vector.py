#!/usr/bin/env python3
"""Writes golden blocks of the toy type of CONTRIBUTING.md, decoded here a third time.

usage: toy_vector.py OUT.gguf.gz

For a real type they come from the program that made the type; a toy has none.
"""
import gzip, random, struct, sys

TOY, F32, ELEMENTS, BLOCKS = 36, 0, 32, 256
random.seed(1)


def decode(block):
    d = struct.unpack("<e", block[:2])[0]
    for i in range(ELEMENTS):
        # The product has 19 bits at most: a double and a float hold it exactly, -0 too.
        yield d * (block[2 + 16 * (i % 2) + i // 2] - 128)


def blocks_of(kind):
    for k in range(BLOCKS):
        codes = bytes(random.randrange(256) for _ in range(ELEMENTS))
        scale = {"encoded": struct.pack("<e", random.uniform(-0.1, 0.1)),
                 "bits": struct.pack("<H", (k * 251) % 0x7C00 | (k & 1) << 15),
                 "special": struct.pack("<e", [0.0, -0.0, 65504.0, 2.0 ** -24][k % 4])}[kind]
        yield scale + codes


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


tensors = []
for kind in "encoded", "bits", "special":
    raw = list(blocks_of(kind))
    values = [v for b in raw for v in decode(b)]
    tensors += [(kind + ".blocks", TOY, len(values), b"".join(raw)), (kind + ".values", F32, len(values), struct.pack(f"<{len(values)}f", *values))]
out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 1) + text("general.architecture") + struct.pack("<I", 8) + text("assay-vectors")
data = b""
for name, kind, n, raw in tensors:
    data += b"\0" * (-len(data) % 32)
    out += text(name) + struct.pack("<IQIQ", 1, n, kind, len(data))
    data += raw
with gzip.open(sys.argv[1], "wb") as f:
    f.write(out + b"\0" * (-len(out) % 32) + data)
