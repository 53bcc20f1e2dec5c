/** The last events of interest to operators, for streams of them. */
import { EventRing, type EventRingOptions } from './event-ring.ts';
import type { EventName, Events } from './events.ts';
import { operatorEvent, serverEvents, supervisorOperatorEvent } from './operator-events.ts';

export interface EventLogOptions extends Omit<EventRingOptions, 'keep'> {
  readonly events: Events;
  readonly keep?: number;
}

const KEPT_EVENTS = 1_000;

export class EventLog extends EventRing {
  readonly #ends: readonly (() => void)[];

  constructor({ events, keep = KEPT_EVENTS, ...ring }: EventLogOptions) {
    super({ keep, ...ring });
    this.#ends = [
      ...serverEvents().map((name) => this.#follow(events, name)),
      events.on('supervisor', (event) => {
        const { type, members } = supervisorOperatorEvent(event);
        this.append(type, members);
      }),
    ];
  }

  /** Takes no more events. */
  close(): void {
    for (const end of this.#ends) end();
  }

  #follow(events: Events, name: Exclude<EventName, 'supervisor'>): () => void {
    return events.on(name, (event) => {
      const told = operatorEvent(name, event);
      if (told !== undefined) this.append(told.type, told.members);
    });
  }
}
