// The trace: steps in filter order, rules or tokens in each, conditions in those, as a tree.

import { html, nothing } from 'lit';
import type { ReactiveController, ReactiveControllerHost, TemplateResult } from 'lit';

import type { Condition, Item, Range, Report, Step } from '../engine.js';
import * as icons from './icons.js';
import { breakable, prose } from './prose.js';

export interface TraceEvents {
  goTo(range: Range): void;
  point(range: Range | undefined): void;
}

interface Node {
  key: string;
  parent: string | undefined;
  open: boolean | undefined;
  range: Range | undefined;
}

/** Keeps which nodes are open and which one holds the tab stop. */
export class TraceTree implements ReactiveController {
  readonly #host: ReactiveControllerHost & { renderRoot: HTMLElement | DocumentFragment };
  readonly #events: TraceEvents;
  #toggled = new Map<string, boolean>();
  #active = '';
  #nodes: Node[] = [];
  #linked = true;

  constructor(host: ReactiveControllerHost & { renderRoot: HTMLElement | DocumentFragment }, events: TraceEvents) {
    this.#host = host;
    this.#events = events;
    host.addController(this);
  }

  hostConnected(): void {}

  /** Forgets what the reader opened and closed. */
  reset(): void {
    this.#toggled.clear();
    this.#active = '';
  }

  /** `linked`: the ranges of the report are those of the text in the editor. */
  render(report: Report, linked: boolean): TemplateResult {
    this.#nodes = [];
    this.#linked = linked;
    const steps = report.steps.map((step) => this.#step(step, report));
    return html`<ul
      role="tree"
      aria-label="Trace, in the order the proxy works"
      @keydown=${this.#keydown}
      @mouseleave=${() => this.#events.point(undefined)}
    >
      ${steps}
    </ul>`;
  }

  #step(step: Step, report: Report): TemplateResult {
    const key = step.id;
    const failed = step.outcome === 'fail';
    const open = step.items.length === 0 ? undefined : this.#isOpen(key, failed || ['certificate', 'token', 'allow'].includes(step.id));
    this.#nodes.push({ key, parent: undefined, open, range: undefined });
    const items = open ? step.items.map((item, index) => this.#item(item, step, index, report)) : [];
    return html`<li
      role="treeitem"
      aria-level="1"
      aria-expanded=${open ?? nothing}
      class="step"
      data-key=${key}
      data-step=${step.id}
      data-outcome=${step.outcome}
      tabindex=${this.#tabStop(key)}
    >
      <div class="line" @click=${() => this.#press(key, open, undefined)}>
        ${open === undefined ? html`<span></span>` : html`<span class="twist">${icons.chevron}</span>`}
        ${outcomeMark(step.outcome, report.outcome)}
        <span><span class="name">${prose(step.title)}</span><span class="text">${prose(step.text)}</span></span>
      </div>
      ${open ? html`<ul role="group">${items}</ul>` : nothing}
    </li>`;
  }

  #item(item: Item, step: Step, index: number, report: Report): TemplateResult {
    const key = `${step.id}/${index}`;
    const range = this.#linked ? item.range : undefined;
    const decisive = report.decided !== undefined && item.range !== undefined && holds(item.range, report.decided);
    const open = item.conditions.length === 0 ? undefined : this.#isOpen(key, decisive || step.items.length === 1);
    this.#nodes.push({ key, parent: step.id, open, range });
    const conditions = open ? item.conditions.map((condition, at) => this.#condition(condition, key, at)) : [];
    return html`<li
      role="treeitem"
      aria-level="2"
      aria-expanded=${open ?? nothing}
      class="item ${decisive ? `decisive tone-${report.outcome}` : ''}"
      data-key=${key}
      tabindex=${this.#tabStop(key)}
    >
      <div class="line" @click=${() => this.#press(key, open, range)} @mouseenter=${() => this.#events.point(range)}>
        ${open === undefined ? html`<span></span>` : html`<span class="twist">${icons.chevron}</span>`}
        ${outcomeMark(item.outcome, step.outcome === 'pass' ? 'allow' : report.outcome)}
        <span><span class="name">${prose(item.title)}</span><span class="text">${prose(item.text)}</span></span>
        ${this.#lineLink(range)}
      </div>
      ${open ? html`<ul role="group">${conditions}</ul>` : nothing}
    </li>`;
  }

  #condition(condition: Condition, parent: string, at: number): TemplateResult {
    const key = `${parent}/${at}`;
    const range = this.#linked ? condition.range : undefined;
    this.#nodes.push({ key, parent, open: undefined, range });
    return html`<li
      role="treeitem"
      aria-level="3"
      class="condition ${condition.holds ? '' : 'missing'}"
      data-key=${key}
      tabindex=${this.#tabStop(key)}
    >
      <div
        class="line"
        @click=${() => this.#press(key, undefined, range)}
        @mouseenter=${() => this.#events.point(range)}
      >
        ${condition.holds ? mark(icons.pass, 'good-tone', 'holds') : mark(icons.fail, 'error-tone', 'does not hold')}
        <span>
          <code>${breakable(condition.field, /(?<=\.)/)}</code>
          ${condition.field.startsWith('when') ? html`<span class="muted">${condition.attribute}</span>` : nothing}
          <span class="values">
            <span class="muted">wanted</span><code>${condition.wanted}</code>
            <span class="muted">got</span><code>${condition.got === '' ? '(nothing)' : condition.got}</code>
          </span>
        </span>
        ${this.#lineLink(range)}
      </div>
    </li>`;
  }

