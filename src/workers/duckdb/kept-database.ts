/** The name under which the file of a kept result is attached. */
export const KEPT = 'kept';
