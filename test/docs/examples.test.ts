/**
 * Every example of the README and the guides, run as a reader would run it: against the server of `npm start`.
 *
 * - `bash`: run in the project's folder; the `text` or `json` block behind it is what it prints.
 * - `sql`: run with the quickstart's sources; a query over `my1` and `pg1` has to be the one the federation test runs.
 * - `yaml`: a configuration that `duckcoop check` finds nothing wrong with.
 * - `sh`: what starts or tests the project itself; it is not run here, and may hold nothing else.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FEDERATION_QUERY } from '../e2e/federation-query.ts';
import { DUCKCOOP, quickstartElsewhere, Served, writeConfiguration } from '../e2e/server.ts';
import { duckcoop, ROOT } from '../support/cli.ts';
import { makeFolder, temporaryFolder } from '../support/temp.ts';
import { type Block, blocksOf, matchesJson, textPattern } from './markdown.ts';

const FILES = ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith('.md'),
);
const LANGUAGES = ['bash', 'sql', 'yaml', 'sh', ''];
/** Lines that start or test the project itself. */
const NOT_RUN = /^(npm (start|test)( -- .*)?|bin\/duckcoop\.js (serve|extensions) .*)$/;

/** That of `npm start`; with a pool for exports where the page is about them. */
async function configurationFor(file: string): Promise<string> {
  const quickstart = await quickstartElsewhere();
  if (file === 'docs/inline-sources.md') return `${quickstart}auth: { inline_sources: [files] }\n`;
  if (file !== 'docs/exports.md') return quickstart;
  const pool = 'exports: { size: 1, memory_limit: 512MB, memory_hard_limit: 1GB }';
  return `${quickstart.replace(/^pools:\n/m, `pools:\n  ${pool}\n`)}exports: { egress: { port: 0 } }\n`;
}

describe.each(FILES)('%s', (file) => {
  const blocks = blocksOf(readFileSync(join(ROOT, file), 'utf8'));
  const run = blocks.filter(({ language }) => ['bash', 'sql', 'yaml'].includes(language));
  let served: Served | undefined;
  let folder: Awaited<ReturnType<typeof makeFolder>>;

  beforeAll(async () => {
    folder = await makeFolder();
    // A page that asks no server starts none.
    if (run.every(({ language }) => language === 'yaml')) return;
    served = await Served.start(await writeConfiguration(folder.path, await configurationFor(file)));
  });
  afterAll(async () => {
    await served?.stop();
    await folder.remove();
  });

  it('has no example that nobody runs', () => {
    for (const { language, text, line } of blocks) {
      expect(LANGUAGES, `${file}:${line}`).toContain(language);
      // A drawing; an example would say what it is.
      if (language === '') expect(text, `${file}:${line}`).not.toMatch(/curl|duckcoop\.js|select /i);
      if (language === 'sh')
        for (const command of text.split('\n')) expect(command.replace(/ +#.*/, '')).toMatch(NOT_RUN);
    }
  });

  it.each(run.map((block) => ({ ...block, where: `${block.heading} (line ${block.line})` })))(
    'example under $where',
    async (block) => {
      if (block.language === 'yaml') await checkYaml(block);
      else if (block.language === 'bash') await runBash(block, served as Served);
      else await runSql(block, served as Served);
    },
  );
});

async function runBash({ text, output }: Block, served: Served): Promise<void> {
  const { code, stdout, stderr } = await bash(text.replaceAll('8480', String(served.port)), served.url);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  if (output === undefined) return;
  const printed = stdout.replaceAll(String(served.port), '8480').trim();
  if (output.language === 'text') expect(printed).toMatch(textPattern(output.text));
  else if (!matchesJson(JSON.parse(printed), JSON.parse(output.text))) {
    expect(JSON.parse(printed)).toEqual(JSON.parse(output.text));
  }
}

function bash(script: string, url: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', script], {
    cwd: ROOT,
    env: { ...process.env, DUCKCOOP_URL: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    output.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    output.stderr += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...output })));
}

async function runSql({ text, output }: Block, served: Served): Promise<void> {
  if (/\bmy1\./.test(text)) {
    expect(text.trim()).toBe(FEDERATION_QUERY);
    return;
  }
  const { code, stdout, stderr } = await duckcoop([
    ...['query', '--url', served.url, '--source', 'shop,files', text],
  ]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.any(String) });
  if (output !== undefined) expect(stdout.trim()).toMatch(textPattern(output.text));
}

/** With what it refers to at hand: variables, files. */
async function checkYaml({ text }: Block): Promise<void> {
  const folder = await temporaryFolder();
  const file = join(folder, 'duckcoop.yaml');
  await writeFile(file, text);
  for (const [, path = ''] of text.matchAll(/\$\{file:\.\/([\w./-]+)\}/g)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), path.endsWith('.hash') ? `sha256:${'0'.repeat(64)}\n` : 'secret\n');
  }
  const env = Object.fromEntries([...text.matchAll(/\$\{env:(\w+)\}/g)].map(([, name = '']) => [name, '1']));
  const { code, stderr } = await duckcoop(['check', file], { env });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
}

it('names the command by the path it has', () => {
  expect(DUCKCOOP).toBe(join(ROOT, 'bin/duckcoop.js'));
});
