// Coverage over time for both observation points, and the reasons of the late one, stacked.
import { byId, colour, text } from "./dom.js";
import { clock, compact, count, percent, seconds } from "./format.js";
import { Chart, axis, timeAxis, timePadding } from "./chart.js";

const reasons = ["ok", "timeout", "missing", "redis_error", "parse_error"];

const cursor = { sync: { key: "time" }, y: false, drag: { x: false, y: false }, points: { size: 6 } };

let columns = []; // of reasons, as they are and not as they are stacked
let bucket = 1; // seconds of an interval, which is drawn at its middle and named after its beginning

const time = { label: "from", value: (_, t) => (t === null ? "–" : clock((t - bucket / 2) * 1000)) };
const whole = { range: (_, from, to) => [from - bucket / 2, to + bucket / 2] };

// Where nobody points at an interval, the legend tells of the newest.
const newest = (u) => u.cursor.left < 0 && u.data[0].length > 0 && u.setLegend({ idx: u.data[0].length - 1 }, false);

const coverage = new Chart(byId("coverage"), 190, () => ({
  cursor,
  padding: timePadding,
  hooks: { setLegend: [newest] },
  scales: { x: whole, y: { range: [0, 1] } },
  axes: [timeAxis(), axis({ size: 52, values: (_, at) => at.map((v) => `${Math.round(v * 100)} %`) })],
  series: [
    time,
    { label: "late", stroke: colour("late"), width: 2, points: { size: 4, fill: colour("late") }, value: (_, v) => percent(v) },
    { label: "early", stroke: colour("early"), width: 2, dash: [6, 4], points: { size: 4, fill: colour("early") }, value: (_, v) => percent(v) },
  ],
}));

const stack = new Chart(byId("reasons"), 190, () => ({
  cursor,
  padding: timePadding,
  hooks: { setLegend: [newest] },
  scales: { x: whole, y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
  axes: [timeAxis(), axis({ size: 52, values: (_, at) => at.map((v) => (Number.isInteger(v) ? compact(v) : "")) })],
  // The tallest sum comes first, so that each one stands before those of which it is a part.
  series: [time, ...reasons.toReversed().map((reason) => ({
    label: reason,
    fill: colour(reason),
    stroke: colour(reason),
    width: 0,
    points: { show: false },
    paths: globalThis.uPlot.paths.bars({ size: [0.9, 100] }),
    value: (_, __, ___, at) => (at === null ? "–" : count(columns[reasons.indexOf(reason)][at])),
  }))],
}));

/** Shows the answer of api/v1/series. */
export function showSeries({ t, bucket_seconds, late, early }) {
  bucket = bucket_seconds;
  const middle = t.map((from) => from + bucket / 2);
  coverage.set([middle, late.coverage, early.coverage]);
  columns = reasons.map((reason) => late.reasons[reason]);
  const sum = t.map(() => 0);
  const sums = columns.map((column) => column.map((n, i) => (sum[i] += n)));
  stack.set([middle, ...sums.toReversed()]);

  const totals = reasons.map((reason, i) => [reason, columns[i].reduce((a, b) => a + b, 0)]).filter(([, n]) => n > 0);
  text(byId("reasons-words"), totals.map(([reason, n]) => `${reason} ${count(n)}`).join(" · ") || "No late observation yet.");
  const shares = late.coverage.filter((v) => v !== null);
  text(byId("coverage-window"), t.length > 0 ? `the last ${seconds(t.length * bucket)}, as far as the stream reaches` : "");
  text(
    byId("coverage-words"),
    shares.length === 0 ? "No late observation yet." : `Late between ${percent(Math.min(...shares))} and ${percent(Math.max(...shares))} in intervals of ${seconds(bucket)}.`,
  );
}
