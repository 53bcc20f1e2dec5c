// Tests run the sources, but worker processes run what is built: it must not be older.
import { setUp } from './set-up.js';

export const setup = setUp;
