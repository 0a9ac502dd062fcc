// A tab list with arrow keys, after the WAI-ARIA pattern. The panel's id is `${group}-panel` unless the tab names one.

import { html } from 'lit';
import type { TemplateResult } from 'lit';

export interface Tab<Id extends string> {
  id: Id;
  label: string;
  /** The id of the tab's own panel. */
  panel?: string;
}

export function tabList<Id extends string>(
  group: string,
  label: string,
  tabs: Tab<Id>[],
  chosen: Id,
  choose: (id: Id) => void,
): TemplateResult {
  const move = (event: KeyboardEvent): void => {
    const at = tabs.findIndex((tab) => tab.id === chosen);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1 + tabs.length, Home: 0, End: tabs.length - 1 }[event.key];
    const target = next === undefined ? undefined : tabs[next % tabs.length];
    if (!target) return;
    event.preventDefault();
    choose(target.id);
    const list = event.currentTarget;
    if (list instanceof HTMLElement) list.querySelector<HTMLElement>(`#${group}-tab-${target.id}`)?.focus();
  };
  return html`<div class="tabs" role="tablist" aria-label=${label} @keydown=${move}>
    ${tabs.map(
      (tab) => html`<button
        role="tab"
        id="${group}-tab-${tab.id}"
        aria-controls=${tab.panel ?? `${group}-panel`}
        aria-selected=${tab.id === chosen}
        tabindex=${tab.id === chosen ? 0 : -1}
        @click=${() => choose(tab.id)}
      >
        ${tab.label}
      </button>`,
    )}
  </div>`;
}
