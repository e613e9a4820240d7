#!/usr/bin/env python3
"""Runs what README.md shows: every block that begins with "$ " is run, and must print the lines shown.

Measured numbers (with a point, an exponent or a percent sign) may be others, as they are on another
machine, but not words, names, counts or the order of lines; a line "..." stands for any lines. A JSON block that a heading sentence calls a file is written under that name.
The links and pictures must lead to files.

usage: readme_test.py ASSAY SOURCE DIR
"""
import os
import re
import shutil
import subprocess
import sys

assay, source, work = (os.path.abspath(p) for p in sys.argv[1:4])
with open(source + "/README.md", encoding="utf-8") as f:
    text = f.read()


def plain(line):
    """The line without its measured numbers (fractions, shares, multiples) and the width of its columns."""
    line = re.sub(r"(?<![\w.])\d+(\.\d+(e[-+]?\d+)?|e[-+]?\d+|(?= ?%))", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def shown(block):
    """The commands of a block, each with the lines that it prints."""
    found = []
    for line in block:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def run(command, lines):
    path = os.path.dirname(assay) + ":" + os.environ["PATH"]
    done = subprocess.run(["sh", "-c", command], cwd=work, capture_output=True, text=True,
                          env=dict(os.environ, PATH=path, NO_COLOR="1", COLUMNS="80"))
    got = [plain(x) for x in (done.stdout + done.stderr).split("\n") if x.strip()]
    at, gap = 0, False
    for line in (x for x in lines if x.strip()):
        if line.strip() == "...":
            gap = True
            continue
        want = plain(line)
        end = len(got) if gap else at + 1
        place = next((i for i in range(at, min(end, len(got))) if got[i] == want), None)
        if place is None:
            sys.exit("README.md shows for: %s\n  %s\nbut here stands (status %d):\n  %s"
                     % (command, want, done.returncode, "\n  ".join(got[at:at + 6]) or "(nothing more)"))
        at, gap = place + 1, False
    if not gap and at < len(got):
        sys.exit("README.md does not show what %s prints then: %s" % (command, got[at]))
    print("as shown: " + command)


shutil.rmtree(work, ignore_errors=True)
os.makedirs(work + "/build")
os.symlink(source + "/vectors", work + "/vectors")
os.symlink(os.path.dirname(assay), work + "/build/default")
for name, content in re.findall(r"`(\w+\.json)`:\n\n```json\n(.*?)```", text, re.S):
    with open(work + "/" + name, "w", encoding="utf-8") as f:
        f.write(content)
for target in re.findall(r"\]\(([^)#:]+)\)", text):
    if not os.path.exists(source + "/" + target):
        sys.exit("README.md links to %s, which is not there" % target)
n = 0
for block in re.findall(r"(?:^    .*\n|^\n)+", text, re.M):
    for command, lines in shown([x[4:] for x in block.split("\n")]):
        run(command, lines)
        n += 1
if n < 7:
    sys.exit("README.md shows only %d commands" % n)
