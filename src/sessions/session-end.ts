/** Why a session is no more, and what is said of one that is not: to whoever asks for it, and to its last query. Pure. */
import { Failure } from '../failures.ts';

export type SessionEnd = 'deleted' | 'expired' | 'idle' | 'failed' | 'damaged' | 'revoked' | 'shutdown';

const WHY: Readonly<Record<SessionEnd, string>> = {
  deleted: 'was deleted',
  expired: 'has expired',
  idle: 'was idle for too long',
  failed: 'has failed: its worker died again and again',
  damaged: 'has failed: its workspace could not be opened any more',
  revoked: 'has ended: its owner may not come in any more',
  shutdown: 'ended with the server',
};

export interface EndedSession {
  readonly owner: string;
  readonly why: SessionEnd;
  /** What DuckDB said of a workspace it could not open. */
  readonly detail: string | undefined;
}

/** Of ended sessions so many are known as such; an older one is as unknown as one that never was. */
const KEPT = 1_000;

export class EndedSessions {
  readonly #ended = new Map<string, EndedSession>();

  add(id: string, ended: EndedSession): void {
    this.#ended.set(id, ended);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > KEPT && oldest !== undefined) this.#ended.delete(oldest);
  }

  get(id: string): EndedSession | undefined {
    return this.#ended.get(id);
  }

  /** For whoever wants to use it. */
  failure(id: string): Failure {
    const { why, detail } = this.#ended.get(id) ?? { why: 'deleted', detail: undefined };
    const more = detail === undefined ? '' : ` (${detail})`;
    return new Failure('SESSION_EXPIRED', `Session ${id} ${WHY[why]}${more}; open another one.`, {
      members: { reason: why },
    });
  }
}

/** Who has cancelled a query that was with a session at its end. */
export function cancellerOf(id: string, why: SessionEnd): string {
  return `the end of session ${id}, which ${WHY[why]}`;
}
