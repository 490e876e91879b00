// Numbers as people read them. What is not known is a dash, never a zero.

export const unknown = "–";

const known = (n) => typeof n === "number" && Number.isFinite(n);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** 0.9861 is "98.6 %". It never rounds up to 100 nor down to 0. */
export function percent(share) {
  if (!known(share)) return unknown;
  const p = share * 100;
  if (p > 0 && p < 0.1) return "< 0.1 %";
  if (p < 100 && p > 99.9) return `${(Math.floor(p * 100) / 100).toFixed(2)} %`;
  return p === 100 || p === 0 ? `${p} %` : `${p.toFixed(1)} %`;
}

/** The difference of two shares in percentage points: "+1.2", "−3.0". */
export function points(now, before) {
  if (!known(now) || !known(before)) return unknown;
  const d = Math.round((now - before) * 1000) / 10;
  return d === 0 ? "±0.0" : `${d > 0 ? "+" : "−"}${Math.abs(d).toFixed(1)}`;
}

export const count = (n) => (known(n) ? whole.format(n) : unknown);

/** 12345 is "12.3K". */
export const compact = (n) => (known(n) ? (Math.abs(n) < 10000 ? whole.format(n) : short.format(n)) : unknown);

/** Plans per second. */
export function rate(n) {
  if (!known(n)) return unknown;
  if (n === 0) return "0/s";
  return n < 10 ? `${n.toFixed(1)}/s` : `${compact(Math.round(n))}/s`;
}

/** Milliseconds: "3 ms", "1.20 s", "4 min". */
export function ms(n) {
  if (!known(n)) return unknown;
  if (n < 1000) return `${n < 10 && !Number.isInteger(n) ? n.toFixed(1) : Math.round(n)} ms`;
  return n < 60000 ? `${(n / 1000).toFixed(n < 10000 ? 2 : 1)} s` : seconds(n / 1000);
}

/** Milliseconds on an axis or of a setting, without digits that say nothing: "50 ms", "2 s". */
export const round = (n) => (known(n) && n >= 1000 && n % 100 === 0 ? `${n / 1000} s` : ms(n));

/** Seconds as a duration: "2.1 s", "4 s", "5 min", "3 h", "2 d". */
export function seconds(n) {
  if (!known(n)) return unknown;
  if (n < 10 && !Number.isInteger(n)) return `${n.toFixed(1)} s`;
  if (n < 90) return `${Math.round(n)} s`;
  if (n < 5400) return `${Math.round(n / 60)} min`;
  if (n < 129600) return `${Math.round(n / 3600)} h`;
  return `${Math.round(n / 86400)} d`;
}

/** The time of day of a moment in ms, to the second or the millisecond. */
export function clock(at, millis = false) {
  if (!known(at)) return unknown;
  const d = new Date(at);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return millis ? `${day}.${String(d.getMilliseconds()).padStart(3, "0")}` : day;
}

/** A sentence of the API with its moments as the reader's clock has them. */
export const local = (words) => words.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (at) => clock(Date.parse(at)));

/** The name of an observation point as the contract has it, in one word. */
export function point(name) {
  return { create_apply_plan: "early", publish_plan_post: "late" }[name] ?? name;
}
