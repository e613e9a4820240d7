#!/usr/bin/env python3
"""Makes vectors/ops/OP.gguf.gz: operations of a forward pass on small exact inputs, from their
formulas with 60 digits, rounded once to binary64.

usage: ops.py [--check]

Each file holds cases: the key golden.cases lists their names, tensors CASE.x and so on hold inputs
(F32, I32: exactly what the formula was given) and results (F64), keys CASE.eps and so on the
parameters. --check makes everything again and exits 1 if a file holds something else.
Needs Python 3 with mpmath; nothing of Assay. The same contents on every run.
"""
import gzip
import struct
import sys
from fractions import Fraction
from pathlib import Path

import mpmath
from mpmath import mp, mpf

import cache
from gguf_write import F64, I32, STRING, TENSOR_F32, TENSOR_F64, TENSOR_I32, U32, Writer

OUT = Path(__file__).resolve().parent.parent / "ops"
SEED = 20261120
DIGITS = 60
mp.dps = DIGITS

POSITIONS = [0, 1, 2, 7, 63, 511, 4095, 32767, 131071]
INFINITY = float("inf")


def to_double(x):
    """The nearest binary64, ties to even; mpmath's own conversion may truncate."""
    if mpmath.isinf(x):
        return float(x)
    sign, man, exp, bits = mpf(x)._mpf_
    below = exp + bits < -1100  # far under the smallest subnormal
    near = 0.0 if below else float(Fraction(man) * Fraction(2) ** exp)
    return -near if sign else near


def to_f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


