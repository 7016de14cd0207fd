// Pairs of replies to be labelled by the reader.
export default {
  render({model, el}) {
    const {pairs} = model.get("data"), {stage, knobs, say, start} = frame(model, el), side = ["", "left", "right"];
    const box = (i, tone, label) => h("div", {style: `border:2px solid ${tone};padding:.4em .7em;border-radius:6px;min-width:0;`
      + "overflow-wrap:anywhere"}, h("div", {style: "font-size:.8em;color:var(--soft)"}, label),
      h("div", {style: "white-space:pre-wrap;font:.84em/1.5 ui-monospace,'DejaVu Sans Mono',monospace"},
        pairs[model.get("pair")][side[i]].replace(/<\/think>\s*/, "</think>\n")));
    const counts = labels => {
      const by = {};
      pairs.forEach((pair, k) => Object.entries(pair.facts).forEach(([name, s]) => {
        if (labels[k] && s) { by[name] ||= [0, 0]; by[name][0] += labels[k] === s; by[name][1] += 1; }
      }));
      return Object.entries(by).map(([name, [n, all]]) => `${n} of ${all} ${name}`).join("; ");
    };
    const draw = () => {
      const at = model.get("pair"), labels = model.get("labels"), mine = labels[at], done = labels.filter(l => l).length;
      const tone = i => mine === i ? "var(--good)" : "var(--line)";
      stage.replaceChildren(h("div", {style: "margin-bottom:.5em"}, h("strong", {}, "Prompt: "), pairs[at].prompt),
        h("div", {style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,15em),1fr));gap:.6em"},
          ...[1, 2].map(i => box(i, tone(i), mine === i ? `${side[i]}: your choice` : side[i]))));
      buttons.forEach((button, i) => {
        button.setAttribute("aria-pressed", String(mine === i + 1));
        button.style.setProperty("--tone", mine === i + 1 ? "var(--good)" : "var(--soft)");
        button.setAttribute("aria-label", `${side[i + 1]} is better: ${pairs[at][side[i + 1]]}`);
      });
      const found = counts(labels);
      say(`Pair ${at + 1} of ${pairs.length}: ${mine ? `you chose the ${side[mine]} reply` : "not labelled yet"}. `
        + `${done} labelled` + (found ? `; your choices were: ${found}.` : "."));
    };
    const choose = label => {
      const at = model.get("pair"), labels = [...model.get("labels")], fresh = labels[at] === 0;
      labels[at] = label;
      model.set("labels", labels);
      if (fresh && at + 1 < pairs.length) model.set("pair", at + 1);  // a corrected label stays in sight
      model.save_changes();
      draw();
    };
    slider(model, knobs, "pair", {label: "Pair", max: pairs.length - 1, show: i => fmt(i + 1)}, draw);
    const buttons = ["← left is better", "right is better →"].map((text, i) => {
      const button = h("button", {type: "button", style: "font:inherit;font-size:.9em;color:var(--ink);border-radius:6px;"
        + "border:1px solid var(--tone);background:color-mix(in srgb, var(--tone) 16%, var(--paper));padding:.25em .7em;cursor:pointer"}, text);
      button.addEventListener("click", () => choose(i + 1));
      return button;
    });
    const row = h("div", {role: "group", "aria-label": "labels", style: "display:flex;flex-wrap:wrap;gap:.4em;align-items:end"}, ...buttons);
    // Arrow keys label while one of the buttons has the focus; on the slider they move it, as everywhere.
    row.addEventListener("keydown", event => {
      const i = ["ArrowLeft", "ArrowRight"].indexOf(event.key);
      if (i >= 0) { event.preventDefault(); buttons[i].focus(); choose(i + 1); }
    });
    knobs.append(row);
    model.on("change:labels", draw);
    start(draw);
  },
};
