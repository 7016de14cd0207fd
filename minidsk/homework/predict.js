// A prediction on a page: the question with a place for a number, and further down the measured value with the points.
const KEPT = "minidsk.predictions", FULL = 10;

/** The guesses of this browser by the prediction's name; those of this page alone where nothing may be stored. */
function guesses() {
  if (globalThis[KEPT]) return globalThis[KEPT];
  try {
    const all = Object.entries(JSON.parse(localStorage.getItem(KEPT)) ?? {});
    return Object.fromEntries(all.filter(([, e]) => Number.isFinite(e?.guess) && (e.points === undefined
      || Number.isFinite(e.points) && Number.isFinite(e.truth))));
  } catch { return {}; }
}
/** Replace one guess, or forget it where `entry` is null, and tell both parts of each prediction on the page. */
function keep(name, entry) {
  const all = guesses();
  if (entry) all[name] = entry; else delete all[name];
  try { localStorage.setItem(KEPT, JSON.stringify(all)); delete globalThis[KEPT]; } catch { globalThis[KEPT] = all; }
  document.dispatchEvent(new Event(KEPT));
}
/** 0 to 10, as Prediction.points in predict.py has it: the same operations in the same order. */
function points({scale, tolerance}, guess, truth) {
  const away = scale === "difference" ? Math.abs(guess - truth) / tolerance
    : (guess > 0 ? Math.abs(Math.log(guess) - Math.log(truth)) : Infinity) / Math.log(tolerance);
  const exact = Number((FULL * Math.max(0, 1 - away)).toFixed(9)), whole = Math.floor(exact), rest = exact - whole;
  return whole + (rest > .5 || rest === .5 && whole % 2 === 1 ? 1 : 0);  // a half goes to the even neighbour
}
/** The number that was typed, "1,000,000" and "1e6" too; NaN where it is none. */
function typed(text) {
  text = text.trim().replace("−", "-");
  if (/^[-+]?\d{1,3}(,\d{3})+(\.\d*)?$/.test(text)) text = text.replaceAll(",", "");
  const number = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : NaN;
  return Number.isFinite(number) ? number : NaN;
}
const written = (x, unit) => (Number.isInteger(x) && Math.abs(x) < 1e15 ? x.toLocaleString("en-US")
  : String(Number(x.toPrecision(4)))) + (unit ? ` ${unit}` : "");
function apart({scale, unit}, guess, truth) {
  if (guess === truth) return "exact";
  const way = guess > truth ? "too high" : "too low";
  if (scale === "difference" || guess <= 0) return `${written(Math.abs(guess - truth), unit)} ${way}`;
  return `${written(Number(Math.max(guess / truth, truth / guess).toPrecision(3)))} times ${way}`;
}
const anchor = name => "prediction-" + name.replaceAll(/[^\w]+/g, "-");

/** Draws one part into its place in the page. */
function place(part, name) {
  const host = [...document.querySelectorAll("[data-prediction]")].find(({dataset: d}) => d.prediction === name && d.part === part && !d.live);
  if (!host) return;
  host.dataset.live = "yes";
  const state = JSON.parse(host.querySelector("script").textContent), {question, unit, truth, example} = state;
  const own = state.guess !== undefined;  // typed in the notebook, whose tally counts it
  if (part === "reveal") host.id = anchor(name);
  const button = (text, type = "button") => h("button", {type, class: "do"}, text);
  const input = h("input", {type: "text", inputmode: "decimal", autocomplete: "off", size: 10, "aria-describedby": `${anchor(name)}-${part}`});
  const go = button(part === "ask" ? "Keep my guess" : "Reveal", "submit"), look = button("Show me"), forget = button("Forget this guess");
  const hint = h("span", {class: "hint", id: `${anchor(name)}-${part}`}, (unit ? `in ${unit}, ` : "") + `for example ${written(example ?? 0)}`);
  const said = h("p", {class: "say", role: "status", "aria-live": "polite", tabindex: "-1"});
  const form = h("form", {class: "ask"}, h("label", {}, "Your guess", input), hint, go, ...(part === "reveal" ? [look] : []));
  const box = h("div", {class: "mdsk", role: "group", "aria-label": question}, h("style", {}, CSS),
    h("p", {class: "head"}, question), form, said, forget);
  forget.style.marginTop = ".5em";
  let shown = false, complaint = "";

  const draw = () => {
    const all = guesses(), entry = Object.hasOwn(all, name) ? all[name] : null;
    const scored = !own && Number.isFinite(entry?.points);
    form.hidden = own || scored || shown;
    forget.hidden = own || !entry || part === "ask";
    look.hidden = Boolean(entry);
    if (entry && document.activeElement !== input) input.value = entry.guess;
    if (complaint) return said.replaceChildren(complaint);
    if (own) return said.replaceChildren(...result(state.guess, truth, state.points, state.total, state.count));
    if (scored) {
      const done = Object.values(all).filter(e => Number.isFinite(e.points));
      return said.replaceChildren(...result(entry.guess, part === "ask" ? entry.truth : truth, entry.points,
        done.reduce((sum, e) => sum + e.points, 0), done.length));
    }
    if (shown) return said.replaceChildren(`Measured: `, h("strong", {}, written(truth, unit)), ". No points, because you did not guess.");
    if (!entry) return said.replaceChildren(part === "ask"
      ? "Your guess stays in this browser; the measured value comes further down." : "The measured value is hidden until you guess.");
    const further = document.getElementById(anchor(name));
    said.replaceChildren("Your guess is ", h("strong", {}, written(entry.guess, unit)), ". ", ...(part === "reveal"
      ? ["Press Reveal to compare it with the measured value."]
      : ["It is kept in this browser. ", further ? h("a", {href: "#" + anchor(name)}, "The measured value is further down.")
        : "The measured value is further down."]));
  };
  const result = (guess, truth, points, total, count) => truth === undefined ? [`Your guess: ${written(guess, unit)}.`]
    : [`Your guess ${written(guess, unit)}, measured `, h("strong", {}, written(truth, unit)), `: ${apart(state, guess, truth)}. `,
      h("strong", {}, `${points} of ${FULL} points`), `. Your tally over the course: ${total} of ${FULL * count} after ${count} `
      + (count === 1 ? "prediction." : "predictions.")];

  form.addEventListener("submit", event => {
    event.preventDefault();
    const guess = typed(input.value);
    complaint = Number.isNaN(guess) ? "Type a number first, with a point before decimals: 2000, 0.5 or 1e6." : "";
    if (complaint) { draw(); input.focus(); return; }
    keep(name, part === "ask" ? {guess} : {guess, truth, points: points(state, guess, truth)});
    said.focus();
  });
  look.addEventListener("click", () => { shown = true; complaint = ""; draw(); said.focus(); });
  forget.addEventListener("click", () => { shown = false; complaint = input.value = ""; keep(name, null); input.focus(); });
  // In JupyterLab the keys move from cell to cell, unless the element with the focus says that it wants them.
  box.addEventListener("focusin", event => { event.target.dataset.lmSuppressShortcuts = "true"; });
  document.addEventListener(KEPT, draw);
  addEventListener("storage", event => { if (event.key === KEPT || event.key === null) draw(); });
  host.querySelector("div").replaceChildren(box);
  draw();
}
