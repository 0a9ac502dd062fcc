// Sentences of the engine: input stands in backticks there, and in code style here.

import { html } from 'lit';
import type { TemplateResult } from 'lit';

import { sentence } from './sentence.js';

/** The text in pieces that start where it may break. `at` matches the empty places for that. */
export function breakable(text: string, at: RegExp): TemplateResult[] {
  return text.split(at).map((part) => html`<wbr />${part}`);
}

export function prose(text: string): TemplateResult {
  const parts = text.split('`');
  if (parts.length % 2 === 0) return html`${sentence(text)}`;
  return html`${parts.map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : index === 0 ? sentence(part) : part))}`;
}
