"""Every architecture's trace under the names that llama.cpp gives its values is read as Assay's own:
no defect is found, no site is lost, and the one value that is changed is named. Tensors of the graph
that are not what their name says elsewhere go along and must not be taken.

The same for logs of llama-eval-callback, in which tensors also tell by their operands what they are.

usage: locate_names.py ASSAY DIR
"""
import json
import os
import subprocess
import sys

from locate_files import read_trace, write_trace

assay, work = sys.argv[1:3]
os.makedirs(work, exist_ok=True)
n_bad = 0

COMMON = {"embd": "inp_embd", "q": "Qcur", "k": "Kcur", "v": "Vcur", "q_norm": "Qcur_normed",
          "k_norm": "Kcur_normed", "q_rope": "Qcur_rope", "k_rope": "Kcur_rope", "kqv": "kqv_out",
          "ffn_router": "ffn_moe_logits", "ffn_act": "ffn_swiglu"}
GEMMA = {"embd": "inp_scaled", "ffn_inp": "sa_out", "ffn_act": "ffn_geglu"}
BIASED = {"ffn_up": "ffn_up_b", "ffn_act": "ffn_gelu"}
EXPERTS = {"ffn_out": "ffn_moe_out"}

# architecture: (other names, names without values here, site: a name that is something else)
ARCHS = {
    "llama": ({}, [], {}),
    "mixtral": (EXPERTS, [], {}),
    "mistral3": ({"q_rope": "Qcur_attn_temp_scaled"}, [], {"q_rope": "Qcur_rope"}),
    "qwen2": ({}, [], {}),
    "qwen2moe": ({}, [], {"ffn_out": "ffn_moe_out"}),
    "qwen3": ({}, [], {}),
    "qwen3moe": (EXPERTS, [], {}),
    "gemma": (GEMMA, [], {"embd": "inp_embd"}),
    "gemma2": (GEMMA, ["ffn_post_norm"], {"embd": "inp_embd"}),
    "gemma3": (GEMMA, ["ffn_post_norm"], {"embd": "inp_embd"}),
    "phi2": (BIASED, ["ffn_inp"], {"ffn_up": "ffn_up"}),
    "phi3": ({}, ["ffn_gate", "ffn_up"], {}),
    "gpt2": (dict(BIASED, embd="inpL"), [], {"embd": "inp_embd", "ffn_up": "ffn_up"}),
    "gptneox": (BIASED, ["ffn_inp", "ffn_out"], {"ffn_up": "ffn_up", "l_out": "ffn_out"}),
    "gpt-oss": (dict(EXPERTS, ffn_norm="attn_post_norm", ffn_router="ffn_moe_probs"), [],
                {"ffn_router": "ffn_moe_logits"}),
    "falcon": ({"ffn_act": "ffn_gelu"}, ["ffn_inp"], {}),
    "stablelm": ({}, [], {}),
    "starcoder2": (BIASED, [], {"ffn_up": "ffn_up"}),
    "command-r": ({}, ["ffn_inp"], {}),
    "olmo2": ({}, [], {}),
    "granite": ({}, [], {}),
    "granitemoe": (EXPERTS, [], {}),
}


# site: roles of its weight in files; the first one that the layer has counts
ROLES = {"embd": ["token_embd"], "attn_norm": ["attn_norm_2", "attn_norm"], "q": ["attn_q"],
         "k": ["attn_k"], "v": ["attn_v"], "q_norm": ["attn_q_norm"], "k_norm": ["attn_k_norm"],
         "attn_out": ["attn_output"], "attn_post_norm": ["post_attention_norm"],
         "ffn_norm": ["ffn_norm", "post_attention_norm", "attn_norm"],
         "ffn_router": ["ffn_gate_inp"], "ffn_gate": ["ffn_gate"], "ffn_up": ["ffn_up"],
         "ffn_out": ["ffn_down"], "ffn_post_norm": ["post_ffw_norm"], "result_norm": ["output_norm"],
         "result_output": ["output", "token_embd"]}
