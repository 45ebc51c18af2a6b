import { readFileSync } from 'node:fs';

/** A file of the live page, as it is served. */
export interface PageFile {
  readonly contentType: string;
  readonly text: string;
}

/** Only what this page itself brings runs on it, and it talks to nobody but the gateway that serves it. */
export const PAGE_HEADERS: readonly string[] = [
  ...[
    'content-security-policy',
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  ],
  ...['x-content-type-options', 'nosniff', 'referrer-policy', 'no-referrer', 'cache-control', 'no-cache'],
];

/** The page for people, by path. It holds no data: it asks for the fleet as any client does, with a key where one is needed. */
export const PAGE_FILES: ReadonlyMap<string, PageFile> = new Map([
  ['/', fileOf('index.html', 'text/html; charset=utf-8')],
  ['/live.css', fileOf('live.css', 'text/css; charset=utf-8')],
  ['/live.js', fileOf('live.js', 'text/javascript; charset=utf-8')],
]);

function fileOf(name: string, contentType: string): PageFile {
  return { contentType, text: readFileSync(new URL(`./live-page/${name}`, import.meta.url), 'utf8') };
}
