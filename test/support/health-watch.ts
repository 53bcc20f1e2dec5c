import { setTimeout as sleep } from 'node:timers/promises';
import { call } from './test-server.ts';

export interface HealthWatch {
  /** Ends it; the longest time a reply took, in milliseconds. Throws what went wrong with the first one that failed. */
  stop(): Promise<number>;
}

/** Asks `/healthz` all the while: whatever happens to workers, the API answers. */
export function watchHealth(url: string): HealthWatch {
  let going = true;
  let slowest = 0;
  const watch = async () => {
    while (going) {
      const { status, ms } = await call(url, 'GET', '/healthz');
      if (status !== 200) throw new Error(`/healthz replied ${status}`);
      slowest = Math.max(slowest, ms);
      await sleep(20);
    }
    return slowest;
  };
  const watching = watch();
  watching.catch(() => undefined);
  return {
    stop: () => {
      going = false;
      return watching;
    },
  };
}
