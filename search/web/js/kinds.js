// What files there are, as the server says: its own kinds and those of installed packages.

import { getInfo } from "./api.js";
import { icon, svg } from "./dom.js";
import { t } from "./i18n.js";

let known = [];
let searched = []; // {modality, plural} in the order of their names
let loading = null;
const byType = new Map();
const listeners = [];

/** Ask the server once for its kinds; again where it did not answer. */
export function loadKinds() {
  loading ??= getInfo().then(take).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

function take({ kinds }) {
  known = kinds;
  for (const kind of kinds) for (const type of kind.media_types) if (!byType.has(type)) byType.set(type, kind);
  searched = sorted(kinds);
  for (const listener of listeners) listener();
}

/** Call a listener when the kinds are known. */
export const onKinds = (listener) => listeners.push(listener);

/** All formats that are read. */
export const formatNames = () => [...new Set(known.flatMap((kind) => kind.formats))];

/** What there is to filter by: of each modality that can be searched {modality, plural}. */
export const modalities = () => searched;

function sorted(kinds) {
  const found = new Map();
  for (const kind of kinds) {
    const isNamesake = kind.name === kind.modality;
    if (kind.queries && (isNamesake || !found.has(kind.modality))) found.set(kind.modality, kind.plural);
  }
  return [...found].map(([modality, plural]) => ({ modality, plural })).sort((a, b) => (t(a.plural) < t(b.plural) ? -1 : 1));
}

/** The modality of a file; `text` while nothing is known of its kind. */
export const modalityOf = ({ media_type: type }) => byType.get(type)?.modality ?? "text";

/** What people call files of a modality. */
export const pluralOf = (modality) => t(modalities().find((one) => one.modality === modality)?.plural ?? modality);

/** What people call a file. */
export const kindName = ({ media_type: type }) => t(byType.get(type)?.label ?? "File");

/** The sign of a file, or of its kind. */
export const kindIcon = ({ media_type: type }) => sign(byType.get(type));

/** Whether its kind has thumbnails. */
export const isShown = ({ media_type: type }) => byType.get(type)?.shows ?? false;

/** The sign of a file to search with, by its type and name; its bytes say more to the server. */
export function signOf(file) {
  const suffix = /\.\w+$/.exec(file?.name ?? "")?.[0].toLowerCase();
  return sign(byType.get(file?.type) ?? known.find((kind) => kind.suffixes.includes(suffix)));
}

function sign(kind) {
  if (!kind) return icon("attach");
  return svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: kind.icon }));
}

/**
 * How a file is shown: it plays (`video`, `audio`), is read (`text`), or is seen: as the picture
 * that it is (`image`), or as its kind draws it (`drawn`).
 */
export function tileOf(hit) {
  const family = hit.media_type.split("/")[0];
  if (["video", "audio"].includes(family)) return family;
  const modality = modalityOf(hit);
  return ["text", "image"].includes(modality) ? modality : "drawn";
}

/** Whether a file can be shown as the text that it is. */
export const isReadable = (mediaType) => ["text/plain", "text/markdown"].includes(mediaType);

/** Whether its moments can be played; subtitles have times and cannot. */
export const isPlayed = (mediaType) => /^(audio|video)\//.test(mediaType ?? "");
