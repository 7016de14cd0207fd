// What the KV cache of four kinds of attention costs.
const SIZES = [
  ["layers", "Layers", 1, 128, 1], ["heads", "Heads", 1, 256, 1], ["head_dim", "Numbers in a head", 8, 256, 8],
  ["groups", "Groups (GQA)", 1, 128, 1], ["rank", "Latent (MLA)", 16, 2048, 16],
  ["rope_dim", "Rotated key (MLA)", 2, 256, 2], ["context", "Context, tokens", 256, 131072, 256],
];
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (bytes >= 1024 && i < units.length - 1) { bytes /= 1024; i++; }
  return `${Number(bytes.toPrecision(3))} ${units[i]}`;
}

export default {
  render({model, el}) {
    const {stage, knobs, say, start} = frame(model, el), get = name => Number(model.get(name));
    const draw = () => {
      const head = 2 * get("head_dim") * get("layers"), groups = Math.min(get("groups"), get("heads"));
      const rows = [["MHA", get("heads") * head], ["GQA", groups * head], ["MQA", head],
        ["MLA", get("layers") * (get("rank") + get("rope_dim"))]];
      const bytes = get("bytes_each"), context = get("context"), most = Math.max(...rows.map(r => r[1]));
      const width = roomy(stage), bar = width - 66, narrow = width < 450;
      const svg = s("svg", {viewBox: `0 0 ${width} ${rows.length * 46 + 4}`, "aria-hidden": "true"});
      rows.forEach(([kind, n], i) => {
        const y = i * 46, tone = kind === "MLA" ? "var(--c1)" : "var(--c0)";
        const words = narrow ? `${fmt(n)} · ${size(n * bytes)} · ${size(n * bytes * context)}`
          : `${fmt(n)} numbers · ${size(n * bytes)} per token · ${size(n * bytes * context)} at ${fmt(context)} tokens`;
        svg.append(s("text", {x: 0, y: y + 34, style: "fill:var(--ink);font-size:15px;font-weight:600"}, kind),
          s("text", {x: 56, y: y + 14}, words),
          s("rect", {x: 56, y: y + 20, width: bar, height: 18, rx: 4, fill: "var(--line)", "fill-opacity": .4}),
          s("rect", {x: 56, y: y + 20, width: Math.max(1, bar * n / most), height: 18, rx: 4, fill: tone}));
      });
      stage.replaceChildren(svg);
      const [mha, gqa, mqa, mla] = rows.map(r => r[1]);
      const as = 2 * get("head_dim") * get("layers");
      say(`MLA keeps ${fmt(mla)} numbers per token (${size(mla * bytes)}): ${(100 * mla / mha).toPrecision(3)} % of MHA's `
        + `${fmt(mha)}, as much as GQA would with ${Number((mla / as).toPrecision(3))} groups. GQA keeps ${fmt(gqa)}, `
        + `MQA ${fmt(mqa)}. At ${fmt(context)} tokens MLA holds ${size(mla * bytes * context)}, MHA ${size(mha * bytes * context)}.`);
    };
    for (const [name, label, min, max, step] of SIZES) slider(model, knobs, name, {label, min, max, step}, draw);
    start(draw);
  },
};
