import { type LegendItem, SERIES_COLOURS, seriesClass } from '../report/charts/figure.js';
import { hasForesight } from './policy-names.js';

/** Those that a reader looks for get the first colours, in every chart the same. */
const KNOWN = ['maestro', 'edf', 'fcfs', 'srtf', 'llf', 'plas', 'fcfs-workflow'];
/** The last colour is grey, and all others share it. */
const COLOURED = SERIES_COLOURS - 1;
const GREY = seriesClass(COLOURED);

/** How each policy is drawn in the charts of one workload. */
export interface PolicyColours {
  /** Those with a colour of their own, in the order of the legend. */
  readonly coloured: readonly string[];
  colourOf(policy: string): string;
  /** Further classes of a line: thin where grey, dashed with foresight. */
  styleOf(policy: string): string;
  /** Every policy: colours first, then the grey ones. */
  readonly legend: readonly LegendItem[];
}

export function policyColours(policies: readonly string[]): PolicyColours {
  const coloured = [
    ...KNOWN.filter((name) => policies.includes(name)),
    ...policies.filter((name) => !KNOWN.includes(name)),
  ]
    .filter((name) => !hasForesight(name))
    .slice(0, COLOURED);
  const missing = KNOWN.map((_, index) => index).filter((index) => !policies.includes(KNOWN[index]!));
  // The colour follows the policy, not its rank; the others take what is left.
  const colours = new Map(
    coloured.map((name) => [
      name,
      seriesClass(KNOWN.includes(name) ? KNOWN.indexOf(name) : (missing.shift() ?? COLOURED)),
    ]),
  );
  const colourOf = (policy: string) => colours.get(policy) ?? GREY;
  const grey = policies.filter((name) => !colours.has(name));
  return {
    coloured,
    colourOf,
    styleOf: (policy) => (hasForesight(policy) ? 'thin dashed' : colours.has(policy) ? '' : 'thin'),
    legend: [...coloured, ...grey].map((label) => {
      return { label, swatch: colourOf(label), shape: hasForesight(label) ? ('dashed' as const) : ('line' as const) };
    }),
  };
}
