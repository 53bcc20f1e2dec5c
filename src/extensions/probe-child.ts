/**
 * One DuckDB operation in a process of its own, asked for and answered over the fork channel.
 *
 * The parent kills this process once it has the answer, when it takes too long, or when it has lost interest;
 * a native crash here is the parent's {@link ProbeError}, nothing more.
 */
import { DuckDBInstance } from '@duckdb/node-api';
import type { ProbeAnswer, ProbeRequest } from './probe.ts';

async function run(request: ProbeRequest): Promise<unknown> {
  const instance = await DuckDBInstance.create(':memory:', {
    // Only files signed by DuckDB's own key; community ones are signed by another, accepted by default.
    allow_community_extensions: 'false',
    autoinstall_known_extensions: 'false',
    autoload_known_extensions: 'false',
    ...(request.op === 'install' ? { extension_directory: request.directory } : {}),
  });
  const connection = await instance.connect();
  await connection.run('SET errors_as_json = true');
  const rows = async (sql: string) => (await connection.runAndReadAll(sql)).getRowObjectsJson();
  switch (request.op) {
    case 'describe': {
      const [version] = await rows('PRAGMA version');
      const [platform] = await rows('PRAGMA platform');
      return { version: version?.library_version, platform: platform?.platform };
    }
    case 'install': {
      const from = request.repository === undefined ? '' : ` FROM ${quoted(request.repository)}`;
      await connection.run(`INSTALL ${request.name}${from}`);
      return undefined;
    }
    case 'load': {
      await connection.run(`LOAD ${quoted(request.path)}`);
      const [row] = await rows(
        `SELECT extension_version FROM duckdb_extensions() WHERE loaded AND extension_name = ${quoted(request.name)}`,
      );
      return { extensionVersion: String(row?.extension_version ?? '') };
    }
  }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function refusal(error: unknown): ProbeAnswer {
  const text = error instanceof Error ? error.message : String(error);
  try {
    const { exception_type, exception_message } = JSON.parse(text) as Record<string, unknown>;
    return { ok: false, type: String(exception_type), message: String(exception_message) };
  } catch {
    return { ok: false, type: 'Error', message: text };
  }
}

async function answer(request: ProbeRequest): Promise<void> {
  const answered = await run(request).then((value): ProbeAnswer => ({ ok: true, value }), refusal);
  process.send?.(answered);
}

process.once('message', (request: ProbeRequest) => void answer(request));
// The parent is gone: nobody wants the answer, and SIGKILL ends a download that cannot be interrupted.
process.once('disconnect', () => process.kill(process.pid, 'SIGKILL'));
