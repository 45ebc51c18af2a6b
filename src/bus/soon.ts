const settled = Promise.resolve();

/** Runs `callback` once the code that runs now has returned, before any I/O. What `queueMicrotask` does, without the async resource that Node makes for each. */
export function soon(callback: () => void): void {
  void settled.then(callback);
}
