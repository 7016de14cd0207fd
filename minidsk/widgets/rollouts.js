// A time-lapse of one prompt's answers while a policy learns.
export default {
  render({model, el}) {
    const {prompt, steps, frames, shade_label} = model.get("data"), {stage, knobs, say, start} = frame(model, el);
    const shades = frames.flat().flatMap(sample => sample.shade || []), sizes = shades.map(Math.abs).sort((a, b) => a - b);
    const most = Math.max(sizes[Math.floor(0.9 * (sizes.length - 1))] || 0, 1e-9);  // so that one large value does not fade the rest
    const mean = group => group.reduce((sum, sample) => sum + sample.reward, 0) / group.length;
    const tint = (tone, part) => `color-mix(in srgb, ${tone} ${Math.round(part)}%, transparent)`;
    const draw = () => {
      const at = model.get("frame"), group = frames[at], shaded = shades.length > 0 && model.get("shading") === 1;
      const cards = group.map(sample => {
        const tone = `color-mix(in srgb, var(--good) ${Math.round(100 * sample.reward)}%, var(--bad))`;
        const words = sample.tokens.map((token, i) => {
          if (!shaded || !sample.shade) return token;
          const v = sample.shade[i], by = v >= 0 ? "var(--c0)" : "var(--c1)";
          return h("span", {style: `background:${tint(by, 40 * Math.min(1, Math.abs(v) / most))};border-radius:3px`, title: fmt(v)}, token);
        });
        return h("div", {style: `border-left:4px solid ${tone};background:${tint(tone, 9)};padding:.3em .6em;border-radius:0 6px 6px 0;`
          + "min-width:0;overflow-wrap:anywhere"},
          h("div", {style: "font-size:.8em;color:var(--soft)"}, `reward ${fmt(sample.reward)}`),
          h("div", {style: "white-space:pre-wrap;font:.84em/1.45 ui-monospace,'DejaVu Sans Mono',monospace"}, ...words));
      });
      stage.replaceChildren(h("div", {style: "margin-bottom:.5em;white-space:pre-wrap"}, h("strong", {}, "Prompt: "), prompt),
        h("div", {style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17em),1fr));gap:.5em"}, ...cards));
      if (shaded) stage.append(key([["var(--c0)", `${shade_label}: up`], ["var(--c1)", `${shade_label}: down`]]));
      const right = group.filter(sample => sample.reward >= 1).length;
      const long = group.reduce((sum, sample) => sum + sample.tokens.join("").length, 0) / group.length;
      say(`Step ${fmt(steps[at])}: mean reward ${mean(group).toFixed(2)}, ${right} of ${group.length} with full reward, `
        + `${Math.round(long)} characters on average.` + (shaded ? ` Full colour: ${shade_label} of ${fmt(most)} or more, the largest tenth.` : ""));
    };
    play(slider(model, knobs, "frame", {label: "Training step", max: steps.length - 1, show: i => fmt(steps[i])}, draw));
    if (shades.length) choice(model, knobs, "shading", {label: "Tokens", options: ["plain", shade_label]}, draw);
    start(draw);
  },
};
