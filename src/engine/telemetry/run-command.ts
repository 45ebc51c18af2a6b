import { execFile } from 'node:child_process';

/** Runs a program without a shell and returns what it printed; rejects when it fails, prints too much or outlives its time. */
export type RunCommand = (file: string, args: readonly string[], timeoutMs: number) => Promise<string>;

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * A hung driver makes `nvidia-smi` hang for good, so it is killed hard at its limit. Text on stderr is no failure: a warning about a corrupt
 * infoROM comes with good data.
 */
export const runCommand: RunCommand = (file, args, timeoutMs) =>
  new Promise((resolve, reject) => {
    execFile(
      file,
      [...args],
      { timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: MAX_OUTPUT_BYTES, windowsHide: true },
      (error, stdout, stderr) => {
        if (!error) resolve(stdout);
        else reject(commandError(file, timeoutMs, error, stderr));
      },
    );
  });

function commandError(
  file: string,
  timeoutMs: number,
  error: Error & { code?: unknown; killed?: boolean },
  stderr: string,
): Error {
  if (error.code === 'ENOENT') return new Error(`${file} is not installed or not in PATH`);
  if (error.killed) return new Error(`${file} did not answer within ${timeoutMs} ms; the driver may hang`);
  const said = stderr.trim().split('\n')[0];
  return new Error(`${file} failed${said ? `: ${said}` : ` (${error.message.split('\n')[0]})`}`);
}