class Random:
    """splitmix64; all values are binary32 numbers by construction."""

    def __init__(self, label):
        self.state = SEED
        for byte in label.encode():
            self.state = (self.state * 257 + byte) % 2**64

    def bits(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        z = self.state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return (z ^ z >> 31) >> 64 - n

    def normal(self):
        """Nearly normal, variance 1: the sum of twelve uniform values, a multiple of 2^-16."""
        return (sum(self.bits(16) for _ in range(12)) - 6 * 65535) / 65536

    def uniform(self, low, high):
        return to_f32(low + (high - low) * self.bits(20) / 2**20)

    def normals(self, n, factor=1.0):
        return [to_f32(self.normal() * factor) for _ in range(n)]


class File:
    """The cases of one operation."""

    def __init__(self, op, formula):
        self.op, self.formula, self.names, self.parts = op, formula, [], []

    def case(self, name, parameters, tensors):
        """parameters: {key: (kind, value)}; tensors: {key: (dims, values)}, where Python floats
        are inputs, ints I32 inputs and mpf numbers results."""
        self.names.append(name)
        self.parts.append((name, parameters, tensors))

    def writer(self):
        w = Writer()
        w.put("general.type", STRING, "golden")
        w.put("golden.op", STRING, self.op)
        w.put("golden.how", STRING, self.formula)
        w.put("golden.tool", STRING, "mpmath")
        w.put("golden.version", STRING, mpmath.__version__)
        w.put("golden.digits", U32, DIGITS)
        w.put("golden.seed", U32, SEED)
        w.put_array("golden.cases", STRING, self.names)
        for name, parameters, tensors in self.parts:
            for key, (kind, value) in parameters.items():
                w.put(f"{name}.{key}", kind, value)
            for key, (dims, values) in tensors.items():
                first = values[0]
                if isinstance(first, int):
                    w.tensor(f"{name}.{key}", TENSOR_I32, dims, values)
                elif isinstance(first, float):
                    if any(v != to_f32(v) for v in values):
                        raise ValueError(f"{self.op} {name}.{key}: an input is not binary32")
                    w.tensor(f"{name}.{key}", TENSOR_F32, dims, values)
                else:
                    w.tensor(f"{name}.{key}", TENSOR_F64, dims, [to_double(v) for v in values])
        return w


# ---- norm ---------------------------------------------------------------------------------

def rms_norm_row(x, w, eps):
    x = [mpf(v) for v in x]
    r = 1 / mpmath.sqrt(mpmath.fsum(v * v for v in x) / len(x) + mpf(eps))
    return [v * r * mpf(g) for v, g in zip(x, w, strict=True)]


def make_rms_norm():
    f = File("rms_norm", "y = x / sqrt(mean(x^2) + eps) * w")

    def add(name, rows, n, eps, shape):
        r = Random("rms_norm " + name)
        x = [shape(r, row, i) for row in range(rows) for i in range(n)]
        w = [r.uniform(0.25, 2) * (-1 if r.bits(3) == 0 else 1) for _ in range(n)]
        y = [v for row in range(rows) for v in rms_norm_row(x[row * n:row * n + n], w, eps)]
        f.case(name, {"eps": (F64, eps)}, {"x": ([n, rows], x), "w": ([n], w), "y": ([n, rows], y)})

    def plain(r, row, i):
        return r.normal()

    eps5, eps6 = to_f32(1e-5), to_f32(1e-6)
    for n in (1, 2, 5, 31, 32, 33, 127, 257, 1000):
        add(f"n{n}", 2 if n < 500 else 1, n, eps5, plain)
    add("eps-1e-6", 2, 96, eps6, plain)
    add("eps-0", 2, 96, 0.0, plain)
    add("eps-0.01", 2, 96, to_f32(0.01), lambda r, row, i: to_f32(r.normal() * 0.05))
    add("same-sign", 2, 300, eps5, lambda r, row, i: abs(r.normal()) + 0.5)
    add("outlier", 2, 257, eps5, lambda r, row, i: r.normal() * (1000 if i == 100 + row else 1))
    add("small", 2, 257, eps6, lambda r, row, i: to_f32(r.normal() * 1e-4))
    add("tiny", 2, 64, eps5, lambda r, row, i: to_f32(r.normal() * 1e-38))
    add("huge", 2, 64, eps5, lambda r, row, i: to_f32(r.normal() * 1e18))
    add("zero", 3, 40, eps5, lambda r, row, i: r.normal() if row == 1 else 0.0)
    return f


def layer_norm_row(x, w, b, eps):
    """Results, and what their errors start from: the sums that the mean and the root are made of."""
    x, n = [mpf(v) for v in x], len(x)
    mean, mean_abs = mpmath.fsum(x) / n, mpmath.fsum(abs(v) for v in x) / n
    z = [v - mean for v in x]
    r = 1 / mpmath.sqrt(mpmath.fsum(v * v for v in z) / n + mpf(eps))
    cross = mpmath.fsum(abs(a * v) for a, v in zip(z, x, strict=True)) / n
    y = [v * r * mpf(g) + mpf(c) for v, g, c in zip(z, w, b, strict=True)]
    mag = [r * abs(mpf(g)) * (abs(v) + mean_abs + abs(a) * r * r * cross) + abs(mpf(c))
           for a, v, g, c in zip(z, x, w, b, strict=True)]
    return y, mag


def make_layer_norm():
    f = File("layer_norm", "y = (x - mean) / sqrt(var + eps) * w + b, var = mean((x - mean)^2); mag = "
                           "r |w| (|x| + mean|x| + |x - mean| r^2 mean(|x - mean| |x|)) + |b|, r = "
                           "1 / sqrt(var + eps)")

    def add(name, rows, n, eps, shape, bias=True):
        r = Random("layer_norm " + name)
        x = [shape(r, row, i) for row in range(rows) for i in range(n)]
        w = [r.uniform(0.25, 2) * (-1 if r.bits(3) == 0 else 1) for _ in range(n)]
        b = r.normals(n)
        y, mag = [], []
        for row in range(rows):
            got = layer_norm_row(x[row * n:row * n + n], w, b if bias else [0.0] * n, eps)
            y += got[0]
            mag += got[1]
        tensors = {"x": ([n, rows], x), "w": ([n], w), "y": ([n, rows], y), "mag": ([n, rows], mag)}
        if bias:
            tensors["b"] = ([n], b)
        f.case(name, {"eps": (F64, eps)}, tensors)

    def plain(r, row, i):
        return r.normal()

    eps5, eps6 = to_f32(1e-5), to_f32(1e-6)
    for n in (1, 2, 5, 31, 32, 33, 127, 257, 1000):
        add(f"n{n}", 2 if n < 500 else 1, n, eps5, plain, bias=n % 3 != 2)
    add("no-bias", 2, 96, eps5, plain, bias=False)
    add("eps-1e-6", 2, 96, eps6, plain)
    add("eps-0.01", 2, 96, to_f32(0.01), lambda r, row, i: to_f32(r.normal() * 0.05))
    add("offset", 2, 300, eps5, lambda r, row, i: to_f32(300 + r.normal()))
    add("constant", 3, 40, eps5, lambda r, row, i: (0.0, 2.5, -1e4)[row])
    add("outlier", 2, 257, eps5, lambda r, row, i: r.normal() * (1000 if i == 100 + row else 1))
    add("small", 2, 257, eps6, lambda r, row, i: to_f32(r.normal() * 1e-4))
    add("huge", 2, 64, eps5, lambda r, row, i: to_f32(r.normal() * 1e18))
    return f


# ---- rope ---------------------------------------------------------------------------------

def yarn_bound(n_dims, base, context, turns):
    """The pair, as a real number, that turns so many times over the original context."""
    return (n_dims * mpmath.log(mpf(context) / (mpf(turns) * 2 * mpmath.pi)) /
            (2 * mpmath.log(mpf(base))))


def yarn_mix(p, n_dims, base, context, fast, slow, ext):
    """The share of pair p that is extrapolated."""
    low, high = (yarn_bound(n_dims, base, context, t) for t in (fast, slow))
    if any(abs(v - mpmath.nint(v)) < mpf(10) ** -9 for v in (low, high)):
        raise ValueError("a bound so near an integer decides nothing in binary64")
    low = max(mpf(0), mpmath.floor(low))
    high = min(mpf(n_dims - 1), mpmath.ceil(high))
    ramp = (p - low) / max(mpf("0.001"), high - low)
    return (1 - min(mpf(1), max(mpf(0), ramp))) * mpf(ext)


def llama3_factors(n_dims, base, factor, context=8192, low=1, high=4):
    """Divisors of the frequencies as Llama 3.1 makes them, rounded to binary32."""
    out = []
    for p in range(n_dims // 2):
        wave = 2 * mpmath.pi * mpf(base) ** (mpf(2 * p) / n_dims)
        if wave < mpf(context) / high:
            out.append(1.0)
        elif wave > mpf(context) / low:
            out.append(float(factor))
        else:
            t = (context / wave - low) / (high - low)
            out.append(to_f32(to_double(1 / ((1 - t) / factor + t))))
    return out


class Rope:
    """One way of rotating; scale = 1 / factor, a binary64 number that is taken as it is."""

    def __init__(self, pairing, d, n_dims=None, heads=1, base=1e4, scale=1.0, ext=0.0, attn=1.0,
                 context=4096, fast=32.0, slow=1.0, factors=None, positions=None):
        self.pairing, self.d, self.n_dims, self.heads = pairing, d, n_dims or d, heads
        self.base, self.scale, self.ext, self.attn = base, scale, ext, attn
        self.context, self.fast, self.slow, self.factors = context, fast, slow, factors
        self.positions = positions or POSITIONS

    def magnitude(self):
        """What the reference is given: a binary64 number, which the results below start from."""
        m = mpf(self.attn)
        if self.ext:
            m *= 1 + mpf("0.1") * mpmath.log(1 / mpf(self.scale))
        return to_double(m)

    def theta(self, pos, p):
        te = mpf(pos) * mpf(self.base) ** (mpf(-2 * p) / self.n_dims)
        if self.factors:
            te /= mpf(self.factors[p])
        ti = mpf(self.scale) * te
        if not self.ext:
            return ti
        mix = yarn_mix(p, self.n_dims, self.base, self.context, self.fast, self.slow, self.ext)
        return ti * (1 - mix) + te * mix

    def pair(self, p):
        return (2 * p, 2 * p + 1) if self.pairing == "norm" else (p, p + self.n_dims // 2)


def rotate(rope, x, theta):
    """x (tokens, heads, d), theta (tokens, n_dims / 2): results and sums of magnitudes."""
    m, half = mpf(rope.magnitude()), rope.n_dims // 2
    y, mag = [mpf(v) for v in x], [abs(mpf(v)) for v in x]
    for t in range(len(rope.positions)):
        for p in range(half):
            c, s = mpmath.cos(theta[t * half + p]) * m, mpmath.sin(theta[t * half + p]) * m
            for h in range(rope.heads):
                a, b = ((t * rope.heads + h) * rope.d + i for i in rope.pair(p))
                va, vb = mpf(x[a]), mpf(x[b])
                y[a], y[b] = va * c - vb * s, va * s + vb * c
                mag[a], mag[b] = abs(va * c) + abs(vb * s), abs(va * s) + abs(vb * c)
    return y, mag


def add_rope(f, name, rope):
    r = Random("rope " + name)
    tokens, half, m = len(rope.positions), rope.n_dims // 2, mpf(rope.magnitude())
    x = r.normals(tokens * rope.heads * rope.d)
    theta = [rope.theta(pos, p) for pos in rope.positions for p in range(half)]
    y, mag = rotate(rope, x, theta)
    dims = [rope.d, rope.heads, tokens]
    tensors = {"pos": ([tokens], rope.positions), "x": (dims, x), "theta": ([half, tokens], theta),
               "cos": ([half, tokens], [mpmath.cos(v) * m for v in theta]),
               "sin": ([half, tokens], [mpmath.sin(v) * m for v in theta]),
               "y": (dims, y), "mag": (dims, mag)}
    if rope.factors:
        tensors["factors"] = ([half], rope.factors)
    f.case(name, {"pairing": (STRING, rope.pairing), "n_dims": (U32, rope.n_dims),
                  "freq_base": (F64, rope.base), "freq_scale": (F64, rope.scale),
                  "ext_factor": (F64, rope.ext), "attn_factor": (F64, rope.attn),
                  "beta_fast": (F64, rope.fast), "beta_slow": (F64, rope.slow),
                  "n_ctx_orig": (U32, rope.context), "magnitude": (F64, rope.magnitude())}, tensors)


def make_rope():
    f = File("rope", "pairs of the first n_dims of a head turned by pos * base^(-2p/n_dims), with "
                     "linear scaling, YaRN (arXiv 2309.00071) and divisors of the frequencies; cos "
                     "and sin times magnitude; mag = |a cos| + |b sin|")
    for base, name in ((1e4, "1e4"), (1.5e5, "1.5e5"), (5e5, "5e5")):
        for pairing in ("norm", "neox"):
            add_rope(f, f"{pairing}-base-{name}", Rope(pairing, 32, base=base))
    add_rope(f, "norm-head-128", Rope("norm", 128, base=5e5, positions=[0, 1, 4095, 131071]))
    add_rope(f, "neox-head-4", Rope("neox", 4, positions=[0, 1, 2, 7]))
    add_rope(f, "norm-heads", Rope("norm", 16, heads=3, positions=[5, 5, 0, 131071]))
    add_rope(f, "neox-heads", Rope("neox", 16, heads=3, positions=[63, 1, 0, 32767]))
    add_rope(f, "norm-partial", Rope("norm", 32, n_dims=12))
    add_rope(f, "neox-partial", Rope("neox", 40, n_dims=16))
    add_rope(f, "norm-linear-4", Rope("norm", 32, scale=0.25))
    add_rope(f, "neox-linear-10", Rope("neox", 32, scale=0.1, base=1e6))
    add_rope(f, "norm-yarn-4", Rope("norm", 32, scale=0.25, ext=1.0, context=8192))
    add_rope(f, "neox-yarn-32", Rope("neox", 64, scale=1 / 32, ext=1.0, base=1.5e5,
                                     positions=[0, 1, 7, 511, 32767, 131071]))
    add_rope(f, "neox-yarn-40-partial", Rope("neox", 48, n_dims=32, scale=1 / 40, ext=1.0))
    add_rope(f, "norm-yarn-half", Rope("norm", 32, scale=0.125, ext=0.5, attn=0.75))
    add_rope(f, "norm-yarn-betas", Rope("norm", 32, scale=0.25, ext=1.0, fast=20.0, slow=3.0))
    # A context so short that both bounds are 0: the ramp's width is its guard, 0.001.
    add_rope(f, "norm-yarn-short", Rope("norm", 32, scale=0.5, ext=1.0, context=5))
    add_rope(f, "norm-magnitude", Rope("norm", 32, attn=1.25))
    for factor in (8, 32):
        factors = llama3_factors(64, 5e5, factor)
        add_rope(f, f"norm-llama3-{factor}", Rope("norm", 64, base=5e5, factors=factors,
                                                  positions=[0, 1, 7, 511, 32767, 131071]))
    factors = [to_f32(1 + 0.37 * p) for p in range(16)]
    add_rope(f, "neox-factors-linear-4", Rope("neox", 32, scale=0.25, factors=factors))
    add_rope(f, "neox-factors-yarn-4", Rope("neox", 32, scale=0.25, ext=1.0, factors=factors))
    return f


# ---- softmax ------------------------------------------------------------------------------

def softmax_row(x):
    """-inf gives 0; a row of -inf only gives zeros."""
    seen = [mpf(v) for v in x if v != -INFINITY]
    if not seen:
        return [mpf(0)] * len(x)
    top = max(seen)
    total = mpmath.fsum(mpmath.exp(v - top) for v in seen)
    return [mpf(0) if v == -INFINITY else mpmath.exp(mpf(v) - top) / total for v in x]


def make_softmax():
    f = File("softmax", "y = exp(x - max) / sum exp(x - max) by rows; a row of -inf gives zeros")

    def add(name, rows):
        n = len(rows[0])
        x = [v for row in rows for v in row]
        y = [v for row in rows for v in softmax_row(row)]
        f.case(name, {}, {"x": ([n, len(rows)], x), "y": ([n, len(rows)], y)})

    r = Random("softmax")
    for n in (1, 2, 31, 33, 65, 257, 1000):
        add(f"n{n}", [r.normals(n, 3) for _ in range(2 if n < 500 else 1)])
    add("hidden", [[-INFINITY] * 37])
    add("one-finite", [[-INFINITY] * 20 + [v] + [-INFINITY] * 12 for v in (0.0, -1e4, 65504.0)])
    add("equal", [[v] * 33 for v in (0.0, -0.0, 1.0, -1e4, 1e4)])
    add("huge", [[1e4 if r.bits(1) else -1e4 for _ in range(33)] for _ in range(2)])
    add("masked", [[v if i <= k else -INFINITY for i, v in enumerate(r.normals(48, 4))]
                   for k in (0, 1, 15, 16, 31, 46, 47)])
    add("spread", [[to_f32(-0.37 * i * i) for i in range(48)], r.normals(48, 100)])
    add("outlier", [[30.0 if i == 17 else v for i, v in enumerate(r.normals(65))]])
    add("close", [[to_f32(10000 + r.bits(4) / 1024) for _ in range(33)]])
    return f


def make_softmax_sinks():
    f = File("softmax_sinks", "row r has one more score, sinks[r], in the maximum and in the sum, not "
                              "in y; y = exp(x - max) / sum by rows")

    def add(name, rows, sinks):
        n = len(rows[0])
        x = [v for row in rows for v in row]
        y = [v for row, sink in zip(rows, sinks, strict=True) for v in softmax_row(row + [sink])[:n]]
        f.case(name, {}, {"x": ([n, len(rows)], x), "sinks": ([len(rows)], list(sinks)),
                          "y": ([n, len(rows)], y)})

    r = Random("softmax_sinks")
    for n in (1, 2, 33, 257):
        add(f"n{n}", [r.normals(n, 3) for _ in range(2)], r.normals(2, 3))
    add("above", [r.normals(33) for _ in range(2)], [20.0, 300.0])
    add("below", [r.normals(33) for _ in range(2)], [-20.0, -300.0])
    add("hidden", [[-INFINITY] * 37, [-INFINITY] * 36 + [1.5]], [0.5, 1.0])
    add("equal", [[0.25] * 33 for _ in range(3)], [0.25, 1.25, -2.0])
    return f


# ---- element by element -------------------------------------------------------------------

def silu(x):
    return mpf(x) / (1 + mpmath.exp(-mpf(x)))


def gelu(x):
    """0.5 x (1 + tanh z), written as x / (1 + exp(-2z)): the same number, without a difference
    that would need more digits."""
    x = mpf(x)
    z = mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3)
    return x / (1 + mpmath.exp(-2 * z))


def gelu_erf(x):
    """0.5 x (1 + erf(x / sqrt 2)), by the function that has no difference in it."""
    x = mpf(x)
    return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-mpf(x)))


