// A group of answers that the reader judges, and what GRPO and its relatives make of the verdicts.
const letter = i => String.fromCharCode(97 + i);
const signed = x => Math.abs(x) < 5e-5 ? "0" : (x > 0 ? "+" : "−") + String(Number(Math.abs(x).toPrecision(2)));

export default {
  render({model, el}) {
    const {answers, longest} = model.get("data"), {stage, knobs, say, start} = frame(model, el), size = answers.length;
    const total = answers.reduce((sum, answer) => sum + answer.length, 0);
    const judge = () => {
      const right = model.get("right"), mean = right.reduce((a, b) => a + b, 0) / size;
      const deviation = Math.sqrt(right.reduce((sum, r) => sum + (r - mean) ** 2, 0) / (size - 1));
      const advantages = right.map(r => (r - mean) / (model.get("scale") === 0 ? deviation + 1e-4 : 1));
      const below = answers.map(answer => [size * answer.length, total, size * longest][model.get("average")]);
      return {right, mean, deviation, advantages, pulls: advantages.map((a, i) => a / below[i])};
    };
    const buttons = answers.map((_, i) => {
      const button = h("button", {type: "button", style: "font:inherit;font-size:.9em;color:var(--ink);border-radius:6px;"
        + "border:1px solid var(--tone);background:color-mix(in srgb, var(--tone) 16%, var(--paper));padding:.25em .7em;cursor:pointer"});
      button.addEventListener("click", () => {
        model.set("right", model.get("right").map((r, j) => j === i ? 1 - r : r));
        model.save_changes();
        draw();
      });
      return button;
    });
    const draw = () => {
      const {right, mean, deviation, advantages, pulls} = judge(), most = Math.max(...pulls.map(Math.abs), 1e-9);
      buttons.forEach((button, i) => {
        button.textContent = `${letter(i)} is ${right[i] ? "right" : "wrong"}`;
        button.setAttribute("aria-pressed", right[i] ? "true" : "false");
        button.style.setProperty("--tone", right[i] ? "var(--good)" : "var(--bad)");
      });
      const rows = answers.flatMap((answer, i) => {
        const tone = pulls[i] >= 0 ? "var(--c0)" : "var(--c1)", part = Math.round(75 * Math.abs(pulls[i]) / most);
        return [h("span", {}, letter(i)), h("span", {style: "text-align:right"}, signed(advantages[i])),
          h("span", {style: "min-width:0;overflow-wrap:anywhere"}, ...answer.map(token => h("span", {class: "tok",
            style: `border:1px solid var(--line);background:color-mix(in srgb, ${tone} ${part}%, transparent)`},
            token.replaceAll(" ", "·")))),
          h("span", {style: "text-align:right"}, signed(pulls[i]))];
      });
      const head = ["", "advantage", "tokens", "pull on each"].map((text, i) =>
        h("span", {style: "font-size:.8em;color:var(--soft)" + (i % 2 ? ";text-align:right" : "")}, text));
      stage.replaceChildren(h("div", {style: "display:grid;grid-template-columns:auto auto minmax(0,max-content) auto;justify-content:start;gap:.35em 1em;"
        + "align-items:baseline;font-variant-numeric:tabular-nums"}, ...head, ...rows),
        key([["var(--c0)", "likelier"], ["var(--c1)", "less likely"]]));
      const count = right.reduce((a, b) => a + b, 0), deviated = model.get("scale") === 0 ? `, deviation ${deviation.toFixed(2)}` : "";
      const told = advantages.map((a, i) => `${letter(i)} ${signed(a)}`).join(", ");
      say(deviation === 0 ? `All ${size} are ${count ? "right" : "wrong"}: no advantage, no gradient, whatever the scale.`
        : `${count} of ${size} right: mean ${mean.toFixed(2)}${deviated}. Advantages: ${told}. `
          + `A token of ${letter(0)} is pulled by ${signed(pulls[0])}, one of ${letter(size - 1)} by ${signed(pulls[size - 1])}.`);
    };
    choice(model, knobs, "scale", {label: "Divide by", options: ["the deviation", "nothing"]}, draw);
    choice(model, knobs, "average", {label: "Average", options: ["within answers (grpo)", "over all tokens (dapo)",
      "over a fixed length (dr_grpo)"]}, draw);
    knobs.append(h("div", {role: "group", "aria-label": "verdicts", style: "grid-column:1/-1;display:flex;flex-wrap:wrap;gap:.4em"},
      ...buttons));
    model.on("change:right", draw);
    start(draw);
  },
};
