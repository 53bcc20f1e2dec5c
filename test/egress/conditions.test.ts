import { expect, it } from 'vitest';
import { httpDate, wantedOf } from '../../src/egress/conditions.ts';

const file = { size: 1_000, etag: '"a-1"', modifiedAt: 1_700_000_000_500 };
const LAST_MODIFIED = httpDate(file.modifiedAt);
const get = (headers: Record<string, string>) => wantedOf('GET', headers, file);
const part = (start: number, end: number) => ({ kind: 'part', start, end });
const WHOLE = { kind: 'whole' };
const UNCHANGED = { kind: 'unchanged' };

it('a range is a part, as far as the file goes', () => {
  expect(get({ range: 'bytes=0-0' })).toEqual(part(0, 0));
  expect(get({ range: 'bytes=10-' })).toEqual(part(10, 999));
  expect(get({ range: 'bytes=10-5000' })).toEqual(part(10, 999));
  expect(get({ range: 'bytes=-10' })).toEqual(part(990, 999));
  expect(get({ range: 'bytes=-5000' })).toEqual(part(0, 999));
});

it('a range with no byte of the file cannot be satisfied', () => {
  expect(get({ range: 'bytes=1000-' })).toEqual({ kind: 'unsatisfiable' });
  expect(get({ range: 'bytes=-0' })).toEqual({ kind: 'unsatisfiable' });
  expect(wantedOf('GET', { range: 'bytes=0-' }, { ...file, size: 0 })).toEqual({ kind: 'unsatisfiable' });
});

it('what is no single range of bytes is answered with all of it', () => {
  for (const range of [
    'bytes=',
    'bytes=b-a',
    'bytes=-',
    'bytes=7-5',
    'bytes=1-2-3',
    'rows=0-1',
    'bytes',
    'bytes=0-1,5-6',
  ]) {
    expect(get({ range }), range).toEqual(WHOLE);
  }
  expect(wantedOf('HEAD', { range: 'bytes=0-1' }, file)).toEqual(WHOLE);
});

it('a part is sent only to who has other parts of the same file', () => {
  expect(get({ range: 'bytes=5-', 'if-range': '"a-1"' })).toEqual(part(5, 999));
  expect(get({ range: 'bytes=5-', 'if-range': LAST_MODIFIED })).toEqual(part(5, 999));
  for (const ifRange of ['"a-2"', 'W/"a-1"', httpDate(0), 'now']) {
    expect(get({ range: 'bytes=5-', 'if-range': ifRange }), ifRange).toEqual(WHOLE);
  }
});

it('who has the file is not sent it again', () => {
  for (const tags of ['"a-1"', 'W/"a-1"', '"x", "a-1"', '*']) {
    expect(get({ 'if-none-match': tags, range: 'bytes=0-1' }), tags).toEqual(UNCHANGED);
  }
  expect(get({ 'if-none-match': '"x"', 'if-modified-since': LAST_MODIFIED })).toEqual(WHOLE);
  expect(get({ 'if-modified-since': LAST_MODIFIED })).toEqual(UNCHANGED);
  expect(get({ 'if-modified-since': httpDate(file.modifiedAt - 1_000) })).toEqual(WHOLE);
  expect(get({ 'if-modified-since': 'yesterday' })).toEqual(WHOLE);
});
