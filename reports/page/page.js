/* The page of one report: what it says follows from DATA alone. */
const plural = (n, one, many) => n === 1 ? one : many || one + "s";
const badStatus = s => s === "fail" || s === "crash" || s === "timeout";

/* Text of tokens: what would not be seen is written out. */
const visible = s => s.replace(/[\u0000-\u001f\u007f]/g, c => c === "\n" ? "\\n" : c === "\t" ? "\\t" : "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"));

/* What a member is called on the page: kl_mean is KL mean. */
const heading = key => key.replace(/_/g, " ").replace(/\b(kl|nmse)\b/g, w => w.toUpperCase());

function head() {
  const v = document.getElementById("verdict");
  v.textContent = (DATA.verdict.good ? "✓\u00a0" : "✗\u00a0") + DATA.verdict.text;
  v.className = DATA.verdict.good ? "good" : "bad";
  document.title = (DATA.verdict.good ? "✓\u00a0" : "✗\u00a0") + "Assay report";
  const tool = DATA.tool;
  document.getElementById("meta").append(`assay ${tool.version} (${tool.git}${tool.dirty ? ", with changes not committed" : ""}) on ${DATA.environment.host}, ${DATA.started}, `,
    show("/seconds", "real"), " s. ", DATA.complete ? "" : `Not complete${DATA.stopped ? ": " + DATA.stopped : ""}. `,
    ...Object.keys(DATA.summary).filter(k => DATA.summary[k] > 0).flatMap((k, i) => [i ? ", " : "", show("/summary/" + k), " " + k]), ".");
}

/* ---- types x subjects ---- */

function matrixCell(type, subject) {
  const cell = (DATA.matrix.cells[type] || {})[subject], p = `/matrix/cells/${escapePointer(type)}/${escapePointer(subject)}`;
  if (!cell) return el("td", {class: "none"}, "not asked");
  if (cell.failed) return el("td", {class: "fail"}, "✗\u00a0", show(p + "/failed"), " of ", show(p + "/run"), cell.used === "nan" || real(cell.used) > 1 ? el("small", {}, "worst ", show(p + "/used", "percent")) : null);
  if (!cell.run) return el("td", {class: "skip-cell", title: cell.reason}, "skipped", el("small", {}, show(p + "/skipped"), plural(cell.skipped, " case")));
  const used = real(cell.used), kind = used > 0.5 ? "marginal" : "pass";
  return el("td", {class: kind, style: `--used: ${Math.min(1, 2 * used)}`}, used > 0.5 ? "≈\u00a0" : "✓\u00a0", used > 0 ? show(p + "/used", "percent") : "exact",
    el("small", {}, show(p + "/run"), plural(cell.run, " case"), cell.skipped ? [", ", show(p + "/skipped"), " skipped"] : ""));
}
function matrix() {
  const m = DATA.matrix;
  if (!m.types.length) return;
  section("matrix", "Conformance", el("p", {}, "Does each subject compute what the file says? A cell has the largest share of an error bound that any of its cases used: above 100\u00a0% is a failure, above 50\u00a0% is marginal."),
    table("Types by subjects", [{head: "type or suite", row: true, cell: i => m.types[i]},
      ...m.subjects.map(s => ({head: s, cell: i => matrixCell(m.types[i], s)}))], m.types.length, "dense"));
}

/* ---- one model in all types ---- */

