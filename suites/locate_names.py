"""Every architecture's trace under the names that llama.cpp gives its values is read as Assay's own:
no defect is found, no site is lost, and the one value that is changed is named. Tensors of the graph
that are not what their name says elsewhere go along and must not be taken.

usage: locate_names.py ASSAY DIR
"""
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
    "gpt-oss": (dict(EXPERTS, ffn_norm="attn_post_norm", ffn_router="ffn_moe_logits_biased"), [],
                {"ffn_router": "ffn_moe_logits"}),
    "falcon": ({"ffn_act": "ffn_gelu"}, ["ffn_inp"], {}),
    "stablelm": ({}, [], {}),
    "starcoder2": (BIASED, [], {"ffn_up": "ffn_up"}),
    "command-r": ({}, ["ffn_inp"], {}),
    "olmo2": ({}, [], {}),
    "granite": ({}, [], {}),
    "granitemoe": (EXPERTS, [], {}),
}


def split(name):
    base, dash, layer = name.rpartition("-")
    return (base, dash + layer) if dash and layer.isdigit() else (name, "")


def compare(arch, model, tensors, tokens, words, code):
    global n_bad
    path = os.path.join(work, "theirs.gguf")
    write_trace(path, tensors, tokens)
    r = subprocess.run([assay, "compare", model, path], capture_output=True, text=True,
                       env=dict(os.environ, NO_COLOR="1"))
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

print("%d wrong" % n_bad)
sys.exit(1 if n_bad else 0)
