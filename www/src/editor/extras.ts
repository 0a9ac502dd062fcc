// Completion and closing brackets: a chunk of its own, so that the first verdict need not wait for it.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { Prec } from '@codemirror/state';
import type { Extension } from '@codemirror/state';
import { keymap } from '@codemirror/view';

import { completePolicy } from './completion.js';

/** Ahead of the editor's own keys: Escape first closes what is open here. */
export const extras: Extension = [
  closeBrackets(),
  autocompletion({ override: [completePolicy], icons: false }),
  Prec.high(keymap.of([...closeBracketsKeymap, ...completionKeymap])),
];
