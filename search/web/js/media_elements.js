// Pictures and the beginning of texts, loaded when they come near the screen.

import { address, request } from "./api.js";
import { el } from "./dom.js";

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      waiting.get(target)?.();
      waiting.delete(target);
    }
  },
  { rootMargin: "300px" },
);
const waiting = new WeakMap();

/** Call `work` once, when the element comes near the screen. */
export function whenSeen(element, work) {
  waiting.set(element, work);
  seen.observe(element);
}

/** A thumbnail that is loaded when it comes near the screen; `onMissing` if there is none. */
export function picture(path, alt, onMissing = () => {}) {
  const image = el("img", { alt, loading: "lazy", decoding: "async", draggable: "false" });
  image.addEventListener("error", () => onMissing(image));
  image.src = address(path);
  return image;
}

/** The first words of a text file; "" where it cannot be read. */
export async function beginning(path) {
  try {
    return await (await request(path, { headers: { Range: "bytes=0-1500" } })).text();
  } catch {
    return "";
  }
}
