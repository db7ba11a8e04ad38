// Errors with their remedies, and hints where there is nothing to show.

import { button, el } from "./dom.js";
import { isEnglish, t } from "./i18n.js";

/** Show an error of the API with its remedy. `onRetry` tries again. */
export function showError(target, error, onRetry) {
  const wait = error.retryAfterS ? ` ${t("The server asks you to wait {n} s.", { n: Math.ceil(error.retryAfterS) })}` : "";
  const message = el("strong", {}, error.message);
  if (!isEnglish && error.type) import("./problems.js").then(({ inWords }) => message.replaceChildren(...inWords(error.type, error.message)));
  show(
    target,
    "problem",
    message,
    error.remedy || wait ? el("p", {}, `${error.remedy ?? ""}${wait}`) : null,
    // Most messages begin with it.
    error.field && !error.message.startsWith(error.field) ? el("p", { class: "hint" }, t("Field:"), " ", el("code", {}, error.field)) : null,
    onRetry ? button("small", t("Try again"), onRetry) : null,
  );
  target.setAttribute("role", "alert");
}

/** Say what to do where there is nothing to show. */
export function showEmpty(target, title, ...content) {
  target.removeAttribute("role");
  show(target, "empty", el("strong", {}, title), ...content);
}

/** Take it away. */
export function clearNotice(target) {
  target.hidden = true;
  target.replaceChildren();
}

function show(target, kind, ...content) {
  target.className = `notice ${kind}`;
  target.replaceChildren(...content.filter(Boolean));
  target.hidden = false;
}
