"""Runs the commands of localisation as a user does, on files that are right and on files that were
changed, cut short or interrupted, and looks at exit status, last line and report.

usage: locate_cli.py ASSAY VECTORS DIR PLUGIN
"""
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time

from locate_files import read_trace, write_trace

assay, vectors, out, plugin = sys.argv[1:5]
os.makedirs(out, exist_ok=True)
model = vectors + "/models/primer-4m-Q4_K_M.gguf.gz"
log = vectors + "/logs/primer-4m-Q4_K_M.log.gz"
report = out + "/report.json"
n_bad = 0


def check(condition, what):
    global n_bad
    if not condition:
        n_bad += 1
        print("wrong: " + what)


def run(*args, code, words, json_file=False):
    """The last line has the words; with json_file, a report was written and is valid."""
    if os.path.exists(report):
        os.unlink(report)
    args = list(args) + (["--report", report] if json_file else [])
    done = subprocess.run([assay] + args, capture_output=True, text=True,
                          env=dict(os.environ, NO_COLOR="1"))
    last = ((done.stdout + done.stderr).strip().split("\n") or [""])[-1]
    check(done.returncode == code, "%s: exit %d, not %d: %s" % (args, done.returncode, code, last))
    check(words in last, "%s: '%s' is not in: %s" % (args, words, last))
    if not json_file:
        return None
    valid = subprocess.run([assay, "report", "validate", report], capture_output=True, text=True)
    check(valid.returncode == 0, "%s: no valid report: %s" % (args, valid.stderr.strip()))
    if valid.returncode != 0:
        return {"locate": [{"status": "none", "defect": {"site": "none"}}]}
    with open(report, encoding="utf-8") as f:
        return json.load(f)


def changed_log(name, tensor, change):
    """The log with the lines of a tensor changed: change(lines of values, line of the sum)."""
    with gzip.open(log, "rt") as f:
        lines = f.read().split("\n")
    head = next(i for i, s in enumerate(lines) if " %s = (" % tensor in s)
    end = next(i for i in range(head, len(lines)) if "sum = " in lines[i])
    with open(out + "/" + name, "w", encoding="utf-8") as f:
        f.write("\n".join(change(lines, head, end)))
    return out + "/" + name


def not_a_number(lines, head, end):
    words = lines[head + 3].split(",")
    words[0] = words[0][:words[0].index("[") + 1] + " nan"
    return lines[:head + 3] + [",".join(words)] + lines[head + 4:]


def other_sum(lines, head, end):
    return lines[:end] + ["sum = 77.0"] + lines[end + 1:]


def two_logs():
    entry = run("compare", log, log, code=0, words="NO DEFECT: 198 tensors", json_file=True)["locate"][0]
    check(entry["status"] == "pass" and entry["defect"] is None, "two equal logs: %s" % entry)
    nan = changed_log("nan.log", "Kcur-2", not_a_number)
    entry = run("compare", log, nan, code=1, words="DEFECT: Kcur-2", json_file=True)["locate"][0]
    check(entry["status"] == "fail" and entry["defect"]["site"] == "Kcur-2", "a NaN: %s" % entry)
    run("compare", nan, log, code=1, words="a number in one is none in the other")
    run("compare", log, changed_log("sum.log", "l_out-5", other_sum), code=1, words="DEFECT: l_out-5")
    cut = changed_log("cut.log", "ffn_up-4", lambda lines, head, end: lines[:head])
    run("compare", log, cut, code=1, words="ends after")
    run("compare", cut, log, code=1, words="ends after")


def traces():
    """What is written can be compared: with a cache of any type, and of a plug-in as it declares."""
    trace = out + "/trace.gguf"
    ids = "1,5,9,300,7,8,2,44"
    for kv in ("f16", "bf16", "q8_0", "q4_0", "q5_1", "iq4_nl"):
        run("trace", model, "--tokens", ids, "--kv", kv, "--out", trace, code=0, words="105 tensors")
        run("compare", model, trace, code=0, words="NO DEFECT: every operation")
        run("compare", model, trace, "--kv", "f32", code=1,
            words="a cache of %s, where f32 is declared" % kv)
    subject = "plugin:" + plugin
    run("trace", model, "--tokens", ids, "--subject", subject, "--out", trace, code=0,
        words="105 tensors")
    run("compare", model, trace, code=0, words="NO DEFECT: every operation")
    os.environ["ENGINE_DECLARES"] = "f16"  # which is not true
    run("trace", model, "--tokens", ids, "--subject", subject, "--out", trace, code=0,
        words="105 tensors")
    run("compare", model, trace, code=1, words="DEFECT: layer 0, Q projection")
    del os.environ["ENGINE_DECLARES"]
    printing = subprocess.run([assay, "locate", model, "--tokens", ids, "--brief", "--subject", subject],
                              capture_output=True, text=True,
                              env=dict(os.environ, ENGINE_FAULT="print"))
    check("prints" in printing.stderr and "prints" not in printing.stdout,
          "a plug-in prints into the program's output")
    run("trace", model, "--tokens", ids, "--subject", subject, "--decode", "--out", trace, code=1,
        words="evaluates whole prompts")
    for site in (["--sites", "ffn_router"], ["--layers", "6-9", "--sites", "q"]):
        run("trace", model, "--out", trace, *site, code=2, words="none of those asked for")


def trace_of_engine(path, **environment):
    subprocess.run([assay, "trace", model, "--tokens", "1,5,9,300,7,8,2,44", "--out", path, "--subject",
                    "plugin:" + plugin], env=dict(os.environ, **environment), check=True,
                   stdout=subprocess.DEVNULL)


