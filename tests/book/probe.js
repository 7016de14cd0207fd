// What is wrong with the page, as lists of words by kind. Empty lists are what the tests want.
() => {
  const article = document.querySelector("article") || document.body;
  const all = (selector, root = article) => [...root.querySelectorAll(selector)];
  const shown = e => e.checkVisibility() && e.getClientRects().length > 0;
  const words = e => (e?.textContent || "").trim().replace(/\s+/g, " ");
  const brief = e => `<${e.tagName.toLowerCase()}${e.id ? "#" + e.id : ""}${e.getAttribute("class") ? "." + e.getAttribute("class").split(" ")[0] : ""}> `
    + words(e).slice(0, 60);
  const named = ids => (ids || "").split(/\s+/).filter(Boolean).map(id => words(document.getElementById(id))).join(" ");
  const said = e => [e.getAttribute("aria-label") || named(e.getAttribute("aria-labelledby")), named(e.getAttribute("aria-describedby")),
    ...[...e.children].filter(c => ["title", "desc", "figcaption"].includes(c.tagName.toLowerCase())).map(words)].join(" ").trim();
  const scrolls = e => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
  const thin = text => text.length < 40 || /^\S+\.(png|svg|jpe?g|webp)$/i.test(text);
  const pictures = all("svg").filter(e => shown(e) && !e.closest("[aria-hidden=true], [role=img], button, a, label, mjx-container")
    || e.matches("[role=img]") && shown(e) && !e.parentElement.closest("[role=img], [aria-hidden=true]"));
  return {
    "wider than the window": document.documentElement.scrollWidth > window.innerWidth ? [document.documentElement.scrollWidth] : [],
    "formulas left raw": [...all(".math:not(:has(mjx-container))"), ...all("mjx-merror")].map(brief),
    "directives left raw": article.innerText.match(/:::\{|```\{|\$\$|\{cite\}|\\\(/g) || [],
    "images that did not load": [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.getAttribute("src")),
    "fonts that did not load": [...document.fonts].filter(f => f.status === "error").map(f => f.family),
    "code that is clipped": all("div.highlight pre, div.cell_input pre").filter(e => shown(e) && !e.closest(".cell_output") && e.scrollWidth > e.clientWidth + 1).map(brief),
    "boxes that scroll without a keyboard": all("*").filter(e => scrolls(e) && shown(e) && e.tabIndex < 0
      && !e.querySelector("a[href], button, input, select, [tabindex='0']")).map(brief),
    "images without a true description": all("img").filter(i => !i.closest("a") && thin(i.alt)).map(i => `${i.getAttribute("src")}: "${i.alt}"`),
    "links whose image says nothing": all("a img").filter(i => !i.alt && !words(i.closest("a"))).map(i => i.getAttribute("src")),
    "drawings without a true description": pictures.filter(e => thin(said(e))).map(e => `${brief(e)}: "${said(e)}"`),
    "figures without a name": all("figure").filter(e => !said(e)).map(brief),
    "tables without a head": all("table").filter(e => !e.querySelector("th")).map(brief),
    "colours of the other theme": document.documentElement.dataset.theme === (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
      ? [] : [document.documentElement.dataset.theme],
  };
}
