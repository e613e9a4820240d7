/* The page over kept reports. */
const reports = DATA.reports;
const label = (r, i) => `${r.version} (${r.git}${r.dirty ? "+" : ""}) ${r.started.slice(0, 10)}, ${r.file}`;
const ticks = reports.map((r, i) => [i, r.version]);
const x = {label: "version, oldest first", name: "report", ticks};

section("passes", "Passed cases", plot({title: "Cases by result", x, y: {label: "cases", unit: "cases", kind: "number", min: 0},
  series: [["pass", 2], ["marginal", 7], ["fail", 1], ["crash", 4], ["timeout", 3], ["skip", 5], ["waived", 6]].filter(([s]) => reports.some(r => r.summary[s])).map(([s, c]) => ({
    name: s, color: colorOf(c), points: reports.map((r, i) => ({x: i, y: r.summary[s], p: `/reports/${i}/summary/${s}`, label: label(r, i)}))}))}));

/* The worst share per subject over all types; nan and inf are the worst. */
const size = v => typeof v === "number" ? v : Infinity;
const subjects = [...new Set(reports.flatMap(r => r.matrix.subjects))];
const worst = (r, i, s) => r.matrix.types.map(t => [(r.matrix.cells[t] || {})[s], `/reports/${i}/matrix/cells/${escapePointer(t)}/${escapePointer(s)}/used`])
  .filter(([c]) => c && c.used !== null).reduce((a, b) => !a || size(b[0].used) > size(a[0].used) ? b : a, null);
section("budget", "Budget used", el("p", {}, "The largest share of an error bound that any case of a subject used; 1 is the bound."),
  plot({title: "Worst case per subject", x, y: {label: "share of the bound", log: true},
    series: subjects.map(s => ({name: s, points: reports.map((r, i) => [worst(r, i, s), r, i]).filter(([w]) => w)
      .map(([w, r, i]) => ({x: i, y: real(w[0].used), p: w[1], label: label(r, i)}))})).filter(s => s.points.length)}));

const units = [...new Set(reports.flatMap(r => r.bench.map(b => b.unit)))];
section("speed", "Speed", units.length ? units.map(unit => {
  const names = [...new Set(reports.flatMap(r => r.bench.filter(b => b.unit === unit).map(b => b.name + " on " + b.subject)))];
  return plot({title: `Medians in ${unit}`, choose: names.length > 6, x, y: {label: unit, unit, min: 0},
    series: names.map((name, n) => ({name, off: n >= 6, points: reports.flatMap((r, i) => r.bench.map((b, k) => [b, k])
      .filter(([b]) => b.unit === unit && b.name + " on " + b.subject === name)
      .map(([b, k]) => ({x: i, y: real(b.median), p: `/reports/${i}/bench/${k}/median`, label: label(r, i)})))}))});
}) : el("p", {}, "None of these reports has measurements."));

section("reports", "Reports", table("All kept reports", [
  {head: "version", row: true, cell: i => reports[i].version},
  {head: "commit", cell: i => el("code", {}, reports[i].git + (reports[i].dirty ? "+" : ""))},
  {head: "run", cell: i => reports[i].started},
  ...["pass", "marginal", "fail", "crash", "timeout", "skip", "waived"].map(s => ({head: s, num: true, cell: i => show(`/reports/${i}/summary/${s}`)})),
  {head: "complete", cell: i => show(`/reports/${i}/complete`)},
  {head: "processor", cell: i => reports[i].cpu},
  {head: "devices", cell: i => reports[i].devices.map(d => d.subject).join(", ")},
  {head: "file", cell: i => el("a", {href: "./" + encodeURIComponent(reports[i].file)}, reports[i].file)}], reports.length));
