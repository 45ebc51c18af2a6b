import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { ModelService } from '../service.js';
import { Forest } from '../trees/forest.js';
import { STAGE_OUTPUTS } from './model.js';
import { readModel } from './read.js';

interface Facts {
  /** null: missing. */
  readonly rows: readonly (readonly (number | null)[])[];
  /** What the library that trained the model predicts, by output. */
  readonly predictions: Readonly<Record<string, readonly number[]>>;
}

function testdata(name: string): string {
  return fileURLToPath(new URL(`testdata/${name}`, import.meta.url));
}

/** Files that the script of docs/predictors-external.md wrote, and the predictions of the models before they were converted. */
describe.each(['lightgbm', 'scikit-learn'])('a model made by %s', (name) => {
  const facts = JSON.parse(readFileSync(testdata(`${name}.json`), 'utf8')) as Facts;
  const rows = facts.rows.map((row) => Float64Array.from(row, (value) => value ?? Number.NaN));

  it('predicts here what it predicts there', () => {
    const { outputs } = readModel(readFileSync(testdata(`${name}.onnx`)));
    const forest = new Forest(outputs.map((output) => output.ensemble));
    const predicted = new Float64Array(outputs.length);
    expect(outputs.map((output) => output.name)).toEqual([...STAGE_OUTPUTS]);
    rows.forEach((row, index) => {
      forest.predict(row, 0, predicted);
      outputs.forEach((output, at) => {
        expect(predicted[at]).toBeCloseTo(facts.predictions[output.name]![index]!, 5);
      });
    });
  });

  it('is taken into service when its features are the ones expected', async () => {
    const service = await ModelService.load({
      path: testdata(`${name}.onnx`),
      features: ['prompt_tokens', 'calls so far', 'last_output'],
      schemaHash: 'fixture',
      outputs: ['log_tokens_q50', 'tool_probability'],
    });
    expect(service.state).toMatchObject({ kind: 'serving' });
    const predicted = await service.predict(rows[5]!);
    expect(predicted![0]).toBeCloseTo(facts.predictions['log_tokens_q50']![5]!, 5);
    expect(predicted![1]).toBeCloseTo(facts.predictions['tool_probability']![5]!, 5);
    await service.close();
  });
});
