// A picture with frames around the text in it that was found.

import { el, svg } from "./dom.js";

/**
 * The image, and over it the regions of these parts of a hit: x and y of four corners each, as
 * fractions of the picture.
 */
export function framed(image, parts) {
  const boxes = parts.flatMap((part) => part.regions ?? []);
  if (!boxes.length) return image;
  const shapes = svg("g", {}, boxes.map((box) => svg("polygon", { points: pairs(box) })));
  const layer = svg("svg", { class: "boxes", "aria-hidden": "true", viewBox: "0 0 1 1" }, shapes);
  const fit = () => {
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width) return;
    layer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    shapes.setAttribute("transform", `scale(${width} ${height})`);
  };
  image.addEventListener("load", fit);
  fit();
  return el("div", { class: "framed" }, image, layer);
}

const pairs = (box) => box.map((value, place) => `${value}${place % 2 ? " " : ","}`).join("").trim();
