import { z } from 'zod';

/** A top-level field of a request body. */
const parameter = () =>
  z
    .string()
    .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, { error: 'must be a field of a request, such as temperature' })
    .refine((name) => !OUTPUT_LIMITS.includes(name), {
      error: 'must be written max_tokens, which stands for the output limit of every API',
    })
    .refine((name) => !OWN_PARAMETERS.includes(name), { error: 'must be left out: Maestro itself reads or sets it' });

/** What other APIs call `max_tokens`. */
const OUTPUT_LIMITS: readonly string[] = ['max_completion_tokens', 'max_output_tokens'];

/** Fields that say what is asked of whom, and those that are spliced in anyway. */
const OWN_PARAMETERS: readonly string[] = [
  ...['model', 'messages', 'prompt', 'input', 'stream', 'stream_options', 'previous_response_id'],
  ...['priority', 'kv_transfer_params', 'ec_transfer_params'],
];

const anyValue = () => z.unknown().meta({ unit: 'JSON value' });

const rules = z.strictObject({
  defaults: z
    .record(parameter(), anyValue().describe('The value.'))
    .default({})
    .describe('Values of fields that a request leaves out, where it asks for generated text.'),
  caps: z
    .record(parameter(), z.number().nonnegative().describe('The largest value.'))
    .default({})
    .describe('Largest values; what is above is lowered. `max_tokens` also bounds requests without a limit.'),
  fixed: z
    .record(parameter(), anyValue().describe('The value.'))
    .default({})
    .describe('Values that hold whatever a request says.'),
  drop: z
    .array(parameter())
    .default([])
    .describe(
      'Fields that are taken out, before anything else reads them (`user` and `metadata` then name no workflow).',
    ),
  refuse: z.array(parameter()).default([]).describe('Fields with which a request is answered 400; `null` is none.'),
});

/** What requests may ask of a model. `*` stands for every model; what a model's own rules say of a field goes before. */
export const parametersSchema = z.record(
  z.string().regex(/^(\*|[A-Za-z0-9][A-Za-z0-9._:/-]{0,126})$/, { error: 'must be that of a served model, or *' }),
  rules.describe('Rules of one model.'),
);