function subjectCell(p, s) {
  if (!s) return el("td", {class: "none"}, "not asked");
  if (s.verdict === "not_run") return el("td", {class: badStatus(s.status) ? "fail" : "skip-cell", title: s.reason}, badStatus(s.status) ? "✗\u00a0" + s.status : "skipped");
  const kind = badStatus(s.status) ? "fail" : s.verdict === "tie" ? "tie" : s.status;
  return el("td", {class: kind, style: `--used: ${Math.min(1, 2 * real(s.used))}`}, kind === "fail" ? "✗\u00a0" : kind === "pass" ? "✓\u00a0" : "≈\u00a0",
    show(p + "/used", "percent"), el("small", {}, s.verdict === "agree" ? s.status : s.verdict + ", token ", s.verdict === "agree" ? null : show(p + "/top_id")));
}
/* Why subjects did not run: a reason is said once, with its types unless it holds for all of them. */
function notRun(types, subjects) {
  const lines = subjects.flatMap(s => {
    const having = types.filter(t => t.subjects[s] && t.subjects[s].verdict === "not_run" && t.subjects[s].reason);
    return [...new Set(having.map(t => t.subjects[s].reason))].map(reason => {
      const names = having.filter(t => t.subjects[s].reason === reason).map(t => t.type.toUpperCase());
      return `Not run on ${s}${names.length < types.length ? ` in ${names.join(", ")}` : ""}: ${reason}`;
    });
  });
  return lines.map(line => el("p", {class: "note"}, line));
}
/* The likeliest token; the others are folded away. */
function topTokens(top, p) {
  const token = n => [top[n].text ? el("q", {title: "token " + top[n].id}, visible(top[n].text)) : ["token ", show(`${p}/${n}/id`)], " ", show(`${p}/${n}/logit`, "real")];
  if (top.length < 2) return el("span", {class: "top"}, top.length ? token(0) : "–");
  return el("details", {class: "top"}, el("summary", {}, token(0)), el("ol", {start: 2}, top.slice(1).map((_, n) => el("li", {}, token(n + 1)))));
}
function models() {
  DATA.models.forEach((model, k) => {
    const p = `/models/${k}`, types = model.types, subjects = [...new Set(types.flatMap(t => Object.keys(t.subjects)))];
    const t = i => `${p}/types/${i}`;
    const content = [el("p", {}, model.prompt ? ["Top tokens after ", el("q", {}, visible(model.prompt)), ", by the reference. "] : "",
      "KL and same top: what the type costs against the master, over all prompts. No engine can be blamed for that; the subjects' columns say what each one makes of the same bytes.")];
    content.push(table(`${model.name} in ${types.length} ${plural(types.length, "type")}`, [
      {head: "type", row: true, cell: i => types[i].type.toUpperCase()},
      {head: "bits", num: true, cell: i => show(t(i) + "/bits_per_weight", "real")},
      {head: "size", num: true, cell: i => show(t(i) + "/bytes", "bytes")},
      {head: "top token, logit", cell: i => topTokens(types[i].top, t(i) + "/top")},
      {head: "margin", num: true, cell: i => show(t(i) + "/margin", "real")},
      {head: "KL mean", num: true, cell: i => show(t(i) + "/kl_mean", "real")},
      {head: "KL max", num: true, cell: i => show(t(i) + "/kl_max", "real")},
      {head: "same top", num: true, cell: i => types[i].kl_mean === null ? "–" : [show(t(i) + "/same_top"), " of ", show(t(i) + "/prompts")]},
      ...subjects.map(s => ({head: s, cell: i => subjectCell(`${t(i)}/subjects/${escapePointer(s)}`, types[i].subjects[s])}))], types.length, "dense"), notRun(types, subjects));
    const measured = types.map((x, i) => [x, i]).filter(([x]) => x.kl_mean !== null).sort((a, b) => real(a[0].bits_per_weight) - real(b[0].bits_per_weight));
    if (measured.length) content.push(plot({title: "Cost of a type: KL divergence from the master",
      x: {label: "bits per weight", name: "type", log: true}, y: {label: "KL (nats)", unit: "nats", log: true}, tall: true,
      series: [["mean over positions", "kl_mean"], ["worst position", "kl_max"]].map(([name, key], n) => ({name, line: false, shape: n ? "diamond" : "circle", color: colorOf(n),
        points: measured.map(([x, i]) => ({x: real(x.bits_per_weight), y: real(x[key]), p: `${t(i)}/${key}`, label: x.type.toUpperCase(), mark: n ? null : x.type.toUpperCase()}))}))}));
    content.push(layers(model, t));
    section("model-" + k, `Tensor types: ${model.name}`, ...content);
  });
}
function layers(model, t) {
  const having = model.types.map((x, i) => [x, i]).filter(([x]) => x.layers.length);
  if (!having.length) return null;
  /* Six to begin with, from the first to the last. */
  const first = new Set([0, 1, 2, 3, 4, 5].map(k => Math.round(k * (having.length - 1) / 5)));
  const chart = (title, key, label) => plot({title, choose: having.length > 6,
    x: {label: "layer", name: "layer", whole: true}, y: {label, log: true},
    series: having.map(([x, i], n) => ({name: x.type.toUpperCase(), off: !first.has(n), points: x.layers.map((l, j) =>
      ({x: l.layer, y: real(l[key]), p: `${t(i)}/layers/${j}/${key}`, label: "layer " + l.layer}))}))});
  return [el("h3", {}, "Residual stream after each layer, by the reference"),
    el("div", {class: "grid"}, chart("Root mean square", "rms", "RMS"), chart("Largest magnitude", "max_abs", "max |x|"))];
}

