// The late waits as a distribution, with the allowed wait marked and the advised one beside it, and the slider that says
// what another allowed wait would give.
import { byId, colour, text } from "./dom.js";
import { compact, count, ms, percent, round } from "./format.js";
import { Chart, axis, logTicks, marks } from "./chart.js";

// ---- distribution

let waits = { bins: [], max_wait_ms: 0, advised_max_wait_ms: null };

// The axis is logarithmic, as the bins are, and an empty beginning is not drawn.
const first = () => waits.bins.find((b) => b.found + b.given_up + b.after_deadline > 0)?.from_ms ?? 10;
const least = () => 10 ** Math.floor(Math.log10(Math.max(1, first())));

const histogram = new Chart(byId("waits"), 190, () => ({
  legend: { show: false },
  cursor: { show: false },
  scales: {
    x: { time: false, distr: 3, range: () => [least(), 1.1 * Math.max(waits.max_wait_ms, waits.bins.at(-1)?.to_ms ?? 1)] },
    y: { range: (_, __, most) => [0, Math.max(1, most * 1.12)] },
  },
  axes: [
    axis({ grid: { show: false }, size: 30, space: 56, filter: logTicks, values: (_, at) => at.map((v) => (v === null ? "" : round(v))) }),
    axis({ size: 52, values: (_, at) => at.map((v) => (Number.isInteger(v) ? compact(v) : "")) }),
  ],
  series: [{}, { paths: () => null, points: { show: false } }],
  hooks: { draw: [bars] },
}));

function bars(u) {
  const { ctx, bbox } = u;
  const x = (v) => u.valToPos(Math.max(v, least()), "x", true);
  const y = (v) => u.valToPos(v, "y", true);
  ctx.save();
  for (const bin of waits.bins) {
    let from = 0;
    for (const [n, name] of [[bin.found, "ok"], [bin.given_up, "timeout"], [bin.after_deadline, "missing"]]) {
      if (n === 0) continue;
      const left = Math.max(x(bin.from_ms), bbox.left);
      ctx.fillStyle = colour(name);
      ctx.fillRect(left, y(from + n), Math.max(1, x(bin.to_ms) - left - 1), y(from) - y(from + n));
      from += n;
    }
  }
  ctx.restore();
  marks(u, [[waits.max_wait_ms, `allowed ${round(waits.max_wait_ms)}`, colour("bad")], ...advised(waits)]);
}

// advised is the mark of the advised wait, where there is one.
function advised({ advised_max_wait_ms: at }) {
  return at === null ? [] : [[at, `advised ${round(at)}`, colour("good")]];
}

/** Shows the answer of api/v1/waits. */
export function showWaits(answer) {
  waits = answer;
  const all = (b) => b.found + b.given_up + b.after_deadline;
  histogram.set([answer.bins.map((b) => Math.max(b.from_ms, least())), answer.bins.map(all)]);
  const sum = (name) => answer.bins.reduce((n, b) => n + b[name], 0);
  text(
    byId("waits-words"),
    answer.wait_ms === null
      ? "No heat was found late yet."
      : `Found: half by ${ms(answer.wait_ms.p50)}, 99 % by ${ms(answer.wait_ms.p99)}, all by ${ms(answer.wait_ms.max)} of ${round(answer.max_wait_ms)} allowed. ` +
          `Given up ${count(answer.given_up)}, after the deadline ${count(sum("after_deadline"))}${answer.beyond > 0 ? `, ${count(answer.beyond)} waited longer than is drawn` : ""}.`,
  );
}

// ---- what if

let whatIf = null;
let touched = false;
const slider = byId("whatif-wait");

const curve = new Chart(byId("curve"), 200, () => ({
  legend: { show: false },
  cursor: { show: false },
  scales: { x: { time: false, distr: 3, range: (_, from, to) => [Math.max(1, from), Math.max(10, to)] }, y: { range: [0, 1] } },
  axes: [
    axis({ grid: { show: false }, size: 30, space: 56, filter: logTicks, values: (_, at) => at.map((v) => (v === null ? "" : round(v))) }),
    axis({ size: 52, values: (_, at) => at.map((v) => `${Math.round(v * 100)} %`) }),
  ],
  series: [{}, { stroke: colour("late"), fill: `${colour("late")}22`, width: 2, points: { show: false }, paths: globalThis.uPlot.paths.stepped({ align: 1 }) }],
  hooks: {
    draw: [(u) => {
      const now = whatIf.current.max_wait_ms;
      const chosen = wait() === now ? [] : [[wait(), round(wait()), colour("late")]];
      marks(u, [[now, `now ${round(now)}`, colour("bad")], ...advised(whatIf), ...chosen]);
    }],
  },
}));

// The slider is logarithmic, as the axis is: a hundred steps for each power of ten.
const wait = () => tidy(10 ** (Number(slider.value) / 100));
const position = (at) => Math.round(100 * Math.log10(Math.max(1, at)));

// tidy rounds to two digits, and to the setting of now where that is meant.
function tidy(at) {
  if (whatIf && position(whatIf.current.max_wait_ms) === Number(slider.value)) return whatIf.current.max_wait_ms;
  const step = 10 ** Math.max(0, Math.floor(Math.log10(at)) - 1);
  return Math.round(at / step) * step;
}

function coverageAt(at) {
  const { wait_ms: x, coverage } = whatIf.curve;
  let found = null;
  for (let i = 0; i < x.length && x[i] <= at; i++) found = coverage[i];
  return x.length === 0 ? null : (found ?? 0);
}

function showChoice() {
  const at = wait();
  const share = coverageAt(at);
  const now = coverageAt(whatIf.current.max_wait_ms);
  text(byId("whatif-value"), round(at));
  text(byId("whatif-share"), percent(share));
  const difference = share === null || now === null ? null : (share - now) * 100;
  const words =
    difference === null ? (whatIf.note || "No plan's wait has ended in this history yet.")
    : Math.abs(difference) < 0.05 ? `As much as at ${round(whatIf.current.max_wait_ms)}, which is set now.`
    : `${Math.abs(difference).toFixed(1)} points ${difference > 0 ? "more" : "less"} than at ${round(whatIf.current.max_wait_ms)}, which is set now.`;
  text(byId("whatif-words"), whatIf.decided > 0 ? `${words} From ${count(whatIf.decided)} plans.` : words);
  slider.setAttribute("aria-valuetext", `${round(at)}: ${percent(share)}`);
  curve.redraw();
}

slider.addEventListener("input", () => {
  touched = true;
  if (whatIf) showChoice();
});

/** Shows the answer of api/v1/what-if. A slider that somebody has moved stays where it is. */
export function showWhatIf(answer) {
  whatIf = answer;
  slider.disabled = answer.curve.wait_ms.length === 0;
  slider.max = String(position(answer.longest_ms));
  if (!touched) slider.value = String(position(answer.current.max_wait_ms));
  if (answer.curve.wait_ms.length > 0) curve.set([answer.curve.wait_ms, answer.curve.coverage]);
  showChoice();
}
