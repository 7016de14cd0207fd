// How figures and predictions look, in light and dark, and how they make elements. No request leaves the page.
const STYLE = `
.mdsk { --ink: #24292f; --soft: #5d6670; --line: #d5dae0; --paper: #fbfcfd; --accent: #2563a8; --warm: #b4531a;
  --good: #257a4e; --bad: #b23a48; --mark: #ffffff;
  --c0: #2563a8; --c1: #b4531a; --c2: #257a4e; --c3: #7b4fa3; --c4: #8a6d00; --c5: #b23a6b;
  color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 8px; margin: 1em 0;
  padding: .8em 1em; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; max-width: 100%;
  box-sizing: border-box; color-scheme: light; }
DARK { --ink: #e3e7ec; --soft: #a3adb8; --line: #3b444e; --paper: #1b2027; --accent: #7db4f0; --warm: #f0a070;
  --good: #6cc894; --bad: #f08a96; --mark: #10141a;
  --c0: #7db4f0; --c1: #f0a070; --c2: #6cc894; --c3: #c5a0ea; --c4: #dcc060; --c5: #f08ab8; color-scheme: dark; }
.mdsk * { box-sizing: border-box; }
.mdsk [hidden] { display: none !important; }
.mdsk .head { font-weight: 600; margin: 0 0 .5em; }
.mdsk .knobs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 15em), 1fr)); gap: .35em 1.4em;
  margin: 0 0 .7em; }
.mdsk label { display: grid; grid-template-columns: auto 1fr; column-gap: .6em; align-items: center; align-content: end;
  font-size: .9em; margin: 0; }
.mdsk label output { justify-self: end; font-variant-numeric: tabular-nums; color: var(--accent); font-weight: 600; }
.mdsk label input[type=range] { grid-column: 1 / -1; width: 100%; margin: 0; accent-color: var(--accent); min-height: 1.4em; }
.mdsk select { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 4px;
  padding: .1em .3em; min-width: 0; grid-column: 1 / -1; }
.mdsk .do { font: inherit; font-size: .9em; color: var(--ink); background: var(--paper); border: 1px solid var(--tone, var(--soft));
  border-radius: 6px; padding: .25em .8em; min-height: 2em; cursor: pointer; }
.mdsk .do:hover { background: color-mix(in srgb, var(--accent) 12%, var(--paper)); }
.mdsk .ask { display: flex; flex-wrap: wrap; gap: .5em .7em; align-items: center; margin: 0; }
.mdsk .ask input { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--soft); border-radius: 6px;
  padding: .2em .6em; min-height: 2em; min-width: 0; }
.mdsk .hint { font-size: .85em; color: var(--soft); }
.mdsk a { color: var(--accent); }
.mdsk .timed { display: grid; grid-template-columns: auto 1fr; column-gap: .6em; align-items: end; }
.mdsk svg .tag { font-weight: 600; paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
.mdsk :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.mdsk svg { display: block; width: 100%; height: auto; overflow: visible; }
.mdsk svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.mdsk .say { margin: .6em 0 0; font-size: .92em; color: var(--ink); min-height: 1.5em; }
.mdsk .flow { line-height: 2.1; overflow-wrap: anywhere; }
.mdsk .tok { display: inline; padding: .14em .18em; margin: 0 1px; border-radius: 4px; white-space: pre-wrap;
  font-family: ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", Menlo, monospace; font-size: .88em;
  background: color-mix(in srgb, var(--tone, var(--soft)) 22%, transparent); box-decoration-break: clone;
  -webkit-box-decoration-break: clone; }
.mdsk .key { display: flex; flex-wrap: wrap; gap: .2em 1.2em; font-size: .85em; color: var(--soft); margin-top: .4em; }
.mdsk .key i { display: inline-block; width: .9em; height: .9em; border-radius: 3px; margin-right: .4em; vertical-align: -.1em;
  background: var(--tone); }
`;
const DARK_PAGES = [":root[data-theme=dark]", ":root[theme=dark]", "body[data-jp-theme-light=false]", "body.vscode-dark"];
const ANY_THEME = ":root:not([data-theme],[theme]) body:not([data-jp-theme-light],.vscode-light,.vscode-dark) .mdsk";
const [LIGHT_RULES, DARK_RULES, REST] = STYLE.split(/DARK (\{[^}]*\})/);
const CSS = LIGHT_RULES + DARK_PAGES.map(p => p + " .mdsk").join(",") + DARK_RULES
  + `@media (prefers-color-scheme: dark) { ${ANY_THEME} ${DARK_RULES} }` + REST;

/** An element of the page; children may be text. */
function h(tag, attributes = {}, ...children) { return fill(document.createElement(tag), attributes, children); }
/** The same for SVG. */
function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}
function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A number for people: thousands apart, four digits at most behind a point, powers of ten where they help. */
function fmt(x) {
  if (Number.isInteger(x) && Math.abs(x) < 1e9) return x.toLocaleString("en-US");
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-3) return x.toExponential(2).replace("e+", "e").replace(/\.?0+e/, "e");
  return String(Number(x.toPrecision(4)));
}
