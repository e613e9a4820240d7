#!/usr/bin/env python3
"""Writes vectors/manifest.json, or with --check compares it with the files.

usage: manifest.py [--check]

One entry per golden file: path, sha256, bytes, kind, tool, version, seed, licence, how; where a
forward file holds logits as shipped (golden.I.native) beside the exact ones, also the worst row's
normalised squared error between them. What a file says of itself in its metadata is taken from
there; the rest is in RULES. --check exits 1 if a file is missing, changed, or not listed.
"""
import array
import gzip
import hashlib
import json
import math
import re
import struct
import sys
import zlib
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent
MANIFEST = VECTORS / "manifest.json"

# folder, name pattern, and what the files do not say themselves; the first that fits counts
RULES = [
    ("decode", r".*\.gguf\.gz", dict(
        kind="decode", tool="libggml-base, row decoders and quantizers",
        version="llama.cpp v0.5.0")),
    ("forward", r"micro-.*\.gguf\.gz", dict(
        kind="forward", tool="llama.cpp; blocks by the quantizers of v0.5.0")),
    ("forward", r".*\.gguf\.gz", dict(kind="forward", tool="llama.cpp")),
    ("models", r"primer-4m-f16\.gguf\.gz", dict(
        kind="model", tool="PyTorch", version=None, seed=7,
        how="trained for this project, bounded by time, so that a second run gives another model")),
    ("models", r"primer-4m-Q4_K_M\.gguf\.gz", dict(
        kind="model", tool="llama-quantize", version="llama.cpp 2025-02",
        how="from primer-4m-f16, no importance matrix")),
    ("tokenizer", r"primer-4m\.json", dict(
        kind="tokenizer", tool="llama.cpp", version="llama.cpp 2025-02",
        how="BOS added, special tokens not parsed")),
    ("tokenizer", r"(spm|bpe|wpm|gemma4)-(cases\.json|vocab\.gguf\.gz)", dict(
        kind="tokenizer", tool="libllama", version="llama.cpp v0.5.0",
        how="the library of the release, called in process, on 197 strings; vocabularies made for it")),
    ("mixes", r"primer-4m\.json", dict(
        kind="mixes", tool="llama-quantize", version="llama.cpp 2025-02",
        how="from primer-4m-f16, no importance matrix")),
    ("encode", r"nmse\.json", dict(
        kind="encode", tool="libggml-base, quantizers", version="llama.cpp v0.5.0",
        how="seeds 1 and 2 of the data that the file describes")),
    ("logs", r".*\.log\.gz", dict(
        kind="log", tool="llama-eval-callback", version="llama.cpp 2025-02",
        how="prompt \"The capital of France is\", F16 cache")),
    ("ops", r".*\.gguf\.gz", dict(kind="ops")),
    ("gguf/valid", r".*\.(gguf|txt)", dict(
        kind="container", tool="make/gguf_cases.py", how="what a reader must accept and see in it")),
    ("gguf/invalid", r".*\.(gguf|tsv)", dict(
        kind="container", tool="make/gguf_cases.py", how="what a reader must refuse, and why")),
    ("prompts", r".*\.txt", dict(kind="prompts", how="written for this project")),
]
FOLDERS = sorted({folder for folder, _, _ in RULES})

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q",
           12: "d"}
GGUF_STRING, GGUF_ARRAY, TYPE_F32 = 8, 9, 0


class Gguf:
    """Metadata and tensor table of a little-endian GGUF file."""

    def __init__(self, data):
        self.data, self.at = data, 0
        magic, version, n_tensors, n_keys = self.take("4sIQQ")
        if magic != b"GGUF" or version != 3:
            raise ValueError("not a GGUF file of version 3")
        self.meta = {}
        for _ in range(n_keys):
            key = self.string()
            self.meta[key] = self.value(self.take("I")[0])
        self.tensors = {}
        for _ in range(n_tensors):
            name = self.string()
            dims = self.take(f"{self.take('I')[0]}Q")
            self.tensors[name] = (dims, *self.take("IQ"))
        align = self.meta.get("general.alignment", 32)
        self.base = (self.at + align - 1) // align * align

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def string(self):
        return self.take(f"{self.take('Q')[0]}s")[0].decode()

    def value(self, kind):
        if kind == GGUF_STRING:
            return self.string()
        if kind == GGUF_ARRAY:
            inner, n = self.take("IQ")
            return [self.value(inner) for _ in range(n)]
        return self.take(SCALARS[kind])[0]

    def f32_rows(self, name):
        dims, kind, offset = self.tensors[name]
        if kind != TYPE_F32:
            raise ValueError(f"{name} is not F32")
        cols, total = dims[0], 1
        for d in dims:
            total *= d
        values = array.array("f")
        values.frombytes(self.data[self.base + offset:self.base + offset + 4 * total])
        if sys.byteorder == "big":
            values.byteswap()
        return [values[i:i + cols] for i in range(0, total, cols)]


