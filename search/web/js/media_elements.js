// Pictures and the beginning of texts, loaded when they come near the screen.

import { address, request } from "./api.js";
import { el } from "./dom.js";

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      const begin = waiting.get(target);
      forget(target);
      begin?.();
    }
  },
  { rootMargin: "300px" },
);
const waiting = new WeakMap();
const fetching = new WeakMap();

/** Call `work(signal)` once, when the element comes near the screen. */
export function whenSeen(element, work) {
  const stop = new AbortController();
  fetching.set(element, stop);
  waiting.set(element, () => work(stop.signal));
  seen.observe(element);
}

function forget(element) {
  seen.unobserve(element);
  waiting.delete(element);
}

/**
 * Load nothing more for what an element holds: it leaves the page, or its file is to be removed.
 * The function that is given loads its pictures and players again.
 */
export function stopLoading(root) {
  for (const element of root.querySelectorAll("*")) {
    forget(element);
    fetching.get(element)?.abort();
  }
  const stopped = [...root.querySelectorAll("img, video, audio")].filter((element) => !element.complete).map(withoutSources);
  return () => {
    for (const [element, sources] of stopped) {
      for (const [name, value] of sources) element.setAttribute(name, value);
    }
  };
}

/** An element, which loads no longer, with what it loaded. */
function withoutSources(element) {
  const sources = ["src", "poster"].filter((name) => element.hasAttribute(name)).map((name) => [name, element.getAttribute(name)]);
  for (const [name] of sources) element.removeAttribute(name);
  element.load?.();
  return [element, sources];
}

/** A thumbnail that is loaded when it comes near the screen; `onMissing` if there is none. */
export function picture(path, alt, onMissing = () => {}) {
  const image = el("img", { alt, loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => onMissing(image));
  image.src = address(path);
  return image;
}

/** The first words of a text file; "" where it cannot be read. */
export async function beginning(path, signal) {
  try {
    return await (await request(path, { headers: { Range: "bytes=0-1500" }, signal })).text();
  } catch {
    return "";
  }
}
