// Runs before the first paint, so that nothing flashes or shifts. Not a module for that reason.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden; the system's theme serves then.
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  if (/[?&](q|term)=/.test(location.search)) document.documentElement.classList.add("asked");
})();
