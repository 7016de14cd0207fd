// Merges of byte-pair encoding, one at a time.
const shown = piece => piece.replaceAll(" ", "·").replaceAll("\n", "⏎\n");

export default {
  render({model, el}) {
    const {steps, merges} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    stage.className = "flow";
    const tones = new Map();
    const tone = piece => {  // a piece keeps its colour through all steps
      if (piece.length === 1) return "var(--soft)";
      if (!tones.has(piece)) tones.set(piece, `var(--c${tones.size % 6})`);
      return tones.get(piece);
    };
    steps.flat().forEach(tone);
    const draw = () => {
      const at = model.get("merge"), pieces = steps[at], pair = at > 0 && merges[at - 1], fresh = pair && pair.join("");
      stage.replaceChildren(...pieces.map(piece => {
        const isNew = piece === fresh;
        return h("span", {class: "tok", style: `--tone:${tone(piece)}` + (isNew ? ";outline:2px solid var(--tone)" : "")},
          shown(piece));
      }));
      const what = pair ? `, the last one “${shown(pair[0])}” + “${shown(pair[1])}”` : "";
      const kinds = new Set(pieces).size, less = (steps[0].length / pieces.length).toFixed(2);
      say(`After ${at} of ${steps.length - 1} merges${what}: ${pieces.length} tokens of ${kinds} kinds; `
        + `a token stands for ${less} of the first pieces.`);
    };
    play(slider(model, knobs, "merge", {label: "Merges", max: steps.length - 1}, draw), 12);
    start(draw);
  },
};
