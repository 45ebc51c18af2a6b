import type { StageFeatures } from '../src/model/stage.js';
import type { TraceRow } from './schema.js';

const PLAIN_ROW: TraceRow = { request_id: 'plain', input_length: 1, output_length: 1 };
/** Of a call of which a trace says nothing but its lengths. There are many of them, and one is like the other. */
const PLAIN = featuresOf(PLAIN_ROW, true);
const PLAIN_WHOLE = featuresOf(PLAIN_ROW, false);

/** What a trace tells of a call before it runs, in the words of the predictors; whether its answer is streamed it does not tell. */
export function stageFeaturesOf(row: TraceRow, stream = true): StageFeatures {
  if (!isPlain(row)) return featuresOf(row, stream);
  return stream ? PLAIN : PLAIN_WHOLE;
}

function isPlain(row: TraceRow): boolean {
  return (
    row.tools_offered === undefined &&
    row.tool_called === undefined &&
    row.response_format === undefined &&
    row.last_message_kind === undefined &&
    row.temperature === undefined &&
    row.last_message_tokens === undefined &&
    row.last_tool === undefined &&
    row.text_grams === undefined &&
    row.text_vector === undefined
  );
}

function featuresOf(row: TraceRow, stream: boolean): StageFeatures {
  // Where the source says how a call chose, it had something to choose from.
  const toolsOffered = row.tools_offered ?? (row.tool_called === undefined ? 0 : 1);
  return {
    toolsOffered,
    toolChoice: toolsOffered > 0 ? 'auto' : 'none',
    responseFormat: row.response_format ?? 'text',
    lastMessageKind: row.last_message_kind ?? 'none',
    messageCount: 1,
    temperature: row.temperature,
    reasoning: false,
    stream,
    lastMessageTokens: row.last_message_tokens,
    lastTool: row.last_tool,
    textGrams: row.text_grams,
    textVector: row.text_vector,
  };
}
