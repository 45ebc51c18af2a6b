// The live page: asks the gateway that serves it what its fleet does, and shows it. What comes from there is only ever set as text.

const READ_EVERY_MS = 2000;
const HISTORY_MS = 600_000;
const RECENT_MS = 300_000;
const KEY_NAME = 'maestro-key';
const STATES = {
  running: 'awake',
  draining: 'being emptied',
  'falling-asleep': 'falling asleep',
  sleeping: 'asleep, weights in host memory',
  'sleeping-deep': 'asleep, weights dropped',
  waking: 'waking',
  down: 'does not answer',
  failed: 'out of service',
  leaving: 'leaves the fleet',
};

const holdsMemory = (state) => state === 'running' || state === 'draining' || state === 'leaving';

const stateOf = ({ state, weights }) =>
  state === 'down' && weights === 'remote' ? 'weights are being fetched' : (STATES[state] ?? state);

const $ = (id) => document.getElementById(id);
/** Readings of the last minutes: calls that run and wait, and ended workflows by result. */
const history = [];

function element(name, { text, className, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const number = (value) => Math.round(value).toLocaleString('en');
const percent = (share) => `${(100 * share).toFixed(share < 0.995 ? 1 : 0)} %`;
const gibibytes = (bytes) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** Workflows that are over, by class and result, as the metrics page counts them. */
function endedByClass(page) {
  const found = {};
  for (const line of page.split('\n')) {
    if (!line.startsWith('maestro_workflows_total{')) continue;
    const [sloClass, result] = ['class', 'result'].map((label) => new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1]);
    found[sloClass] ??= {};
    found[sloClass][result] = Number(line.slice(line.lastIndexOf(' ')));
  }
  return found;
}

function summed(byClass) {
  const sums = {};
  for (const results of Object.values(byClass))
    for (const [result, count] of Object.entries(results)) sums[result] = (sums[result] ?? 0) + count;
  return sums;
}

/** In time, of all that ended and were not given up by their clients; undefined of none. */
function share(results, before = {}) {
  const since = (name) => (results[name] ?? 0) - (before[name] ?? 0);
  const ended = since('in_time') + since('late') + since('failed');
  return ended > 0 ? { ended, inTime: since('in_time') / ended } : undefined;
}

function tile(name, value, note = '', className = '') {
  return element(
    'div',
    { className: 'tile' },
    element('span', { className: 'quiet', text: name }),
    element('b', { text: value, className }),
    element('span', { className: 'quiet', text: note }),
  );
}

function counted(count, what) {
  return `${number(count)} ${what}${count === 1 ? '' : 's'}`;
}

function showTiles(fleet, results) {
  const nowMs = history.at(-1).atMs;
  const before = history.find(({ atMs }) => atMs >= nowMs - RECENT_MS);
  const recent = share(results, before.results);
  const all = share(results);
  const grade = (part) => (part.inTime >= 0.95 ? 'good' : part.inTime >= 0.8 ? 'fair' : 'poor');
  const { kv, coldStarts, queued, engines } = fleet;
  const waiting = Object.values(queued).reduce((sum, count) => sum + count, 0);
  const running = engines.reduce((sum, { leases }) => sum + leases, 0);
  $('tiles').replaceChildren(
    recent
      ? tile(
          `in time, last ${duration((nowMs - before.atMs) / 1000)}`,
          percent(recent.inTime),
          `${counted(recent.ended, 'run')} ended`,
          grade(recent),
        )
      : tile('in time, lately', '–', 'no run ended since this page was opened'),
    all
      ? tile('in time, since start', percent(all.inTime), `${counted(all.ended, 'run')} ended`, grade(all))
      : tile('in time, since start', '–', 'no run has ended'),
    tile('runs open', number(fleet.openWorkflows), 'begun and not over'),
    tile('calls waiting', number(waiting), 'in our queue', waiting > running && waiting > 10 ? 'fair' : ''),
    tile('calls at engines', number(running), 'held for a wake included'),
    kv.maxTokenByteSeconds > 0
      ? tile(
          'KV memory promised',
          percent(kv.reservedByteSeconds / kv.maxTokenByteSeconds),
          `of what max_tokens would take; ${percent(kv.usedByteSeconds / kv.maxTokenByteSeconds)} was used`,
        )
      : tile('KV memory promised', '–'),
    tile(
      'waits for weights',
      duration(coldStarts.requestSeconds),
      `all calls in sum; ${counted(coldStarts.count, 'wake')}`,
    ),
  );
}

function showCalls() {
  const first = history[0].atMs;
  const last = history.at(-1).atMs;
  const most = Math.max(1, ...history.flatMap(({ running, waiting }) => [running, waiting]));
  const line = (name) => {
    const points = history.map(({ atMs, [name]: value }) => {
      const x = last > first ? (1000 * (atMs - first)) / (last - first) : 1000;
      return `${x.toFixed(1)},${(154 - (148 * value) / most).toFixed(1)}`;
    });
    const drawn = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
    drawn.setAttribute('class', name);
    drawn.setAttribute('points', points.join(' '));
    return drawn;
  };
  $('calls').replaceChildren(line('running'), line('waiting'));
  $('calls-from').textContent = `${duration((last - first) / 1000)} ago`;
  $('calls-most').textContent = `top: ${number(most)}`;
}

function head(...names) {
  const cells = names.map(([text, className]) => element('th', { text, className, scope: 'col' }));
  return element('thead', {}, element('tr', {}, ...cells));
}

function row(...cells) {
  return element('tr', {}, ...cells.map((cell) => (cell instanceof Node ? cell : element('td', { text: cell }))));
}

const numberCell = (value) => element('td', { className: 'number', text: value === undefined ? '–' : number(value) });

function showClasses(byClass) {
  const rows = Object.entries(byClass).map(([name, results]) => {
    const all = share(results);
    return row(
      name,
      element('td', { className: 'number', text: all ? percent(all.inTime) : '–' }),
      ...['in_time', 'late', 'failed', 'cancelled'].map((result) => numberCell(results[result] ?? 0)),
    );
  });
  $('classes').replaceChildren(
    head(
      ['class'],
      ['in time', 'number'],
      ...['by the deadline', 'late', 'failed', 'left by the client'].map((name) => [name, 'number']),
    ),
    element('tbody', {}, ...rows),
  );
}

function showModels({ engines, queued }) {
  const models = [...new Set([...engines.map(({ model }) => model), ...Object.keys(queued)])].sort();
  const rows = models.map((model) => {
    const own = engines.filter((engine) => engine.model === model);
    const awake = own.filter(({ state }) => state === 'running').length;
    return row(
      model,
      `${awake} of ${own.length}`,
      numberCell(own.reduce((sum, { leases }) => sum + leases, 0)),
      numberCell(queued[model] ?? 0),
    );
  });
  $('models').replaceChildren(
    head(['model'], ['engines awake'], ['calls at engines', 'number'], ['waiting', 'number']),
    element('tbody', {}, ...rows),
  );
}

function bar(total, ...parts) {
  const pieces = parts.map((part) => {
    const piece = element('i');
    piece.style.width = `${Math.min(100, (100 * part) / total)}%`;
    return piece;
  });
  return element('span', { className: 'bar', 'aria-hidden': 'true' }, ...pieces);
}

/** KV memory that is promised, kept for agents in a tool call, and there. */
function memoryCell({ state, kvReservedTokens, kvKeptTokens, kvPoolTokens }) {
  const known = Number.isFinite(kvPoolTokens) && kvPoolTokens > 0;
  if (!known || !holdsMemory(state)) return element('td', { text: '–' });
  const kept = kvKeptTokens > 0 ? ` + ${number(kvKeptTokens)} kept` : '';
  return element(
    'td',
    {},
    bar(kvPoolTokens, kvReservedTokens, kvKeptTokens),
    `${number(kvReservedTokens)}${kept} of ${number(kvPoolTokens)} tokens`,
  );
}

function showNodes({ engines, gpus }) {
  const nodes = [...new Set(engines.map(({ nodeId }) => nodeId))];
  const sections = nodes.map((nodeId) => {
    const own = engines.filter((engine) => engine.nodeId === nodeId);
    const rows = own.map((engine) =>
      row(
        engine.engineId,
        engine.model,
        element('td', {}, element('span', { className: `chip ${engine.state}`, text: stateOf(engine) })),
        numberCell(engine.leases),
        numberCell(engine.running),
        numberCell(engine.waiting),
        memoryCell(engine),
      ),
    );
    const memory = gpus
      .filter((gpu) => gpu.nodeId === nodeId && gpu.totalBytes > 0)
      .map(({ gpu, usedBytes, totalBytes }) =>
        element(
          'p',
          { className: 'quiet' },
          bar(totalBytes, usedBytes),
          `GPU ${gpu}: ${gibibytes(usedBytes)} of ${gibibytes(totalBytes)} in our account`,
        ),
      );
    const table = element(
      'table',
      {},
      head(
        ['engine'],
        ['model'],
        ['state'],
        ['calls', 'number'],
        ['running', 'number'],
        ['queued in it', 'number'],
        ['KV memory promised'],
      ),
      element('tbody', {}, ...rows),
    );
    return element(
      'div',
      {},
      element('h3', { text: nodeId }),
      ...memory,
      element('div', { className: 'scroll' }, table),
    );
  });
  $('nodes').replaceChildren(...sections);
}

function showState(text, className) {
  $('state').textContent = text;
  $('state').className = `state ${className}`;
}

async function get(path) {
  const key = sessionStorage.getItem(KEY_NAME);
  const answer = await fetch(path, { cache: 'no-store', headers: key ? { authorization: `Bearer ${key}` } : {} });
  return { status: answer.status, text: await answer.text() };
}

/** The gateway asks for a key, or for another one. */
function askForKey() {
  const wrong = sessionStorage.getItem(KEY_NAME) !== null;
  sessionStorage.removeItem(KEY_NAME);
  $('live').hidden = true;
  $('key-form').hidden = false;
  showState(wrong ? 'this key is not known here' : 'a key is needed', wrong ? 'poor' : 'fair');
}

async function read() {
  const [fleetAnswer, ready, metrics] = await Promise.all([get('v1/maestro/fleet'), get('readyz'), get('metrics')]);
  if (fleetAnswer.status === 401) return askForKey();
  if (fleetAnswer.status !== 200) return showState(`the gateway answers with ${fleetAnswer.status}`, 'poor');
  const fleet = JSON.parse(fleetAnswer.text);
  const byClass = endedByClass(metrics.text);
  const results = summed(byClass);
  const atMs = Date.now();
  history.push({
    ...{ atMs, results, running: fleet.engines.reduce((sum, { leases }) => sum + leases, 0) },
    waiting: Object.values(fleet.queued).reduce((sum, count) => sum + count, 0),
  });
  while (history[0].atMs < atMs - HISTORY_MS) history.shift();
  $('key-form').hidden = true;
  $('live').hidden = false;
  if (ready.status === 200) showState('ready', 'good');
  else showState(`not ready: ${JSON.parse(ready.text).reason}`, 'poor');
  $('order').textContent = `order: ${fleet.policy}`;
  showTiles(fleet, results);
  showCalls();
  showClasses(byClass);
  showModels(fleet);
  showNodes(fleet);
}

async function loop() {
  if (document.visibilityState === 'visible' && $('key-form').hidden) {
    try {
      await read();
    } catch {
      showState('the gateway does not answer', 'poor');
    }
  }
  setTimeout(loop, READ_EVERY_MS);
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY_NAME, $('key').value);
  $('key').value = '';
  $('key-form').hidden = true;
});
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') history.length = 0;
});
void loop();
