// A learning-rate schedule to turn by hand.
function rate(step, {steps, warmup, decay, peak, floor, shape}) {
  const rise = Math.round(steps * warmup / 100), fall = Math.round(steps * (1 - decay / 100)), low = peak * floor / 100;
  if (step < rise) return peak * Math.min(1, (step + 1) / rise);
  const done = Math.min(1, (step - rise) / Math.max(1, steps - rise));
  if (shape === 0) return low + (peak - low) * (1 + Math.cos(Math.PI * done)) / 2;
  if (shape === 1) return peak - (peak - low) * done;
  if (shape === 2 && step > fall) return peak - (peak - low) * (step - fall) / Math.max(1, steps - fall);
  return peak;
}

export default {
  render({model, el}) {
    const {steps, shapes, highest} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    let fall;
    const draw = () => {
      if (fall) fall.hidden = Number(model.get("shape")) !== 2;
      const now = {steps};
      for (const name of ["warmup", "decay", "peak", "floor", "shape"]) now[name] = Number(model.get(name));
      const at = model.get("step"), width = roomy(stage);
      const {svg, X, Y, bottom} = axes({x: [0, steps], y: [0, 2 * highest], width, xlabel: "step", ylabel: "learning rate"});
      const points = Array.from({length: 301}, (_, i) => i * (steps - 1) / 300), line = points.map(t => `${X(t).toFixed(1)},${Y(rate(t, now)).toFixed(1)}`);
      svg.append(s("polygon", {points: `${X(0)},${bottom} ${line.join(" ")} ${X(steps - 1)},${bottom}`, fill: "var(--c0)", "fill-opacity": .12}),
        s("polyline", {points: line.join(" "), fill: "none", stroke: "var(--c0)", "stroke-width": 2.2}),
        s("line", {x1: X(at), x2: X(at), y1: Y(rate(at, now)), y2: bottom, stroke: "var(--c1)", "stroke-dasharray": "3 3"}),
        s("circle", {cx: X(at), cy: Y(rate(at, now)), r: 5, fill: "var(--c1)"}));
      stage.replaceChildren(svg);
      const area = points.reduce((sum, t) => sum + rate(t, now), 0) / points.length / now.peak;
      say(`Step ${fmt(at)}: learning rate ${fmt(rate(at, now))}. Warm-up ${fmt(Math.round(steps * now.warmup / 100))} steps, `
        + `peak ${fmt(now.peak)}, at the end ${fmt(rate(steps - 1, now))}; on average ${Math.round(100 * area)} % of the peak.`);
    };
    choice(model, knobs, "shape", {label: "After the warm-up", options: shapes}, draw);
    slider(model, knobs, "step", {label: "Read at step", max: steps - 1}, draw);
    slider(model, knobs, "peak", {label: "Peak", min: highest / 10, max: 2 * highest, step: highest / 10}, draw);
    slider(model, knobs, "warmup", {label: "Warm-up, % of the run", max: 50}, draw);
    slider(model, knobs, "floor", {label: "At the end, % of the peak", max: 100}, draw);
    fall = slider(model, knobs, "decay", {label: "WSD: fall, % of the run", max: 90}, draw);
    start(draw);
  },
};
