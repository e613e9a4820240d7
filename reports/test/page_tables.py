"""What the tables of a page must say, written again from the report: caption, heads, and the text of every
cell, so that a number under the wrong head is found too. Used by page_test.py, which has `shown`."""
import functools, math, re


def real(v, shown):
    return shown(v, "real")


def plural(n, one):
    return one if n == 1 else one + "s"


def is_bad(status):
    return status in ("fail", "crash", "timeout")


def size(v):
    """Of a share of a bound: text is larger than all numbers."""
    return -1 if v is None else math.inf if isinstance(v, str) else v


def visible(s):
    return re.sub("[\x00-\x1f\x7f]", lambda m: {"\n": "\\n", "\t": "\\t"}.get(m[0], f"\\x{ord(m[0]):02x}"), s)


def pivot(caption, first, series):
    """The numbers of a plot: a row per label (more if it comes again), a column per series; of more than eight
    series over fewer points a row per series. series: [(name, [(label, text)])]"""
    rows = {}
    for k, (_, points) in enumerate(series):
        seen = {}
        for label, text in points:
            seen[label] = seen.get(label, -1) + 1
            rows.setdefault((label, seen[label]), ["–"] * len(series))[k] = text
    if len(series) > 8 and len(series) > len(rows):
        return caption, ["series"] + [label for label, _ in rows], [
            [name] + [row[k] for row in rows.values()] for k, (name, _) in enumerate(series)]
    return caption, [first] + [name for name, _ in series], [[label] + row for (label, _), row in rows.items()]


# ---- one report ----

def matrix_cell(cell, shown):
    if not cell:
        return "not asked"
    used = cell["used"]
    if cell["failed"]:
        return f"✗ {cell['failed']} of {cell['run']}" + (f"worst {shown(used, 'percent')}" if size(used) > 1 and used != "-inf" else "")
    if not cell["run"]:
        return f"skipped{cell['skipped']} {plural(cell['skipped'], 'case')}"
    text = ("≈ " if size(used) > 0.5 else "✓ ") + (shown(used, "percent") if size(used) > 0 else "exact")
    return text + f"{cell['run']} {plural(cell['run'], 'case')}" + (f", {cell['skipped']} skipped" if cell["skipped"] else "")


def matrix(m, shown):
    return "Types by subjects", ["type or suite", *m["subjects"]], [
        [t] + [matrix_cell(m["cells"][t].get(s), shown) for s in m["subjects"]] for t in m["types"]]


def subject_cell(s, shown):
    if not s:
        return "not asked"
    failed = is_bad(s["status"])
    if s["verdict"] == "not_run":
        return "✗ " + s["status"] if failed else "skipped"
    mark = "✗ " if failed else "≈ " if s["verdict"] == "tie" or s["status"] != "pass" else "✓ "
    return mark + shown(s["used"], "percent") + (
        s["status"] if s["verdict"] == "agree" else f"{s['verdict']}, token {shown(s['top_id'], 'number')}")


def model(m, shown):
    types = m["types"]
    subjects = list(dict.fromkeys(s for t in types for s in t["subjects"]))
    rows = [[t["type"].upper(), real(t["bits_per_weight"], shown), shown(t["bytes"], "bytes"),
             "".join((visible(k["text"]) if k["text"] else f"token {k['id']}") + " " + real(k["logit"], shown) for k in t["top"]) or "–",
             real(t["margin"], shown), real(t["kl_mean"], shown), real(t["kl_max"], shown),
             "–" if t["kl_mean"] is None else f"{t['same_top']} of {t['prompts']}",
             *[subject_cell(t["subjects"].get(s), shown) for s in subjects]] for t in types]
    yield (f"{m['name']} in {len(types)} {plural(len(types), 'type')}",
           ["type", "bits", "size", "top token, logit", "margin", "KL mean", "KL max", "same top", *subjects], rows)
    measured = sorted((t for t in types if t["kl_mean"] is not None), key=lambda t: t["bits_per_weight"])
    if measured:
        yield pivot("Cost of a type: KL divergence from the master", "type", [
            (name, [(t["type"].upper(), real(t[key], shown)) for t in measured])
            for name, key in (("mean over positions", "kl_mean"), ("worst position", "kl_max"))])
    having = [t for t in types if t["layers"]]
    for title, key in (("Root mean square", "rms"), ("Largest magnitude", "max_abs")) if having else ():
        yield pivot(title, "layer", [(t["type"].upper(), [(f"layer {x['layer']}", real(x[key], shown)) for x in t["layers"]])
                                     for t in having])


