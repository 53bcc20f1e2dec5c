// A program in place of a worker's, which breaks the protocol in the way that its name says.
import { spawn } from 'node:child_process';
import { openSync, readFileSync, readSync, symlinkSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';

const control = new Socket({ fd: 3 });
const data = new Socket({ fd: 4, writable: true });
control.on('close', () => {
  if (wrong !== 'closes-control') process.exit(0);
});
data.on('error', () => process.exit(0));

let wrong = 'silent';
let text = '';
control.on('data', (bytes) => {
  text += bytes.toString();
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
    const message = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    if (message.type === 'configure') configured(message);
    else if (message.type === 'run') misbehave(message.seq);
  }
});

function send(message) {
  control.write(`${JSON.stringify(message)}\n`);
}

function frame(seq, length, bytes = '') {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(seq, 0);
  header.writeUInt32BE(length, 4);
  data.write(Buffer.concat([header, Buffer.from(bytes)]));
}

function verdict(seq, bytes) {
  send({
    type: 'finished',
    seq,
    verdict: { ok: true, rows: 0, truncated: false },
    bytes,
    runMs: 0,
    peakMemoryBytes: 0,
  });
}

function configured({ worker: name, version }) {
  wrong = name;
  if (wrong === 'silent') return;
  if (wrong === 'talkative') {
    for (let line = 0; line < 10_000; line += 1) process.stderr.write(`line ${line}\n`);
    process.stderr.write('the end, without a newline', () => process.exit(1));
    return;
  }
  if (wrong === 'leaves-a-child') {
    const child = spawn('sleep', ['60'], { stdio: 'inherit', detached: true });
    process.stderr.write(`${child.pid}\n`, () => process.exit(3));
    return;
  }
  send({ type: 'ready', version: wrong === 'other-version' ? 1 : version, duckdb: 'none', node: 'none' });
}

function misbehave(seq) {
  switch (wrong) {
    case 'garbage-control':
      control.write('{"type": \0 nonsense\n');
      break;
    case 'unknown-message':
      send({ type: 'surprise' });
      break;
    case 'endless-line':
      control.write('x'.repeat(8 * 1024 * 1024));
      break;
    case 'garbage-data':
      data.write(Buffer.alloc(64, 0xff));
      break;
    case 'unasked-verdict':
      verdict(99, 0);
      break;
    case 'unasked-withdrawal':
      send({ type: 'withdrawn', seq: 99 });
      break;
    case 'unasked-bytes':
      frame(99, 3, 'abc');
      break;
    case 'too-many-bytes':
      frame(1, 3, 'abc');
      // When the bytes are surely there.
      setTimeout(() => verdict(1, 2), 100);
      break;
    case 'too-few-bytes':
      frame(1, 3, 'abc');
      verdict(1, 4);
      setTimeout(() => process.exit(0), 100);
      break;
    case 'unasked-pipe':
      send({ type: 'piping', seq: 99 });
      break;
    case 'unasked-end-of-pipe':
      send({ type: 'piped', seq });
      break;
    case 'no-pipe':
      send({ type: 'piping', seq });
      break;
    case 'link-for-a-pipe':
      symlinkSync('/dev/zero', 'result');
      send({ type: 'piping', seq });
      break;
    case 'file-for-a-pipe':
      writeFileSync('result', 'no pipe');
      send({ type: 'piping', seq });
      break;
    case 'twice':
      verdict(1, 0);
      verdict(1, 0);
      break;
    case 'maps-much':
      void touchMappedFiles();
      break;
    case 'loses-a-verdict':
      // The first statement is over and its verdict never left; the process dies of the second, which only reads.
      if (seq === 2) {
        writeFileSync('flight-recorder', flightRecord('running', seq));
        process.kill(process.pid, 'SIGKILL');
      }
      break;
    case 'closes-control':
      control.destroy();
      setInterval(() => undefined, 1_000);
      break;
  }
}

/** As src/workers/flight-recorder.ts writes it, of a statement that has written nothing. */
function flightRecord(phase, seq) {
  const phases = ['starting', 'idle', 'attaching', 'preparing', 'running', 'replying', 'cancelling'];
  const record = Buffer.alloc(16);
  record.writeUInt32BE(phases.indexOf(phase), 0);
  record.writeUInt32BE(1, 4);
  record.writeUInt32BE(seq, 8);
  return record;
}

/** Pages of files count as resident and not as data: with those of DuckDB's library they are more than what is never touched. */
async function touchMappedFiles() {
  await import('@duckdb/node-bindings');
  const memory = openSync('/proc/self/mem', 'r');
  const page = Buffer.alloc(1);
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) r.-p .* \/.*(?:node|\.so)/.exec(line) ?? [];
    if (start === undefined) continue;
    for (let at = Number.parseInt(start, 16); at < Number.parseInt(end, 16); at += 4_096)
      readSync(memory, page, 0, 1, at);
  }
  grow([]);
}

function grow(held) {
  held.push(Buffer.alloc(4 * 1024 * 1024, 1));
  setTimeout(() => grow(held), 50);
}
