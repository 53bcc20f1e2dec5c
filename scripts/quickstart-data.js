// Makes the data of examples/quickstart.yaml: examples/data/shop.db (SQLite: customers, reviews),
// examples/data/files/orders.parquet and examples/data/files/products.csv.
// The same rows every time: the numbers come from arithmetic, not from a random source.
// Needs the sqlite_scanner extension (`duckcoop extensions install`). Each file takes its place by rename.
//
// usage: node scripts/quickstart-data.js [FOLDER]
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DuckDBInstance } from '@duckdb/node-api';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = resolve(process.argv[2] ?? join(root, 'examples/data'));
const scratch = join(target, `.making-${process.pid}`);

const COUNTRIES = 'Germany France Spain Italy Poland Netherlands Sweden Portugal Austria Denmark'.split(' ');
const FIRST =
  'Anna Ben Clara David Elena Felix Greta Hugo Ines Jonas Karla Leo Mila Noah Olga Paul Rosa Tom'.split(' ');
const LAST =
  'Adler Bianchi Costa Dubois Eriksen Fischer Garcia Hansen Jansen Kowalski Lindqvist Moreau Novak'.split(
    ' ',
  );
const STYLES = 'Plain Bright Quiet Sturdy Light Classic Travel Pocket Family Winter'.split(' ');
const CATEGORIES = 'Kitchen Garden Books Toys Sports Music'.split(' ');
const THINGS = 'Pan Spade Atlas Kite Racket Flute Kettle Lantern Novel Puzzle Helmet Drum'.split(' '); // by category, twice

const list = (words) => `[${words.map((word) => `'${word}'`).join(', ')}]`;
const pick = (words, index) => `${list(words)}[1 + (${index}) % ${words.length}]`;
const quoted = (text) => `'${text.replaceAll("'", "''")}'`;

const CUSTOMERS = 800;
const PRODUCTS = 60;
const ORDERS = 5000;
const REVIEWS = 1200;

// Multiplying by a number that shares no factor with the modulus visits everything in a scattered order;
// the squares make some customers and products far more popular than others.
const statements = (extension) => [
  `LOAD ${quoted(extension)}`,
  `ATTACH ${quoted(join(scratch, 'shop.db'))} AS shop (TYPE sqlite)`,
  'CREATE TABLE shop.customers (customer_id BIGINT PRIMARY KEY, name VARCHAR, country VARCHAR, signed_up DATE)',
  `INSERT INTO shop.customers
   SELECT i,
          ${pick(FIRST, 'i * 7')} || ' ' || ${pick(LAST, 'i * 5 + i // 18')},
          ${pick(COUNTRIES, '((i * i) % 97) // 10')},
          DATE '2022-01-01' + ((i * 37) % 900)::INTEGER
   FROM range(1, ${CUSTOMERS + 1}) t(i)`,
  'CREATE TABLE shop.reviews (review_id BIGINT PRIMARY KEY, customer_id BIGINT, product_id BIGINT, stars BIGINT)',
  `INSERT INTO shop.reviews
   SELECT i, 1 + (i * 311) % ${CUSTOMERS}, 1 + (i * 7) % ${PRODUCTS}, 1 + least(4, ((i * i) % 19) // 3)
   FROM range(1, ${REVIEWS + 1}) t(i)`,
  'DETACH shop',
  `COPY (
     SELECT i AS product_id,
            ${pick(STYLES, 'i + i // 10')} || ' ' || ${pick(THINGS, 'i')} AS name,
            ${pick(CATEGORIES, 'i')} AS category,
            5 + (i * 53) % 97 AS price
     FROM range(1, ${PRODUCTS + 1}) t(i) ORDER BY i
   ) TO ${quoted(join(scratch, 'products.csv'))} (HEADER)`,
  `COPY (
     SELECT i AS order_id,
            1 + ((i * i) % 9973 * 7 + i) % ${CUSTOMERS} AS customer_id,
            1 + ((i * i) % 61 + (i * 13) % 7) % ${PRODUCTS} AS product_id,
            (1 + ((i * 29) % 17) // 4)::INTEGER AS quantity,
            TIMESTAMP '2024-01-01 08:00:00' + to_minutes(i * 105 + (i * 17) % 60) AS ordered_at
     FROM range(1, ${ORDERS + 1}) t(i) ORDER BY i
   ) TO ${quoted(join(scratch, 'orders.parquet'))}`,
];

mkdirSync(scratch, { recursive: true });
mkdirSync(join(target, 'files'), { recursive: true });
try {
  const instance = await DuckDBInstance.create(':memory:');
  const connection = await instance.connect();
  const [[version, platform]] = (
    await connection.runAndReadAll(
      'SELECT library_version, platform FROM pragma_version(), pragma_platform()',
    )
  ).getRows();
  const extension = join(root, 'extensions', version, platform, 'sqlite_scanner.duckdb_extension');
  for (const statement of statements(extension)) await connection.run(statement);
  connection.closeSync();
  instance.closeSync();
  renameSync(join(scratch, 'shop.db'), join(target, 'shop.db'));
  for (const file of ['orders.parquet', 'products.csv']) {
    renameSync(join(scratch, file), join(target, 'files', file));
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
