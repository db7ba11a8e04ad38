// The Add view: files go up, their jobs are watched until everything can be found.

import { cancelJob, getJob, listJobs, upload } from "./api.js";
import { button, byId, el, say, styled } from "./dom.js";
import { events } from "./events.js";
import { list as words } from "./filter_tree.js";
import { bytes, clock, millis } from "./format.js";
import { isEnglish, number, t, tn } from "./i18n.js";
import { formatNames, loadKinds } from "./kinds.js";
import { clearNotice, showError } from "./notice.js";
import { inWords } from "./problems.js";
import { update } from "./state.js";

const jobs = byId("jobs");
const MOST_FILES = 500;
const AGAIN_MS = 1000;
const watched = new Set();
/** A browser opens six connections to a host; pictures and searches need some. */
const MOST_STREAMS = 3;
let streams = 0;
const FINISHED = new Set(["done", "cancelled", "failed"]);
let onFinished = () => {};

/** Name what can be added; `finished` is called when a job has ended. */
export function startUploads(finished) {
  onFinished = finished;
  const showFormats = () => byId("formats").replaceChildren(...formatNames().flatMap((name) => [el("span", {}, name), " "]));
  loadKinds().then(showFormats, () => {}); // a search says what is wrong
}

/** Show the jobs that the server knows. */
export async function showJobs() {
  try {
    const { jobs: known } = await listJobs();
    clearNotice(byId("jobs-notice"));
    for (const job of known) {
      if (rowOf(job.id)) continue;
      const row = el("div", { class: "job", role: "listitem", tabindex: "-1" });
      jobs.append(row);
      show(row, job);
      // The list counts files set aside; the job itself has the reasons.
      if (job.failed && FINISHED.has(job.state)) getJob(job.id).then((whole) => drawJob(row, whole), () => {});
    }
  } catch (error) {
    if (!jobs.childElementCount) showError(byId("jobs-notice"), error, showJobs);
  }
  byId("jobs-empty").hidden = jobs.childElementCount > 0;
}

/** Upload files and watch their jobs; many files go in parts. */
export async function addFiles(files) {
  if (!files.length) return;
  update({ view: "add", open: null });
  for (let from = 0; from < files.length; from += MOST_FILES) await addPart(files.slice(from, from + MOST_FILES));
}

async function addPart(files) {
  const row = entry();
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const title = files.length === 1 ? files[0].name : tn(files.length, "{n} file", "{n} files");
  const sending = t("sending {size}", { size: bytes(size) });
  draw(row, { title, state: sending, share: 0 });
  try {
    const job = await upload(files, {
      tags: words(byId("add-tags").value),
      onSent: (fraction) => draw(row, { title, state: fraction < 1 ? sending : t("sent; waiting for its turn"), share: fraction }),
    });
    row.dataset.title = title;
    show(row, job);
  } catch (error) {
    row.replaceChildren(el("h2", {}, title), el("div"));
    showError(row.lastElementChild, error, () => {
      const hadFocus = row.contains(document.activeElement);
      row.remove();
      addPart(files);
      if (hadFocus) focusOn(jobs.firstElementChild);
    });
  }
}

function entry() {
  const row = el("div", { class: "job", role: "listitem", tabindex: "-1" });
  jobs.prepend(row);
  requestAnimationFrame(() => row.scrollIntoView({ block: "nearest" }));
  byId("jobs-empty").hidden = true;
  return row;
}

function show(row, job) {
  // The list may have named it before the upload was answered.
  const listed = rowOf(job.id);
  const held = listed !== row && listed?.contains(document.activeElement);
  if (listed !== row) listed?.remove();
  row.id = `job-${job.id}`;
  drawJob(row, job);
  if (held) focusOn(row);
  if (!FINISHED.has(job.state)) watch(job.id);
}

/** The focus goes to the button of a row, or else to the row, if what had it is gone. */
const focusOn = (row) => (row.querySelector("button") ?? row).focus();

/** A job's row: another one, once the upload that began it is answered. */
const rowOf = (id) => document.getElementById(`job-${id}`);

