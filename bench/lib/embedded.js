// DuckDB in this very process, with a PostgreSQL and a MariaDB attached that stay so: what Duckcoop is compared with.
import { fileURLToPath } from 'node:url';
import { DuckDBInstance, version } from '@duckdb/node-api';

export const extensionsFolder = fileURLToPath(new URL('../../extensions', import.meta.url));

/** An instance that has them attached as `pg1` and `my1`. */
export async function openEmbedded(pg, my) {
  const instance = await DuckDBInstance.create(':memory:', { threads: '2' });
  const connection = await instance.connect();
  const [[platform]] = (await connection.runAndReadAll('PRAGMA platform')).getRows();
  for (const name of ['postgres_scanner', 'mysql_scanner'])
    await connection.run(`LOAD '${extensionsFolder}/${version()}/${platform}/${name}.duckdb_extension'`);
  const words = ({ host, port, user, password, database }, names) =>
    Object.entries({ host, port, user, [names.password]: password, [names.database]: database })
      .filter(([, value]) => value !== '')
      .map(([name, value]) => `${name}=${value}`)
      .join(' ');
  const pgWords = words(pg, { password: 'password', database: 'dbname' });
  const myWords = words(my, { password: 'password', database: 'database' });
  await connection.run(`ATTACH '${pgWords}' AS pg1 (TYPE postgres, READ_ONLY)`);
  await connection.run(`ATTACH '${myWords}' AS my1 (TYPE mysql, READ_ONLY)`);
  connection.closeSync();
  return instance;
}
