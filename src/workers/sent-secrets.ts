/**
 * Credentials that were sent to a worker process, so that what it prints is scrubbed of them: those that come with requests are in no
 * configuration, and nobody else knows them.
 */
import { Redactor } from '../crashes/redact.ts';
import { attachmentSecrets } from './attachment-secrets.ts';
import type { Attachment } from './protocol.ts';

/** How many are known, the latest ones: a worker has closed the sources of those before. */
const KEPT = 200;
/** Characters. Shorter ones are in most texts, and keep nobody out. */
const SHORTEST = 4;

export class SentSecrets {
  /** The latest one at the end. */
  readonly #known = new Set<string>();
  #redactor: Redactor | undefined;

  add(attachments: readonly Attachment[]): void {
    for (const secret of attachments.flatMap(attachmentSecrets)) {
      if (secret.length < SHORTEST) continue;
      if (!this.#known.delete(secret)) this.#redactor = undefined;
      this.#known.add(secret);
      const [oldest] = this.#known;
      if (this.#known.size > KEPT && oldest !== undefined) this.#known.delete(oldest);
    }
  }

  /** Whole lines without them. */
  scrub(lines: readonly string[]): string[] {
    if (this.#known.size === 0 || lines.length === 0) return [...lines];
    this.#redactor ??= new Redactor().with([...this.#known]);
    return this.#redactor.redact(lines.join('\n')).split('\n');
  }
}
