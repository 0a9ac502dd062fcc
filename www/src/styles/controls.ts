// Buttons, fields, chips and disclosures.

import { css } from 'lit';

export const controls = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  button,
  input,
  select,
  textarea {
    font: inherit;
    color: inherit;
  }
  :focus-visible {
    outline: 2px solid var(--portcullis-accent);
    outline-offset: 2px;
  }
  svg {
    flex: none;
    display: block;
  }
  button {
    display: inline-flex;
    align-items: center;
    gap: 6px;
    min-height: 28px;
    padding: 0 10px;
    background: var(--portcullis-bg);
    border: 1px solid var(--portcullis-border);
    border-radius: var(--portcullis-radius);
    white-space: nowrap;
    cursor: pointer;
  }
  button:hover {
    background: var(--portcullis-panel);
  }
  button.quiet {
    border-color: transparent;
    background: none;
    color: var(--portcullis-muted);
  }
  button.quiet:hover {
    background: var(--line-active);
    color: var(--portcullis-text);
  }
  button.link {
    min-height: 24px;
    padding: 0 2px;
    border: none;
    background: none;
    color: var(--portcullis-accent);
    text-decoration: underline;
    text-underline-offset: 3px;
  }
  button.link.error-tone {
    color: var(--portcullis-deny);
  }
  button.icon {
    padding: 0;
    min-width: 28px;
    justify-content: center;
  }
  button:disabled,
  button[aria-disabled='true'] {
    cursor: default;
    opacity: 0.55;
  }
  input:not([type='radio'], [type='checkbox']),
  select,
  textarea {
    width: 100%;
    min-width: 0;
    min-height: 30px;
    padding: 3px 8px;
    background: var(--portcullis-bg);
    border: 1px solid var(--portcullis-border);
    border-radius: var(--portcullis-radius);
  }
  input[type='radio'],
  input[type='checkbox'] {
    accent-color: var(--portcullis-accent);
    width: 16px;
    height: 16px;
    margin: 0;
  }
  textarea {
    display: block;
    resize: vertical;
    line-height: 20px;
  }
  input[aria-invalid='true'],
  textarea[aria-invalid='true'] {
    border-color: var(--portcullis-deny);
    border-width: 2px;
    padding: 2px 7px;
  }
  ::placeholder {
    color: var(--portcullis-muted);
    opacity: 1;
  }
  .mono,
  code,
  pre {
    font-family: var(--portcullis-mono);
    font-size: 13px;
    line-height: 20px;
    font-variant-ligatures: none;
  }
  pre {
    margin: 0;
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  .muted {
    color: var(--portcullis-muted);
  }
  .hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .chip {
    display: inline-flex;
    align-items: center;
    gap: 4px;
    padding: 0 8px;
    height: 24px;
    border: 1px solid var(--hairline);
    border-radius: 12px;
    font-size: 13px;
    white-space: nowrap;
    color: var(--portcullis-muted);
    background: var(--portcullis-bg);
  }
  .chip.good {
    color: var(--portcullis-allow);
    border-color: currentColor;
  }
  .chip.bad {
    color: var(--portcullis-warn);
    border-color: currentColor;
  }
  .note {
    margin: 0;
    color: var(--portcullis-muted);
    font-size: 13px;
    line-height: 18px;
  }
  .note.error {
    color: var(--portcullis-deny);
  }
  label.field {
    display: grid;
    gap: 3px;
    min-width: 0;
  }
  label.field > span,
  .legend {
    font-size: 13px;
    line-height: 18px;
    color: var(--portcullis-muted);
  }
  .row {
    display: grid;
    gap: 8px;
    grid-auto-flow: column;
    grid-auto-columns: minmax(0, 1fr);
    align-items: end;
  }
  .stack {
    display: grid;
    gap: 12px;
    grid-template-columns: minmax(0, 1fr);
  }
  .bar {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
  }
  .grow {
    flex: 1;
    min-width: 0;
  }
  fieldset {
    border: none;
    margin: 0;
    padding: 0;
    min-width: 0;
  }
  .segments {
    display: flex;
    border: 1px solid var(--portcullis-border);
    border-radius: var(--portcullis-radius);
    overflow: hidden;
    width: fit-content;
    max-width: 100%;
  }
  .segments label {
    display: flex;
    align-items: center;
    min-height: 28px;
    padding: 0 10px;
    cursor: pointer;
    white-space: nowrap;
  }
  .segments label + label {
    border-left: 1px solid var(--portcullis-border);
  }
  .segments input {
    position: absolute;
    opacity: 0;
    pointer-events: none;
  }
  .segments label:has(:checked) {
    background: var(--portcullis-accent);
    color: var(--portcullis-bg);
  }
  .segments label:has(:focus-visible) {
    outline: 2px solid var(--portcullis-accent);
    outline-offset: -4px;
    outline-color: currentColor;
  }
  details.section {
    border-top: 1px solid var(--hairline);
  }
  details.section > summary {
    display: flex;
    align-items: center;
    gap: 8px;
    min-height: 40px;
    padding: 0 16px;
    cursor: pointer;
    list-style: none;
  }
  details.section > summary::-webkit-details-marker {
    display: none;
  }
  details.section > summary:hover {
    background: var(--line-active);
  }
  details.section > summary:focus-visible {
    outline-offset: -2px;
  }
  details.section > summary > svg {
    color: var(--portcullis-muted);
    transition: transform 150ms ease-out;
  }
  details.section[open] > summary > svg {
    transform: rotate(90deg);
  }
  details.section > summary > .title {
    font-weight: 600;
    white-space: nowrap;
  }
  details.section > summary > .value {
    flex: 1;
    min-width: 0;
    text-align: right;
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
    color: var(--portcullis-muted);
    font-size: 13px;
  }
  details.section > .body {
    padding: 4px 16px 16px 40px;
  }
  [popover] {
    max-width: min(420px, calc(100vw - 32px));
    padding: 16px;
    color: var(--portcullis-text);
    background: var(--portcullis-bg);
    border: 1px solid var(--portcullis-border);
    border-radius: var(--portcullis-radius);
    box-shadow: var(--menu-shadow);
    font: 14px/20px var(--portcullis-font);
  }
  [popover] h2 {
    margin: 0 0 8px;
  }
  [popover] p {
    margin: 0 0 8px;
  }
  [popover] dl {
    display: grid;
    grid-template-columns: auto 1fr;
    gap: 6px 16px;
    margin: 0;
  }
  [popover] dd {
    margin: 0;
  }
  kbd {
    padding: 0 5px;
    border: 1px solid var(--portcullis-border);
    border-radius: 4px;
    font: 12px/18px var(--portcullis-mono);
    white-space: nowrap;
  }
  @media (pointer: coarse) {
    button,
    select,
    input:not([type='radio'], [type='checkbox']),
    .segments label {
      min-height: 44px;
    }
    button.icon {
      min-width: 44px;
    }
  }
  @media (prefers-reduced-motion: reduce) {
    * {
      transition: none !important;
      animation: none !important;
    }
  }
  @media (forced-colors: active) {
    .segments label:has(:checked) {
      outline: 2px solid Highlight;
      outline-offset: -3px;
    }
  }
`;
