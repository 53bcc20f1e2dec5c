/** What is wrong with a source, told from the words of its client library, and what to look at. Pure. */

export interface Diagnosis {
  readonly reason: Reason;
  readonly hint: string;
}

const HINTS = {
  dns: 'The name of its host is not known: see host, endpoint or url, and the name server of this machine.',
  refused: 'Nothing listens at its address: see host and port, and whether the server runs.',
  unreachable: 'There is no way to its address: see host, and the network in between.',
  no_answer: 'It did not answer in time: a firewall may drop the packets, or the server is overloaded.',
  tls: 'No connection over TLS came about: see ssl_mode and use_ssl, ssl_ca, and the name that its certificate is for.',
  authentication:
    'It does not let this user in: see the user, the password or the keys, and what it grants to whom from where.',
  no_database: 'The server is there and the database is not: see database.',
  no_bucket: 'The server is there and the bucket is not: see bucket, region and url_style.',
  no_file: 'There is no such file or folder: see path, prefix and views.',
  permission: 'The file may not be read by the user that Duckcoop runs as.',
  locked: 'Another process has the file open to write to it.',
  not_a_database: 'The file is not what its kind says.',
  busy: 'The server takes no more connections, or gave up waiting for a lock.',
  server_error: 'The server is there and fails: its own log says why.',
} as const;
export type Reason = keyof typeof HINTS;

/** The first that fits decides. libpq, MariaDB Connector/C, curl, DuckDB, errno(3). */
const SIGNS: readonly (readonly [Reason, RegExp])[] = [
  [
    'dns',
    /could not translate host name|ENOTFOUND|EAI_AGAIN|Unknown (?:server|MySQL server) host|Could not resolve host/i,
  ],
  [
    'no_answer',
    /timeout expired|Timeout was reached|Connection timed out|ETIMEDOUT|has not answered for|\(110[ )]/i,
  ],
  ['refused', /Connection refused|ECONNREFUSED|Could not connect to server error|\((?:111|115)[ )]/],
  ['unreachable', /No route to host|EHOSTUNREACH|ENETUNREACH|Network is unreachable|\((?:101|113)[ )]/],
  [
    'busy',
    /too many (?:clients|connections)|connection slots|max_user_connections|(?:statement|lock) timeout/i,
  ],
  ['no_database', /database ".*" does not exist|Unknown database/s],
  [
    'authentication',
    /password authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects|role ".*" (?:does not exist|is not permitted)|Access denied for user|\(HTTP 40[13]\b|HTTP 40[13] for|Authentication Failure/s,
  ],
  ['tls', /\bSSL\b|\bTLS\b|certificate/],
  ['no_bucket', /NoSuchBucket|HTTP 404[^\n]*[?&]list-type=2|\?.*list-type=2.*HTTP 404/s],
  ['no_file', /ENOENT|ENOTDIR|\(HTTP 404|HTTP 404 for|No files found/],
  ['permission', /EACCES|EPERM/],
  ['locked', /Could not set lock on file|already open|database is locked/],
  [
    'not_a_database',
    /file is not a database|not a valid DuckDB database|Cannot read from file|could not read enough bytes|EISDIR|Is a directory/i,
  ],
  [
    'server_error',
    /\(HTTP (?:5\d\d|0)\b|HTTP 5\d\d for|receiving data from the peer|Server returned nothing|Lost connection to server at/,
  ],
];

/** Undefined where nothing is known of it. */
export function diagnose(message: string): Diagnosis | undefined {
  const reason = SIGNS.find(([, sign]) => sign.test(message))?.[0];
  return reason === undefined ? undefined : { reason, hint: HINTS[reason] };
}
