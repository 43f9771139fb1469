/** The `keywarden …` commands in a line of shell, each as its arguments; substitutions and pipes end them as a shell would. */
export function keywardenCommands(line: string): string[][] {
  return [...line.matchAll(/(?<!--task-queue)(?:^|[\s(=])(?:bin\/)?keywarden (?=[a-z-])/g)].map((m) => words(line.slice(m.index + m[0].length)));
}

function words(text: string): string[] {
  const found: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== '') {
      if (c === quote) quote = '';
      else if (c === '\\' && quote === '"') word += text[++i] ?? '';
      else word += c;
    } else if (c === '"' || c === "'") {
      quote = c;
      word ??= '';
    } else if (c === ' ') {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if ('|>;&#)'.includes(c)) break;
    else word = (word ?? '') + c;
  }
  return word === undefined ? found : [...found, word];
}
