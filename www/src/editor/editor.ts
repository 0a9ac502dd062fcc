// The policy editor: CodeMirror 6 with the engine's diagnostics at their lines.

import { history, historyKeymap, indentWithTab, moveLineDown, moveLineUp, standardKeymap, toggleComment } from '@codemirror/commands';
import { foldGutter, foldKeymap } from '@codemirror/language';
import { Annotation, Compartment, EditorState } from '@codemirror/state';
import type { Transaction } from '@codemirror/state';
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
import { clamp, marks, setDecided, setPointed } from './marks.js';
import type { Decided } from './marks.js';
import { problemAfter, problems, setProblems } from './problems.js';
import { editorTheme } from './theme.js';
import { yaml } from './yaml.js';

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
          problems,
          foldGutter(),
          extras.of([]),
          history(),
          drawSelection(),
          dropCursor(),
          EditorState.allowMultipleSelections.of(true),
          EditorState.tabSize.of(2),
          highlightActiveLine(),
          yaml,
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
            { key: 'Mod-/', run: toggleComment },
            { key: 'Alt-ArrowUp', run: moveLineUp },
            { key: 'Alt-ArrowDown', run: moveLineDown },
            ...standardKeymap,
            ...historyKeymap,
            ...foldKeymap,
            indentWithTab,
          ]),
          EditorView.scrollHandler.of((view, range) => {
            const within = this.#within;
            this.#within = false;
            if (within) scrollTo(view, view.lineBlockAt(range.head).top);
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
    this.#view.dispatch({ effects: setProblems.of(diagnostics) });
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
    this.#moveTo(clamp(this.#view.state.doc, range).from);
    this.#view.focus();
  }

  nextProblem(direction: 1 | -1): void {
    this.#view.focus();
    const position = problemAfter(this.#view.state, direction);
    if (position !== undefined) this.#moveTo(position);
  }

  /** Must be called when the editor becomes visible or changes size outside of a window resize. */
  measure(): void {
    this.#view.requestMeasure();
  }

  destroy(): void {
    this.#view.destroy();
  }

  #moveTo(position: number): void {
    this.#view.dispatch({ selection: { anchor: position }, effects: EditorView.scrollIntoView(position, { y: 'center' }) });
  }
}

/** Scrolls a line to the middle, by whole lines, so that none is cut at the top; not at all when the text's start shows it. */
function scrollTo({ scrollDOM, defaultLineHeight, documentPadding }: EditorView, top: number): void {
  const { clientHeight, scrollHeight } = scrollDOM;
  const wanted = Math.min(top - clientHeight / 2, scrollHeight - clientHeight - documentPadding.top);
  const whole = Math.floor(wanted / defaultLineHeight) * defaultLineHeight + documentPadding.top;
  scrollDOM.scrollTop = top + 2 * defaultLineHeight < clientHeight ? 0 : whole;
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
