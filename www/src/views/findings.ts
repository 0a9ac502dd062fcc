// Below the editor: every diagnostic as text, and what became of each policy.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Diagnostic, LoadReport, PolicySummary, Range } from '../engine.js';
import * as icons from './icons.js';
import { prose } from './prose.js';
import { tabList } from './tabs.js';

export interface FindingsView {
  load: LoadReport | undefined;
  tab: 'problems' | 'policies';
  choose(tab: 'problems' | 'policies'): void;
  goTo(range: Range): void;
  next(): void;
}

const rank: Record<Diagnostic['severity'], number> = { error: 0, warning: 1, info: 2 };

export function findingsView(view: FindingsView): TemplateResult {
  const diagnostics = (view.load?.diagnostics ?? []).toSorted((a, b) => rank[a.severity] - rank[b.severity]);
  const policies = view.load?.policies ?? [];
  const tabs = [
    { id: 'problems' as const, label: `Problems ${diagnostics.length}` },
    { id: 'policies' as const, label: `Policies ${policies.length}` },
  ];
  return html`<div class="findings">
    <div class="findings-head">
      ${tabList('findings', 'Findings', tabs, view.tab, view.choose)}
      <button
        class="quiet"
        id="next-problem"
        title="Next problem (F8)"
        aria-disabled=${diagnostics.length === 0}
        @click=${() => view.next()}
      >
        Next problem
      </button>
    </div>
    <div class="scroll" role="tabpanel" id="findings-panel" aria-labelledby="findings-tab-${view.tab}" tabindex="0">
      ${view.tab === 'problems' ? problems(view, diagnostics) : summaries(view, policies)}
    </div>
  </div>`;
}

function problems(view: FindingsView, diagnostics: Diagnostic[]): TemplateResult {
  if (!view.load) return html`<p class="empty">Nothing checked yet.</p>`;
  if (diagnostics.length === 0) return html`<p class="empty">No problems found.</p>`;
  return html`<ul>
    ${diagnostics.map(
      (each) => html`<li class="problem">
        <span class="${each.severity}-tone">${severityIcon(each.severity)}</span>
        <p>
          <span class="hidden">${each.severity}: </span>${prose(each.message)}${each.help === undefined
            ? nothing
            : html`. <span class="muted">${prose(each.help)}</span>`}
          <span class="note">${placeOf(each)}<code>${each.code}</code></span>
        </p>
        ${lineButton(view, each.range)}
      </li>`,
    )}
  </ul>`;
}

function placeOf({ resource, path }: Diagnostic): string {
  return [resource, path].map((part) => (part ? `${part} · ` : '')).join('');
}

function summaries(view: FindingsView, policies: PolicySummary[]): TemplateResult {
  if (policies.length === 0) {
    return html`<p class="empty">No policy: Istio allows every request. Choose an example above, or paste your own.</p>`;
  }
  return html`<ul>
    ${policies.map(
      (each) => html`<li>
        <span class=${each.selected ? 'good-tone' : 'muted'}>${each.selected ? icons.pass : icons.skip}</span>
        <p>
          <code>${each.namespace}/${each.name}</code>
          <span class="note"
            >${each.kind}${each.action === undefined ? '' : ` ${each.action}`}, ${each.rules}
            ${each.rules === 1 ? 'rule' : 'rules'} ·
            ${each.selected ? 'applies to the workload' : 'does not select the workload'}</span
          >
        </p>
        ${lineButton(view, each.range)}
      </li>`,
    )}
  </ul>`;
}

function lineButton(view: FindingsView, range: Range | undefined): TemplateResult {
  if (!range) return html`<span></span>`;
  return html`<button class="link" @click=${() => view.goTo(range)}>line ${range.start.line}</button>`;
}

function severityIcon(severity: Diagnostic['severity']): TemplateResult {
  switch (severity) {
    case 'error':
      return icons.errorMark;
    case 'warning':
      return icons.warningMark;
    case 'info':
      return icons.infoMark;
  }
}
