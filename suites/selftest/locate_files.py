"""Traces for the tests of localisation: written by the code that suites/plugins/README.md shows, and
read from what Assay writes."""
import os
import re
import struct
import sys

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "..", "plugins", "README.md"), encoding="utf-8") as f:
    code = re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)
space = {}
exec(code, space)  # the text under test
write_trace = space["write_trace"]


def read_trace(path):
    """Tensors of f32 and the tokens of a file that Assay wrote."""
    data = open(path, "rb").read()
    at = 4
    tokens = []

    def take(fmt):
        nonlocal at
        values = struct.unpack_from("<" + fmt, data, at)
        at += struct.calcsize("<" + fmt)
        return values if len(values) > 1 else values[0]

    def text():
        nonlocal at
        n = take("Q")
        at += n
        return data[at - n:at].decode()

    _, n_tensors, n_keys = take("IQQ")
    for _ in range(n_keys):
        name, kind = text(), take("I")
        if kind == 8:
            text()
        elif kind == 4:
            take("I")
        elif kind == 9:
            _, n = take("IQ")
            tokens = list(take("%di" % n))
        else:
            sys.exit("key %s of kind %d" % (name, kind))
    rows = []
    for _ in range(n_tensors):
        name, n_dims = text(), take("I")
        dims = [take("Q") for _ in range(n_dims)]
        rows.append((name, dims, take("IQ")[1]))
    start = at + -at % 32
    out = {}
    for name, dims, offset in rows:
        n = 1
        for d in dims:
            n *= d
        out[name] = (dims, list(struct.unpack_from("<%df" % n, data, start + offset)))
    return out, tokens
