import { METADATA_KEY } from '../../predict/onnx/model.js';
import { ModelService, type ModelState } from '../../predict/service.js';
import { STAGE_MODEL_REQUIREMENTS } from '../../predict/stage-model.js';
import { type Finding, ok, warning } from './finding.js';

const SUBJECT = 'prediction';

/** A model file as it was found. */
export interface FoundModel {
  readonly file: string;
  readonly version: string | undefined;
  readonly state: ModelState;
}

/** Loads a model as a server would, and compares both evaluators on it where ONNX Runtime is installed. */
export async function examineModel(file: string): Promise<Finding> {
  const service = await ModelService.load({ ...STAGE_MODEL_REQUIREMENTS, path: file, backend: 'onnxruntime' });
  const { state } = service;
  await service.close();
  return checkModel({ file, version: service.model?.metadata.get(METADATA_KEY.version), state });
}

/** @param found The model that is to predict; undefined where none is wanted. */
export function checkModel(found: FoundModel | undefined): Finding {
  if (!found) return ok('model', SUBJECT, 'no model is wanted: what is learned online predicts');
  const { file, version, state } = found;
  if (state.kind !== 'serving') {
    return warning(
      'model',
      SUBJECT,
      `the model is refused (${state.reason}); what is learned online predicts`,
      'Train it again with `maestro train`, or give `prediction.model` another file, `default` or `none`.',
    );
  }
  const agreement = state.backend === 'onnxruntime' ? 'ONNX Runtime agrees with it' : 'ONNX Runtime is not there';
  return ok('model', SUBJECT, `model ${version ?? file} predicts, on the TypeScript evaluator; ${agreement}`);
}
