// The frame: header, verdict, panes, footer. `layout` on the element is set from its width.

import { css } from 'lit';

export const layout = css`
  :host {
    display: flex;
    flex-direction: column;
    min-height: 0;
    overflow: hidden;
    font: 14px/20px var(--portcullis-font);
    color: var(--portcullis-text);
    background: var(--portcullis-bg);
  }
  h1,
  h2,
  h3 {
    margin: 0;
    font-size: 14px;
    line-height: 20px;
    font-weight: 600;
  }
  header {
    flex: none;
    display: flex;
    align-items: center;
    gap: 12px;
    height: 52px;
    padding: 0 16px;
    border-bottom: 1px solid var(--hairline);
  }
  .brand {
    display: flex;
    align-items: center;
    gap: 8px;
    font-size: 16px;
    line-height: 24px;
    font-weight: 600;
  }
  .pickers {
    display: flex;
    align-items: center;
    gap: 8px;
    flex: 1;
    min-width: 0;
  }
  .pickers label {
    display: flex;
    align-items: center;
    gap: 8px;
    min-width: 0;
    flex: 0 1 480px;
    color: var(--portcullis-muted);
    font-size: 13px;
  }
  .pickers label + label {
    flex-basis: 400px;
  }
  .pickers select {
    color: var(--portcullis-text);
    text-overflow: ellipsis;
  }
  .badge {
    color: var(--portcullis-allow);
    border-color: var(--hairline);
  }
  main {
    flex: 1;
    min-height: 0;
    display: grid;
    grid-template-rows: minmax(0, 1fr);
  }
  .pane {
    display: flex;
    flex-direction: column;
    min-width: 0;
    min-height: 0;
    background: var(--portcullis-bg);
  }
  .pane-head {
    flex: none;
    display: flex;
    align-items: center;
    gap: 8px;
    height: 40px;
    padding: 0 16px;
    background: var(--portcullis-panel);
    border-bottom: 1px solid var(--hairline);
  }
  .pane-head h2 {
    flex: 1;
  }
  .pane:not(:focus-within) #editor-hint {
    visibility: hidden;
  }
  .scroll {
    flex: 1;
    min-height: 0;
    overflow: auto;
    overscroll-behavior: contain;
  }
  :host([layout='wide']) main {
    grid-template-columns: minmax(280px, var(--policy-width, 38fr)) 1px minmax(280px, var(--request-width, 29fr)) 1px minmax(
        280px,
        33fr
      );
  }
  :host([layout='medium']) main {
    grid-template-columns: minmax(280px, var(--policy-width, 1fr)) 1px minmax(280px, 1fr);
    grid-template-rows: 44px minmax(0, 1fr);
  }
  :host([layout='medium']) #pane-policy,
  :host([layout='medium']) .separator {
    grid-row: 1 / 3;
  }
  :host([layout='medium']) .tabs {
    grid-column: 3;
    grid-row: 1;
  }
  :host([layout='medium']) #pane-request,
  :host([layout='medium']) #pane-why {
    grid-column: 3;
    grid-row: 2;
  }
  :host([layout='medium']) .separator.second,
  :host([layout='narrow']) .separator {
    display: none;
  }
  :host([layout='narrow']) main {
    grid-template-columns: minmax(0, 1fr);
    grid-template-rows: 44px minmax(0, 1fr);
  }
  .pane[hidden] {
    display: none;
  }
  .separator {
    position: relative;
    background: var(--hairline);
    cursor: col-resize;
    touch-action: none;
  }
  .separator::after {
    content: '';
    position: absolute;
    inset: 0 -5px;
    z-index: 2;
  }
  .separator:hover,
  .separator:focus-visible {
    background: var(--portcullis-accent);
    outline: 1px solid var(--portcullis-accent);
    outline-offset: 0;
  }
  .tabs {
    display: flex;
    gap: 4px;
    padding: 0 8px;
    background: var(--portcullis-panel);
    border-bottom: 1px solid var(--hairline);
  }
  .tabs button {
    flex: 1;
    justify-content: center;
    min-height: 44px;
    border: none;
    border-radius: 0;
    background: none;
    color: var(--portcullis-muted);
    border-bottom: 2px solid transparent;
    border-top: 2px solid transparent;
  }
  .tabs button:focus-visible {
    outline-offset: -4px;
  }
  .tabs button[aria-selected='true'] {
    color: var(--portcullis-text);
    font-weight: 600;
    border-bottom-color: var(--portcullis-accent);
  }
  @media (forced-colors: active) {
    .tabs button {
      border-color: Canvas;
    }
    .tabs button[aria-selected='true'] {
      border-bottom-color: Highlight;
    }
  }
  footer {
    flex: none;
    display: flex;
    align-items: center;
    gap: 16px;
    height: 32px;
    padding: 0 16px;
    border-top: 1px solid var(--hairline);
    background: var(--portcullis-panel);
    color: var(--portcullis-muted);
    font-size: 12px;
  }
  footer > span {
    overflow: hidden;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  footer button {
    min-height: 24px;
    font-size: 12px;
    padding: 0 6px;
  }
  :host(:not([layout='wide'])) .badge .text,
  :host([layout='narrow']) .pickers label > span,
  :host(:not([layout='wide'])) .brand .text {
    display: none;
  }
  :host([layout='narrow']) .brand .text {
    display: inline;
  }
  :host([layout='narrow']) header {
    flex-wrap: wrap;
    height: 152px;
    gap: 0 8px;
    padding: 4px 12px;
    align-content: space-evenly;
  }
  :host([layout='narrow']) .brand {
    flex: 1;
  }
  :host([layout='narrow']) .badge {
    border-color: transparent;
  }
  :host([layout='narrow']) .pickers {
    order: 1;
    flex: 1 0 100%;
    flex-wrap: wrap;
  }
  :host([layout='narrow']) .pickers label {
    flex: 1 0 100%;
  }
  :host([layout='narrow']) .pickers label + label {
    flex: 1;
  }
  :host([layout='narrow']) footer .optional {
    display: none;
  }
  @media (max-height: 560px) {
    :host {
      height: auto !important;
      overflow: visible;
    }
    main {
      min-height: 420px;
    }
    .verdict {
      position: sticky;
      top: 0;
      z-index: 5;
    }
  }
`;
