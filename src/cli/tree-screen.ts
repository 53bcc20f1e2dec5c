/**
 * The tree on a terminal, drawn again as it changes: on the alternate screen, so that what was there before is there again at
 * the end. Below the tree stand the latest events.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { WriteStream } from 'node:tty';
import stringWidth from 'string-width';
import type { SupervisionNode } from '../supervisors/supervisor-handle.ts';
import { messageOf } from './exit.ts';
import { drawTree } from './tree-drawing.ts';
import { visible } from './visible.ts';

export interface TreeScreenOptions {
  readonly terminal: Pick<WriteStream, 'write' | 'columns' | 'rows' | 'on' | 'off'>;
  readonly title: string;
  readonly read: () => Promise<SupervisionNode>;
}

/** The alternate screen, without a cursor; and back (xterm, "DEC Private Mode"). */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const ERASE_LINE = '\x1b[K';
const ERASE_BELOW = '\x1b[J';
/** Milliseconds from one drawing to the next: a storm of crashes is drawn, not followed. */
const INTERVAL_MS = 100;
const KEPT_LINES = 200;

export class TreeScreen {
  readonly #options: TreeScreenOptions;
  readonly #lines: string[] = [];
  readonly #draw = () => this.#redraw();
  #tree: SupervisionNode | undefined;
  #problem: string | undefined;
  #reading = false;
  #again = false;
  #isOpen = false;

  constructor(options: TreeScreenOptions) {
    this.#options = options;
  }

  /** Reads the tree and draws it, soon. */
  refresh(): void {
    if (!this.#isOpen) this.#enter();
    this.#problem = undefined;
    this.#again = true;
    if (!this.#reading) void this.#read();
  }

  happened(line: string): void {
    this.#lines.push(line);
    this.#lines.splice(0, this.#lines.length - KEPT_LINES);
    this.refresh();
  }

  lost(problem: string): void {
    this.#problem = problem;
    this.#redraw();
  }

  /** Gives the terminal back as it was. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#options.terminal.off('resize', this.#draw);
    this.#options.terminal.write(LEAVE);
  }

  #enter(): void {
    this.#isOpen = true;
    this.#options.terminal.write(ENTER);
    this.#options.terminal.on('resize', this.#draw);
  }

  /** One at a time; what happens meanwhile is seen by the next. */
  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#again && this.#isOpen) {
      this.#again = false;
      try {
        this.#tree = await this.#options.read();
      } catch (error) {
        this.#problem = visible(messageOf(error));
      }
      this.#redraw();
      await pause(INTERVAL_MS);
    }
    this.#reading = false;
  }

  #redraw(): void {
    if (!this.#isOpen) return;
    const { terminal, title } = this.#options;
    // A terminal that does not know its size says 0.
    const columns = terminal.columns || 80;
    const rows = terminal.rows || 24;
    const head = `${visible(title)}  (Ctrl-C ends)`;
    const tree = this.#tree === undefined ? [] : drawTree(this.#tree, columns).split('\n');
    const above = [head, '', ...tree, '', ...(this.#problem === undefined ? [] : [this.#problem])];
    const room = Math.max(0, rows - above.length);
    const lines = [...above, ...(room === 0 ? [] : this.#lines.slice(-room))].slice(0, rows);
    // No newline behind the last one, or the terminal would scroll.
    const text = lines.map((line) => `${cut(line, columns)}${ERASE_LINE}`).join('\r\n');
    terminal.write(`${HOME}${text}${ERASE_BELOW}`);
  }
}

function cut(line: string, columns: number): string {
  if (stringWidth(line) <= columns) return line;
  let kept = line.slice(0, columns);
  while (stringWidth(kept) > columns - 1) kept = kept.slice(0, -1);
  return `${kept}…`;
}
