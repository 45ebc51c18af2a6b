import type { TraceRow } from '../schema.js';
import { blockTokensOf, hashRunsOf } from '../workflow.js';

/**
 * Sixty-four short words that the vocabularies of current models hold as one token with the space before them. A word and a space are
 * four bytes, the usual bytes a token, so the text has about the right length for servers that count tokens and for ones that count bytes.
 */
const WORDS = (
  'the and for are but not you all any can had her was one our out day get has him his how man new now old see two way who boy did ' +
  'its let put say she too use end big add ask far few got own run set try why yes yet act air arm art bad bag bar bed bit box bus buy car cat'
).split(' ');

/** Room for what the chat template adds around the text. */
const TEMPLATE_TOKENS = 4;

/**
 * Text of a stage's prompt: as many words as the row has prompt tokens. Rows that share leading blocks, or grow in the same session, get
 * the same leading text, so prefix caches see what the trace recorded. Blocks say it exactly; without them a session's rows are
 * prefixes of one endless text; a row with neither shares nothing.
 */
export function promptText(row: TraceRow): string {
  const wanted = Math.max(1, row.input_length - TEMPLATE_TOKENS);
  const parts: string[] = [];
  let written = 0;
  const blockTokens = blockTokensOf(row);
  for (const [firstId, count] of hashRunsOf(row)) {
    for (let id = firstId; id < firstId + count && written < wanted; id++) {
      const tokens = Math.min(blockTokens, wanted - written);
      parts.push(words(hash(`block ${blockTokens}`) ^ Math.imul(id, 0x9e3779b1), tokens));
      written += tokens;
    }
  }
  const seed = written > 0 || row.session_id === undefined ? hash(row.request_id) : hash(`session ${row.session_id}`);
  for (let chunk = 0; written < wanted; chunk++) {
    const tokens = Math.min(CHUNK_TOKENS, wanted - written);
    parts.push(words(seed ^ Math.imul(chunk + 1, 0x85ebca6b), tokens));
    written += tokens;
  }
  return parts.join('');
}

/** A tail is made in chunks of this many tokens, each from a seed of its own, so that a shorter text is a prefix of a longer one. */
const CHUNK_TOKENS = 64;

/** `count` words from a seed; the first words of a longer text are those of a shorter one. */
function words(seed: number, count: number): string {
  let state = mix(seed >>> 0) | 1;
  let text = '';
  for (let index = 0; index < count; index++) {
    // xorshift32 (Marsaglia).
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    text += `${WORDS[(state >>> 8) & 63]} `;
  }
  return text;
}

/** FNV-1a over UTF-16 units. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  return value;
}

/** Murmur3's finaliser: neighbouring seeds give unlike states. */
function mix(value: number): number {
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
