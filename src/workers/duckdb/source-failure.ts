/**
 * Which failures of a statement are those of a database server, or of the way to it.
 *
 * DuckDB gives the type IO, or Invalid, to what a server says against a statement as well as to a connection that broke, so the
 * words of the client libraries are all there is to tell them apart. A query that brings about such words in an error of its own
 * deceives nobody but its sender: what is said is that the query may be sent again.
 */
import { attachmentSecrets } from '../attachment-secrets.ts';
import type { Attachment } from '../protocol.ts';
import { webGateway } from '../web-gateway.ts';
import type { DuckDBErrorInfo } from './duckdb-error.ts';
import { Refusal } from './refusal.ts';
import { isRemote, type RemoteSource } from './remote-kinds.ts';
import { diagnose } from './source-diagnosis.ts';

export type Server = Extract<Attachment, { kind: 'postgres' | 'mysql' }>;

export function isServer(source: Attachment): source is Server {
  return source.kind === 'postgres' || source.kind === 'mysql';
}

/** Nobody is there, or nobody any more. libpq (fe-connect.c, fe-misc.c), MariaDB Connector/C (ma_errmsg.c). */
const GONE: Readonly<Record<Server['kind'], readonly RegExp[]>> = {
  postgres: [
    /connection to server (?:at|on) .* failed: (?!.*FATAL)/s,
    /could not translate host name/,
    /server closed the connection unexpectedly/,
    /could not (?:receive data from|send data to) server/,
    /no connection to the server/,
    /SSL (?:SYSCALL error|connection has been closed)/,
    // libpq has said why before, to whoever asked first.
    /^Failed to execute query "(?:ROLLBACK|COMMIT|BEGIN[^"]*)": *$/,
    /(?:terminating connection|the database system is (?:shutting down|starting up|in recovery mode))/,
  ],
  mysql: [
    /Can't connect to (?:local )?server/,
    /Unknown server host/,
    /Lost connection to server|Server has gone away/,
    // A result that breaks off leaves no error with the statement that is asked for it.
    /^Failed to fetch result row for MySQL query ".*":\s*$/s,
  ],
};

/** libpq's own time-out. */
const SILENT = /failed: timeout expired/;

/** The server is there and takes no more, or no longer. */
const BUSY: Readonly<Record<Server['kind'], readonly RegExp[]>> = {
  postgres: [
    /FATAL: +(?:sorry, too many clients already|too many connections|remaining connection slots)/,
    /ERROR: +canceling statement due to (?:statement|lock) timeout/,
  ],
  mysql: [
    /Too many connections|has (?:already )?more than 'max_user_connections'|exceeded the 'max_/,
    /max_statement_time exceeded|Lock wait timeout exceeded/,
  ],
};

/** Errors of these types alone; what a query raises by itself (`error()`) has another one. */
const TYPES: ReadonlySet<string> = new Set(['IO', 'Invalid', 'Connection', 'Binder']);

function says(texts: typeof GONE, kind: Server['kind'], { type, message }: DuckDBErrorInfo): boolean {
  return TYPES.has(type) && texts[kind].some((text) => text.test(message));
}

/** Whether a server is not there, of whichever kind. */
export function isGone(error: DuckDBErrorInfo): boolean {
  return says(GONE, 'postgres', error) || says(GONE, 'mysql', error);
}

/** The refusal for a failure that is a source's; undefined for any other. */
export function sourceFailure(
  error: DuckDBErrorInfo,
  attachments: readonly Attachment[],
): Refusal | undefined {
  const remote = remoteFailure(error, attachments);
  if (remote !== undefined) return remote;
  const servers = attachments
    .filter(isServer)
    .filter(({ kind }) => says(GONE, kind, error) || says(BUSY, kind, error));
  const [first, ...others] = servers;
  if (first === undefined) return undefined;
  const named = others.length === 0 ? first : (servers.find((server) => isNamed(server, error)) ?? first);
  const why = withoutSecrets(error.message.trim(), attachments);
  return SILENT.test(error.message) ? noAnswer(named, why) : unavailable(named, why);
}

/** What curl says of the way to a server (curl_easy_strerror(3)), or the server itself of its state. */
const REMOTE_GONE =
  /^(?:Could not (?:resolve|connect)|SSL |Timeout was reached|Failure when|Server returned nothing|Failed (?:sending|to open)|Request returned HTTP (?:401|403|429|5\d\d) )| error for HTTP [A-Z]+ to |\(HTTP (?:0|401|403|429|5\d\d)\b/;

/** Of object storage or the web. A file that is not there is the statement's own affair. */
function remoteFailure(error: DuckDBErrorInfo, attachments: readonly Attachment[]): Refusal | undefined {
  const { type, message } = error;
  if ((type !== 'IO' && type !== 'HTTP') || !REMOTE_GONE.test(message)) return undefined;
  const remotes = attachments.filter(isRemote);
  const named = remotes
    .filter((source) => message.includes(source.url) || message.includes(addressOf(source)))
    .sort((a, b) => b.url.length - a.url.length);
  const source = named[0] ?? (remotes.length === 1 ? remotes[0] : undefined);
  if (source === undefined) return undefined;
  const known = source.kind === 'http' ? webGateway.failureOf(source.url) : undefined;
  return unavailable(source, known ?? withoutSecrets(message.split('\n')[0] as string, attachments));
}

/** As it stands in an error text. */
function addressOf(source: RemoteSource): string {
  const bucket = source.url.split('/')[2];
  return source.kind === 's3' && source.endpoint !== undefined
    ? `://${source.endpoint}/${bucket}/`
    : source.url;
}

export function unavailable({ alias }: Pick<Attachment, 'alias'>, why: string): Refusal {
  return new Refusal('SOURCE_UNAVAILABLE', `${alias}: ${why}`, { source: alias, ...diagnose(why) });
}

const SILENCE = 'timeout expired';

/** Of one that kept whoever asked it waiting. */
export function noAnswer({ alias }: Pick<Attachment, 'alias'>, why: string): Refusal {
  const { hint } = diagnose(SILENCE) ?? {};
  return new Refusal('SOURCE_UNAVAILABLE', `${alias}: ${why}`, { source: alias, reason: 'no_answer', hint });
}

function isNamed({ host, port, kind }: Server, { message }: DuckDBErrorInfo): boolean {
  return message.includes(host) && (kind === 'mysql' || message.includes(String(port)));
}

/** A scanner may put what it was given into its error text: its settings help nobody, and are no secret. */
export function withoutSecrets(message: string, attachments: readonly Attachment[]): string {
  return attachments.reduce((given, source) => {
    const settings = isServer(source) ? settingsOf(source) : '';
    const text = settings === '' ? given : given.replaceAll(`"${settings}"`, '""');
    const forms = attachmentSecrets(source).flatMap((secret) => [
      ...[secret, connectionValue(secret), mysqlValue(secret)],
      secret.replaceAll("'", "''"),
    ]);
    return forms.reduce((rest, form) => rest.replaceAll(form, '[secret]'), text);
  }, message);
}

/** What a server is attached with beside its secret, in the words of its client library. */
export function settingsOf({ kind, options }: Server): string {
  const quote = kind === 'mysql' ? mysqlValue : connectionValue;
  return Object.entries(options)
    .map(([name, value]) => `${name}=${quote(value)}`)
    .join(' ');
}

/** A value in a libpq connection string (PostgreSQL manual, 34.1.1.1). */
function connectionValue(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** A value in the connection string of DuckDB's MySQL extension, which knows double quotes only. */
function mysqlValue(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
