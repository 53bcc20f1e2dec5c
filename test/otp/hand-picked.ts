import type {
  ChildPlan,
  NestedPlan,
  Op,
  Reason,
  Scenario,
  Step,
  SupervisorPlan,
  WorkerPlan,
} from './scenario.ts';

function worker(id: string, plan: Partial<WorkerPlan> = {}): WorkerPlan {
  return { id, restart: 'permanent', shutdown: 60_000, type: 'worker', ...plan };
}

function nested(id: string, supervisor: SupervisorPlan, plan: Partial<NestedPlan> = {}): NestedPlan {
  return { id, restart: 'permanent', shutdown: 'infinity', type: 'supervisor', supervisor, ...plan };
}

function supervisor(
  strategy: SupervisorPlan['strategy'],
  children: readonly ChildPlan[],
  intensity = 3,
): SupervisorPlan {
  return { strategy, intensity, children };
}

const oneForOne = (children: readonly ChildPlan[], intensity?: number) =>
  supervisor('one_for_one', children, intensity);
const oneForAll = (children: readonly ChildPlan[], intensity?: number) =>
  supervisor('one_for_all', children, intensity);
const restForOne = (children: readonly ChildPlan[], intensity?: number) =>
  supervisor('rest_for_one', children, intensity);

const exit = (id: string, reason: Reason = { error: 'broken' }): Op => ({ op: 'exit', id, reason });
const start = (child: ChildPlan): Op => ({ op: 'start_child', child });
const restart = (id: string): Op => ({ op: 'restart_child', id });
const terminate = (id: string): Op => ({ op: 'terminate_child', id });
const remove = (id: string): Op => ({ op: 'delete_child', id });
const which: Op = { op: 'which_children' };
const count: Op = { op: 'count_children' };
const stop: Op = { op: 'stop' };

const step = (...ops: Op[]): Step => ({ at: 'root', ops });
const below = (at: string, ...ops: Op[]): Step => ({ at, ops });

function scenario(name: string, plan: SupervisorPlan, ...steps: Step[]): Scenario {
  return { name, supervisor: plan, steps };
}

const abc = [worker('a'), worker('b'), worker('c')];
const REASONS: readonly Reason[] = ['normal', 'shutdown', { shutdown: 'done' }, { error: 'broken' }, 'kill'];

