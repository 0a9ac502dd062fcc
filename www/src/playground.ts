// <portcullis-playground>: policy, request, verdict and trace in one element. Its light children stand in until the
// engine runs.
//
// Attributes: `preset` (folder of an example, or folder/file), `theme` (light, dark; else the system's).
// Reflected: `ready` once the first verdict is shown, `layout` (wide, medium, narrow) from its width.
// Events: portcullis-ready, portcullis-decision {outcome, status, policy, rule, line, ms}, portcullis-theme {theme}.

import { LitElement, html, nothing } from 'lit';
import type { PropertyValues, TemplateResult } from 'lit';

import { PolicyEditor } from './editor/editor.js';
import type { Tone } from './editor/marks.js';
import { startEngine } from './engine.js';
import type { EngineHost, LoadReport, Range, Report } from './engine.js';
import { caseFromScenario, emptyCase } from './model.js';
import type { Case } from './model.js';
import { openingOf } from './presets.js';
import type { Preset } from './presets.js';
import { Session } from './session.js';
import { colors } from './styles/colors.js';
import { controls } from './styles/controls.js';
import { layout } from './styles/layout.js';
import { panes } from './styles/panes.js';
import { findingsView } from './views/findings.js';
import { footerView, headerView } from './views/frame.js';
import { requestView } from './views/request.js';
import { resultView, seenView } from './views/result.js';
import { separatorView } from './views/separator.js';
import { tabList } from './views/tabs.js';
import { TraceTree } from './views/trace.js';
import { announcement, verdictView } from './views/verdict.js';

/** A chunk of its own, beside the engine: it is data, and it grows. */
const loadedPresets = import('virtual:presets');

type Pane = 'policy' | 'request' | 'why';

const paneTabs = [
  { id: 'policy', label: 'Policy', panel: 'pane-policy' },
  { id: 'request', label: 'Request', panel: 'pane-request' },
  { id: 'why', label: 'Why', panel: 'pane-why' },
] satisfies { id: Pane; label: string; panel: string }[];

export class PortcullisPlayground extends LitElement {
  static override styles = [colors, controls, layout, panes];
  static override properties = {
    preset: { type: String },
    theme: { type: String, reflect: true },
    layout: { type: String, reflect: true },
    ready: { type: Boolean, reflect: true },
  };

  declare preset: string;
  declare theme: string | null;
  declare layout: 'wide' | 'medium' | 'narrow';
  declare ready: boolean;

