// Search and completion: a chunk of its own, so that the first verdict need not wait for it.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { highlightSelectionMatches, search, searchKeymap } from '@codemirror/search';
import { Prec } from '@codemirror/state';
import type { Extension } from '@codemirror/state';
import { keymap } from '@codemirror/view';

import { completePolicy } from './completion.js';

/** Ahead of the editor's own keys: Escape first closes what is open here. */
export const extras: Extension = [
  closeBrackets(),
  highlightSelectionMatches(),
  search({ top: true }),
  autocompletion({ override: [completePolicy], icons: false }),
  Prec.high(keymap.of([...closeBracketsKeymap, ...searchKeymap, ...completionKeymap])),
];
