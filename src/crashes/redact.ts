/**
 * Takes credentials out of texts that others wrote: what a worker printed, an error's detail, a statement.
 *
 * Known ones are the secrets of the configuration, as they are and as SQL, JSON and URLs write them. Unknown ones are found by
 * where they stand: the user part of a URL, the value of something called a password. Rather too much is hidden than too little.
 */
import { HIDDEN, Secret } from '../config/secret.ts';

const CUT = '…';

export class Redactor {
  /** Longest first, so that a secret which holds another one goes as a whole. */
  #known: readonly string[] = [];
  #pattern: RegExp | undefined;

  constructor(secrets: readonly Secret[] = []) {
    this.learn(secrets);
  }

  /** For a configuration that was loaded again. The secrets of the one before stay known: they may still be valid. */
  learn(secrets: readonly Secret[]): void {
    this.#know(secrets.flatMap((secret) => formsOf(secret.reveal())));
  }

  #know(forms: readonly string[]): void {
    const known = new Set([...this.#known, ...forms].filter((form) => form !== ''));
    // Most reloads bring none, and the next text would be long in coming where there are ten thousand.
    if (known.size === this.#known.length) return;
    this.#known = [...known].sort((one, other) => other.length - one.length);
    this.#pattern = new RegExp(this.#known.map(escaped).join('|'), 'g');
  }

  /** One that knows these besides. */
  with(texts: readonly string[]): Redactor {
    if (texts.length === 0) return this;
    const other = new Redactor(texts.map((text) => new Secret(text)));
    other.#know(this.#known);
    return other;
  }

  /** The text with `[secret]` in place of each credential. */
  redact(text: string): string {
    const rest = this.#pattern === undefined ? text : text.replace(this.#pattern, HIDDEN);
    return STANDING_PLACES.reduce(
      (hidden, place) => hidden.replace(place, `$1${HIDDEN}`),
      rest.replace(URL_TAIL, withoutUser),
    );
  }

  /** The first `limit` characters, redacted; a credential that the cut goes through is hidden too. */
  excerpt(text: string, limit: number): string {
    if (text.length <= limit) return this.redact(text);
    // The @ may be behind the cut.
    const begun = text
      .slice(0, limit)
      .replace(URL_TAIL, (tail, at: number) => (at + tail.length < limit ? tail : `://${HIDDEN}`));
    return this.#withoutBegunSecret(this.redact(begun)) + CUT;
  }

  #withoutBegunSecret(text: string): string {
    let hidden = 0;
    for (const secret of this.#known) {
      for (let length = Math.min(secret.length - 1, text.length); length > hidden; length -= 1) {
        if (text.endsWith(secret.slice(0, length))) hidden = length;
      }
    }
    return hidden === 0 ? text : text.slice(0, -hidden) + HIDDEN;
  }
}

/** Names of what has a value to hide, as libpq, MySQL, DuckDB's secrets, S3 and most others call them. */
const NAMES = '(?:password|passwd|passphrase|pwd|secret|token|credential|key_?id|access_?key|api_?key)';
const QUOTED = String.raw`'(?:[^']|'')*'?|"(?:[^"\\]|\\.)*"?`;

/** The rest of a URL from its `://` on. What is no URL any more goes along, which costs nothing but some text. */
const URL_TAIL = /:\/\/[^\s'"]*/g;

/** `://user:password@host`, and with an @ in the password. */
function withoutUser(tail: string): string {
  const at = tail.lastIndexOf('@');
  return at === -1 ? tail : `://${HIDDEN}${tail.slice(at)}`;
}

/** The group is what stays. Each is linear in the text: what can repeat is bounded, or cannot match in two ways. */
const STANDING_PLACES: readonly RegExp[] = [
  // password=x, "secret": "x", api_key => 'x'
  new RegExp(String.raw`(${NAMES}\w{0,32}["']?\s{0,8}(?:=>|[=:])\s{0,8})(?:${QUOTED}|[^\s,;&)'"]+)`, 'gi'),
  // PASSWORD 'x', as in CREATE SECRET
  new RegExp(String.raw`(${NAMES}\w{0,32}\s{1,8})(?:'(?:[^']|'')*'?)`, 'gi'),
  /(\bBearer\s{1,8})[\w.~+/=-]+/gi,
];

function formsOf(value: string): string[] {
  const json = JSON.stringify(value).slice(1, -1);
  const inSql = [value.replaceAll("'", "''"), value.replaceAll('"', '""')];
  return [value, ...inSql, json, inUrl(value), ...value.split(/\r?\n/).filter(isTelling)];
}

/** A line of a key is as secret as the key; its first one, or a short one, is found in innocent texts. */
function isTelling(line: string): boolean {
  return line.length >= 16 && !line.startsWith('-----');
}

function inUrl(value: string): string {
  try {
    return encodeURIComponent(value);
  } catch {
    // Half of a surrogate pair, which no URL can hold.
    return value;
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, '\\$&');
}
