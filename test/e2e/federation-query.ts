/** The query this project began with, word for word: `my1` is a MariaDB or MySQL source, `pg1` a PostgreSQL one. */
export const FEDERATION_QUERY = `SELECT
  (SELECT COUNT(*) FROM my1.analytics.events) AS mysql_events,
  (SELECT COUNT(*) FROM pg1.public.users) AS pg_users,
  (SELECT COUNT(*)
   FROM my1.analytics.events m
   JOIN pg1.public.users p ON p.id = m.user_id
   WHERE m.event_id <= 5000000) AS join_5m_count;`;
