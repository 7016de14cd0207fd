// What the main head and the heads of multi-token prediction guess, token by token.
const seen = piece => piece === null ? "nothing" : piece.replaceAll(" ", "·").replaceAll("\n", "⏎");

export default {
  render({model, el}) {
    const {tokens, guesses} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const head = k => k === 0 ? "main head (next token)" : `depth ${k} (${k + 1} tokens ahead)`;
    const draw = () => {
      const k = model.get("depth"), at = model.get("position"), made = tokens.map((_, i) => i > k ? guesses[k][i - k - 1] : null);
      const flow = h("div", {class: "flow"}, ...tokens.map((token, i) => {
        const tone = made[i] === null ? "var(--soft)" : made[i] === token ? "var(--good)" : "var(--bad)";
        const slip = made[i] !== null && made[i] !== token ? ";text-decoration:underline wavy var(--bad)" : "";  // not by colour alone
        const ring = i === at ? ";outline:2px solid var(--ink)" : i > at && i <= at + guesses.length ? ";outline:1px dashed var(--soft)" : "";
        return h("span", {class: "tok", style: `--tone:${tone}${ring}${slip}`}, token.replaceAll(" ", "·").replaceAll("\n", "⏎\n"));
      }));
      stage.replaceChildren(flow, key([["var(--good)", "guessed right"], ["var(--bad)", "guessed wrong"],
        ["var(--soft)", "no guess"]]));
      const asked = made.filter(g => g !== null).length, right = made.filter((g, i) => g !== null && g === tokens[i]).length;
      const here = guesses.map((column, d) => {
        const truth = tokens[at + 1 + d];
        if (truth === undefined || column[at] === null) return null;
        return `depth ${d} says “${seen(column[at])}”` + (column[at] === truth ? " (right)" : ` (it is “${seen(truth)}”)`);
      }).filter(Boolean);
      say(`${head(k)}: ${right} of ${asked} right (${asked ? Math.round(100 * right / asked) : 0} %). `
        + `At “${seen(tokens[at])}”: ${here.join(", ") || "nothing left to guess"}.`);
    };
    choice(model, knobs, "depth", {label: "Head", options: guesses.map((_, k) => head(k))}, draw);
    play(slider(model, knobs, "position", {label: "Position", max: tokens.length - 1}, draw), 20);
    start(draw);
  },
};
