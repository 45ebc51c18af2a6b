// A process that starts, serves and ends as `vllm serve` does, without an engine: argv are vLLM's, FAKE_* variables choose what goes wrong.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';

const flag = (name) => process.argv[process.argv.indexOf(name) + 1];

if (process.env.FAKE_REFUSES) {
  console.error(`fake: error: ${process.env.FAKE_REFUSES}`);
  process.exit(2);
}
// The engine under the API server: a process of its own in the same group.
const engine = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000); process.on("SIGTERM", () => {})'], {
  stdio: 'ignore',
});
console.log(`engine pid ${engine.pid}`);

const server = createServer((request, response) => {
  if (request.url === '/die') {
    console.error('EngineDeadError: EngineCore encountered an issue.');
    process.exit(0);
  }
  if (request.url === '/deaf') {
    // As vLLM's API server when its engine has died: the port is closed, and it waits for background tasks that never end.
    server.close();
    server.closeAllConnections();
    return;
  }
  if (request.url === '/health' && process.env.FAKE_SLOW_HEALTH) {
    console.log('asked for its health');
    setTimeout(() => response.end(), Number(process.env.FAKE_SLOW_HEALTH));
    return;
  }
  response.end(request.url === '/pids' ? JSON.stringify([process.pid, engine.pid]) : '');
});
if (process.env.FAKE_NEVER_SERVES) setInterval(() => {}, 1000);
else if (process.argv.includes('--uds')) server.listen(flag('--uds'));
else server.listen(Number(flag('--port')), flag('--host'));
process.on('SIGTERM', () => {
  if (!process.env.FAKE_STUBBORN) process.exit(0);
});
