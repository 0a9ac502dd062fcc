// Completion by indentation: finds the path of keys above the cursor and offers what fits there. Works on YAML that
// does not parse, which is when completion is wanted.

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete';
import type { Text } from '@codemirror/state';

import { documentFields } from './schema.js';
import type { Field, Fields } from './schema.js';

const keyLine = /^([ -]*)([A-Za-z][\w.]*):(?:\s+(.*))?$/;

export function completePolicy(context: CompletionContext): CompletionResult | null {
  const { doc } = context.state;
  const line = doc.lineAt(context.pos);
  const before = line.text.slice(0, context.pos - line.from);
  const word = context.matchBefore(/[\w./[\]]*/);
  const from = word?.from ?? context.pos;
  if (!context.explicit && from === context.pos) return null;

  const value = /^([ -]*)([A-Za-z]\w*):\s+(?:\[.*|["']?)[\w./[\]]*$/.exec(before);
  if (value) {
    const path = [...parents(doc, line.number, value[1]?.length ?? 0), value[2] ?? ''];
    return offer(from, valuesOf(find(doc, line.number, path)));
  }
  const start = /^([ -]*)[\w./[\]]*$/.exec(before);
  if (!start) return null;
  const path = parents(doc, line.number, start[1]?.length ?? 0);
  const parent = path.length === 0 ? undefined : find(doc, line.number, path);
  const fields = path.length === 0 ? documentFields(kindOf(doc, line.number)) : parent?.fields;
  return fields ? offer(from, keysOf(fields)) : offer(from, valuesOf(parent));
}

function offer(from: number, options: Completion[]): CompletionResult | null {
  return options.length === 0 ? null : { from, options, validFor: /^[\w./[\]]*$/ };
}

function keysOf(fields: Fields): Completion[] {
  return Object.entries(fields).map(([label, { detail, values, list, fields: inner }]) => ({
    label,
    type: 'property',
    apply: `${label}:${inner || (list && !values) ? '' : ' '}`,
    ...(detail === undefined ? {} : { detail }),
  }));
}

function valuesOf(field: Field | undefined): Completion[] {
  return (field?.values ?? []).map((label) => ({ label, type: 'constant' }));
}

/** Keys above a line, from the outermost, each less indented than the next. A dash counts as indentation. */
function parents(doc: Text, lineNumber: number, indent: number): string[] {
  const path: string[] = [];
  let limit = indent;
  for (let number = lineNumber - 1; number > 0 && limit > 0; number -= 1) {
    const { text } = doc.line(number);
    if (text.startsWith('---')) break;
    const match = keyLine.exec(text);
    const column = match?.[1]?.length ?? 0;
    if (match?.[2] !== undefined && column < limit && !match[3]) {
      path.unshift(match[2]);
      limit = column;
    }
  }
  return path;
}

function find(doc: Text, lineNumber: number, path: string[]): Field | undefined {
  let fields: Fields | undefined = documentFields(kindOf(doc, lineNumber));
  let field: Field | undefined;
  for (const key of path) {
    field = fields?.[key];
    fields = field?.fields;
  }
  return field;
}

function kindOf(doc: Text, lineNumber: number): string | undefined {
  let first = lineNumber;
  while (first > 1 && !doc.line(first).text.startsWith('---')) first -= 1;
  for (let number = first; number <= doc.lines; number += 1) {
    const { text } = doc.line(number);
    if (number > lineNumber && text.startsWith('---')) return undefined;
    const match = /^kind:\s*(\w+)/.exec(text);
    if (match) return match[1];
  }
  return undefined;
}