async function watch(id) {
  if (watched.has(id)) return;
  watched.add(id);
  try {
    // A proxy may cut a long answer; the job goes on meanwhile.
    while (!(await hasEnded(id))) await new Promise((resume) => setTimeout(resume, AGAIN_MS));
  } catch (error) {
    const problem = el("div");
    rowOf(id).append(problem);
    showError(problem, error, () => {
      const hadFocus = problem.contains(document.activeElement);
      problem.remove();
      if (hadFocus) focusOn(rowOf(id));
      watch(id);
    });
  } finally {
    watched.delete(id);
  }
}

/** Draw a job's events, or how it is now where enough streams are open; whether it has ended. */
async function hasEnded(id) {
  if (streams >= MOST_STREAMS) return isLast(id, await getJob(id));
  streams += 1;
  try {
    for await (const { event, data } of events(`v1/jobs/${encodeURIComponent(id)}/events`)) {
      if (isLast(id, JSON.parse(data), event)) return true;
    }
  } finally {
    streams -= 1;
  }
  return false;
}

function isLast(id, job, event = "") {
  drawJob(rowOf(id), job);
  if (event !== "end" && !FINISHED.has(job.state)) return false;
  say(summaryOf(job));
  onFinished(job);
  return true;
}

const doneOf = (job) => (job.ingested ?? 0) + (job.unchanged ?? 0) + (job.left_out ?? 0) + (job.failed ?? job.failures?.length ?? 0);

function summaryOf(job) {
  const parts = [
    job.ingested && t("{n} added", { n: number(job.ingested) }),
    job.unchanged && t("{n} already there", { n: number(job.unchanged) }),
    job.failed && t("{n} set aside", { n: number(job.failed) }),
  ].filter(Boolean);
  return parts.join(", ") || t("nothing added");
}

function drawJob(row, job) {
  const ended = FINISHED.has(job.state);
  const running = job.left_s ? t("about {time} left", { time: clock(job.left_s) }) : t(job.state);
  const segments = Object.entries(job.segments ?? {}).map(([name, n]) => tn(n, "{n} {kind} segment", "{n} {kind} segments", { kind: t(name) }));
  draw(row, {
    title: row.dataset.title ?? tn(job.files ?? 0, "{n} file", "{n} files"),
    state: ended ? `${summaryOf(job)}${job.state === "done" ? "" : `, ${t(job.state)}`}` : running,
    share: ended ? 1 : doneOf(job) / Math.max(1, job.files ?? 1),
    ended,
    detail: [...segments, job.seconds ? millis(job.seconds * 1000) : null].filter(Boolean).join(" · "),
    failures: job.failures ?? [],
    action: ended ? null : button("plain", t("Cancel"), () => cancelJob(job.id)),
  });
}

function draw(row, { title, state, share, ended = false, detail = "", failures = [], action = null }) {
  row.classList.toggle("ended", ended);
  row.classList.toggle("faulty", failures.length > 0);
  const head = drawHead(row, title, state, action);
  const refused = row.querySelector("details"); // stays the same, for it may be open or have the focus
  for (const old of [...row.children]) if (old !== head && old !== refused) old.remove();
  head.after(
    styled(
      el("div", { class: "progress", role: "progressbar", "aria-label": title, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": Math.round(share * 100) }, el("span")),
      { "--share": share },
    ),
    detail ? el("p", { class: "hint" }, detail) : "",
  );
  if (failures.length) drawFailures(refused ?? row.appendChild(el("details", { open: failures.length <= 3 }, el("summary"), el("ul", { class: "failures" }))), failures);
  else refused?.remove();
}

function drawFailures(details, failures) {
  const [summary, list] = details.children;
  summary.textContent = tn(failures.length, "{n} file set aside", "{n} files set aside");
  list.replaceChildren(...failures.map((one) => el("li", {}, el("strong", {}, one.name), " ", isEnglish ? one.reason : inWords(one.error, one.reason))));
}

/** The head of a row; its button stays the same, for a finger may be on it. */
function drawHead(row, title, state, action) {
  const known = row.querySelector(".job-head");
  const head = known ?? el("div", { class: "job-head" }, el("h2"), el("span", { class: "job-state" }));
  const [name, said, old] = head.children;
  name.textContent = title;
  said.textContent = state;
  if (old && !action) {
    if (old === document.activeElement) row.focus();
    old.remove();
  } else if (action && !old) head.append(action);
  if (!known) row.prepend(head);
  return head;
}
