/* What is wider than its box scrolls in it: by the keyboard too. */

(() => {
  const article = document.querySelector("article");
  if (!article) return;
  const boxes = "pre, table, div.math, mjx-container, .cell_output, .cell_output div, .pst-scrollable-table-container, figure div";
  const reach = () => {
    for (const box of article.querySelectorAll(boxes)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 && ["auto", "scroll"].includes(getComputedStyle(box).overflowX);
      if (scrolls && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.dataset.scrolls = "";
      } else if (!scrolls && "scrolls" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.scrolls;
      }
    }
    for (const box of article.querySelectorAll("figure.mdsk-diagram > div")) {
      box.parentElement.classList.toggle("fits", box.scrollWidth <= box.clientWidth + 1); // then nothing is to be swiped
    }
  };
  new ResizeObserver(reach).observe(article); // a figure that is drawn, a cell that is opened, a window that is turned
  reach();
})();
