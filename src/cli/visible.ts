/**
 * Text that cannot steer the terminal: control characters, line separators and the marks that reverse the direction
 * of writing appear as escapes, so that data never moves the cursor, changes colours or hides itself. Pure.
 */
export function visible(text: string): string {
  return text.replace(STEERING, (character) => {
    const short = SHORT[character];
    if (short !== undefined) return short;
    const code = character.charCodeAt(0).toString(16);
    return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, '0')}`;
  });
}

/** The value as one line of JSON, in which the same characters are escaped, as JSON allows for any. */
export function visibleJson(value: unknown): string {
  return JSON.stringify(value).replace(
    STEERING,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const STEERING = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