/* ---- localisation: error over layers ---- */

function errorPlot(run, k, v) {
  const variant = run.variants[v], sites = variant.sites, p = i => `/locate/${k}/variants/${v}/sites/${i}`;
  const ticks = [];
  let last = null;
  sites.forEach((s, i) => { if (s.layer !== last && s.layer !== null) ticks.push([i, s.layer]); last = s.layer; });
  const name = s => (s.layer === null ? "" : `layer ${s.layer}, `) + s.site;
  const line = (title, part, key, color, extra) => ({name: title, color, ...extra,
    points: sites.map((s, i) => s[part] ? {x: i, y: real(s[part][key]), p: `${p(i)}/${part}/${key}`, label: name(s)} : null).filter(Boolean)});
  const parts = [["free", "its own inputs"], ["local", "the reference's inputs"]].filter(([part]) => sites.some(s => s[part]));
  return el("div", {class: "grid"}, parts.map(([part, what]) => plot({
    title: part === "free" ? "Running freely: what has accumulated" : "Fed with the reference's values: each operation alone",
    x: {label: "layer, sites in order of computation", name: "site", ticks}, y: {label: "error", log: true},
    series: [line(`error (${what})`, part, "error", part === "free" ? colorOf(0) : colorOf(2), {}),
      line("bound", part, "bound", colorOf(1), {dash: "6 3", marks: false})]})));
}
function locate() {
  if (!DATA.locate.length) {
    section("errors", "Error over layers", el("p", {class: "note"}, "No localisation is part of this report. ", el("code", {}, "assay locate MODEL --report part.json"), " makes one, ", el("code", {}, "assay report merge"), " adds it."));
    return;
  }
  const content = [];
  DATA.locate.forEach((run, k) => {
    content.push(el("h3", {}, `${run.model.split("/").pop()} on ${run.subject}`), el("p", {}, el("span", {class: "badge " + run.status}, run.status), " " + run.verdict));
    const ran = run.variants.map((v, i) => [v, i]).filter(([v]) => v.ran && v.sites.length);
    const holder = el("div");
    if (ran.length) {
      const first = ran.find(([v]) => v.defect) || ran[0];
      const choice = el("select", {"aria-label": "Way of running"}, ran.map(([v, i]) => el("option", {value: i, selected: i === first[1]}, v.name + (v.defect ? " (defect)" : ""))));
      choice.addEventListener("change", () => holder.replaceChildren(errorPlot(run, k, +choice.value)));
      content.push(el("label", {}, "Way of running: ", choice), holder);
      holder.append(errorPlot(run, k, first[1]));
    }
    const not = run.variants.filter(v => !v.ran);
    if (not.length) content.push(el("p", {class: "note"}, "Not run: ", not.map(v => `${v.name} (${v.reason})`).join("; ")));
  });
  section("errors", "Error over layers", ...content);
}

/* ---- failures ---- */

