/** Many random runs of the simulator with faults: `npm run test:seeds` plays seeds 1 to 1 000, `-- 7` that one, `-- 1 5000` a range. */
import { progressLine } from '../../src/cli/output.js';
import { checkFleetSeed, checkSeed } from './check.js';

const [from = 1, to = process.argv.length > 2 ? from : 1_000, ...more] = process.argv.slice(2).map(Number);
if (more.length > 0 || !(Number.isInteger(from) && Number.isInteger(to) && from >= 1 && to >= from)) {
  console.error('error: give nothing, one seed, or the first and the last of a range: npm run test:seeds -- 1 5000');
  process.exit(2);
}
const progress = progressLine();
let failed = 0;
for (let seed = from; seed <= to; seed++) {
  const wrong = [...checkSeed(seed), ...checkFleetSeed(seed)];
  if (wrong.length > 0) {
    failed += 1;
    console.error(`seed ${seed}: ${wrong.slice(0, 5).join('; ')}\n  again: npm run test:seeds -- ${seed}`);
  }
  progress.update(`seed ${seed} of ${to}`);
}
progress.done(`${to - from + 1} seeds, ${failed} with a violated invariant`);
process.exitCode = failed > 0 ? 1 : 0;
