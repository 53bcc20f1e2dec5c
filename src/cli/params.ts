/** `--param` as the values of a query's parameters. Pure. */
import { CliError, EXIT } from './exit.ts';

export type Params = readonly unknown[] | Readonly<Record<string, unknown>>;

/**
 * `NAME=VALUE` for `$name`, plain `VALUE` for `?` and `$1`; all of one kind. A value that reads as a JSON scalar is
 * that scalar, anything else is text; `'"5"'` is the text 5, and `'"a=b"'` one positional text.
 */
export function parseParams(texts: readonly string[]): Params | undefined {
  if (texts.length === 0) return undefined;
  const named = texts.map((text) => /^([A-Za-z_]\w*)=(.*)$/s.exec(text));
  if (named.every((match) => match === null)) return texts.map(readValue);
  const params: [string, unknown][] = [];
  for (const match of named) {
    if (match === null) {
      throw new CliError(
        EXIT.usage,
        '--param: expected either NAME=VALUE everywhere or plain values everywhere',
      );
    }
    const [, name = '', value = ''] = match;
    if (params.some(([other]) => other === name)) {
      throw new CliError(EXIT.usage, `--param: ${name} is given twice`);
    }
    params.push([name, readValue(value)]);
  }
  return Object.fromEntries(params);
}

function readValue(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return text;
  }
  if (typeof value === 'object' && value !== null) return text;
  // Past 2^53 a JSON number has lost digits by now, so the digits go as they are.
  if (typeof value === 'number' && /^-?\d+$/.test(text) && !Number.isSafeInteger(value)) {
    return { type: 'HUGEINT', value: text };
  }
  return value;
}
