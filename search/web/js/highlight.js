// Which words of a text to mark, and where to begin to show it. Pure.

const SHORTEST = 3;

/** The words of a query that are worth marking, lower-case. */
export function wordsOf(texts) {
  const words = texts.join(" ").toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return [...new Set(words.filter((word) => word.length >= SHORTEST && !COMMON.has(word)))];
}

const COMMON = new Set(
  "the and for with that this from are was were who what when where which how does did has have not but you your its into onto out about they them".split(" "),
);

/** Split a text into {text, marked} pieces: a word is marked if it has the stem of a query's word. */
export function marked(text, words) {
  const stems = words.map(stem);
  const pieces = [];
  for (const part of text.split(/([\p{L}\p{N}]+)/u)) {
    if (!part) continue;
    const hit = stems.some((wanted) => stem(part.toLowerCase()) === wanted);
    const last = pieces.at(-1);
    if (last && last.marked === hit) last.text += part;
    else pieces.push({ text: part, marked: hit });
  }
  return pieces;
}

/** A rough stem, so that "bake" marks "baking" and "loaf" marks "loafs". */
function stem(word) {
  const bare = word.replace(/(?:ings?|ed|es|s|e)$/u, "");
  return bare.length >= SHORTEST ? bare : word;
}

/** A text without the marks of Markdown: of headings, bold words and tables. */
export const withoutMarks = (text) =>
  text
    .replace(/^[ \t]*#+[ \t]+/gm, "")
    .replace(/^\|[-:| \t]+\|[ \t]*\n/gm, "")
    .replace(/^\|[ \t]*(.*?)[ \t]*\|[ \t]*$/gm, (_, row) => row.replace(/[ \t]*\|[ \t]*/g, " · "))
    .replace(/\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*/g, "$1")
    .replace(/\\(?=[<>*_#|])/g, "");

/** About `length` characters of a text around its first marked word, cut between words. */
export function excerpt(text, words, length) {
  // Paragraphs begin on a line of their own.
  const paragraphs = withoutMarks(text).trim().split(/\n\s*\n/);
  const flat = paragraphs.map((one) => one.replace(/\s+/g, " ")).join("\n");
  if (flat.length <= length) return flat;
  let at = 0;
  for (const piece of marked(flat, words)) {
    if (piece.marked) break;
    at += piece.text.length;
  }
  if (at >= flat.length - 1) at = 0;
  let start = Math.max(0, at - Math.floor(length / 3));
  if (start) start = flat.slice(start).search(/\s/) + start + 1;
  const end = start + length >= flat.length ? flat.length : flat.lastIndexOf(" ", start + length);
  return `${start ? "… " : ""}${flat.slice(start, end)}${end < flat.length ? " …" : ""}`;
}
