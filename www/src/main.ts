// Entry of index.html: defines the element and keeps the chosen theme, if the browser lets it.

import { PortcullisPlayground } from './playground.js';

const themeKey = 'portcullis-theme';

const playground = document.querySelector('portcullis-playground');
const theme = storedTheme();
if (playground && theme !== null) playground.setAttribute('theme', theme);

document.addEventListener('portcullis-theme', (event) => {
  if (event instanceof CustomEvent) storeTheme(String(event.detail.theme));
});

customElements.define('portcullis-playground', PortcullisPlayground);

function storedTheme(): string | null {
  try {
    const theme = localStorage.getItem(themeKey);
    return theme === 'light' || theme === 'dark' ? theme : null;
  } catch {
    return null;
  }
}

/** Storage may be off; then the choice lasts as long as the page. */
function storeTheme(theme: string): void {
  try {
    localStorage.setItem(themeKey, theme);
  } catch {
    return;
  }
}
