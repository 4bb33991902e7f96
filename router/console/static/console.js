// The theme that was chosen, before anything is drawn; and live figures. Everything else works
// without script.
"use strict";

const THEMES = ["system", "light", "dark"];

function stored() {
  try {
    return localStorage.getItem("protege-theme");
  } catch {
    return null;
  }
}

function applyTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

applyTheme(stored());

function offerThemes() {
  const button = document.getElementById("theme");
  const name = () => THEMES.find((theme) => theme === stored()) ?? "system";
  const label = () => (button.textContent = `Theme: ${name()}`);
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(name()) + 1) % THEMES.length];
    try {
      localStorage.setItem("protege-theme", next);
    } catch {
      // A browser that keeps nothing has the theme of its system.
    }
    applyTheme(next);
    label();
  });
}

function followFigures() {
  const panel = document.querySelector("[data-live]");
  if (!panel) return;
  let source = null;
  const show = (event) => {
    const figures = JSON.parse(event.data);
    for (const place of panel.querySelectorAll("[data-figure]"))
      place.textContent = figures[place.dataset.figure];
    panel.classList.add("on");
  };
  const follow = () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else if (!source) {
      source = new EventSource(panel.dataset.live);
      source.addEventListener("figures", show);
      source.addEventListener("error", () => panel.classList.remove("on"));
    }
  };
  panel.hidden = false;
  document.addEventListener("visibilitychange", follow);
  follow();
}

document.addEventListener("DOMContentLoaded", () => {
  offerThemes();
  followFigures();
});
