import { readFileSync } from 'node:fs';
import type { TreeModel } from '../../src/predict/onnx/model.js';
import { readModel } from '../../src/predict/onnx/read.js';
import { forestModel, type StageModel } from '../../src/predict/stage-model.js';

/** A sweep runs many cells in one process; each reads the same few files. */
const files = new Map<string, TreeModel>();

/** The model in an ONNX file. Throws where it is none, or was made for other features. */
export function loadStageModel(path: string): StageModel {
  let model = files.get(path);
  if (!model) {
    model = readModel(readFileSync(path));
    files.set(path, model);
  }
  return forestModel(model);
}
