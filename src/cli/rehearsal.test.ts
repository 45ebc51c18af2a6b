import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config/load.js';
import { DEFAULT_GATEWAY_CONFIG } from '../gateway/index.js';
import { demoFleetPath } from './package-files.js';
import { rehearse } from './rehearsal.js';

const config = loadConfig(demoFleetPath());

function openSockets(): number {
  return process.getActiveResourcesInfo().filter((name) => name.startsWith('TCP')).length;
}

describe('rehearse', () => {
  it('answers requests until it is told to stop, and leaves nothing open', async () => {
    const before = openSockets();
    let asked = 0;
    const stopped = () => ++asked > 50;
    await rehearse({ config, gateway: DEFAULT_GATEWAY_CONFIG, model: undefined, stopped });
    // Each of the four at once asks before every request and once more at the end.
    expect(asked).toBe(54);
    await expect.poll(openSockets).toBe(before);
  });

  it('ends without a word where nothing works', async () => {
    const gateway = { ...DEFAULT_GATEWAY_CONFIG, headerLimitBytes: 1 };
    await rehearse({ config, gateway, model: undefined, stopped: () => false });
  });
});