def clamped_swiglu(gate, up):
    g, u = min(mpf(gate), mpf(7)), max(mpf(-7), min(mpf(up), mpf(7)))
    return g / (1 + mpmath.exp(-mpf("1.702") * g)) * (u + 1)


def values(label):
    edges = [0.0, -0.0] + [to_f32(s * v) for v in (
        1.5e-45, 1.2e-38, 1e-20, 1e-8, 1e-4, 2.0**-11, 0.125, 0.5, 0.75, 1.0, 1.25, 2.0, 3.0, 4.0, 5.0,
        6.0, 8.0, 9.5, 10.0, 16.0, 20.0, 50.0, 88.0, 88.75, 100.0, 104.0, 700.0, 750.0, 1000.0, 65504.0,
        1e10) for s in (1, -1)]
    r = Random(label)
    return {"edges": edges, "grid": [i / 8 - 12 for i in range(193)],
            "normal": r.normals(200), "wide": r.normals(200, 20)}


def make_unary(op, formula, fn):
    f = File(op, formula)
    for name, x in values(op).items():
        f.case(name, {}, {"x": ([len(x)], x), "y": ([len(x)], [fn(v) for v in x])})
    return f


def make_gated(op, formula, fn):
    f = File(op, formula)
    for name, a in values(op).items():
        r = Random(op + " b " + name)
        b = [v if v else 1.0 for v in r.normals(len(a), 2)]
        y = [fn(v) * mpf(g) for v, g in zip(a, b, strict=True)]
        f.case(name, {}, {"a": ([len(a)], a), "b": ([len(a)], b), "y": ([len(a)], y)})
    return f


