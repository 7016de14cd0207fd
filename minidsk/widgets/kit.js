// What every figure shares: a frame in light and dark, native inputs, a chart. No request leaves the page.
const STYLE = `
.mdsk { --ink: #24292f; --soft: #5d6670; --line: #d5dae0; --paper: #fbfcfd; --accent: #2563a8; --warm: #b4531a;
  --good: #257a4e; --bad: #b23a48; --mark: #ffffff;
  --c0: #2563a8; --c1: #b4531a; --c2: #257a4e; --c3: #7b4fa3; --c4: #8a6d00; --c5: #b23a6b;
  color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 8px; margin: 1em 0;
  padding: .8em 1em; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; max-width: 100%;
  box-sizing: border-box; color-scheme: light; }
DARK { --ink: #e3e7ec; --soft: #a3adb8; --line: #3b444e; --paper: #1b2027; --accent: #7db4f0; --warm: #f0a070;
  --good: #6cc894; --bad: #f08a96; --mark: #10141a;
  --c0: #7db4f0; --c1: #f0a070; --c2: #6cc894; --c3: #c5a0ea; --c4: #dcc060; --c5: #f08ab8; color-scheme: dark; }
.mdsk * { box-sizing: border-box; }
.mdsk .knobs [hidden] { display: none; }
.mdsk .head { font-weight: 600; margin: 0 0 .5em; }
.mdsk .knobs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15em), 1fr)); gap: .35em 1.4em;
  margin: 0 0 .7em; }
.mdsk label { display: grid; grid-template-columns: auto 1fr; column-gap: .6em; align-items: center; align-content: end;
  font-size: .9em; margin: 0; }
.mdsk label output { justify-self: end; font-variant-numeric: tabular-nums; color: var(--accent); font-weight: 600; }
.mdsk label input[type=range] { grid-column: 1 / -1; width: 100%; margin: 0; accent-color: var(--accent); min-height: 1.4em; }
.mdsk select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
  padding: .1em .3em; min-width: 0; }
.mdsk :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.mdsk svg { display: block; width: 100%; height: auto; overflow: visible; }
.mdsk svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.mdsk .say { margin: .6em 0 0; font-size: .92em; color: var(--ink); min-height: 1.5em; }
.mdsk .flow { line-height: 2.1; overflow-wrap: anywhere; }
.mdsk .tok { display: inline; padding: .14em .18em; margin: 0 1px; border-radius: 4px; white-space: pre-wrap;
  font-family: ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", Menlo, monospace; font-size: .88em;
  background: color-mix(in srgb, var(--tone, var(--soft)) 22%, transparent); box-decoration-break: clone;
  -webkit-box-decoration-break: clone; }
.mdsk .key { display: flex; flex-wrap: wrap; gap: .2em 1.2em; font-size: .85em; color: var(--soft); margin-top: .4em; }
.mdsk .key i { display: inline-block; width: .9em; height: .9em; border-radius: 3px; margin-right: .4em; vertical-align: -.1em;
  background: var(--tone); }
`;
const DARK_PAGES = [":root[data-theme=dark]", ":root[theme=dark]", "body[data-jp-theme-light=false]", "body.vscode-dark"];
const ANY_THEME = ":root:not([data-theme],[theme]) body:not([data-jp-theme-light],.vscode-light,.vscode-dark) .mdsk";
const [LIGHT_RULES, DARK_RULES, REST] = STYLE.split(/DARK (\{[^}]*\})/);
const CSS = LIGHT_RULES + DARK_PAGES.map(p => p + " .mdsk").join(",") + DARK_RULES
  + `@media (prefers-color-scheme: dark) { ${ANY_THEME} ${DARK_RULES} }` + REST;

/** An element of the page; children may be text. */
function h(tag, attributes = {}, ...children) { return fill(document.createElement(tag), attributes, children); }
/** The same for SVG. */
function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A number for people: thousands apart, four digits at most behind a point, powers of ten where they help. */
function fmt(x) {
  if (Number.isInteger(x) && Math.abs(x) < 1e9) return x.toLocaleString("en-US");
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-3) return x.toExponential(2).replace("e+", "e").replace(/\.?0+e/, "e");
  return String(Number(x.toPrecision(4)));
}

/** The frame of a figure: title, knobs, stage, and a line that says what is to be seen. `start` draws, now and at each
 * new width. */
function frame(model, el) {
  const stage = h("div", {role: "img"}), knobs = h("div", {class: "knobs"});
  const said = h("p", {class: "say", role: "status", "aria-live": "polite"});
  const parts = [h("style", {}, CSS)];
  if (model.get("title")) parts.push(h("p", {class: "head"}, model.get("title")));
  el.append(h("div", {class: "mdsk", role: "group", "aria-label": model.get("title") || "figure"},
    ...parts, knobs, stage, said));
  return {stage, knobs,
    say(text) { said.textContent = text; stage.setAttribute("aria-label", text); },
    start(draw) {
      let width = stage.clientWidth;
      new ResizeObserver(() => { if (stage.clientWidth !== width) { width = stage.clientWidth; draw(); } }).observe(stage);
      draw();
    }};
}

