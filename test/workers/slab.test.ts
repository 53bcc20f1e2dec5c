import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Slab } from '../../src/workers/slab.ts';

const PIECES = fc.array(fc.uint8Array({ maxLength: 300_000 }), { maxLength: 12 });

describe('copies in a slab', () => {
  test('are what was copied, each at a place of its own that any array can be laid over', () => {
    fc.assert(
      fc.property(PIECES, PIECES, (first, second) => {
        const slab = new Slab();
        const check = (pieces: readonly Uint8Array[]): ArrayBuffer[] => {
          const copies = pieces.map((piece) => slab.copy(piece));
          const buffers = slab.take();
          for (const [index, copy] of copies.entries()) {
            expect(Buffer.compare(copy, pieces[index] as Uint8Array)).toBe(0);
            expect(copy.byteOffset % 8).toBe(0);
            if (copy.length > 0) expect(buffers).toContain(copy.buffer);
          }
          return buffers;
        };
        const before = check(first);
        const others = check(second);
        expect(others.filter((buffer) => before.includes(buffer))).toEqual([]);
        slab.reuse(before);
        // The same sizes find the same buffers again.
        expect(check(first).every((buffer) => before.includes(buffer))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});
