/** `duckcoop check FILE`: everything that is wrong with a configuration, at once, with nothing started. */
import { loadConfig } from '../config/load.ts';
import { formatProblems } from '../config/problems.ts';
import { CliError, EXIT } from './exit.ts';

export function checkCommand(file: string): void {
  const loaded = loadConfig({ file });
  if (!loaded.ok) {
    const { problems } = loaded;
    const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
    throw new CliError(EXIT.failed, `${count} in the configuration\n${formatProblems(problems, file)}`);
  }
  if (loaded.warnings.length > 0) process.stderr.write(`warning: ${formatProblems(loaded.warnings, file)}\n`);
  process.stdout.write(`${file}: nothing is wrong\n`);
}
