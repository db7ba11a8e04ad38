// Pictures and the beginning of texts, loaded when they come near the screen.

import { address, keyHeaders, request } from "./api.js";
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
/** What a server says that would give a picture later: too many requests, too many at once, too slow. */
const BUSY = [429, 503, 504];
const TRIES = 4;
const LONGEST_WAIT_S = 10;

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

/** Load nothing more for what an element holds, since it leaves or its file does; gives what loads it again. */
export function stopLoading(root) {
  const stopped = [];
  for (const element of root.querySelectorAll("*")) {
    forget(element);
    fetching.get(element)?.abort();
    if (!element.matches("img, video, audio") || element.complete) continue;
    for (const name of ["src", "poster"]) {
      if (element.hasAttribute(name)) stopped.push([element, name, element.getAttribute(name)]);
      element.removeAttribute(name);
    }
    element.load?.();
  }
  return () => stopped.forEach(([element, ...source]) => element.setAttribute(...source));
}

/**
 * A thumbnail that is loaded when it comes near the screen, or at once, and again where the server
 * was too busy; `onMissing` if there is none.
 */
export function picture(path, alt, onMissing = () => {}, { atOnce = false } = {}) {
  const image = el("img", { alt, loading: atOnce ? "eager" : "lazy", fetchpriority: atOnce ? "high" : null, decoding: "async", draggable: "false" });
  const given = new Set(); // what could be had when it was asked for again
  image.addEventListener("error", async () => {
    const { src } = image;
    const stop = new AbortController();
    fetching.set(image, stop);
    const isGiven = !given.has(src) && (await comes(src, stop.signal));
    if (stop.signal.aborted || image.src !== src) return; // it has left, or shows something else
    given.add(src);
    if (isGiven) image.src = src;
    else onMissing(image);
  });
  image.src = address(path);
  return image;
}

/** Whether a picture that was refused can be had, once the server has time for it. */
async function comes(src, signal) {
  for (let tries = 1; ; tries += 1) {
    const answer = await fetch(src, { headers: keyHeaders(), signal }).catch(() => null);
    answer?.body?.cancel().catch(() => {});
    if (answer?.ok) return true;
    if (signal.aborted || tries === TRIES || (answer && !BUSY.includes(answer.status))) return false;
    const waitS = Number(answer?.headers.get("Retry-After")) || tries;
    await new Promise((resume) => setTimeout(resume, 1000 * Math.min(waitS, LONGEST_WAIT_S)));
  }
}

/** The beginning of a text file, at most so many bytes of it; "" where it cannot be read. */
export async function beginning(path, { most = 1500, signal } = {}) {
  try {
    const answer = await request(path, { headers: { Range: `bytes=0-${most - 1}` }, signal });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    // The server says how it is encoded. A character cut at the end is left out.
    return new TextDecoder(encodingOf(answer, bytes)).decode(bytes, { stream: true });
  } catch {
    return "";
  }
}

function encodingOf(answer, bytes) {
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be"; // its mark counts more than a name
  return /charset=([\w-]+)/.exec(answer.headers.get("Content-Type") ?? "")?.[1] ?? "utf-8";
}
