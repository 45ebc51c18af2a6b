export { buildReport } from './build.js';
export { renderHtml } from './html.js';
export { renderJson } from './json.js';
export { renderMarkdown } from './markdown.js';
export { type Report, reportJsonSchema, reportSchema } from './schema.js';
export { renderTerminal } from './terminal.js';
export type * from './types.js';
export { writeReport } from './write.js';
