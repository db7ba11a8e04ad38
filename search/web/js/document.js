// A document at the place that was found: its pages as pictures, or its text, with what answers marked.

import { address, getPassages } from "./api.js";
import { markedText, thumbnailAt } from "./cards.js";
import { button, el, icon, say, styled } from "./dom.js";
import { placeName } from "./format.js";
import { framed } from "./framed.js";
import { withoutMarks } from "./highlight.js";
import { t } from "./i18n.js";
import { picture } from "./media_elements.js";

const MOST_PIXELS = 4096;
const STEP_PIXELS = 512;
/** How wide a page is, in windows. */
const ZOOMS = [0.5, 0.75, 1, 1.5, 2, 3];
const AROUND = 60;

/** What was found in a document, in its order: the best passage, and others with words of the question. */
const foundIn = (hit) =>
  [hit, ...(hit.moments ?? []).filter((part) => part.matches?.length)]
    .sort((a, b) => (a.place?.page ?? 0) - (b.place?.page ?? 0) || (a.char_start ?? 0) - (b.char_start ?? 0));

/** Buttons that go from one of `n` to the next; `name(at)` says at which one is. */
function stepper(n, at, { before, after, name, go }) {
  const label = el("span", { class: "step-name" }, name(at));
  const step = (by, sign, text) => button("tool", icon(sign), () => move(at + by), { "aria-label": text, title: text });
  const [back, on] = [step(-1, "left", before), step(1, "right", after)];
  const draw = () => {
    label.replaceChildren(name(at));
    [back.disabled, on.disabled] = [at <= 0, at >= n - 1];
  };
  function move(to, { silent = false } = {}) {
    at = Math.min(Math.max(to, 0), n - 1);
    draw();
    if (silent) return;
    say(name(at));
    go(at);
  }
  draw();
  return { node: el("span", { class: "stepper", role: "group" }, back, label, on), show: (to) => move(to, { silent: true }) };
}

/** Buttons from match to match; null where there is but one. */
function matchStepper(parts, at, go) {
  const name = (place) => t("Match {n} of {all}", { n: place + 1, all: parts.length });
  return parts.length < 2 ? null : stepper(parts.length, at, { before: t("Previous match"), after: t("Next match"), name, go });
}

/**
 * The pages of a document, beginning at the one that was found: as wide as the window, in as many
 * pixels as the screen has. `onMissing()` is called where there is no picture of a page.
 */
export function pageView(hit, onMissing) {
  const parts = foundIn(hit);
  const n = Math.max(hit.metadata?.n_pages ?? 1, hit.place?.page ?? 1);
  let page = hit.place?.page ?? 1;
  let zoom = ZOOMS.indexOf(1);
  let image = null;
  const sheet = el("div", { class: "page", tabindex: "0", role: "region", "aria-label": t("Page") });
  const pages = n < 2 ? null : stepper(n, page - 1, { before: t("Previous page"), after: t("Next page"), name: (at) => t("Page {n} of {all}", { n: at + 1, all: n }), go: (at) => show(at + 1) });
  const matches = matchStepper(parts, parts.indexOf(hit), (at) => show(parts[at].place?.page ?? 1, parts[at]));
  const zoomBy = (by) => {
    zoom = Math.min(Math.max(zoom + by, 0), ZOOMS.length - 1);
    [out.disabled, closer.disabled] = [zoom === 0, zoom === ZOOMS.length - 1];
    fit();
  };
  const out = button("tool", icon("minus"), () => zoomBy(-1), { "aria-label": t("Smaller"), title: t("Smaller") });
  const closer = button("tool", icon("plus"), () => zoomBy(1), { "aria-label": t("Larger"), title: t("Larger") });

  function show(to, part = null) {
    page = to;
    pages?.show(page - 1);
    const onPage = part ? [part] : parts.filter((one) => (one.place?.page ?? 1) === page);
    const small = thumbnailAt({ ...hit, place: { page } }, null, 1024);
    image = picture(small, t("Page {page}", { page }), (one) => (one.dataset.size ? (one.src = small) : onMissing()), { atOnce: true });
    image.addEventListener("load", fit);
    const drawn = framed(image, onPage);
    sheet.replaceChildren(drawn === image ? el("div", { class: "framed" }, image) : drawn);
    image.addEventListener("load", () => bringIntoView(onPage), { once: true });
    sheet.scrollTo({ top: 0 });
  }

  /** Give the page its width, and ask for as many pixels as it takes on this screen. */
  function fit() {
    const width = sheet.clientWidth * ZOOMS[zoom];
    styled(image.parentElement, { width: `${width}px` });
    if (!image.naturalWidth) return;
    const longer = width * devicePixelRatio * Math.max(1, image.naturalHeight / image.naturalWidth);
    const size = Math.min(Math.ceil(longer / STEP_PIXELS) * STEP_PIXELS, MOST_PIXELS);
    if (size <= (Number(image.dataset.size) || 1024)) return;
    image.dataset.size = size;
    image.src = address(thumbnailAt({ ...hit, place: { page } }, null, size)); // the smaller one stays until it is there
  }

  function bringIntoView(onPage) {
    const boxes = onPage.flatMap((part) => part.regions ?? []);
    const top = Math.min(...boxes.map((box) => Math.min(box[1], box[3], box[5], box[7])));
    const height = image.parentElement.clientHeight;
    if (boxes.length) sheet.scrollTo({ top: top * height - sheet.clientHeight / 3, left: 0 });
  }

  new ResizeObserver(() => image && fit()).observe(sheet);
  show(page);
  const bar = el("div", { class: "viewer-bar" }, pages?.node, matches?.node, el("span", { class: "stepper" }, out, closer));
  return [bar, sheet];
}

