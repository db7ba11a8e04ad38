// The loudness of a sound, drawn as bars; the moments found are in the colour of sound.

import { address, keyHeaders } from "./api.js";
import { svg } from "./dom.js";
import { lengthOf, timedMoments } from "./moments.js";

const BARS = 72;
const MOST_BYTES = 6 * 2 ** 20;
const RATE = 8000;
const drawn = new Map();

/** An empty strip; `drawWaveform` fills it. */
export function strip(hit) {
  const bars = Array.from({ length: BARS }, (_, n) => bar(n, 0.04, isFound(hit, n)));
  return svg("svg", { class: "waveform", viewBox: `0 0 ${BARS * 4} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, bars);
}

function bar(n, height, found) {
  const h = Math.max(2, height * 100);
  return svg("rect", { x: n * 4 + 0.75, y: 50 - h / 2, width: 2.5, height: h, rx: 1.25, class: found ? "found" : null });
}

function isFound(hit, n) {
  const length = lengthOf(hit);
  const [from, to] = [(n / BARS) * length, ((n + 1) / BARS) * length];
  return timedMoments(hit).some(({ start_s, end_s }) => start_s < to && (end_s ?? start_s) > from);
}

/** Decode the sound and draw it; a large or unreadable one keeps its flat line. */
export async function drawWaveform(target, hit, signal) {
  const peaks = await peaksOf(hit, signal);
  if (peaks) target.replaceChildren(...peaks.map((height, n) => bar(n, height, isFound(hit, n))));
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