/** One scenario for each rule of the manual that a reader can name. */
export const handPicked: readonly Scenario[] = [
  // Starting and stopping
  scenario('children start from left to right and stop from right to left', oneForOne(abc), step(stop)),
  scenario('a supervisor may have no children', oneForOne([]), step(which, count, stop)),
  scenario(
    'a child that does not start ends those before it, and the start fails',
    oneForOne([worker('a'), worker('b'), worker('c', { starts: ['fail'] }), worker('d')]),
  ),
  scenario(
    'a start that throws fails like one that gives an error',
    oneForAll([worker('a'), worker('b', { starts: ['raise'] })]),
  ),
  scenario(
    'a child that ignores its start is kept, unless it is temporary',
    oneForOne([
      worker('a', { starts: ['ignore'] }),
      worker('b', { starts: ['ignore'], restart: 'transient' }),
      worker('c', { starts: ['ignore'], restart: 'temporary' }),
      worker('d'),
    ]),
    step(which, count, restart('a'), restart('c'), start(worker('b')), stop),
  ),
  scenario(
    'a child that dies during the start of the others is restarted once all have started',
    oneForOne([worker('a', { starts: [{ dies: { error: 'early' } }] }), worker('b')]),
    step(stop),
  ),
  scenario(
    'a child that another one ends while it starts is restarted afterwards',
    restForOne([worker('a'), worker('b', { starts: [{ ends: ['a', 'kill'] }] }), worker('c')]),
    step(stop),
  ),
  scenario(
    'the children before a failed one are ended even if one of them is dead already',
    oneForOne([
      worker('a', { starts: [{ dies: 'normal' }] }),
      worker('b'),
      worker('c', { starts: ['fail'] }),
    ]),
  ),

  // Shutdown
  scenario(
    'each way of shutting down ends a child',
    oneForOne([
      worker('a', { shutdown: 'brutal_kill' }),
      worker('b', { shutdown: 'infinity' }),
      worker('c', { shutdown: 60_000 }),
      worker('d', { shutdown: 1, on_shutdown: 'ignore' }),
      worker('e', { shutdown: 0, on_shutdown: 'ignore' }),
    ]),
    step(stop),
  ),
  scenario(
    'a child that ignores being told to stop is killed, and the others have to wait',
    oneForAll([worker('a'), worker('b', { shutdown: 2, on_shutdown: 'ignore' }), worker('c')]),
    step(exit('a')),
    step(terminate('b'), stop),
  ),
  scenario(
    'a child may end for a reason of its own when it is told to stop',
    oneForOne([
      worker('a', { on_shutdown: { exit: 'normal' } }),
      worker('b', { on_shutdown: { exit: { error: 'late' } } }),
      worker('c', { on_shutdown: { exit: { shutdown: 'late' } }, restart: 'temporary' }),
    ]),
    step(terminate('b'), restart('b'), stop),
  ),
  scenario(
    'a child that ends while another one is being stopped is dealt with afterwards',
    oneForOne([
      worker('a'),
      worker('b', { on_shutdown: { ends: ['a', { error: 'dragged' }] } }),
      worker('c'),
    ]),
    step(terminate('b'), which, count),
    step(stop),
  ),
  scenario(
    'a group that is being stopped does not mind who of it is dead already',
    oneForAll([worker('a'), worker('b'), worker('c', { on_shutdown: { ends: ['b', 'kill'] } })]),
    step(exit('a')),
    step(stop),
  ),
  scenario(
    'a child to the left that ends while the right ones are stopped is restarted with its own rest',
    restForOne([
      worker('a'),
      worker('b'),
      worker('c', { on_shutdown: { ends: ['a', { error: 'dragged' }] } }),
    ]),
    step(exit('b')),
    step(stop),
  ),

  // Restart types: every reason, one after the other
  ...REASONS.flatMap((reason) =>
    (['permanent', 'transient', 'temporary'] as const).map((type) =>
      scenario(
        `a ${type} child that exits with ${JSON.stringify(reason)}`,
        oneForOne([worker('a'), worker('b', { restart: type }), worker('c')]),
        step(exit('b', reason), which, count),
        step(restart('b'), remove('b'), which, stop),
      ),
    ),
  ),

  // Strategies
  scenario('one_for_one restarts the child alone', oneForOne(abc), step(exit('b')), step(stop)),
  scenario('one_for_all restarts all of them', oneForAll(abc), step(exit('b')), step(stop)),
  scenario(
    'rest_for_one restarts the child and those after it',
    restForOne(abc),
    step(exit('b')),
    step(stop),
  ),
  scenario(
    'a group restart forgets temporary children',
    oneForAll([worker('a', { restart: 'temporary' }), worker('b'), worker('c', { restart: 'temporary' })]),
    step(exit('b')),
    step(which, stop),
  ),
  scenario(
    'a group restart starts children that had ended in order, too',
    oneForAll([worker('a', { restart: 'transient' }), worker('b'), worker('c')]),
    step(exit('a', 'normal'), terminate('c'), which),
    step(exit('b')),
    step(which, stop),
  ),
  scenario(
    'rest_for_one leaves alone what ended before the child',
    restForOne([worker('a', { restart: 'transient' }), worker('b'), worker('c', { restart: 'transient' })]),
    step(exit('a', 'normal'), exit('c', 'shutdown')),
    step(exit('b')),
    step(which, stop),
  ),
  scenario(
    'a child added later is the last of the rest',
    restForOne([worker('a'), worker('b')]),
    step(start(worker('c')), start(worker('d', { restart: 'temporary' }))),
    step(exit('a')),
    step(which, stop),
  ),

  // Exits in the queue
  scenario(
    'exits are dealt with in the order in which they came',
    oneForOne(abc),
    step(exit('c'), exit('a'), exit('b')),
    step(stop),
  ),
  scenario(
    'one restart of a group answers all exits of the group that are in the queue',
    oneForAll(abc, 1),
    step(exit('c'), exit('a', 'kill'), exit('b', 'normal')),
    step(stop),
  ),
  scenario(
    'rest_for_one, the last child first',
    restForOne(abc),
    step(exit('c'), exit('b'), exit('a')),
    step(stop),
  ),
  scenario(
    'rest_for_one, the first child first',
    restForOne(abc),
    step(exit('a'), exit('b'), exit('c')),
    step(stop),
  ),
  scenario(
    'a dead child counts as running until its exit is dealt with, but not as active',
    oneForOne(abc),
    step(which, exit('b'), count, which),
    step({ op: 'count_children' }, exit('a'), restart('a'), terminate('a'), remove('a'), which),
    step(stop),
  ),
  scenario(
    'calls that were made before an exit find the child dead',
    oneForOne([worker('a'), worker('b')]),
    step(count, which, start(worker('a')), remove('a'), terminate('a'), exit('a'), count, which),
    step(restart('a'), exit('a'), restart('a'), start(worker('a'))),
    step(stop),
  ),
  scenario(
    'exits behind a stop are never dealt with',
    oneForOne(abc),
    step(exit('a'), stop, exit('b'), which),
  ),

  // Restarts that fail
  scenario(
    'a failed restart is tried again',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail', 'raise'] }), worker('c')]),
    step(exit('b')),
    step(stop),
  ),
  scenario(
    'between two tries the supervisor answers what is in its queue',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail', 'fail'] })], 5),
    step(exit('b'), which, count, restart('b'), remove('b'), start(worker('b'))),
    step(stop),
  ),
  scenario(
    'to terminate a child between two tries cancels them',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail'] })]),
    step(exit('b'), terminate('b'), which, remove('b'), which),
    step(stop),
  ),
  scenario(
    'a child restarted by hand between two tries is not tried again',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail'] })]),
    step(exit('b'), terminate('b'), restart('b'), which),
    step(stop),
  ),
  scenario(
    'a child that fails again before its old try has its turn is tried twice',
    oneForOne(
      [worker('b', { starts: ['ok', 'fail', { dies: { error: 'early' } }, 'fail', 'fail', 'fail'] })],
      5,
    ),
    step(exit('b'), terminate('b'), restart('b'), which),
    step(which, stop),
  ),
  scenario(
    'every try counts',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail', 'fail', 'fail'] })], 2),
    step(exit('b')),
  ),
  scenario(
    'an exit in the queue is dealt with before the next try',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail'] })]),
    step(exit('b'), exit('a')),
    step(stop),
  ),
  scenario(
    'one_for_all, another child fails to restart: those before it run, those after it do not, then all start again',
    oneForAll([worker('a'), worker('b', { starts: ['ok', 'fail'] }), worker('c')]),
    step(exit('c'), which, count),
    step(stop),
  ),
  scenario(
    'one_for_all, the child itself fails to restart',
    oneForAll([worker('a', { starts: ['ok', 'fail', 'fail'] }), worker('b'), worker('c')]),
    step(exit('a'), which),
    step(stop),
  ),
  scenario(
    'rest_for_one, a later child fails to restart: only its own rest starts again',
    restForOne([worker('a'), worker('b'), worker('c', { starts: ['ok', 'fail', 'fail'] }), worker('d')]),
    step(exit('b'), which, count),
    step(stop),
  ),
  scenario(
    'rest_for_one, the child itself fails to restart',
    restForOne([worker('a'), worker('b', { starts: ['ok', 'fail'] }), worker('c')]),
    step(exit('b'), which, terminate('b'), which),
    step(restart('c'), restart('b')),
    step(stop),
  ),
  scenario(
    'one_for_all, an exit between two tries restarts everything and makes the try needless',
    oneForAll([worker('a'), worker('b', { starts: ['ok', 'fail', 'ok'] }), worker('c')], 5),
    step(exit('c'), exit('a'), start(worker('d'))),
    step(which, stop),
  ),
  scenario(
    'a restart that is ignored leaves the child as it is',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'ignore'] })]),
    step(exit('b'), which),
    step(restart('b'), stop),
  ),
  scenario(
    'a child that dies at each start uses up the intensity',
    oneForOne([
      worker('a'),
      worker('b', { starts: ['ok', { dies: 'normal' }, { dies: 'kill' }, { dies: 'shutdown' }] }),
    ]),
    step(exit('b')),
  ),

  // Intensity
  scenario(
    'as many restarts as the intensity are well',
    oneForOne(abc, 2),
    step(exit('a')),
    step(exit('b')),
    step(which, stop),
  ),
  scenario(
    'one more makes the supervisor give up',
    oneForOne(abc, 2),
    step(exit('a')),
    step(exit('b')),
    step(exit('c'), which),
  ),
  scenario('an intensity of 0 allows none', oneForAll(abc, 0), step(exit('b', 'normal'), count)),
  scenario(
    'exits that are not followed by a restart do not count',
    oneForOne([worker('a', { restart: 'temporary' }), worker('b', { restart: 'transient' }), worker('c')], 0),
    step(exit('a'), exit('b', { shutdown: 'done' }), terminate('c'), restart('c'), which),
    step(exit('c')),
  ),
  scenario(
    'whoever gives up ends its children in order, and kills those who have to be killed',
    restForOne(
      [
        worker('a', { shutdown: 'brutal_kill' }),
        worker('b', { shutdown: 1, on_shutdown: 'ignore' }),
        worker('c'),
      ],
      0,
    ),
    step(exit('c')),
  ),

  // Calls
  scenario(
    'start_child adds a child after the others',
    oneForOne([worker('a')]),
    step(start(worker('b')), start(worker('c', { restart: 'temporary' })), which, count),
    step(exit('c'), exit('b'), which),
    step(stop),
  ),
  scenario(
    'start_child of a child that is there',
    oneForOne([worker('a'), worker('b', { restart: 'transient' })]),
    step(start(worker('a')), exit('b', 'normal'), start(worker('b')), which),
    step(stop),
  ),
  scenario(
    'start_child that fails, or is ignored',
    oneForOne([worker('a')]),
    step(
      start(worker('b', { starts: ['fail'] })),
      start(worker('c', { starts: ['raise'] })),
      start(worker('d', { starts: ['ignore'] })),
      start(worker('e', { starts: ['ignore'], restart: 'temporary' })),
      which,
    ),
    step(start(worker('b')), start(worker('d')), start(worker('e')), which, stop),
  ),
  scenario(
    'terminate_child keeps the spec, and forgets a temporary child',
    oneForOne([worker('a'), worker('b', { restart: 'transient' }), worker('c', { restart: 'temporary' })]),
    step(terminate('a'), terminate('b'), terminate('c'), terminate('d'), which, count),
    step(terminate('a'), restart('a'), restart('c'), stop),
  ),
  scenario(
    'restart_child of a child that runs, is not there, or fails',
    oneForOne([worker('a'), worker('b', { starts: ['ok', 'fail', 'ignore'] })]),
    step(restart('a'), restart('c'), terminate('b'), restart('b'), restart('b'), restart('b'), which),
    step(stop),
  ),
  scenario(
    'delete_child of a child that runs, is not there, or is stopped',
    oneForOne([worker('a'), worker('b')]),
    step(remove('a'), remove('c'), terminate('a'), remove('a'), remove('a'), which),
    step(start(worker('a')), which, stop),
  ),
  scenario(
    'a restart keeps the place of the child',
    oneForOne(abc),
    step(terminate('a'), restart('a'), exit('b'), which),
    step(stop),
  ),

  // Supervisors of supervisors
  scenario(
    'a tree starts from left to right and stops from right to left',
    oneForOne([
      worker('a'),
      nested('s', oneForOne([worker('x'), nested('t', oneForOne([worker('y')]))])),
      worker('b'),
    ]),
    step(which, count, stop),
  ),
  scenario(
    'a child below is restarted below',
    oneForOne([worker('a'), nested('s', oneForAll([worker('x'), worker('y')]))]),
    below('root/s', exit('y'), which),
    step(stop),
  ),
  scenario(
    'a supervisor that gives up is restarted by the one above, if it is permanent',
    oneForOne([worker('a'), nested('s', oneForOne([worker('x'), worker('y')], 0)), worker('b')]),
    below('root/s', exit('x')),
    below('root/s', exit('y'), exit('x'), which),
    step(which, stop),
  ),
  scenario(
    'a supervisor that gives up ends in order, so a transient one is not restarted',
    oneForOne([worker('a'), nested('s', oneForOne([worker('x')], 0), { restart: 'transient' })]),
    below('root/s', exit('x')),
    step(which, restart('s')),
    below('root/s', exit('x')),
    step(remove('s'), which, stop),
  ),
  scenario(
    'a temporary supervisor that gives up is forgotten',
    oneForAll([worker('a'), nested('s', oneForOne([worker('x')], 0), { restart: 'temporary' })]),
    below('root/s', exit('x')),
    step(which, stop),
  ),
  scenario(
    'giving up goes all the way up',
    oneForOne(
      [nested('s', oneForOne([nested('t', oneForOne([worker('x')], 0)), worker('y')], 0)), worker('a')],
      0,
    ),
    below('root/s/t', exit('x')),
  ),
  scenario(
    'rest_for_one above: a supervisor that gives up takes along what started after it',
    restForOne([worker('a'), nested('s', oneForOne([worker('x')], 0)), worker('b')]),
    below('root/s', exit('x')),
    step(stop),
  ),
  scenario(
    'a supervisor whose child does not start does not start',
    oneForOne([
      worker('a'),
      nested('s', oneForOne([worker('x'), worker('y', { starts: ['fail'] })])),
      worker('b'),
    ]),
  ),
  scenario(
    'a supervisor whose child does not start any more is tried again',
    oneForOne([worker('a'), nested('s', oneForOne([worker('x', { starts: ['ok', 'fail', 'fail'] })], 1))]),
    below('root/s', exit('x')),
    step(which, stop),
  ),
  scenario(
    'a supervisor is added, terminated, restarted and deleted like any child',
    oneForOne([worker('a')]),
    step(start(nested('s', oneForOne([worker('x')]))), which, count),
    below('root/s', start(worker('y')), which),
    step(terminate('s'), which, restart('s'), which),
    below('root/s', which),
    step(remove('s'), terminate('s'), remove('s'), which, stop),
  ),
  scenario(
    'start_child of a supervisor whose child does not start',
    oneForOne([worker('a')]),
    step(start(nested('s', oneForOne([worker('x'), worker('y', { starts: ['raise'] })]))), which, stop),
  ),
];
