import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(__dirname, '..', '..');

/** Every page that a person reads, by its path in the repository. */
export const pages: string[] = ['README.md', 'SECURITY.md', ...markdownIn('runbooks'), ...markdownIn('docs')];

function markdownIn(folder: string): string[] {
  return readdirSync(join(root, folder)).filter((n) => n.endsWith('.md')).sort().map((n) => `${folder}/${n}`);
}

export const read = (page: string): string => readFileSync(join(root, page), 'utf8');

/** What stands in a page as code: fenced blocks, lines joined at a trailing backslash, and inline code. */
export function codeIn(page: string): string[] {
  const text = read(page);
  const found: string[] = [];
  const prose = text.replace(/^```[^\n]*\n([\s\S]*?)^```/gm, (_all, block: string) => {
    found.push(...block.replace(/\\\n\s*/g, ' ').split('\n'));
    return '';
  });
  for (const [, inline] of prose.matchAll(/`([^`]+)`/g)) found.push(inline!);
  return found;
}

/** Rows of the tables whose first cell is code: the first cell without its marks, and the others. */
export function tableRows(page: string): { name: string; cells: string[] }[] {
  return [...read(page).matchAll(/^\| `([^`|]+)`(?:, [^|]*)? \|(.*)\|$/gm)].map(([, name, rest]) => ({ name: name!, cells: rest!.split(' | ').map((c) => c.trim()) }));
}

/** The fenced block of a page that is marked with a word after its language. */
export function block(page: string, mark: string): string {
  const found = new RegExp(`^\`\`\`\\w+ ${mark}\\n([\\s\\S]*?)^\`\`\``, 'm').exec(read(page))?.[1];
  if (found === undefined) throw new Error(`${page} has no block marked ${mark}`);
  return found.trim();
}
