import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FairQueue, type Waiter } from '../../src/actors/fair-queue.ts';

let tickets = 0;

function query(principal: string, ticket?: number): Waiter {
  tickets += 1;
  return { ticket: ticket ?? tickets, principal, queryId: `${principal}-${ticket ?? tickets}` };
}

/** Takes out and names those that begin, one after the other, while nothing ends. */
function begin(queue: FairQueue<Waiter>, running: Map<string, number>, count: number): string[] {
  return Array.from({ length: count }, () => {
    const [next] = queue.heads();
    if (next === undefined) return 'none';
    queue.serve(next);
    running.set(next.principal, (running.get(next.principal) ?? 0) + 1);
    return next.principal;
  });
}

function fairQueue(...principals: string[]) {
  const running = new Map<string, number>();
  const queue = new FairQueue<Waiter>((principal) => running.get(principal) ?? 0);
  for (const principal of principals) queue.add(query(principal));
  return { queue, running };
}

describe('what waits for a pool', () => {
  test('begins in the order it came, where one principal has sent it all', () => {
    const { queue } = fairQueue();
    for (const ticket of [3, 1, 2]) queue.add(query('a', ticket));
    expect(queue.inOrder().map(({ ticket }) => ticket)).toEqual([1, 2, 3]);
    expect(queue.heads().map(({ ticket }) => ticket)).toEqual([1]);
  });

  test('begins by turns, where several have', () => {
    const { queue, running } = fairQueue('a', 'a', 'a', 'b', 'c');
    expect(begin(queue, running, 6)).toEqual(['a', 'b', 'c', 'a', 'a', 'none']);
  });

  test('begins first for whoever has the fewest running', () => {
    const { queue, running } = fairQueue('a', 'a', 'b', 'b');
    running.set('a', 2);
    expect(begin(queue, running, 4)).toEqual(['b', 'b', 'a', 'a']);
  });

  test('begins by turns too when each ends before the next one begins', () => {
    const { queue } = fairQueue('a', 'a', 'a', 'b', 'b');
    const order = Array.from({ length: 5 }, () => {
      const [next] = queue.heads();
      queue.serve(next as Waiter);
      return next?.principal;
    });
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a']);
  });

  test('keeps the place of one that comes back', () => {
    const { queue, running } = fairQueue('a', 'a');
    const [first] = queue.heads();
    begin(queue, running, 1);
    queue.add(first as Waiter);
    expect(queue.heads()).toEqual([first]);
  });

  test('is turned away from the end of the longest lane', () => {
    const { queue } = fairQueue('a', 'a', 'b');
    expect(queue.surplus()?.principal).toBe('a');
    queue.add(query('b'));
    expect(queue.surplus()?.principal).toBe('b');
    expect(fairQueue().queue.surplus()).toBe(undefined);
  });
});

test('nothing is lost or served twice, and no lane gets ahead of another one that waits', () => {
  const action = fc.oneof(
    fc.record({ type: fc.constant('add' as const), principal: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ type: fc.constant('serve' as const) }),
    fc.record({ type: fc.constant('end' as const), principal: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ type: fc.constant('remove' as const), index: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const { queue, running } = fairQueue();
      const waiting = new Map<string, Waiter>();
      for (const step of actions) {
        if (step.type === 'add') {
          const item = query(step.principal);
          queue.add(item);
          waiting.set(item.queryId, item);
        } else if (step.type === 'serve') {
          const [next] = queue.heads();
          expect(next === undefined).toBe(waiting.size === 0);
          if (next === undefined) continue;
          const load = (principal: string) => running.get(principal) ?? 0;
          const ofItsOwn = [...waiting.values()].filter(({ principal }) => principal === next.principal);
          expect(next.ticket).toBe(Math.min(...ofItsOwn.map(({ ticket }) => ticket)));
          for (const { principal } of waiting.values()) {
            expect(load(next.principal)).toBeLessThanOrEqual(load(principal));
          }
          queue.serve(next);
          running.set(next.principal, load(next.principal) + 1);
          expect(waiting.delete(next.queryId)).toBe(true);
        } else if (step.type === 'end') {
          running.set(step.principal, Math.max(0, (running.get(step.principal) ?? 0) - 1));
        } else {
          const item = [...waiting.values()][step.index];
          expect(queue.remove(item?.queryId ?? 'unknown')).toBe(item);
          if (item !== undefined) waiting.delete(item.queryId);
        }
        expect(queue.size).toBe(waiting.size);
        expect(new Set(queue.inOrder())).toEqual(new Set(waiting.values()));
        expect(queue.inOrder()).toHaveLength(waiting.size);
      }
    }),
  );
});
