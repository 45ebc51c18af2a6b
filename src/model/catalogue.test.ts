import { describe, expect, it } from 'vitest';
import { findGpu, GPU_CATALOGUE, GPU_NAMES } from './gpu-catalogue.js';
import { findLlm, LLM_CATALOGUE, LLM_NAMES } from './llm-catalogue.js';

describe('findLlm', () => {
  it.each([
    ['llama-3.1-8b', 'llama-3.1-8b'],
    ['meta-llama/Llama-3.1-8B-Instruct', 'llama-3.1-8b'],
    ['meta-llama/Meta-Llama-3.1-8B-Instruct', 'llama-3.1-8b'],
    ['neuralmagic/Meta-Llama-3.1-70B-Instruct-FP8-dynamic', 'llama-3.1-70b'],
    ['llama-3.3-70b-fp8', 'llama-3.3-70b'],
    ['/models/Qwen3-32B-AWQ/', 'qwen3-32b'],
    ['Qwen/Qwen3-30B-A3B-Instruct-2507', 'qwen3-30b-a3b'],
    ['Qwen/Qwen3-Coder-30B-A3B-Instruct', 'qwen3-coder-30b-a3b'],
    ['Qwen/Qwen2.5-Coder-32B-Instruct', 'qwen2.5-32b'],
    ['deepseek-ai/DeepSeek-V3', 'deepseek-v3'],
    ['deepseek-ai/DeepSeek-V3-0324', 'deepseek-v3'],
    ['deepseek-ai/DeepSeek-R1-Distill-Llama-8B', 'llama-3.1-8b'],
    ['openai/gpt-oss-120b', 'gpt-oss-120b'],
    ['mistralai/Mistral-7B-Instruct-v0.3', 'mistral-7b'],
    ['mistralai/Mixtral-8x7B-Instruct-v0.1', 'mixtral-8x7b'],
    ['google/gemma-3-27b-it', 'gemma-3-27b'],
    ['Llama 3.1 8B', 'llama-3.1-8b'],
    ['meta-llama/Meta-Llama-3-8B-Instruct', 'llama-3-8b'],
    ['meta-llama/Llama-2-70b-chat-hf', 'llama-2-70b'],
    ['nvidia/DeepSeek-R1-0528-NVFP4-v2', 'deepseek-v3'],
    ['deepseek-ai/DeepSeek-V3.1-Terminus', 'deepseek-v3'],
    ['Qwen/Qwen3-Next-80B-A3B-Instruct-FP8', 'qwen3-next-80b-a3b'],
    ['zai-org/GLM-4.6-FP8', 'glm-4.6'],
    ['mistralai/Mistral-Small-3.2-24B-Instruct-2506', 'mistral-small-3.1-24b'],
    ['mistralai/Mistral-Large-Instruct-2407', 'mistral-large'],
    ['MiniMaxAI/MiniMax-M2.1', 'minimax-m2.5'],
  ])('knows %s', (name, found) => {
    expect(findLlm(name)?.name).toBe(found);
  });

  it.each([
    '',
    'gpt-4o',
    'my-model',
    'deepseek',
    'deepseek-ai/DeepSeek-V3.2',
    'llama-3.1',
    'not-llama-3.1-8b',
    'fp8',
    '/',
  ])('guesses nothing from %j', (name) => {
    expect(findLlm(name)).toBeUndefined();
  });
});

describe('the LLM catalogue', () => {
  it('has unique names that find themselves, and shapes that make sense', () => {
    expect(new Set(LLM_NAMES).size).toBe(LLM_NAMES.length);
    for (const llm of LLM_CATALOGUE) {
      expect(findLlm(llm.name), llm.name).toBe(llm);
      expect(llm.activeParametersB, llm.name).toBeLessThanOrEqual(llm.parametersB);
      expect(llm.attentionHeads % llm.kvHeads, llm.name).toBe(0);
      expect(llm.fullAttentionLayers ?? 0, llm.name).toBeLessThan(llm.layers);
      if (llm.moe) expect(llm.moe.expertsPerToken, llm.name).toBeLessThan(llm.moe.experts);
      else expect(llm.activeParametersB, llm.name).toBe(llm.parametersB);
    }
  });

  it('has parameters that follow from the shapes of plain decoders', () => {
    for (const llm of LLM_CATALOGUE) {
      if (llm.mla || llm.stateBytesPerLayer) continue;
      const attention = 2 * llm.hiddenSize * llm.headDim * (llm.attentionHeads + llm.kvHeads);
      const experts = llm.moe ? llm.moe.experts + llm.moe.sharedExperts : 1;
      const layer = attention + experts * 3 * llm.hiddenSize * llm.ffnSize;
      const embedding = llm.vocabSize * llm.hiddenSize * (llm.tiedEmbeddings ? 1 : 2);
      const parametersB = (llm.layers * layer + embedding) / 1e9;
      // Llama-4 has dense layers in between and a vision part is not counted, hence the slack.
      expect(parametersB / llm.parametersB, llm.name).toBeGreaterThan(0.95);
      expect(parametersB / llm.parametersB, llm.name).toBeLessThan(1.05);
    }
  });
});

describe('findGpu', () => {
  it.each([
    ['h100-sxm', 'h100-sxm'],
    ['NVIDIA H100 80GB HBM3', 'h100-sxm'],
    ['NVIDIA A100-SXM4-80GB', 'a100-sxm-80gb'],
    ['NVIDIA A100 80GB PCIe', 'a100-pcie-80gb'],
    ['NVIDIA H200', 'h200-sxm'],
    ['NVIDIA L40S', 'l40s'],
    ['NVIDIA L4', 'l4'],
    ['NVIDIA GeForce RTX 4090', 'rtx-4090'],
    ['b200_sxm', 'b200-sxm'],
  ])('knows %s', (name, found) => {
    expect(findGpu(name)?.name).toBe(found);
  });

  it.each(['', 'NVIDIA A100-SXM4-40GB', 'NVIDIA H100 PCIe', 'NVIDIA H100 NVL', 'GB200', 'GH200', 'T4', 'l40'])(
    'takes %j for nothing else',
    (name) => {
      expect(findGpu(name)).toBeUndefined();
    },
  );

  it('finds every entry by its own name', () => {
    expect(GPU_NAMES.map((name) => findGpu(name))).toEqual(GPU_CATALOGUE);
  });
});
