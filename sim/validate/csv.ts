import { MaestroError } from '../../src/model/error.js';

/** One line of a CSV file by the names of its header, with the 1-based number of the data row; or why it cannot be read. */
export type CsvRow<Column extends string> =
  | { readonly row: number; readonly cells: Readonly<Record<Column, string>> }
  | { readonly row: number; readonly broken: string };

/**
 * Reads a CSV file line by line. Every column of `columns` must be in its header; further ones are given along. Cells may be quoted;
 * a line break inside quotes is not understood. Empty lines are passed over.
 */
export async function* readCsv<Column extends string>(
  lines: AsyncIterable<string> | Iterable<string>,
  columns: readonly Column[],
): AsyncGenerator<CsvRow<Column>> {
  let header: readonly string[] | undefined;
  let lineNumber = 0;
  let row = 0;
  for await (const line of lines) {
    lineNumber += 1;
    if (line.trim() === '') continue;
    const cells = splitCells(line.replace(/^\uFEFF/, ''));
    if (!header) {
      header = cells.map((cell) => cell.trim());
      const missing = columns.filter((column) => !header!.includes(column));
      if (missing.length > 0) {
        throw new MaestroError(
          'invalid_request',
          `line ${lineNumber}: the header lacks the column${missing.length > 1 ? 's' : ''} ${missing.join(', ')}; it has ${header.join(', ')}`,
        );
      }
      const twice = header.find((name, index) => name !== '' && header!.indexOf(name) !== index);
      if (twice !== undefined) {
        throw new MaestroError('invalid_request', `line ${lineNumber}: the header has the column ${twice} twice`);
      }
      continue;
    }
    row += 1;
    if (cells.length !== header.length) {
      yield { row, broken: `line ${lineNumber}: ${cells.length} cells under a header of ${header.length} columns` };
      continue;
    }
    const named = Object.fromEntries(header.map((name, index) => [name, cells[index]!.trim()]));
    yield { row, cells: named as Record<Column, string> };
  }
  if (!header) throw new MaestroError('invalid_request', 'the file is empty; its first line should name the columns');
}

function splitCells(line: string): string[] {
  if (!line.includes('"')) return line.split(',');
  const cells: string[] = [];
  // A comma before each cell: a first one that is empty would else swallow that of the second.
  for (const match of `,${line}`.matchAll(/,(?:"((?:[^"]|"")*)"|([^,]*))/g)) {
    cells.push(match[1] === undefined ? match[2]! : match[1].replaceAll('""', '"'));
  }
  return cells;
}
