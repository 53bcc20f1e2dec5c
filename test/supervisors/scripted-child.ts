import type { ChildSpec, StartContext } from '../../src/supervisors/child-spec.ts';
import { type ExitReason, KILLED, SHUTDOWN } from '../../src/supervisors/exit-reason.ts';

export interface Script {
  /** What it does when it is told to stop. Default: it ends. */
  readonly onStop?: (context: StartContext) => void;
  /** What it does when it is killed. Default: it ends. */
  readonly onKill?: (context: StartContext) => void;
  /** What its n-th start does, from 1; may throw, or wait. */
  readonly onStart?: (incarnation: number) => void | Promise<void>;
}

/** A child without a process that does what a test tells it to, and writes down what was done to it. */
export class ScriptedChild {
  readonly spec: ChildSpec;
  /** `start 1`, `stop 1`, `kill 1`, with the incarnation. */
  readonly calls: string[] = [];
  readonly incarnations: StartContext[] = [];

  constructor(spec: Omit<ChildSpec, 'start'>, script: Script = {}) {
    this.spec = {
      ...spec,
      start: async (context) => {
        this.calls.push(`start ${context.incarnation}`);
        this.incarnations.push(context);
        await script.onStart?.(context.incarnation);
        return {
          stop: () => {
            this.calls.push(`stop ${context.incarnation}`);
            if (script.onStop === undefined) context.exited(SHUTDOWN);
            else script.onStop(context);
          },
          kill: () => {
            this.calls.push(`kill ${context.incarnation}`);
            if (script.onKill === undefined) context.exited(KILLED);
            else script.onKill(context);
          },
        };
      },
    };
  }

  /** The latest incarnation. */
  get current(): StartContext {
    return this.incarnations.at(-1) as StartContext;
  }

  crash(): void {
    this.current.exited({ kind: 'error', error: 'broken' });
  }

  exit(reason: ExitReason): void {
    this.current.exited(reason);
  }
}
