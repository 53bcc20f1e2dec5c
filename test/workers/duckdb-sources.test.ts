import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Attachment } from '../../src/workers/protocol.ts';
import { makeFolder } from '../support/temp.ts';
import { useRunFolders, useWorker } from './worker-harness.ts';

useRunFolders();
const worker = useWorker();

let folder: string;
let remove: () => Promise<void>;
const file = (name = 'a.duckdb'): Attachment => ({ kind: 'duckdb', alias: 'd', path: join(folder, name) });
const attached = (source = file()) => ({ attachments: [source], write: true });

/** In a process of its own it would be the same: DuckDB locks the file. */
async function open(name: string, sql: string): Promise<() => void> {
  const instance = await DuckDBInstance.create(join(folder, name));
  const connection = await instance.connect();
  await connection.run(sql);
  return () => {
    connection.closeSync();
    instance.closeSync();
  };
}

beforeAll(async () => {
  ({ path: folder, remove } = await makeFolder());
  const close = await open(
    'a.duckdb',
    `CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 42 AS id; CREATE VIEW v AS FROM s.t; CREATE VIEW evil AS FROM read_text('/etc/hostname')`,
  );
  close();
});
afterAll(() => remove());

it('tables and views of a DuckDB file are read', async () => {
  expect(await worker().rows('SELECT t.id, v.id FROM d.s.t, d.v', attached())).toEqual([[42, 42]]);
});

it('it is never written to, and its views open no other file', async () => {
  expect(await worker().failure('INSERT INTO d.s.t VALUES (1)', attached())).toMatchObject({ ok: false });
  expect(await worker().failure('FROM d.evil', attached())).toMatchObject({ code: 'FORBIDDEN' });
});

it('a file that is not there, is none of DuckDB, or that somebody writes to is SOURCE_UNAVAILABLE, without its place', async () => {
  const close = await open('busy.duckdb', 'CREATE TABLE t (a INT)');
  for (const name of ['none.duckdb', 'busy.duckdb', '.']) {
    const failed = await worker().failure('SELECT 1', attached(file(name)));
    expect(failed).toMatchObject({ code: 'SOURCE_UNAVAILABLE', members: { source: 'd' } });
    expect(failed.detail).not.toContain(folder);
  }
  close();
  expect(await worker().rows('SELECT count(*)::INT FROM d.t', attached(file('busy.duckdb')))).toEqual([[0]]);
});
