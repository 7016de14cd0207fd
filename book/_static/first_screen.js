/* The live figure of the first screen: recorded replies of one model while it learns; see book/_ext/first_screen.py. */

(() => {
  const figure = document.querySelector("figure.live");
  const part = (name) => figure.querySelector(`[data-live="${name}"]`);
  const data = JSON.parse(part("data").textContent);
  const slider = part("step"), play = part("play"), said = part("said");
  const points = [...figure.querySelectorAll("circle.moment")].map((c) => [Number(c.getAttribute("cx")), Number(c.getAttribute("cy"))]);
  const last = points.length - 1;
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let problem = data.start, timer = null;

  const element = (tag, name, text) => Object.assign(document.createElement(tag), { className: name, textContent: text });

  function show() {
    const at = Number(slider.value), moment = data.moments[at], reply = moment.replies[problem], [x, y] = points[at];
    const when = moment.step ? `after ${moment.step} steps of reward` : "before any reward";
    const lines = element("ol", "live-lines", "");
    lines.append(...reply.lines.map((line) => element("li", "", line)));
    const answer = element("p", "live-answer", "answer: ");
    answer.append(element("b", "", reply.answer ?? "none"));
    const outcome = element("p", `live-outcome ${reply.right ? "right" : "wrong"}`, reply.outcome);
    part("problem").textContent = data.prompts[problem];
    part("reply").replaceChildren(element("p", "live-when", when), lines, answer, outcome);
    part("now").querySelector("path").setAttribute("transform", `translate(${x - points[0][0]})`);
    part("now").querySelector("circle").setAttribute("transform", `translate(${x - points[0][0]} ${y - points[0][1]})`);
    const left = at > last / 2;
    said.textContent = `${moment.right} % right`;
    said.setAttribute("x", left ? x - 10 : x + 10);
    said.setAttribute("y", y + 24);
    said.setAttribute("text-anchor", left ? "end" : "start");
    slider.setAttribute("aria-valuetext", `${when}: ${moment.right} % right`);
    play.textContent = timer ? "Pause" : calm.matches ? "Next step" : at === last ? "Play again" : "Play";
  }

  function pause() {
    clearInterval(timer);
    timer = null;
    part("reply").setAttribute("aria-live", "polite");
    show();
  }

  function go(to) {
    slider.value = to;
    if (Number(slider.value) === last) pause();
    else show();
  }

  play.addEventListener("click", () => {
    if (timer) return pause();
    const from = Number(slider.value) === last ? 0 : Number(slider.value);
    // Where the system asks for less motion, nothing moves by itself: each press is one step.
    if (calm.matches) return go(Number(slider.value) === last ? 0 : from + 1);
    part("reply").setAttribute("aria-live", "off"); // a reader of the screen would be read half a reply every second
    timer = setInterval(() => go(Number(slider.value) + 1), 900);
    go(from);
  });
  slider.addEventListener("input", pause);
  part("next").addEventListener("click", () => { problem = (problem + 1) % data.prompts.length; show(); });
  const curve = figure.querySelector("svg.live-curve");
  const follow = (event) => {
    const x = (event.clientX - curve.getBoundingClientRect().left) * curve.viewBox.baseVal.width / curve.clientWidth;
    const away = points.map((point) => Math.abs(point[0] - x));
    pause();
    go(away.indexOf(Math.min(...away)));
  };
  curve.addEventListener("pointerdown", follow);
  curve.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  calm.addEventListener("change", pause);
  for (const hidden of figure.querySelectorAll("[hidden]")) hidden.hidden = false;
  figure.classList.add("moves");
  show();

  for (const button of document.querySelectorAll("[data-copies]")) {
    const text = document.getElementById(button.dataset.copies), note = document.querySelector(".front-copied");
    button.hidden = false;
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(text); // what is left where the clipboard is refused
      try {
        await navigator.clipboard.writeText(text.textContent);
        note.textContent = "Copied. Paste it into a terminal.";
      } catch {
        note.textContent = "The browser refused the clipboard. The line is selected: press Ctrl+C or ⌘C.";
      }
    });
  }
})();
