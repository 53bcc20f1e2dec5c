/** What the server and its egress process say to each other: JSON documents, a line each. */
import { z } from 'zod';

/** The end of the channel in the egress process. */
export const CHANNEL_FD = 3;
/** The longest line, in bytes. */
export const MAX_LINE = 64 * 1024;
/** Milliseconds from one sign of life to the next. */
export const HEARTBEAT_MS = 1_000;

const configure = z.strictObject({
  type: z.literal('configure'),
  folder: z.string().min(1),
  host: z.string().min(1),
  /** 0 for any that is free. */
  port: z.int().min(0).max(65_535),
  /** What the links are signed with, in base64url. */
  key: z.string().length(43),
  /** Milliseconds. */
  clientWriteTimeoutMs: z.number().positive(),
});
export type Configure = z.infer<typeof configure>;

const toEgress = z.discriminatedUnion('type', [
  configure,
  z.strictObject({ type: z.literal('settings'), clientWriteTimeoutMs: z.number().positive() }),
  /** Nothing new; what is being downloaded has so many milliseconds to end. Then the process ends. */
  z.strictObject({ type: z.literal('stop'), withinMs: z.number().nonnegative() }),
]);
export type ToEgress = z.infer<typeof toEgress>;

const fromEgress = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('listening'), url: z.string(), port: z.int() }),
  /** It cannot start and says why, before it exits: a code of the system (errno(3)) where there is one. */
  z.strictObject({ type: z.literal('failed'), detail: z.string(), code: z.string().optional() }),
  z.strictObject({ type: z.literal('heartbeat') }),
]);
export type FromEgress = z.infer<typeof fromEgress>;

export const decodeToEgress = (value: unknown): ToEgress => toEgress.parse(value);
export const decodeFromEgress = (value: unknown): FromEgress => fromEgress.parse(value);