function caseBox(c, i) {
  const p = "/cases/" + i, facts = el("dl");
  const fact = (name, ...value) => facts.append(el("dt", {}, name), el("dd", {}, ...value));
  if (c.message) fact("why", c.message);
  if (badStatus(c.status) ? c.bad : true) {
    fact("error", show(p + "/error", "real"), ", bound ", show(p + "/bound", "real"), ", used ", show(p + "/used", "percent"));
    if (c.bad) fact("bad", show(p + "/bad"), " elements, the first at index ", show(p + "/first_bad"));
    if (c.pattern) fact("where", c.pattern);
  }
  if (c.nmse_worst_row !== null) fact("NMSE", show(p + "/nmse_worst_row", "real"), " (worst row)");
  if (c.variant) fact("kernel", c.variant);
  if (c.machine) fact("machine", c.machine);
  fact("seed", c.seed);
  return el("div", {class: "case" + (badStatus(c.status) ? "" : " marginal-case")}, el("h3", {}, el("span", {class: "badge " + c.status}, c.status), " " + c.name), facts,
    c.rerun ? el("pre", {class: "rerun", tabindex: 0, "aria-label": "Command that repeats this case"}, c.rerun) : null);
}
function cases() {
  const boxes = DATA.cases.map((c, i) => [c, caseBox(c, i)]), s = DATA.summary;
  const bad = boxes.filter(([c]) => badStatus(c.status)).map(b => b[1]), other = boxes.filter(([c]) => !badStatus(c.status)).map(b => b[1]);
  const nBad = s.fail + s.crash + s.timeout, nOther = s.marginal + s.waived;
  const more = (have, all) => have < all ? el("p", {class: "note"}, `${all - have} more are in the report.`) : null;
  section("failures", "Failures", nBad ? bad : el("p", {}, DATA.n_cases ? "None." : "No case was run."), more(bad.length, nBad));
  if (nOther) section("marginal", "Marginal and waived", el("p", {}, "Passed, but with more than half of the bound used; or failed with leave."),
    el("details", {}, el("summary", {}, `${nOther} ${plural(nOther, "case")}`), other, more(other.length, nOther)));
}

/* ---- what quantization costs, measured at length ---- */

function effects() {
  if (!DATA.effect.length) return;
  const content = [];
  DATA.effect.forEach((run, k) => {
    const p = `/effect/${k}`, types = run.types, t = i => `${p}/types/${i}`, name = i => types[i].type.split("/").pop();
    const spread = (i, key) => [show(`${t(i)}/${key}/value`, "real"), el("small", {}, show(`${t(i)}/${key}/low`, "real"), " to ", show(`${t(i)}/${key}/high`, "real"))];
    content.push(el("h3", {}, run.model.split("/").pop()), el("p", {}, "The reference on each type against the reference on the master, over ", show(p + "/tokens"), " tokens of ", run.text, ". Intervals are at 95\u00a0%.", run.partial ? " Not complete." : ""));
    const lossy = run.master_quantized || [];
    if (lossy.length) content.push(el("p", {}, `This master is quantized itself (${lossy.join(", ")}): what follows is on top of what that has cost.`));
    content.push(table("What each type costs", [{head: "type", row: true, cell: i => name(i)},
      {head: "bits", num: true, cell: i => show(t(i) + "/bits_per_weight", "real")},
      {head: "KL mean (nats)", num: true, cell: i => spread(i, "kl_mean")}, {head: "KL 99\u00a0%", num: true, cell: i => show(t(i) + "/kl_p99", "real")},
      {head: "KL max", num: true, cell: i => show(t(i) + "/kl_max", "real")}, {head: "same top", num: true, cell: i => spread(i, "same_top")},
      {head: "top 5 in common", num: true, cell: i => show(t(i) + "/top5_overlap", "real")}, {head: "perplexity", num: true, cell: i => show(t(i) + "/perplexity", "real")},
      {head: "its ratio", num: true, cell: i => spread(i, "perplexity_ratio")}, {head: "grade", cell: i => types[i].grade}], types.length));
    if (types.length > 1) content.push(plot({title: "KL divergence against bits per weight", x: {label: "bits per weight", name: "type", log: true}, y: {label: "KL (nats)", unit: "nats", log: true}, tall: true,
      series: [{name: "mean", line: false, points: types.map((x, i) => ({x: real(x.bits_per_weight), y: real(x.kl_mean.value), p: t(i) + "/kl_mean/value", label: name(i), mark: name(i)}))}]}));
    if (types.some(x => x.layers.length)) content.push(plot({title: "Error of the residual stream over layers, as a share of it", choose: types.length > 6, x: {label: "layer", name: "layer", whole: true}, y: {label: "relative error", log: true},
      series: types.map((x, i) => ({name: name(i), off: i >= 6, points: x.layers.map((l, j) => ({x: l.layer, y: real(l.relative_error), p: `${t(i)}/layers/${j}/relative_error`, label: "layer " + l.layer}))}))}));
    types.forEach((x, i) => {
      if (!x.tensors.length) return;
      const order = x.tensors.map((_, j) => j).sort((a, b) => real(x.tensors[b].kl_mean) - real(x.tensors[a].kl_mean));
      content.push(el("details", {}, el("summary", {}, `${name(i)}: one tensor at a time`), table("KL divergence when one tensor alone is encoded", [
        {head: "tensor", row: true, cell: j => x.tensors[order[j]].name}, {head: "type", cell: j => x.tensors[order[j]].type},
        {head: "KL mean", num: true, cell: j => show(`${t(i)}/tensors/${order[j]}/kl_mean`, "real")}], order.length)));
    });
    const studies = run.precision || [];
    if (studies.length) content.push(table("Precision: inputs of products, and sums", [{head: "inputs", row: true, cell: i => studies[i].activations}, {head: "sums", cell: i => studies[i].accumulate},
      ...["kl_mean", "kl_max", "same_top", "positions"].map(key => ({head: heading(key), num: true, cell: i => show(`${p}/precision/${i}/${key}`)}))], studies.length));
  });
  section("effect", "Effect of quantization", ...content);
}

