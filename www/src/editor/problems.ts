// The engine's diagnostics in the editor: underlined, marked in the gutter, told on hover, and walked by F8.

import { RangeSet, StateEffect, StateField } from '@codemirror/state';
import type { EditorState, Extension, Range, Text } from '@codemirror/state';
import { Decoration, EditorView, GutterMarker, gutter, hoverTooltip } from '@codemirror/view';
import type { DecorationSet } from '@codemirror/view';

import type { Diagnostic } from '../engine.js';
import { sentence } from '../views/sentence.js';
import { clamp } from './marks.js';

type Severity = Diagnostic['severity'];

const severities: readonly Severity[] = ['info', 'warning', 'error'];

export const setProblems = StateEffect.define<readonly Diagnostic[]>();

class ProblemMarker extends GutterMarker {
  constructor(
    readonly severity: Severity,
    readonly message: string,
  ) {
    super();
  }

  override eq(other: ProblemMarker): boolean {
    return other.severity === this.severity && other.message === this.message;
  }

  override toDOM(): Node {
    const element = document.createElement('div');
    element.className = `cm-problem-marker cm-problem-marker-${this.severity}`;
    element.title = this.message;
    return element;
  }
}

interface Problems {
  underlines: DecorationSet;
  markers: RangeSet<ProblemMarker>;
}

const problemsField = StateField.define<Problems>({
  create: () => ({ underlines: Decoration.none, markers: RangeSet.empty }),
  update({ underlines, markers }, { changes, effects, newDoc }) {
    const set = effects.findLast((effect) => effect.is(setProblems));
    return set
      ? { underlines: underlinesOf(newDoc, set.value), markers: markersOf(newDoc, set.value) }
      : { underlines: underlines.map(changes), markers: markers.map(changes) };
  },
  provide: (field) => EditorView.decorations.from(field, ({ underlines }) => underlines),
});

export const problems: Extension = [
  problemsField,
  gutter({ class: 'cm-problem-gutter', markers: ({ state }) => state.field(problemsField).markers }),
  hoverTooltip(({ state }, position) => {
    const found = problemsIn(state, position, position);
    const [first] = found;
    if (!first) return null;
    const create = () => ({ dom: tooltip(found) });
    return { pos: first.from, end: Math.max(...found.map(({ to }) => to)), above: true, create };
  }),
];

/** The start of the next or previous problem, around the end of the text. */
export function problemAfter(state: EditorState, direction: 1 | -1): number | undefined {
  const starts = problemsIn(state, 0, state.doc.length).map(({ from }) => from);
  const { head } = state.selection.main;
  return direction === 1
    ? starts.find((start) => start > head) ?? starts[0]
    : starts.findLast((start) => start < head) ?? starts.at(-1);
}

interface Found {
  from: number;
  to: number;
  severity: Severity;
  message: string;
}

function problemsIn(state: EditorState, start: number, end: number): Found[] {
  const found: Found[] = [];
  state.field(problemsField).underlines.between(start, end, (from, to, { spec }) => {
    found.push({ from, to, severity: spec['severity'], message: spec['message'] });
  });
  return found;
}

function underlinesOf(doc: Text, diagnostics: readonly Diagnostic[]): DecorationSet {
  const underlines = diagnostics.flatMap((diagnostic): Range<Decoration>[] => {
    if (!diagnostic.range) return [];
    const range = clamp(doc, diagnostic.range);
    const { from } = range;
    // A finding about a whole list is shown where it begins.
    const to = Math.min(range.to, doc.lineAt(from).to);
    const { severity } = diagnostic;
    const spec = { class: `cm-problem-${severity}`, severity, message: messageOf(diagnostic) };
    // What is missing has no width: one character beside it stands for it.
    const start = from === to && to === doc.lineAt(to).to ? Math.max(doc.lineAt(to).from, from - 1) : from;
    const stop = from === to ? Math.min(start + 1, doc.lineAt(start).to) : to;
    return start === stop ? [] : [Decoration.mark(spec).range(start, stop)];
  });
  return Decoration.set(underlines, true);
}

/** One marker a line, for the worst problem there. */
function markersOf(doc: Text, diagnostics: readonly Diagnostic[]): RangeSet<ProblemMarker> {
  const byLine = new Map<number, Diagnostic[]>();
  for (const diagnostic of diagnostics) {
    if (!diagnostic.range) continue;
    const { from } = doc.lineAt(clamp(doc, diagnostic.range).from);
    byLine.set(from, [...(byLine.get(from) ?? []), diagnostic]);
  }
  const markers = [...byLine].map(([line, found]) => {
    const worst = severities.findLast((severity) => found.some((each) => each.severity === severity)) ?? 'info';
    return new ProblemMarker(worst, found.map(messageOf).join('\n\n')).range(line);
  });
  return RangeSet.of(markers, true);
}

function messageOf({ message, help }: Diagnostic): string {
  const text = help === undefined ? sentence(message) : `${sentence(message)}\n${sentence(help)}`;
  return text.replaceAll('`', '');
}

function tooltip(found: Found[]): HTMLElement {
  const list = document.createElement('div');
  for (const { severity, message } of found) {
    const item = document.createElement('p');
    item.className = `cm-problem-text cm-problem-text-${severity}`;
    item.textContent = message;
    list.append(item);
  }
  return list;
}
