import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Edit, splice } from './splice.js';

/** A text and edits of it, made from pieces that stay and pieces that are replaced. */
const piece = fc.record({
  kept: fc.string({ unit: 'binary' }),
  removed: fc.string({ unit: 'binary' }),
  added: fc.string({ unit: 'binary' }),
});

it('changes what is to be changed, in place or not, and nothing else', () => {
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 6 }),
      fc.string(),
      fc.nat(60),
      fc.boolean(),
      (pieces, rest, slack, pooled) => {
        const before = Buffer.from(pieces.map(({ kept, removed }) => kept + removed).join('') + rest);
        const edits: Edit[] = [];
        let offset = 0;
        for (const { kept, removed, added } of pieces) {
          const start = offset + Buffer.byteLength(kept);
          offset = start + Buffer.byteLength(removed);
          edits.push({ start, end: offset, text: added });
        }
        const room = pooled ? Buffer.allocUnsafe(before.length + slack) : Buffer.alloc(before.length + slack);
        before.copy(room);
        const after = splice(room.subarray(0, before.length), room, edits);
        expect(after.toString()).toBe(pieces.map(({ kept, added }) => kept + added).join('') + rest);
        if (after.length <= room.length) expect(after.buffer).toBe(room.buffer);
      },
    ),
    { numRuns: 500 },
  );
});