function mutants() {
  const rows = DATA.mutants;
  if (!rows.length) return;
  const count = v => rows.filter(r => r.verdict === v).length, kinds = [...new Set(rows.map(r => r.verdict))];
  const body = table("Faults and what found them", [{head: "fault", row: true, cell: i => rows[i].name},
    {head: "subject", cell: i => rows[i].subject}, {head: "verdict", cell: i => el("td", {class: rows[i].verdict === "killed" ? "pass" : rows[i].verdict === "survived" ? "fail" : "skip-cell"}, rows[i].verdict)},
    {head: "found by", cell: i => rows[i].killed_by || "–"}, {head: "bound used", num: true, cell: i => show(`/mutants/${i}/used`, "percent")},
    {head: "change", cell: i => el("span", {}, el("code", {}, rows[i].from), " → ", el("code", {}, rows[i].to))}, {head: "file", cell: i => rows[i].file}], rows.length);
  section("mutants", "Mutants", el("p", {}, "Faults put into the engine's sources one at a time: each one must be found. " + kinds.map(v => `${count(v)} ${v}`).join(", ") + "."),
    el("details", {open: rows.length <= 20}, el("summary", {}, `All ${rows.length}`), body));
}

/* ---- tables of flat entries ---- */

function flatTable(id, title, key, note) {
  const rows = DATA[key] || [];
  if (!rows.length) return;
  const columns = [...new Set(rows.flatMap(r => Object.keys(r)))].filter(c => rows.some(r => r[c] !== null && typeof r[c] !== "object"));
  const text = v => typeof v === "string" && Number.isNaN(Number(v));
  const make = () => table(title, columns.map((c, n) => ({head: heading(c), row: n === 0, num: rows.every(r => !text(r[c])),
    cell: i => rows[i][c] === undefined || (rows[i][c] !== null && typeof rows[i][c] === "object") ? "–" : text(rows[i][c]) ? rows[i][c] : show(`/${key}/${i}/${escapePointer(c)}`)})), rows.length);
  section(id, title, el("p", {}, note), rows.length > 20 ? lazy(`All ${rows.length}`, make) : make());
}

/* ---- coverage and environment ---- */

