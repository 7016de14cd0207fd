// Where a kernel stands under the roof of its device.
const METRIC = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
const short = x => { const [size, name] = METRIC.find(([s]) => x >= s) || METRIC.at(-1); return `${Number((x / size).toPrecision(3))} ${name}`; };
const span = seconds => seconds >= 1 ? `${Number(seconds.toPrecision(3))} s`
  : seconds >= 1e-3 ? `${Number((seconds * 1e3).toPrecision(3))} ms` : `${Number((seconds * 1e6).toPrecision(3))} µs`;

export default {
  render({model, el}) {
    const {devices, kernels} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const draw = () => {
      const on = devices[model.get("device")], front = model.get("chosen"), n = 2 ** model.get("side"), width = roomy(stage);
      const copy = on.gb_s * 1e9, rate = on.tflop_s * 1e12, ridge = rate / copy;
      const product = {name: `product of side ${fmt(n)}`, bytes: 6 * n * n, flops: 2 * n ** 3};
      const floor = k => Math.max(k.bytes / copy, k.flops / rate), dense = k => k.flops / k.bytes;
      const measured = k => model.get("device") === 0 && k.seconds;
      const all = [product, ...kernels], x = [Math.min(.1, ...all.map(dense)) / 1.5, Math.max(ridge * 30, ...all.map(dense)) * 1.5];
      const lowest = Math.min(...all.map(k => k.flops / (measured(k) || floor(k))), copy * x[0]);
      const plot = axes({x, y: [lowest / 1e12 / 1.5, rate / 1e12 * 2.5], xlog: true, ylog: true, width, height: 340,
        xlabel: "operations per byte", ylabel: "TFLOP/s"});
      const {svg, X, Y} = plot, line = (a, b, c, d, more) => svg.append(s("line", {x1: X(a), y1: Y(b / 1e12), x2: X(c), y2: Y(d / 1e12), ...more}));
      line(x[0], copy * x[0], ridge, rate, {stroke: "var(--ink)", "stroke-width": 2});
      line(ridge, rate, x[1], rate, {stroke: "var(--ink)", "stroke-width": 2});
      line(ridge, lowest / 1.5, ridge, rate, {stroke: "var(--soft)", "stroke-dasharray": "3 3"});
      svg.append(s("text", {x: X(ridge) + 6, y: plot.bottom - 6}, `ridge ${fmt(Number(ridge.toPrecision(3)))}`));
      all.forEach((k, i) => {
        const tone = i === 0 ? "var(--accent)" : `var(--c${i % 6})`, at = i === front, roof = k.flops / floor(k), did = measured(k);
        const group = s("g", {opacity: at ? 1 : .45});
        group.append(s("circle", {cx: X(dense(k)), cy: Y(roof / 1e12), r: at ? 7 : 4, fill: "none", stroke: tone, "stroke-width": 2}));
        if (did) group.append(s("circle", {cx: X(dense(k)), cy: Y(k.flops / did / 1e12), r: at ? 6 : 3.5, fill: tone}));
        if (at) {
          const right = X(dense(k)) > plot.left + .6 * (plot.right - plot.left);
          group.append(s("text", {x: X(dense(k)) + (right ? -11 : 11), y: Y((did ? k.flops / did : roof) / 1e12) + 18,
            "text-anchor": right ? "end" : "start", class: "tag", style: "fill:var(--ink)"}, k.name));
        }
        svg.append(group);
      });
      const pairs = [["var(--soft)", "ring: what the roof allows"]];
      if (all.some(measured)) pairs.push(["var(--soft)", "dot: measured"]);
      stage.replaceChildren(svg, key(pairs));
      const k = all[front], bound = k.bytes / copy > k.flops / rate ? "the memory" : "the arithmetic", did = measured(k);
      say(`${k.name} on ${on.name}: ${short(k.flops)}FLOP and ${short(k.bytes)}B, ${fmt(Number(dense(k).toPrecision(3)))} operations per byte, `
        + `the ridge is at ${fmt(Number(ridge.toPrecision(3)))}. At best ${span(floor(k))}, bound by ${bound}.`
        + (did ? ` Measured ${span(did)}: ${(100 * floor(k) / did).toFixed(0)} % of the roof.` : ""));
    };
    choice(model, knobs, "chosen", {label: "Kernel", options: ["a product of matrices", ...kernels.map(k => k.name)]}, draw);
    if (devices.length > 1) choice(model, knobs, "device", {label: "Device", options: devices.map(d => d.name)}, draw);
    slider(model, knobs, "side", {label: "Side of the product", min: 3, max: 14, show: p => fmt(2 ** p)}, draw);
    start(draw);
  },
};
