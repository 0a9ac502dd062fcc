// Marked lines: those that decided (or came closest), and those the reader points at in the trace.

import { RangeSetBuilder, StateEffect, StateField } from '@codemirror/state';
import type { Extension, Text } from '@codemirror/state';
import { Decoration, EditorView } from '@codemirror/view';
import type { DecorationSet } from '@codemirror/view';

import type { Range } from '../engine.js';

export type Tone = 'allow' | 'deny' | 'unauthenticated' | 'unclear';

export interface Decided {
  range: Range;
  tone: Tone;
}

export const setDecided = StateEffect.define<Decided | undefined>();
export const setPointed = StateEffect.define<Range | undefined>();

const decidedField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = marks.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (effect.is(setDecided)) {
        next = lineMarks(transaction.newDoc, effect.value?.range, `cm-decided cm-decided-${effect.value?.tone ?? 'unclear'}`);
      }
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

const pointedField = StateField.define<DecorationSet>({
  create: () => Decoration.none,
  update(marks, transaction) {
    let next = marks.map(transaction.changes);
    for (const effect of transaction.effects) {
      if (effect.is(setPointed)) next = lineMarks(transaction.newDoc, effect.value, 'cm-pointed');
    }
    return next;
  },
  provide: (field) => EditorView.decorations.from(field),
});

export const marks: Extension = [decidedField, pointedField];

/** A range of the engine within this document: an end at the start of a line does not touch that line. */
export function clamp(doc: Text, { start, end }: Range): { from: number; to: number } {
  const from = Math.min(start.offset, doc.length);
  let to = Math.min(Math.max(end.offset, from), doc.length);
  while (to > from && /\s/.test(doc.sliceString(to - 1, to))) to -= 1;
  return { from, to };
}

function lineMarks(doc: Text, range: Range | undefined, className: string): DecorationSet {
  if (!range) return Decoration.none;
  const { from, to } = clamp(doc, range);
  const builder = new RangeSetBuilder<Decoration>();
  const mark = Decoration.line({ class: className });
  for (let number = doc.lineAt(from).number; number <= doc.lineAt(to).number; number += 1) {
    const { from: start } = doc.line(number);
    builder.add(start, start, mark);
  }
  return builder.finish();
}
