/**
 * What is tried against the sandbox. An attack is one idea; ways.ts says the same thing in other words. `{...}` stands for a
 * place of the targets, so that the table in the guide reads the same whatever machine it is run on.
 */
import type { Places } from './targets.ts';

export type Attack = {
  readonly group: string;
  /** `answers`: it may be answered, since what it tells is no secret. */
  readonly refused: 'by function' | 'by statement' | 'in some way' | 'answers';
} & (
  | {
      readonly kind: 'table function' | 'scalar function' | 'path';
      readonly name: string;
      readonly args: string;
    }
  | { readonly kind: 'statement'; readonly sql: string }
);

const tables = (group: string, calls: Readonly<Record<string, string | readonly string[]>>): Attack[] =>
  Object.entries(calls).flatMap(([name, args]) =>
    [args].flat().map((given): Attack => {
      return { group, refused: 'by function', kind: 'table function', name, args: given };
    }),
  );
const scalars = (group: string, calls: readonly (readonly [string, string])[]): Attack[] =>
  calls.map(([name, args]) => ({ group, refused: 'by function', kind: 'scalar function', name, args }));
const paths = (group: string, calls: readonly (readonly [string, string])[]): Attack[] =>
  calls.map(([name, args]) => ({ group, refused: 'in some way', kind: 'path', name, args }));
const statements = (group: string, refused: Attack['refused'], texts: readonly string[]): Attack[] =>
  texts.map((sql) => ({ group, refused, kind: 'statement', sql }));

const POSTGRES = 'host=127.0.0.1 port={postgres} user={user} dbname={database}';
const MYSQL = 'host=127.0.0.1 port={mysql} user={mysqluser} database={mysqldatabase}';

export const REMOTE = 'Object storage and web servers beside the sources lk1 and web1';

