// Paper is white: a page that is read in the dark theme is printed in the light one.
"use strict";
(() => {
  const root = document.documentElement;
  let theme = null;
  window.addEventListener("beforeprint", () => { theme = root.dataset.theme; root.dataset.theme = "light"; });
  window.addEventListener("afterprint", () => { if (theme) root.dataset.theme = theme; });
})();
