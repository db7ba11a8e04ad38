// The state of the page is its address: Back works, and a link can be shared.

/** Fields of the filter form and what they are when nothing is asked. */
export const NO_FILTERS = Object.freeze({
  tags: "", path: "", folder: "", language: "", min_s: "", max_s: "", since: "", until: "",
  city: "", country: "", threshold: 0, diversity: 0, match: "", lexical: "", filter: "",
});

/** What can be understood in the words, unless it is taken literally. */
export const READINGS = ["date", "place"];

/** Where the best or the newest do not come first anyway: of a library the first three, of answers all but `added`. */
const ORDERS = ["newest", "oldest", "added", "name", "size"];

const NUMBERS = ["threshold", "diversity"];

/**
 * @typedef {{kind: "text"|"file"|"asset", value: string, weight: number}} Term
 * `value` is the words, the id in media_store.js or the asset's id.
 */

/** Read an address's query string. */
export function parse(queryString) {
  const from = new URLSearchParams(queryString);
  const form = { ...NO_FILTERS };
  for (const name of Object.keys(form)) {
    if (from.has(name)) form[name] = NUMBERS.includes(name) ? Number(from.get(name)) || 0 : from.get(name);
  }
  return {
    view: ["add", "latency"].includes(from.get("view")) ? from.get("view") : "search",
    words: from.get("q") ?? "",
    terms: from.getAll("term").map(parseTerm).filter(Boolean),
    literal: readings(from.get("literal")),
    only: readings(from.get("only")),
    kinds: (from.get("in") ?? "").split(",").filter(Boolean),
    form,
    order: ORDERS.includes(from.get("order")) ? from.get("order") : "",
    from: /^\d{4}-\d{2}$/.test(from.get("from") ?? "") ? from.get("from") : "",
    open: from.get("open"),
    at: from.has("at") ? Number(from.get("at")) || 0 : null,
  };
}

const readings = (text) => (text ?? "").split(",").filter((kind) => READINGS.includes(kind));

function parseTerm(text) {
  const [, kind, weight, value] = /^(text|file|asset|image|audio|video):(-?[\d.]+):(.+)$/s.exec(text) ?? [];
  if (!kind || !Number(weight)) return null;
  // Earlier links name what the file is.
  return { kind: ["text", "asset"].includes(kind) ? kind : "file", weight: Number(weight), value };
}

/** The query string of a state: "" or one that begins with "?". */
export function format(state) {
  const to = new URLSearchParams();
  if (state.view !== "search") to.set("view", state.view);
  if (state.words) to.set("q", state.words);
  for (const { kind, weight, value } of state.terms) to.append("term", `${kind}:${weight}:${value}`);
  if (state.literal?.length) to.set("literal", state.literal.join(","));
  if (state.only?.length) to.set("only", state.only.join(","));
  if (state.kinds.length) to.set("in", state.kinds.join(","));
  for (const [name, value] of Object.entries(state.form)) {
    if (value !== NO_FILTERS[name]) to.set(name, value);
  }
  if (state.order) to.set("order", state.order);
  if (state.from) to.set("from", state.from);
  if (state.open) {
    to.set("open", state.open);
    if (state.at != null) to.set("at", state.at);
  }
  const text = to.toString();
  return text && `?${text}`;
}

let state = parse(location.search);
const listeners = [];

/** The state now; change it with `update` only. */
export const current = () => state;

/** Call a listener with each new state and the previous one. */
export const onState = (listener) => listeners.push(listener);

/** Change some of the state. `push: false` leaves no step for Back. */
export function update(changes, { push = true } = {}) {
  const before = state;
  const isNew = "words" in changes && changes.words !== state.words;
  state = { ...state, ...(isNew && { literal: [], only: [] }), ...changes };
  const target = location.pathname + format(state);
  if (target !== location.pathname + location.search) {
    history[push ? "pushState" : "replaceState"]({ inside: true }, "", target);
  }
  for (const listener of listeners) listener(state, before);
}

addEventListener("popstate", () => {
  const before = state;
  state = parse(location.search);
  for (const listener of listeners) listener(state, before);
});