def worst_row_nmse(gguf):
    """max over rows of sum (native - exact)^2 / sum exact^2; None without native logits."""
    worst = None
    for name in gguf.tensors:
        m = re.fullmatch(r"golden\.(\d+)\.native", name)
        if not m:
            continue
        exact = gguf.f32_rows(f"golden.{m[1]}.exact")
        for e, n in zip(exact, gguf.f32_rows(name), strict=True):
            nmse = math.fsum((b - a) ** 2 for a, b in zip(e, n)) / math.fsum(a * a for a in e)
            worst = nmse if worst is None else max(worst, nmse)
    return worst


def describe(path):
    folder, name = path.parent.relative_to(VECTORS).as_posix(), path.name
    for rule_folder, pattern, facts in RULES:
        if folder == rule_folder and re.fullmatch(pattern, name):
            break
    else:
        raise ValueError("no rule in manifest.py says what it is")
    raw = path.read_bytes()
    entry = {"path": f"{folder}/{name}", "sha256": hashlib.sha256(raw).hexdigest(),
             "bytes": len(raw), "kind": None, "tool": None, "version": None, "seed": None,
             "licence": "MIT", "how": None}
    entry.update(facts)
    data = gzip.decompress(raw) if name.endswith(".gz") else raw
    if name.endswith(".gguf.gz"):
        gguf = Gguf(data)
        if entry["kind"] == "decode":
            entry["seed"], entry["how"] = gguf.meta["golden.seed"], gguf.meta["golden.source"]
        elif entry["kind"] == "ops":
            for key in ("tool", "version", "seed", "how"):
                entry[key] = gguf.meta[f"golden.{key}"]
        elif entry["kind"] == "forward":
            entry["how"] = gguf.meta["golden.exact"]
            version = re.search(r"v\d+\.\d+\.\d+|\d{4}-\d\d", entry["how"])
            entry["version"] = "llama.cpp " + version[0]
            if name.startswith("micro-") or "golden.native" in gguf.meta:
                entry["native_vs_exact_worst_nmse"] = worst_row_nmse(gguf)
    elif name.endswith(".json"):
        json.loads(data)
    return entry


def text(entries):
    return "[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n"


def check(entries):
    listed = {e["path"]: e for e in json.loads(MANIFEST.read_text())}
    found = {e["path"]: e for e in entries}
    wrong = [f"{p}: listed, but missing" for p in listed.keys() - found.keys()]
    wrong += [f"{p}: not listed" for p in found.keys() - listed.keys()]
    for p in listed.keys() & found.keys():
        fields = [k for k in listed[p].keys() | found[p].keys()
                  if listed[p].get(k) != found[p].get(k)]
        if fields:
            wrong.append(f"{p}: differs in {', '.join(sorted(fields))}")
    for line in sorted(wrong):
        print(line, file=sys.stderr)
    print(f"{len(found)} files, {len(wrong)} wrong")
    return not wrong and bool(found)


def main(args):
    if args not in ([], ["--check"]):
        sys.exit(__doc__)
    entries = []
    for path in [p for folder in FOLDERS for p in sorted((VECTORS / folder).iterdir())]:
        try:
            entries.append(describe(path))
        except (OSError, EOFError, KeyError, ValueError, struct.error, zlib.error) as e:
            sys.exit(f"{path.relative_to(VECTORS)}: {e}")
    if args:
        sys.exit(0 if check(entries) else 1)
    MANIFEST.write_text(text(entries))
    print(f"{len(entries)} files")


if __name__ == "__main__":
    main(sys.argv[1:])
