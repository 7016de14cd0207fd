// Which experts the tokens go to, over a training run.
export default {
  render({model, el}) {
    const {names, loads, steps} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const experts = loads[0][0].length, most = Math.max(2, ...loads.flat(2));
    const maxvio = row => Math.max(...row) - 1;
    const draw = () => {
      const m = model.get("method"), at = model.get("step"), rows = loads[m], width = roomy(stage);
      const left = 40, w = (width - left - 70) / rows.length, cell = Math.max(7, Math.min(20, 240 / experts));
      const height = experts * cell, top = 20, aside = width - 60;
      const svg = s("svg", {viewBox: `0 0 ${width} ${top + height + 36}`, "aria-hidden": "true"});
      // What lies ahead of the slider is not drawn yet.
      svg.append(s("rect", {x: left, y: top, width: w * rows.length, height: height - .8, fill: "var(--line)", "fill-opacity": .35}));
      svg.append(s("text", {x: 0, y: 12}, "expert"), s("text", {x: aside, y: 12}, "load"));
      for (let e = 0; e < experts; e++) {
        if (experts <= 16 || e % 8 === 0)
          svg.append(s("text", {x: left - 6, y: top + (e + .5) * cell + 4, "text-anchor": "end"}, e));
        rows.slice(0, at + 1).forEach((row, t) => svg.append(s("rect", {x: left + t * w, y: top + e * cell, width: w + .3,
          height: cell - .8, fill: row[e] > 1 ? "var(--c1)" : "var(--c0)",
          "fill-opacity": row[e] > 1 ? Math.min(1, .12 + .88 * (row[e] - 1) / (most - 1)) : .12 + .7 * (1 - row[e])})));
        svg.append(s("rect", {x: aside, y: top + e * cell + 1, width: Math.max(.5, 56 * rows[at][e] / most),
          height: cell - 2, rx: 2, fill: rows[at][e] > 1 ? "var(--c1)" : "var(--c0)"}));
      }
      const even = aside + 56 / most;
      svg.append(s("rect", {x: left + at * w - .5, y: top - 2, width: w + 1, height: height + 3, fill: "none",
        stroke: "var(--ink)", "stroke-width": 1.5}),
        s("line", {x1: even, x2: even, y1: top - 2, y2: top + height + 1, stroke: "var(--ink)", "stroke-dasharray": "2 2"}),
        s("text", {x: left, y: top + height + 16}, `step ${fmt(steps[0])}`),
        s("text", {x: left + rows.length * w, y: top + height + 16, "text-anchor": "end"}, fmt(steps.at(-1))),
        s("text", {x: even, y: top + height + 30, "text-anchor": "middle"}, "even"));
      stage.replaceChildren(svg, key([["var(--c1)", "more than its share"], ["var(--c0)", "less than its share"]]));
      const row = rows[at], full = row.indexOf(Math.max(...row)), idle = row.filter(x => x < .1).length;
      say(`${names[m]}, step ${fmt(steps[at])}: MaxVio ${maxvio(row).toFixed(2)}; expert ${full} carries `
        + `${row[full].toFixed(2)} times its share, ${idle} of ${experts} carry less than a tenth of theirs.`
        + (at < rows.length - 1 ? "" : ` MaxVio here: ${names.map((name, i) => `${name} ${maxvio(loads[i][at]).toFixed(2)}`).join(", ")}.`));
    };
    choice(model, knobs, "method", {label: "Balancing", options: names}, draw);
    play(slider(model, knobs, "step", {label: "Training step", max: steps.length - 1, show: i => fmt(steps[i])}, draw));
    start(draw);
  },
};
