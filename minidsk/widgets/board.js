// Tic-tac-toe against a policy, at any step of its training.
export default {
  render({model, el}) {
    const {positions, steps, snapshots, losing, shades} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const LINES = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]];
    const turn = v => [6, 3, 0, 7, 4, 1, 8, 5, 2].map(c => v[c]), flip = v => [2, 1, 0, 5, 4, 3, 8, 7, 6].map(c => v[c]);
    // The eight views of a board: view[i] is the cell of the board that view's cell i shows.
    const views = [[0, 1, 2, 3, 4, 5, 6, 7, 8]];
    for (let i = 0; i < 3; i++) views.push(turn(views[i]));
    views.push(...views.map(flip));
    // Where each position's letters begin in a snapshot.
    const place = new Map();
    for (let p = 0, at = 0; p < positions.length; p += 9) {
      const code = positions.slice(p, p + 9);
      place.set(code, at);
      at += code.split(".").length - 1;
    }
    /** How likely the policy thinks each move of `cells`, for the side "X" or "O" that is to move. */
    const thinks = (cells, side) => {
      const seen = cells.map(c => c === "" ? "." : c === side ? "o" : "x"), out = Array(9).fill(0);
      const view = views.find(v => place.has(v.map(c => seen[c]).join("")));
      let at = place.get(view.map(c => seen[c]).join(""));
      for (const c of view) if (cells[c] === "") out[c] = shades.indexOf(snapshots[model.get("step")][at++]) / 63;
      return out;
    };
    const wins = (cells, side) => LINES.some(line => line.every(c => cells[c] === side));
    const toMove = () => cells.filter(c => c !== "").length % 2 ? "O" : "X";
    const over = () => wins(cells, "X") || wins(cells, "O") || !cells.includes("");
    let cells = Array(9).fill(""), you = "X", tally = {won: 0, drawn: 0, lost: 0}, thought = null;

    const buttons = cells.map((_, c) => {
      const button = h("button", {type: "button", style: "aspect-ratio:1;font:600 1.7em/1 system-ui;border:1px solid var(--line);"
        + "border-radius:6px;color:var(--ink);background:var(--paper);padding:0;min-width:0;cursor:pointer"});
      button.addEventListener("click", () => { if (cells[c] === "" && toMove() === you && !over()) { put(c); answer(); draw(); } });
      return button;
    });
    const begin = side => { cells = Array(9).fill(""); you = side; thought = null; answer(); draw(); };
    const starts = ["X", "O"].map(side => {
      const button = h("button", {type: "button", class: "do"}, side === "X" ? "New game, you begin" : "New game, it begins");
      button.addEventListener("click", () => begin(side));
      return button;
    });
    const table = h("div", {role: "group", "aria-label": "the board", style: "display:grid;grid-template-columns:repeat(3,1fr);"
      + "gap:4px;width:min(100%,11.5em)"}, ...buttons);
    const minds = h("div", {style: "flex:1 1 17em;min-width:0"});
    stage.before(h("div", {style: "display:flex;gap:.6em;flex-wrap:wrap;margin-bottom:.6em"}, ...starts),
      h("div", {style: "display:flex;gap:1.4em;flex-wrap:wrap;align-items:flex-start"}, table, minds));
    minds.append(stage);

    const put = c => {
      cells[c] = toMove();
      if (over()) tally[wins(cells, you) ? "won" : wins(cells, you === "X" ? "O" : "X") ? "lost" : "drawn"] += 1;
    };
    /** The policy's likeliest move, if it is its turn; what it thought is kept to be shown. */
    const answer = () => {
      if (toMove() === you || over()) return;
      const shares = thinks(cells, toMove()), move = shares.indexOf(Math.max(...shares));
      thought = {before: [...cells], shares, move};
      put(move);
    };

    const NAMES = ["top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right"];
    const small = (at, x) => {
      const svg = s("g"), side = 40;
      for (let c = 0; c < 9; c++) {
        const left = x + (c % 3) * (side + 3), top = 22 + Math.floor(c / 3) * (side + 3), stone = at.before[c];
        svg.append(s("rect", {x: left, y: top, width: side, height: side, rx: 4, fill: "var(--accent)",
          "fill-opacity": stone ? 0 : at.shares[c] * .85, stroke: c === at.move ? "var(--accent)" : "var(--line)",
          "stroke-width": c === at.move ? 2.5 : 1}));
        svg.append(s("text", {x: left + side / 2, y: top + side / 2 + 4, "text-anchor": "middle", style: stone
          ? "font-weight:600;fill:var(--ink)" : `fill:${at.shares[c] > .5 ? "var(--mark)" : "var(--soft)"}`},
          stone || `${Math.round(100 * at.shares[c])}%`));
      }
      return svg;
    };
    const draw = () => {
      const done = over(), mine = wins(cells, you), theirs = wins(cells, you === "X" ? "O" : "X");
      buttons.forEach((button, c) => {
        button.textContent = cells[c];
        button.setAttribute("aria-label", `${NAMES[c]}: ${cells[c] || "empty"}`);
        button.style.color = cells[c] === you ? "var(--c1)" : "var(--c0)";
        button.style.cursor = cells[c] === "" && !done ? "pointer" : "default";
      });
      // Its last move, or, while it has not moved, what it would do in your place.
      const at = thought || {before: cells, shares: thinks(cells, toMove()), move: -1};
      const width = Math.max(240, Math.min(420, stage.clientWidth || 320)), now = model.get("step"), left = 168, w = width - left - 12;
      const svg = s("svg", {viewBox: `0 0 ${width} 168`, "aria-hidden": "true", style: `max-width:${width}px`});
      svg.append(s("text", {x: 0, y: 12}, thought ? "its last move" : "in your place"), small(at, 0));
      const X = i => left + w * (steps.length > 1 ? i / (steps.length - 1) : .5);
      const most = Math.log1p(Math.max(...losing, 1)), Y = n => 22 + 120 * (1 - Math.log1p(n) / most);
      svg.append(s("text", {x: left - 8, y: 12}, "positions it loses"));
      svg.append(s("line", {x1: left - 8, x2: left + w + 8, y1: Y(0), y2: Y(0), stroke: "var(--soft)"}));
      // The curve grows with the slider: how it goes on is for the reader to find out.
      const past = losing.slice(0, now + 1);
      svg.append(s("polyline", {points: past.map((n, i) => `${X(i).toFixed(1)},${Y(n).toFixed(1)}`).join(" "), fill: "none",
        stroke: "var(--accent)", "stroke-width": 2}));
      past.forEach((n, i) => svg.append(s("circle", {cx: X(i).toFixed(1), cy: Y(n).toFixed(1), r: i === now ? 6 : 3,
        fill: i === now ? "var(--c1)" : "var(--accent)"})));
      const end = now > steps.length / 2 ? "end" : "start", high = Y(losing[now]) < 40;
      svg.append(s("text", {x: X(now) + (end === "end" ? 6 : -6), y: Y(losing[now]) + (high ? 22 : -11), "text-anchor": end,
        style: "fill:var(--ink);font-weight:600"}, fmt(losing[now])));
      svg.append(s("text", {x: left - 8, y: 162}, `step ${fmt(steps[0])}`),
        s("text", {x: left + w + 8, y: 162, "text-anchor": "end"}, fmt(steps.at(-1))));
      stage.replaceChildren(svg);
      const chance = at.move < 0 ? "" : ` It moved ${NAMES[at.move]}, at ${Math.round(100 * at.shares[at.move])}%.`;
      const state = mine ? "You won." : theirs ? "It won." : done ? "A draw." : `You are ${you}.`;
      say(`Trained for ${fmt(steps[now])} steps: it loses in ${fmt(losing[now])} positions.${chance} ${state} `
        + `You have won ${tally.won}, drawn ${tally.drawn}, lost ${tally.lost}.`);
    };
    play(slider(model, knobs, "step", {label: "Steps of training", max: steps.length - 1, show: i => fmt(steps[i])}, draw));
    start(draw);
  },
};
