// One hit as a card. The content of its stage depends on the kind of file.

import { address } from "./api.js";
import { button, el, icon, styled, svg } from "./dom.js";
import { clock, fixed, likelihood, percent } from "./format.js";
import { excerpt, marked } from "./highlight.js";
import { t, tn } from "./i18n.js";
import { kindIcon, kindName, modalityOf, tileOf } from "./kinds.js";
import { picture, stopLoading, whenSeen } from "./media_elements.js";
import { openingOf, timedMoments, timeline } from "./moments.js";
import { playAt, player } from "./player.js";

const EXCERPT_CHARS = 330;
const QUOTE_CHARS = 90;
/** The two sizes that the server keeps. */
const CARD_PIXELS = devicePixelRatio > 1.5 ? 1024 : 480;

/** Text with the query's words marked. */
export function markedText(text, words) {
  return marked(text, words).map((piece) => (piece.marked ? el("mark", {}, piece.text) : piece.text));
}

/**
 * An article for a hit.
 *
 * @param hit as /v1/search gives it
 * @param context {words: to mark, best: the best score of the search, place, isOnScreen, isOpen: its
 * stack, onLike, onStack, link}
 */
export function card(hit, context) {
  const tile = tileOf(hit);
  const titleId = `hit-${hit.segment_id}`;
  const stage = STAGES[tile](hit, context);
  return el(
    "article",
    {
      class: ["hit", tile, hit.weak && "weak", hit.stack?.length && "stack"].filter(Boolean).join(" "),
      tabindex: "0",
      "aria-labelledby": titleId,
      "aria-posinset": context.place,
      "aria-setsize": "-1",
      data: { asset: hit.asset_id, kind: modalityOf(hit) },
    },
    stage,
    button("pick", icon("check"), null, {
      "aria-label": t("Select {name}", { name: hit.title || hit.name }),
      title: t("Select (x)"),
      tabindex: "-1", // keys have x
    }),
    hit.stack?.length ? stackButton(hit.stack.length, context) : null,
    el(
      "div",
      { class: "about" },
      el("h3", { id: titleId }, el("a", { href: context.link, class: "open", dir: "auto" }, hit.title || hit.name)),
      el("p", { class: "facts" }, facts(hit)),
      hit.score == null ? null : scoreBar(hit, context.best),
      button("tool like", icon("like"), context.onLike, {
        "aria-label": t("More like {name}", { name: hit.title || hit.name }),
        title: t("More like this (m)"),
      }),
    ),
  );
}

function stackButton(n, { isOpen, onStack }) {
  const name = tn(n, "{n} more shot of it", "{n} more shots of it");
  return button("alike", `+${n}`, onStack, { "aria-label": name, title: name, "aria-expanded": String(isOpen) });
}

function facts(hit) {
  const parts = [el("span", { class: "kind", data: { modality: modalityOf(hit) } }, kindName(hit))];
  if (hit.probability != null) parts.push(el("span", { title: t("{percent} likely to answer", { percent: percent(hit.probability) }) }, likelihood(hit)));
  if (hit.duration_s) parts.push(clock(hit.duration_s));
  if (hit.title && hit.name && hit.title !== hit.name) parts.push(hit.name);
  for (const tag of hit.tags ?? []) parts.push(`#${tag}`);
  return parts.flatMap((part, n) => (n ? [" · ", part] : [part]));
}

/** How likely a hit answers; where nothing says so, its score beside the best. */
function scoreBar({ score, probability }, best) {
  const scored = t("Score {score}", { score: fixed(score, 2) });
  const label = probability == null ? scored : t("{percent} likely to answer, {score}", { percent: percent(probability), score: scored });
  const share = probability ?? score / Math.max(best, 1);
  const inner = styled(el("span"), { "--share": Math.min(1, Math.max(0.03, share)) });
  return el("span", { class: "score", role: "img", "aria-label": label, title: t("{label}, comparable across kinds", { label }) }, inner);
}

const STAGES = { image: imageStage, drawn: imageStage, video: videoStage, audio: audioStage, text: textStage };

/** All stages are of one height: what is seen, and below it the moments, if it has some. */
const stageOf = (screen, moments) => el("div", { class: "stage" }, screen, moments);
const screenOf = (...content) => el("div", { class: "screen" }, content);

