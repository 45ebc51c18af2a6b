import type { ChoicePlan } from './generation.js';
import type { GenerationRequest, PromptSpec, ReplayHints } from './generation-request.js';
import { drawNaturalTokens, type OutputScript, type ScriptRequest, textScript, toolCallScript } from './output.js';
import { chainHashes, hashText, mix } from './tokens.js';

export interface PlanContext {
  readonly responseId: string;
  readonly blockSize: number;
  readonly seed: number;
  readonly garbage: boolean;
}

/** Decides, once and for all, what every choice of a request will say. Equal requests on equal servers get equal answers. */
export function planChoices(request: GenerationRequest, context: PlanContext): ChoicePlan[] {
  const plans: ChoicePlan[] = [];
  for (const [promptIndex, prompt] of request.prompts.entries()) {
    const promptSeed = seedOf(request, prompt, context.seed);
    const blockHashes = promptHashes(prompt, request.hints, context.blockSize);
    for (let sample = 0; sample < request.n; sample++) {
      plans.push({
        index: promptIndex * request.n + sample,
        externalId: request.kind === 'completion' ? `${context.responseId}-${promptIndex}` : context.responseId,
        script: scriptOf(request, prompt, mix(promptSeed + sample), context.garbage),
        promptTokens: prompt.tokens,
        promptIds: prompt.ids,
        blockHashes,
      });
    }
  }
  return plans;
}

function seedOf(request: GenerationRequest, prompt: PromptSpec, serverSeed: number): number {
  const whole = chainHashes(prompt.ids, Math.max(1, prompt.ids.length))[0] ?? 0;
  return hashText(`${request.model} ${whole}`, serverSeed ^ request.seed);
}

function scriptOf(request: GenerationRequest, prompt: PromptSpec, seed: number, garbage: boolean): OutputScript {
  const script: ScriptRequest = {
    seed,
    naturalTokens: naturalTokens(request, seed),
    maxTokens: request.maxTokens,
    stop: request.stop,
    includeStop: request.includeStop,
    echoed: prompt.text,
    json: request.json,
    garbage,
  };
  const tool = garbage ? undefined : calledTool(request, seed);
  return tool === undefined ? textScript(script) : toolCallScript(script, tool.name, tool.parameters);
}

/** With the end-of-sequence token. A length that the client states goes before the one drawn, and before `ignore_eos`. */
function naturalTokens(request: GenerationRequest, seed: number): number | undefined {
  const stated = request.hints.outputTokens;
  if (stated !== undefined) return Math.max(stated, request.minTokens > 0 ? request.minTokens + 1 : 1);
  if (request.ignoreEos) return undefined;
  return Math.max(drawNaturalTokens(seed), request.minTokens + 1);
}

function calledTool(request: GenerationRequest, seed: number): GenerationRequest['tools'][number] | undefined {
  const { tools, toolChoice, hints } = request;
  if (tools.length === 0 || toolChoice.kind === 'none') return undefined;
  if (toolChoice.kind === 'named') return tools.find((tool) => tool.name === toolChoice.name);
  const called = hints.toolCall ?? (toolChoice.kind === 'required' || mix(seed ^ 0x7001) % 2 === 0);
  if (called === false && toolChoice.kind !== 'required') return undefined;
  return tools.find((tool) => tool.name === called) ?? tools[mix(seed ^ 0x7002) % tools.length];
}

/** Hashes of the engine's blocks: from the text, or from the coarser blocks of a trace, each of which becomes several. */
function promptHashes(prompt: PromptSpec, hints: ReplayHints, blockSize: number): readonly (string | number)[] {
  const full = Math.floor(prompt.tokens / blockSize);
  if (hints.hashIds === undefined) return chainHashes(prompt.ids, blockSize).slice(0, full);
  const parts = Math.max(1, Math.round((hints.blockTokens ?? blockSize) / blockSize));
  if (parts === 1) return hints.hashIds.slice(0, full);
  return hints.hashIds.flatMap((id) => Array.from({ length: parts }, (_, part) => `${id}/${part}`)).slice(0, full);
}
