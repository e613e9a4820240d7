#!/usr/bin/env python3
"""Makes the GGUF files of vectors/gguf: valid/NAME.gguf with what a reader must see in them
(valid/NAME.txt), and invalid/NAME.gguf with a part of the message that must refuse each
(invalid/messages.tsv). Needs Python 3 alone; the same bytes on every run.

usage: gguf_cases.py [vectors/gguf]

The cases in capitals are those of llama.cpp's tests/test-gguf.cpp; t01... follow from the rules of
reference/spec/gguf.md. Nothing here knows Assay's reader: sizes of types are typed from the format's
description a second time, so a wrong row in reference/spec/types.def shows.
"""
import pathlib
import random
import struct
import sys
import zlib

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODE = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
NAME = "u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64".split()

# id: (name, elements per block, bytes per block)
TYPES = {
    0: ("f32", 1, 4), 1: ("f16", 1, 2), 2: ("q4_0", 32, 18), 3: ("q4_1", 32, 20), 6: ("q5_0", 32, 22),
    7: ("q5_1", 32, 24), 8: ("q8_0", 32, 34), 9: ("q8_1", 32, 36), 10: ("q2_K", 256, 84), 11: ("q3_K", 256, 110),
    12: ("q4_K", 256, 144), 13: ("q5_K", 256, 176), 14: ("q6_K", 256, 210), 15: ("q8_K", 256, 292),
    16: ("iq2_xxs", 256, 66), 17: ("iq2_xs", 256, 74), 18: ("iq3_xxs", 256, 98), 19: ("iq1_s", 256, 50),
    20: ("iq4_nl", 32, 18), 21: ("iq3_s", 256, 110), 22: ("iq2_s", 256, 82), 23: ("iq4_xs", 256, 136),
    24: ("i8", 1, 1), 25: ("i16", 1, 2), 26: ("i32", 1, 4), 27: ("i64", 1, 8), 28: ("f64", 1, 8),
    29: ("iq1_m", 256, 56), 30: ("bf16", 1, 2), 34: ("tq1_0", 256, 54), 35: ("tq2_0", 256, 66),
    39: ("mxfp4", 32, 17), 40: ("nvfp4", 64, 36), 41: ("q1_0", 128, 18), 42: ("q2_0", 64, 18),
}
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q4_K, TYPE_I8, TYPE_I64, TYPE_MXFP4 = 0, 1, 2, 12, 24, 27, 39
MAX64 = 2**64 - 1