OPS = {"q_rope": "ROPE", "k_rope": "ROPE", "kqv": "CONT", "ffn_inp": "ADD", "l_out": "ADD",
       "ffn_act": "GLU"}


def shown(n):
    return list(range(n)) if n <= 6 else [0, 1, 2, n - 3, n - 2, n - 1]


def log_tensor(name, op, operands, dims, values):
    """As llama-eval-callback prints a tensor of two dimensions."""
    cols, rows = dims
    head = "ggml_debug: %24s = (f32) %10s(%s}) = {%d, %d, 1, 1}\n" % (
        name, op, ", ".join("%s{1, 1, 1, 1}" % o for o in operands), cols, rows)
    lines, total = [], 0.0
    for r in shown(rows):
        numbers = [values[r * cols + c] for c in shown(cols)]
        total += sum(numbers)
        lines.append("       [" + ", ".join("%12.4f" % v for v in numbers) + "],\n")
    return head + " [\n  [\n" + "".join(lines) + "  ],\n ]\n sum = %f\n" % total


def log_site(base, layer, dims, values, name, model_tensors):
    """Its tensors: what is not yet the site under the same name, then the site."""
    block = "blk.%s." % layer[1:] if layer else ""
    wrong = [v + 1 for v in values]
    role = next((r for r in ROLES.get(base, []) if block + r + ".weight" in model_tensors), None)
    if role is None:  # of one matrix with others, or of no weight
        return log_tensor(name + layer, OPS.get(base, "VIEW"), ["x", "y"], dims, values)
    weight, bias = block + role + ".weight", block + role + ".bias"
    norm = base.endswith("norm")
    op = "MUL" if norm else "GET_ROWS" if base == "embd" else "MUL_MAT"
    operands = ["x", weight] if norm else [weight, "x"]
    plain = {"embd": "inp_embd"}.get(base, name)
    more = bias in model_tensors or plain != name
    out = log_tensor(plain + layer, op, operands, dims, wrong if more else values)
    if bias in model_tensors:
        out += log_tensor(name + layer, "ADD", [plain + layer, bias], dims, values)
    elif more:
        out += log_tensor(name + layer, "SCALE", [plain + layer, "y"], dims, values)
    return out


def as_log(tensors, names, lost, model_tensors, factor=None):
    out = ""
    for name, (dims, values) in tensors.items():
        base, layer = split(name)
        if base in ("kq", "kq_soft_max") or base in lost:
            continue
        other = names.get(base, COMMON.get(base, base))
        other = {"q_rope": "Qcur", "k_rope": "Kcur"}.get(base, other)
        if factor and name == factor[0]:
            values = [factor[1] * v for v in values]
        out += log_site(base, layer, dims, values, other, model_tensors)
    return out


def split(name):
    base, dash, layer = name.rpartition("-")
    return (base, dash + layer) if dash and layer.isdigit() else (name, "")


def compare(arch, model, tensors, tokens, words, code):
    """tensors: of a trace, or the text of a log."""
    global n_bad
    path = os.path.join(work, "theirs.gguf")
    if isinstance(tensors, str):
        with open(path, "w", encoding="utf-8") as f:
            f.write(tensors)
    else:
        write_trace(path, tensors, tokens)
    r = subprocess.run([assay, "compare", model, path, "--tokens", ",".join(map(str, tokens))],
                       capture_output=True, text=True, env=dict(os.environ, NO_COLOR="1"))
    last = ((r.stdout + r.stderr).strip().split("\n") or [""])[-1]
    if r.returncode == code and words in last:
        return
    n_bad += 1
    print("wrong: %s: exit %d, '%s' is not in: %s" % (arch, r.returncode, words, last))