  #engine: EngineHost | undefined;
  #session: Session | undefined;
  /** Set when there is no engine and will be none. */
  #failure: string | undefined;
  #presets: Preset[] = [];
  #chosen: { preset: Preset; request: number } | undefined;
  #original: Case = emptyCase();
  #case: Case = this.#original;
  #editor: PolicyEditor | undefined;
  #shownLoad: LoadReport | undefined;
  #shownReport: Report | undefined;
  #shownStale = 'no';
  #pane: Pane = 'policy';
  #findings: 'problems' | 'policies' = 'problems';
  #shares: { policy: number | undefined; request: number | undefined } = { policy: undefined, request: undefined };
  #announced = '';
  #announceTimer: ReturnType<typeof setTimeout> | undefined;
  #clock: ReturnType<typeof setInterval> | undefined;
  readonly #sizes = new ResizeObserver(() => this.#measure());
  readonly #trace = new TraceTree(this, {
    goTo: (range) => this.#goTo(range),
    point: (range) => this.#editor?.point(range),
  });

  constructor() {
    super();
    this.preset = '';
    this.theme = null;
    this.layout = 'wide';
    this.ready = false;
    this.addEventListener('keydown', (event) => this.#shortcut(event));
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#measure();
    this.#sizes.observe(this);
    this.#clock = setInterval(() => this.#tick(), 1000);
    if (!this.#engine) void this.#start();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#sizes.disconnect();
    clearInterval(this.#clock);
    clearTimeout(this.#announceTimer);
  }

  async #start(): Promise<void> {
    const started = await startEngine();
    switch (started.kind) {
      case 'started':
        this.#engine = started.engine;
        this.#session = new Session(started.engine, () => this.#decided());
        this.#presets = (await loadedPresets).presets;
        this.#openFirst();
        return;
      case 'blocked':
        this.#failure =
          "This page's security policy blocks WebAssembly, so nothing can be decided. Add 'wasm-unsafe-eval' to its script-src.";
        break;
      case 'failed':
        this.#failure = `The engine could not be loaded: ${started.message}`;
    }
    this.requestUpdate();
  }

  #openFirst(): void {
    const opening = openingOf(this.#presets, this.preset);
    if (opening) this.#open(opening.preset, opening.request);
    else this.#change({});
  }

  #open(preset: Preset, request: number): void {
    this.#chosen = { preset, request };
    this.#original = caseFromScenario(preset.policies, preset.scenario, preset.scenario.requests[request]);
    this.#case = this.#original;
    this.#trace.reset();
    this.#editor?.setText(this.#case.policies);
    this.#settle();
    const decided = this.#session?.outcome.report?.decided;
    if (decided) this.#editor?.show(decided);
  }

  #change(patch: Partial<Case>): void {
    this.#case = { ...this.#case, ...patch };
    this.#settle();
  }

  #settle(): void {
    this.#session?.settle(this.#case);
    this.#decided();
  }

  /** Brings the outcome of the session to the screen. */
  #decided(): void {
    const outcome = this.#session?.outcome;
    this.requestUpdate();
    if (!outcome || outcome.waiting) return;
    if (!this.ready && (outcome.report || outcome.stale === 'stopped')) {
      this.ready = true;
      void this.updateComplete.then(() => this.#send('portcullis-ready', {}));
    }
    this.#markEditor();
    this.#announce();
  }

  #markEditor(): void {
    const outcome = this.#session?.outcome;
    if (!outcome || !this.#editor) return;
    const { load, report, stale } = outcome;
    if (load !== this.#shownLoad) {
      this.#shownLoad = load;
      this.#editor.setDiagnostics(load?.diagnostics ?? []);
    }
    if (report === this.#shownReport && stale === this.#shownStale) return;
    const first = this.#shownReport === undefined;
    this.#shownReport = report;
    this.#shownStale = stale;
    const range = stale === 'no' ? report?.decided : undefined;
    this.#editor.setDecided(range && report ? { range, tone: toneOf(report) } : undefined);
    if (first && range) this.#editor.show(range);
    if (report) {
      const { outcome: word, status, policy, rule, decided } = report;
      this.#send('portcullis-decision', {
        outcome: word,
        status,
        policy,
        rule,
        line: decided?.start.line,
        ms: outcome.milliseconds,
      });
    }
  }

  /** At most one announcement a second, and only of a change. */
  #announce(): void {
    if (this.#announceTimer !== undefined) return;
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = undefined;
      const text = this.#session ? announcement(this.#session.outcome) : '';
      if (text === this.#announced) return;
      this.#announced = text;
      this.requestUpdate();
    }, 1000);
  }

  #send(name: string, detail: object): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  #tick(): void {
    if (document.visibilityState !== 'visible' || !this.#session) return;
    if (this.#session.tick()) this.#decided();
    else this.requestUpdate();
  }

  #measure(): void {
    const width = this.clientWidth;
    this.layout = width >= 1100 ? 'wide' : width >= 640 ? 'medium' : 'narrow';
  }

  #shortcut(event: KeyboardEvent): void {
    if (event.key !== 'F8' || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.#nextProblem(event.shiftKey ? -1 : 1);
  }

  #nextProblem(direction: 1 | -1): void {
    this.#showPane('policy');
    void this.updateComplete.then(() => this.#editor?.nextProblem(direction));
  }

  #goTo(range: Range): void {
    this.#showPane('policy');
    void this.updateComplete.then(() => this.#editor?.goTo(range));
  }

  #showPane(pane: Pane): void {
    if (this.layout === 'narrow' || pane !== 'policy') this.#pane = pane;
    this.requestUpdate();
  }

  get #dark(): boolean {
    if (this.theme === 'dark' || this.theme === 'light') return this.theme === 'dark';
    return matchMedia('(prefers-color-scheme: dark)').matches;
  }

  #toggleTheme(): void {
    this.theme = this.#dark ? 'light' : 'dark';
    this.#send('portcullis-theme', { theme: this.theme });
  }

  protected override render(): TemplateResult {
    if (!this.ready && this.#failure === undefined) return html`<slot></slot>`;
    return html`${headerView({
      presets: this.#presets,
      preset: this.#chosen?.preset,
      request: this.#chosen?.request ?? 0,
      edited: this.#case !== this.#original,
      dark: this.#dark,
      open: (preset, request) => this.#open(preset, request),
      toggleTheme: () => this.#toggleTheme(),
    })}
    ${verdictView({
      outcome: this.#session?.outcome,
      notice: this.#failure,
      expected: this.#chosen?.preset.scenario.requests[this.#chosen.request]?.expect.status,
      goTo: (range) => this.#goTo(range),
    })}
    <div class="hidden" aria-live="polite" aria-atomic="true">${this.#announced}</div>
    <main>${this.#policyPane()} ${this.#besides()}</main>
    ${footerView(this.#engine?.version() ?? '')}`;
  }

  #policyPane(): TemplateResult {
    const narrow = this.layout === 'narrow';
    return html`${narrow ? this.#tabs(paneTabs, this.#pane) : nothing}
      <section
        class="pane"
        id="pane-policy"
        role=${narrow ? 'tabpanel' : 'region'}
        aria-label="Policy"
        ?hidden=${narrow && this.#pane !== 'policy'}
      >
        ${this.#heading('Policy', narrow, html`<span class="note" id="editor-hint">Esc leaves the editor</span>`)}
        <div id="editor"></div>
        ${findingsView({
          load: this.#session?.outcome.load,
          tab: this.#findings,
          choose: (tab) => {
            this.#findings = tab;
            this.requestUpdate();
          },
          goTo: (range) => this.#goTo(range),
          next: () => this.#nextProblem(1),
        })}
      </section>`;
  }

  #besides(): TemplateResult {
    const wide = this.layout === 'wide';
    const right = this.#pane === 'policy' ? 'why' : this.#pane;
    const shown = this.layout === 'narrow' ? this.#pane : right;
    const role = wide ? 'region' : 'tabpanel';
    const outcome = this.#session?.outcome;
    const report = outcome?.report;
    const stale = outcome !== undefined && outcome.stale !== 'no';
    return html`${this.#separator('policy', 'first')}
      ${this.layout === 'medium' ? this.#tabs(paneTabs.slice(1), right) : nothing}
      <section class="pane" id="pane-request" role=${role} aria-label="Request" ?hidden=${!wide && shown !== 'request'}>
        ${this.#heading('Request', !wide)}
        <div class="scroll">
          ${requestView({ edited: this.#case, session: this.#session, change: (patch) => this.#change(patch) })}
        </div>
      </section>
      ${this.#separator('request', 'second')}
      <section class="pane" id="pane-why" role=${role} aria-label="Why" ?hidden=${!wide && shown !== 'why'}>
        ${this.#heading('Why', !wide, stale ? html`<span class="note">the last good result</span>` : nothing)}
        <div class="scroll tone-${report?.outcome ?? 'none'}">
          ${report ? html`${this.#trace.render(report, !stale)} ${resultView(report)}
              ${seenView(this.#session, report)}` : nothing}
        </div>
      </section>`;
  }

  /** Where a tab names the pane already, the heading is for screen readers only. */
  #heading(title: string, tabbed: boolean, note: TemplateResult | typeof nothing = nothing): TemplateResult {
    return html`<div class=${tabbed ? 'hidden' : 'pane-head'}><h2>${title}</h2>${note}</div>`;
  }

  #tabs(tabs: { id: Pane; label: string; panel: string }[], chosen: Pane): TemplateResult {
    return tabList('pane', 'Panes', tabs, chosen, (pane) => {
      this.#pane = pane;
      this.requestUpdate();
    });
  }

  #separator(before: 'policy' | 'request', className: string): TemplateResult {
    return separatorView({
      label: `Width of the ${before} pane`,
      className,
      controls: `pane-${before}`,
      share: this.#shares[before],
      change: (share) => {
        this.#shares = { ...this.#shares, [before]: share };
        if (share === undefined) this.style.removeProperty(`--${before}-width`);
        else this.style.setProperty(`--${before}-width`, `${share}%`);
        this.requestUpdate();
      },
    });
  }

  protected override updated(changed: PropertyValues<this>): void {
    const place = this.renderRoot.querySelector('#editor');
    if (!this.#editor && place instanceof HTMLElement && this.renderRoot instanceof ShadowRoot) {
      this.#editor = new PolicyEditor(place, this.renderRoot, {
        changed: (policies) => this.#change({ policies }),
        left: () => this.renderRoot.querySelector<HTMLElement>('#next-problem')?.focus(),
      });
      this.#editor.setText(this.#case.policies);
      this.#markEditor();
    }
    if (changed.has('layout')) this.#editor?.measure();
  }
}

function toneOf({ outcome }: Report): Tone {
  switch (outcome) {
    case 'allow':
      return 'allow';
    case 'deny':
    case 'refused':
      return 'deny';
    case 'unauthenticated':
      return 'unauthenticated';
    case 'cannot-decide':
      return 'unclear';
  }
}
