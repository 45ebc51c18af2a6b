import { describe, expect, it } from 'vitest';
import { summariseErrors, validateSilicon } from './silicon.js';

/**
 * Twelve of the closed loops that NVIDIA measured with vLLM (ai-dynamo/aiconfigurator, `silicon_sample.csv`, commit 095f58a5, Apache-2.0): dense models and mixtures, three GPUs.
 */
const FACTS = `backend,backend_version,model_path,system,precision,isl,osl,concurrency,tp_size,pp_size,attention_dp_size,moe_tp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms
vllm,0.12.0,Qwen/Qwen3-32B,h100_sxm,,1024,128,16,8,1,,1,1,110.491,10.706
vllm,,meta-llama/Llama-3.1-70B,b200_sxm,fp8,1024,1024,8,8,1,1,8,1,155.558,6.903
vllm,0.19.0,MiniMaxAI/MiniMax-M2.5,b300_sxm,fp4,1024,1024,16,4,1,1,4,1,59.839,7.572
vllm,,meta-llama/Llama-3.1-70B,h200_sxm,fp8,1024,1024,4,4,1,1,4,1,90.579,9.854
vllm,0.15.1,moonshotai/Kimi-K2.5,b200_sxm,int4,1024,1024,4,8,1,1,8,1,134.733,10.045
vllm,0.12.0,Qwen/Qwen3-235B-A22B-FP8,h200_sxm,fp8,2000,100,5,1,1,,4,1,493.74,42.56
vllm,0.19.0,MiniMaxAI/MiniMax-M2.5,b200_sxm,fp8,1024,1024,16,4,1,1,1,4,76.027,10.754
vllm,0.12.0,nvidia/Llama-3.1-8B-Instruct-FP8,h200_sxm,fp8,4000,100,48,2,1,,1,1,145.68,9.48
vllm,,meta-llama/Llama-3.1-70B,h100_sxm,fp8,1024,1024,4,4,1,1,4,1,80.5,11.776
vllm,0.18.0,openai/gpt-oss-120b,h200_sxm,fp4,1024,1024,4,4,1,1,4,1,46.121,3.935
vllm,0.19.0,moonshotai/Kimi-K2.5,b300_sxm,fp4,1024,1024,4,8,1,1,8,1,89.081,6.863
vllm,0.15.1,openai/gpt-oss-120b,b200_sxm,fp4,1024,1024,4,4,1,1,4,1,30.011,2.994`;

describe('closed loops measured on GPUs', () => {
  const rows = [...validateSilicon(FACTS)];

  it('come out of the simulated engine with about the measured time per token', () => {
    const pairs = rows.flatMap((row) => ('tpotMs' in row ? [[row.tpotMs, row.measuredTpotMs] as const] : []));
    expect(rows).toHaveLength(12);
    // One needs more memory than its GPUs have by our count.
    expect(pairs.length).toBeGreaterThanOrEqual(11);
    const { median, p90 } = summariseErrors(pairs);
    expect(median).toBeLessThan(0.15);
    expect(p90).toBeLessThan(0.4);
  });

  it('are skipped with a reason where the model does not know them', () => {
    const [head] = FACTS.split('\n');
    const odd = [
      'vllm,x,nobody/knows,h100_sxm,,1024,128,4,1,1,1,1,1,10,10',
      'vllm,x,Qwen/Qwen3-32B,abacus,,1024,128,4,1,1,1,1,1,10,10',
      'vllm,x,Qwen/Qwen3-32B,h100_sxm,,1024,128,,1,1,1,1,1,10,10',
    ];
    expect([...validateSilicon([head, ...odd].join('\n'))]).toEqual([
      { row: 1, skipped: 'unknown model nobody/knows' },
      { row: 2, skipped: 'unknown GPU abacus' },
      { row: 3, skipped: 'concurrency is not recorded' },
    ]);
  });

  it('need their columns', () => {
    expect(() => [...validateSilicon('a,b\n1,2')]).toThrow(/lacks the columns backend/);
  });
});
