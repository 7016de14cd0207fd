// What a harvest took from each host of a crawl, round by round.
export default {
  render({model, el}) {
    const {hosts, rounds: named} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const looks = [["var(--good)", .85, "mathematics, collected"], ["var(--good)", .16, "mathematics, missed"],
      ["var(--bad)", .85, "other, collected"], ["var(--soft)", .16, "other, left"]];
    const rounds = named.map(rows => rows.map(row => ["right", "missed", "wrong", "left", "marked"].map(name => row[name])));
    const most = Math.max(1, ...rounds[0].map(row => row[0] + row[1] + row[2] + row[3]));
    const draw = () => {
      const number = model.get("step"), rows = rounds[number], width = roomy(stage), height = 30;
      const left = Math.max(...hosts.map(host => host.length)) * 7.6 + 30, scale = (width - left - 12) / most;
      const svg = s("svg", {viewBox: `0 0 ${width} ${height * hosts.length + 4}`, "aria-hidden": "true"});
      rows.forEach((row, i) => {
        const y = i * height;
        let x = left;
        svg.append(s("text", {x: left - 8, y: y + 20, "text-anchor": "end", style: row[4] ? "font-weight:600" : ""},
          (row[4] ? "★ " : "") + hosts[i]));
        looks.forEach(([tone, opacity], k) => {
          const w = row[k] * scale;
          if (w) svg.append(s("rect", {x, y: y + 5, width: w, height: height - 9, fill: tone, "fill-opacity": opacity, stroke: tone,
            "stroke-width": 1}));
          x += w;
        });
      });
      stage.replaceChildren(svg, key(looks.map(([tone, opacity, words]) => [`color-mix(in srgb, ${tone} ${100 * opacity}%, transparent)`, words])));
      const sum = k => rows.reduce((all, row) => all + row[k], 0), share = (a, b) => `${Math.round(100 * a / Math.max(1, a + b))}%`;
      const marked = hosts.filter((_, i) => rows[i][4]);
      say(`Round ${number + 1}: ${fmt(sum(0) + sum(2))} pages collected, precision ${share(sum(0), sum(2))}, recall ${share(sum(0), sum(1))}. `
        + `Marked (★): ${marked.join(", ") || "none"}.`);
    };
    play(slider(model, knobs, "step", {label: "Round", max: rounds.length - 1, show: i => `${i + 1}`}, draw), 4);
    start(draw);
  },
};
