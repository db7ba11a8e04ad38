// One player at a time, which starts at the moment found.

import { address } from "./api.js";
import { el } from "./dom.js";

let playing = null;

/** Pause whatever plays. */
export function pauseAll() {
  playing?.pause();
}

/**
 * A <video> or <audio> for a file, at `startS` seconds.
 */
export function player(kind, path, startS, label) {
  const element = el(kind, { controls: true, preload: "metadata", playsinline: true, src: `${address(path)}#t=${startS}`, "aria-label": label });
  element.addEventListener("play", () => {
    if (playing && playing !== element) playing.pause();
    playing = element;
  });
  seek(element, startS);
  return element;
}

/** Go to a second, now or as soon as the file's length is known. */
export function seek(element, seconds) {
  if (element.readyState >= HTMLMediaElement.HAVE_METADATA) {
    element.currentTime = seconds;
    return;
  }
  element.addEventListener("loadedmetadata", () => (element.currentTime = seconds), { once: true });
}

/** Play from a second; what a browser refuses to start can be started by its controls. */
export async function playAt(element, seconds) {
  seek(element, seconds);
  try {
    await element.play();
  } catch {
    // Refused, or replaced by another source.
  }
}
