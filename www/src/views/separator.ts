// A separator between two panes: moves by pointer and by arrow keys, double click restores.

import { html } from 'lit';
import type { TemplateResult } from 'lit';

export interface SeparatorView {
  label: string;
  className: string;
  controls: string;
  /** Share of the whole width, in per cent; undefined while the pane has its own width. */
  share: number | undefined;
  change(share: number | undefined): void;
}

const least = 20;
const most = 60;

export function separatorView(view: SeparatorView): TemplateResult {
  return html`<div
    class="separator ${view.className}"
    role="separator"
    tabindex="0"
    aria-orientation="vertical"
    aria-label=${view.label}
    aria-controls=${view.controls}
    aria-valuemin=${least}
    aria-valuemax=${most}
    aria-valuenow=${Math.round(view.share ?? 33)}
    @pointerdown=${(event: PointerEvent) => drag(event, view)}
    @keydown=${(event: KeyboardEvent) => step(event, view)}
    @dblclick=${() => view.change(undefined)}
  ></div>`;
}

function drag(event: PointerEvent, view: SeparatorView): void {
  const handle = event.currentTarget;
  if (!(handle instanceof HTMLElement)) return;
  handle.setPointerCapture(event.pointerId);
  const move = (moved: PointerEvent): void => view.change(shareAt(handle, moved.clientX));
  handle.addEventListener('pointermove', move);
  handle.addEventListener('lostpointercapture', () => handle.removeEventListener('pointermove', move), { once: true });
}

function step(event: KeyboardEvent, view: SeparatorView): void {
  const handle = event.currentTarget;
  const delta = { ArrowLeft: -2, ArrowRight: 2 }[event.key];
  if (delta === undefined || !(handle instanceof HTMLElement)) return;
  event.preventDefault();
  const now = view.share ?? shareAt(handle, handle.getBoundingClientRect().left);
  if (now !== undefined) view.change(Math.min(most, Math.max(least, now + delta)));
}

/** Share of the pane before the separator if that ended at `x`. */
function shareAt(handle: HTMLElement, x: number): number | undefined {
  const pane = handle.previousElementSibling;
  const whole = handle.parentElement;
  if (!pane || !whole) return undefined;
  const share = ((x - pane.getBoundingClientRect().left) / whole.clientWidth) * 100;
  return Math.min(most, Math.max(least, share));
}
