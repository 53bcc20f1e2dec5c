// What a process that was started as the egress process may do. usage: node probe.js; it reads attempts from its channel, a line each,
// and writes what came of them.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { Worker } from 'node:worker_threads';

const ATTEMPTS = {
  read: (path) => readFileSync(path, 'utf8'),
  list: (path) => readdirSync(path).join(),
  write: (path) => writeFileSync(path, ''),
  run: (path) => execFileSync(path).toString(),
  thread: (code) => void new Worker(code, { eval: true }),
  environment: () => Object.keys(process.env).join(),
};

const channel = new Socket({ fd: 3 });
channel.on('close', () => process.exit(0));
channel.setEncoding('utf8').on('data', (lines) => {
  for (const line of lines.trim().split('\n')) {
    const [what, argument] = JSON.parse(line);
    let outcome;
    try {
      outcome = String(ATTEMPTS[what](argument));
    } catch (error) {
      outcome = error.code;
    }
    channel.write(`${JSON.stringify(outcome)}\n`);
  }
});