/** A picture, with what is written in it where that was found. */
function imageStage(hit, { words, isOnScreen }) {
  const read = hit.modality === "text" ? quote(hit, words) : null;
  read?.setAttribute("title", t("Text in the picture"));
  return stageOf(screenOf(thumbnail(hit, thumbnailAt(hit), isOnScreen), read));
}

/** A thumbnail, in its mean colour until it is there, or the kind's sign where the server has none. */
function thumbnail(hit, path, atOnce) {
  const image = picture(path, "", () => image.replaceWith(el("span", { class: "blank" }, kindIcon(hit))), { atOnce });
  return styled(image, { "background-color": hit.metadata?.colour ?? "" });
}

function videoStage(hit, { words, isOnScreen }) {
  const opening = openingOf(hit, words);
  const start = opening.start_s ?? 0;
  const image = thumbnail(hit, thumbnailAt(hit, shownAt(opening)), isOnScreen);
  const play = (seconds) => {
    const film = screen.querySelector("video") ?? player("video", hit.content_url, seconds, hit.title);
    if (!film.isConnected) {
      const held = screen.contains(document.activeElement);
      stopLoading(screen);
      screen.replaceChildren(film);
      if (held) film.focus();
    }
    playAt(film, seconds);
  };
  const screen = screenOf(image, quote(hit, words), playButton(start, () => play(start)));
  const onPeek = (moment) => (image.src = address(thumbnailAt(hit, shownAt(moment ?? opening))));
  return stageOf(screen, moments(hit, play, onPeek));
}

/**
 * The second of a film that stands for a moment: a picture's own, and the middle of what is said or
 * heard, when its scene has begun.
 */
export function shownAt({ modality, start_s: from, end_s: to }) {
  return modality === "image" || to == null ? (from ?? 0) : (from + to) / 2;
}

/** The address of a thumbnail: of a film, the frame at a second. */
export function thumbnailAt(hit, seconds, size = CARD_PIXELS) {
  const [path, query] = hit.thumbnail_url.split("?");
  const parameters = new URLSearchParams(query);
  if (seconds != null) parameters.set("t", String(seconds));
  if (hit.place?.page) parameters.set("page", String(hit.place.page));
  parameters.set("size", String(size));
  return `${path}?${parameters}`;
}

function audioStage(hit, { words }) {
  const start = openingOf(hit, words).start_s ?? 0;
  const wave = waveform();
  const play = (seconds) => {
    const sound = screen.querySelector("audio") ?? player("audio", hit.content_url, seconds, hit.title);
    if (!sound.isConnected) {
      const begin = screen.querySelector(".play");
      const held = begin === document.activeElement;
      begin.hidden = true;
      screen.append(sound);
      if (held) sound.focus();
    }
    playAt(sound, seconds);
  };
  const screen = screenOf(wave, quote(hit, words), playButton(start, () => play(start)));
  whenSeen(screen, (signal) => draw(wave, hit, signal));
  return stageOf(screen, moments(hit, play));
}

/** Where the loudness of a sound is drawn. */
export const waveform = () => svg("svg", { class: "waveform", preserveAspectRatio: "none", "aria-hidden": "true" });

/** Draw it; what does so is loaded on first use. */
export async function draw(wave, hit, signal) {
  (await import("./waveform.js")).drawWaveform(wave, hit, signal);
}

const playButton = (start, onClick) =>
  button("play", [icon("play"), el("span", {}, clock(start))], onClick, { "aria-label": t("Play from {time}", { time: clock(start) }) });

/** What is said or can be read in a file, at the best of its moments that are words. */
function quote(hit, words) {
  const said = [hit, ...(hit.moments ?? [])].find((moment) => moment.modality === "text" && moment.snippet);
  return said ? el("p", { class: "quote", dir: "auto" }, markedText(`“${excerpt(said.snippet, words, QUOTE_CHARS)}”`, words)) : null;
}

function moments(hit, play, onPeek) {
  return timedMoments(hit).length ? timeline(hit, { onPick: (moment) => play(moment.start_s), onPeek }) : null;
}

/** What was found in a document; where nothing was searched for, its card. */
function textStage(hit, { words, isOnScreen }) {
  if (!hit.snippet) return stageOf(screenOf(thumbnail(hit, thumbnailAt(hit), isOnScreen)));
  return stageOf(screenOf(el("p", { class: "prose", dir: "auto" }, markedText(excerpt(hit.snippet, words, EXCERPT_CHARS), words))));
}
