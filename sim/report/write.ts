import { mkdir, rename, writeFile } from 'node:fs/promises';
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

/**
 * Writes `report.html`, `report.md` and `report.json` into `directory`, which is made when it is absent. Each file appears whole or
 * not at all.
 */
export async function writeReport(directory: string, input: ReportInput): Promise<WrittenReport> {
  const report = buildReport(input);
  await mkdir(directory, { recursive: true });
  const write = async (name: string, content: string): Promise<string> => {
    const path = join(directory, name);
    const partial = join(directory, `.${name}.${process.pid}.partial`);
    await writeFile(partial, content);
    await rename(partial, path);
    return path;
  };
  return {
    report,
    htmlPath: await write('report.html', renderHtml(report, input)),
    markdownPath: await write('report.md', renderMarkdown(report)),
    jsonPath: await write('report.json', renderJson(report)),
  };
}