/** The text of a document around what was found, which is marked and in view; more comes at both ends. */
export function textView(hit, prose, words, signal) {
  const parts = foundIn(hit);
  const ids = new Set(parts.map((part) => part.segment_id));
  const matches = matchStepper(parts, parts.indexOf(hit), (at) => goTo(parts[at].segment_id));
  let [first, end, total] = [0, 0, 0];
  let asking = false;
  const isCode = hit.media_type === "text/x-source";
  prose.classList.toggle("code", isCode);

  async function load(query) {
    asking = true;
    try {
      return await getPassages(hit.asset_id, query, signal);
    } finally {
      asking = false;
    }
  }

  async function goTo(id) {
    const there = prose.querySelector(`[data-segment="${CSS.escape(id)}"]`);
    if (!there) {
      const answer = await load({ around: id, limit: AROUND });
      if (signal.aborted || !answer.passages.length) return;
      [first, end, total] = [answer.start, answer.start + answer.passages.length, answer.total];
      prose.replaceChildren(...answer.passages.map((one, n) => paragraph(one, answer.passages[n - 1])));
    }
    for (const best of prose.querySelectorAll(".best")) best.classList.remove("best");
    const passage = prose.querySelector(`[data-segment="${CSS.escape(id)}"]`);
    passage?.classList.add("best");
    const shown = passage?.querySelector("mark") ?? passage;
    if (shown) prose.scrollTop += shown.getBoundingClientRect().top - prose.getBoundingClientRect().top - prose.clientHeight / 3;
  }

  function paragraph(passage, before) {
    const place = placeName(passage.place);
    const head = place && place !== placeName(before?.place) ? [el("span", { class: "hint" }, place), el("br")] : [];
    const text = isCode ? passage.text.replace(/^\n+|\s+$/g, "") : withoutMarks(passage.text.trim());
    return el("p", { dir: "auto", class: ids.has(passage.segment_id) ? "found" : null, data: { segment: passage.segment_id } }, head, markedText(text, words));
  }

  async function more() {
    if (asking || signal.aborted) return;
    const { scrollTop, scrollHeight, clientHeight } = prose;
    if (first > 0 && scrollTop < clientHeight) {
      const start = Math.max(0, first - AROUND);
      const { passages } = await load({ start, limit: first - start });
      first = start;
      prose.prepend(...passages.map((one, n) => paragraph(one, passages[n - 1])));
      prose.scrollTop += prose.scrollHeight - scrollHeight;
    } else if (end < total && scrollHeight - scrollTop < 2 * clientHeight) {
      const { passages } = await load({ start: end, limit: AROUND });
      end += passages.length;
      prose.append(...passages.map((one, n) => paragraph(one, passages[n - 1])));
    }
  }

  prose.addEventListener("scroll", () => more().catch(() => {}), { passive: true });
  goTo(hit.segment_id).catch(() => {}); // what was found stays
  return matches ? el("div", { class: "viewer-bar" }, matches.node) : null;
}
