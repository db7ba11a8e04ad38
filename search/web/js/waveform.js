// The loudness of a sound, drawn as bars; the moments found are in the colour of sound.

import { address, keyHeaders } from "./api.js";
import { svg } from "./dom.js";
import { lengthOf, timedMoments } from "./moments.js";

const BARS = 72;
const MOST_BYTES = 6 * 2 ** 20;
const RATE = 8000;
const FLAT = 0.04;
const drawn = new Map();

/** All bars are two shapes: an element for each would cost the first screen more than its pictures. */
function draw(target, hit, heights) {
  const lines = heights.map((height, n) => {
    const half = Math.max(1, height * 50);
    return [isFound(hit, n), `M${n * 4 + 2} ${50 - half}V${50 + half}`];
  });
  const shape = (found) => svg("path", { class: found ? "found" : null, d: lines.filter(([one]) => one === found).map(([, line]) => line).join("") });
  target.replaceChildren(shape(false), shape(true));
}

function isFound(hit, n) {
  const length = lengthOf(hit);
  const [from, to] = [(n / BARS) * length, ((n + 1) / BARS) * length];
  return timedMoments(hit).some(({ start_s, end_s }) => start_s < to && (end_s ?? start_s) > from);
}

/** Draw a flat line, then decode the sound and draw it; a large or unreadable one keeps its line. */
export async function drawWaveform(target, hit, signal) {
  target.setAttribute("viewBox", `0 0 ${BARS * 4} 100`);
  draw(target, hit, Array(BARS).fill(FLAT));
  const peaks = await peaksOf(hit, signal);
  if (peaks) draw(target, hit, peaks);
}

async function peaksOf(hit, signal) {
  if (drawn.has(hit.asset_id)) return drawn.get(hit.asset_id);
  let peaks = null;
  try {
    const data = await smallFile(hit.content_url, signal);
    if (data) peaks = loudness(await new OfflineAudioContext(1, RATE, RATE).decodeAudioData(data));
  } catch (error) {
    // The browser may not know the format, for good. What is given up or refused may come later.
    if (error.name !== "EncodingError") return null;
  }
  drawn.set(hit.asset_id, peaks);
  return peaks;
}

async function smallFile(path, signal) {
  const stop = new AbortController();
  const answer = await fetch(address(path), { headers: keyHeaders(), signal: AbortSignal.any([stop.signal, signal]) });
  const size = Number(answer.headers.get("Content-Length") ?? Infinity);
  if (answer.ok && size <= MOST_BYTES) return answer.arrayBuffer();
  stop.abort();
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return null;
}

/** Root mean square of each of the bars, 0 to 1 of the loudest, square root taken for the eye. */
function loudness(buffer) {
  const samples = buffer.getChannelData(0);
  const size = samples.length / BARS;
  const levels = Array.from({ length: BARS }, (_, n) => {
    let sum = 0;
    const [from, to] = [Math.floor(n * size), Math.floor((n + 1) * size)];
    for (let i = from; i < to; i += 1) sum += samples[i] ** 2;
    return Math.sqrt(sum / Math.max(1, to - from));
  });
  const most = Math.max(...levels, 1e-6);
  return levels.map((level) => Math.sqrt(level / most));
}
