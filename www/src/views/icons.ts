// Line icons, drawn for this page. They are decoration: the words beside them carry the meaning.

import { svg } from 'lit';
import type { SVGTemplateResult, TemplateResult } from 'lit';
import { html } from 'lit';

const icon = (shape: SVGTemplateResult, size = 16): TemplateResult =>
  html`<svg width=${size} height=${size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
    stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">${shape}</svg>`;

const checkCircle = svg`<circle cx="8" cy="8" r="6.25"/><path d="m5.2 8.2 2 2 3.6-4.2"/>`;
const bar = svg`<circle cx="8" cy="8" r="6.25"/><path d="M4.8 8h6.4"/>`;
const keySlash = svg`<circle cx="5" cy="10.5" r="2.75"/><path d="m7 8.5 6-6m-2.5 2.5 2 2M2 2l12 12"/>`;
const question = svg`<path d="M8 1.8 14.8 13.7H1.2Z"/><path d="M6.7 7.3c.1-1.7 2.7-1.7 2.7 0 0 1-1.4 1-1.4 2.1M8 11.6v.01"/>`;
const refused = svg`<path d="M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4Z"/><path d="m6 6 4 4m0-4-4 4"/>`;
const waiting = svg`<circle cx="8" cy="8" r="6.25" stroke-dasharray="2.5 2.5"/>`;

/** The shape differs for each outcome, so that colour is never the only sign. */
export function outcomeIcon(outcome: string | undefined): TemplateResult {
  switch (outcome) {
    case 'allow':
      return icon(checkCircle, 30);
    case 'deny':
      return icon(bar, 30);
    case 'unauthenticated':
      return icon(keySlash, 30);
    case 'refused':
      return icon(refused, 30);
    case 'cannot-decide':
      return icon(question, 30);
    default:
      return icon(waiting, 30);
  }
}

export const pass = icon(svg`<path d="m3.2 8.6 3 3 6.4-7"/>`);
export const fail = icon(svg`<path d="m4 4 8 8m0-8-8 8"/>`);
export const skip = icon(svg`<path d="M4 8h8"/>`);
export const chevron = icon(svg`<path d="m6 3.5 4.5 4.5L6 12.5"/>`);
export const lock = icon(svg`<rect x="3" y="7" width="10" height="6.75" rx="1.25"/><path d="M5.25 7V4.75a2.75 2.75 0 0 1 5.5 0V7"/>`);
export const sun = icon(svg`<circle cx="8" cy="8" r="2.75"/><path d="M8 1.5v1m0 11v1M1.5 8h1m11 0h1M3.4 3.4l.7.7m7.8 7.8.7.7m0-9.2-.7.7m-7.8 7.8-.7.7"/>`);
export const moon = icon(svg`<path d="M13.5 9.6A5.75 5.75 0 0 1 6.4 2.5a5.75 5.75 0 1 0 7.1 7.1Z"/>`);
export const plus = icon(svg`<path d="M8 3.25v9.5M3.25 8h9.5"/>`);
export const cross = icon(svg`<path d="m4.5 4.5 7 7m0-7-7 7"/>`);
export const reset = icon(svg`<path d="M2.75 8a5.25 5.25 0 1 0 1.6-3.8M2.75 2v2.75H5.5"/>`);
export const errorMark = icon(svg`<circle cx="8" cy="8" r="6.25"/><path d="M8 4.75v3.75M8 11v.01"/>`);
export const warningMark = icon(svg`<path d="M8 2 14.5 13.5h-13Z"/><path d="M8 6.25v3.25M8 11.6v.01"/>`);
export const infoMark = icon(svg`<rect x="2" y="2" width="12" height="12" rx="2"/><path d="M8 7.25v4M8 4.9v.01"/>`);

/** The gate of the name: a portcullis. */
export const brand = icon(svg`<path d="M2.5 2.25h11M4 2.25v10.5l-.9 1.2M8 2.25v10.9l0 1M12 2.25v10.5l.9 1.2M2.75 6h10.5M2.75 9.75h10.5"/>`, 22);
