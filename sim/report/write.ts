import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildReport } from './build.js';
import { renderHtml } from './html.js';
import { renderJson } from './json.js';
import { renderMarkdown } from './markdown.js';
import type { Report } from './schema.js';
import type { ReportInput } from './types.js';

/** Where a report was written. */
export interface WrittenReport {
  readonly report: Report;
  readonly htmlPath: string;
  readonly markdownPath: string;
  readonly jsonPath: string;
}

/** Writes `report.html`, `report.md` and `report.json` into `directory`. */
export async function writeReport(directory: string, input: ReportInput): Promise<WrittenReport> {
  const report = buildReport(input);
  const [htmlPath, markdownPath, jsonPath] = await writeFiles(directory, [
    ['report.html', renderHtml(report, input)],
    ['report.md', renderMarkdown(report)],
    ['report.json', renderJson(report)],
  ] as const);
  return { report, htmlPath: htmlPath!, markdownPath: markdownPath!, jsonPath: jsonPath! };
}

/** Writes files into `directory`, which is made when it is absent, and returns their paths. Each appears whole or not at all. */
export async function writeFiles(
  directory: string,
  files: readonly (readonly [name: string, content: string])[],
): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  const paths: string[] = [];
  for (const [name, content] of files) {
    const path = join(directory, name);
    const partial = join(directory, `.${name}.${process.pid}.partial`);
    try {
      await writeFile(partial, content);
      await rename(partial, path);
    } catch (error) {
      await rm(partial, { force: true });
      // A write that fails for lack of room does not say where.
      throw Object.assign(error as Error, { path });
    }
    paths.push(path);
  }
  return paths;
}
