// Sentences of the engine: input stands in backticks there, and in code style here.

import { html } from 'lit';
import type { TemplateResult } from 'lit';

import { sentence } from './sentence.js';

export function prose(text: string): TemplateResult {
  const parts = text.split('`');
  if (parts.length % 2 === 0) return html`${sentence(text)}`;
  return html`${parts.map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : index === 0 ? sentence(part) : part))}`;
}
