import { isObject } from '../../model/json.js';
import type { Call, Routes } from './http.js';
import { envelope, type HttpError, type ValidationIssue, validationError } from './http-error.js';
import { jsonBody } from './json-body.js';

/** The LoRA adapters of one emulated server. Nothing is read from their folders: an adapter is a name. */
export class Adapters {
  /** Where each came from, by its name. */
  private readonly paths = new Map<string, string>();

  /** @param modules As in vLLM's `--lora-modules`: `NAME=PATH`. */
  constructor(modules: readonly string[] = []) {
    for (const module of modules) {
      const [, name, path] = /^([^=]+)=(.+)$/.exec(module) ?? [];
      if (name === undefined || path === undefined)
        throw new TypeError(`--lora-modules takes NAME=PATH, not ${module}`);
      this.paths.set(name, path);
    }
  }

  get names(): readonly string[] {
    return [...this.paths.keys()];
  }

  has(name: string): boolean {
    return this.paths.has(name);
  }

  pathOf(name: string): string | undefined {
    return this.paths.get(name);
  }

  load(name: string, path: string, inPlace: boolean): void {
    if (name === '' || path === '') throw invalid("Both 'lora_name' and 'lora_path' must be provided.");
    if (this.has(name) && !inPlace) {
      throw invalid(
        `The lora adapter '${name}' has already been loaded. If you want to load the adapter in place, set 'load_inplace' to True.`,
      );
    }
    this.paths.set(name, path);
  }

  unload(name: string): void {
    if (name === '') throw invalid("'lora_name' needs to be provided to unload a LoRA adapter.");
    if (!this.paths.delete(name)) {
      throw envelope(404, 'NotFoundError', `The lora adapter '${name}' cannot be found.`);
    }
  }
}

/** Endpoints of VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, as vLLM 0.29.0 answers. */
export function adapterRoutes(adapters: Adapters): Routes {
  return new Map([
    [
      '/v1/load_lora_adapter',
      {
        POST: async (call: Call) => {
          const body = await fieldsOf(call, ['lora_name', 'lora_path']);
          const [name, path] = [body['lora_name']!, body['lora_path']!];
          adapters.load(name, path, body['load_inplace'] === 'true');
          call.reply.text(200, 'text/plain; charset=utf-8', `Success: LoRA adapter '${name}' added successfully.`);
        },
      },
    ],
    [
      '/v1/unload_lora_adapter',
      {
        POST: async (call: Call) => {
          const name = (await fieldsOf(call, ['lora_name']))['lora_name']!;
          adapters.unload(name);
          call.reply.text(200, 'text/plain; charset=utf-8', `Success: LoRA adapter '${name}' removed successfully.`);
        },
      },
    ],
  ]);
}

/** The fields of a body, as text; those that are required must be text. */
async function fieldsOf(call: Call, required: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const body = await jsonBody(call);
  const fields = isObject(body) ? body : {};
  const issues: ValidationIssue[] = [];
  for (const name of required) {
    const value = fields[name];
    const loc = ['body', name];
    if (value === undefined) issues.push({ type: 'missing', loc, msg: 'Field required', input: body });
    else if (typeof value !== 'string')
      issues.push({ type: 'string_type', loc, msg: 'Input should be a valid string', input: value });
  }
  if (issues.length > 0) throw validationError(issues);
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)]));
}

function invalid(message: string): HttpError {
  return envelope(400, 'InvalidUserInput', message);
}