def make_softcap():
    f = File("softcap", "factor tanh(x / factor)")
    for factor in (30.0, 50.0, 0.75):
        for name, x in values(f"softcap {factor}").items():
            y = [mpf(factor) * mpmath.tanh(mpf(v) / mpf(factor)) for v in x]
            f.case(f"{name}-{factor:g}", {"factor": (F64, factor)}, {"x": ([len(x)], x),
                                                                     "y": ([len(x)], y)})
    return f


def make_swiglu_oai():
    f = File("swiglu_oai", "g / (1 + exp(-1.702 g)) (u + 1), g = min(a, 7), u = clamp(b, -7, 7)")
    for name, a in values("swiglu_oai").items():
        r = Random("swiglu_oai b " + name)
        b = [(7.0, -7.0, -1.0, 0.0)[i] if i < 4 else v for i, v in enumerate(r.normals(len(a), 4))]
        y = [clamped_swiglu(g, u) for g, u in zip(a, b, strict=True)]
        f.case(name, {}, {"a": ([len(a)], a), "b": ([len(a)], b), "y": ([len(a)], y)})
    return f


# ---- expert choice ------------------------------------------------------------------------

SOFTMAX, SIGMOID, CHOSEN = 1, 2, 3
NEAR = mpf(10) ** -9  # values nearer than this, but not equal, decide nothing in binary64


