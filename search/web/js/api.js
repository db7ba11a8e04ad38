// The HTTP API of this server; the page contacts no other host.

import { t } from "./i18n.js";
import { sendForm } from "./upload_request.js";

const KEY = "anymodal.key";
const SESSION_MS = 3_600_000; // a session lasts for hours; a tab may stay open for days
let renewal = 0;

/** What the server refused, with its remedy. `retryAfterS` is set where it says when to return. */
export class ApiError extends Error {
  constructor(status, body, retryAfterS = null) {
    super(body.message || t("The server answered {status}.", { status }));
    this.status = status;
    this.type = body.type || "Error";
    this.remedy = body.remedy || "";
    this.field = body.field || "";
    this.retryAfterS = retryAfterS;
  }
}

let askForKey = () => Promise.resolve(null);

/** Called for an API key after a 401: an async function that returns a key or null. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** The API key of this tab, or an empty string. */
export const apiKey = () => sessionStorage.getItem(KEY) ?? "";

/** Headers with the credentials. */
export const keyHeaders = () => (apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {});

/** An address of this server, wherever the page is mounted. */
export const address = (path) => new URL(path, document.baseURI).href;

/**
 * Send a request; the answer, whose status is a success.
 * A 401 asks for a key and tries again.
 */
export async function request(path, { headers = {}, ...options } = {}) {
  for (;;) {
    const sent = apiKey();
    const answer = await reach(path, { ...options, headers: { ...headers, ...keyHeaders() } });
    if (answer.ok) return answer;
    const error = toError(answer.status, await answer.text(), answer.headers.get("Retry-After"));
    if (answer.status !== 401 || !(await hasOtherKey(sent, error))) throw error;
  }
}

async function reach(path, options) {
  try {
    return await (takeEarly(path, options) ?? fetch(address(path), options));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

/** The answer to the same request that early.js has sent, once. */
function takeEarly(path, { body = "" }) {
  const answer = early.get(path + body);
  early.delete(path + body);
  return answer;
}

const unreachable = () =>
  new ApiError(0, {
    type: "NetworkError",
    message: t("The server does not answer."),
    remedy: t("Check that `anymodal serve` is running, then try again."),
  });

function toError(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text).error ?? {};
  } catch {
    // A proxy's error page: the status has to do.
  }
  return new ApiError(status, body, retryAfter === null ? null : Number(retryAfter));
}

/** Whether there is a key other than the refused one; asks for it unless it was given meanwhile. */
async function hasOtherKey(refused, error) {
  if (apiKey() !== refused) return true;
  const key = await askForKey(error, Boolean(apiKey()));
  if (!key) return false;
  sessionStorage.setItem(KEY, key);
  await openSession();
  return true;
}

/**
 * Open a session for the key of this tab, if it has one, and a new one every hour: a cookie that
 * is valid for GET only, since pictures and players cannot send a key themselves.
 */
export async function openSession() {
  if (!apiKey()) return;
  clearTimeout(renewal);
  renewal = setTimeout(openSession, SESSION_MS);
  try {
    await fetch(address("v1/session"), { method: "POST", headers: keyHeaders() });
  } catch {
    // The next request says that the server does not answer.
  }
}

const json = async (path, options) => (await request(path, options)).json();

/** Search. `files` are blobs by part name, which the request refers to. */
export function search(query, files, signal) {
  if (!files.size) {
    return json("v1/search", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(query),
      signal,
    });
  }
  const form = new FormData();
  form.set("request", JSON.stringify(query));
  for (const [name, blob] of files) form.set(name, blob, blob.name || name);
  return json("v1/search", { method: "POST", body: form, signal });
}

/** The words of what has been recorded so far. */
export async function wordsIn(sound, signal) {
  const options = { method: "POST", headers: { "Content-Type": sound.type }, body: sound, signal };
  const { said } = await json("v1/search/spoken?partial=true", options);
  return said.map(({ text }) => text).join(" ");
}

export const getAsset = (id, signal) => json(`v1/assets/${encodeURIComponent(id)}`, { signal });
/** Open the folder of a file in the file manager of the server's machine. */
export const showFolder = (id) => request(`v1/assets/${encodeURIComponent(id)}/folder`, { method: "POST" });
/** Some of the text of a file as it was read, `around` a passage or from a `start` on. */
export const getPassages = (id, query, signal) => json(`v1/assets/${encodeURIComponent(id)}/passages?${new URLSearchParams(query)}`, { signal });
const asText = (filter) => (typeof filter === "string" ? filter : JSON.stringify(filter));
export const listAssets = (limit, filter, cursor, signal, sort = "auto") =>
  json(`v1/assets?${new URLSearchParams({ limit, cursor, sort, stacks: true, ...(filter && { filter: asText(filter) }) })}`, { signal });
/** Counts of the files that a filter leaves, and of the folders below one. */
export const getFacets = (filter, folder) => json(`v1/facets?${new URLSearchParams({ ...(folder && { folder }), ...(filter && { filter: asText(filter) }) })}`);
/** Add tags to an asset and take others off; the asset. */
export const changeTags = (id, add, remove) =>
  json(`v1/assets/${encodeURIComponent(id)}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ add_tags: add, remove_tags: remove }),
  });
/** Delete an asset; one that somebody else has deleted meanwhile is gone, as wanted. */
export const deleteAsset = (id, options = {}) =>
  request(`v1/assets/${encodeURIComponent(id)}`, { method: "DELETE", ...options }).catch((error) => {
    if (error.status !== 404) throw error;
  });
export const getJob = (id) => json(`v1/jobs/${encodeURIComponent(id)}`);
export const listJobs = () => json("v1/jobs");
export const cancelJob = (id) => json(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
export const getInfo = () => json("v1/info");
export const getLatency = () => json("v1/latency");

/** Upload files; the job. `onSent(fraction)` reports the share sent. */
export async function upload(files, { tags, onSent }) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  for (const tag of tags) form.append("tags", tag);
  for (;;) {
    const sent = apiKey();
    const { status, text, retryAfter } = await sendForm(address("v1/assets"), form, keyHeaders(), onSent);
    if (status >= 200 && status < 300) return JSON.parse(text).job;
    const error = status ? toError(status, text, retryAfter) : unreachable();
    if (status !== 401 || !(await hasOtherKey(sent, error))) throw error;
  }
}
