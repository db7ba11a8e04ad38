// A justified grid, as values: rows of about one height, filled to the edge, nothing cropped.

/** How high tiles are, in pixels. */
export const DENSITIES = { small: 130, medium: 210, large: 330 };

const NARROWEST = 0.6;
const WIDEST = 4;
const OF_WORDS = 1.45;

/** Width by height of a tile: its picture's, or that of a card with words or a waveform. */
export function shapeOf({ metadata }) {
  const shape = metadata?.width / metadata?.height;
  return shape > 0 && shape < Infinity ? Math.min(WIDEST, Math.max(NARROWEST, shape)) : OF_WORDS;
}

/**
 * Rows of tiles: [{first, end, top, height}], and the height of them all. A row ends where its
 * height comes closest to the wanted one; the last is not stretched.
 *
 * @param shapes width by height of each tile
 * @param measures {width, height: wanted, gap, caption: below each tile, head: above a group}
 * @param starts the first tiles of groups
 */
export function rowsOf(shapes, { width, height, gap, caption, head = 0 }, starts = new Set()) {
  const rows = [];
  let [top, first, sum] = [0, 0, 0];
  const heightOf = (total, n) => (width - gap * (n - 1)) / total;
  const close = (end, high) => {
    rows.push({ first, end, top, height: high });
    top += high + caption + gap;
    [first, sum] = [end, 0];
  };
  for (let at = 0; at < shapes.length; at += 1) {
    if (starts.has(at)) {
      if (at > first) close(at, Math.min(height, heightOf(sum, at - first)));
      top += head;
    }
    const [before, after] = [heightOf(sum, at - first), heightOf(sum + shapes[at], at - first + 1)];
    if (at > first && before / height < height / after) close(at, before);
    sum += shapes[at];
    if (heightOf(sum, at - first + 1) <= height) close(at + 1, heightOf(sum, at - first + 1));
  }
  if (first < shapes.length) close(shapes.length, Math.min(height, heightOf(sum, shapes.length - first)));
  return { rows, height: Math.max(0, top - gap) };
}

/**
 * The same, and the `seam` between tiles that were added above and the others: the rows above it are
 * filled from there upwards, so that what is on the screen stays as it is.
 *
 * @param starts the first tiles of groups, in their order
 * @param newer how many tiles were added above
 */
export function rowsAround(shapes, measures, starts, newer) {
  const below = rowsOf(shapes.slice(newer), measures, new Set(starts.map((at) => at - newer)));
  if (!newer) return { ...below, seam: 0 };
  // From below, a group ends where it starts, and the space of its heading follows.
  const above = rowsOf(shapes.slice(0, newer).reverse(), measures, new Set(starts.map((at) => newer - at).filter((at) => at > 0)));
  const high = above.height + (starts[0] === 0 ? (measures.head ?? 0) : 0);
  const seam = high + measures.gap;
  const mirrored = ({ first, end, top, height }) => ({ first: newer - end, end: newer - first, top: high - top - height - measures.caption, height });
  const moved = ({ first, end, top, height }) => ({ first: newer + first, end: newer + end, top: seam + top, height });
  return { rows: [...above.rows.map(mirrored).reverse(), ...below.rows.map(moved)], height: seam + below.height, seam };
}

/** The rows [from, to) that touch a stretch of the grid. */
export function rowsWithin(rows, above, below) {
  let [from, to] = [firstFrom(rows, above), firstFrom(rows, below)];
  from = Math.max(0, from - 1);
  to = Math.min(rows.length, to + 1);
  return [from, to];
}

/** The number of rows that begin above a place. */
const firstFrom = (rows, place) => firstNot(rows, ({ top }) => top < place);

/** Which row has a tile. */
export const rowWith = (rows, at) => firstNot(rows, ({ end }) => end <= at);

/** The first row of which something no longer holds that holds for those before it. */
function firstNot(rows, holds) {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(rows[middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}
