// What the peers have in common: a body, and a line that says where they listen.

/** The SQL that a request asks for. */
export async function sqlOf(ctx) {
  let body = '';
  for await (const chunk of ctx.req) body += chunk;
  return JSON.parse(body).sql;
}

/** Takes a free port and says which, as `duckcoop serve` does. */
export function listen(app) {
  const server = app.listen(0, '127.0.0.1', () => {
    process.stdout.write(
      `${JSON.stringify({ msg: 'listening', url: `http://127.0.0.1:${server.address().port}` })}\n`,
    );
  });
}
