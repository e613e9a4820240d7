#!/usr/bin/env python3
"""Tests of `assay report` from outside.

usage: report_test.py ASSAY WORKDIR TEST [FILE...]

TEST is one of: schema (FILEs: reports that must be valid; needs jsonschema, else exit 77), formats,
hostile, merge, diff, gate, signoff, index, usage, reruns (FILEs: plug-ins). WORKDIR is emptied first.
"""
import copy, csv, gzip, hashlib, io, json, os, re, shlex, shutil, subprocess, sys, xml.etree.ElementTree as xml

HERE = os.path.dirname(os.path.abspath(__file__))
REPORTS = os.path.dirname(HERE)
SAMPLE = os.path.join(HERE, "samples", "failing.json")
assay, work = "", ""


def run(*args, code=0, env=None):
    p = subprocess.run([assay, *args], capture_output=True, env={**os.environ, "NO_COLOR": "1", **(env or {})})
    out = p.stdout.decode()  # in UTF-8, or this fails
    assert p.returncode == code, f"{args}: exit {p.returncode}, not {code}\n{out}{p.stderr.decode()}"
    return out


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def write(name, doc):
    path = os.path.join(work, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(doc, f)
    return path


def bad(c):
    return c["status"] in ("fail", "crash", "timeout")


def recount(r):
    """Summary and coverage from the cases, written again."""
    r["summary"] = dict.fromkeys(r["summary"], 0)
    cells = {}
    for c in r["cases"]:
        r["summary"][c["status"]] += 1
        key = tuple(c[k] for k in ("suite", "op", "type", "subject"))
        cell = cells.setdefault(key, dict(zip(("suite", "op", "type", "subject"), key), asked=0, run=0,
                                          skipped=0, failed=0, used=None, reason=None))
        cell["asked"] += 1
        if c["status"] == "skip":
            cell["skipped"] += 1
            cell["reason"] = cell["reason"] or c["message"]
            continue
        cell["run"] += 1
        cell["failed"] += bad(c)
        size = lambda v: -1 if v is None else float("inf") if isinstance(v, str) else v
        if size(c["used"]) > size(cell["used"]):
            cell["used"] = c["used"]
    r["coverage"] = list(cells.values())
    return r


def passing():
    """The sample without what fails."""
    r = read(SAMPLE)
    r["cases"] = [c for c in r["cases"] if c["status"] in ("pass", "marginal", "skip")]
    r["locate"], r["mutants"] = [], [m for m in r["mutants"] if m["verdict"] == "killed"]
    for m in r["models"]:
        for t in m["types"]:
            t["subjects"] = {k: v for k, v in t["subjects"].items() if v["status"] in ("pass", "skip")}
    return recount(r)


def case(r, name, machine=None):
    return next(c for c in r["cases"] if c["name"] == name and c.get("machine") == machine)


# ---- schema ----

def damaged():
    """Documents that must not be valid, by what is wrong with them."""
    def change(what, f):
        doc = copy.deepcopy(read(SAMPLE))
        f(doc)
        return what, doc
    yield change("no version", lambda d: d.pop("schema_version"))
    yield change("version 2", lambda d: d.update(schema_version="2.0"))
    yield change("unknown status", lambda d: d["cases"][0].update(status="passed"))
    yield change("a number as text", lambda d: d["cases"][0].update(used="0.5"))
    yield change("no seed", lambda d: d["cases"][0].pop("seed"))
    yield change("negative count", lambda d: d["cases"][0].update(bad=-1))
    yield change("fraction of elements", lambda d: d["cases"][0].update(bad=1.5))
    yield change("unknown verdict", lambda d: d["models"][0]["types"][0]["subjects"]["cpu"].update(verdict="ok"))
    yield change("a hash that is none", lambda d: d["models"][0].update(sha256="abc"))
    yield change("a status that does not exist", lambda d: d["summary"].update(ok=3))
    yield change("cases not a list", lambda d: d.update(cases={}))
    yield change("no environment", lambda d: d.pop("environment"))
    yield change("a device without a driver", lambda d: d["environment"]["devices"][0].pop("driver"))
    yield change("a machine without a name", lambda d: d["machines"][0].pop("machine"))
    yield change("complete as text", lambda d: d.update(complete="true"))
    yield change("a date that is none", lambda d: d.update(started="yesterday"))
    yield change("a localisation without sites", lambda d: d["locate"][0]["variants"][0].pop("sites"))
    yield change("a tensor without its error", lambda d: d.update(quantize=[{"file": "a", "tensor": "b", "from": "f16", "to": "q4_K"}]))
    yield change("a measurement without a unit", lambda d: d["bench"][0].pop("unit"))


def test_schema(files):
    try:
        import jsonschema
    except ImportError:
        if sys.executable != "/usr/bin/python3" and os.path.exists("/usr/bin/python3"):
            os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
        print("report_test: python3-jsonschema is not installed")
        sys.exit(77)
    schema = read(os.path.join(REPORTS, "schema.json"))
    assert json.loads(run("report", "validate", "--schema")) == schema, "the program carries another schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    policy = read(os.path.join(REPORTS, "policy.schema.json"))
    jsonschema.Draft202012Validator.check_schema(policy)
    jsonschema.Draft202012Validator(policy).validate(read(os.path.join(HERE, "samples", "policy.json")))
    # Run by itself, this test has no others' reports to look at.
    found = [f for name in filter(os.path.exists, files) for f in ([os.path.join(name, n) for n in sorted(os.listdir(name))]
                                           if os.path.isdir(name) else [name])]
    fresh = os.path.join(work, "fresh.json")
    run("test", "decode.q4_K", "decode.f16", "--subject", "cpu", "--report", fresh)
    tensors = os.path.join(work, "quantize.json")
    model = os.path.join(REPORTS, "..", "vectors", "models", "primer-4m-f16.gguf.gz")
    run("quantize", model, os.path.join(work, "q4.gguf"), "--type", "q4_K", "--quiet", "--report", tensors)
    libraries = read(tensors)["environment"]["libraries"]
    assert not any("/" in x or ".so" in x for x in libraries) and any(re.fullmatch(r"libjansson 4[.\d]+", x) for x in libraries), libraries
    rows = read(tensors)["quantize"]
    assert len(rows) == 57 and {r["to"] for r in rows} == {"q4_K", "f32"} and max(r["nmse"] for r in rows) < 0.01
    for path in [SAMPLE, fresh, tensors, *found]:
        doc = read(path)
        assert next(iter(doc)) == "schema_version", f"{path}: schema_version is not first"
        errors = [f"{list(e.path)}: {e.message}" for e in check.iter_errors(doc)]
        assert not errors, f"{path}: {errors[:3]}"
        run("report", "validate", path)
    for what, doc in damaged():
        assert list(check.iter_errors(doc)), f"{what}: the schema lets it pass"
        run("report", "validate", write("damaged.json", doc), code=1)
    for what, f in [("summary", lambda d: d["summary"].update({"pass": 99})),
                    ("coverage", lambda d: d["coverage"][0].update(run=99)),
                    ("a pass over its bound", lambda d: d["cases"][3].update(used=1.5)),
                    ("a pass that is not a number", lambda d: d["cases"][3].update(used="nan")),
                    ("a skip without a reason", lambda d: case(d, "ops.softmax.64x32.vulkan:0").update(message=None))]:
        doc = read(SAMPLE)
        f(doc)
        assert "damaged.json:" in run("report", "validate", write("damaged.json", doc), code=1), what
    print(f"{2 + len(found)} reports are valid, {len(list(damaged()))} damaged ones are not")


# ---- formats ----

SVG = "{http://www.w3.org/2000/svg}"


def check_picture(path):
    """The picture of a report: drawing and text alone, and of the first model a row per type with its numbers."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
        r = json.load(f)
    text = run("report", "svg", path)
    root = xml.fromstring(text)
    assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {"svg", "title", "style", "rect", "text", "tspan", "path", "circle"}
    assert "url(" not in text and not [a for e in root.iter() for a in e.attrib if "href" in a or a.startswith("on")]
    assert root.get("width") == "900" and "prefers-color-scheme:dark" in root.find(SVG + "style").text
    verdict = json.loads(run("report", "html", path).split('<script type="application/json" id="data">')[1].split("</script>")[0])["verdict"]
    legal = lambda s: re.sub("[\x00-\x08\x0b-\x1f\ufffe\uffff]", "\ufffd", s)
    assert root.find(SVG + "title").text == legal(verdict["text"])
    rows = {}  # by the base line of their texts
    for e in root.iter(SVG + "text"):
        assert float(e.get("y")) < float(root.get("height"))
        rows.setdefault(float(e.get("y")), []).append("".join(e.itertext()))
    lines = [row[0] for y, row in sorted(rows.items())]
    assert lines[0].startswith("✓ " if verdict["good"] else "✗ ") and lines[0][2:] in legal(verdict["text"])
    types = r["models"][0]["types"]
    subjects = list(dict.fromkeys(s for t in types for s in t["subjects"]))[:4]
    short = lambda s: legal(s if len(s) <= 14 else s[:14] + "…")
    table = [row for y, row in sorted(rows.items())][lines.index("type") + 1:][:len(types)]
    for row, t in zip(table, types, strict=True):
        number = lambda v: "–" if v is None else v if isinstance(v, str) else f"{v:.3g}"
        want = [short(re.sub("[a-z]", lambda m: m[0].upper(), t["type"])), f"{t['bits_per_weight']:.2f}", number(t["kl_mean"]),
                "–" if t["kl_mean"] is None else f"{t['same_top']}/{t['prompts']}"]
        assert row[:4] == want, (row, want)
        for said, v in zip(row[4:], map(t["subjects"].get, subjects), strict=True):
            failed = v and bad(v)
            if not v or v["verdict"] == "not_run":
                assert said == ("–" if not v else "✗ " + v["status"] if failed else "skipped"), said
            else:
                mark = "✗" if failed else "≈" if v["verdict"] == "tie" or v["status"] != "pass" else "✓"
                assert said == (f"✗ {v['used']}" if isinstance(v["used"], str) else f"{mark} {100 * v['used']:.3g} %"), said
    # The points stand as their numbers do, means and worst positions alike.
    for key, marks in ("kl_mean", [float(e.get("cx")) for e in root.iter(SVG + "circle")]), (
            "kl_max", [float(re.match("M([0-9.]+)", e.get("d"))[1]) for e in root.iter(SVG + "path") if e.get("class") == "worst"]):
        values = [t[key] for t in types if isinstance(t[key], (int, float)) and t[key] > 0]
        assert len(marks) == len(values)
        order = [x for _, x in sorted(zip(values, marks))]
        assert all(a <= b + 0.1 for a, b in zip(order, order[1:])), key
        assert all(180 <= x <= 760 for x in marks), marks
    return text


def test_formats(_):
    r = read(SAMPLE)
    tree = xml.fromstring(run("report", "junit", SAMPLE))
    cases = list(tree.iter("testcase"))
    assert sorted(c.get("name") for c in cases) == sorted(c["name"] for c in r["cases"])
    for element, statuses in ("failure", ["fail"]), ("error", ["crash", "timeout"]), ("skipped", ["skip", "waived"]):
        names = sorted(c.get("name") for c in cases if c.find(element) is not None)
        assert names == sorted(c["name"] for c in r["cases"] if c["status"] in statuses), element
    assert int(tree.get("tests")) == len(r["cases"]) and int(tree.get("failures")) == 2 and int(tree.get("errors")) == 2
    assert sum(int(s.get("tests")) for s in tree) == len(r["cases"])
    text = next(c for c in cases if c.get("name") == "decode.q4_K.bits.vulkan:0").find("failure")
    assert 'alert("the reference")' in text.get("message") and "assay test" in text.text

    sarif = json.loads(run("report", "sarif", SAMPLE))
    assert sarif["version"] == "2.1.0" and len(sarif["runs"]) == 1
    results = sarif["runs"][0]["results"]
    rules = {x["id"] for x in sarif["runs"][0]["tool"]["driver"]["rules"]}
    assert len(results) == sum(map(bad, r["cases"])) and {x["ruleId"] for x in results} == rules
    assert [x["partialFingerprints"]["assayCase/v1"] for x in results] == [
        hashlib.sha256(c["name"].encode()).hexdigest() for c in r["cases"] if bad(c)]
    for x in results:
        place = x["locations"][0]["physicalLocation"]
        path = os.path.join(REPORTS, "..", place["artifactLocation"]["uri"])
        assert os.path.isfile(path), path
        with open(path) as f:
            assert 1 <= place["region"]["startLine"] <= len(f.readlines())
    assert results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "engine/vulkan/decode/q4_k.glsl"

    def rows(table):
        return list(csv.DictReader(io.StringIO(run("report", "csv", SAMPLE, "--table", table), newline="")))
    table = rows("cases")
    assert [x["name"] for x in table] == [c["name"] for c in r["cases"]]
    assert float(table[3]["used"]) == r["cases"][3]["used"] and table[2]["used"] == "inf"
    assert table[2]["message"] == r["cases"][2]["message"] and table[2]["variant"] == ""
    table = rows("bench")
    assert [x["name"] for x in table] == [b["name"] for b in r["bench"]] and float(table[0]["median"]) == r["bench"][0]["median"]
    for name in "nothing", "coverage":
        run("report", "csv", SAMPLE, "--table", name, code=2)

    md = run("report", "markdown", SAMPLE)
    assert md.startswith("## ❌ Assay") and "<script>" not in md and md.count("\n- **") == 4
    assert all(c["rerun"] in md for c in r["cases"] if bad(c)) and len(md.encode()) < 1 << 20
    assert run("report", "markdown", write("good.json", passing())).startswith("## ✅ Assay")
    many = read(SAMPLE)
    many["cases"] += [dict(r["cases"][2], name=f"decode.q4_K.n{i}.vulkan:0") for i in range(20000)]
    md = run("report", "markdown", write("many.json", recount(many)))
    assert len(md.encode()) < 1 << 20 and "more" in md
    check_picture(SAMPLE)
    kept = os.path.join(REPORTS, "kept")
    with open(os.path.join(kept, "example.svg"), encoding="utf-8") as f:
        assert f.read() == check_picture(os.path.join(kept, "0.1.0-10843e9617dc.json.gz")), (
            "reports/kept/example.svg is not what assay report svg makes")
    page = run("report", "html", SAMPLE)
    assert page.count("</script>") == 2 and "http://" not in page.replace("http://www.w3.org/2000/svg", "") and "https://" not in page
    print("all formats hold what the report holds")


# ---- texts that mean harm ----

EVIL = ('</script><script>window.PWNED=1</script><img src=x onerror="window.PWNED=2"><b>bold</b>\u2028\ufffe '
        'é漢🎉\x01\x1b[31m\r\n\t]]> <!-- & " \' ` ``` | *x* ')
FIXED = ("schema_version", "version", "git", "started", "status", "verdict", "seed", "sha256", "vectors_sha256")


def hostile(v, tail, key=None):
    """The document with a tail to all texts that may be anything."""
    if isinstance(v, dict):
        return {k + (tail if key == "subjects" else ""): hostile(x, tail, k) for k, x in v.items()}
    if isinstance(v, list):
        return [hostile(x, tail, key) for x in v]
    free = isinstance(v, str) and key not in FIXED and v not in ("nan", "inf", "-inf", "assay")
    return v + tail if free else v


def check_hostile(doc, path):
    bad_cases = [c for c in doc["cases"] if bad(c)]
    run("report", "validate", path)
    legal = lambda s: re.sub("[\x00-\x08\x0b-\x1f\ufffe\uffff]", "\ufffd", s)
    cases = list(xml.fromstring(run("report", "junit", path)).iter("testcase"))
    assert sorted(c.get("name") for c in cases) == sorted(legal(c["name"]) for c in doc["cases"])
    assert {c.get("classname") for c in cases} == {
        legal(".".join(filter(None, (c["suite"], c["op"], c["type"])))) for c in doc["cases"]}
    results = json.loads(run("report", "sarif", path))["runs"][0]["results"]
    assert [x["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] for x in results] == [c["name"] for c in bad_cases]
    assert all(re.fullmatch(r"[\w/.]+", x["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]) for x in results)
    table = list(csv.DictReader(io.StringIO(run("report", "csv", path), newline="")))
    assert [x["name"] for x in table] == [c["name"] for c in doc["cases"]]
    md = run("report", "markdown", path)
    # Outside of code, every mark that could begin an element is escaped; code spans keep the rerun lines.
    text = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", md)
    assert not re.search(r"(?<!\\)<", text), text[:2000]
    assert all(re.sub("[\x00-\x1f]", " ", c["rerun"]) in md for c in bad_cases)
    rows = [line for line in md.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows if line.startswith(("| type | cpu", "| Q4"))}) <= 2
    run("report", "html", path)
    check_picture(path)
    d = os.path.join(work, "diff.json")
    run("report", "diff", path, path, "--json", d)
    assert len(read(d)["failing"]) == len(bad_cases)


def test_hostile(_):
    for name, tail in ("long", "é" * 3000), ("longer", "x" + "é" * 3000), ("hostile", EVIL):
        doc = recount(hostile(read(SAMPLE), tail))
        check_hostile(doc, write(name + ".json", doc))
    good = write("good.json", recount(dict(passing(), cases=[])))
    said = run("report", "diff", good, os.path.join(work, "hostile.json"), code=1)
    said += run("report", "gate", os.path.join(work, "hostile.json"), "--policy",
                os.path.join(HERE, "samples", "policy.json"), code=1)
    assert "img" in said and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", said), "a terminal would act on this"
    doc = read(SAMPLE)
    doc["cases"] = [dict(c, name=c["name"].replace(".", "." + "a" * 400, 1)) for c in doc["cases"]]
    check_hostile(recount(doc), write("alike.json", doc))
    doc = passing()
    for i, text in enumerate(["=1+1", "@SUM(A1)", "+1", "-1", "\t=1", "-inf"]):
        doc["cases"][i]["message"] = text
    table = list(csv.DictReader(io.StringIO(run("report", "csv", write("formula.json", doc)))))
    assert [x["message"] for x in table[:6]] == ["'=1+1", "'@SUM(A1)", "'+1", "'-1", "'\t=1", "-inf"]
    for what, f in [("members of the wrong type", lambda d: d["cases"][0].update(used=[], subject=3)),
                    ("no tool", lambda d: d.pop("tool")), ("models that are none", lambda d: d.update(models=[3]))]:
        doc = read(SAMPLE)
        f(doc)
        for action in "html", "svg", "junit", "markdown", "sarif", "csv":
            assert run("report", action, write("damaged.json", doc), code=1) == "", what
    print("text stays text, names stay whole")


# ---- merge, diff ----

def test_merge(_):
    a, b = passing(), passing()
    a.pop("machines"), b.pop("machines")
    for r in a, b:
        r["cases"] = [c for c in r["cases"] if "machine" not in c]
    b["cases"], b["started"], b["seconds"] = b["cases"][:2], "2026-10-30T00:00:00Z", 7.5
    one, two, out = write("a.json", recount(a)), write("b.json", recount(b)), os.path.join(work, "m.json")
    run("report", "merge", one, two, "--out", out, "--junit", os.path.join(work, "m.xml"), "--html", os.path.join(work, "m.html"))
    m = read(out)
    run("report", "validate", out)
    assert len(m["cases"]) == len(a["cases"]) + 2 and m["started"] == b["started"] and m["seconds"] == a["seconds"] + 7.5
    assert m["summary"]["pass"] == a["summary"]["pass"] + 2 and "machines" not in m and m["complete"]
    assert os.path.getsize(os.path.join(work, "m.xml")) and os.path.getsize(os.path.join(work, "m.html"))
    b["environment"]["host"], b["complete"], b["stopped"] = "elsewhere", False, "interrupted"
    run("report", "merge", one, write("b.json", b), "--out", out)
    m = read(out)
    run("report", "validate", out)
    assert not m["complete"] and m["stopped"] == "interrupted"
    assert [x["host"] for x in m["machines"]] == ["elsewhere"]
    assert sum(c.get("machine") == m["machines"][0]["machine"] for c in m["cases"]) == 2
    b["tool"]["git"] = "fedcba987654"
    run("report", "merge", one, write("b.json", b), "--out", out, code=1)
    run("report", "merge", one, write("b.json", b), "--out", out, "--any-version")
    os.mkdir(os.path.join(work, "parts"))
    for i in range(3):
        with gzip.open(os.path.join(work, "parts", f"{i}.json.gz"), "wt") as f:
            json.dump(recount(a), f)
    run("report", "merge", os.path.join(work, "parts"), "--out", out)
    assert len(read(out)["cases"]) == 3 * len(a["cases"])
    run("report", "merge", write("x.json", {"schema_version": "2.0"}), "--out", out, code=1)
    os.mkdir(os.path.join(work, "empty"))
    run("report", "merge", one, os.path.join(work, "empty"), "--out", out, code=2)
    run("report", "merge", "--out", out, code=2)
    print("merged")


def test_diff(_):
    old = passing()
    base = write("old.json", old)

    def diff(f, code, *options):
        new = copy.deepcopy(old)
        f(new)
        out = os.path.join(work, "diff.json")
        run("report", "diff", base, write("new.json", recount(new)), "--json", out, *options, code=code)
        return {k: [e["name"] for e in v] for k, v in read(out).items() if isinstance(v, list) and v}
    name = "ops.matvec.q4_K.256x128.cpu"
    assert diff(lambda n: None, 0) == {}
    assert diff(lambda n: case(n, name).update(status="fail", used=3.0, bad=1), 1) == {"regressed": [name]}
    assert diff(lambda n: case(n, name).update(status="fail", used="nan", bad=1), 1) == {"regressed": [name]}
    assert diff(lambda n: case(n, name).update(used=0.09), 1) == {"doubled": [name]}
    assert diff(lambda n: case(n, name).update(used=0.09), 0, "--ignore", "doubled,slower") == {"doubled": [name]}
    assert diff(lambda n: case(n, name).update(used=0.08), 0) == {}
    assert diff(lambda n: n["cases"].remove(case(n, name)), 1) == {"missing": [name]}
    assert diff(lambda n: case(n, name).update(status="skip", message="why"), 1) == {"missing": [name]}
    assert diff(lambda n: n["cases"].append(dict(case(n, name), name="ops.matvec.q4_K.new.cpu")), 0) == {"added": ["ops.matvec.q4_K.new.cpu"]}
    assert diff(lambda n: n["cases"].append(dict(case(n, name), name="z", status="fail", used=2.0, bad=1)), 1) == {"regressed": ["z"]}
    assert diff(lambda n: n["bench"][0].update(median=19.0), 1) == {"slower": ["matvec.q4_K.4096x4096"]}
    assert diff(lambda n: n["bench"][0].update(median=20.5), 0) == {}
    assert diff(lambda n: n["bench"][1].update(median=0.7), 0) == {"faster": ["prefill.128"]}
    assert diff(lambda n: n["bench"][1].update(median=0.95), 1) == {"slower": ["prefill.128"]}

    def elsewhere(n):
        n["environment"]["cpu"] = "Another"
        n["bench"][0].update(median=1.0)
    assert diff(elsewhere, 0) == {}
    assert diff(lambda n: n.update(complete=False), 1) == {}
    failing = write("failing.json", read(SAMPLE))
    out = os.path.join(work, "diff.json")
    run("report", "diff", failing, failing, "--json", out)
    assert len(read(out)["failing"]) == 4 and not read(out)["regressed"]
    run("report", "diff", failing, base, "--ignore", "missing")
    run("report", "diff", base, base, "--ignore", "nonsense", code=2)
    print("differences are told apart")


# ---- gate, signoff, index ----

def test_gate(_):
    policy = read(os.path.join(HERE, "samples", "policy.json"))
    good = passing()

    def gate(expect, report=None, change=None, today="2026-11-20"):
        p = copy.deepcopy(policy)
        if change:
            change(p)
        out = os.path.join(work, "gate.json")
        run("report", "gate", write("r.json", report or good), "--policy", write("p.json", p), "--today", today,
            "--json", out, code=1 if expect else 0)
        problems = read(out)["problems"]
        assert len(problems) == len(expect) and all(e in x for e, x in zip(expect, problems)), problems

    def altered(f):
        r = copy.deepcopy(good)
        f(r)
        return recount(r)
    name = "ops.matvec.q4_K.256x128.cpu"
    failing = altered(lambda r: case(r, name).update(status="fail", used=3.0, bad=1))
    waiver = {"case": "ops.matvec.q4_K.256x128.cpu", "reason": "issue 7", "owner": "A. N. Other", "expires": "2026-11-20"}
    gate([])
    gate(["failed: ops.matvec"], failing)
    gate([], failing, lambda p: p["waivers"].append(waiver))
    gate(["expired", "failed: ops.matvec"], failing, lambda p: p["waivers"].append(waiver), today="2026-11-21")
    gate(["expired"], good, lambda p: p["waivers"].append(waiver), today="2027-01-01")
    gate(["missing: decode q6_K on cpu"], good, lambda p: p["require"][0].update(types=["q4_K", "q6_K"]))
    gate(["missing: decode q4_K on cuda"], good, lambda p: p["require"][0].update(subjects=["cpu", "cuda"]))
    gate(["skipped without leave"], good, lambda p: p.update(may_skip=[]))
    gate(["over the policy's limit"], good, lambda p: p["require"][1].update(max_used=0.5))
    gate(["not complete"], altered(lambda r: r.update(complete=False, stopped="interrupted")))
    gate(["not committed"], altered(lambda r: r["tool"].update(dirty=True)))
    other = altered(lambda r: case(r, "gguf.valid").update(status="fail", used=0.0, message="no"))
    gate(["outside of what the policy requires"], other, lambda p: p["require"].pop())
    gate([], other, lambda p: (p["require"].pop(), p.update(others="ignore")))
    waived = altered(lambda r: case(r, name).update(status="waived"))
    gate(["failed: ops.matvec"], waived)
    gate([], waived, lambda p: p["waivers"].append(waiver))
    gate(["requires nothing"], good, lambda p: p.update(require=[]))
    run("report", "gate", write("r.json", good), "--policy", write("p.json", dict(policy, surprise=1)), code=1)
    gate(["contradicts itself: /summary/pass"], dict(good, summary=dict(good["summary"], **{"pass": 99})))
    no_day = dict(policy, waivers=[dict(waiver, expires="2026-13-01")])
    run("report", "gate", write("r.json", good), "--policy", write("p.json", no_day), code=1)
    report, policy = write("r.json", good), write("p.json", policy)
    for day in "soon", "2026-02-29", "+026-11-20", "2026-11-20 ":
        run("report", "gate", report, "--policy", policy, "--today", day, code=2)
    for epoch in "soon", "99999999999999999999", "999999999999":
        run("report", "gate", report, "--policy", policy, code=2, env={"SOURCE_DATE_EPOCH": epoch})
    run("report", "gate", write("r.json", good), code=2)
    print("the gate closes when it should")


def tree(path):
    out = {}
    for folder, _, names in os.walk(path):
        for n in names:
            with open(os.path.join(folder, n), "rb") as f:
                out[os.path.relpath(os.path.join(folder, n), path)] = f.read()
    return out


def test_signoff(_):
    report, policy = write("r.json", passing()), os.path.join(HERE, "samples", "policy.json")
    log = os.path.join(work, "build.log")
    with open(log, "w") as f:
        f.write("built\n")
    packed, nothing = os.path.join(work, "test.log.gz"), os.path.join(work, "warnings.log")
    with gzip.open(packed, "w") as f, open(nothing, "w"):
        f.write(b"tested\n")
    args = ["report", "signoff", report, "--policy", policy, "--product", "Example | engine", "--version", "1.2.3",
            "--log", log, "--log", packed, "--log", nothing]
    one, two = os.path.join(work, "one"), os.path.join(work, "two")
    run(*args, "--out", one, "--today", "2026-11-20")
    run(*args, "--out", two, env={"SOURCE_DATE_EPOCH": "1795132800"})
    a, b = tree(one), tree(two)
    assert a == b, [k for k in a if a[k] != b.get(k)]
    assert sorted(a) == sorted(["report.json", "report.html", "policy.json", "gate.json", "junit.xml", "environment.json",
                                "STATEMENT.md", "SHA256SUMS", "logs/build.log", "logs/test.log.gz", "logs/warnings.log"])
    assert a["logs/test.log.gz"] == open(packed, "rb").read() and a["logs/warnings.log"] == b""
    sums = dict(reversed(line.split("  ")) for line in a["SHA256SUMS"].decode().splitlines())
    assert sums == {k: hashlib.sha256(v).hexdigest() for k, v in a.items() if k != "SHA256SUMS"}
    text = a["STATEMENT.md"].decode()
    for words in "Example \\| engine", "1.2.3", "Example CPU", "llvmpipe", "vulkan: no device", "## Waivers":
        assert words in text, words
    run(*args, "--out", one, code=2)
    run(*args, "--log", os.path.join(work, "absent"), "--out", os.path.join(work, "none"), code=1)
    assert not os.path.exists(os.path.join(work, "none"))
    os.mkdir(os.path.join(work, "there"))
    run(*args, "--log", work, "--out", os.path.join(work, "there"), code=1)
    assert os.listdir(os.path.join(work, "there")) == []
    failing = write("f.json", read(SAMPLE))
    run("report", "signoff", failing, *args[3:], "--out", os.path.join(work, "three"), code=1)
    assert not os.path.exists(os.path.join(work, "three"))
    print("the same inputs make the same", len(a), "files")


def test_index(_):
    folder = os.path.join(work, "kept")
    os.mkdir(folder)
    for i, version in enumerate(["0.10.0", "0.2.0", "0.9.1"]):
        r = passing() if i else read(SAMPLE)  # with nan and inf
        r["tool"]["version"] = version
        with gzip.open(os.path.join(folder, f"{i}.json.gz"), "wt") as f:
            json.dump(r, f)
    run("report", "index", folder)
    with open(os.path.join(folder, "index.html"), encoding="utf-8") as f:
        page = f.read()
    data = json.loads(page.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    assert [r["version"] for r in data["reports"]] == ["0.2.0", "0.9.1", "0.10.0"]
    kept = os.path.join(REPORTS, "kept")
    n = sum(name.endswith(".json.gz") for name in os.listdir(kept))
    assert run("report", "index", kept, "--out", os.path.join(work, "index.html")).startswith(f"{n} reports in ")
    empty = os.path.join(work, "empty")
    os.mkdir(empty)
    run("report", "index", empty, code=2)
    print("indexed")


def test_usage(_):
    assert "signoff" in run("report", "--help")
    for action in "html svg markdown junit sarif csv validate merge diff gate signoff index".split():
        text = run("report", action, "--help")
        assert text.startswith("usage: assay report"), action
        assert all(len(line) <= 90 for line in text.splitlines()), action
        run("report", action, code=2)
    run("report", code=2)
    run("report", "nonsense", code=2)
    run("report", "html", os.path.join(work, "absent.json"), code=1)
    broken = os.path.join(work, "broken.json")
    with open(broken, "w") as f:
        f.write("{")
    for action in "html", "junit", "validate":
        run("report", action, broken, code=1)
    run("report", "html", SAMPLE, "--out", "/nonexistent/x.html", code=1)
    for command in (["info"], ["report", "html"]):
        said = subprocess.run([assay, *command, "--nonsense"], capture_output=True, text=True)
        assert said.returncode == 2 and said.stderr.startswith(f"assay {' '.join(command)}: "), said.stderr
    print("usage is usage")


def test_reruns(plugins):
    """The rerun line of a case runs that case, on whatever subject."""
    subjects = ["cpu", "cpu+panels", "cuda-sim+general", *("plugin:" + p for p in plugins)]
    first, again = (os.path.join(work, name) for name in ("first.json", "again.json"))
    run("test", "ops.add.f32.63-*", "--subject", ",".join(subjects), "--report", first)
    cases = read(first)["cases"]
    assert {c["subject"] for c in cases} == set(subjects)
    for c in cases:
        program, *args = shlex.split(c["rerun"])
        assert program == "assay"
        run(*args, "--report", again)
        assert [d["name"] for d in read(again)["cases"]] == [c["name"]], c["rerun"]
    print(f"{len(cases)} rerun lines rerun")


def main():
    global assay, work
    if len(sys.argv) < 4 or "test_" + sys.argv[3] not in globals():
        raise SystemExit(__doc__)
    assay, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    globals()["test_" + sys.argv[3]](sys.argv[4:])


if __name__ == "__main__":
    main()
