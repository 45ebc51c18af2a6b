import { countTokens as countO200k } from 'gpt-tokenizer/encoding/o200k_base';

/** Vocabulary in which texts of sources without token counts are counted. */
export const VOCABULARY = 'o200k_base';

/** Texts that look like control tokens are counted as plain text. */
const OPTIONS = { disallowedSpecial: new Set<string>() };

/** Counts tokens and remembers long texts, because agents repeat whole prompts. */
export class TokenCounter {
  private readonly known = new Map<string, number>();

  count(text: string): number {
    if (text.length < 200) return countO200k(text, OPTIONS);
    let tokens = this.known.get(text);
    if (tokens === undefined) {
      tokens = countO200k(text, OPTIONS);
      if (this.known.size > 20_000) this.known.clear();
      this.known.set(text, tokens);
    }
    return tokens;
  }
}
