/** One line of a metrics page. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Reads the wanted series out of a page in Prometheus' text format; everything else is skipped unread, for a page of vLLM is tens of kilobytes of
 * histogram buckets. A line that does not parse is left out.
 */
export function parseMetrics(text: string, wanted: ReadonlySet<string>): Map<string, Sample[]> {
  const samples = new Map<string, Sample[]>();
  let start = 0;
  while (start < text.length) {
    let end = text.indexOf('\n', start);
    if (end < 0) end = text.length;
    if (text.charCodeAt(start) !== 35 /* # */) readLine(text, start, end, wanted, samples);
    start = end + 1;
  }
  return samples;
}

function readLine(
  text: string,
  start: number,
  end: number,
  wanted: ReadonlySet<string>,
  out: Map<string, Sample[]>,
): void {
  let nameEnd = start;
  while (nameEnd < end && isNameCharacter(text.charCodeAt(nameEnd))) nameEnd++;
  const name = text.slice(start, nameEnd);
  if (!wanted.has(name)) return;
  let labels: Record<string, string> = {};
  let position = nameEnd;
  if (text[position] === '{') {
    const read = readLabels(text, position + 1, end);
    if (!read) return;
    labels = read.labels;
    position = read.next;
  }
  // A timestamp may follow the value.
  const word = text.slice(position, end).trim().split(/\s+/, 1)[0] ?? '';
  const value = readNumber(word);
  if (value === undefined) return;
  const list = out.get(name);
  if (list) list.push({ labels, value });
  else out.set(name, [{ labels, value }]);
}

function readLabels(
  text: string,
  from: number,
  end: number,
): { labels: Record<string, string>; next: number } | undefined {
  const labels: Record<string, string> = {};
  let position = from;
  for (;;) {
    while (position < end && (text[position] === ' ' || text[position] === ',')) position++;
    if (text[position] === '}') return { labels, next: position + 1 };
    const equals = text.indexOf('=', position);
    if (equals < 0 || equals >= end) return undefined;
    const name = text.slice(position, equals).trim();
    position = equals + 1;
    while (position < end && text[position] === ' ') position++;
    if (text[position] !== '"') return undefined;
    position++;
    let value = '';
    for (;;) {
      if (position >= end) return undefined;
      const character = text[position++]!;
      if (character === '"') break;
      if (character === '\\' && position < end) {
        const escaped = text[position++]!;
        value += escaped === 'n' ? '\n' : escaped;
      } else value += character;
    }
    labels[name] = value;
  }
}

function readNumber(word: string): number | undefined {
  if (word === '') return undefined;
  if (word === 'NaN') return Number.NaN;
  if (word === '+Inf' || word === 'Inf') return Number.POSITIVE_INFINITY;
  if (word === '-Inf') return Number.NEGATIVE_INFINITY;
  const value = Number(word);
  return Number.isNaN(value) ? undefined : value;
}

function isNameCharacter(code: number): boolean {
  return (
    (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 58) || code === 95 // a-z A-Z 0-9 : _
  );
}
