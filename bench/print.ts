import { renderTable } from '../src/cli/output.js';

/** Prints rows of cells under these titles. Numbers stand right; the second column, which names what was tried, stands left. */
export function printTable(about: string, titles: readonly string[], rows: readonly string[][]): void {
  console.log(about);
  console.log(
    renderTable(
      titles.map((title, index) => ({ title, align: index === 1 ? 'left' : 'right' })),
      rows,
    ),
  );
}

export function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, each) => sum + each, 0) / numbers.length;
}
