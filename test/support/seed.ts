/**
 * The seed of every property test. CI takes the same one each time, so that what fails there is what the change
 * did; everywhere else it is new for each run, and fast-check prints it with the counterexample.
 * `FC_SEED=n` replays one.
 */
import fc from 'fast-check';

const { FC_SEED: given, CI: ci } = process.env;
if (given !== undefined) fc.configureGlobal({ seed: Number(given) });
else if (ci === 'true') fc.configureGlobal({ seed: 1 });
