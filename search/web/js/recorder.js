// Record a sound to search with.

import { wordsIn } from "./api.js";
import { byId, say, styled } from "./dom.js";
import { clock } from "./format.js";
import { t } from "./i18n.js";

const LONGEST_S = 30;
const PIECE_MS = 1000;
const QUIET = 0.1; // of the loudest
const bar = byId("recording");

let recording = null;
let isAsking = false; // whether the microphone may be used

/** Whether this browser can record here; a page that is not on a secure origin cannot. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

/**
 * Start to record, or end it and use the sound. `onSound(file, endedMs)` gets it, and when the last words in it ended
 * (0: there are none); `onProblem(message)` why not.
 */
export async function toggleRecording(onSound, onProblem) {
  if (recording) {
    recording.finish(true);
    return;
  }
  if (isAsking) return;
  if (!canRecord()) {
    onProblem(t("This browser records only on pages from https:// or from localhost. Choose a sound file instead."));
    return;
  }
  isAsking = true;
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    recording = start(stream, onSound);
  } catch (error) {
    onProblem(
      error.name === "NotAllowedError"
        ? t("The microphone is blocked. Allow it for this page, or choose a sound file instead.")
        : t("No microphone was found. Choose a sound file instead."),
    );
  } finally {
    isAsking = false;
  }
}

/** Discard what is being recorded; false if nothing is. */
export function cancelRecording() {
  recording?.finish(false);
  return recording !== null;
}

function start(stream, onSound) {
  const recorder = new MediaRecorder(stream);
  const pieces = [];
  const sound = meter(stream);
  const words = partialWords(() => toFile(pieces, recorder.mimeType));
  let used = false;
  recorder.addEventListener("dataavailable", ({ data }) => {
    pieces.push(data);
    words.goOn();
  });
  recorder.addEventListener("stop", () => {
    sound.stop();
    words.stop();
    for (const track of stream.getTracks()) track.stop();
    recording = null;
    bar.hidden = true;
    byId("record").setAttribute("aria-pressed", "false");
    if (used) onSound(toFile(pieces, recorder.mimeType), words.isAny() ? sound.loudMs() : 0);
  });
  const finish = (use) => {
    used = use;
    if (recorder.state !== "inactive") recorder.stop();
  };
  recorder.start(PIECE_MS);
  bar.hidden = false;
  byId("record").setAttribute("aria-pressed", "true");
  byId("recording-stop").focus();
  say(t("Recording"));
  return { finish };
}

function toFile(pieces, mimeType) {
  const type = mimeType.split(";")[0];
  const suffix = { "audio/webm": "webm", "audio/mp4": "m4a", "audio/ogg": "ogg" }[type] ?? "webm";
  return new File(pieces, `recording.${suffix}`, { type });
}

/** Show the words of what `recorded()` gives, each time it has grown and the last answer is there. */
function partialWords(recorded) {
  const shown = byId("recording-words");
  const stopped = new AbortController();
  let isWaiting = false;
  shown.textContent = "";
  return {
    isAny: () => shown.textContent !== "",
    stop: () => stopped.abort(),
    goOn: async () => {
      if (isWaiting || stopped.signal.aborted) return;
      isWaiting = true;
      try {
        const words = await wordsIn(recorded(), stopped.signal);
        if (words && !stopped.signal.aborted) shown.textContent = words;
        isWaiting = false;
      } catch {
        // They are seen once the search is done, which says what is wrong.
      }
    },
  };
}

/** Show time and loudness until it is stopped, and know when the sound was last loud. */
function meter(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const began = performance.now();
  let loudest = 0;
  let loudMs = began;
  const timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    loudest = Math.max(loudest, loudness);
    if (loudness > QUIET * loudest) loudMs = performance.now();
    byId("recording-time").textContent = clock(seconds);
    styled(byId("recording-level"), { "--level": Math.min(1, loudness * 4) });
    if (seconds >= LONGEST_S) recording?.finish(true);
  }, 100);
  return {
    loudMs: () => loudMs,
    stop: () => {
      clearInterval(timer);
      context.close();
    },
  };
}
