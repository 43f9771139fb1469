const DAY = 86_400_000;
const HOUR = 3_600_000;
const MINUTE = 60_000;

/** A length of time for people: `6 d 4 h`, `3 h 20 min`, `4 min`, `12 s`, `340 ms`. */
export function duration(ms: number): string {
  const abs = Math.abs(ms);
  if (abs >= DAY) return join(Math.floor(abs / DAY), 'd', Math.floor((abs % DAY) / HOUR), 'h');
  if (abs >= HOUR) return join(Math.floor(abs / HOUR), 'h', Math.floor((abs % HOUR) / MINUTE), 'min');
  if (abs >= MINUTE) return join(Math.floor(abs / MINUTE), 'min', Math.floor((abs % MINUTE) / 1000), 's');
  if (abs >= 1000) return `${Math.floor(abs / 1000)} s`;
  return `${Math.round(abs)} ms`;
}

/** A moment for people: `2026-11-30 21:03:11 UTC (in 6 d 4 h)`. */
export function moment(at: number | string, now: number): string {
  const ms = typeof at === 'string' ? Date.parse(at) : at;
  const iso = new Date(ms).toISOString();
  const left = ms - now;
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC (${left >= 0 ? `in ${duration(left)}` : `${duration(left)} ago`})`;
}

function join(a: number, unitA: string, b: number, unitB: string): string {
  return b === 0 ? `${a} ${unitA}` : `${a} ${unitA} ${b} ${unitB}`;
}
