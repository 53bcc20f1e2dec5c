import type { Config } from './schema.ts';

/** The configuration in force. Whoever needs a setting asks here at the moment it counts, and so follows a reload. */
export class LiveConfig {
  #current: Config;
  #version = 1;

  constructor(config: Config) {
    this.#current = config;
  }

  get current(): Config {
    return this.#current;
  }

  /** Counts the configurations that have been in force, from 1. */
  get version(): number {
    return this.#version;
  }

  replace(config: Config): void {
    this.#current = config;
    this.#version += 1;
  }
}
