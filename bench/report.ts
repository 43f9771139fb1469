import { isMet, type Figure } from './timing';

/** One object a line: these fields, in this order. */
export function line({ name, value, unit, against, goal, min, max }: Figure): string {
  return JSON.stringify({ name, value: rounded(value), unit, against, goal, min: rounded(min), max: rounded(max) });
}

/** For people. */
export function table(figures: readonly Figure[]): string {
  if (figures.length === 0) return 'nothing was measured\n';
  const rows = [
    ['figure', 'value', 'goal', '', 'range', 'against'],
    ...figures.map((f) => [f.name, `${f.value.toFixed(2)} ${f.unit}`, `${f.atLeast === true ? '≥' : '≤'} ${f.goal}`, isMet(f) ? 'met' : 'NOT MET', `${f.min.toFixed(2)}–${f.max.toFixed(2)}`, f.against]),
  ];
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return `\n${rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()).join('\n')}\n`;
}

const rounded = (n: number): number => Math.round(n * 1_000) / 1_000;
