#!/usr/bin/env python3
"""Tests the writer that suites/plugins/README.md shows: a trace written by it is judged as any other.

usage: locate_md.py ASSAY MODEL DIR
"""
import os
import subprocess
import sys

from locate_files import read_trace, write_trace

assay, model, work = sys.argv[1:4]
def compare(path, status, words):
    r = subprocess.run([assay, "compare", model, path], capture_output=True, text=True)
    if r.returncode != status or words not in r.stdout:
        sys.exit("%s: status %d, not %d, or '%s' missing:\n%s%s"
                 % (path, r.returncode, status, words, r.stdout, r.stderr))
    print(r.stdout.strip().splitlines()[-1])


os.makedirs(work, exist_ok=True)
own = os.path.join(work, "own.gguf")
subprocess.run([assay, "trace", model, "--out", own], check=True, stdout=subprocess.DEVNULL)
tensors, tokens = read_trace(own)

# llama.cpp's names; values after RoPE have three dimensions there
renamed = {}
head_dim = 64
for name, (dims, values) in tensors.items():
    base, _, layer = name.rpartition("-")
    known = {"q": "Qcur", "k": "Kcur", "v": "Vcur", "kqv": "kqv_out", "ffn_act": "ffn_gate_par"}
    if name == "embd":
        renamed["inp_embd"] = (dims, values)
    elif base in ("kq", "kq_soft_max"):
        continue
    elif base in ("q_rope", "k_rope"):
        renamed["%s_rope-%s" % ("Qcur" if base == "q_rope" else "Kcur", layer)] = (dims, values)
    elif base in known:
        renamed["%s-%s" % (known[base], layer)] = (dims, values)
    else:
        renamed[name] = (dims, values)
theirs = os.path.join(work, "theirs.gguf")
write_trace(theirs, renamed, tokens)
compare(theirs, 0, "NO DEFECT")

# one projection's rows shifted
dims, values = renamed["Kcur-3"]
wrong = dict(renamed)
wrong["Kcur-3"] = (dims, values[1:] + values[:1])
write_trace(theirs, wrong, tokens)
compare(theirs, 1, "DEFECT: layer 3, K projection")

# outputs of layers only
some = {n: t for n, t in renamed.items() if n.startswith("l_out") or n.startswith("result_output")}
write_trace(theirs, some, tokens)
compare(theirs, 0, "NO DEFECT")
dims, values = some["l_out-4"]
some["l_out-4"] = (dims, [1.01 * v for v in values])
write_trace(theirs, some, tokens)
compare(theirs, 1, "DEFECT: layer 4")