def locate(run, shown):
    ran = [v for v in run["variants"] if v["ran"] and v["sites"]]
    if not ran:
        return
    sites = next((v for v in ran if v["defect"]), ran[0])["sites"]
    name = lambda s: ("" if s["layer"] is None else f"layer {s['layer']}, ") + s["site"]
    for part, title, what in (("free", "Running freely: what has accumulated", "its own inputs"),
                              ("local", "Fed with the reference's values: each operation alone", "the reference's inputs")):
        here = [s for s in sites if s.get(part)]
        if here:
            yield pivot(title, "site", [(head, [(name(s), real(s[part][key], shown)) for s in here])
                                        for head, key in ((f"error ({what})", "error"), ("bound", "bound"))])


def effect(run, shown):
    types = run["types"]
    name = lambda t: t["type"].split("/")[-1]
    spread = lambda v: real(v["value"], shown) + real(v["low"], shown) + " to " + real(v["high"], shown)
    yield ("What each type costs", ["type", "bits", "KL mean (nats)", "KL 99 %", "KL max", "same top", "top 5 in common",
                                    "perplexity", "its ratio", "grade"],
           [[name(t), real(t["bits_per_weight"], shown), spread(t["kl_mean"]), real(t["kl_p99"], shown), real(t["kl_max"], shown),
             spread(t["same_top"]), real(t["top5_overlap"], shown), real(t["perplexity"], shown), spread(t["perplexity_ratio"]),
             t["grade"]] for t in types])
    if len(types) > 1:
        yield pivot("KL divergence against bits per weight", "type",
                    [("mean", [(name(t), real(t["kl_mean"]["value"], shown)) for t in types])])
    if any(t["layers"] for t in types):
        yield pivot("Error of the residual stream over layers, as a share of it", "layer", [
            (name(t), [(f"layer {x['layer']}", real(x["relative_error"], shown)) for x in t["layers"]]) for t in types])
    for t in types:
        if t["tensors"]:
            yield ("KL divergence when one tensor alone is encoded", ["tensor", "type", "KL mean"],
                   [[x["name"], x["type"], real(x["kl_mean"], shown)]
                    for x in sorted(t["tensors"], key=lambda x: -size(x["kl_mean"]))])
    if run["precision"]:
        yield ("Precision: inputs of products, and sums", ["inputs", "sums", "KL mean", "KL max", "same top", "positions"],
               [[x["activations"], x["accumulate"], *[shown(x[k], "number") for k in ("kl_mean", "kl_max", "same_top", "positions")]]
                for x in run["precision"]])


def flat(title, rows, shown):
    keys = [k for k in dict.fromkeys(k for r in rows for k in r) if any(r.get(k) is not None and not isinstance(r[k], (dict, list)) for r in rows if k in r)]
    heads = [re.sub(r"\b(kl|nmse)\b", lambda m: m[0].upper(), k.replace("_", " ")) for k in keys]
    return title, heads, [["–" if isinstance(r.get(k), (dict, list)) else shown(r.get(k), "number") for k in keys] for r in rows]


def coverage(cells, shown):
    heads = ["what", "subject", "asked", "run", "skipped", "failed", "bound used", "reason"]
    row = lambda c: [".".join(filter(None, (c["suite"], c["op"], c["type"]))), c["subject"] or "–",
                     *[str(c[k]) for k in ("asked", "run", "skipped", "failed")], shown(c["used"], "percent"), c["reason"] or "–"]
    groups = {}
    for c in cells:
        if c["skipped"]:
            groups.setdefault((c["subject"], c["reason"]), []).append(row(c)[:-1])
    for rows in groups.values():
        yield "Skipped", heads[:-1], rows
    yield "Coverage", heads, [row(c) for c in cells]


