import { renderJson } from '../report/json.js';
import { writeFiles } from '../report/write.js';
import { renderSweepHtml } from './html.js';
import { renderSweepMarkdown } from './markdown.js';
import type { SweepReport } from './report.js';

/**
 * Writes `report.html`, `report.md` and `report.json` into `directory`, and `timing.json` with what differs from machine to machine.
 *
 * @returns The path of the HTML report.
 */
export async function writeSweepReport(directory: string, report: SweepReport, timing: object): Promise<string> {
  const [htmlPath] = await writeFiles(directory, [
    ['report.html', renderSweepHtml(report)],
    ['report.md', renderSweepMarkdown(report)],
    ['report.json', renderJson(report)],
    ['timing.json', renderJson(timing)],
  ]);
  return htmlPath!;
}