  #lineLink(range: Range | undefined): TemplateResult | typeof nothing {
    if (!range) return nothing;
    const go = (event: Event): void => {
      event.stopPropagation();
      this.#events.goTo(range);
    };
    return html`<span class="goto" @click=${go}>line ${range.start.line}</span>`;
  }

  #isOpen(key: string, initially: boolean): boolean {
    return this.#toggled.get(key) ?? initially;
  }

  #tabStop(key: string): number {
    const first = this.#nodes[0]?.key;
    return key === (this.#active === '' ? first : this.#active) ? 0 : -1;
  }

  #press(key: string, open: boolean | undefined, range: Range | undefined): void {
    this.#active = key;
    if (open !== undefined) this.#toggled.set(key, !open);
    else if (range) this.#events.goTo(range);
    this.#host.requestUpdate();
  }

  readonly #keydown = (event: KeyboardEvent): void => {
    const target = event.composedPath().find((each) => each instanceof HTMLElement && each.dataset['key'] !== undefined);
    const key = target instanceof HTMLElement ? target.dataset['key'] : undefined;
    const at = this.#nodes.findIndex((node) => node.key === key);
    const node = this.#nodes[at];
    if (!node) return;
    const next = this.#nextNode(event.key, at, node);
    if (next) {
      event.preventDefault();
      this.#active = next.key;
      this.#events.point(next.range);
      this.#host.requestUpdate();
      void this.#host.updateComplete.then(() => {
        const element = this.#host.renderRoot.querySelector(`[data-key="${next.key}"]`);
        if (element instanceof HTMLElement) element.focus();
      });
    }
  };

  /** The node to focus after a key; opens and closes on the way. */
  #nextNode(key: string, at: number, node: Node): Node | undefined {
    switch (key) {
      case 'ArrowDown':
        return this.#nodes[at + 1] ?? node;
      case 'ArrowUp':
        return this.#nodes[at - 1] ?? node;
      case 'Home':
        return this.#nodes[0];
      case 'End':
        return this.#nodes.at(-1);
      case 'ArrowRight':
        if (node.open === false) this.#toggled.set(node.key, true);
        return node.open === true ? this.#nodes[at + 1] : node;
      case 'ArrowLeft':
        if (node.open === true) {
          this.#toggled.set(node.key, false);
          return node;
        }
        return this.#nodes.find((each) => each.key === node.parent) ?? node;
      case 'Enter':
      case ' ':
        if (node.range) this.#events.goTo(node.range);
        else if (node.open !== undefined) this.#toggled.set(node.key, !node.open);
        return node.range ? undefined : node;
      default:
        return undefined;
    }
  }
}

function holds(outer: Range, inner: Range): boolean {
  return outer.start.offset <= inner.start.offset && inner.end.offset <= outer.end.offset;
}

/** What failed has the colour of the verdict it led to: violet for a token, red for a policy, none when the step or the request went well. */
function outcomeMark(outcome: Step['outcome'], verdict: Report['outcome']): TemplateResult {
  switch (outcome) {
    case 'pass':
      return mark(icons.pass, 'good-tone', 'passed');
    case 'fail':
      return mark(icons.fail, verdict === 'allow' ? 'muted' : `tone-${verdict} toned`, 'failed');
    case 'skip':
      return mark(icons.skip, 'muted', 'not used');
  }
}

function mark(shape: TemplateResult, className: string, word: string): TemplateResult {
  return html`<span class="mark ${className}">${shape}<span class="hidden">${word}</span></span>`;
}
