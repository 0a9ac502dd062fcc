// The policy editor: CodeMirror 6 with the engine's diagnostics at their lines.

import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, foldGutter, foldKeymap, indentOnInput } from '@codemirror/language';
import { lintGutter, nextDiagnostic, previousDiagnostic, setDiagnostics } from '@codemirror/lint';
import type { Diagnostic as Squiggle } from '@codemirror/lint';
import { Annotation, Compartment, EditorState } from '@codemirror/state';
import type { Text, Transaction } from '@codemirror/state';
import {
  EditorView,
  drawSelection,
  dropCursor,
  highlightActiveLine,
  highlightActiveLineGutter,
  keymap,
  lineNumbers,
  placeholder,
} from '@codemirror/view';

import type { Diagnostic, Range } from '../engine.js';
import { sentence } from '../views/sentence.js';
import { clamp, marks, setDecided, setPointed } from './marks.js';
import type { Decided } from './marks.js';
import { editorTheme } from './theme.js';

export interface EditorEvents {
  changed(text: string): void;
  /** Escape was pressed with nothing left to close. */
  left(): void;
}

/** Starts with the page; the editor works without it. */
const loadedExtras = import('./extras.js');

/** A text set by the page, not typed: it is not reported as a change. */
const fromPage = Annotation.define<boolean>();

export class PolicyEditor {
  readonly #view: EditorView;
  /** The next scrolling stays within the editor. */
  #within = false;

  constructor(parent: HTMLElement, root: ShadowRoot, events: EditorEvents) {
    const extras = new Compartment();
    const leave = (view: EditorView): boolean => {
      if (!view.state.selection.main.empty) return false;
      events.left();
      return true;
    };
    this.#view = new EditorView({
      parent,
      root,
      state: EditorState.create({
        extensions: [
          lineNumbers(),
          highlightActiveLineGutter(),
          lintGutter(),
          foldGutter(),
          extras.of([]),
          history(),
          drawSelection(),
          dropCursor(),
          EditorState.allowMultipleSelections.of(true),
          EditorState.tabSize.of(2),
          indentOnInput(),
          bracketMatching(),
          highlightActiveLine(),
          yaml(),
          placeholder('Paste RequestAuthentication and AuthorizationPolicy documents here, or choose an example above.'),
          marks,
          editorTheme,
          EditorView.contentAttributes.of({
            'aria-label': 'Policies, YAML',
            'aria-describedby': 'editor-hint',
            tabindex: '0',
            spellcheck: 'false',
            autocapitalize: 'off',
            autocorrect: 'off',
          }),
          keymap.of([
            { key: 'Escape', run: leave },
            ...defaultKeymap,
            ...historyKeymap,
            ...foldKeymap,
            indentWithTab,
          ]),
          EditorView.scrollHandler.of((view, range) => {
            const within = this.#within;
            this.#within = false;
            if (within) view.scrollDOM.scrollTop = view.lineBlockAt(range.head).top - view.scrollDOM.clientHeight / 2;
            return within;
          }),
          EditorView.domEventHandlers({ beforeinput: replaceSelection }),
          EditorView.updateListener.of((update) => {
            const typed = update.transactions.some((each) => each.docChanged && each.annotation(fromPage) !== true);
            if (typed) events.changed(update.state.doc.toString());
          }),
        ],
      }),
    });
    void loadedExtras.then(
      (loaded) => this.#view.dispatch({ effects: extras.reconfigure(loaded.extras) }),
      () => undefined,
    );
  }

  get text(): string {
    return this.#view.state.doc.toString();
  }

  setText(text: string): void {
    if (text === this.text) return;
    this.#view.dispatch({
      changes: { from: 0, to: this.#view.state.doc.length, insert: text },
      selection: { anchor: 0 },
      annotations: fromPage.of(true),
    });
    this.#view.scrollDOM.scrollTop = 0;
  }

  setDiagnostics(diagnostics: Diagnostic[]): void {
    const { state } = this.#view;
    const squiggles = diagnostics.flatMap((each) => squiggle(state.doc, each));
    squiggles.sort((a, b) => a.from - b.from);
    this.#view.dispatch(setDiagnostics(state, squiggles));
  }

  setDecided(decided: Decided | undefined): void {
    this.#view.dispatch({ effects: setDecided.of(decided) });
  }

  point(range: Range | undefined): void {
    this.#view.dispatch({ effects: setPointed.of(range) });
  }

  /** Brings lines into view within the editor: neither cursor, focus nor the page around moves. */
  show(range: Range): void {
    const { from } = clamp(this.#view.state.doc, range);
    this.#within = true;
    this.#view.dispatch({ effects: EditorView.scrollIntoView(from) });
  }

  goTo(range: Range): void {
    const { from } = clamp(this.#view.state.doc, range);
    this.#view.dispatch({ selection: { anchor: from }, effects: EditorView.scrollIntoView(from, { y: 'center' }) });
    this.#view.focus();
  }

  nextProblem(direction: 1 | -1): void {
    this.#view.focus();
    if (direction === 1) nextDiagnostic(this.#view);
    else previousDiagnostic(this.#view);
  }

  /** Must be called when the editor becomes visible or changes size outside of a window resize. */
  measure(): void {
    this.#view.requestMeasure();
  }

  destroy(): void {
    this.#view.destroy();
  }
}

/**
 * Typing over a selection: left to itself, Chromium styles the new text inline for a moment, which the page's security
 * policy reports as an error.
 */
function replaceSelection(event: InputEvent, view: EditorView): boolean {
  const { data, inputType, isComposing } = event;
  const { main, ranges } = view.state.selection;
  if (inputType !== 'insertText' || data === null || isComposing || main.empty || ranges.length > 1) return false;
  event.preventDefault();
  const insert = (): Transaction =>
    view.state.update(view.state.replaceSelection(data), { userEvent: 'input.type', scrollIntoView: true });
  const handled = view.state.facet(EditorView.inputHandler).some((handle) => handle(view, main.from, main.to, data, insert));
  if (!handled) view.dispatch(insert());
  return true;
}

function squiggle(doc: Text, diagnostic: Diagnostic): Squiggle[] {
  const { range, severity, message, help, code } = diagnostic;
  if (!range) return [];
  const text = help === undefined ? sentence(message) : `${sentence(message)}\n${sentence(help)}`;
  return [{ ...clamp(doc, range), severity, source: code, message: text }];
}