def best_of(values, allowed, n):
    """Indices of the n largest, the lowest index among equals."""
    return sorted(allowed, key=lambda i: (-values[i], i))[:n]


def surely(values, chosen, refused):
    """Whether rounding in binary64 leaves the choice alone."""
    return all(values[a] == values[b] or abs(values[a] - values[b]) > NEAR * abs(values[a])
               for a in chosen for b in refused)


class Route:
    def __init__(self, gating, experts, used, groups=1, groups_used=1, normalise=False, scale=1.0):
        self.gating, self.experts, self.used = gating, experts, used
        self.groups, self.groups_used = groups, groups_used
        self.normalise, self.scale = normalise, scale


def route_row(a, logits, bias):
    """ids and weights, by descending weight."""
    x = [mpf(v) for v in logits]
    p = {SOFTMAX: lambda: softmax_row(x), SIGMOID: lambda: [sigmoid(v) for v in x],
         CHOSEN: lambda: x}[a.gating]()
    select = [v + mpf(c) for v, c in zip(p, bias, strict=True)]
    allowed = list(range(a.experts))
    if a.groups > 1:
        size = a.experts // a.groups
        members = [allowed[g * size:g * size + size] for g in range(a.groups)]
        scores = [sum(sorted((select[i] for i in m), reverse=True)[:2]) for m in members]
        kept = best_of(scores, range(a.groups), a.groups_used)
        if not surely(scores, kept, set(range(a.groups)) - set(kept)):
            raise ValueError("groups too near to each other")
        allowed = [i for g in sorted(kept) for i in members[g]]
    ids = best_of(select, allowed, a.used)
    if not surely(select, ids, set(allowed) - set(ids)):
        raise ValueError("experts too near to each other")
    w = [p[i] for i in ids]
    if a.gating == CHOSEN:
        w = softmax_row(w)
    if a.normalise:
        total = max(mpmath.fsum(w), mpf(2) ** -14)
        w = [v / total for v in w]
    order = sorted(range(a.used), key=lambda i: (-w[i], ids[i]))
    if not all(surely(w, [i], [j]) for i, j in zip(order, order[1:])):
        raise ValueError("weights too near to each other")
    return [ids[i] for i in order], [w[i] * mpf(a.scale) for i in order]


