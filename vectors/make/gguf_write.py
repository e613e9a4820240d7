"""Writes GGUF files of version 3, little-endian: the containers of the golden vectors."""
import gzip
import struct

ALIGN = 32
U32, I32, F64, STRING, ARRAY = 4, 5, 12, 8, 9          # kinds of metadata values
TENSOR_F32, TENSOR_I32, TENSOR_F64 = 0, 26, 28         # tensor types
LAYOUT = {U32: "I", I32: "i", F64: "d"}
ELEMENT = {TENSOR_F32: "f", TENSOR_I32: "i", TENSOR_F64: "d"}


def _string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind, value):
    return _string(value) if kind == STRING else struct.pack("<" + LAYOUT[kind], value)


class Writer:
    """Collects metadata and tensors; bytes() is the file."""

    def __init__(self):
        self.keys, self.tensors = [], []

    def put(self, key, kind, value):
        self.keys.append(_string(key) + struct.pack("<I", kind) + _value(kind, value))

    def put_array(self, key, kind, values):
        self.keys.append(_string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) +
                         b"".join(_value(kind, v) for v in values))

    def tensor(self, name, kind, dims, values):
        """dims: innermost first; values: flat, in memory order."""
        count = 1
        for d in dims:
            count *= d
        if count != len(values):
            raise ValueError(f"{name}: {len(values)} values for dimensions {dims}")
        data = struct.pack(f"<{count}{ELEMENT[kind]}", *values)
        self.tensors.append((name, kind, dims, data))

    def bytes(self):
        out = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.keys))
        out += b"".join(self.keys)
        offset = 0
        for name, kind, dims, data in self.tensors:
            out += _string(name) + struct.pack(f"<I{len(dims)}Q", len(dims), *dims)
            out += struct.pack("<IQ", kind, offset)
            offset += -(-len(data) // ALIGN) * ALIGN
        out += bytes(-len(out) % ALIGN)
        return out + b"".join(d + bytes(-len(d) % ALIGN) for _, _, _, d in self.tensors)

    def save(self, path):
        """Compressed, with no time stamp: equal contents give equal files."""
        path.write_bytes(gzip.compress(self.bytes(), 9, mtime=0))
