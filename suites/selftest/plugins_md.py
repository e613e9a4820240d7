#!/usr/bin/env python3
"""Runs the blocks of suites/plugins/README.md as they stand there, in order, in a directory that looks
like the root of the tree, and looks at what they print. The header's list of sites is compared with
the program's.

usage: plugins_md.py ASSAY SOURCE DIR
"""
import gzip
import os
import re
import shutil
import stat
import subprocess
import sys

from locate_files import read_trace

assay, source, work = (os.path.abspath(p) for p in sys.argv[1:4])
with open(source + "/suites/plugins/README.md", encoding="utf-8") as f:
    text = f.read()
blocks = re.findall(r"```(sh|python)\n(.*?)```", text, re.S)


def llama_stub(directory):
    """In place of llama.cpp's program: prints the log that it once wrote for this model and prompt."""
    with gzip.open(source + "/vectors/logs/primer-4m-Q4_K_M.log.gz") as f:
        log = f.read()
    with open(directory + "/kept.log", "wb") as f:
        f.write(log)
    path = directory + "/llama-eval-callback"
    with open(path, "w", encoding="utf-8") as f:
        f.write('#!/bin/sh\n[ "$*" = "-m model.gguf -p The capital of France is" ] || exit 2\n'
                'cat "%s/kept.log"\n' % directory)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def shell(code):
    path = work + "/bin:" + os.path.dirname(assay) + ":" + os.environ["PATH"]
    done = subprocess.run(["sh", "-e", "-c", code], cwd=work, capture_output=True, text=True,
                          env=dict(os.environ, PATH=path, NO_COLOR="1"))
    last = (done.stdout.strip().split("\n") or [""])[-1]
    return done.returncode, last, done.stderr


def expect(code, words, status=0):
    got, last, errors = shell(code)
    if got != status or words not in last:
        sys.exit("%s\nstatus %d, not %d, or '%s' is not in: %s\n%s"
                 % (code, got, status, words, last, errors))
    print(last)


def take(kind, word):
    """The next block, which must be of this kind and hold this word."""
    found, code = blocks.pop(0)
    if found != kind or word not in code:
        sys.exit("README.md: a block of %s with %s was expected, not:\n%s" % (kind, word, code))
    return code


def own_values():
    """What an engine has: here, Assay's own."""
    expect("assay trace model.gguf --out all.gguf", "105 tensors")
    tensors, tokens = read_trace(work + "/all.gguf")
    layers = [tensors["l_out-%d" % i][1] for i in range(6)]
    return {"tokens": tokens, "layers": layers, "logits": tensors["result_output"][1]}


def traces():
    writer, usage, compare = take("python", "def write_trace"), take("python", "layers"), take("sh", "compare")
    os.chdir(work)
    space = own_values()
    exec(writer + usage, space)
    expect(compare, "NO DEFECT")
    space["layers"][4] = [1.01 * v for v in space["layers"][4]]
    exec(writer + usage, space)
    expect(compare, "DEFECT: layer 4", 1)


def header_sites():
    """The names in assay_subject.h's list are those of the program, in the same order."""
    with open(source + "/suites/plugins/assay_subject.h", encoding="utf-8") as f:
        listed = re.findall(r"^ \*   ([a-z_]+(?:, [a-z_]+)*)  ", f.read().split("Sites are the places")[1], re.M)
    names = [name for row in listed for name in row.split(", ")]
    done = subprocess.run([assay, "trace", "--list"], capture_output=True, text=True, check=True)
    own = [line.split()[0].removesuffix("-L") for line in done.stdout.split("\n\n")[0].split("\n")[1:]]
    if names != own:
        sys.exit("assay_subject.h lists the sites\n%s\nnot\n%s" % (names, own))


shutil.rmtree(work, ignore_errors=True)
os.makedirs(work + "/bin")
for folder in ("suites", "vectors"):
    os.symlink(source + "/" + folder, work + "/" + folder)
llama_stub(work + "/bin")
shell_code = take("sh", "gunzip")
if shell(shell_code)[0] != 0:
    sys.exit("no model: " + shell_code)
traces()
expect(take("sh", "minimal.c"), re.search(r"prints `(.*?)`", text).group(1))
expect(take("sh", "transposed.c"), re.search(r"^    (DEFECT: .*)$", text, re.M).group(1))
expect(take("sh", "llama-eval-callback"), "NO DEFECT")
if blocks:
    sys.exit("README.md has blocks that nobody runs: %s" % blocks)
header_sites()