for arch, (names, lost, decoys) in ARCHS.items():
    model, own = os.path.join(work, "model.gguf"), os.path.join(work, "own.gguf")
    subprocess.run([assay, "synth", "--arch", arch, "--shape", "tiny", "--type", "F32", "--out", model,
                    "-q"], check=True)
    ids = ",".join(str(7 * i + 3) for i in range(12))
    subprocess.run([assay, "trace", model, "--tokens", ids, "--out", own], check=True,
                   stdout=subprocess.DEVNULL)
    tensors, tokens = read_trace(own)
    theirs, n_lost, missing = {}, 0, ""
    for name, (dims, values) in tensors.items():
        base, layer = split(name)
        if base in decoys:
            theirs[decoys[base] + layer] = (dims, [v + 1 for v in values])
    for name, (dims, values) in tensors.items():
        base, layer = split(name)
        if base in lost + ["kq", "kq_soft_max"]:
            n_lost += 1
        else:
            theirs[names.get(base, COMMON.get(base, base)) + layer] = (dims, values)
    if arch == "phi3":  # gate and up in one
        dims, values = tensors["ffn_up-1"]
        theirs["ffn_up-1"] = ([2 * dims[0], dims[1]], values + values)
    if arch == "falcon" and "ffn_norm-1" in tensors:  # the first norm is that of the second part
        for layer in ("-0", "-1"):
            theirs["attn_norm_2" + layer] = tensors["attn_norm" + layer]
            theirs["attn_norm" + layer] = tensors["ffn_norm" + layer]
            del theirs["ffn_norm" + layer]
    compare(arch, model, theirs, tokens, "; %d sites of the pass are not in it" % n_lost, 0)
    dims, values = theirs["l_out-1"]
    theirs["l_out-1"] = (dims, [1.5 * v for v in values])
    compare(arch, model, theirs, tokens, "DEFECT: layer 1, residual after feed-forward", 1)
    for name in ("attn_norm_2-1", "attn_norm-1", "attn_post_norm-1"):
        if name in theirs and arch != "gemma2" and arch != "gemma3":
            dims, values = theirs[name]
            wrong = dict(theirs)
            wrong[name] = (dims, [1.5 * v for v in values])
            place = {("falcon", "attn_norm-1"): "feed-forward norm",
                     ("gpt-oss", "attn_post_norm-1"): "feed-forward norm",
                     ("olmo2", "attn_post_norm-1"): "norm of attention's result"}
            if arch == "falcon" and "attn_norm_2-1" not in theirs:
                place = {}
            compare(arch, model, wrong, tokens,
                    "DEFECT: layer 1, " + place.get((arch, name), "attention norm"), 1)

    info = json.loads(subprocess.run([assay, "info", model, "--json", "-"], capture_output=True,
                                     text=True, check=True).stdout)
    have = {t["name"] for t in info["tensors"]}
    gone = [n for n in lost if n not in ("ffn_out", "ffn_post_norm")]  # the weight tells them
    n_gone = sum(split(n)[0] in gone + ["kq", "kq_soft_max"] for n in tensors)
    words = "; %d sites of the pass are not in it" % n_gone
    compare(arch + " log", model, as_log(tensors, names, gone, have), tokens, words, 0)
    for name in ("attn_norm-1", "ffn_norm-1", "ffn_up-1", "ffn_router-1", "ffn_out-1", "q_rope-1",
                 "result_output"):
        base, layer = split(name)
        if name not in tensors or base in gone:
            continue
        title = {"attn_norm": "attention norm", "ffn_norm": "feed-forward norm",
                 "ffn_up": "up projection", "ffn_router": "router", "q_rope": "RoPE of Q",
                 "ffn_out": "experts" if "ffn_router-1" in tensors else "down projection",
                 "result_output": "output projection"}[base]
        compare(arch + " log of wrong " + name, model,
                as_log(tensors, names, gone, have, (name, 1.5)), tokens,
                "DEFECT: %s%s (" % ("layer 1, " if layer else "", title), 1)

print("%d wrong" % n_bad)
sys.exit(1 if n_bad else 0)
