/** A statement this worker will not run, or cannot, with the verdict the client hears. */
import type { FailedVerdict } from '../protocol.ts';

export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly verdict: FailedVerdict;

  constructor(code: FailedVerdict['code'], detail: string, members: Readonly<Record<string, unknown>> = {}) {
    super(detail);
    this.verdict = { ok: false, code, detail, members: { ...members } };
  }

  static forbiddenFunction(name: string): Refusal {
    return new Refusal('FORBIDDEN', `The function ${name} is not allowed here.`, {
      denied: { kind: 'function', name },
    });
  }

  static forbiddenStatement(name: string): Refusal {
    return new Refusal('FORBIDDEN', `${name} statements are not allowed: only reads are.`, {
      denied: { kind: 'statement', name },
    });
  }

  /** A statement that nobody may run, whatever else they may. */
  static closedDoor(name: string): Refusal {
    const detail = `${name} statements are not allowed: files and servers are open only through the request's sources.`;
    return new Refusal('FORBIDDEN', detail, { denied: { kind: 'statement', name } });
  }

  static invalid(path: string, message: string): Refusal {
    return new Refusal('INVALID_REQUEST', `${path}: ${message}`, { errors: [{ path, message }] });
  }
}
