/** `report.json`: one JSON document with a final newline. */
export function renderJson(report: object): string {
  return `${JSON.stringify(report, rounded, 2)}\n`;
}

/** Seven significant digits are more than any clock here gives, and keep the noise of summation out of the file. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(7)) : value;
}
