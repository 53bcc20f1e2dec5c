// What the benchmarks share: a server in a process of its own, a query over HTTP, and quantiles.
import { spawn } from 'node:child_process';
import { request } from 'node:http';
import { createInterface } from 'node:readline';

/** Starts a server in a folder of its own; resolves when it says that it listens. */
export async function start(name, args, cwd, env = process.env) {
  const child = spawn(process.execPath, args, { cwd, env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const url = await new Promise((resolve, reject) => {
    const lines = createInterface(child.stdout);
    lines.on('line', (line) => {
      const { msg, url } = JSON.parse(line);
      if (msg !== 'listening') return;
      lines.close();
      resolve(url);
    });
    void exited.then((code) => reject(new Error(`${name} ended with ${code}`)));
  });
  // What it logs from now on is taken, and not looked at.
  child.stdout.resume();
  return {
    name,
    url,
    stop: () => {
      child.kill('SIGTERM');
      return exited;
    },
  };
}

/** Runs `sql`; resolves with status and body. `fields` are the request's others. */
export function query(url, agent, sql, fields = {}) {
  return send(url, agent, 'POST', '/v1/query', { sql, ...fields });
}

/** One request with a JSON body; resolves with status and body. */
export function send(url, agent, method, path, fields) {
  const body = JSON.stringify(fields);
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const outgoing = request(`${url}${path}`, { method, agent, headers }, (incoming) => {
      const pieces = [];
      incoming.on('data', (piece) => pieces.push(piece));
      incoming.once('error', reject);
      incoming.once('end', () => resolve({ status: incoming.statusCode, body: Buffer.concat(pieces) }));
    });
    outgoing.once('error', reject);
    outgoing.end(body);
  });
}

export function quantile(values, q) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

export function median(values) {
  return quantile(values, 0.5);
}
