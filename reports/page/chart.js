/* Elements, numbers and plots that the pages share. Plots are inline SVG, drawn at the width they
   have, with their numbers as a table beneath. */
const DATA = JSON.parse(document.getElementById("data").textContent);

/* el("td", {class: "num"}, child, ...): children are nodes or text. */
function el(name, attributes, ...children) {
  const e = document.createElement(name);
  fill(e, attributes, children);
  return e;
}
function svg(name, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(e, attributes, children);
  return e;
}
function fill(e, attributes, children) {
  for (const [k, v] of Object.entries(attributes || {}))
    if (v !== undefined && v !== null && v !== false) e.setAttribute(k, v === true ? "" : v);
  for (const c of children.flat(9)) if (c !== null && c !== undefined) e.append(c);
}

/* ---- numbers: as they stand in JSON, where nan, inf and -inf are text ---- */

function real(v) {
  if (v === "nan") return NaN;
  if (v === "inf") return Infinity;
  if (v === "-inf") return -Infinity;
  return v;
}
/* Three digits; integers whole. */
function format(v, kind) {
  if (v === null || v === undefined) return "–";
  if (typeof v === "string") return v;
  if (typeof v === "boolean") return v ? "yes" : "no";
  if (kind === "percent") return threeDigits(100 * v) + " %";
  if (kind === "bytes") {
    let unit = 0;
    while (v >= 1000 && unit < 4) { v /= 1000; unit++; }
    return threeDigits(v) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
  }
  if (Number.isInteger(v) && kind !== "real") return String(v);
  return threeDigits(v);
}
function threeDigits(v) {
  if (v === 0) return "0";
  const size = Math.abs(v);
  if (size >= 1e5 || size < 1e-3) return v.toExponential(2);
  return size >= 100 ? v.toFixed(0) : v.toPrecision(3);
}
/* The value at a JSON pointer of the data, shown, and marked with where it comes from. */
function at(pointer) {
  let v = DATA;
  for (const part of pointer.split("/").slice(1))
    v = v === null || v === undefined ? v : v[part.replace(/~1/g, "/").replace(/~0/g, "~")];
  return v;
}
function show(pointer, kind, name) {
  const v = at(pointer);
  return el(name || "span", {"data-p": pointer, "data-f": kind || "number",
    title: typeof v === "number" && !Number.isInteger(v) ? String(v) : null}, format(v, kind));
}
function escapePointer(s) { return s.replace(/~/g, "~0").replace(/\//g, "~1"); }

/* ---- tables ---- */

/* columns: [{head, num, cell: (row index) => node, row: true if it names the row}]. kind: "dense" for a
   table of which as many rows as possible must be seen at once. */
function table(caption, columns, n, kind) {
  const head = el("thead", {}, el("tr", {}, columns.map(c => el("th", {scope: "col", class: c.num ? "num" : null}, c.head))));
  const body = el("tbody");
  for (let i = 0; i < n; i++)
    body.append(el("tr", {}, columns.map(c => {
      const content = c.cell(i);
      if (content instanceof Element && content.tagName === "TD") return content;
      if (c.row) return el("th", {scope: "row"}, content);
      return el("td", {class: c.num ? "num" : typeof content === "string" && content.length > 24 ? "long" : null}, content);
    })));
  return el("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption},
    el("table", {class: kind}, el("caption", {}, caption), head, body));
}

/* Details whose content is made when they are opened or printed. */
function lazy(summary, make) {
  const d = el("details", {}, el("summary", {}, summary));
  d.complete = () => { if (d.children.length === 1) d.append(make()); };
  d.addEventListener("toggle", () => { if (d.open) d.complete(); });
  return d;
}

/* ---- tooltips: by mouse, finger and keyboard ---- */

const tip = document.getElementById("tip");
let placeTip = null; /* puts it beside what it speaks of */
function tipOn(e, text) {
  const place = () => {
    tip.textContent = text;
    tip.hidden = false;
    const r = e.getBoundingClientRect(), w = tip.offsetWidth, h = tip.offsetHeight;
    tip.style.left = Math.max(4, Math.min(innerWidth - w - 4, r.left + r.width / 2 - w / 2)) + "px";
    tip.style.top = (r.top > h + 10 ? r.top - h - 8 : r.bottom + 8) + "px";
    placeTip = place;
  };
  for (const name of ["pointerenter", "focus", "click"]) e.addEventListener(name, place);
  for (const name of ["pointerleave", "blur"]) e.addEventListener(name, hideTip);
}
function hideTip() {
  tip.hidden = true;
  placeTip = null;
}
addEventListener("keydown", e => { if (e.key === "Escape") hideTip(); });
addEventListener("scroll", () => { if (placeTip) placeTip(); }, {passive: true});

/* ---- axes ---- */

function logTicks(lo, hi) {
  const first = Math.floor(Math.log10(lo)), last = Math.ceil(Math.log10(hi));
  const step = Math.max(1, Math.ceil((last - first) / 6)), ticks = [];
  for (let e = first; e <= last + step - 1; e += step) ticks.push(Math.pow(10, e));
  return ticks;
}
function linearTicks(lo, hi) {
  if (lo === hi) { hi = lo === 0 ? 1 : lo + Math.abs(lo) / 2; lo = lo > 0 ? 0 : lo; }
  const raw = (hi - lo) / 5, unit = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map(k => k * unit).find(s => s >= raw * 0.999), ticks = [];
  for (let k = Math.floor(lo / step + 1e-9); k * step < hi + step * 0.999; k++) ticks.push(+(k * step).toPrecision(12));
  return ticks;
}
function doublings(lo, hi) {
  const ticks = [];
  for (let e = Math.ceil(Math.log2(lo)); 2 ** e <= hi; e++) ticks.push(2 ** e);
  return ticks;
}
function tickText(v, log) {
  if (log) {
    const e = Math.round(Math.log10(v));
    return e >= -2 && e <= 3 ? String(+v.toPrecision(3)) : "1e" + e;
  }
  return Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? (+v.toPrecision(3)).toExponential() : String(v);
}

const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
function colorOf(i) { return "var(--c" + i % 8 + ")"; }
function dashOf(i) { return DASHES[Math.floor(i / 8) % DASHES.length]; }

function marker(shape, x, y, attributes) {
  if (shape === "square") return svg("rect", {x: x - 4, y: y - 4, width: 8, height: 8, ...attributes});
  if (shape === "diamond") return svg("path", {d: `M${x} ${y - 5}l5 5-5 5-5-5z`, ...attributes});
  if (shape === "triangle") return svg("path", {d: `M${x} ${y - 5}l5 9h-10z`, ...attributes});
  return svg("circle", {cx: x, cy: y, r: 4, ...attributes});
}

/* A plot. o: {title, x: {label, ticks: [[x, text]] or none, whole: no fractions, log, min, max}, y: {label, log,
   unit, kind: of format}, tall, series: [{name, color, dash, shape, line: bool, marks: bool, off, points: [{x, y, p, label, mark}]}]}
   mark: text beside the point, if there is room for it. tall: a plot with many marks.
   p: JSON pointer of y; y may be text (nan) and is then not drawn but in the table. */
function plot(o) {
  const figure = el("figure", {}, el("figcaption", {}, o.title)), holder = el("div");
  const legend = el("ul", {class: "legend"});
  o.series.forEach((s, i) => {
    if (s.color === undefined) { s.color = colorOf(i); s.dash = s.dash ?? dashOf(i); }
    const key = svg("svg", {"aria-hidden": "true", viewBox: "0 0 26 12"},
      s.line === false ? null : svg("line", {x1: 0, x2: 26, y1: 6, y2: 6, stroke: s.color, "stroke-width": 2, "stroke-dasharray": s.dash}),
      s.marks === false ? null : marker(s.shape, 13, 6, {fill: s.color}));
    if (!o.choose) { legend.append(el("li", {}, key, s.name)); return; }
    const box = el("input", {type: "checkbox", checked: !s.off});
    box.addEventListener("change", () => { s.off = !box.checked; draw(); });
    legend.append(el("li", {}, el("label", {}, box, key, s.name)));
  });
  fill(figure, {}, [legend, holder, missing(o), numbers(o)]);
  let width = 0;
  function draw() {
    width = holder.clientWidth || 600;
    holder.replaceChildren(drawPlot(o, width));
  }
  const watch = () => { if (holder.clientWidth && holder.clientWidth !== width) draw(); };
  if (window.ResizeObserver) new ResizeObserver(watch).observe(holder);
  else addEventListener("resize", watch);
  queueMicrotask(draw);
  return figure;
}

const canDraw = (o, v) => typeof v === "number" && isFinite(v) && (!o.y.log || v > 0);

/* Says how many values the plot cannot show. */
function missing(o) {
  const n = o.series.flatMap(s => s.points).filter(p => !canDraw(o, p.y)).length;
  return n ? el("p", {class: "note"}, `${n} ${n === 1 ? "value is" : "values are"} ${o.y.log ? "0 or " : ""}not finite and not drawn; the numbers have ${n === 1 ? "it" : "them"}.`) : null;
}

function drawPlot(o, width) {
  const shown = o.series.filter(s => !s.off), height = o.tall ? 440 : Math.max(220, Math.min(340, width * 0.55));
  const ok = v => canDraw(o, v);
  const ys = shown.flatMap(s => s.points.map(p => p.y)).filter(ok);
  const xs = o.series.flatMap(s => s.points.map(p => p.x));
  const root = svg("svg", {viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": o.title + "; arrow keys go from point to point"});
  if (!ys.length) {
    root.append(svg("text", {x: width / 2, y: height / 2, "text-anchor": "middle"}, o.y.log ? "All values are 0 or not finite." : "No values."));
    return root;
  }
  const yTicks = o.y.log ? logTicks(Math.min(...ys), Math.max(...ys)) : linearTicks(Math.min(o.y.min ?? Infinity, ...ys), Math.max(...ys));
  const left = 62, right = width - 12, top = 10, bottom = height - 44;
  const xMin = o.x.min ?? Math.min(...xs), xMax = o.x.max ?? Math.max(...xs);
  const fx = o.x.log ? Math.log2 : v => v;
  const px = x => xMax > xMin ? left + 8 + (fx(x) - fx(xMin)) / (fx(xMax) - fx(xMin)) * (right - left - 16) : (left + right) / 2;
  const lo = yTicks[0], hi = yTicks[yTicks.length - 1], f = o.y.log ? Math.log10 : v => v;
  const py = y => bottom - (f(y) - f(lo)) / (f(hi) - f(lo) || 1) * (bottom - top);
  for (const t of yTicks)
    root.append(svg("g", {class: "tick"}, svg("line", {class: "rule", x1: left, x2: right, y1: py(t), y2: py(t)}),
      svg("text", {x: left - 6, y: py(t) + 4, "text-anchor": "end"}, tickText(t, o.y.log))));
  const all = o.x.ticks || (o.x.log ? doublings(xMin, xMax) : linearTicks(xMin, xMax)).filter(t => (!o.x.whole || Number.isInteger(t)) && t >= xMin - 1e-9 && t <= xMax + 1e-9).map(t => [t, tickText(t)]);
  const longest = Math.max(...all.map(t => String(t[1]).length)) * 7 + 10;
  const every = Math.max(1, Math.ceil(all.length * longest / (right - left)));
  all.forEach(([t, text], i) => {
    if (i % every) return;
    root.append(svg("g", {class: "tick"}, svg("line", {class: "axis", x1: px(t), x2: px(t), y1: bottom, y2: bottom + 4}),
      svg("text", {x: px(t), y: bottom + 17, "text-anchor": "middle"}, text)));
  });
  root.append(svg("path", {class: "axis", fill: "none", d: `M${left} ${top}V${bottom}H${right}`}),
    svg("text", {x: (left + right) / 2, y: height - 6, "text-anchor": "middle"}, o.x.label),
    svg("text", {transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle"}, o.y.label));
  for (const s of shown) {
    let d = "", pen = false;
    for (const p of s.points) {
      if (!ok(p.y)) { pen = false; continue; }
      d += (pen ? "L" : "M") + px(p.x).toFixed(1) + " " + py(p.y).toFixed(1);
      pen = true;
    }
    if (s.line !== false) root.append(svg("path", {class: "line", d, stroke: s.color, "stroke-dasharray": s.dash || null}));
  }
  const dots = [], marks = [], taken = [];
  for (const s of shown) for (const p of s.points) {
    if (!ok(p.y) || s.marks === false) continue;
    const text = [`${s.name}: ${format(p.y, o.y.kind || "real")} ${o.y.unit || ""}`.trim(), p.label];
    const dot = marker(s.shape, px(p.x), py(p.y), {class: "dot", fill: s.color, tabindex: dots.length ? -1 : 0, role: "img", "aria-label": text.join(", ")});
    tipOn(dot, text.join("\n"));
    root.append(dot);
    dots.push(dot);
    taken.push(boxAround(px(p.x), py(p.y), 10, 10));
    if (p.mark) marks.push({x: px(p.x), y: py(p.y), text: p.mark.length > 16 ? p.mark.slice(0, 15) + "…" : p.mark});
  }
  root.append(placeMarks(marks, taken, {left, right, top, bottom}));
  root.addEventListener("keydown", e => walk(dots, e));
  return root;
}

/* ---- texts beside points ---- */

const boxAround = (x, y, w, h) => ({x0: x - w / 2, x1: x + w / 2, y0: y - h / 2, y1: y + h / 2});
const meet = (a, b) => a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1;
const ruler = document.createElement("canvas").getContext("2d");

/* Each mark goes to the first free place around its point, the nearest places first: it covers no point
   and no other mark and stays inside of area. A mark that stands apart from its point gets a line to it.
   A mark without a free place is left out; the point's own text says the same. */
function placeMarks(marks, taken, area) {
  const group = svg("g", {class: "marks", "aria-hidden": "true"});
  ruler.font = "11px " + getComputedStyle(document.body).fontFamily;
  for (const m of marks) {
    const w = ruler.measureText(m.text).width + 2, h = 12;
    const place = () => {
      for (let gap = 7; gap < 32; gap += 6)
        for (const [dx, dy] of [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -1], [-1, -1], [1, 1], [-1, 1], [0.5, -1], [-0.5, -1], [0.5, 1], [-0.5, 1]]) {
          const b = boxAround(m.x + dx * (gap + w / 2), m.y + dy * (gap + h / 2), w, h);
          if (b.x0 < area.left || b.x1 > area.right || b.y0 < area.top || b.y1 > area.bottom || taken.some(t => meet(t, b))) continue;
          return {b, gap};
        }
      return null;
    };
    const found = place();
    if (!found) continue;
    const {b, gap} = found;
    taken.push(b);
    if (gap > 7) group.append(svg("line", {x1: m.x, y1: m.y, x2: Math.max(b.x0, Math.min(b.x1, m.x)), y2: Math.max(b.y0, Math.min(b.y1, m.y))}));
    group.append(svg("text", {class: "small", x: (b.x0 + b.x1) / 2, y: b.y1 - 3, "text-anchor": "middle"}, m.text));
  }
  return group;
}

/* Tab reaches a plot once; from there arrows go from point to point. */
function walk(dots, e) {
  const i = dots.indexOf(e.target);
  const to = dots[{ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0, End: dots.length - 1}[e.key]];
  if (i < 0 || !to) return;
  e.preventDefault();
  dots[i].setAttribute("tabindex", -1);
  to.setAttribute("tabindex", 0);
  to.focus();
}

/* The plot's numbers: a row per x, a column per series; of more than eight series over fewer points a row per
   series, which fits on paper. A label that comes again is another row. */
function numbers(o) {
  const rows = [];
  o.series.forEach((s, k) => s.points.forEach(p => {
    const row = rows.find(r => r[0] === p.label && !r[1][k]);
    if (row) row[1][k] = p;
    else rows.push([p.label, {[k]: p}]);
  }));
  const value = (i, k) => rows[i][1][k] && rows[i][1][k].p ? show(rows[i][1][k].p, o.y.kind || "real") : "–";
  if (o.series.length > 8 && o.series.length > rows.length)
    return lazy("Numbers", () => table(o.title, [{head: "series", row: true, cell: k => o.series[k].name},
      ...rows.map((r, i) => ({head: r[0], num: true, cell: k => value(i, k)}))], o.series.length));
  return lazy("Numbers", () => table(o.title, [{head: o.x.name || o.x.label, row: true, cell: i => rows[i][0]},
    ...o.series.map((s, k) => ({head: s.name, num: true, cell: i => value(i, k)}))], rows.length));
}

/* ---- the page's frame ---- */

function section(id, title, ...content) {
  document.getElementById("main").append(el("section", {id, "aria-labelledby": id + "-title"}, el("h2", {id: id + "-title"}, title), ...content));
  document.getElementById("sections").append(el("li", {}, el("a", {href: "#" + id}, title)));
}
/* On paper all is open. */
const opened = [];
addEventListener("beforeprint", () => {
  for (const d of document.querySelectorAll("details:not([open])")) {
    d.open = true;
    if (d.complete) d.complete();
    opened.push(d);
  }
});
addEventListener("afterprint", () => { for (const d of opened.splice(0)) d.open = false; });
