/** Top-level fields of a request body that the gateway looks at. Everything else passes unread. */
export const WANTED_FIELDS = [
  'model',
  'messages',
  'prompt',
  'input',
  'instructions',
  'previous_response_id',
  'system',
  'stream',
  'stream_options',
  'max_tokens',
  'max_completion_tokens',
  'max_output_tokens',
  'n',
  'best_of',
  'priority',
  'tools',
  'tool_choice',
  'response_format',
  'temperature',
  'reasoning_effort',
  'chat_template_kwargs',
  'metadata',
  'user',
  'safety_identifier',
  'prompt_cache_key',
  'cache_salt',
  'session_id',
  'service_tier',
  'thinking',
  'reasoning',
  'text',
  'kv_transfer_params',
  'ec_transfer_params',
  'vllm_xargs',
  'nvext',
] as const;
export type WantedField = (typeof WANTED_FIELDS)[number];

/** The names by their length: a key is compared with few of them, byte by byte, which costs less than to make a string of it. */
const BY_LENGTH: WantedField[][] = [];
for (const field of WANTED_FIELDS) {
  while (BY_LENGTH.length <= field.length) BY_LENGTH.push([]);
  BY_LENGTH[field.length]!.push(field);
}

/** The field that the bytes `[start, end)` name; undefined for any other. */
export function wantedField(bytes: Buffer, start: number, end: number): WantedField | undefined {
  const fields = BY_LENGTH[end - start];
  if (fields) for (const field of fields) if (isName(bytes, start, end, field)) return field;
  return undefined;
}

export function wantedFieldOf(name: string): WantedField | undefined {
  return BY_LENGTH[name.length]?.find((field) => field === name);
}

/** Do the bytes `[start, end)` spell the name, which is ASCII? */
export function isName(bytes: Buffer, start: number, end: number, name: string): boolean {
  if (end - start !== name.length) return false;
  for (let index = 0; index < name.length; index++) {
    if (bytes[start + index] !== name.charCodeAt(index)) return false;
  }
  return true;
}
