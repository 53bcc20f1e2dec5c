// A parent of one worker, to be killed: `node parent.js <data folder> none|hang|query`.
import { WORKER_MAIN } from '../../dist/workers/launch.js';
import { RunFolders } from '../../dist/workers/run-folder.js';
import { WorkerProcess } from '../../dist/workers/worker-process.js';

const [dataDir, fault] = process.argv.slice(2);
const MB = 1024 * 1024;
const worker = new WorkerProcess(
  {
    worker: 'orphan',
    incarnation: 1,
    main: WORKER_MAIN,
    folders: await RunFolders.open(dataDir),
    startTimeoutMs: 30_000,
    heartbeatTimeoutMs: 60_000,
    configure: {
      threads: 1,
      memoryLimit: 128 * MB,
      memoryHardLimit: 1_024 * MB,
      tempLimit: MB,
      extensions: { directory: '/nowhere', names: [] },
      allowFunctions: [],
      heartbeatMs: 1_000,
      niceness: 0,
      chaos: true,
    },
  },
  {
    ready: () => {
      if (fault === 'hang') worker.injectFault('hang');
      if (fault === 'query') {
        worker.run({
          seq: 1,
          sql: "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))",
          rowFormat: 'arrays',
          maxBytes: MB,
          attachments: [],
          write: false,
        });
      }
      // When the worker has surely taken it up.
      setTimeout(() => process.stdout.write(`ready ${worker.pid}\n`), 200);
    },
    finished: () => undefined,
    withdrawn: () => undefined,
    progress: () => undefined,
    swollen: () => undefined,
    bytes: () => undefined,
    exit: () => undefined,
  },
);
