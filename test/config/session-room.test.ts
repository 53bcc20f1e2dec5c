import { expect, test } from 'vitest';
import { loadText } from './text.ts';

const warned = (text: string) => {
  const loaded = loadText(text);
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  return loaded.warnings.map(({ path, message }) => `${path}: ${message}`);
};

test('more sessions than there is memory for are warned of where the file asks for them, with the number there is room for', () => {
  expect(warned('sessions: {max: 3}')).toEqual([
    'sessions.max: budget.memory has room for 2 sessions beside the pools: each may take 960MB',
  ]);
  expect(warned('sessions: {max: 2}')).toEqual([]);
  expect(warned('sessions: {memory_limit: 1GB}')).toEqual([]);
  expect(warned('sessions: {max: 1, memory_limit: 3GB}')[0]).toContain('room for 0 sessions');
  expect(warned('budget: {memory: 32GB}\nsessions: {max: 20}')).toEqual([]);
});
