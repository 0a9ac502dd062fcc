// The verdict bar: the answer, what decided it, and whether it is what the example expects.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import type { Range, Report } from '../engine.js';
import type { Outcome } from '../session.js';
import { answerText } from './answer.js';
import * as icons from './icons.js';
import { prose } from './prose.js';
import { sentence } from './sentence.js';

export interface VerdictView {
  outcome: Outcome | undefined;
  /** Stands in place of the verdict while there is no engine. */
  notice: string | undefined;
  /** Status that the chosen example request expects. */
  expected: number | undefined;
  goTo(range: Range): void;
}

export const stoppedText = 'The engine stopped on this input. Your text is safe.';

export function verdictView(view: VerdictView): TemplateResult {
  const { outcome, notice } = view;
  const report = outcome?.report;
  if (!outcome || !report) {
    const text = outcome?.stale === 'stopped' ? stoppedText : notice ?? 'Deciding…';
    return html`<section class="verdict" aria-label="Verdict">
      ${icons.outcomeIcon(undefined)}
      <div class="answer">Not decided yet</div>
      <div class="why"><p class="summary">${text}</p></div>
    </section>`;
  }
  const { stale } = outcome;
  return html`<section class="verdict ${report.outcome} ${stale === 'no' ? '' : 'stale'}" aria-label="Verdict">
    ${icons.outcomeIcon(report.outcome)}
    <div class="answer">${answerText(report)}</div>
    <div class="why"><p class="summary">${staleText(stale)}${prose(report.error ?? report.summary)}</p></div>
    <div class="aside">
      ${decidedLink(view, outcome, report)} ${errorLink(view, outcome)}
      ${stale === 'no' ? expectation(view.expected, report) : nothing}
      <span class="time" title="Time to compile and decide">${outcome.milliseconds.toFixed(1)} ms</span>
    </div>
  </section>`;
}

/** What a screen reader hears when the verdict changes. */
export function announcement(outcome: Outcome): string {
  const { report, stale } = outcome;
  if (!report) return stale === 'stopped' ? stoppedText : '';
  return `${staleText(stale)}${answerText(report)}. ${sentence(report.error ?? report.summary)}`;
}

function staleText(stale: Outcome['stale']): string {
  switch (stale) {
    case 'no':
      return '';
    case 'policy':
      return 'From your last valid policy: ';
    case 'stopped':
      return `${stoppedText} Last good result: `;
  }
}

function decidedLink(view: VerdictView, { stale }: Outcome, { decided }: Report): TemplateResult | typeof nothing {
  if (!decided || stale !== 'no') return nothing;
  return html`<button class="link" @click=${() => view.goTo(decided)}>line ${decided.start.line}</button>`;
}

/** The first error of policies that do not compile. */
function errorLink(view: VerdictView, { stale, load }: Outcome): TemplateResult | typeof nothing {
  const range = load?.diagnostics.find((each) => each.severity === 'error' && each.range)?.range;
  if (stale === 'policy' && load?.gateway) {
    return html`<span class="chip bad">${icons.errorMark}error in the VirtualService</span>`;
  }
  if (!range || stale !== 'policy') return nothing;
  return html`<button class="link error-tone" @click=${() => view.goTo(range)}>
    ${icons.errorMark}<span><span class="text">error in </span>line ${range.start.line}</span>
  </button>`;
}

function expectation(expected: number | undefined, report: Report): TemplateResult | typeof nothing {
  if (expected === undefined) return nothing;
  return expected === report.status
    ? html`<span class="chip good" title="As the example expects">${icons.pass}<span class="text">as expected</span></span>`
    : html`<span class="chip bad" title="The example expects ${expected}"
        >${icons.warningMark}<span class="text">example:</span> ${expected}</span
      >`;
}
