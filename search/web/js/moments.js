// The moments of a hit on the line of its time.

import { button, el, styled } from "./dom.js";
import { clock } from "./format.js";
import { t } from "./i18n.js";
import { isPlayed } from "./kinds.js";

const NARROWEST = 0.012;

/** The segment found and its further moments that have a time, in the order of time. */
export function timedMoments(hit) {
  return [hit, ...(hit.moments ?? [])]
    .filter((moment) => moment.start_s != null && isPlayed(hit.media_type))
    .sort((a, b) => a.start_s - b.start_s);
}

/** The words of a query that a segment has, as they are written in it. */
const matchesOf = ({ snippet, matches }) => (matches ?? []).map(([from, to]) => [...snippet].slice(from, to).join("").toLowerCase());

/** The words of the query in a hit, each once. */
export const wordsFound = (hit) => [...new Set([hit, ...(hit.moments ?? [])].flatMap(matchesOf))];

/**
 * The moment at which a hit opens: where most of the words are said that were searched for, if half of
 * them are, or else the best.
 */
export function openingOf(hit, words) {
  const counts = timedMoments(hit).map((moment) => ({ moment, n: new Set(matchesOf(moment)).size }));
  const [most] = counts.sort((a, b) => b.n - a.n);
  return most?.n && 2 * most.n >= words.length ? most.moment : hit;
}

/** Seconds that the line stands for. */
export function lengthOf(hit) {
  const ends = timedMoments(hit).map((moment) => moment.end_s ?? moment.start_s);
  return Math.max(hit.duration_s ?? 0, ...ends, 0.001);
}

/**
 * A bar as long as the file, with a mark for each moment. `onPick(moment)` when one is chosen,
 * `onPeek(moment or null)` while one is pointed at.
 */
export function timeline(hit, { onPick, onPeek = () => {} }) {
  const length = lengthOf(hit);
  const best = Math.max(...timedMoments(hit).map((moment) => moment.score));
  const lanes = LANES.filter((modality) => timedMoments(hit).some((moment) => laneOf(moment) === modality));
  const marks = timedMoments(hit).map((moment) => {
    const end = moment.end_s ?? moment.start_s;
    const values = { kind: kindOfMoment(moment), time: clock(moment.start_s) };
    const mark = button("moment", [], () => onPick(moment), {
      "aria-label": t("Play from {time}: {kind}", values),
      title: t("{kind} at {time}", values),
      "aria-current": moment.segment_id === hit.segment_id ? "true" : null,
      data: { modality: moment.modality },
    });
    for (const event of ["pointerenter", "focus"]) mark.addEventListener(event, () => onPeek(moment));
    for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, () => onPeek(null));
    return styled(mark, {
      "--lane": lanes.indexOf(laneOf(moment)),
      "--from": Math.min(moment.start_s / length, 1 - NARROWEST),
      "--wide": Math.max((end - moment.start_s) / length, NARROWEST),
      "--strength": Math.max(0.35, best > 0 ? moment.score / best : 1),
    });
  });
  const line = el("div", { class: "timeline", role: "group", "aria-label": t("Moments") }, marks);
  return styled(line, { "--lanes": lanes.length });
}

const LANES = ["image", "audio", "text"];

/** In which lane a moment stands; those of other modalities stand with the pictures. */
const laneOf = ({ modality }) => (LANES.includes(modality) ? modality : "image");

const NAMES = { image: t("picture"), audio: t("sound"), text: t("words"), video: t("scene") };

/** What of the file the moment is: its picture, its sound or what is said. */
export const kindOfMoment = (moment) => NAMES[moment.modality] ?? moment.modality;