def of_report(r, m, shown):
    """All tables of the page of a report, in order. m: its matrix."""
    if m["types"]:
        yield matrix(m, shown)
    for part, make in ("models", model), ("locate", locate), ("effect", effect):
        for x in r[part]:
            yield from make(x, shown)
    for part, title in ("bench", "Speed"), ("quantize", "Quantized tensors"):
        if r.get(part):
            yield flat(title, r[part], shown)
    if r["mutants"]:
        yield ("Faults and what found them", ["fault", "subject", "verdict", "found by", "bound used", "change", "file"],
               [[x["name"], x["subject"] or "", x["verdict"], x["killed_by"] or "–", shown(x["used"], "percent"),
                 f"{x['from']} → {x['to']}", x["file"]] for x in r["mutants"]])
    if r["coverage"]:
        yield from coverage(r["coverage"], shown)


def sentences(r, m):
    """Counts that stand in sentences."""
    for x in r["models"]:
        reasons = {}
        for t in x["types"]:
            for subject, v in t["subjects"].items():
                if v["verdict"] == "not_run" and v.get("reason"):
                    reasons.setdefault((subject, v["reason"]), []).append(t["type"].upper())
        for (subject, reason), names in reasons.items():
            yield f"Not run on {subject}" + ("" if len(names) == len(x["types"]) else f" in {', '.join(names)}") + f": {reason}"
    if r["mutants"]:
        kinds = list(dict.fromkeys(x["verdict"] for x in r["mutants"]))
        yield ", ".join(f"{sum(x['verdict'] == k for x in r['mutants'])} {k}" for k in kinds) + "."
        yield f"All {len(r['mutants'])}"
    other = sum(c["status"] in ("marginal", "waived") for c in r["cases"])
    if other:
        yield f"{other} {plural(other, 'case')}"
    if r["coverage"]:
        yield f"All {len(r['coverage'])} cells"
    holes = sum(s not in m["cells"][t] for t in m["types"] for s in m["subjects"])
    if holes:
        yield f"{holes} {plural(holes, 'pair')} of type and subject without a case"
    yield f"Seed {r['seed']}, schema {r['schema_version']}."


# ---- all kept ones ----

def of_kept(reports, shown):
    label = lambda r: f"{r['version']} ({r['git']}{'+' if r['dirty'] else ''}) {r['started'][:10]}, {r['file']}"
    statuses = ["pass", "marginal", "fail", "crash", "timeout", "skip", "waived"]
    yield pivot("Cases by result", "report", [(s, [(label(r), str(r["summary"][s])) for r in reports]) for s in statuses
                                              if any(r["summary"][s] for r in reports)])
    subjects = list(dict.fromkeys(s for r in reports for s in r["matrix"]["subjects"]))
    worst = lambda r, s: functools.reduce(lambda a, b: b if size(b) > size(a) else a,
                                          [row[s]["used"] for row in r["matrix"]["cells"].values() if s in row], None)
    yield pivot("Worst case per subject", "report", [
        (s, [(label(r), real(worst(r, s), shown)) for r in reports if worst(r, s) is not None])
        for s in subjects if any(worst(r, s) is not None for r in reports)])
    for unit in dict.fromkeys(b["unit"] for r in reports for b in r["bench"]):
        names = dict.fromkeys((b["name"], b["subject"]) for r in reports for b in r["bench"] if b["unit"] == unit)
        yield pivot(f"Medians in {unit}", "report", [
            (" on ".join(n), [(label(r), real(b["median"], shown)) for r in reports for b in r["bench"]
                              if (b["name"], b["subject"], b["unit"]) == (*n, unit)]) for n in names])
    yield ("All kept reports", ["version", "commit", "run", *statuses, "complete", "processor", "devices", "file"],
           [[r["version"], r["git"] + ("+" if r["dirty"] else ""), r["started"], *[str(r["summary"][s]) for s in statuses],
             shown(r["complete"], "number"), r["cpu"], ", ".join(d["subject"] for d in r["devices"]), r["file"]] for r in reports])
