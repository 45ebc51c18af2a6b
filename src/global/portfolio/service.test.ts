import { expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import type { GlobalScheduler } from '../scheduler.js';
import type { Portfolio } from './portfolio.js';
import type { ReplayResult } from './replay.js';
import { PortfolioService, type ReplayWorker } from './service.js';

it('asks the replays of the new fleet once that has changed, and hears the former ones no more', async () => {
  const clock = new ManualClock();
  const heard: string[] = [];
  const answers: ((result: ReplayResult) => void)[] = [];
  const worker = (name: string): ReplayWorker => ({
    evaluate: () => {
      heard.push(`${name} is asked`);
      return new Promise((resolve) => answers.push(resolve));
    },
    close: async () => void heard.push(`${name} ends`),
  });
  const settings = { thinnings: [1], clearAlone: 4 };
  const portfolio = {
    plan: () => ({ budgetMs: 1 }),
    scored: ({ costMs }: ReplayResult) => void heard.push(`scored ${costMs}`),
    log: () => [{}],
    fleetChanged: () => heard.push('fleet changed'),
  } as unknown as Portfolio;
  const scheduler = { queues: { known: () => ({}) } } as unknown as GlobalScheduler;
  const logger = { debug: () => {}, info: () => {}, warn: () => {} } as never;
  const service = new PortfolioService({ clock, portfolio, scheduler, logger, timeScale: 1, worker: worker('old') });
  const answer = async (costMs: number) => {
    answers.pop()!({ scores: [], costMs });
    await new Promise((resolve) => setImmediate(resolve));
  };
  clock.advance(5_000);
  service.fleetChanged(settings, worker('new'));
  await answer(1);
  clock.advance(5_000);
  await answer(2);
  expect(heard).toEqual(['old is asked', 'fleet changed', 'old ends', 'new is asked', 'scored 2']);
  // One that cannot be modelled is not replayed; the order stays.
  service.fleetChanged(settings, undefined);
  clock.advance(10_000);
  expect(heard.slice(5)).toEqual(['fleet changed', 'new ends']);
  service.fleetChanged(settings, worker('third'));
  clock.advance(5_000);
  expect(heard.at(-1)).toBe('third is asked');
  await service.close();
  expect(heard.at(-1)).toBe('third ends');
});
