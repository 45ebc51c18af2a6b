import { STYLE } from './html-style.js';
import { escapeXml } from './svg/element.js';

/**
 * A whole page that needs no network and no script.
 *
 * @param parts Markup of the body, one part after the other; empty ones are left out.
 */
export function page(title: string, parts: readonly string[]): string {
  const lines = [
    '<!doctype html>',
    '<html lang="en">',
    '<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width,initial-scale=1">',
    `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}</style>`,
    '</head>',
    '<body><main>',
    ...parts.filter((part) => part !== ''),
    '</main></body>',
    '</html>',
  ];
  return `${lines.join('\n')}\n`;
}
