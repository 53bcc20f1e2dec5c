import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KEY_BYTES, signLink, verifyLink } from '../../src/egress/links.ts';

const key = randomBytes(KEY_BYTES);
const BASE = 'http://127.0.0.1:8481';
const ID = 'x-01234567-89ab-cdef-0123-456789abcdef';
const NOW = 1_800_000_000_000;

const exportId = fc.uuid().map((uuid) => `x-${uuid}`);
/** Any name that a file can have on disk. */
const part = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
  .filter((name) => !/[/\0]|\p{Surrogate}/u.test(name) && name !== '.' && name !== '..');
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
const file = fc.record({ exportId, path, expiresAt: fc.integer({ min: NOW + 1, max: NOW + 1e9 }) });
const linked = (link: string) => link.slice(BASE.length);

it('a link opens the file it was made for, whatever its name is, until it expires and not after', () => {
  fc.assert(
    fc.property(file, (wanted) => {
      const target = linked(signLink(key, BASE, wanted));
      expect(target).toMatch(/^[\x21-\x7e]+$/);
      expect(verifyLink(key, target, wanted.expiresAt - 1)).toEqual({
        ok: true,
        exportId: wanted.exportId,
        path: wanted.path,
      });
      expect(verifyLink(key, target, wanted.expiresAt)).toEqual({ ok: false, why: 'expired' });
    }),
  );
});

it('a link of which any character was changed opens nothing else', () => {
  fc.assert(
    fc.property(file, fc.nat(), fc.string({ minLength: 1, maxLength: 1 }), (wanted, at, character) => {
      const target = linked(signLink(key, BASE, wanted));
      const index = at % target.length;
      const changed = target.slice(0, index) + character + target.slice(index + 1);
      const verdict = verifyLink(key, changed, NOW);
      // Another way to write the same, such as %3d for %3D, is the same.
      if (verdict.ok) expect(verdict).toMatchObject({ exportId: wanted.exportId, path: wanted.path });
    }),
  );
});

it('a link signed with another key, for another file or until another time is forged', () => {
  const target = linked(signLink(key, BASE, { exportId: ID, path: 'a/b.csv', expiresAt: NOW + 5 }));
  const forged = { ok: false, why: 'forged' };
  expect(verifyLink(randomBytes(KEY_BYTES), target, NOW)).toEqual(forged);
  expect(verifyLink(key, target.replace('a/b.csv', 'a/c.csv'), NOW)).toEqual(forged);
  expect(verifyLink(key, target.replace(`expires=${NOW + 5}`, `expires=${NOW + 6}`), NOW)).toEqual(forged);
  expect(verifyLink(key, target.replace(/expires=\d+/, 'expires=1e99'), NOW)).toEqual(forged);
  expect(verifyLink(key, target.replace(/&signature=.*/, ''), NOW)).toEqual(forged);
  expect(verifyLink(key, `/${ID}/a/b.csv`, NOW)).toEqual(forged);
});

it('what can be no file of a finished export is unknown, whatever it is signed with', () => {
  const query = `?expires=${NOW + 5}&signature=x`;
  for (const target of [
    '',
    '/',
    '*',
    `http://127.0.0.1/${ID}/a.csv`,
    `/${ID}`,
    `/${ID}/`,
    `/${ID}.partial/a.csv`,
    `/.partial-${ID}/a.csv`,
    '/x-1/a.csv',
    `/${ID}//a.csv`,
    `/${ID}/a/`,
    `/${ID}/../a.csv`,
    `/${ID}/./a.csv`,
    `/${ID}/%2e%2e/a.csv`,
    `/${ID}/%2E./a.csv`,
    `/${ID}/a%2fb.csv`,
    `/${ID}/..%2f..%2fetc/passwd`,
    `/${ID}/a.csv%00`,
    `/${ID}/%ff`,
    `/${ID}/%`,
    `/%2e%2e/${ID}/a.csv`,
    `/${ID.replace('x', '%78')}/a.csv`,
  ]) {
    expect(verifyLink(key, `${target}${query}`, NOW), target).toEqual({ ok: false, why: 'unknown' });
  }
});

it('nobody makes a link to what is no file of an export', () => {
  for (const wrong of [
    { exportId: 'x-1' },
    { path: '' },
    { path: '../b' },
    { path: '/etc/passwd' },
    { path: 'a\0' },
    { path: '\ud800' },
    { expiresAt: Number.NaN },
    { expiresAt: -1 },
  ]) {
    expect(() => signLink(key, BASE, { exportId: ID, path: 'a', expiresAt: NOW, ...wrong })).toThrow(
      'no link can be made',
    );
  }
});
