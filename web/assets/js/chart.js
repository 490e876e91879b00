// What all charts share: uPlot in the colours of the page, as wide as its place, drawn anew when the colour scheme turns.
import { colour } from "./dom.js";
import { clock } from "./format.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/**
 * A chart in a place of the page. options() gives uPlot's options without size, and is asked again when colours change.
 * The place keeps one canvas, however often it is given data.
 */
export class Chart {
  constructor(place, height, options) {
    this.place = place;
    this.height = height;
    this.options = options;
    this.data = null;
    this.plot = null;
    new ResizeObserver(() => this.#resize()).observe(place);
    dark.addEventListener("change", () => this.rebuild());
  }

  /** Draws data: the columns of uPlot, x first. */
  set(data) {
    this.data = data;
    if (this.plot) this.plot.setData(data);
    else this.rebuild();
  }

  /** Draws again what hooks add to the data. */
  redraw() {
    this.plot?.redraw(false, false);
  }

  rebuild() {
    if (!this.data) return;
    this.plot?.destroy();
    this.plot = new globalThis.uPlot({ ...this.options(), ...this.#size() }, this.data, this.place);
  }

  #size() {
    return { width: Math.max(200, this.place.clientWidth), height: this.height };
  }

  #resize() {
    if (this.plot && this.plot.width !== this.#size().width) this.plot.setSize(this.#size());
  }
}

const font = '12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** An axis in the colours of the page. */
export function axis(more) {
  return {
    stroke: colour("quiet"),
    font,
    grid: { stroke: colour("grid"), width: 1 },
    ticks: { show: false },
    gap: 7,
    ...more,
  };
}

const seconds = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];

/** Room at the right for half of the last label of a time axis, whatever the font. */
export const timePadding = [null, 34, null, null];

/** An axis with the time of day. */
export function timeAxis() {
  return axis({
    space: 80,
    size: 30,
    incrs: seconds,
    grid: { show: false },
    values: (_, at, __, ___, step) => at.map((t) => (step < 60 ? clock(t * 1000) : clock(t * 1000).slice(0, 5))),
  });
}

/** Ticks of a logarithmic axis: 1, 2 and 5 of each power of ten where there is room for them, else 1 alone. */
export function logTicks(u, at) {
  const { min, max } = u.scales.x;
  const roomy = u.bbox.width / devicePixelRatio / Math.log10(max / min) > 200;
  return at.map((v) => ((roomy ? /^[125]0*$/ : /^10*$/).test(String(v)) ? v : null));
}

/**
 * Upright lines, each [x, word, stroke] with its word at its top, on a canvas in the middle of a draw hook. The words stand
 * below one another and over all lines, so that they can be read where lines lie close together.
 */
export function marks(u, lines) {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const dpr = devicePixelRatio;
  const drawn = lines.map(([x, word, stroke]) => ({ at: u.valToPos(x, "x", true), word, stroke })).filter(({ at }) => at >= left && at <= left + width);
  ctx.save();
  ctx.lineWidth = 1.5 * dpr;
  ctx.setLineDash([5 * dpr, 4 * dpr]);
  for (const { at, stroke } of drawn) {
    ctx.strokeStyle = stroke;
    ctx.beginPath();
    ctx.moveTo(at, top);
    ctx.lineTo(at, top + height);
    ctx.stroke();
  }
  ctx.font = font.replace("12px", `${12 * dpr}px`);
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  for (const [row, { at, word, stroke }] of drawn.entries()) {
    const wide = ctx.measureText(word).width;
    const from = at + wide + 12 * dpr < left + width ? at + 6 * dpr : at - wide - 6 * dpr;
    const down = top + (3 + row * 18) * dpr;
    ctx.fillStyle = colour("card");
    ctx.fillRect(from - 3 * dpr, down - 2 * dpr, wide + 6 * dpr, 16 * dpr);
    ctx.fillStyle = stroke;
    ctx.fillText(word, from, down);
  }
  ctx.restore();
}
