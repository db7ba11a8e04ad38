// Record a sound to search with.

import { byId, say, styled } from "./dom.js";
import { clock } from "./format.js";
import { t } from "./i18n.js";

const LONGEST_S = 30;
const bar = byId("recording");

let recording = null;
let isAsking = false; // whether the microphone may be used

/** Whether this browser can record here; a page that is not on a secure origin cannot. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

/** Start to record, or end it and use the sound. `onSound(file)` gets it, `onProblem(message)` why not. */
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
  const stopMeter = meter(stream);
  let used = false;
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  recorder.addEventListener("stop", () => {
    stopMeter();
    for (const track of stream.getTracks()) track.stop();
    recording = null;
    bar.hidden = true;
    byId("record").setAttribute("aria-pressed", "false");
    if (used) onSound(toFile(pieces, recorder.mimeType));
  });
  const finish = (use) => {
    used = use;
    if (recorder.state !== "inactive") recorder.stop();
  };
  recorder.start();
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

/** Show time and loudness until the function it gives is called. */
function meter(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const began = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    analyser.getFloatTimeDomainData(samples);
    const loudness = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
    byId("recording-time").textContent = clock(seconds);
    styled(byId("recording-level"), { "--level": Math.min(1, loudness * 4) });
    if (seconds >= LONGEST_S) recording?.finish(true);
  }, 100);
  return () => {
    clearInterval(timer);
    context.close();
  };
}