def add_route(f, name, a, tokens, shape, bias=None):
    r = Random("route " + name)
    logits = [shape(r) for _ in range(tokens * a.experts)]
    shift = [bias(r) for _ in range(a.experts)] if bias else [0.0] * a.experts
    ids, weights = [], []
    for t in range(tokens):
        got = route_row(a, logits[t * a.experts:][:a.experts], shift)
        ids += got[0]
        weights += got[1]
    tensors = {"logits": ([a.experts, tokens], logits), "ids": ([a.used, tokens], ids),
               "weights": ([a.used, tokens], weights)}
    if bias:
        tensors["bias"] = ([a.experts], shift)
    f.case(name, {"gating": (U32, a.gating), "groups": (U32, a.groups),
                  "groups_used": (U32, a.groups_used), "normalise": (U32, int(a.normalise)),
                  "scale": (F64, a.scale)}, tensors)


def make_route():
    f = File("route", "p = softmax(logits), sigmoid(logits), or the logits (gating 1, 2, 3); of the "
                      "groups_used groups with the largest sums of their two best p + bias, the experts "
                      "with the largest p + bias; weights p, or softmax of the chosen logits; over "
                      "max(sum, 2^-14) if normalised; times scale; by descending weight, lower ids first")

    def plain(r):
        return to_f32(r.normal() * 2)

    def level(r):
        return float(r.bits(2))

    def half(r):
        return r.bits(2) / 2

    add_route(f, "softmax", Route(SOFTMAX, 60, 4), 4, plain)
    add_route(f, "softmax-normalised", Route(SOFTMAX, 128, 8, normalise=True), 3, plain)
    add_route(f, "softmax-groups", Route(SOFTMAX, 160, 6, 8, 3, scale=16.0), 3, plain)
    add_route(f, "softmax-ties", Route(SOFTMAX, 16, 5, normalise=True), 6, level)
    add_route(f, "softmax-all", Route(SOFTMAX, 7, 7, normalise=True), 3, plain)
    add_route(f, "softmax-one", Route(SOFTMAX, 1, 1, scale=2.5), 2, plain)
    add_route(f, "sigmoid", Route(SIGMOID, 33, 5), 4, plain)
    add_route(f, "sigmoid-bias", Route(SIGMOID, 64, 6, normalise=True), 4, plain,
              lambda r: to_f32(r.normal() * 0.3))
    add_route(f, "sigmoid-groups", Route(SIGMOID, 256, 8, 8, 4, normalise=True, scale=2.5), 3, plain,
              lambda r: to_f32(r.normal() * 0.3))
    add_route(f, "sigmoid-least-sum", Route(SIGMOID, 12, 2, normalise=True), 4,
              lambda r: to_f32(r.normal() - 13))
    add_route(f, "sigmoid-small-groups", Route(SIGMOID, 6, 2, 6, 3, normalise=True), 4, plain)
    add_route(f, "chosen", Route(CHOSEN, 32, 4), 4, plain)
    add_route(f, "chosen-ties", Route(CHOSEN, 20, 6), 6, level)
    add_route(f, "chosen-bias-ties", Route(CHOSEN, 20, 6), 6, level, half)
    add_route(f, "chosen-groups", Route(CHOSEN, 24, 5, 6, 2, normalise=True, scale=0.5), 6, level)
    return f


# ---- attention ----------------------------------------------------------------------------

class Attention:
    """first: of each query the least position it sees; window: how many it sees at most (0: all)."""

    def __init__(self, heads, kv_heads, d, pos, cells, scale=None, spread=1.0, dv=None, first=None,
                 window=0, cap=0.0, sinks=None):
        self.heads, self.kv_heads, self.d, self.dv = heads, kv_heads, d, dv or d
        self.pos, self.cells, self.spread = pos, cells, spread
        self.scale = to_f32(d**-0.5) if scale is None else scale
        self.first, self.window = first or [0] * len(pos), window
        self.cap, self.sinks = cap, sinks

    def sees(self, t, cell):
        pos = self.pos[t]
        return self.first[t] <= cell <= pos and (self.window == 0 or pos - cell < self.window)

    def score(self, z):
        return mpf(self.cap) * mpmath.tanh(z / mpf(self.cap)) if self.cap else z


