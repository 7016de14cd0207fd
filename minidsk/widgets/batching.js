// A batch over time: rows from top to bottom, steps from left to right, a bar for each reply.
export default {
  render({model, el}) {
    const {rows, ways, turns} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const ends = turns.map(placed => Math.max(...placed.map(([, , end]) => end))), last = Math.max(...ends);
    const draw = () => {
      const way = model.get("way"), now = model.get("step"), width = roomy(stage), height = 26, left = 52;
      const X = step => left + (width - left - 8) * step / last;
      const svg = s("svg", {viewBox: `0 0 ${width} ${height * rows + 26}`, "aria-hidden": "true"});
      for (let row = 0; row < rows; row++) {
        svg.append(s("text", {x: left - 8, y: row * height + 17, "text-anchor": "end"}, `row ${row + 1}`));
        const done = Math.min(now, ends[way]);
        if (done) svg.append(s("rect", {x: left, y: row * height + 3, width: X(done) - left, height: height - 7,
          fill: "var(--bad)", "fill-opacity": .16, stroke: "none"}));
      }
      let tokens = 0, ended = 0, busy = 0;
      turns[way].forEach(([row, begin, end], reply) => {
        const to = Math.min(end, now);
        if (to <= begin) return;
        tokens += to - begin;
        ended += end <= now;
        busy += end > now;
        svg.append(s("rect", {x: X(begin), y: row * height + 3, width: X(to) - X(begin), height: height - 7,
          fill: "var(--accent)", "fill-opacity": reply % 2 ? .75 : .45, stroke: "var(--paper)", "stroke-width": 1}));
      });
      svg.append(s("line", {x1: X(now), x2: X(now), y1: 0, y2: height * rows, stroke: "var(--ink)"}),
        s("text", {x: Math.min(X(now), width - 60), y: height * rows + 18, "text-anchor": "middle"}, `step ${now}`));
      stage.replaceChildren(h("p", {class: "hint", style: "margin:0"}, `Rows that are done ${way ? "are refilled at once" : "wait for the longest reply"}:`),
        svg, key([["var(--accent)", "writes a reply"], ["color-mix(in srgb, var(--bad) 30%, transparent)", "computes for nothing"]]));
      const spent = rows * Math.min(now, ends[way]);
      say(now ? `${ways[way]}: after ${now} steps ${ended} of ${turns[way].length} replies have ended`
        + (ended < turns[way].length ? `, ${busy} of ${rows} rows are at work` : `, after step ${ends[way]}`)
        + `; ${Math.round(100 * tokens / spent)} % of the rows' steps wrote a token.`
        : `${turns[way].length} replies wait for ${rows} rows. Which way will be done first, and by how much?`);
    };
    choice(model, knobs, "way", {label: "A row that is done", options: ways}, draw);
    play(slider(model, knobs, "step", {label: "Step", max: last}, draw), 12);
    start(draw);
  },
};