/** A labelled slider bound to one trait; `show` gives the words beside it. Returns the label that holds it. */
function slider(model, knobs, name, {label, min = 0, max, step = 1, show = fmt}, draw) {
  const input = h("input", {type: "range", min, max, step}), out = h("output");
  const read = () => { input.value = model.get(name); out.textContent = show(Number(model.get(name)));
    input.setAttribute("aria-valuetext", out.textContent); };
  input.addEventListener("input", () => { model.set(name, Number(input.value)); model.save_changes(); read(); draw(); });
  model.on("change:" + name, () => { if (Number(input.value) !== model.get(name)) { read(); draw(); } });
  knobs.append(h("label", {}, label, out, input));
  read();
  return knobs.lastChild;
}

/** A labelled choice bound to one trait that holds the number of the option. */
function choice(model, knobs, name, {label, options}, draw) {
  const box = h("select", {}, ...options.map((text, i) => h("option", {value: i}, text)));
  const read = () => { box.value = model.get(name); };
  box.addEventListener("change", () => { model.set(name, Number(box.value)); model.save_changes(); draw(); });
  model.on("change:" + name, () => { if (Number(box.value) !== model.get(name)) { read(); draw(); } });
  knobs.append(h("label", {}, label, box));
  read();
}

/** A key of colours: pairs of CSS colour and words. */
function key(pairs) {
  return h("div", {class: "key"}, ...pairs.map(([tone, text]) => h("span", {}, h("i", {style: `--tone:${tone}`}), text)));
}

/** Round numbers between lo and hi; powers of ten on a logarithmic axis. */
function ticks(lo, hi, log, count = 5) {
  const out = [];
  if (log) {
    const from = Math.ceil(Math.log10(lo) - 1e-9), to = Math.floor(Math.log10(hi) + 1e-9);
    const by = Math.max(1, Math.ceil((to - from) / count));
    for (let p = from; p <= to; p += by) out.push(10 ** p);
    if (out.length > 1) return out;
    out.length = 0;
  }
  const raw = (hi - lo) / count || 1, unit = 10 ** Math.floor(Math.log10(raw));
  const by = unit * [1, 2, 5, 10].find(m => m * unit >= raw);
  for (let i = Math.ceil(lo / by - 1e-9); i * by <= hi + by * 1e-9; i++) out.push(Number((i * by).toPrecision(12)));
  return out;
}

/** Axes for a chart: where a value lies, and an SVG with grid, numbers and names. */
function axes({x: [x0, x1], y: [y0, y1], xlog, ylog, xlabel = "", ylabel = "", width = 640, height = 300}) {
  if (x0 === x1) x1 = x0 + 1;
  if (y0 === y1) { y0 -= Math.abs(y0) * .1 || 1; y1 += Math.abs(y1) * .1 || 1; }
  const left = 58, right = 14, top = 22, bottom = 40, w = width - left - right, v = height - top - bottom;
  const along = (a, lo, hi, log) => log ? Math.log(a / lo) / Math.log(hi / lo) : (a - lo) / (hi - lo);
  const X = a => left + w * along(a, x0, x1, xlog), Y = a => top + v * (1 - along(a, y0, y1, ylog));
  const svg = s("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  for (const t of ticks(y0, y1, ylog))
    svg.append(s("line", {x1: left, x2: left + w, y1: Y(t), y2: Y(t), stroke: "var(--line)"}),
      s("text", {x: left - 7, y: Y(t) + 4, "text-anchor": "end"}, fmt(t)));
  for (const t of ticks(x0, x1, xlog, width < 450 ? 3 : 6))
    svg.append(s("line", {x1: X(t), x2: X(t), y1: top + v, y2: top + v + 4, stroke: "var(--soft)"}),
      s("text", {x: X(t), y: top + v + 18, "text-anchor": "middle"}, fmt(t)));
  svg.append(s("line", {x1: left, x2: left + w, y1: top + v, y2: top + v, stroke: "var(--soft)"}),
    s("text", {x: left + w / 2, y: height - 4, "text-anchor": "middle"}, xlabel),
    s("text", {x: left - 50, y: 12}, ylabel));
  return {svg, X, Y, left, right: left + w, top, bottom: top + v};
}

/** The width in which to draw, in pixels, so that letters keep their size on narrow and wide pages. */
function roomy(el) { return Math.min(860, Math.max(280, el.clientWidth || 640)); }

