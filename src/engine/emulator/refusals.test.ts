import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Call } from './http.js';
import { HttpError } from './http-error.js';
import { jsonBody } from './json-body.js';
import { parseChatRequest, parseCompletionRequest } from './request.js';

interface RefusalCase {
  readonly name: string;
  readonly path: string;
  readonly contentType: string | null;
  readonly body: string;
  readonly status: number;
  readonly answer: unknown;
}

const { cases } = JSON.parse(readFileSync(new URL('./testdata/refusals.json', import.meta.url), 'utf8')) as {
  cases: RefusalCase[];
};

async function refusalOf({ name, path, contentType, body }: RefusalCase): Promise<unknown> {
  const parser = name.startsWith('tools-');
  const context = {
    servedModelNames: ['tiny'],
    maxModelLen: 2048,
    autoToolChoice: parser,
    toolParser: parser,
    version: '0.29.0' as const,
  };
  const call = {
    request: { headers: contentType === null ? {} : { 'content-type': contentType } },
    body: async () => Buffer.from(body),
  } as unknown as Call;
  try {
    const parsed = await jsonBody(call);
    return path === '/v1/completions' ? parseCompletionRequest(parsed, context) : parseChatRequest(parsed, context);
  } catch (error) {
    if (error instanceof HttpError) return { status: error.status, answer: error.body };
    throw error;
  }
}

describe('refused requests, byte for byte as vLLM 0.29.0 answers them', () => {
  it.each(cases.map((each) => [each.name, each] as const))('%s', async (_name, each) => {
    expect(await refusalOf(each)).toEqual({ status: each.status, answer: each.answer });
  });

  it('refuses bytes that are not UTF-8 outside the envelope', async () => {
    const call = {
      request: { headers: { 'content-type': 'application/json' } },
      body: async () => Buffer.from([0x7b, 0xff, 0xfe]),
    } as unknown as Call;
    await expect(jsonBody(call)).rejects.toMatchObject({
      status: 400,
      body: { detail: 'There was an error parsing the body' },
    });
  });
});
