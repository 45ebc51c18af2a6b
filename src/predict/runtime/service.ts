import { messageOf } from '../../model/error.js';

/** A model ready to run in ONNX Runtime. */
export interface OnnxSession {
  /** Runs `count` row-major rows; answers one row-major list of numbers for each output asked for. */
  run(rows: Float32Array, count: number): Promise<ReadonlyMap<string, ArrayLike<number> | undefined>>;
  release(): Promise<void>;
}

/** What is used of `onnxruntime-node`; an interface because the native module is optional. */
export interface OnnxRuntime {
  /** Rejects when the file is no model that this runtime can run. */
  open(file: Uint8Array, outputs: readonly string[]): Promise<OnnxSession>;
}

export type RuntimeProbe =
  | { readonly available: true; readonly runtime: OnnxRuntime }
  | { readonly available: false; readonly reason: string };

/** The part of `onnxruntime-node` that is used. Declared here, because the house must also compile where it is not installed. */
interface NativeModule {
  readonly InferenceSession: { create(file: Uint8Array, options: object): Promise<NativeSession> };
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => { readonly data: unknown };
}

interface NativeSession {
  readonly inputNames: readonly string[];
  run(
    inputs: Readonly<Record<string, unknown>>,
    outputs: readonly string[],
  ): Promise<Readonly<Record<string, { readonly data: unknown }>>>;
  release(): Promise<void>;
}

/** A variable, so that the compiler does not look for the module. */
const MODULE_NAME: string = 'onnxruntime-node';

/** Looks for the native module, loading it for the first time; `maestro doctor` tells the reason when it is missing. */
export async function probeOnnxRuntime(): Promise<RuntimeProbe> {
  try {
    const module = (await import(MODULE_NAME)) as NativeModule;
    return { available: true, runtime: { open: (file, outputs) => openSession(module, file, outputs) } };
  } catch (error) {
    const why = messageOf(error);
    return { available: false, reason: `onnxruntime-node is not installed or does not load: ${why}` };
  }
}

async function openSession(
  { InferenceSession, Tensor }: NativeModule,
  file: Uint8Array,
  outputs: readonly string[],
): Promise<OnnxSession> {
  const session = await InferenceSession.create(file, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    // A pool that spins burns a core while nothing happens.
    extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    logSeverityLevel: 3,
  });
  const [inputName = ''] = session.inputNames;
  return {
    async run(rows, count) {
      const table = new Tensor('float32', rows, [count, rows.length / count]);
      const results = await session.run({ [inputName]: table }, outputs);
      return new Map(outputs.map((name) => [name, results[name]?.data as ArrayLike<number> | undefined]));
    },
    release: () => session.release(),
  };
}
