// The answer in words: the same in the verdict bar, in announcements and in the page before the engine runs.

import type { Report } from '../engine.js';

const words: Record<Report['outcome'], string> = {
  allow: 'Allowed',
  deny: 'Denied',
  unauthenticated: 'Not authenticated',
  refused: 'Refused',
  'cannot-decide': 'Cannot decide',
};

/** `403 Denied`; a status is shown only where there is one. */
export function answerText({ outcome, status }: Report): string {
  return outcome === 'cannot-decide' ? words[outcome] : `${status} ${words[outcome]}`;
}
