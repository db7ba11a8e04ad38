// Runs before the first paint, so that nothing flashes or shifts. Not a module for that reason.
(() => {
  const root = document.documentElement;
  const kept = (name, where = "local") => {
    try {
      return window[`${where}Storage`].getItem(name);
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
  if (kept("saved")) root.classList.add("saving");
  if (kept("bare")) root.classList.add("bare");
  askEarly();

  /** Ask for what is shown first while the modules are loaded; js/api.js takes the answers. */
  function askEarly() {
    window.early = new Map();
    ask("v1/info");
    const given = [...new URLSearchParams(location.search)];
    const [name, text] = given[0] ?? [];
    if (!given.length) ask("v1/assets?limit=100&cursor=&sort=auto&stacks=true");
    else if (given.length === 1 && name === "q" && text.trim()) ask("v1/search", { query: [{ text: text.trim() }], limit: 24, moments: 12 });
  }

  function ask(path, query) {
    const key = kept("anymodal.key", "session");
    const options = { headers: { ...(query && { "Content-Type": "application/json" }), ...(key && { Authorization: `Bearer ${key}` }) } };
    const body = query && JSON.stringify(query);
    const answer = fetch(path, query ? { method: "POST", body, ...options } : options);
    answer.catch(() => {}); // who takes it says so
    early.set(path + (body ?? ""), answer);
  }
})();
