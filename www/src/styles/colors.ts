// Colour and type tokens. `theme` on the element picks one; without it the system's preference decides.

import { css, unsafeCSS } from 'lit';

const light = `
  color-scheme: light;
  --portcullis-bg: #ffffff; --portcullis-panel: #f6f8fa; --portcullis-text: #1b2430; --portcullis-muted: #566273;
  --portcullis-border: #7b8695; --hairline: #dde2e8; --portcullis-accent: #1f5fbf;
  --portcullis-allow: #0f6b3c; --allow-tint: #e6f4ec; --portcullis-deny: #a8201a; --deny-tint: #fbeae9;
  --portcullis-unauth: #6b3fa0; --unauth-tint: #f1eafa; --portcullis-warn: #7a4b00; --warn-tint: #fff4dc;
  --code-key: #0b4f9e; --code-string: #0f6b3c; --code-number: #8a3b00; --code-comment: #66717f;
  --line-active: #1b24300a; --selection: #1f5fbf33; --menu-shadow: 0 6px 20px #1b243026;`;

const dark = `
  color-scheme: dark;
  --portcullis-bg: #0f141b; --portcullis-panel: #161d27; --portcullis-text: #e4e9f0; --portcullis-muted: #9aa7b8;
  --portcullis-border: #66758a; --hairline: #263140; --portcullis-accent: #7fb2ff;
  --portcullis-allow: #5fd196; --allow-tint: #10291c; --portcullis-deny: #ff8b80; --deny-tint: #331513;
  --portcullis-unauth: #c7a6f5; --unauth-tint: #241a35; --portcullis-warn: #f0be62; --warn-tint: #2e2410;
  --code-key: #8fc1ff; --code-string: #7bd6a4; --code-number: #f2b880; --code-comment: #8491a3;
  --line-active: #e4e9f00a; --selection: #7fb2ff3d; --menu-shadow: 0 6px 20px #00000080;`;

export const colors = css`
  :host {
    ${unsafeCSS(light)}
    --portcullis-radius: 6px;
    --portcullis-font: system-ui, 'Segoe UI', Roboto, sans-serif;
    --portcullis-mono: ui-monospace, 'SF Mono', Menlo, Consolas, monospace;
  }
  @media (prefers-color-scheme: dark) {
    :host {
      ${unsafeCSS(dark)}
    }
  }
  :host([theme='light']) {
    ${unsafeCSS(light)}
  }
  :host([theme='dark']) {
    ${unsafeCSS(dark)}
  }
`;
