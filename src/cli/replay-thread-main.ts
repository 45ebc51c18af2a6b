import { parentPort, workerData } from 'node:worker_threads';
import { type JudgeFleet, replayJudge } from '../../sim/portfolio/judge.js';
import { PORTFOLIO_CANDIDATES } from '../global/portfolio/candidates.js';
import type { ReplayRequest } from '../global/portfolio/replay.js';
import type { ReplayAnswer } from './replay-thread.js';

const judge = replayJudge(workerData as JudgeFleet, PORTFOLIO_CANDIDATES, () => performance.now());

parentPort!.on('message', (request: ReplayRequest) => {
  parentPort!.postMessage(answer(request));
});

function answer(request: ReplayRequest): ReplayAnswer {
  try {
    return { result: judge.evaluate(request) };
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
