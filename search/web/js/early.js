// Runs before the first paint, so that nothing flashes or shifts. Not a module for that reason.
(() => {
  const root = document.documentElement;
  const kept = (name) => {
    try {
      return localStorage.getItem(name);
    } catch {
      return null; // Storage may be forbidden; the system's choice serves then.
    }
  };
  const theme = kept("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const spoken = root.dataset.languages.split(" ");
  const wanted = [kept("language"), ...navigator.languages].map((one) => one?.split("-")[0]);
  root.lang = wanted.find((one) => spoken.includes(one)) ?? "en";
  if (root.lang !== "en") root.classList.add("translating");
  if (/[?&](q|term)=/.test(location.search)) root.classList.add("asked");
})();
