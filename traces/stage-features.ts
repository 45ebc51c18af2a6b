import type { StageFeatures } from '../src/model/stage.js';
import type { TraceRow } from './schema.js';

/** What a trace tells of a call before it runs, in the words of the predictors. */
export function stageFeaturesOf(row: TraceRow): StageFeatures {
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
    stream: true,
    lastMessageTokens: row.last_message_tokens,
    lastTool: row.last_tool,
    textGrams: row.text_grams,
    textVector: row.text_vector,
  };
}
