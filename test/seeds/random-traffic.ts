import type { Rng } from '../../src/model/rng.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows, type TraceWorkflow } from '../../traces/workflow.js';

const BLOCK_TOKENS = 16;
const MEAN_ANSWER_TOKENS = 120;
/** The shortest context that a randomly drawn engine takes, less an answer. */
const MAX_PROMPT_TOKENS = 7_000;

/** Single calls, fan-outs, and agents whose context grows from call to call, with short waits between them or tool calls of up to 40 s; each mostly of one model. */
export function randomTraffic(rng: Rng, models: readonly string[]): TraceWorkflow[] {
  const chance = (share: number) => rng.next() < share;
  const int = (from: number, to: number) => from + Math.floor(rng.next() * (to - from + 1));
  const exponential = (mean: number) => -mean * Math.log(1 - rng.next());
  const model = () => models[int(0, models.length - 1)]!;
  const meanGapMs = 50 + 1_500 * rng.next();
  const rows: TraceRow[] = [];
  let timestamp = 0;
  for (let index = 0, count = int(20, 80); index < count; index++) {
    timestamp += exponential(meanGapMs);
    const calls = chance(0.4) ? 1 : int(2, 10);
    const isAgent = chance(0.5);
    const own = model();
    const sloClass = chance(0.7) ? 'interactive' : 'batch';
    let promptTokens = int(50, 3_000);
    for (let call = 0; call < calls; call++) {
      const before = isAgent
        ? [call - 1].filter((each) => each >= 0)
        : [...Array(call).keys()].filter(() => chance(0.4));
      const answerTokens = 1 + Math.floor(exponential(MEAN_ANSWER_TOKENS));
      const tool = chance(0.5);
      rows.push({
        ...{ request_id: `w${index}/${call}`, workflow_id: `w${index}`, template: 'random', role: `r${call % 3}` },
        ...(before.length > 0
          ? { wait_for: before.map((each) => `w${index}/${each}`), delay: int(0, tool ? 40_000 : 500) }
          : { timestamp }),
        ...{ model: chance(0.8) ? own : model(), class: sloClass, tool_called: tool },
        ...{ input_length: promptTokens, output_length: answerTokens },
        ...(chance(0.3) ? { max_tokens: answerTokens + int(0, 2_000) } : {}),
        hash_runs: [[index * 1_000, Math.max(1, Math.floor(promptTokens / BLOCK_TOKENS))]],
        block_tokens: BLOCK_TOKENS,
      });
      promptTokens = isAgent ? Math.min(MAX_PROMPT_TOKENS, promptTokens + answerTokens + int(0, 800)) : int(50, 4_000);
    }
  }
  return groupWorkflows(rows);
}
