// Runs before the page is drawn, so that it never flashes in the other colours.
"use strict";
(() => {
  const ORDER = ["auto", "light", "dark"];
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem("didyma-theme");
    } catch {
      return null; // Storage is forbidden: the choice lasts as long as the page.
    }
  };
  let theme = ORDER.includes(stored()) ? stored() : "auto";
  const apply = () => {
    root.dataset.theme = theme;
    const name = document.getElementById("theme-name");
    if (name) name.textContent = theme;
  };
  apply();
  document.addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      apply();
      try {
        localStorage.setItem("didyma-theme", theme);
      } catch {
        // As above.
      }
    });
  });
})();
