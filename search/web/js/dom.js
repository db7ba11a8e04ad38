// Elements without innerHTML: what comes from the server can never become markup.

const SVG = "http://www.w3.org/2000/svg";

/** The element with this id; it must exist. */
export const byId = (id) => document.getElementById(id);

/**
 * An HTML element. Properties: `class`, `on` ({event: listener}), `data` ({name: value}), and
 * attributes; true is an empty attribute, null, undefined and false leave it out.
 */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same in SVG. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "data") {
      for (const [key, text] of Object.entries(value)) if (text != null) node.dataset[key] = text;
    } else if (value === true) {
      node.setAttribute(name, "");
    } else if (value != null && value !== false) {
      node.setAttribute(name, value);
    }
  }
  node.append(...children.flat().filter((child) => child != null && child !== false));
  return node;
}

/** An icon of icons/icons.svg. */
export function icon(name) {
  return svg("svg", { "aria-hidden": "true" }, svg("use", { href: `icons/icons.svg#${name}` }));
}

/** A button; `name` is what a screen reader says if the content does not. */
export function button(className, content, onClick, attributes = {}) {
  return el("button", { type: "button", class: className, on: { click: onClick }, ...attributes }, content);
}

/** Set custom properties of a style, which the content security policy allows from script. */
export function styled(node, properties) {
  for (const [name, value] of Object.entries(properties)) node.style.setProperty(name, value);
  return node;
}

/** Let a screen reader say this. */
export function say(text) {
  const said = byId("said");
  said.textContent = "";
  requestAnimationFrame(() => (said.textContent = text));
}

/** Call `work` once, `ms` after the last call. */
export function debounced(work, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...args), ms);
  };
}

/** Call `work` once what has changed is painted: who clicks sees at once that something happens. */
export const painted = (work) => requestAnimationFrame(() => setTimeout(work));
