// Form pieces shared by the sections of the request pane.

import { html, nothing } from 'lit';
import type { TemplateResult } from 'lit';

import * as icons from './icons.js';

export interface FieldOptions {
  mono?: boolean;
  placeholder?: string;
  invalid?: boolean;
  name?: string;
}

export function textField(
  label: string,
  value: string,
  change: (value: string) => void,
  options: FieldOptions = {},
): TemplateResult {
  return html`<label class="field"
    ><span>${label}</span
    ><input
      class=${options.mono === false ? '' : 'mono'}
      name=${options.name ?? nothing}
      .value=${value}
      placeholder=${options.placeholder ?? nothing}
      aria-invalid=${options.invalid === true ? 'true' : nothing}
      spellcheck="false"
      autocomplete="off"
      autocapitalize="off"
      @input=${(event: Event) => change(valueOf(event))}
  /></label>`;
}

export function textArea(
  label: string,
  value: string,
  rows: number,
  change: (value: string) => void,
  options: FieldOptions = {},
): TemplateResult {
  return html`<label class="field"
    ><span>${label}</span
    ><textarea
      class="mono"
      name=${options.name ?? nothing}
      rows=${rows}
      .value=${value}
      placeholder=${options.placeholder ?? nothing}
      aria-invalid=${options.invalid === true ? 'true' : nothing}
      spellcheck="false"
      autocomplete="off"
      autocapitalize="off"
      @input=${(event: Event) => change(valueOf(event))}
    ></textarea>
  </label>`;
}

export function choiceField<Value extends string>(
  label: string,
  value: Value,
  choices: readonly { value: Value; label: string }[],
  change: (value: Value) => void,
): TemplateResult {
  return html`<label class="field"
    ><span>${label}</span
    ><select
      @change=${(event: Event) => {
        const chosen = choices.find((each) => each.value === valueOf(event));
        if (chosen) change(chosen.value);
      }}
    >
      ${choices.map((each) => html`<option value=${each.value} ?selected=${each.value === value}>${each.label}</option>`)}
    </select></label
  >`;
}

/** Radio buttons drawn as one control; arrow keys come from the browser. */
export function segments<Value extends string>(
  legend: string,
  group: string,
  value: Value,
  choices: readonly { value: Value; label: string }[],
  change: (value: Value) => void,
): TemplateResult {
  return html`<fieldset>
    <legend class="hidden">${legend}</legend>
    <div class="segments">
      ${choices.map(
        (each) => html`<label
          ><input
            type="radio"
            name=${group}
            value=${each.value}
            .checked=${each.value === value}
            @change=${() => change(each.value)}
          />${each.label}</label
        >`,
      )}
    </div>
  </fieldset>`;
}

/** A disclosure whose summary shows the current value, so that closed sections still inform. */
export function section(
  id: string,
  title: string,
  value: string,
  open: boolean,
  body: TemplateResult,
): TemplateResult {
  return html`<details class="section" id="section-${id}" ?open=${open}>
    <summary>${icons.chevron}<span class="title">${title}</span><span class="value">${value}</span></summary>
    <div class="body stack">${body}</div>
  </details>`;
}

export function removeButton(label: string, remove: () => void): TemplateResult {
  return html`<button class="icon quiet" type="button" aria-label=${label} title=${label} @click=${remove}>${icons.cross}</button>`;
}

export function addButton(label: string, add: () => void): TemplateResult {
  return html`<div><button type="button" @click=${add}>${icons.plus} ${label}</button></div>`;
}

/** A copy of the list with one element replaced, or removed when there is no replacement. */
export function replaceAt<T>(list: readonly T[], index: number, replacement: T | undefined): T[] {
  return list.flatMap((each, at) => (at !== index ? [each] : replacement === undefined ? [] : [replacement]));
}

export function valueOf(event: Event): string {
  const { target } = event;
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
    ? target.value
    : '';
}