def string(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack("<Q", len(b)) + b


def scalar(kind, v):
    return string(v) if kind == STR else struct.pack("<" + CODE[kind], v)


def round_up(n, a):
    return (n + a - 1) // a * a


class Raw:
    """A value given as the bytes that follow its type: for lengths and counts that lie."""

    def __init__(self, data):
        self.data = data


class Tensor:
    def __init__(self, name, type_id, dims, offset=None, data=None):
        self.name, self.type, self.dims, self.offset, self.data = name, type_id, list(dims), offset, data

    def size(self):
        _, elems, size = TYPES.get(self.type, ("?", 1, 1))
        n = 1
        for d in self.dims:
            n *= d
        return n // elems * size


class File:
    def __init__(self, kvs=(), tensors=(), magic=b"GGUF", version=3, n_tensors=None, n_kv=None, align=32, end="<"):
        self.kvs, self.tensors, self.magic, self.version = list(kvs), list(tensors), magic, version
        self.n_tensors, self.n_kv, self.align, self.end = n_tensors, n_kv, align, end
        self.place()

    def place(self):
        at = 0
        for t in self.tensors:
            if t.offset is None:
                t.offset = at
                at = round_up(at + t.size(), self.align)

    def value(self, kind, v):
        if isinstance(v, Raw):
            return v.data
        if kind != ARR:
            return scalar(kind, v)
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(scalar(elem, i) for i in items)

    def header(self):
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_kv = len(self.kvs) if self.n_kv is None else self.n_kv
        return self.magic + struct.pack("<IQQ", self.version, n_tensors, n_kv)

    def meta(self):
        return self.header() + b"".join(string(k) + struct.pack("<I", t) + self.value(t, v) for k, t, v in self.kvs)

    def infos(self):
        out = b""
        for t in self.tensors:
            out += string(t.name) + struct.pack("<I", len(t.dims))
            out += b"".join(struct.pack("<Q", d & MAX64) for d in t.dims) + struct.pack("<IQ", t.type, t.offset)
        return out

    def head(self):
        """Up to the last tensor info, not padded."""
        return self.meta() + self.infos()

    def section(self, size=None):
        """The data section: byte i is i % 256 unless a tensor brings its own."""
        ends = [t.offset + t.size() for t in self.tensors]
        size = round_up(max(ends, default=0), self.align) if size is None else size
        out = bytearray(i % 256 for i in range(size))
        for t in self.tensors:
            if t.data is not None:
                out[t.offset:t.offset + len(t.data)] = t.data
        return bytes(out)

    def padded(self):
        head = self.head()
        return head + bytes(round_up(len(head), self.align) - len(head))

    def whole(self):
        return self.padded() + self.section() if self.tensors else self.head()


# ---- what a reader must see -----------------------------------------------------------------

def shown(kind, v):
    if kind == STR:
        return (v.encode() if isinstance(v, str) else v).hex() or "-"
    if kind == BOOL:
        return str(int(v != 0))
    if kind in (F32, F64):
        return struct.pack(">d", struct.unpack("<" + CODE[kind], scalar(kind, v))[0]).hex()
    return str(v) if v < 2**63 else struct.pack(">d", float(v)).hex()


def shown_key(key):
    return key if len(key) <= 200 else "%d:%08x" % (len(key), zlib.crc32(key.encode()))


def description(f, header_only=False):
    out = ["version %d" % f.version, "alignment %d" % f.align]
    if header_only:
        out.insert(0, "header only")
    for key, kind, v in f.kvs:
        if kind == ARR:
            out.append(" ".join(["kv %s array %s %d" % (shown_key(key), NAME[v[0]], len(v[1]))] + [shown(v[0], i) for i in v[1]]))
        else:
            out.append("kv %s %s %s" % (shown_key(key), NAME[kind], shown(kind, v)))
    section = b"" if header_only else f.section()
    for t in f.tensors:
        line = "tensor %s %s %s offset %d bytes %d" % (t.name, TYPES[t.type][0], "x".join(map(str, t.dims)) or "scalar",
                                                       t.offset, t.size())
        if not header_only:
            line += " crc %08x" % zlib.crc32(section[t.offset:t.offset + t.size()])
        out.append(line)
    return "\n".join(out) + "\n"


# ---- random content ---------------------------------------------------------------------------

def random_value(r, kind):
    if kind == STR:
        return "".join(r.choice("abcxyz 0189_é▁\n\0") for _ in range(r.randrange(12)))
    if kind == BOOL:
        return r.randrange(2)
    if kind in (F32, F64):
        v = r.choice([0.0, -0.0, 1.5, -1e30, 1e-40, float("inf"), r.uniform(-100, 100)])
        return struct.unpack("<f", struct.pack("<f", v))[0] if kind == F32 else v
    bits = 8 * struct.calcsize(CODE[kind])
    low, high = (0, 2**bits - 1) if CODE[kind].isupper() else (-2**(bits - 1), 2**(bits - 1) - 1)
    return r.choice([low, high, 0, r.randint(low, high)])


def random_kvs(seed, n):
    r = random.Random(seed)
    out = []
    for i in range(n):
        kind = r.randrange(13)
        if kind == ARR:
            elem = r.choice([k for k in range(13) if k != ARR])
            v = (elem, [random_value(r, elem) for _ in range(r.randrange(9))])
        else:
            v = random_value(r, kind)
        out.append(("my_key_%d" % i, kind, v))
    return out


def random_tensors(seed, n, types=None):
    r = random.Random(seed)
    types = types or sorted(TYPES)
    out = []
    for i in range(n):
        t = types[i] if n == len(types) else r.choice(types)
        dims = [TYPES[t][1] * r.randint(1, 3)] + [r.randint(1, 3) for _ in range(r.randrange(4))]
        out.append(Tensor("my_tensor_%d" % i, t, dims))
    return out


def align_key(v, kind=U32):
    return ("general.alignment", kind, v)


SMALL = [0, 1, 2, 24, 25, 26, 39]  # types of short blocks, for files whose data does not matter


def few(seed, n=4):
    return random_tensors(seed, n, SMALL)


# ---- the cases --------------------------------------------------------------------------------

VALID, INVALID = {}, {}


def valid(name, f, data=None, header_only=False):
    assert name not in VALID, name
    VALID[name] = (f.whole() if data is None else data, description(f, header_only))


def invalid(name, message, f=None, data=None):
    assert name not in INVALID, name
    INVALID[name] = (f.whole() if data is None else data, message)


def key_with(kind, raw):
    """A file with one key whose value is raw, and nothing after it."""
    return File([("my_key", kind, Raw(raw))])


def header_cases():
    kvs = random_kvs(1, 5)
    invalid("header-bad-magic", "not a GGUF file: it begins with 46 55 47 47", File(kvs, magic=b"FUGG"))
    for name, version in ("0", 0), ("1", 1), ("future", 4):
        invalid("header-bad-version-" + name, "version %d" % version, File(kvs, version=version))
    invalid("header-bad-n-tensors", "number of tensors is 18446744073709551615", File(kvs, n_tensors=MAX64))
    invalid("header-bad-n-kv", "number of keys is 18446744073709551615", File(kvs, n_kv=MAX64))
    valid("header-empty", File(), File().head() + bytes(8))
    valid("version-2", File(random_kvs(2, 20), few(2), version=2))

    whole = File(kvs).whole()
    for n in 0, 1, 3, 4, 7, 8, 23:
        invalid("t01-%d-bytes" % n, "empty" if n == 0 else "needs", data=whole[:n])
    invalid("t02-big-endian", "big-endian", data=b"GGUF" + struct.pack(">IQQ", 3, 0, 0))


def key_cases():
    for name in "kv-bad-align", "tensors-bad-align", "data-bad-align":
        f = File(random_kvs(3, 5) + [align_key(13)], [] if name[0] == "k" else few(3))
        invalid(name, "general.alignment is 13", data=f.padded() if name[0] == "t" else f.whole())
    invalid("kv-wrong-type-align", "general.alignment is i32", File([align_key(32, I32)]))
    invalid("kv-empty-key", "empty key", File([("", U32, 1)]))
    invalid("kv-bad-type", "value type 13", key_with(13, bytes(8)))
    invalid("kv-bad-type-element", "element type 13", key_with(ARR, struct.pack("<IQ", 13, 1) + bytes(8)))
    invalid("kv-duplicate-key", "my_key_0 is there already",
            File([("my_key_%d" % (i // 2), U32, i) for i in range(10)]))
    invalid("kv-bad-key-size", "a key of 18446744073709551615 bytes",
            data=File(n_kv=1).header() + struct.pack("<Q", MAX64) + bytes(64))
    invalid("kv-bad-value-size-string", "a string of 18446744073709551615 bytes", key_with(STR, struct.pack("<Q", MAX64) + bytes(64)))
    invalid("kv-bad-value-size-array", "18446744073709551615 values of u8", key_with(ARR, struct.pack("<IQ", U8, MAX64) + bytes(64)))
    invalid("kv-key-too-long", "65536 bytes, at most 65535", File([("k" * 65536, U8, 1)]))
    valid("kv-success", File(random_kvs(4, 100)))
    valid("kv-key-longest", File([("k" * 65535, U8, 1)]))

    for name, length in ("one-more", 9), ("2-63", 2**63), ("2-30", 2**30 + 1):
        invalid("t03-string-" + name, "a string of %d bytes" % length, key_with(STR, struct.pack("<Q", length) + bytes(8)))
    inner = struct.pack("<IQ", STR, 2) + string("ab") + struct.pack("<Q", 40) + bytes(8)
    invalid("t04-inner-string", "a string of 40 bytes", key_with(ARR, inner))
    valid("t05-empty-values", File([("a", ARR, (U8, [])), ("b", ARR, (STR, [])), ("c", STR, ""), ("d", ARR, (STR, ["", "x", ""]))]))
    nested = struct.pack("<IQ", ARR, 1) + struct.pack("<IQ", U8, 2) + b"\1\2"
    invalid("t06-nested-array", "array of arrays", key_with(ARR, nested))
    invalid("t07-count-wraps", "2305843009213693952 values of u64", key_with(ARR, struct.pack("<IQ", U64, 2**61) + bytes(64)))
    valid("t08-bool-2", File([("a", BOOL, 2), ("b", ARR, (BOOL, [0, 1, 2, 255]))]))
    for v in 0, 3, 2**31:
        invalid("t09-align-%d" % v, "general.alignment is %d" % v, File([align_key(v)]))
    valid("t09-align-1", File([align_key(1)], align=1))
    invalid("t17-nul-in-key", "holds a NUL", File([("my\0key", U32, 1)]))
    invalid("t21-architecture-not-string", "general.architecture is u32", File([("general.architecture", U32, 1)]))
    valid("t21-architecture-unknown", File([("general.architecture", STR, "no-such")]))
    tokens = [("tokenizer.ggml.tokens", ARR, (STR, ["a", "b", "c"])), ("tokenizer.ggml.scores", ARR, (F32, [0.0, 1.0]))]
    valid("t20-scores-short", File(tokens))


def tensor_cases():
    kvs = random_kvs(5, 3)
    valid("tensors-success", File(kvs, random_tensors(5, len(TYPES))), File(kvs, random_tensors(5, len(TYPES))).head(), True)
    valid("tensors-custom-align", File([align_key(1)], few(6), align=1))
    valid("tensors-zero-dim", File(kvs, [Tensor("my_tensor_%d" % i, TYPE_F32, [4, 0], 0) for i in range(4)]))
    invalid("tensors-bad-name-size", "tensor name of 64 bytes", File(kvs, [Tensor("t" * 64, TYPE_F32, [4])]))
    f = File(kvs, [Tensor("my_tensor", TYPE_F32, [4, 1, 1, 1, 1])])
    invalid("tensors-bad-n-dims", "5 dimensions", f)

    def shape(name, message, type_id, dims):
        f = File(kvs, [Tensor("my_tensor", type_id, dims, 0)])
        invalid(name, message, data=f.padded() + bytes(64))

    shape("tensors-bad-shape", "dimension 0 is -1", TYPE_F32, [-1, -1])
    shape("tensors-ne-too-big", "make 2^63 elements", TYPE_F32, [4 * (2**31 - 1)] * 2)
    shape("tensors-ne-too-big-with-zero", "make 2^63 elements", TYPE_F32, [2**62, 4, 0])
    shape("tensors-nbytes-too-big", "take 2^64 bytes", TYPE_I64, [2**32, 2**30])
    shape("tensors-bad-type", "type 43 is unknown", 43, [4])
    shape("tensors-negative-type", "is unknown", 2**32 - 1, [4])
    shape("t14-product", "make 2^63 elements", TYPE_F32, [2**62, 2])
    shape("t14-huge", "9223372036854775807 bytes at offset 0", TYPE_I8, [2**63 - 1])
    for t in 4, 5, 31, 32, 33, 36, 37, 38:
        shape("t10-type-%d" % t, "type %d is one that was removed" % t, t, [32])
    for n in 128, 255:
        shape("t11-q4-k-row-%d" % n, "rows of %d elements are not whole blocks of q4_K" % n, TYPE_Q4_K, [n, 2])

    def offset(name, message, offsets, align=32, size=16, extra=64):
        ts = [Tensor("my_tensor_%d" % i, TYPE_I8, [size], o) for i, o in enumerate(offsets)]
        f = File([align_key(align)], ts, align=align)
        invalid(name, message, data=f.padded() + bytes(extra))

    offset("tensors-bad-offset", "offset 18446744073709551615 is not a multiple", [MAX64])
    offset("tensors-bad-offset-unaligned", "wrap past 2^64", [MAX64], align=1)
    offset("t15-offset-not-aligned", "offset 16 is not a multiple", [0, 16])
    offset("t15-past-end-by-one", "16 bytes at offset 49", [49], align=1)
    offset("t15-overlap", "overlap", [0, 32], size=33, extra=96)
    offset("t15-overlap-out-of-order", "overlap", [32, 0], size=33, extra=96)
    offset("t15-same-offset", "overlap", [0, 0])
    offset("t15-offset-plus-size-wraps", "wrap past 2^64", [2**64 - 32], size=64)
    invalid("tensors-duplicate-name", "my_tensor is there already",
            File(kvs, [Tensor("my_tensor", TYPE_F32, [4]) for _ in range(3)]))
    for name in "tensors-inconsistent-align", "data-inconsistent-align":
        ts = [Tensor("my_tensor_%d" % i, TYPE_I8, [5], 5 * i) for i in range(4)]
        f = File(kvs, ts)
        invalid(name, "offset 5 is not a multiple of the alignment 32", data=f.padded() + (b"" if name[0] == "t" else f.section()))
    valid("t12-mxfp4-51-bytes", File(kvs, [Tensor("a", TYPE_MXFP4, [32, 3]), Tensor("b", TYPE_F32, [1])]))
    valid("t13-no-dims", File(kvs, [Tensor("a", TYPE_F32, []), Tensor("b", TYPE_F32, [2])]))
    invalid("t13-no-dims-blocks", "rows of 1 elements", data=File(kvs, [Tensor("a", TYPE_Q4_0, [], 0)]).padded() + bytes(64))
    invalid("t16-no-data-start", "the file ends before the data section", data=File(kvs, [Tensor("a", TYPE_F32, [1])]).head())
    invalid("t17-nul-in-name", "holds a NUL", File(kvs, [Tensor("my\0tensor", TYPE_F32, [1])]))
    invalid("tensors-empty-name", "empty tensor name", File(kvs, [Tensor("", TYPE_F32, [1])]))
    valid("t18-name-63", File(kvs, [Tensor("t" * 63, TYPE_F32, [4])]))


def data_cases():
    kvs = random_kvs(7, 3)
    f = File(kvs, random_tensors(7, len(TYPES)))
    valid("data-success", f)
    valid("data-extra-bytes", File(kvs, few(8)), File(kvs, few(8)).whole() + bytes(100))
    valid("data-custom-align", File([align_key(1)], few(9), align=1))
    valid("data-wide-align", File([align_key(4096)], few(10, 3), align=4096))
    valid("data-gaps", File(kvs, [Tensor("a", TYPE_F32, [4], 64), Tensor("b", TYPE_F32, [4], 256)]))
    valid("data-any-order", File(kvs, [Tensor("a", TYPE_F32, [4], 64), Tensor("b", TYPE_F32, [4], 0)]))
    f = File(kvs, [Tensor("a", TYPE_F32, [8]), Tensor("b", TYPE_F32, [3])])
    valid("data-no-last-padding", f, f.padded() + f.section()[:32 + 12])
    invalid("data-not-enough-data", "tensor b: 12 bytes at offset 32", data=f.padded() + f.section()[:32 + 11])
    ts = [Tensor("my_tensor_%d" % i, TYPE_I8, [0x7FFFFFFFFFFFFFC0], i * 0x7FFFFFFFFFFFFFC0) for i in range(2)]
    invalid("data-mem-size-overflow", "9223372036854775744 bytes at offset 0", data=File(kvs, ts).padded() + bytes(32))
    f16 = struct.pack("<4H", 0x7C00, 0xFC00, 0x7E01, 0x3C00)
    mxfp4 = b"\xff" + bytes(16)
    q4_0 = struct.pack("<H", 0x7E00) + bytes(range(16))
    valid("t22-not-finite", File(kvs, [Tensor("a", TYPE_F16, [4], data=f16), Tensor("b", TYPE_MXFP4, [32], data=mxfp4),
                                       Tensor("c", TYPE_Q4_0, [32], data=q4_0)]))


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[1] / "gguf")
    for build in header_cases, key_cases, tensor_cases, data_cases:
        build()
    for kind in "valid", "invalid":
        (root / kind).mkdir(parents=True, exist_ok=True)
        for old in (root / kind).iterdir():
            old.unlink()
    for name, (data, text) in VALID.items():
        (root / "valid" / (name + ".gguf")).write_bytes(data)
        (root / "valid" / (name + ".txt")).write_text(text)
    for name, (data, _) in INVALID.items():
        (root / "invalid" / (name + ".gguf")).write_bytes(data)
    rows = ["%s\t%s\n" % (name, INVALID[name][1]) for name in sorted(INVALID)]
    (root / "invalid" / "messages.tsv").write_text("".join(rows))
    print("%d valid, %d invalid" % (len(VALID), len(INVALID)))


if __name__ == "__main__":
    main()
