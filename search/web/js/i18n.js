// The page in the reader's language. English stands in the code and is the key of a catalogue.

import { byId } from "./dom.js";

const ATTRIBUTES = ["placeholder", "aria-label", "title"];

const root = document.documentElement;
const language = root.lang; // early.js chose it

/** Whether the server's own words are in the reader's language. */
export const isEnglish = language === "en";

/** How the reader writes numbers and dates: the page's language, as their region has it. */
export const locale = navigator.languages.find((one) => one.split("-")[0] === language) ?? language;

const catalogue = language === "en" ? {} : await load();
let plurals = null; // made on first use, like a writer of numbers: either takes longer than a card

async function load() {
  try {
    return await (await fetch(new URL(`../i18n/${language}.json`, import.meta.url))).json();
  } catch {
    return {}; // English serves
  }
}

/** A text in the reader's language; `{name}` stands for a value. */
export const t = (text, values = {}) => filled(catalogue[text] ?? text, values);

/** The same of a number `{n}`, which decides the form. */
export function tn(n, one, many, values = {}) {
  return filled(formOf(n, catalogue[many]) ?? (n === 1 ? one : many), { n: number(n), ...values });
}

function formOf(n, forms) {
  if (!forms) return null;
  plurals ??= new Intl.PluralRules(locale);
  return forms[plurals.select(n)] ?? forms.other;
}

/** A whole number as the reader writes it. */
export const number = (n) => (Math.abs(n) < 1000 ? String(n) : n.toLocaleString(locale));

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);

/** Translate what stands in the page's HTML, and listen to the choice of another language. */
export function translatePage() {
  offerLanguages();
  if (language !== "en") {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) translateText(texts.currentNode);
    for (const name of ATTRIBUTES) {
      for (const node of document.querySelectorAll(`[${name}]`)) node.setAttribute(name, t(node.getAttribute(name)));
    }
  }
  root.classList.remove("translating");
}

function translateText(node) {
  const text = node.data.trim().replace(/\s+/g, " ");
  if (text && !node.parentElement.closest("noscript, #language")) node.data = node.data.replace(/\S(?:[^]*\S)?/, () => t(text));
}

function offerLanguages() {
  const choice = byId("language");
  choice.value = language;
  choice.addEventListener("change", () => {
    localStorage.setItem("language", choice.value);
    location.reload();
  });
}
