import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ChildSpec, checkChildSpec, checkChildSpecs } from '../../src/supervisors/child-spec.ts';
import { InvalidOptionError } from '../../src/supervisors/expected.ts';
import { checkSupervisorOptions } from '../../src/supervisors/supervisor-options.ts';

const start = () => 'ignore' as const;
const refused = (spec: object) => () => checkChildSpec({ id: 'a', start, ...spec } as unknown as ChildSpec);

describe('a child spec', () => {
  test('has the defaults of OTP', () => {
    expect(checkChildSpec({ id: 'a', start })).toMatchObject({
      restart: 'permanent',
      type: 'worker',
      shutdown: 5_000,
    });
    expect(checkChildSpec({ id: 'a', start, type: 'supervisor' }).shutdown).toBe('infinity');
    expect(checkChildSpec({ id: 'a', start }).countsTowardsIntensity({ kind: 'normal' })).toBe(true);
  });

  test.each([
    [{ id: '' }, 'child spec: expected id to be a string without "/" that is not empty, got ""'],
    [{ id: 'a/b' }, 'child spec: expected id to be a string without "/" that is not empty, got "a/b"'],
    [{ id: 7 }, 'child spec: expected id to be a string without "/" that is not empty, got 7'],
    [{ start: 'node' }, 'child spec "a": expected start to be a function, got "node"'],
    [
      { restart: 'always' },
      'child spec "a": expected restart to be one of permanent, transient, temporary, got "always"',
    ],
    [{ type: 'actor' }, 'child spec "a": expected type to be one of worker, supervisor, got "actor"'],
    [
      { shutdown: 'brutal_kill' },
      'expected shutdown to be brutal-kill, infinity or milliseconds, got "brutal_kill"',
    ],
    [{ shutdown: -1 }, 'expected shutdown to be whole milliseconds from 0 to 2147483647, got -1'],
    [
      { shutdown: Number.POSITIVE_INFINITY },
      'expected shutdown to be whole milliseconds from 0 to 2147483647, got Infinity',
    ],
    [{ countsTowardsIntensity: true }, 'expected countsTowardsIntensity to be a function, got true'],
    [{ backoff: { initialMs: -1, maxMs: 1 } }, 'child spec "a": expected backoff.initialMs to be'],
    [{ restrat: 'permanent' }, 'child spec "a": expected options out of id, start, restart'],
  ])('refuses %j', (spec, message) => {
    expect(refused(spec)).toThrow(InvalidOptionError);
    expect(refused(spec)).toThrow(message);
  });

  test('takes every combination of what is allowed', () => {
    const allowed = fc.record({
      restart: fc.constantFrom('permanent' as const, 'transient' as const, 'temporary' as const),
      shutdown: fc.oneof(fc.constantFrom('brutal-kill' as const, 'infinity' as const), fc.nat()),
      type: fc.constantFrom('worker' as const, 'supervisor' as const),
    });
    fc.assert(
      fc.property(allowed, (spec) => {
        expect(checkChildSpec({ id: 'a', start, ...spec })).toMatchObject(spec);
      }),
    );
  });

  test('must not share its id with another', () => {
    expect(() =>
      checkChildSpecs('pool', [
        { id: 'a', start },
        { id: 'a', start },
      ]),
    ).toThrow('pool: expected child ids to be unique, got "a" twice');
  });
});

describe('the options of a supervisor', () => {
  test('have the defaults of OTP', () => {
    const options = checkSupervisorOptions({ name: 'pool', children: [] });
    expect(options).toMatchObject({ strategy: 'one_for_one', intensity: 1, periodMs: 5_000 });
  });

  test.each([
    [{ name: 'a/b' }, 'supervisor: expected name to be a string without "/"'],
    [
      { strategy: 'simple_one_for_one' },
      'expected strategy to be one of one_for_one, one_for_all, rest_for_one',
    ],
    [
      { intensity: 0.5 },
      'supervisor "pool": expected intensity to be a whole number from 0, or Infinity, got 0.5',
    ],
    [{ children: {} }, 'supervisor "pool": expected children to be an array of child specs, got an object'],
    [{ onEvent: 1 }, 'supervisor "pool": expected onEvent to be a function, got 1'],
    [{ period: 5 }, 'supervisor "pool": expected options out of name, strategy'],
  ])('refuse %j', (options, message) => {
    expect(() => checkSupervisorOptions({ name: 'pool', children: [], ...options } as never)).toThrow(
      message,
    );
  });
});