function coverage() {
  const cells = DATA.coverage, name = c => [c.suite, c.op, c.type].filter(Boolean).join(".");
  if (!cells.length) return;
  const skipped = cells.map((c, i) => [c, i]).filter(([c]) => c.skipped), m = DATA.matrix;
  const holes = m.types.flatMap(t => m.subjects.filter(s => !(m.cells[t] || {})[s]).map(s => `${t} on ${s}`));
  const columns = rows => [
    {head: "what", row: true, cell: i => name(rows[i][0])}, {head: "subject", cell: i => rows[i][0].subject || "–"},
    ...["asked", "run", "skipped", "failed"].map(key => ({head: key, num: true, cell: i => show(`/coverage/${rows[i][1]}/${key}`)})),
    {head: "bound used", num: true, cell: i => show(`/coverage/${rows[i][1]}/used`, "percent")}, {head: "reason", cell: i => rows[i][0].reason || "–"}];
  const all = cells.map((c, i) => [c, i]), full = lazy(`All ${all.length} cells`, () => table("Coverage", columns(all), all.length));
  const groups = new Map();
  for (const [c, i] of skipped) {
    const key = JSON.stringify([c.subject || "assay", c.reason || "no reason given"]);
    groups.set(key, [...groups.get(key) || [], [c, i]]);
  }
  const group = ([key, rows]) => {
    const [subject, reason] = JSON.parse(key), sum = rows.reduce((n, [c]) => n + c.skipped, 0);
    return el("li", {}, el("strong", {}, subject), ": ", el("span", {"data-sum": rows.map(([, i]) => `/coverage/${i}/skipped`).join(" ")}, String(sum)), ` ${plural(sum, "case")}: ${reason}`,
      el("details", {}, el("summary", {}, "Which"), table("Skipped", columns(rows).slice(0, -1), rows.length)));
  };
  section("coverage", "Coverage", el("h3", {}, "Not run"),
    skipped.length ? el("ul", {}, [...groups].map(group)) : el("p", {}, "All cases that were asked for were run."),
    holes.length ? el("details", {}, el("summary", {}, `${holes.length} ${plural(holes.length, "pair")} of type and subject without a case`), el("p", {}, holes.join(", "))) : null,
    el("h3", {}, "Run"), full);
}
/* Older programs wrote the paths of shared objects: of /usr/lib/libz.so.1.2 stays libz 1.2. */
const library = text => text.startsWith("/") ? text.split("/").pop().replace(/\.so(\.|$)/, " ").trim() : text;
/* What is known of a machine: [[name, text, hash]]. */
function facts(env) {
  return [...["host", "kernel", "cpu", "compiler", "flags"].map(key => [key, env[key]]),
    ...env.devices.map(d => ["device " + d.subject, [d.name, d.driver, d.api, d.features].filter(Boolean).join(" · ")]),
    ...env.models.map(m => ["model", m.path, m.sha256]),
    ["golden data", env.vectors_sha256 ? "" : "none", env.vectors_sha256],
    ["libraries", [...new Set(env.libraries.map(library))].sort().join(", ")]];
}
/* One list for all machines of a merged report: of another machine, what differs from the first. */
function environment() {
  const list = el("dl", {class: "facts"}), first = facts(DATA.environment), known = new Set(first.map(f => JSON.stringify(f)));
  const add = ([name, text, hash], machine) => list.append(el("dt", {}, name, machine ? [" on ", machine] : null),
    el("dd", {}, text, text && hash ? el("br") : null, hash ? el("code", {}, hash) : null));
  for (const f of first) add(f);
  for (const m of DATA.machines || []) for (const f of facts(m)) if (!known.has(JSON.stringify(f))) add(f, m.machine);
  section("environment", "Environment", list, el("p", {class: "note"}, `Seed ${DATA.seed}, schema ${DATA.schema_version}.`));
}

head();
matrix();
models();
locate();
cases();
effects();
flatTable("bench", "Speed", "bench", "Medians; the spread is half the distance between the quartiles.");
flatTable("quantize", "Quantized tensors", "quantize", "Errors against the values that were encoded.");
mutants();
coverage();
environment();
