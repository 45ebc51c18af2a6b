import { nextInt, SeededRng } from '../src/model/rng.js';
import type { TraceRow } from '../traces/schema.js';

/**
 * A made-up trace with something to learn: writers repeat themselves, critics are short and call a tool after long texts, and both differ by model.
 * Three writers and a critic a workflow; `tasks` workflows of `template`.
 */
export function predictionTrace(tasks: number, template = 'essay', seed = 1): TraceRow[] {
  const rng = new SeededRng(seed);
  return Array.from({ length: tasks }, (_, task) => {
    const model = nextInt(rng, 2) === 0 ? 'small' : 'large';
    const size = (model === 'large' ? 400 : 150) * Math.exp(rng.next());
    const id = (step: number) => `${template}-${task}/${step}`;
    return [0, 1, 2, 3].map((step): TraceRow => {
      const isCritic = step === 3;
      const length = isCritic ? 20 + nextInt(rng, 10) : Math.round(size * (0.9 + 0.2 * rng.next()));
      return {
        ...{ request_id: id(step), workflow_id: `${template}-${task}`, template, model, task: `task-${task}` },
        ...(step > 0 && { wait_for: [id(step - 1)] }),
        ...{ role: isCritic ? 'critic' : 'writer', input_length: 300 + step * 200, output_length: length },
        ...{ last_message_kind: 'user' as const },
        ...(isCritic && { tools_offered: 2, tool_called: size > 350 }),
      };
    });
  }).flat();
}
