import { expect, it } from 'vitest';
import { PoolStatus } from '../../src/actors/pool-status.ts';
import { ManualClock } from '../support/manual-clock.ts';

function scene(size = 2) {
  const clock = new ManualClock();
  const workers = { serving: 0, size };
  const told: string[] = [];
  const status = new PoolStatus({
    pool: 'p',
    clock,
    workers: () => workers,
    onChange: (from, to) => told.push(`${from} -> ${to}`),
    onDown: (from, ms) => told.push(`${from} -> down for ${ms}`),
  });
  const serve = (serving: number) => {
    workers.serving = serving;
    status.workersChanged();
  };
  return { clock, workers, told, status, serve };
}

it('a pool is up once as many workers serve as take queries, and degraded with fewer', () => {
  const { status, serve, told } = scene();
  expect(status).toMatchObject({ state: 'starting', isReady: false });
  serve(1);
  expect(status).toMatchObject({ state: 'degraded', isReady: true });
  serve(3);
  expect(status).toMatchObject({ state: 'up', isReady: true });
  serve(1);
  serve(1);
  serve(2);
  expect(told).toEqual(['starting -> degraded', 'degraded -> up', 'up -> degraded', 'degraded -> up']);
});

it('with all its workers being replaced it is degraded, and not ready', () => {
  const { status, serve } = scene();
  serve(2);
  serve(0);
  expect(status).toMatchObject({ state: 'degraded', isReady: false });
});

it('a pool that gave up is down, is probed after its backoff, and is down again or up by what the probe does', () => {
  const { status, serve, told, workers } = scene();
  serve(2);
  status.gaveUp();
  expect(status.state).toBe('down');
  workers.serving = 0;
  status.willRetry(1_500);
  // What is left of it ends meanwhile.
  serve(0);
  status.probes();
  expect(status).toMatchObject({ state: 'probing', isReady: false });
  status.gaveUp();
  status.willRetry(3_000);
  status.probes();
  serve(1);
  expect(status).toMatchObject({ state: 'degraded', isReady: true });
  serve(2);
  expect(told).toEqual([
    'starting -> up',
    'up -> down for 1500',
    'down -> probing',
    'probing -> down for 3000',
    'down -> probing',
    'probing -> degraded',
    'degraded -> up',
  ]);
});

it('Retry-After is what is left of the backoff, in whole seconds', () => {
  const { status, clock } = scene();
  status.gaveUp();
  status.willRetry(4_200);
  expect(status.unavailable()).toMatchObject({ code: 'POOL_DOWN', headers: { 'Retry-After': '5' } });
  clock.advance(3_900);
  expect(status.unavailable().headers).toEqual({ 'Retry-After': '1' });
});

it('the first start that is given up for a probe is no transition of its own', () => {
  const { status } = scene();
  status.probes();
  expect(status.state).toBe('starting');
});
