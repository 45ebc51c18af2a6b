import { describe, expect, it } from 'vitest';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import { staticMedians } from '../../src/predict/training/medians.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { judgeCalls } from './judge-calls.js';
import { predictionReport } from './report.js';
import { predictReportJsonSchema, predictReportSchema } from './report-schema.js';
import { traceCalls } from './trace-calls.js';

describe('the report of maestro predict', () => {
  it('is as its schema says', () => {
    const history = traceCalls(predictionTrace(60));
    const report = predictionReport(
      judgeCalls(history, new OnlinePredictor({ blockTokens: 1 }), staticMedians(history)),
    );
    const printed = {
      maestro_predict_report: 1,
      model: { path: 'online', version: undefined },
      traces: ['t'],
      ...report,
    };
    const document: unknown = JSON.parse(JSON.stringify(printed));
    expect(predictReportSchema.parse(document)).toEqual(document);
    expect(predictReportSchema.safeParse({ ...printed, more: 1 }).success).toBe(false);
  });

  it('has its JSON Schema in the documentation; -u brings it up to date', async () => {
    const text = `${JSON.stringify(predictReportJsonSchema(), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot('../../docs/schemas/predict-report.json');
  });
});
