import { type ResourceLimits, Worker } from 'node:worker_threads';

/**
 * A thread with the code of a module beside the one that asks for it, from the source or from the build.
 *
 * @param base `import.meta.url` of the one that asks.
 * @param name Of the module, without its ending.
 */
export function threadOf(base: string, name: string, resourceLimits: ResourceLimits, data?: unknown): Worker {
  const fromSource = base.endsWith('.ts');
  const file = new URL(`./${name}.${fromSource ? 'ts' : 'js'}`, base);
  const options = { resourceLimits, workerData: data };
  if (!fromSource) return new Worker(file, options);
  // A thread does not inherit a loader of TypeScript; the one of the development tools takes a line to register.
  const code = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(file.href)}); });`;
  return new Worker(code, { ...options, eval: true });
}