def write_logits(path, columns, values):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (
        len(values) // columns, columns)
    head += " " * (-(len(head) + 11) % 64) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        f.write(struct.pack("<%df" % len(values), *values))


def undeclared():
    """Values that fail as exact: the verdict names the rounding that explains all of them, if one does,
    and if the other side did not say how it rounds."""
    trace, logits = out + "/trace.gguf", out + "/logits.npy"
    ids = ["--tokens", "1,5,9,300,7,8,2,44"]
    for way in ("f16", "bf16", "q8"):
        trace_of_engine(trace, ENGINE_ROUNDS=way)
        entry = run("compare", model, trace, code=1, json_file=True,
                    words="; would conform with --activations %s (at most" % way)["locate"][0]
        check(entry["conforms_as"] == way and entry["status"] == "fail" and entry["defect"],
              "rounded to %s: %s" % (way, entry))
        check(entry["verdict"].startswith("DEFECT if the engine claims to be exact: layer 0, Q projection"),
              "rounded to %s: %s" % (way, entry["verdict"]))
        run("compare", model, trace, "--activations", way, code=0, words="NO DEFECT: every operation")
        run("compare", model, trace, "--activations", "f32", code=1, words="DEFECT: layer 0, Q projection")
        tensors, tokens = read_trace(trace)
        (columns, _), values = tensors["result_output"]
        if way != "bf16":  # two passes with so coarse a step part too far until the logits
            write_logits(logits, columns, values)
            run("compare", model, logits, *ids, code=1,
                words="DEFECT if the engine claims to be exact: output")
        write_logits(logits, columns, values[:-1] + [values[-1] + 1])
        run("compare", model, logits, *ids, code=1, words="DEFECT: output")
        dims, values = tensors["v-4"]
        write_trace(trace, dict(tensors, **{"v-4": (dims, values[1:] + values[:1])}), tokens)
        entry = run("compare", model, trace, code=1, words="DEFECT: layer 0, Q projection",
                    json_file=True)["locate"][0]
        check(entry["conforms_as"] is None, "rounded to %s, and wrong: %s" % (way, entry))
        trace_of_engine(trace, ENGINE_ROUNDS=way, ENGINE_FAULT="gate")
        run("compare", model, trace, code=1, words="DEFECT: layer 0, Q projection")
        trace_of_engine(trace, ENGINE_ROUNDS=way, ENGINE_DECLARES="f32")
        run("compare", model, trace, code=1, words="DEFECT: layer 0, Q projection")
    trace_of_engine(trace)
    tensors, tokens = read_trace(trace)
    for name in ("q-1", "attn_norm-2", "ffn_act-3", "result_output"):
        dims, values = tensors[name]
        write_trace(trace, dict(tensors, **{name: (dims, [1.001 * v for v in values])}), tokens)
        entry = run("compare", model, trace, code=1, words="DEFECT: ", json_file=True)["locate"][0]
        check(entry["conforms_as"] is None, "%s a thousandth too large: %s" % (name, entry["verdict"]))


def masters():
    """A first model that is quantized itself is not passed off as a master."""
    for name, types in (("Q4_K_M", ["q6_K", "q4_K"]), ("f16", [])):
        done = subprocess.run([assay, "effect", "%s/models/primer-4m-%s.gguf.gz" % (vectors, name), "--types",
                               "Q8_0", "--max-tokens", "64", "--vectors", vectors, "--json", report],
                              capture_output=True, text=True, env=dict(os.environ, NO_COLOR="1"))
        check(done.returncode == 0, "effect on %s: exit %d: %s" % (name, done.returncode, done.stderr))
        lines = [s for s in done.stdout.split("\n") if "quantized itself" in s]
        said = ["this master is quantized itself (%s): what follows is on top of what that has cost"
                % ", ".join(types)]
        check(lines == (said if types else []), "effect on %s says %s" % (name, lines))
        check(subprocess.run([assay, "report", "validate", report], capture_output=True).returncode == 0,
              "effect on %s: no valid report" % name)
        with open(report, encoding="utf-8") as f:
            entry = json.load(f)["effect"][0]
        check(entry["master_quantized"] == types, "effect on %s: %s" % (name, entry["master_quantized"]))


def interrupted():
    """SIGINT at different times: the report says how far it came, and that it did not end."""
    big = out + "/synth.gguf"
    subprocess.run([assay, "synth", "--arch", "llama", "--shape", "tiny", "--layers", "12", "--type",
                    "Q8_0", "--out", big, "-q"], check=True)
    ids = ",".join(str(i) for i in range(1, 60))
    seen = set()
    for command in (["locate", big], ["compare", big, big]):
        wait, ended = 0.05, False
        while not ended and wait < 60:
            if os.path.exists(report):
                os.unlink(report)
            p = subprocess.Popen([assay] + command + ["--tokens", ids, "--report", report],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(wait)
            ended = p.poll() is not None
            p.send_signal(signal.SIGINT)
            p.communicate()
            wait *= 1.7
            if not os.path.exists(report):
                continue  # before it could have been
            with open(report, encoding="utf-8") as f:
                r = json.load(f)
            entry = r["locate"][0]
            seen.add((command[0], entry["partial"]))
            check(r["complete"] is not entry["partial"] and
                  entry["status"] == ("skip" if entry["partial"] else "pass"),
                  "%s interrupted: complete %s, %s" % (command[0], r["complete"], entry["status"]))
            check(subprocess.run([assay, "report", "validate", report],
                                 capture_output=True).returncode == 0, "no valid report")
    check(("locate", True) in seen and ("compare", True) in seen, "nothing was interrupted: %s" % seen)


two_logs()
traces()
undeclared()
masters()
interrupted()
print("%d wrong" % n_bad)
sys.exit(1 if n_bad else 0)
