import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vite';
import type { Plugin } from 'vite';

import { prerender } from './prerender.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Puts the opening example and its verdict into the skeleton: the page can be read before the engine runs. */
function skeleton(): Plugin {
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => escapes[character] ?? '');
  return {
    name: 'portcullis-skeleton',
    async transformIndexHtml(html) {
      const preset = /<portcullis-playground preset="([^"]*)"/.exec(html)?.[1];
      if (preset === undefined) return html;
      const { policies, outcome, answer, summary } = await prerender(preset);
      const values: Record<string, string> = { policies, outcome, answer, summary };
      return html.replace(/\{\{(\w+)\}\}/g, (_, name: string) => escape(values[name] ?? ''));
    },
  };
}

/** Lets the engine come down beside the scripts and not after them. */
function preloadEngine(): Plugin {
  return {
    name: 'portcullis-preload-engine',
    transformIndexHtml: {
      order: 'post',
      handler(_, { bundle }) {
        const engine = Object.keys(bundle ?? {}).find((file) => /portcullis_playground_bg.*\.wasm$/.test(file));
        if (engine === undefined) return [];
        const attrs = { rel: 'preload', as: 'fetch', type: 'application/wasm', crossorigin: '', href: `./${engine}` };
        return [{ tag: 'link', attrs, injectTo: 'head' }];
      },
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [skeleton(), preloadEngine()],
  server: { fs: { allow: ['..'] } },
  build: {
    target: 'es2022',
    outDir: 'dist',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: true,
    rolldownOptions: { input: [here('index.html'), here('driver.html')] },
  },
});