def attend(a, q, k, v):
    """Results by name; rows are heads of tokens, hidden cells have score -inf and weight 0."""
    r = {key: [] for key in ("scores", "mag_scores", "weights", "out", "mag")}
    scale = mpf(a.scale)
    for t in range(len(a.pos)):
        for h in range(a.heads):
            g = h // (a.heads // a.kv_heads)
            row = q[(t * a.heads + h) * a.d:][:a.d]
            at = [(c * a.kv_heads + g) * a.d for c in range(len(a.cells))]
            at_v = [(c * a.kv_heads + g) * a.dv for c in range(len(a.cells))]
            terms = [[mpf(x) * mpf(y) * scale for x, y in zip(row, k[i:i + a.d], strict=True)]
                     for i in at]
            sees = [a.sees(t, cell) for cell in a.cells]
            scores = [a.score(mpmath.fsum(z)) if s else mpf("-inf") for z, s in zip(terms, sees)]
            mags = [mpmath.fsum(abs(x) for x in z) if s else mpf(0) for z, s in zip(terms, sees)]
            weights = softmax_row(scores + [a.sinks[h]] if a.sinks else scores)[:len(scores)]
            r["scores"] += scores
            r["mag_scores"] += mags
            r["weights"] += weights
            for i in range(a.dv):
                parts = [w * mpf(v[c + i]) for w, c in zip(weights, at_v)]
                r["out"].append(mpmath.fsum(parts))
                r["mag"].append(mpmath.fsum(abs(x) for x in parts))
    return r


def add_attention(f, name, a):
    r = Random("attention " + name)
    tokens, cells = len(a.pos), len(a.cells)
    q = r.normals(tokens * a.heads * a.d, a.spread)
    k, v = (r.normals(cells * a.kv_heads * d) for d in (a.d, a.dv))
    row, grid = [a.dv, a.heads, tokens], [cells, a.heads, tokens]
    res = attend(a, q, k, v)
    f.case(name, {"scale": (F64, a.scale)},
           {"q": ([a.d, a.heads, tokens], q), "k": ([a.d, a.kv_heads, cells], k),
            "v": ([a.dv, a.kv_heads, cells], v), "pos": ([tokens], a.pos),
            "cell_pos": ([cells], a.cells), "scores": (grid, res["scores"]),
            "mag_scores": (grid, res["mag_scores"]), "weights": (grid, res["weights"]),
            "out": (row, res["out"]), "mag": (row, res["mag"])})
    return f.parts[-1]


def make_attention():
    f = File("attention", "scores = scale q k over cells with 0 <= cell_pos <= pos, weights = "
                          "softmax, out = weights v; head h reads kv head h / (heads / kv heads); "
                          "mag_scores, mag: sums of the terms' magnitudes")
    add_attention(f, "single", Attention(1, 1, 8, [0], [0]))
    add_attention(f, "mha", Attention(2, 2, 8, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]))
    add_attention(f, "gqa-2", Attention(4, 2, 8, [3, 4], list(range(5))))
    add_attention(f, "gqa-4", Attention(8, 2, 8, [6], list(range(7))))
    add_attention(f, "gqa-7", Attention(7, 1, 8, [2, 3], list(range(4))))
    add_attention(f, "gqa-3-of-6", Attention(6, 2, 4, [0, 5], list(range(6))))
    add_attention(f, "head-80", Attention(2, 1, 80, [8], list(range(9))))
    add_attention(f, "past", Attention(2, 1, 16, [33, 34, 35], list(range(36))))
    add_attention(f, "holes", Attention(2, 2, 8, [5, 9], [-1, 0, 2, -1, 3, 5, 9, -1, 7]))
    add_attention(f, "any-order", Attention(2, 1, 8, [4, 1, 6], [6, 3, 0, 5, 1, 2, 4]))
    add_attention(f, "nothing", Attention(2, 1, 8, [0, 3], [1, 2, 3, -1]))
    add_attention(f, "sharp", Attention(2, 1, 16, [11], list(range(12)), spread=60.0))
    add_attention(f, "flat", Attention(2, 1, 16, [11], list(range(12)), spread=2.0**-20))
    add_attention(f, "scale-1", Attention(2, 1, 16, [6, 7], list(range(8)), scale=1.0))
    return f


def add_masked(f, name, a):
    _, parameters, tensors = add_attention(f, name, a)
    parameters["window"] = (U32, a.window)
    parameters["cap"] = (F64, a.cap)
    tensors["first"] = ([len(a.pos)], a.first)
    if a.sinks:
        tensors["sinks"] = ([a.heads], a.sinks)


