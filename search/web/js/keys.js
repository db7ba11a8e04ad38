// The dialog that asks for an API key, once for all requests that need it.

import { button, byId, el } from "./dom.js";
import { t } from "./i18n.js";

const dialog = byId("key");
let asking = null;

/** Ask for a key; the key, or null if nobody gives one. `refused`: the last one was not accepted. */
export function askForKey(error, refused) {
  asking ??= show(error, refused).finally(() => (asking = null));
  return asking;
}

function show(error, refused) {
  const input = el("input", { type: "password", id: "key-input", autocomplete: "off", spellcheck: "false", required: true });
  const form = el(
    "form",
    { method: "dialog" },
    el("h2", { id: "key-title" }, t("This server needs an API key")),
    el("p", { class: refused ? "problem" : null }, refused ? t("The key was not accepted.") : error.remedy || error.message),
    el("label", { for: "key-input" }, t("API key")),
    input,
    el("p", { class: "hint" }, t("It is kept in this tab only, and sent to this server only."), " ", el("code", {}, "anymodal keys create"), " ", t("creates one.")),
    el("div", { class: "row" }, el("button", { class: "go", value: "use" }, t("Use this key")), button("plain", t("Not now"), () => dialog.close(""))),
  );
  dialog.replaceChildren(form);
  dialog.returnValue = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "use" ? input.value.trim() : null), { once: true });
  });
}
