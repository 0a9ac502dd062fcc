// The frame around the panes: header with the examples, footer, and the two pop-ups.

import { html } from 'lit';
import type { TemplateResult } from 'lit';

import type { ScenarioRequest } from '../engine.js';
import type { Preset } from '../presets.js';
import { valueOf } from './fields.js';
import * as icons from './icons.js';

export interface HeaderView {
  presets: Preset[];
  preset: Preset | undefined;
  /** Index among the preset's requests. */
  request: number;
  edited: boolean;
  dark: boolean;
  open(preset: Preset, request: number): void;
  toggleTheme(): void;
}

export function headerView(view: HeaderView): TemplateResult {
  const { preset, presets, edited, dark } = view;
  const theme = dark ? 'Switch to light theme' : 'Switch to dark theme';
  return html`<header>
    <h1 class="brand">${icons.brand}<span class="text">Portcullis</span></h1>
    <div class="pickers">
      <label
        ><span>Example</span
        ><select
          name="preset"
          aria-label="Example"
          ?disabled=${presets.length === 0}
          @change=${(event: Event) => choosePreset(view, valueOf(event))}
        >
          ${groupsOf(presets).map(([group, members]) => presetGroup(group, members, preset))}
        </select></label
      >
      <label
        ><span>Request</span
        ><select
          name="request"
          aria-label="Example request"
          ?disabled=${!preset}
          @change=${(event: Event) => chooseRequest(view, valueOf(event))}
        >
          ${preset?.scenario.requests.map((each, index) => requestOption(each, index, index === view.request))}
        </select></label
      >
      <button
        class="icon quiet"
        aria-label="Reset to the example"
        title="Reset to the example"
        ?disabled=${!preset || !edited}
        @click=${() => preset && view.open(preset, view.request)}
      >
        ${icons.reset}
      </button>
    </div>
    <button class="badge" popovertarget="privacy" aria-label="Nothing leaves your browser" title="Nothing leaves your browser">
      ${icons.lock}<span class="text">Nothing leaves your browser</span>
    </button>
    <button class="icon quiet" aria-label=${theme} title=${theme} @click=${() => view.toggleTheme()}>
      ${dark ? icons.sun : icons.moon}
    </button>
  </header>`;
}

export function footerView(version: string): TemplateResult {
  return html`<footer>
      <span>Portcullis ${version}</span>
      <span class="optional">Decided by the code of the Envoy filter, compiled to WebAssembly</span>
      <span class="grow"></span>
      <button class="quiet" popovertarget="keys">Keyboard</button>
    </footer>
    <div id="privacy" popover aria-label="Nothing leaves your browser">
      <h2>Nothing leaves your browser</h2>
      <p>Policies, tokens and requests are decided here, in this tab. There is no server behind the page.</p>
      <p>
        The page's Content-Security-Policy lets it load its own files only. After loading it makes no request, except to
        fetch its own minting module the first time a token is minted.
      </p>
      <p>To see for yourself, disconnect from the network: it goes on deciding.</p>
    </div>
    <div id="keys" popover aria-label="Keyboard">
      <h2>Keyboard</h2>
      <dl>
        <dt><kbd>F8</kbd> <kbd>Shift+F8</kbd></dt><dd>next, previous problem</dd>
        <dt><kbd>Esc</kbd></dt><dd>leave the editor</dd>
        <dt><kbd>Ctrl+Space</kbd></dt><dd>complete fields and values</dd>
        <dt><kbd>Ctrl+/</kbd></dt><dd>comment lines</dd>
        <dt><kbd>←</kbd> <kbd>→</kbd> <kbd>↑</kbd> <kbd>↓</kbd></dt><dd>walk the trace, the tabs, the separators</dd>
        <dt><kbd>Enter</kbd></dt><dd>in the trace: go to the line</dd>
      </dl>
    </div>`;
}

function groupsOf(presets: Preset[]): [string, Preset[]][] {
  const groups = new Map<string, Preset[]>();
  for (const preset of presets) groups.set(preset.group, [...(groups.get(preset.group) ?? []), preset]);
  return [...groups];
}

function presetGroup(group: string, members: Preset[], chosen: Preset | undefined): TemplateResult {
  return html`<optgroup label=${group}>
    ${members.map((each) => html`<option value=${each.id} .selected=${each.id === chosen?.id}>${each.title}</option>`)}
  </optgroup>`;
}

function requestOption({ name, expect }: ScenarioRequest, index: number, chosen: boolean): TemplateResult {
  return html`<option value=${index} .selected=${chosen}>${name} (${expect.status})</option>`;
}

function choosePreset(view: HeaderView, id: string): void {
  const preset = view.presets.find((each) => each.id === id);
  if (preset) view.open(preset, 0);
}

function chooseRequest(view: HeaderView, index: string): void {
  if (view.preset) view.open(view.preset, Number(index));
}
