// What is inside the panes: verdict, problems, trace, forms.

import { css } from 'lit';

export const panes = css`
  .verdict {
    --tone: var(--portcullis-muted);
    --tint: var(--portcullis-panel);
    flex: none;
    display: grid;
    grid-template-columns: auto auto minmax(0, 1fr) auto;
    align-items: center;
    gap: 4px 16px;
    height: 76px;
    padding: 0 16px;
    color: var(--tone);
    background: var(--tint);
    border-bottom: 1px solid var(--hairline);
    transition:
      background-color 150ms ease-out,
      color 150ms ease-out;
  }
  .verdict.allow {
    --tone: var(--portcullis-allow);
    --tint: var(--allow-tint);
  }
  .verdict.deny,
  .verdict.refused {
    --tone: var(--portcullis-deny);
    --tint: var(--deny-tint);
  }
  .verdict.unauthenticated {
    --tone: var(--portcullis-unauth);
    --tint: var(--unauth-tint);
  }
  .verdict.cannot-decide {
    --tone: var(--portcullis-warn);
    --tint: var(--warn-tint);
  }
  .verdict.stale {
    --tint: var(--portcullis-panel);
  }
  .verdict .answer {
    font-size: 20px;
    line-height: 28px;
    font-weight: 600;
    white-space: nowrap;
    font-variant-numeric: tabular-nums;
  }
  .verdict .why {
    min-width: 0;
    color: var(--portcullis-text);
  }
  .verdict .summary {
    margin: 0;
    display: -webkit-box;
    -webkit-box-orient: vertical;
    -webkit-line-clamp: 2;
    overflow: hidden;
    overflow-wrap: anywhere;
  }
  .verdict .aside {
    display: flex;
    align-items: center;
    gap: 8px;
  }
  .verdict .time {
    min-width: 56px;
    text-align: right;
    color: var(--portcullis-muted);
    font-size: 13px;
    font-variant-numeric: tabular-nums;
  }
  .verdict.notice .summary {
    font-weight: 600;
  }
  :host([layout='medium']) .verdict .time {
    display: none;
  }
  :host([layout='narrow']) .verdict {
    grid-template-columns: auto minmax(0, 1fr) auto;
    align-content: center;
    height: 108px;
    padding: 0 12px;
    gap: 4px 10px;
  }
  :host([layout='narrow']) .verdict .aside {
    grid-row: 1;
    grid-column: 3;
  }
  :host([layout='narrow']) .verdict .why {
    grid-column: 1 / -1;
    grid-row: 2;
    height: 60px;
    font-size: 14px;
  }
  :host([layout='narrow']) .verdict .summary {
    -webkit-line-clamp: 3;
  }
  :host([layout='narrow']) .verdict .answer {
    font-size: 17px;
  }
  :host([layout='narrow']) .verdict .time,
  :host([layout='narrow']) .verdict .aside .text {
    display: none;
  }
  @media (max-width: 380px) {
    .verdict .aside .link {
      display: none;
    }
  }
  .findings .note {
    display: block;
  }
  #editor {
    flex: 1;
    min-height: 0;
    overflow: hidden;
  }
  .findings {
    flex: none;
    height: 164px;
    display: flex;
    flex-direction: column;
    border-top: 1px solid var(--hairline);
  }
  .findings-head {
    flex: none;
    display: flex;
    justify-content: space-between;
    padding-right: 8px;
    background: var(--portcullis-panel);
    border-bottom: 1px solid var(--hairline);
  }
  #next-problem {
    align-self: center;
  }
  .findings .tabs {
    border: none;
  }
  .findings .tabs button {
    flex: none;
    min-height: 36px;
    padding: 0 8px;
  }
  .findings ul {
    margin: 0;
    padding: 4px 0;
    list-style: none;
  }
  .findings li {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr) auto;
    gap: 0 8px;
    align-items: start;
    padding: 4px 8px 4px 16px;
  }
  .findings li > svg {
    margin-top: 2px;
  }
  .findings p {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .findings .empty {
    padding: 10px 16px;
    color: var(--portcullis-muted);
  }
  .error-tone {
    color: var(--portcullis-deny);
  }
  .warning-tone {
    color: var(--portcullis-warn);
  }
  .info-tone {
    color: var(--portcullis-accent);
  }
  .good-tone {
    color: var(--portcullis-allow);
  }
  .request-line {
    padding: 12px 16px 16px;
  }
  .request-line .first {
    display: grid;
    grid-template-columns: 104px minmax(0, 1fr);
    gap: 8px;
  }
  .pair {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto;
    gap: 4px 8px;
    align-items: center;
  }
  .pair > :last-child {
    grid-column: 1 / -1;
  }
  .token {
    display: grid;
    gap: 12px;
    grid-template-columns: minmax(0, 1fr);
  }
  .token + .token {
    margin-top: 16px;
    padding-top: 16px;
    border-top: 1px dashed var(--hairline);
  }
  .place {
    display: grid;
    grid-template-columns: minmax(0, 4fr) minmax(0, 5fr) minmax(0, 3fr);
    gap: 8px;
  }
  .token-text {
    max-height: 70px;
    overflow: auto;
    padding: 4px 8px;
    background: var(--portcullis-panel);
    border: 1px solid var(--hairline);
    border-radius: var(--portcullis-radius);
  }
  .decoded {
    display: grid;
    gap: 8px;
    grid-template-columns: minmax(0, 1fr);
  }
  .decoded pre {
    max-height: 220px;
    overflow: auto;
    padding: 6px 8px;
    background: var(--portcullis-panel);
    border: 1px solid var(--hairline);
    border-radius: var(--portcullis-radius);
  }
  .checks {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 16px;
  }
  .checks label {
    display: inline-flex;
    align-items: center;
    gap: 6px;
    min-height: 24px;
  }
  [role='tree'],
  [role='tree'] ul {
    margin: 0;
    padding: 0;
    list-style: none;
  }
  [role='treeitem'] {
    outline: none;
  }
  [role='treeitem'] > .line {
    display: grid;
    grid-template-columns: 16px 16px minmax(0, 1fr) auto;
    gap: 0 8px;
    align-items: start;
    min-height: 36px;
    padding: 8px 12px 8px 12px;
    cursor: default;
  }
  [role='treeitem'][aria-expanded] > .line {
    cursor: pointer;
  }
  [role='treeitem'] > .line:hover {
    background: var(--line-active);
  }
  [role='treeitem']:focus-visible > .line {
    outline: 2px solid var(--portcullis-accent);
    outline-offset: -2px;
  }
  .line > svg {
    margin-top: 2px;
  }
  .toned {
    color: var(--tone);
  }
  .goto {
    padding: 0 2px;
    color: var(--portcullis-accent);
    font-size: 13px;
    cursor: pointer;
  }
  .goto:hover {
    text-decoration: underline;
    text-underline-offset: 3px;
  }
  .line code {
    font-size: inherit;
  }
  .twist {
    color: var(--portcullis-muted);
    transition: transform 150ms ease-out;
  }
  [aria-expanded='true'] > .line > .twist {
    transform: rotate(90deg);
  }
  .step {
    border-bottom: 1px solid var(--hairline);
  }
  .step > .line .name {
    font-weight: 600;
  }
  .line .text {
    display: block;
    color: var(--portcullis-muted);
    font-size: 13px;
    line-height: 18px;
    overflow-wrap: anywhere;
  }
  .line .name {
    overflow-wrap: anywhere;
  }
  .item > .line {
    padding-left: 28px;
    min-height: 32px;
    padding-block: 6px;
  }
  .item:last-child {
    padding-bottom: 4px;
  }
  .condition > .line {
    grid-template-columns: 16px minmax(0, 1fr) auto;
    padding-left: 68px;
    padding-block: 4px;
    min-height: 28px;
  }
  .condition.missing > .line {
    background: color-mix(in srgb, var(--deny-tint) 60%, transparent);
  }
  .values {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 0 10px;
    font-size: 13px;
    line-height: 18px;
  }
  .values > .muted {
    font-size: 12px;
  }
  .values code {
    line-height: 18px;
  }
  .condition code {
    overflow-wrap: anywhere;
  }
  :host([layout='narrow']) .condition > .line {
    padding-left: 52px;
  }
  .decisive > .line {
    box-shadow: inset 3px 0 var(--tone, var(--portcullis-accent));
  }
  .result {
    padding: 12px 16px 20px;
    display: grid;
    gap: 10px;
    grid-template-columns: minmax(0, 1fr);
  }
  .seen {
    padding: 0 16px 20px;
  }
  .seen summary {
    font-weight: 600;
    cursor: pointer;
  }
  .seen[open] summary {
    margin-bottom: 10px;
  }
  .edits .stack {
    gap: 4px;
    margin: 8px 0;
    padding-left: 10px;
    border-left: 2px solid var(--hairline);
  }
  .edits {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 4px 10px;
    margin: 0;
    font-size: 13px;
  }
  .edits dt {
    color: var(--portcullis-muted);
  }
  .edits dd {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .tone-allow {
    --tone: var(--portcullis-allow);
  }
  .tone-deny,
  .tone-refused {
    --tone: var(--portcullis-deny);
  }
  .tone-unauthenticated {
    --tone: var(--portcullis-unauth);
  }
  .tone-cannot-decide {
    --tone: var(--portcullis-warn);
  }
  @media (forced-colors: active) {
    .verdict,
    .decisive > .line,
    .condition.missing > .line {
      border: 1px solid CanvasText;
    }
  }
`;
