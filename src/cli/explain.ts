import type { Command } from 'commander';
import { request } from 'undici';
import type { DecisionRecord } from '../bus/contract.js';
import { isTlsFailure } from '../engine/vllm/engine-tls.js';
import { MaestroError, messageOf, systemCodeOf } from '../model/error.js';
import type { CandidateScore } from '../model/fleet.js';
import { MiB } from '../model/units.js';
import { connectToTarget, keyOf, type TargetArguments, withTargetOptions } from './target.js';

/** `maestro explain <request-id>`: why one request went where it went. */
export function registerExplain(program: Command): void {
  const command = program
    .command('explain')
    .summary('why a request went where it went')
    .description(
      'Prints the decision record of one request: identity, prediction, queue, candidates with every score term, outcome.',
    )
    .argument(
      '<request-id>',
      'the x-request-id of the answer; "last" for the newest request (of the key) that has ended',
    );
  withTargetOptions(command, 'address of the gateway')
    .option('--json', 'print the record as one JSON document')
    .addHelpText(
      'after',
      '\nExample (in another terminal: maestro demo):\n  $ maestro explain last --target http://127.0.0.1:8080\n',
    )
    .action(async (requestId: string, options: TargetArguments & { readonly json?: boolean }) => {
      connectToTarget(options);
      const record = await fetchRecord(requestId, options);
      process.stdout.write(options.json ? `${JSON.stringify(record, null, 2)}\n` : renderDecision(record));
    });
}

async function fetchRecord(requestId: string, options: TargetArguments): Promise<DecisionRecord> {
  const key = keyOf(options);
  const url = `${options.target}/v1/maestro/requests/${encodeURIComponent(requestId)}`;
  let answer: Awaited<ReturnType<typeof request>>;
  try {
    answer = await request(url, { headers: key ? { authorization: `Bearer ${key}` } : {} });
  } catch (cause) {
    throw new MaestroError(
      'no_engine',
      isTlsFailure(systemCodeOf(cause))
        ? `The gateway at ${options.target} is not trusted, or does not trust us: ${messageOf(cause)}. Name the authority that signs its certificate with --cacert, and where it asks for one ours with --cert and --cert-key.`
        : `No gateway answers at ${options.target}. Start one with "maestro up" or name it with --target.`,
      { cause },
    );
  }
  const text = await answer.body.text();
  if (answer.statusCode === 404) {
    throw new MaestroError(
      'not_found',
      requestId === 'last'
        ? `No request${key ? ' of this key' : ''} has ended at ${options.target} yet.`
        : `The gateway at ${options.target} has no record of "${requestId}". It keeps the most recent requests only; the id is the x-request-id of the answer.`,
    );
  }
  if (answer.statusCode === 401) {
    throw new MaestroError(
      'invalid_api_key',
      `The gateway at ${options.target} ${key ? 'does not know this key' : 'asks for a key'}. Give --key, or set MAESTRO_API_KEY.`,
    );
  }
  if (answer.statusCode !== 200)
    throw new MaestroError('internal', `The gateway answered ${answer.statusCode}: ${text.slice(0, 300)}`);
  return JSON.parse(text) as DecisionRecord;
}

/** The record as text for a terminal. */
export function renderDecision(record: DecisionRecord): string {
  const { stage, context, prediction, outcome } = record;
  const lines: string[] = [];
  const row = (label: string, value: string) => lines.push(`${label.padEnd(12)} ${value}`);
  row('request', stage.stageId);
  const named = record.identitySource === 'none' ? 'the call named none' : `known by ${record.identitySource}`;
  row('workflow', `${stage.workflowId} (${stage.template}), ${named}`);
  row(
    'stage',
    `role ${stage.role}, stage ${context.stageIndex} of the workflow, invocation ${context.invocationIndex} of the role`,
  );
  row('model', stage.model);
  row(
    'class',
    `${stage.sloClass}, tenant ${stage.tenant}, deadline of the workflow ${fromArrival(stage.deadlineMs - stage.arrivalMs)}`,
  );
  const { q30, q50, q95 } = prediction.outputTokens;
  row(
    'predicted',
    `output ${round(q50)} tokens (q30 ${round(q30)}, q95 ${round(q95)}), KV bound ${round(prediction.kvTokens.bound)} tokens${bytesOf(prediction)}, ` +
      `service ${seconds(prediction.serviceMs)}, then ${seconds(prediction.remainingMs)} of the workflow; source: ${prediction.source}`,
  );
  row('order', `policy ${record.policy}, key ${round(record.orderKey)} (the lowest goes first)`);
  row('queued', record.queueMs === undefined ? 'never left the queue' : seconds(record.queueMs));
  if (record.engineId) {
    const coldStart = record.coldStartMs ? `, waited ${seconds(record.coldStartMs)} for the weights` : '';
    row('placed', `engine ${placeOf(record)} on node ${record.nodeId}, attempt ${record.attempts}${coldStart}`);
  }
  for (const candidate of record.placement?.candidates ?? []) {
    const terms = Object.entries(candidate.terms)
      .filter(([, ms]) => ms !== 0)
      .map(([name, ms]) => `${name} ${seconds(ms)}`);
    row(
      '',
      `${isChosen(candidate, record) ? '*' : ' '} ${placeOf(candidate)}: ${seconds(candidate.totalMs)}${terms.length ? ` = ${terms.join(' + ')}` : ''}`,
    );
  }
  const refusals = Object.entries(record.placement?.refusals ?? {}).filter(([, count]) => count > 0);
  if (refusals.length > 0) row('refused', refusals.map(([filter, count]) => `${count} by ${filter}`).join(', '));
  if (outcome) {
    const tokens = outcome.outputTokens === undefined ? '' : `, ${outcome.outputTokens} output tokens`;
    const first = outcome.ttftMs === undefined ? '' : `, first token after ${seconds(outcome.ttftMs)}`;
    row(
      'outcome',
      `${outcome.kind}${outcome.reason ? ` (${outcome.reason})` : ''}, HTTP ${outcome.httpStatus}${tokens}${first}, ${seconds(outcome.durationMs)} in all`,
    );
  } else {
    row('outcome', 'still running');
  }
  return `${lines.join('\n')}\n`;
}

function placeOf({ engineId = '', rank }: Pick<DecisionRecord, 'engineId' | 'rank'>): string {
  return rank === undefined ? engineId : `${engineId} rank ${rank}`;
}

function isChosen(candidate: CandidateScore, { engineId, rank }: DecisionRecord): boolean {
  return candidate.engineId === engineId && candidate.rank === rank;
}

function bytesOf({ kvBytes }: DecisionRecord['prediction']): string {
  if (!kvBytes) return '';
  const { bound, shared } = kvBytes;
  return ` (${(bound / MiB).toFixed(0)} MiB${shared > 0 ? `, ${(shared / MiB).toFixed(0)} of them a shared prefix` : ''})`;
}

/** A call may come when its workflow is late already. */
function fromArrival(ms: number): string {
  return ms < 0 ? `was ${seconds(-ms)} before this call came` : `${seconds(ms)} after this call came`;
}

function seconds(ms: number): string {
  return Math.abs(ms) < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function round(value: number): string {
  return Number.isFinite(value) ? String(Math.round(value)) : 'unknown';
}
