import { trimmed } from '../format.js';

/** Text made safe for XML and HTML, in content and in double-quoted attributes. */
export function escapeXml(text: string): string {
  return text
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;')
    .replace(/'/g, '&#39;')
    .replace(CONTROL, '\uFFFD');
}

/** Control characters that neither XML nor a reader wants; tab and line ends stay. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to be taken out
const CONTROL = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F]/g;

/** A coordinate: at most one decimal, so that equal charts are equal bytes and the file stays small. */
export function px(value: number): string {
  return trimmed(value, 1);
}

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** One element; attributes in the order given, numbers as coordinates, undefined ones left out. Children are markup already. */
export function el(name: string, attributes: Attributes, ...children: readonly string[]): string {
  let open = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) open += ` ${key}="${typeof value === 'number' ? px(value) : escapeXml(value)}"`;
  }
  const content = children.join('');
  return content === '' ? `${open}/>` : `${open}>${content}</${name}>`;
}

/** The browser's own tooltip, and the name that a screen reader says. */
export function tooltip(text: string): string {
  return `<title>${escapeXml(text)}</title>`;
}

/** Text cut to `maxChars` with an ellipsis. */
export function shortened(text: string, maxChars: number): string {
  const chars = [...text];
  return chars.length <= maxChars ? text : `${chars.slice(0, Math.max(1, maxChars - 1)).join('')}…`;
}
