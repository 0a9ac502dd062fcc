// YAML for the editor: colours, folding and indentation, line by line. It also works on text that does not parse;
// whether a policy is right is for the engine to say.

import { LanguageSupport, StreamLanguage, foldService } from '@codemirror/language';
import type { StringStream } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';

interface State {
  /** Column of the innermost key or dash. */
  column: number;
  /** A key ended the line: what follows is nested in it. */
  opens: boolean;
  /** Column of the key whose block text (`|` or `>`) goes on; -1 outside of one. */
  block: number;
  /** The open quotation mark, or nothing. */
  quote: string;
  /** How many `[` and `{` are open. */
  depth: number;
}

const language = StreamLanguage.define<State>({
  name: 'yaml',
  startState: () => ({ column: 0, opens: false, block: -1, quote: '', depth: 0 }),
  token,
  indent({ column, opens, block, quote, depth }, _, { unit }) {
    if (block >= 0 || quote !== '' || depth > 0) return null;
    return opens ? column + unit : column;
  },
  languageData: { commentTokens: { line: '#' }, closeBrackets: { brackets: ['[', '{', '"', "'"] } },
});

export const yaml = new LanguageSupport(language, foldService.of(foldAt));

/** The name of a highlighting tag, or null. */
function token(stream: StringStream, state: State): string | null {
  if (stream.sol()) {
    if (state.block >= 0 && (stream.indentation() > state.block || /^\s*$/.test(stream.string))) {
      stream.skipToEnd();
      return 'string';
    }
    state.block = -1;
    state.opens = false;
    if (state.quote === '' && stream.match(/^(?:---|\.\.\.)(?=\s|$)/)) {
      state.column = 0;
      return 'meta';
    }
  }
  if (state.quote !== '') return quoted(stream, state);
  if (stream.eatSpace()) return null;
  const before = stream.string.charAt(stream.pos - 1);
  if (stream.peek() === '#' && (stream.pos === 0 || /\s/.test(before))) {
    stream.skipToEnd();
    return 'comment';
  }
  return structure(stream, state) ?? scalar(stream, state);
}

function structure(stream: StringStream, state: State): string | null {
  const at = stream.pos;
  if (state.depth === 0 && stream.match(/^-(?=\s|$)/)) {
    state.column = at;
    return 'punctuation';
  }
  if (stream.match(/^[[{]/)) {
    state.depth += 1;
    return 'punctuation';
  }
  if (state.depth > 0 && stream.match(/^[\]},]/)) {
    if (stream.current() !== ',') state.depth -= 1;
    return 'punctuation';
  }
  if (stream.match(/^:(?=[\s,\]}]|$)/)) {
    state.opens = state.depth === 0 && stream.match(/^\s*(?:#.*)?$/, false) !== null;
    return 'punctuation';
  }
  if (state.depth === 0 && stream.match(/^[|>][+\-\d]*(?=\s*(?:\s#.*)?$)/)) {
    state.block = state.column;
    return 'keyword';
  }
  return null;
}

const plainKey = /^[^\s[\]{},#&*!|>'"%@`-][^#:,[\]{}]*?(?=\s*:(?:\s|$))/;
const quotedKey = /^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')(?=\s*:(?:\s|$))/;

function scalar(stream: StringStream, state: State): string | null {
  const at = stream.pos;
  if (stream.match(plainKey) || stream.match(quotedKey)) {
    if (state.depth === 0) state.column = at;
    return 'propertyName';
  }
  if (stream.match(/^["']/)) {
    state.quote = stream.current();
    return quoted(stream, state);
  }
  if (stream.match(/^[&*!][^\s,[\]{}]*/)) return 'labelName';
  stream.match(state.depth > 0 ? /^(?:[^\s,[\]{}:#]|:(?![\s,\]}]|$)|\S#|\s+(?![\s#]|$)(?![,[\]{}]))+/ : /^(?:[^\s:]|:(?!\s|$)|\s+(?![\s#]|$))+/);
  const text = stream.current();
  if (text === '') stream.next();
  return /^(?:[-+]?\d[\d.]*|true|false|null|~)$/.test(text) ? 'number' : 'string';
}

/** The rest of a quoted scalar, up to its end or the end of the line. */
function quoted(stream: StringStream, state: State): string {
  const ended = stream.match(state.quote === '"' ? /^(?:[^"\\]|\\.)*"/ : /^(?:[^']|'')*'(?!')/);
  if (ended) state.quote = '';
  else stream.skipToEnd();
  return 'string';
}

/** A line folds the lines below that are deeper; a list may stand as deep as its key. */
function foldAt({ doc }: EditorState, start: number, end: number): { from: number; to: number } | null {
  const first = doc.lineAt(start);
  const column = first.text.search(/[^\s#]/);
  if (column < 0) return null;
  const isItem = /^\s*-\s/.test(first.text);
  let to = end;
  for (let number = first.number + 1; number <= doc.lines; number += 1) {
    const line = doc.line(number);
    const at = line.text.search(/\S/);
    if (at < 0) continue;
    if (at < column || (at === column && (isItem || !/^\s*-(?:\s|$)/.test(line.text)))) break;
    to = line.to;
  }
  return to > end ? { from: end, to } : null;
}
