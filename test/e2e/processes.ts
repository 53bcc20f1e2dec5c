/** Processes and sockets as the kernel knows them (proc(5)): what a server says of itself is no evidence. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Processes whose parent is `pid`. */
export function childrenOf(pid: number): number[] {
  return allProcesses().filter((other) => parentOf(other) === pid);
}

/** Processes that work below a folder. */
export function processesIn(folder: string): number[] {
  return allProcesses().filter((pid) => {
    const cwd = attempt(() => readlinkSync(`/proc/${pid}/cwd`)) ?? '';
    return cwd === folder || cwd.startsWith(`${folder}/`);
  });
}

/** False for a zombie as well: it runs no more. */
export function isRunning(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && stat[0] !== 'Z';
}

export function commandLineOf(pid: number): string {
  return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
}

export function environmentOf(pid: number): string {
  return readFileSync(`/proc/${pid}/environ`, 'utf8').replaceAll('\0', '\n');
}

/** Milliseconds of CPU a process has used, all of its threads together. */
export function cpuMsOf(pid: number): number {
  const stat = statOf(pid) ?? [];
  return (Number(stat[11]) + Number(stat[12])) * 10; // utime and stime, in ticks of a hundredth
}

/** The files mapped into a process, its shared libraries among them. */
export function mappedFilesOf(pid: number): string[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n');
  return [...new Set(lines.map((line) => line.split(/\s+/)[5] ?? '').filter((path) => path.startsWith('/')))];
}

/** Open descriptors, without TCP connections: those are the clients'. */
export function descriptorsOf(pid: number): number {
  const connections = new Set(tcpSockets().map(({ inode }) => `socket:[${inode}]`));
  return readdirSync(`/proc/${pid}/fd`)
    .map((name) => attempt(() => readlinkSync(`/proc/${pid}/fd/${name}`)))
    .filter((target) => target !== undefined && !connections.has(target)).length;
}

/** Whether anybody listens on a TCP port of this machine. */
export function isListenedOn(port: number): boolean {
  return tcpSockets().some((socket) => socket.port === port && socket.state === LISTEN);
}

const LISTEN = '0A';

function tcpSockets(): { port: number; state: string; inode: string }[] {
  return ['/proc/net/tcp', '/proc/net/tcp6']
    .flatMap((file) => (attempt(() => readFileSync(file, 'utf8')) ?? '').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields.length > 9)
    .map(([, local = '', , state = '', , , , , , inode = '']) => ({
      port: Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16),
      state,
      inode,
    }));
}

function allProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function parentOf(pid: number): number | undefined {
  const stat = statOf(pid);
  return stat === undefined ? undefined : Number(stat[1]);
}

/** The fields behind the name: state, parent, ... */
function statOf(pid: number): string[] | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined; // It has just ended.
  }
}
