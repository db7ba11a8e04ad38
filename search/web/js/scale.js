// Axes of times: a logarithmic one across, a plain one up. Pure.

/** A logarithm that begins at 0: stages of 0.1 ms and of 100 ms are both to be seen. */
const log = (ms) => Math.log1p(ms * 10);

/** Where a time stands on an axis that ends at `most`, in percent. */
export const placeOn = (most) => (ms) => (log(Math.min(ms, most)) / log(most)) * 98;

/** The powers of ten to be named on an axis that ends at `most`; not too near to its end. */
export function decades(most) {
  const place = placeOn(most);
  return [0.1, 1, 10, 100, 1000, 10_000].filter((ms) => ms < most && place(ms) < 94);
}

/** The next of 1, 2, 5, 10, 20, 50 … that is not below a number. */
export function roundUp(number) {
  const ten = 10 ** Math.floor(Math.log10(Math.max(number, 1e-3)));
  return [1, 2, 5, 10].map((one) => one * ten).find((one) => one >= number * 0.999);
}
