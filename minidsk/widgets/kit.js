// What every figure shares: a frame, native inputs, a chart. It stands on look.js.
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

/** A labelled slider bound to one trait; `show` gives the words beside it. Returns the label that holds it, which is not
 * shown where there is only one place to slide to. */
function slider(model, knobs, name, {label, min = 0, max, step = 1, show = fmt}, draw) {
  const input = h("input", {type: "range", min, max, step}), out = h("output");
  const read = () => { input.value = model.get(name); out.textContent = show(Number(model.get(name)));
    input.setAttribute("aria-valuetext", out.textContent); };
  input.addEventListener("input", () => { model.set(name, Number(input.value)); model.save_changes(); read(); draw(); });
  model.on("change:" + name, () => { if (Number(input.value) !== model.get(name)) { read(); draw(); } });
  knobs.append(h("label", {}, label, out, input));
  knobs.lastChild.hidden = max <= min;
  read();
  return knobs.lastChild;
}

/** A button before the slider in `label` that moves it to its end, or by one step a press where the reader wants no motion. */
function play(label, seconds = 6) {
  const input = label.querySelector("input"), button = h("button", {type: "button", class: "do"});
  const last = () => Number(input.value) >= Number(input.max);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = 0;
  const name = () => {
    button.textContent = timer ? "❚❚" : calm.matches ? "▸❙" : "▶";
    button.setAttribute("aria-label", timer ? "Pause" : calm.matches ? "One step" : "Play");
  };
  const aloud = how => input.closest(".mdsk")?.querySelector(".say").setAttribute("aria-live", how);
  const stop = () => { clearInterval(timer); timer = 0; aloud("polite"); name(); };
  const move = to => { input.value = to; input.dispatchEvent(new Event("input")); };
  const step = () => {
    const next = Number(input.value) + 1;
    if (next >= input.max || !input.isConnected) stop();  // before the move, so that the end is read aloud
    move(next);
  };
  button.addEventListener("click", () => {
    if (timer) return stop();
    if (last()) move(input.min); else if (calm.matches) step();
    if (calm.matches) return;
    aloud("off");  // not every step
    timer = setInterval(step, Math.min(900, Math.max(60, 1000 * seconds / (input.max - input.min))));
    name();
  });
  for (const event of ["pointerdown", "keydown"]) input.addEventListener(event, () => { if (timer) stop(); });
  calm.addEventListener("change", name);
  name();
  if (!label.hidden) { const box = h("div", {class: "timed"}); label.replaceWith(box); box.append(button, label); }
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

/** A number beside an axis: as short as it can be. */
const brief = x => { const [size, unit] = [[1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([n]) => Math.abs(x) >= n && Math.abs(x) >= 1e5) || [1, ""];
  return fmt(x / size) + unit; };

/** Words beside the ends of lines, [x, y, words, colour], moved apart until none lies on another. */
function labels(ends, top, bottom) {
  const rows = ends.map(end => [...end]).sort((a, b) => a[1] - b[1]), gap = 15;
  for (let i = 1; i < rows.length; i++) rows[i][1] = Math.max(rows[i][1], rows[i - 1][1] + gap);
  for (let i = rows.length - 1, low = bottom; i >= 0; i--, low = rows[i + 1][1] - gap) rows[i][1] = Math.min(rows[i][1], low);
  return rows.map(([x, y, words, tone]) => s("text", {x, y: Math.max(y, top) + 4, class: "tag", style: `fill:${tone}`}, words));
}

/** Axes for a chart: where a value lies, and an SVG with grid, numbers and names. */
function axes({x: [x0, x1], y: [y0, y1], xlog, ylog, xlabel = "", ylabel = "", width = 640, height = 300, right = 14}) {
  if (x0 === x1) x1 = x0 + 1;
  if (y0 === y1) { y0 -= Math.abs(y0) * .1 || 1; y1 += Math.abs(y1) * .1 || 1; }
  const left = 58, top = 22, bottom = 40, w = width - left - right, v = height - top - bottom;
  const along = (a, lo, hi, log) => log ? Math.log(a / lo) / Math.log(hi / lo) : (a - lo) / (hi - lo);
  const X = a => left + w * along(a, x0, x1, xlog), Y = a => top + v * (1 - along(a, y0, y1, ylog));
  const svg = s("svg", {viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true"});
  for (const t of ticks(y0, y1, ylog))
    svg.append(s("line", {x1: left, x2: left + w, y1: Y(t), y2: Y(t), stroke: "var(--line)"}),
      s("text", {x: left - 7, y: Y(t) + 4, "text-anchor": "end"}, brief(t)));
  for (const t of ticks(x0, x1, xlog, width < 450 ? 3 : 6))
    svg.append(s("line", {x1: X(t), x2: X(t), y1: top + v, y2: top + v + 4, stroke: "var(--soft)"}),
      s("text", {x: X(t), y: top + v + 18, "text-anchor": "middle"}, brief(t)));
  svg.append(s("line", {x1: left, x2: left + w, y1: top + v, y2: top + v, stroke: "var(--soft)"}),
    s("text", {x: left + w / 2, y: height - 4, "text-anchor": "middle"}, xlabel),
    s("text", {x: left - 50, y: 12}, ylabel));
  return {svg, X, Y, left, right: left + w, top, bottom: top + v};
}

/** The width in which to draw, in pixels, so that letters keep their size on narrow and wide pages. */
function roomy(el) { return Math.min(860, Math.max(280, el.clientWidth || 640)); }

