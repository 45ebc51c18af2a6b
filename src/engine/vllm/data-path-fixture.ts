import type { DataPath } from '../../bus/contract.js';

/** Test helper: the status of a GET over a data path. */
export function statusOf(dataPath: DataPath, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let answered = 0;
    dataPath.dispatch(
      { method: 'GET', path, headers: [], body: undefined },
      {
        onStart() {},
        onHead(status) {
          answered = status;
        },
        onData() {},
        onEnd: () => resolve(answered),
        onError: reject,
        onFault: reject,
      },
    );
  });
}
