import type { StepShape } from '../engine/step-time.js';
import { catalogueOf } from './catalogue.js';
import type { MaestroConfig } from './schema.js';
import { sizeEngine, stepShape } from './sizing.js';

/** What serves each model, by served name; of several engines of a model the first counts. Models of which nothing is known are left out. */
export function stepShapes(config: MaestroConfig): ReadonlyMap<string, StepShape> {
  const catalogue = catalogueOf(config);
  const shapes = new Map<string, StepShape>();
  for (const node of config.fleet.nodes) {
    for (const engine of node.engines) {
      const sizing = sizeEngine(engine, node, catalogue);
      const model = engine.servedName ?? engine.model;
      if (!sizing || shapes.has(model)) continue;
      shapes.set(model, stepShape(sizing, engine));
    }
  }
  return shapes;
}
