// What is wrong with a page that has no scripts, as lists of words by kind.
() => {
  const article = document.querySelector("article"), all = s => [...article.querySelectorAll(s)];
  const shown = e => e.checkVisibility() && e.getClientRects().length > 0;
  const folded = e => e.closest("details:not([open])");
  return {
    "text out of sight": all("p, li, td, h1, h2, h3, pre").filter(e => e.textContent.trim() && !shown(e) && !folded(e)
      && !e.closest("noscript, [hidden]")).map(e => e.textContent.trim().slice(0, 60)),
    "formulas left raw": all(".math:not(:has(mjx-container))").map(e => e.textContent),
    "formulas without size": all("mjx-container").filter(e => shown(e.parentElement) && e.offsetWidth < 2).map(e => e.textContent),
    "pictures that did not load": all("img").filter(i => !i.naturalWidth).map(i => i.src),
    "figures without words": all("[data-minidsk]").filter(e => !folded(e) && e.innerText.trim().length < 60).map(e => e.innerText),
    "controls that do nothing": all("[data-minidsk] button, figure input, figure button").filter(shown).map(e => e.outerHTML.slice(0, 60)),
    "wider than the window": document.documentElement.scrollWidth > innerWidth ? [document.documentElement.scrollWidth] : [],
    "no way on": document.querySelector(".prev-next-area a, form[action]") ? [] : ["no link to the next page"],
  };
}
