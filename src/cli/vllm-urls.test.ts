import { describe, expect, it } from 'vitest';
import { discoveredNodes, parseUrls } from './vllm-urls.js';

describe('--vllm', () => {
  it('takes URLs and sockets, and makes a node of each host', () => {
    const urls = parseUrls('http://10.0.0.5:8000, http://10.0.0.5:8001/,unix:/run/vllm.sock');
    expect(discoveredNodes(urls)).toMatchObject([
      { nodeId: '10.0.0.5', engines: [{ engineId: '10.0.0.5:8000' }, { engineId: '10.0.0.5:8001' }] },
      { nodeId: '127.0.0.1', engines: [{ engineId: '/run/vllm.sock' }] },
    ]);
  });

  it.each(['http://a:8000,http://a:8000', 'http://a:8000,http://A:8000/', 'unix:/x,unix:/x'])(
    'refuses a server that is named twice: %s',
    (text) => expect(() => parseUrls(text)).toThrow('is named twice'),
  );
});
