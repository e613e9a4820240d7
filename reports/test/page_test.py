#!/usr/bin/env python3
"""Looks at the pages of a report in a real Chromium, headless.

usage: page_test.py ASSAY REPORT|DIR [--shots DIR]    DIR: of kept reports, its page over all of them

At desktop and phone width, light and dark: no errors on the console, nothing loaded from anywhere,
every number on the page is the report's and under the right head (page_tables.py), no text became markup, nothing wider than the screen,
contrast of WCAG AA, names for what can be focused, plots that a keyboard can walk over, and headings in
order. On paper all is there. Exit status: 0 all is well, 1 it is not, 77 there is
no Chromium. Uses nothing but Python's own library; the browser is spoken to by its debugging pipe.
"""
import base64, decimal, gzip, json, math, os, re, shutil, subprocess, sys, tempfile

import page_tables

VIEWS = [("desktop", 1280, 900, False, "light"), ("desktop-dark", 1280, 900, False, "dark"),
         ("phone", 390, 844, True, "light"), ("phone-dark", 390, 844, True, "dark")]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"]


class Browser:
    """Chromium by its debugging pipe: commands, their answers, and the events in between."""

    def __init__(self, path, profile):
        to_child, self.write_fd = os.pipe()
        self.read_fd, from_child = os.pipe()

        def wire():
            # Low numbers may be what the pipes have: move them out of the way first.
            a, b = os.dup(to_child), os.dup(from_child)
            while a < 10: a = os.dup(a)
            while b < 10: b = os.dup(b)
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.child = subprocess.Popen([path, *FLAGS, "--user-data-dir=" + profile], preexec_fn=wire,
                                      close_fds=False, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.buffer, self.events, self.last_id, self.session = b"", [], 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log", "Network":
            self.call(domain + ".enable")

    def message(self):
        while b"\0" not in self.buffer:
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise SystemExit("page_test: the browser ended")
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.last_id += 1
        out = {"id": self.last_id, "method": method, "params": params}
        if self.session:
            out["sessionId"] = self.session
        os.write(self.write_fd, json.dumps(out).encode() + b"\0")
        while True:
            m = self.message()
            if m.get("id") == self.last_id:
                if "error" in m:
                    raise SystemExit(f"page_test: {method}: {m['error']['message']}")
                return m["result"]
            self.events.append(m)

    def wait(self, event):
        while not any(m.get("method") == event for m in self.events):
            self.events.append(self.message())

    def evaluate(self, script):
        r = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise SystemExit("page_test: " + json.dumps(r["exceptionDetails"])[:600])
        return r["result"].get("value")

    def open(self, url, width, height, mobile, scheme, media=""):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=mobile,
                  deviceScaleFactor=2 if mobile else 1)
        self.call("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def shoot(self, path, whole=True):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole,
                         **({"clip": dict(x=0, y=0, scale=1, **self.evaluate(
                             "({width: innerWidth, height: Math.min(12000, document.documentElement.scrollHeight)})"))}
                            if whole else {}))["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))

    def close(self):
        try:
            self.session = None
            self.call("Browser.close")
        except (SystemExit, OSError):
            pass
        self.child.wait(timeout=20)


# ---- numbers: written again from the rules, not taken from the page's script ----

def digits(v):
    """Three digits, ties away from zero, as JavaScript does it."""
    if v == 0:
        return "0"
    exact, size = decimal.Decimal(v), abs(v)
    three = decimal.Context(prec=3, rounding=decimal.ROUND_HALF_UP).plus(exact)
    if size >= 1e5 or size < 1e-3:
        power = three.adjusted()
        return f"{three.scaleb(-power):.2f}e{'-' if power < 0 else '+'}{abs(power)}"
    if size >= 100:
        return str(exact.quantize(decimal.Decimal(1), rounding=decimal.ROUND_HALF_UP))
    return f"{three:.{max(0, 2 - three.adjusted())}f}"


def shown(v, kind):
    if v is None:
        return "–"
    if isinstance(v, str):
        return v
    if isinstance(v, bool):
        return "yes" if v else "no"
    if kind == "percent":
        return digits(100 * v) + " %"
    if kind == "bytes":
        unit = 0
        while v >= 1000 and unit < 4:
            v, unit = v / 1000, unit + 1
        return digits(v) + " " + ["B", "kB", "MB", "GB", "TB"][unit]
    if kind != "real" and float(v).is_integer():
        return str(int(v))
    return digits(v)


def pointer(doc, path):
    for part in path.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        doc = doc[int(part)] if isinstance(doc, list) else doc.get(part)
    return doc


def bad(status):
    return status in ("fail", "crash", "timeout")


def larger(a, b):
    """Of two shares of a bound, the larger; text is larger than numbers."""
    size = lambda v: -1 if v is None else math.inf if isinstance(v, str) else v
    return a if size(a) > size(b) else b


def matrix(report):
    cells = {}
    for c in report["cases"]:
        row = re.sub("[a-z]+", lambda m: m[0].upper(), c["type"]) if c["type"] else c["suite"]
        cell = cells.setdefault(row, {}).setdefault(c["subject"] or "assay", dict(
            asked=0, run=0, skipped=0, failed=0, used=None))
        cell["asked"] += 1
        if c["status"] == "skip":
            cell["skipped"] += 1
            continue
        cell["run"] += 1
        cell["failed"] += bad(c["status"])
        cell["used"] = larger(c["used"], cell["used"])
    return cells


def same(a, b):
    return a == b or (isinstance(a, (int, float)) and isinstance(b, (int, float)) and math.isclose(a, b, rel_tol=0, abs_tol=0))


TABLES = """[...document.querySelectorAll("table")].map(t => [t.caption.textContent,
  ...[...t.rows].map(r => [...r.cells].map(c => c.textContent))])"""
DOTS = """[...document.querySelectorAll("figure")].map(f => ({title: f.querySelector("figcaption").textContent,
  rows: [...f.querySelectorAll("table tr")].map(r => [...r.cells].map(c => c.textContent)),
  dots: [...f.querySelectorAll(".dot")].map(d => ({text: d.getAttribute("aria-label"), y: d.getBBox().y + d.getBBox().height / 2}))}))"""


def plain(s):
    return " ".join(str(s).split())


def check_tables(check, name, found, wanted):
    """Every table of the page cell by cell, against what was made of the report without the page's script."""
    wanted = [[caption, heads, *rows] for caption, heads, rows in wanted]
    check.that([t[0] for t in found] == [t[0] for t in wanted],
               f"{name}: the tables are {[t[0] for t in found]}, should be {[t[0] for t in wanted]}")
    for have, want in zip(found, wanted):
        check.that(len(have) == len(want), f"{name}: {want[0]}: {len(have) - 2} rows, should be {len(want) - 2}")
        for a, b in zip(have[1:], want[1:]):
            check.that(list(map(plain, a)) == list(map(plain, b)), f"{name}: {want[0]}: shows {a}, should be {b}")


def check_dots(check, name, figures):
    """The points of a plot say what its table says, and stand the higher the larger they are."""
    for f in figures:
        heads = f["rows"][0]
        cells = {plain(f"{row[0] if heads[0] == 'series' else s}: {v}"): v for row in f["rows"][1:] for s, v in zip(heads[1:], row[1:])}
        points = []
        for d in f["dots"]:
            said = next((k for k in cells if plain(d["text"]).startswith(k)), None)
            check.that(said, f"{name}: {f['title']}: no cell says {d['text']!r}")
            if said:
                points.append((float(cells[said]), -d["y"]))
        points.sort()
        check.that(all(a[1] <= b[1] + 0.6 for a, b in zip(points, points[1:])), f"{name}: {f['title']}: points stand too high or low")


class Check:
    def __init__(self):
        self.failures = []

    def that(self, ok, text):
        if not ok:
            self.failures.append(text)
            print("page_test: " + text)


def check_data(check, data, report):
    """What the page was given is the report, less the cases that passed."""
    for key, value in report.items():
        if key != "cases":
            check.that(data.get(key) == value, f"the page's {key} is not the report's")
    by_name = {}
    for c in report["cases"]:
        by_name.setdefault((c["name"], c.get("machine")), []).append(c)
    for c in data["cases"]:
        check.that(c in by_name.get((c["name"], c.get("machine")), []), f"the page's case {c['name']} is not the report's")
    wanted = [c for c in report["cases"] if c["status"] not in ("pass", "skip")]
    check.that(len(data["cases"]) == min(len(wanted), 1000), "not all cases that did not pass are on the page")
    check.that(data["n_cases"] == len(report["cases"]), "the number of cases is wrong")
    mine = matrix(report)
    theirs = {t: {s: {k: v for k, v in c.items() if k != "reason"} for s, c in row.items()}
              for t, row in data["matrix"]["cells"].items()}
    check.that(mine == theirs, "the matrix is not what the cases add up to")
    n_bad = sum(bad(c["status"]) for c in report["cases"])
    check.that(not (data["verdict"]["good"] and (n_bad or not report["complete"])), "the verdict is good, the report is not")
    if n_bad:
        check.that(str(n_bad) in data["verdict"]["text"], "the verdict does not count the failures")


def check_kept(check, data, directory):
    """What the page over kept reports was given is what they hold, oldest version first."""
    files = sorted(f for f in os.listdir(directory) if f.endswith((".json", ".json.gz")))
    check.that(sorted(r["file"] for r in data["reports"]) == files, f"the page has not the reports {files}")
    for r in data["reports"]:
        path = os.path.join(directory, r["file"])
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
            report = json.load(f)
        for got, want in ((r["version"], report["tool"]["version"]), (r["git"], report["tool"]["git"]),
                          (r["started"], report["started"]), (r["summary"], report["summary"]),
                          (r["bench"], report.get("bench", []))):
            check.that(got == want, f"{r['file']}: the page holds {str(got)[:80]}, the report {str(want)[:80]}")
        mine = matrix(report)
        check.that(all(same(c["used"], mine[t][s]["used"]) for t, row in r["matrix"]["cells"].items() for s, c in row.items()),
                   f"{r['file']}: the shares are not what the cases add up to")


def check_numbers(check, numbers, data):
    check.that(len(numbers) > 10, f"only {len(numbers)} numbers are on the page")
    for n in numbers:
        if n.get("sum"):
            want = str(sum(pointer(data, p) for p in n["sum"].split(" ")))
            check.that(n["text"] == want, f"{n['sum']}: shows {n['text']!r}, the sum is {want}")
            continue
        want = shown(pointer(data, n["p"]), n["f"])
        check.that(n["text"] == want, f"{n['p']}: shows {n['text']!r}, should be {want!r}")


OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true; new Promise(f => setTimeout(f, 60))"
NUMBERS = "[...document.querySelectorAll('[data-p], [data-sum]')].map(e => ({p: e.dataset.p, f: e.dataset.f, sum: e.dataset.sum, text: e.textContent}))"
# Cells with digits that are neither marked numbers nor text of the report.
STRAY = """(() => {
  const texts = new Set(), walk = v => { if (typeof v === "string") texts.add(v); else if (v) for (const x of Object.values(v)) walk(x); };
  walk(DATA);
  return [...document.querySelectorAll("td.num")].filter(td => {
    const copy = td.cloneNode(true);
    for (const e of copy.querySelectorAll("[data-p]")) e.remove();
    return !td.dataset.p && /[0-9]/.test(copy.textContent) && !texts.has(copy.textContent);
  }).map(td => td.textContent);
})()"""
WIDE = "document.documentElement.scrollWidth"  # innerWidth grows with it on phones
NAMES = """[...document.querySelectorAll("a, button, select, input, [tabindex], [role=group], [role=region]")]
  .filter(e => !(e.textContent.trim() || e.getAttribute("aria-label") || (e.labels && e.labels.length && e.labels[0].textContent.trim())))
  .map(e => e.outerHTML.slice(0, 120))"""
STRUCTURE = """({lang: document.documentElement.lang, h1: document.querySelectorAll("h1").length,
  main: !!document.querySelector("main"), nav: [...document.querySelectorAll("nav a")].every(a => document.querySelector(a.getAttribute("href"))),
  jumps: (() => { let last = 0, bad = 0; for (const h of document.querySelectorAll("h1,h2,h3,h4")) { const n = +h.tagName[1]; if (n > last + 1) bad++; last = n; } return bad; })(),
  heads: [...document.querySelectorAll("table")].every(t => t.querySelector("th[scope=col]") && t.caption),
  plots: [...document.querySelectorAll("figure")].every(f => f.querySelector("figcaption").textContent && f.querySelector("svg[aria-label]")),
  axes: [...document.querySelectorAll("figure svg[role=group]")].every(s => s.querySelectorAll(".tick").length > 2 || s.textContent.includes("values")),
  broken: ["undefined", "NaN", "[object"].filter(w => !JSON.stringify(DATA).includes(w) && document.getElementById("main").innerText.includes(w))})"""
CONTRAST = """(() => {
  const rgb = c => { const k = document.createElement("canvas"); k.width = k.height = 1; const x = k.getContext("2d"); x.fillStyle = c; x.fillRect(0, 0, 1, 1); return [...x.getImageData(0, 0, 1, 1).data]; };
  const seen = {}, cached = c => seen[c] || (seen[c] = rgb(c));
  const lum = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); }); return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (cached(c)[3] > 250) return c; } return getComputedStyle(document.documentElement).getPropertyValue("--bg"); };
  const out = [];
  for (const e of document.querySelectorAll("body *")) {
    if (!e.offsetParent && !(e instanceof SVGElement)) continue;
    if (e.closest("script,style,noscript,[hidden]") || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    const s = getComputedStyle(e), ink = e instanceof SVGElement ? s.fill : s.color, paper = back(e instanceof SVGElement ? e.closest("figure,li,div") : e);
    const a = lum(cached(ink)), b = lum(cached(paper)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) out.push(`${e.tagName}.${e.getAttribute("class") || ""} "${e.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return [...new Set(out)].slice(0, 12);
})()"""
# Keyboard: what the first presses of Tab reach, and the tooltip of a point.
TIP = """(() => { const dot = document.querySelector(".dot"); if (!dot) return "none"; dot.focus(); const t = document.getElementById("tip"); const text = t.hidden ? "" : t.textContent; dot.blur(); return text; })()"""


# A plot is one stop of Tab, and arrows go on from there.
WALK = """[...document.querySelectorAll("figure svg")].every(s => {
  const dots = [...s.querySelectorAll(".dot")], stops = dots.filter(d => d.tabIndex === 0);
  if (dots.length < 2) return stops.length === dots.length;
  dots[0].focus();
  dots[0].dispatchEvent(new KeyboardEvent("keydown", {key: "ArrowRight", bubbles: true}));
  const moved = document.activeElement === dots[1] && dots[1].tabIndex === 0 && dots[0].tabIndex === -1;
  dots[1].dispatchEvent(new KeyboardEvent("keydown", {key: "Home", bubbles: true}));
  return stops.length === 1 && moved && document.activeElement === dots[0];
})"""
# Text of the report must stay text.
MARKUP = "window.PWNED || document.scripts.length !== 2 || document.querySelectorAll('img, b, iframe, object, script[src]').length"
PRINT = """(() => {
  const all = [...document.querySelectorAll("details")], before = all.filter(d => d.open).length;
  dispatchEvent(new Event("beforeprint"));
  const empty = all.filter(d => !d.open || d.children.length < 2).length;
  const cut = [...document.querySelectorAll("table")].filter(t => t.getBoundingClientRect().right > innerWidth).map(t => t.caption.textContent);
  return {all: all.length, before, empty, cut};
})()"""
PRINTED = "dispatchEvent(new Event('afterprint')); [...document.querySelectorAll('details')].filter(d => d.open).length"


# Texts beside points, and where everything stands.
MARKS = """[...document.querySelectorAll("figure")].filter(f => f.querySelector(".marks")).map(f => {
  const box = e => { const b = e.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
  return {title: f.querySelector("figcaption").textContent, width: f.querySelector(".marks").ownerSVGElement.viewBox.baseVal.width,
    texts: [...f.querySelectorAll(".marks text")].map(e => [e.textContent, box(e)]),
    dots: [...f.querySelectorAll(".dot")].map(e => [e.getAttribute("aria-label"), box(e)])};
})"""
# The matrix from its section's head to its last row; what of the folded tokens is open.
DENSE = """({rows: document.querySelectorAll("#matrix tbody tr").length, height: (() => {
    const s = document.querySelector("#matrix"); return s ? s.querySelector("table").getBoundingClientRect().bottom - s.getBoundingClientRect().top : 0; })(),
  folded: document.querySelectorAll("details.top").length, open: document.querySelectorAll("details.top[open]").length,
  environments: document.querySelectorAll("dl.facts").length,
  paths: [...document.querySelectorAll("dl.facts dt")].filter(e => e.textContent === "libraries" && /[/]|[.]so/.test(e.nextSibling.textContent)).length})"""


def check_marks(check, name, figures, wide):
    """Texts beside points cover no point and no other text; where there is room, every type has one."""
    meet = lambda a, b: a[0] + 1 < b[2] and b[0] + 1 < a[2] and a[1] + 2 < b[3] and b[1] + 2 < a[3]
    for f in figures:
        for i, (text, box) in enumerate(f["texts"]):
            over = [t for t, b in f["texts"][:i] + f["dots"] if meet(box, b)]
            check.that(not over, f"{name}: {f['title']}: {text!r} covers {over[:3]}")
            check.that(box[0] >= 0 and box[2] <= f["width"] + 1, f"{name}: {f['title']}: {text!r} is cut off")
        if wide and f["title"].startswith("Cost of a type"):
            types = sorted(said.split(", ", 1)[1] for said, _ in f["dots"] if said.startswith("mean"))
            check.that(sorted(t for t, _ in f["texts"]) == types, f"{name}: {f['title']}: marks {f['texts']}, types {types}")


def check_print(check, browser, url, strict):
    """On paper (A4 within its margins) all is open, nothing is cut off, and the palette is the light one."""
    browser.open(url, 718, 1000, False, "dark", media="print")
    s = browser.evaluate(PRINT)
    check.that(s["empty"] == 0, f"print: {s['empty']} of {s['all']} details are closed or empty")
    check.that(not (strict and s["cut"]), f"print: wider than the paper: {s['cut']}")
    low = browser.evaluate(CONTRAST)
    check.that(not low, f"print: too little contrast: {low}")
    check.that(browser.evaluate(PRINTED) == s["before"], "print: what was opened for paper stays open")


def check_view(check, browser, url, view, data, wanted, said, plainly):
    """plainly: the report's names have a usual length."""
    name = view[0]
    browser.open(url, *view[1:])
    tip_text = browser.evaluate(TIP)
    check.that(tip_text, f"{name}: a point that has the focus shows no tooltip")
    check.that(browser.evaluate(WALK), f"{name}: Tab and arrows do not go over the plots as they should")
    check.that(not browser.evaluate(MARKUP), f"{name}: text of the report became markup")
    dense, wide = browser.evaluate(DENSE), view[1] >= 1280
    check.that(not dense["open"], f"{name}: {dense['open']} lists of tokens are open")
    if plainly:
        check.that("models" not in data or dense["environments"] == 1 and dense["paths"] == 0, f"{name}: the environment is {dense}")
        # All of 27 types are seen at once on a screen of 800 pixels.
        check.that(not wide or dense["height"] <= 200 + 22 * dense["rows"],
                   f"{name}: {dense['rows']} rows of the matrix are {dense['height']} pixels high")
        check_marks(check, name, browser.evaluate(MARKS), wide)
    browser.evaluate(OPEN_ALL)
    check_numbers(check, browser.evaluate(NUMBERS), data)
    check_tables(check, name, browser.evaluate(TABLES), wanted)
    check_dots(check, name, browser.evaluate(DOTS))
    texts = [plain(t) for t in browser.evaluate("[...document.querySelectorAll('p, summary')].map(e => e.textContent)")]
    for sentence in map(plain, said):
        check.that(any(t.endswith(sentence) and not t.removesuffix(sentence)[-1:].isdigit() for t in texts),
                   f"{name}: the page does not say {sentence!r}")
    stray = browser.evaluate(STRAY)
    check.that(not stray, f"{name}: numbers that come from nowhere: {stray[:5]}")
    wide = browser.evaluate(WIDE)
    check.that(wide <= view[1], f"{name}: the page is {wide} wide, the screen {view[1]}")
    names = browser.evaluate(NAMES)
    check.that(not names, f"{name}: without a name: {names[:3]}")
    s = browser.evaluate(STRUCTURE)
    check.that(s["lang"] == "en" and s["h1"] == 1 and s["main"] and s["nav"] and s["jumps"] == 0, f"{name}: structure: {s}")
    check.that(s["heads"] and s["plots"] and s["axes"], f"{name}: tables or plots without heads, names or axes: {s}")
    check.that(not s["broken"], f"{name}: {s['broken']} is on the page")
    low = browser.evaluate(CONTRAST)
    check.that(not low, f"{name}: too little contrast: {low}")
    for m in browser.events:
        p = m.get("params", {})
        if m.get("method") == "Runtime.exceptionThrown":
            check.that(False, f"{name}: exception: {p['exceptionDetails'].get('exception', {}).get('description')}")
        if m.get("method") == "Runtime.consoleAPICalled" or m.get("method") == "Log.entryAdded":
            check.that(False, f"{name}: console: {json.dumps(p)[:300]}")
        if m.get("method") == "Network.requestWillBeSent":
            check.that(p["request"]["url"] == url or p["request"]["url"].startswith("data:"), f"{name}: loads {p['request']['url']}")


def main():
    args, shots = sys.argv[1:], None
    if "--shots" in args:
        at = args.index("--shots")
        shots = args[at + 1]
        del args[at:at + 2]
    if len(args) != 2:
        raise SystemExit(__doc__)
    assay, path = args
    chromium = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if not chromium:
        print("page_test: no Chromium is installed")
        return 77
    check = Check()
    with tempfile.TemporaryDirectory() as work:
        page = os.path.join(work, "page.html")
        kept = os.path.isdir(path)
        subprocess.run([assay, "report", "index" if kept else "html", path, "--out", page], check=True)
        browser = Browser(chromium, os.path.join(work, "profile"))
        try:
            url = "file://" + page
            browser.open(url, *VIEWS[0][1:])
            data = json.loads(browser.evaluate("JSON.stringify(DATA)"))
            if kept:
                check_kept(check, data, path)
                wanted, said = list(page_tables.of_kept(data["reports"], shown)), []
            else:
                with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
                    report = json.load(f)
                check_data(check, data, report)
                wanted = list(page_tables.of_report(report, data["matrix"], shown))
                said = list(page_tables.sentences(report, data["matrix"]))
            for view in VIEWS:
                check_view(check, browser, url, view, data, wanted, said, "hostile" not in path)
                if shots:
                    os.makedirs(shots, exist_ok=True)
                    browser.open(url, *view[1:])
                    browser.shoot(os.path.join(shots, view[0] + ".png"))
            check_print(check, browser, url, "hostile" not in path)
        finally:
            browser.close()
    print(f"page_test: {len(check.failures)} failures in {len(VIEWS)} views")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
