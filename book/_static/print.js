// Paper is white: a page in dark colours is printed in the light ones. (No module: browsers load none from a folder.)
{
  const root = document.documentElement;
  let before = null;
  addEventListener("beforeprint", () => { before ??= root.dataset.theme; root.dataset.theme = "light"; });
  addEventListener("afterprint", () => { if (before) root.dataset.theme = before; before = null; });
}
