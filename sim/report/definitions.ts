/** What each number of the report means and from where it is measured; printed in every form of the report. */
export const DEFINITIONS: { metric: string; unit: string; meaning: string }[] = [
  {
    metric: 'attainment',
    unit: 'share',
    meaning:
      'Workflows completed within their deadline, of all that arrived after the warm-up. Failed, rejected and unfinished workflows are misses.',
  },
  {
    metric: 'goodput',
    unit: 'workflows/s',
    meaning:
      'Workflows that met their deadline per second of the measured window (run without warm-up, drain included).',
  },
  {
    metric: 'workflow duration',
    unit: 'ms',
    meaning:
      'From the arrival of the workflow to the end of its last stage, tools and thinking included. Completed workflows only.',
  },
  {
    metric: 'slowdown',
    unit: 'ratio',
    meaning:
      'Workflow duration over the duration of the same workflow alone on an idle, warm fleet. Completed workflows only.',
  },
  {
    metric: 'TTFT',
    unit: 'ms',
    meaning:
      'From the moment the client sent the request to its first content token; queue wait and cold start included.',
  },
  {
    metric: 'TPOT',
    unit: 'ms',
    meaning: '(E2EL − TTFT) / (output tokens − 1), for completed requests of two tokens and more.',
  },
  {
    metric: 'ITL',
    unit: 'ms',
    meaning:
      'Gaps between successive content chunks at the client. The mean is exact; quantiles and std are pooled from a summary (p50, p99, max) of each request.',
  },
  {
    metric: 'E2EL',
    unit: 'ms',
    meaning: 'From the moment the client sent the request to its last byte. Completed requests only.',
  },
  {
    metric: 'queue wait',
    unit: 'ms',
    meaning: "In Maestro's own queue, from acceptance until an engine was chosen, as the gateway reports it.",
  },
  {
    metric: 'cold start',
    unit: 'ms',
    meaning:
      'From the choice of an engine until its weights were ready, as the gateway reports it. Only requests that waited.',
  },
  {
    metric: 'within targets, request goodput',
    unit: 'share, requests/s',
    meaning:
      'Completed requests within the TTFT and TPOT targets of their class; a target that is not set counts as met.',
  },
  {
    metric: 'KV reserved / max-token / used',
    unit: 'byte-seconds',
    meaning:
      'KV memory promised to stages, what promising prompt + max_tokens would have taken, and what they truly filled, each integrated over the whole run.',
  },
  {
    metric: 'KV overflow',
    unit: 'share',
    meaning: 'Windows of a node in which more KV memory was filled than was promised.',
  },
  {
    metric: 'where the time goes',
    unit: 'ms',
    meaning:
      'Workflow duration cut into queue, cold start, prefill (sent to first token, less both waits), decode, and time with no stage under way. Parallel stages share the moment.',
  },
];
