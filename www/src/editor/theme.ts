// Looks of the editor. Colours are the element's variables, so light and dark need no second theme.

import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import type { Extension } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { tags } from '@lezer/highlight';

const highlight = HighlightStyle.define([
  { tag: [tags.definition(tags.propertyName), tags.propertyName], color: 'var(--code-key)' },
  { tag: [tags.string, tags.content], color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword, tags.labelName, tags.typeName], color: 'var(--code-number)' },
  { tag: [tags.comment, tags.lineComment, tags.meta], color: 'var(--code-comment)' },
  { tag: [tags.punctuation, tags.separator, tags.squareBracket, tags.brace], color: 'var(--portcullis-muted)' },
]);

const underline = (colour: string): Record<string, string> => ({
  textDecoration: `underline wavy ${colour}`,
  textDecorationSkipInk: 'none',
  textUnderlineOffset: '3px',
});

const marker = (colour: string, shape: Record<string, string>): Record<string, string> => ({
  content: '""',
  width: '8px',
  height: '8px',
  margin: '6px 3px',
  background: colour,
  ...shape,
});

const looks = EditorView.theme({
  '&': { height: '100%', color: 'var(--portcullis-text)', backgroundColor: 'var(--portcullis-bg)', fontSize: '13px' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--portcullis-mono)', lineHeight: '20px', fontVariantLigatures: 'none' },
  '.cm-content': { padding: '8px 0', caretColor: 'var(--portcullis-text)' },
  '.cm-line': { padding: '0 12px 0 8px' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--portcullis-text)' },
  '.cm-gutters': {
    backgroundColor: 'var(--portcullis-bg)',
    color: 'var(--portcullis-muted)',
    border: 'none',
    paddingLeft: '4px',
  },
  '.cm-lineNumbers .cm-gutterElement': { minWidth: '24px', padding: '0 4px 0 0', fontVariantNumeric: 'tabular-nums' },
  '.cm-foldGutter': { width: '16px' },
  '.cm-foldGutter .cm-gutterElement': { width: '14px', textAlign: 'center', cursor: 'pointer' },
  '.cm-foldGutter [title="Fold line"]': { opacity: '0' },
  '.cm-gutters:hover .cm-foldGutter [title="Fold line"]': { opacity: '1' },
  '@media (hover: none)': { '.cm-foldGutter [title="Fold line"]': { opacity: '1' } },
  '.cm-problem-gutter': { width: '14px' },
  '.cm-problem-marker-error': marker('var(--portcullis-deny)', { borderRadius: '50%' }),
  '.cm-problem-marker-warning': marker('var(--portcullis-warn)', { clipPath: 'polygon(50% 0, 100% 100%, 0 100%)' }),
  '.cm-problem-marker-info': marker('var(--portcullis-accent)', { borderRadius: '1px' }),
  '.cm-activeLine': { backgroundColor: 'var(--line-active)' },
  '.cm-activeLineGutter': { backgroundColor: 'var(--line-active)', color: 'var(--portcullis-text)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': {
    backgroundColor: 'var(--selection)',
  },
  '.cm-problem-error': underline('var(--portcullis-deny)'),
  '.cm-problem-warning': underline('var(--portcullis-warn)'),
  '.cm-problem-info': underline('var(--portcullis-accent)'),
  '.cm-decided-allow': { backgroundColor: 'var(--allow-tint)', boxShadow: 'inset 3px 0 var(--portcullis-allow)' },
  '.cm-decided-deny': { backgroundColor: 'var(--deny-tint)', boxShadow: 'inset 3px 0 var(--portcullis-deny)' },
  '.cm-decided-unauthenticated': {
    backgroundColor: 'var(--unauth-tint)',
    boxShadow: 'inset 3px 0 var(--portcullis-unauth)',
  },
  '.cm-decided-unclear': { backgroundColor: 'var(--warn-tint)', boxShadow: 'inset 3px 0 var(--portcullis-warn)' },
  '@media (forced-colors: active)': { '.cm-decided': { outline: '2px solid Highlight', outlineOffset: '-2px' } },
  '.cm-pointed': { outline: '1px solid var(--portcullis-accent)', outlineOffset: '-1px' },
  '.cm-foldPlaceholder': {
    background: 'var(--portcullis-panel)',
    border: '1px solid var(--hairline)',
    color: 'var(--portcullis-muted)',
    padding: '0 6px',
  },
  '.cm-placeholder': { color: 'var(--portcullis-muted)' },
  '.cm-tooltip': {
    backgroundColor: 'var(--portcullis-bg)',
    color: 'var(--portcullis-text)',
    border: '1px solid var(--portcullis-border)',
    borderRadius: 'var(--portcullis-radius)',
    boxShadow: 'var(--menu-shadow)',
  },
  '.cm-problem-text': {
    maxWidth: '460px',
    margin: '0',
    padding: '6px 10px',
    fontFamily: 'var(--portcullis-font)',
    fontSize: '14px',
    lineHeight: '20px',
    whiteSpace: 'pre-line',
    borderLeft: '3px solid',
  },
  '.cm-problem-text-error': { borderLeftColor: 'var(--portcullis-deny)' },
  '.cm-problem-text-warning': { borderLeftColor: 'var(--portcullis-warn)' },
  '.cm-problem-text-info': { borderLeftColor: 'var(--portcullis-accent)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--portcullis-mono)', fontSize: '13px', maxHeight: '240px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '2px 8px', lineHeight: '20px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': {
    background: 'var(--portcullis-accent)',
    color: 'var(--portcullis-bg)',
  },
  '.cm-completionDetail': { fontStyle: 'normal', opacity: '0.8', fontFamily: 'var(--portcullis-font)' },
});

export const editorTheme: Extension = [looks, syntaxHighlighting(highlight)];
