export { MAX_TURN_MS, Turns } from '../protocols/turns.ts';
