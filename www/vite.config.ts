import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vite';
import type { Plugin } from 'vite';

import { readPresets } from './examples.js';
import { prerender } from './prerender.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

const presets = readPresets();

/** The module `virtual:presets`: the examples, as the core reads them. */
function examples(): Plugin {
  const name = 'virtual:presets';
  return {
    name: 'portcullis-examples',
    resolveId: (id) => (id === name ? `\0${name}` : undefined),
    load: async (id) => (id === `\0${name}` ? `export const presets = ${JSON.stringify(await presets)};` : undefined),
  };
}

/** Puts the opening example and its verdict into the skeleton: the page can be read before the engine runs. */
function skeleton(): Plugin {
  const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  const escape = (text: string): string => text.replace(/[&<>"]/g, (character) => escapes[character] ?? '');
  return {
    name: 'portcullis-skeleton',
    async transformIndexHtml(html) {
      const preset = /<portcullis-playground preset="([^"]*)"/.exec(html)?.[1];
      if (preset === undefined) return html;
      const { policies, outcome, answer, summary } = await prerender(await presets, preset);
      const values: Record<string, string> = { policies, outcome, answer, summary };
      return html.replace(/\{\{(\w+)\}\}/g, (_, name: string) => escape(values[name] ?? ''));
    },
  };
}

/** Lets engine and minter, which the opening example needs, come down beside the scripts and not after them. */
function preloadModules(): Plugin {
  return {
    name: 'portcullis-preload-modules',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle }) {
        if (!html.includes('<portcullis-playground')) return [];
        const files = Object.keys(bundle ?? {}).filter((file) => file.endsWith('.wasm'));
        return ['playground', 'mint'].flatMap((name) =>
          files
            .filter((file) => file.includes(`portcullis_${name}_bg`))
            .map((file) => {
              const attrs = { rel: 'preload', as: 'fetch', type: 'application/wasm', crossorigin: '', href: `./${file}` };
              return { tag: 'link', attrs, injectTo: 'head' };
            }),
        );
      },
    },
  };
}

export default defineConfig({
  base: './',
  plugins: [examples(), skeleton(), preloadModules()],
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
