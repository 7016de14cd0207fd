// Curves of several runs, read with a slider.
export default {
  render({model, el}) {
    const {runs, xlabel, ylabel, xlog, ylog} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const xs = [...new Set(runs.flatMap(r => r.x))].sort((a, b) => a - b);
    const ys = runs.flatMap(r => [...r.y, ...(r.low || []), ...(r.high || [])]);
    const nearest = (run, x) => run.x.reduce((best, v, i) => Math.abs(v - x) < Math.abs(run.x[best] - x) ? i : best, 0);
    const draw = () => {
      const x = xs[model.get("at")], front = model.get("chosen") - 1, width = roomy(stage);
      let lo = Math.min(...ys), hi = Math.max(...ys);
      if (!ylog) { const air = (hi - lo) * .06; hi += air; lo = lo >= 0 && lo < air * 2 ? Math.min(lo, 0) : lo - air; }
      // Names stand at the ends of the lines; a page too narrow for that has a key below.
      const room = Math.max(...runs.map(r => r.name.length)) * 7.5 + 16, direct = runs.length > 1 && room < width / 3;
      const plot = axes({x: [xs[0], xs.at(-1)], y: [lo, hi], xlog, ylog, xlabel, ylabel, width, right: direct ? room : 14});
      const {svg, X, Y} = plot, point = (a, b) => `${X(a).toFixed(1)},${Y(b).toFixed(1)}`;
      svg.append(s("line", {x1: X(x), x2: X(x), y1: plot.top, y2: plot.bottom, stroke: "var(--soft)", "stroke-dasharray": "3 3"}));
      const order = runs.map((_, i) => i).sort((a, b) => (a === front) - (b === front));
      for (const i of order) {
        const run = runs[i], tone = `var(--c${i % 6})`, faint = front >= 0 && i !== front ? .3 : 1;
        const group = s("g", {opacity: faint});
        if (run.low) group.append(s("polygon", {fill: tone, "fill-opacity": .18, points:
          [...run.x.map((v, j) => point(v, run.high[j])), ...run.x.map((v, j) => point(v, run.low[j])).reverse()].join(" ")}));
        group.append(s("polyline", {points: run.x.map((v, j) => point(v, run.y[j])).join(" "), fill: "none", stroke: tone,
          "stroke-width": 2.2, "stroke-linejoin": "round", "stroke-dasharray": i > 5 ? "6 3" : "none"}));
        if (run.x.length <= 12) run.x.forEach((v, j) => group.append(s("circle", {cx: X(v), cy: Y(run.y[j]), r: 2.6, fill: tone})));
        const j = nearest(run, x);
        group.append(s("circle", {cx: X(run.x[j]), cy: Y(run.y[j]), r: 5, fill: tone, stroke: "var(--paper)", "stroke-width": 1.5}));
        svg.append(group);
      }
      if (direct) svg.append(...labels(runs.map((r, i) => [X(r.x.at(-1)) + 10, Y(r.y.at(-1)), r.name, `var(--c${i % 6})`]), plot.top, plot.bottom));
      stage.replaceChildren(svg, ...direct ? [] : [key(runs.map((r, i) => [`var(--c${i % 6})`, r.name]))]);
      const read = runs.filter((_, i) => front < 0 || i === front).map(run => {
        const j = nearest(run, x), band = run.low ? ` (${fmt(run.low[j])} to ${fmt(run.high[j])})` : "";
        return `${run.name} ${fmt(run.y[j])}${band}` + (run.x[j] === x ? "" : ` at ${fmt(run.x[j])}`);
      });
      say(`${xlabel} ${fmt(x)}${ylabel ? ", " + ylabel : ""}: ${read.join("; ")}.`);
    };
    if (runs.length > 1) choice(model, knobs, "chosen", {label: "Bring forward", options: ["all", ...runs.map(r => r.name)]}, draw);
    slider(model, knobs, "at", {label: `Read at ${xlabel}`, max: xs.length - 1, show: i => fmt(xs[i])}, draw);
    start(draw);
  },
};