def make_attention_masked():
    f = File("attention_masked", "as attention, over cells with first <= cell_pos <= pos and pos - "
                                 "cell_pos < window (0: none); cap tanh(score / cap) in place of scores "
                                 "unless cap is 0 (mag_scores before it); a head's sink is one more "
                                 "score whose weight goes nowhere")
    ring = [16, 17, 18, 19, 20, 9, 10, 11, 12, 13, 14, 15]
    add_masked(f, "window-1", Attention(2, 1, 8, [3, 4], list(range(5)), window=1))
    add_masked(f, "window-4", Attention(2, 1, 8, [3, 4, 9], list(range(10)), window=4))
    add_masked(f, "window-wider", Attention(2, 1, 8, [3, 9], list(range(10)), window=11))
    add_masked(f, "first", Attention(2, 1, 8, [3, 6, 9], list(range(10)), first=[0, 4, 7]))
    add_masked(f, "first-and-window", Attention(2, 1, 8, [3, 6, 9], list(range(10)), first=[2, 4, 0],
                                                window=3))
    add_masked(f, "ring", Attention(4, 2, 8, [19, 20], ring, window=8))
    add_masked(f, "cap", Attention(2, 1, 16, [8, 9], list(range(10)), cap=2.0, spread=3.0))
    add_masked(f, "cap-50", Attention(2, 1, 16, [9], list(range(10)), cap=50.0, spread=60.0))
    add_masked(f, "sinks", Attention(4, 2, 8, [8, 9], list(range(10)), sinks=[0.5, 6.0, -3.0, 1.25]))
    add_masked(f, "sink-alone", Attention(2, 1, 8, [0, 5], [1, 2, 3, -1], sinks=[0.5, 0.25]))
    add_masked(f, "narrow-values", Attention(2, 2, 24, [5, 6], list(range(7)), dv=16))
    add_masked(f, "wide-values", Attention(4, 1, 8, [5, 6], list(range(7)), dv=20))
    add_masked(f, "all", Attention(6, 3, 16, [19, 20], ring, dv=8, window=8, cap=5.0, first=[13, 11],
                                   sinks=[0.5, 2.0, -1.0, 0.0, 1.0, -2.5], spread=4.0))
    return f


# ---- cache --------------------------------------------------------------------------------

def cache_blocks(name, steps):
    """Blocks by what they are like; steps: of the largest magnitude."""
    r = Random("cache " + name)
    halves = [to_f32((r.bits(10) % int(4 * steps + 1) / 2 - steps) / 32) for _ in range(2 * cache.BLOCK)]
    halves[3] = halves[cache.BLOCK + 5] = -steps / 32
    halves[17] = halves[cache.BLOCK + 18] = (steps if steps == 15.5 else steps - 1) / 32
    equals = r.normals(cache.BLOCK)
    equals[7], equals[20] = 6.5, -6.5
    hot = [0.0] * cache.BLOCK
    hot[11] = -1.75
    return {"normal": r.normals(4 * cache.BLOCK), "wide": r.normals(2 * cache.BLOCK, 700.0),
            "small": r.normals(2 * cache.BLOCK, 2e-6), "tiny": r.normals(cache.BLOCK, 1e-39),
            "large": r.normals(cache.BLOCK, 1e9), "halves": halves, "equals": equals,
            "equals-other-sign": [-v for v in equals], "one-hot": hot, "zero": [0.0] * cache.BLOCK,
            "constant": [0.7265625] * cache.BLOCK,
            "offset": [to_f32(100 + v) for v in r.normals(2 * cache.BLOCK)]}


def make_cache():
    f = File("cache", "rows of a KV cache in binary32 with every operation rounded to nearest even; the "
                      "rules are in reference/ref.h")
    for name, encode, steps in (("f16", cache.encode_f16, 127), ("bf16", cache.encode_bf16, 127),
                                ("q8_0", cache.encode_q8_0, 127), ("q4_0", cache.encode_q4_0, 8),
                                ("q5_1", cache.encode_q5_1, 15.5), ("iq4_nl", cache.encode_iq4_nl, 127)):
        for kind, x in cache_blocks(name, steps).items():
            out = [b for i in range(0, len(x), cache.BLOCK) for b in encode(x[i:i + cache.BLOCK])]
            f.case(f"{name}-{kind}", {"type": (STRING, name)}, {"x": ([len(x)], x),
                                                               "bytes": ([len(out)], out)})
    return f


def files():
    yield make_rms_norm()
    yield make_layer_norm()
    yield make_rope()
    yield make_softmax()
    yield make_softmax_sinks()
    yield make_unary("silu", "x / (1 + exp(-x))", silu)
    yield make_unary("gelu", "0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))", gelu)
    yield make_gated("silu_mul", "silu(a) b", silu)
    yield make_gated("gelu_mul", "gelu(a) b, tanh form", gelu)
    yield make_unary("gelu_erf", "0.5 x (1 + erf(x / sqrt 2))", gelu_erf)
    yield make_gated("gelu_erf_mul", "gelu_erf(a) b", gelu_erf)
    yield make_unary("sigmoid", "1 / (1 + exp(-x))", sigmoid)
    yield make_softcap()
    yield make_swiglu_oai()
    yield make_route()
    yield make_attention()
    yield make_attention_masked()
    yield make_cache()


def main(args):
    if args not in ([], ["--check"]):
        sys.exit(__doc__)
    OUT.mkdir(exist_ok=True)
    wrong = 0
    for f in files():
        path, writer = OUT / f"{f.op}.gguf.gz", f.writer()
        if not args:
            writer.save(path)
        elif not path.exists() or gzip.decompress(path.read_bytes()) != writer.bytes():
            print(f"{path.name}: holds something else", file=sys.stderr)
            wrong += 1
        print(f"{f.op}: {len(f.names)} cases")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