export const ATTACKS: readonly Attack[] = [
  ...tables('Scanners that open servers and files by themselves', {
    postgres_scan: [`'${POSTGRES}', 'public', 'canary'`, "'host=127.0.0.1 port={tcp}', 'public', 't'"],
    postgres_scan_pushdown: `'${POSTGRES}', 'public', 'canary'`,
    postgres_attach: `'${POSTGRES}'`,
    sqlite_scan: "'{folder}/canary.sqlite', 'canary'",
    sqlite_attach: ["'{folder}/canary.sqlite'", "'{folder}/new.sqlite'"],
    read_duckdb: "'{folder}/canary.duckdb', table_name = 'canary'",
    read_postgres_binary: "'{folder}/canary.txt', columns = {'a': 'VARCHAR'}",
  }),
  ...tables('SQL of the server it runs on', {
    postgres_query: ["'pg1', 'SELECT ''{left}'' || ''{right}'''", "'pg1', 'CREATE TABLE trace (i int)'"],
    postgres_execute: "'pg1', 'CREATE TABLE trace (i int)'",
    postgres_configure_pool: "catalog_name = 'pg1', max_connections = 1",
    pg_clear_cache: '',
    mysql_query: "'my1', 'SELECT concat(''{left}'', ''{right}'')'",
    mysql_execute: "'my1', 'CREATE TABLE trace (i int)'",
    mysql_explain_federated: "'SELECT 1'",
    mysql_debug_execution_plan: "'SELECT 1'",
    mysql_clear_cache: '',
    sqlite_query: "'sq1', 'SELECT ''{left}'' || ''{right}'''",
  }),
  ...tables('Texts taken for SQL', {
    query: [
      "'SELECT ''{left}'' || ''{right}'''",
      "'FROM sqlite' || '_scan(''{folder}/canary.sqlite'', ''canary'')'",
    ],
    query_table: ["'shown'", "['shown', 'shown']"],
    json_execute_serialized_sql: "json_serialize_sql('SELECT ''{left}'' || ''{right}''')",
    sql_auto_complete: "'SELECT * FROM ''{folder}/'",
  }),
  ...scalars('Texts taken for SQL', [
    ['json_serialize_plan', "'FROM sqlite' || '_scan(''{folder}/canary.sqlite'', ''canary'')'"],
    ['json_serialize_plan', "'FROM postgres' || '_scan(''host=127.0.0.1 port={tcp}'', ''a'', ''b'')'"],
  ]),
  ...tables('Memory of the process', {
    arrow_scan: '1, 2, 3',
    arrow_scan_dumb: '1, 2, 3',
    seq_scan: "'shown'",
  }),
  ...tables('Secrets, logs and switches of the instance', {
    duckdb_secrets: ['', 'redact = false'],
    which_secret: "'{folder}/canary.csv', 's3'",
    duckdb_logs: '',
    duckdb_log_contexts: '',
    duckdb_logs_parsed: "'QueryLog'",
    duckdb_external_file_cache: '',
    duckdb_prepared_statements: '',
    duckdb_profiling_settings: '',
    duckdb_secret_types: '',
    enable_logging: "storage = 'file', storage_path = '{folder}'",
    disable_logging: '',
    truncate_duckdb_logs: '',
    enable_profiling: "save_location = '{folder}/profile'",
    disable_profiling: '',
    enable_peg_parser: '',
    disable_peg_parser: '',
    check_peg_parser: "'SELECT 1'",
    checkpoint: '',
    force_checkpoint: '',
  }),
  ...scalars('Secrets, logs and switches of the instance', [['write_log', "'text'"]]),
  ...paths('Files and addresses outside of every source', [
    ['read_text', "'{folder}/canary.txt'"],
    ['read_text', "'{folder}/*'"],
    ['read_text', "['{folder}/canary.txt', '{folder}/canary.csv']"],
    ['read_text', "'file://{folder}/canary.txt'"],
    ['read_text', "'{files}/../closed/canary.txt'"],
    ['read_text', "'/proc/self/environ'"],
    ['read_text', "'/proc/self/cmdline'"],
    ['read_blob', "'{folder}/canary.txt'"],
    ['read_blob', "'/proc/self/mem'"],
    ['read_csv', "'{folder}/canary.csv'"],
    ['read_csv', "'http://127.0.0.1:{http}/canary.csv'"],
    ['read_csv', "'http://127.0.0.1:{tcp}/canary.csv'"],
    ['read_csv', "'s3://canary/canary.csv'"],
    ['read_csv', "'/dev/stdin'"],
    ['read_csv_auto', "'{folder}/canary.csv'"],
    ['sniff_csv', "'{folder}/canary.csv'"],
    ['sniff_csv', "'http://127.0.0.1:{http}/canary.csv'"],
    ['read_json', "'{folder}/canary.json'"],
    ['read_json_objects', "'{folder}/canary.json'"],
    ['read_ndjson', "'{folder}/canary.json'"],
    ['read_parquet', "'{folder}/canary.parquet'"],
    ['read_parquet', "['{folder}/canary.parquet']"],
    ['read_parquet', "'http://127.0.0.1:{http}/canary.parquet'"],
    ['parquet_scan', "'{folder}/canary.parquet'"],
    ['parquet_metadata', "'{folder}/canary.parquet'"],
    ['parquet_schema', "'{folder}/canary.parquet'"],
    ['parquet_file_metadata', "'{folder}/canary.parquet'"],
    ['parquet_kv_metadata', "'{folder}/canary.parquet'"],
    ['parquet_full_metadata', "'{folder}/canary.parquet'"],
    ['parquet_bloom_probe', "'{folder}/canary.parquet', 'a', 'b'"],
    ['glob', "'{folder}/*'"],
    ['glob', "'/proc/self/fd/*'"],
  ]),
  ...statements('Files and addresses outside of every source', 'in some way', [
    "FROM '{folder}/canary.csv'",
    'FROM "{folder}/canary.csv"',
    "FROM '{folder}/canary.parquet'",
    "FROM '{folder}/canary.sqlite'",
    "FROM '{folder}/canary.duckdb'",
    "FROM '/etc/passwd'",
    "FROM 'http://127.0.0.1:{http}/canary.csv'",
    "SELECT * FROM range(1), '{folder}/canary.csv'",
    "DESCRIBE FROM '{folder}/canary.csv'",
    "SUMMARIZE '{folder}/canary.csv'",
    "CREATE TABLE taken AS FROM '{folder}/canary.csv'",
    "CREATE VIEW taken AS FROM '{folder}/canary.csv'",
    "INSERT INTO shown FROM '{folder}/canary.csv'",
    "SELECT * FROM pg1.public.'{folder}/canary.csv'",
  ]),
  ...statements(REMOTE, 'in some way', [
    "FROM 's3://lake/canary.csv'",
    "FROM 's3://lake/open/../canary.csv'",
    "FROM 's3://lake/open/../../closed/canary.csv'",
    "FROM 's3://lake/open/%2e%2e/canary.csv'",
    "FROM 's3://lake/open/shown.csv?s3_endpoint=127.0.0.1:{tcp}'",
    "FROM 's3://lake/*.csv'",
    "FROM 's3://closed/canary.csv'",
    "FROM 'S3://closed/canary.csv'",
    "FROM 's3a://closed/canary.csv'",
    "FROM 's3n://closed/canary.csv'",
    "FROM 'gcs://closed/canary.csv' -- lk1",
    "FROM 'r2://closed/canary.csv' -- lk1",
    "FROM 'hf://datasets/lk1/canary.csv'",
    "FROM 'http://127.0.0.1:{s3}/closed/canary.csv' -- lk1",
    "FROM read_csv(['s3://lake/open/shown.csv', 's3://closed/canary.csv'])",
    "FROM read_csv('s3://lake/open/' || '../canary.csv')",
    "FROM read_csv(concat('s3', '://closed/canary.csv')) -- lk1",
    "FROM read_text('s3://lake/open/../canary.csv')",
    "FROM read_parquet('s3://closed/canary.parquet')",
    "FROM parquet_metadata('s3://closed/canary.parquet')",
    "FROM sniff_csv('s3://closed/canary.csv')",
    "FROM glob('s3://lake/*')",
    "FROM glob('s3://closed/**')",
    "FROM histogram('s3://closed/canary.parquet', a)",
    "FROM (SELECT 's3://closed/canary.csv' AS place) t, LATERAL (FROM read_csv(t.place))",
    "SET VARIABLE place = 's3://closed/canary.csv'; FROM read_csv(getvariable('place'))",
    "PREPARE step AS FROM read_csv($1); EXECUTE step('s3://closed/canary.csv')",
    "CREATE MACRO step(place) AS TABLE FROM read_csv(place); FROM step('s3://closed/canary.csv')",
    "CREATE MACRO list_value(a) AS ['s3://closed/canary.csv']; FROM read_csv(['s3://lake/open/shown.csv'])",
    "CREATE VIEW step AS FROM 's3://lake/open/../canary.csv'; FROM step",
    "CREATE TABLE taken AS FROM 's3://closed/canary.csv'",
    "INSERT INTO shown FROM 's3://closed/canary.csv'",
    "COPY (SELECT 1) TO 's3://lake/open/new.csv'",
    "COPY (SELECT 1) TO 's3://closed/new.csv'",
    "ATTACH 's3://lake/open/new.duckdb' AS other",
    "CREATE SECRET other (TYPE s3, KEY_ID 'a', SECRET 'b', SCOPE 's3://closed')",
    'DROP SECRET duckcoop_lk1',
    "FROM which_secret('s3://lake/open/shown.csv', 's3')",
    'FROM duckdb_secrets(redact = false) -- lk1 web1',
    "FROM 'http://127.0.0.1:{http}/canary.csv' -- web1",
    "FROM 'http://127.0.0.1:{http}/open/../canary.csv'",
    "FROM 'http://127.0.0.1:{http}/open/%2e%2e/canary.csv'",
    "FROM 'http://127.0.0.1:{http}/open/shown.csv?x=/../../canary.csv'",
    "FROM 'http://127.0.0.1:{http}/open/away.csv'",
    "FROM 'http://localhost:{http}/canary.csv' -- web1",
    "FROM 'http://web1@127.0.0.1:{http}/canary.csv'",
    "FROM 'HTTP://127.0.0.1:{http}/canary.csv' -- web1",
    "FROM read_csv('http://127.0.0.1:{http}/open/' || '../canary.csv')",
    "FROM read_text(['http://127.0.0.1:{http}/open/shown.csv', 'http://127.0.0.1:{http}/canary.csv'])",
    "FROM read_csv('http://127.0.0.1:{tcp}/open/shown.csv')",
  ]),
  ...statements('Statements that open files and servers', 'by statement', [
    "COPY (SELECT 1) TO '{folder}/new.csv'",
    "COPY (SELECT 1) TO 'http://127.0.0.1:{http}/new.csv'",
    "COPY shown FROM '{folder}/canary.csv'",
    "COPY (SELECT 1) TO 'spill/new.csv'",
    'COPY FROM DATABASE workspace TO pg1',
    "EXPORT DATABASE '{folder}/new'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH ':memory:' AS other",
    "ATTACH '{folder}/canary.duckdb' AS other",
    "ATTACH IF NOT EXISTS '{folder}/canary.sqlite' AS other (TYPE sqlite)",
    "ATTACH OR REPLACE '{folder}/new.duckdb' AS other",
    `ATTACH '${POSTGRES}' AS other (TYPE postgres)`,
    `ATTACH '${MYSQL}' AS other (TYPE mysql)`,
    'DETACH pg1',
    'DETACH DATABASE IF EXISTS my1',
    "LOAD '{folder}/canary.duckdb_extension'",
    'LOAD httpfs',
    'INSTALL httpfs',
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:{http}'",
    'UPDATE EXTENSIONS',
    "CREATE SECRET other (TYPE postgres, HOST '127.0.0.1', PORT {tcp})",
    "CREATE OR REPLACE TEMPORARY SECRET other (TYPE s3, ENDPOINT '127.0.0.1:{http}')",
    'CREATE PERSISTENT SECRET other (TYPE http)',
    'DROP SECRET IF EXISTS duckcoop_pg1',
    'DROP TEMPORARY SECRET duckcoop_pg1',
    'DROP PERSISTENT SECRET IF EXISTS duckcoop_pg1',
  ]),
  ...statements('Settings', 'in some way', [
    'SET enable_external_access = true',
    'SET lock_configuration = false',
    "SET allowed_directories = ['/']",
    "SET GLOBAL temp_directory = '{folder}'",
    "SET file_search_path = '{folder}'",
    "SET home_directory = '{folder}'",
    "SET secret_directory = '{folder}'",
    "SET extension_directory = '{folder}'",
    'SET autoload_known_extensions = true',
    'SET allow_unsigned_extensions = true',
    'SET pg_debug_show_queries = true',
    "SET log_query_path = '{folder}/log'",
    "SET memory_limit = '64GB'",
    'RESET memory_limit',
    'RESET allowed_directories',
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{folder}/profile'",
    "PRAGMA memory_limit = '64GB'",
    "PRAGMA add_parquet_key('key', '0123456789112345')",
    "PRAGMA import_database('{folder}')",
    "PRAGMA copy_database('workspace', 'pg1')",
    "CALL sqlite_attach('{folder}/canary.sqlite')",
    `CALL postgres_attach('${POSTGRES}')`,
    "CALL postgres_execute('pg1', 'CREATE TABLE trace (i int)')",
    "CALL read_text('{folder}/canary.txt')",
  ]),
  ...statements('Several steps', 'in some way', [
    "SET VARIABLE place = '{folder}/canary.txt'; FROM read_text(getvariable('place'))",
    "PREPARE step AS FROM read_text($1); EXECUTE step('{folder}/canary.txt')",
    "PREPARE step AS FROM sqlite_scan($1, $2); EXECUTE step('{folder}/canary.sqlite', 'canary')",
    "PREPARE step AS FROM query($1); EXECUTE step('SELECT ''{left}'' || ''{right}''')",
    "PREPARE step AS ATTACH '{folder}/canary.sqlite' AS other; EXECUTE step",
    "CREATE MACRO step(place) AS TABLE FROM read_text(place); FROM step('{folder}/canary.txt')",
    "CREATE MACRO step(place) AS TABLE FROM sqlite_scan(place, 'canary'); FROM step('{folder}/canary.sqlite')",
    "CREATE MACRO step(text) AS TABLE FROM query(text); FROM step('SELECT ''{left}'' || ''{right}''')",
    "CREATE TEMP MACRO step(text) AS json_serialize_plan(text); SELECT step('SELECT 1')",
    "CREATE VIEW step AS FROM sqlite_scan('{folder}/canary.sqlite', 'canary'); FROM step",
    "CREATE TABLE step (a VARCHAR DEFAULT (json_serialize_plan('SELECT 1'))); INSERT INTO step DEFAULT VALUES",
    "CREATE TABLE step (a VARCHAR, b VARCHAR AS (json_serialize_plan(a))); INSERT INTO step VALUES ('SELECT 1'); FROM step",
    "CREATE TABLE step (a VARCHAR CHECK (json_serialize_plan(a) <> '')); INSERT INTO step VALUES ('SELECT 1')",
    'CREATE TABLE step (a VARCHAR); CREATE INDEX i ON step ((json_serialize_plan(a)))',
    "CREATE TYPE step AS ENUM (SELECT a FROM sqlite_scan('{folder}/canary.sqlite', 'canary')); SELECT enum_range(NULL::step)",
    'CREATE TABLE altered (a VARCHAR); ALTER TABLE altered ALTER a TYPE JSON USING (json_serialize_plan(a))',
    "CREATE SCHEMA sqlite_scan; FROM sqlite_scan.sqlite_scan('{folder}/canary.sqlite', 'canary')",
    "CREATE MACRO range(place, name) AS TABLE FROM sqlite_scan(place, name); FROM range('{folder}/canary.sqlite', 'canary')",
  ]),
  ...statements('What the instance tells of itself', 'answers', [
    'FROM duckdb_settings()',
    'FROM duckdb_databases()',
    'FROM duckdb_variables()',
    'FROM duckdb_tables()',
    'FROM duckdb_views()',
    'FROM duckdb_columns()',
    'FROM duckdb_functions()',
    'FROM duckdb_temporary_files()',
    'FROM duckdb_memory()',
    'FROM pragma_database_size()',
    'FROM pg_catalog.pg_settings',
    'FROM information_schema.tables',
    'SHOW DATABASES',
    'SHOW ALL TABLES',
    "SELECT current_setting('allowed_directories'), current_setting('secret_directory')",
    'SELECT current_query(), current_user, version()',
  ]),
  ...statements('What the instance tells of itself', 'in some way', [
    "SELECT getenv('HOME')",
    'FROM duckdb_secrets',
    'FROM duckdb_extensions()',
    "SELECT current_setting('s3_secret_access_key')",
    "SELECT error((SELECT string_agg(value, ' ') FROM duckdb_settings()))",
  ]),
];

/** As it is sent. */
export function fillIn(text: string, places: Places, files: string): string {
  const [left, right] = places.halves;
  const values: Readonly<Record<string, string | number>> = {
    folder: places.folder,
    files,
    postgres: places.postgres.port,
    user: places.postgres.user,
    database: places.postgres.database,
    mysql: places.mysql.port,
    mysqluser: places.mysql.user,
    mysqldatabase: places.mysql.database,
    http: places.http,
    s3: places.s3,
    tcp: places.tcp,
    left,
    right,
  };
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** As it stands in the guide. */
export function titleOf(attack: Attack): string {
  if (attack.kind === 'statement') return attack.sql;
  return `${attack.kind === 'scalar function' ? 'SELECT' : 'FROM'} ${attack.name}(${attack.args})`;
}
